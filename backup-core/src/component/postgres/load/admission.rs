//! Whether the server lets us into databases under the names that they are built under.

use super::Target;
use crate::component::postgres::connection::{Connection, try_admission};
use crate::finding::Finding;
use crate::{Cause, Result, shell};

/// The first rule that lets a user into a database, by the kind of connection, as a line that lets it into every one. Whoever can
/// restore may read the rules; versions before 10 don't have them.
const RULE: &str = "SELECT pg_catalog.concat_ws(' ', type, 'all', pg_catalog.quote_ident($1), address, netmask, auth_method, \
        pg_catalog.array_to_string(options, ' ')), line_number, pg_catalog.current_setting('hba_file') \
    FROM pg_catalog.pg_hba_file_rules WHERE error IS NULL AND (type = 'local') = $3 AND auth_method <> 'reject' \
        AND ($2 = ANY(database) OR 'all' = ANY(database)) AND ($1 = ANY(user_name) OR 'all' = ANY(user_name)) \
    ORDER BY line_number LIMIT 1";

impl Target {
    /// Why the server, or the password file, does not let us into a database of that name, which it need not have yet.
    ///
    /// # Errors
    /// Where it does not let us in anywhere.
    pub async fn admission_finding(&self, name: &str, shadow: &str) -> Result<Option<Finding>> {
        let Err(error) = try_admission(&self.parameters.with_database(shadow)).await else { return Ok(None) };
        let refusal = error.chain().into_iter().skip(1).collect::<Vec<_>>().join(": ");
        let message = format!("it is built as {shadow}, and there is no way into a database of that name: {refusal}");
        let finding = Finding::error("not-let-in", name, message);
        Ok(Some(finding.hint(match error.came_of(Cause::Password) {
            true => self.password_line(),
            false => self.rule(&*self.administer().await?).await.unwrap_or_else(|| NO_RULE.into()),
        })))
    }

    fn password_line(&self) -> String {
        let user = self.parameters.user();
        format!(
            "for the time of the restore, a line for every database in the password file (~/.pgpass): *:*:*:{user}:PASSWORD"
        )
    }

    /// What to add to the server's rules.
    async fn rule(&self, connection: &Connection) -> Option<String> {
        let (user, database) = (self.parameters.user(), self.administrative());
        let is_local = self.parameters.get("host").is_none_or(|host| host.starts_with('/'));
        let row = connection.query_opt(RULE, &[&user, &database, &is_local]).await.ok()??;
        let (line, number, file): (&str, i32, &str) = (row.get(0), row.get(1), row.get(2));
        let (line, file) = (shell::word(line), shell::word(file));
        Some(format!(
            "for the time of the restore, a line for every database: sed -i {number}i{line} {file} && psql -c 'SELECT \
             pg_reload_conf()'"
        ))
    }
}

const NO_RULE: &str = "for the time of the restore, let the user into every database: a line `local all USER peer`, or as the \
    server has it for others, at the top of its pg_hba.conf; then SELECT pg_reload_conf()";
