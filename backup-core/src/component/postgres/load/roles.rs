//! Roles: made where they are missing, without settings that the server does not take, and dropped again.

use std::ops::Range;

use tokio_postgres::error::SqlState;

use super::Target;
use super::settings::NotTaken;
use crate::Result;
use crate::component::postgres::connection::Connection;
use crate::component::postgres::{command, query_failed, sql};
use crate::finding::Finding;

/// Settings that are another role's name, which is there once the script has run.
const NAME_ROLES: [&str; 2] = [" SET \"role\" TO '", " SET \"session_authorization\" TO '"];

/// A setting of a role in `globals.sql`.
struct Setting {
    /// Where its statement stands.
    place: Range<usize>,
    /// The role's name as SQL.
    role: String,
    /// ` SET name TO value`.
    deed: String,
}

impl Setting {
    /// Every one of a script, in its order.
    fn all(script: &[u8]) -> Vec<Self> {
        const BEGIN: &[u8] = b"\n    ALTER ROLE ";
        memchr::memmem::find_iter(script, BEGIN).filter_map(|at| Self::read(script, at + 1, at + BEGIN.len())).collect()
    }

    /// The one whose statement begins at `begin`, and its role's name at `at`. It is made of names and texts in quotes alone, so
    /// that it does nothing else, wherever it stands.
    fn read(script: &[u8], begin: usize, at: usize) -> Option<Self> {
        let rest = &script[at..];
        let role = &rest[..sql::after_identifier(rest)];
        let deed = &rest[role.len()..];
        let mut end = deed.strip_prefix(b" SET ").map(|_| b" SET ".len())?;
        loop {
            end += sql::after_identifier(&deed[end..]);
            if deed.get(end) != Some(&b'.') {
                break;
            }
            end += 1;
        }
        end += deed[end..].strip_prefix(b" TO ").map(|_| b" TO ".len())?;
        loop {
            end += literal(&deed[end..])?;
            match deed[end..].strip_prefix(b", ") {
                Some(_) => end += 2,
                None => break,
            }
        }
        if !role.starts_with(b"\"") || !deed[b" SET ".len()..].starts_with(b"\"") || !deed[end..].starts_with(b";\n") {
            return None;
        }
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        let place = begin..at + role.len() + end + 1;
        Some(Self { place, role: text(role)?, deed: text(&deed[..end])? })
    }

    /// Why the server does not take it, if it does not.
    async fn problem(&self, script: &[u8], target: &Target, connection: &Connection) -> Result<Option<String>> {
        let named = NAME_ROLES.iter().find_map(|start| self.deed.strip_prefix(start)?.strip_suffix('\''));
        let made = |role: &str| format!("CREATE ROLE {} WITH ", sql::identifier(&role.replace("''", "'")));
        if named.is_some_and(|role| memchr::memmem::find(script, made(role).as_bytes()).is_some()) {
            return Ok(None);
        }
        let statement = format!("ALTER DATABASE {}{}", sql::identifier(target.administrative()), self.deed);
        let unquoted = statement.replacen('"', "", 4);
        if let Some(why) = target.preload_problem(unquoted.as_bytes()).await {
            return Ok(Some(why));
        }
        let tried = connection.batch_execute(&format!("BEGIN; {statement}")).await;
        connection
            .batch_execute("ROLLBACK")
            .await
            .map_err(|error| query_failed("try the settings of roles", &error))?;
        match tried {
            Ok(()) => Ok(None),
            Err(error) => match error.as_db_error() {
                Some(refusal) if NotTaken::is_of(refusal.code().code()) => Ok(Some(refusal.message().into())),
                _ => Err(query_failed("try the settings of roles", &error)),
            },
        }
    }
}

/// The length of the literal that `text` begins with.
fn literal(text: &[u8]) -> Option<usize> {
    let escapes = text.starts_with(b"E'");
    let mut at = usize::from(escapes);
    if text.get(at) != Some(&b'\'') {
        return None;
    }
    at += 1;
    loop {
        match (text.get(at)?, text.get(at + 1)) {
            (b'\\', _) if escapes => at += 2,
            (b'\'', Some(b'\'')) => at += 2,
            (b'\'', _) => return Some(at + 1),
            _ => at += 1,
        }
    }
}

impl Target {
    /// Runs the roles' script, as a whole or not at all; but settings that the server does not take.
    ///
    /// # Errors
    /// psql's words.
    pub async fn create_roles(&self, script: &[u8]) -> Result<()> {
        let mut script = script.to_vec();
        for (setting, _) in self.not_taken(&script).await? {
            script[setting.place].fill(b' ');
        }
        // Spelled out, so that a script whose end never comes, because we were killed, commits nothing.
        let whole = [b"BEGIN;\n", &*script, b"\nCOMMIT;\n"].concat();
        command::run(self.psql(&self.parameters), "create the roles with psql", Some(&whole)).await.map(|_| ())
    }

    /// What the server does not take of the settings of `names`, roles that the script is to make.
    ///
    /// # Errors
    /// A failed query.
    pub async fn role_setting_findings(&self, script: &[u8], names: &[String]) -> Result<Vec<Finding>> {
        if !self.may_try().await? {
            return Ok(Vec::new());
        }
        let finding = |(setting, why): (Setting, String)| {
            let name = names.iter().find(|name| sql::identifier(name) == setting.role)?;
            let statement = format!("ALTER ROLE {}{}", setting.role, setting.deed);
            Some(NotTaken::of(statement, &setting.deed, &why).finding(&format!("role {name}")))
        };
        Ok(self.not_taken(script).await?.into_iter().filter_map(finding).collect())
    }

    async fn not_taken(&self, script: &[u8]) -> Result<Vec<(Setting, String)>> {
        let connection = self.administer().await?;
        let mut not_taken = Vec::new();
        for setting in Setting::all(script) {
            if let Some(why) = setting.problem(script, self, &connection).await? {
                not_taken.push((setting, why));
            }
        }
        Ok(not_taken)
    }

    /// Those of `names` that the server has.
    ///
    /// # Errors
    /// A failed query.
    pub async fn existing_roles(&self, names: &[String]) -> Result<Vec<String>> {
        let sql = "SELECT rolname::text FROM pg_catalog.pg_roles WHERE rolname = ANY($1)";
        let rows = self.administer().await?.query(sql, &[&names]).await;
        let rows = rows.map_err(|error| query_failed("look for the roles", &error))?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Drops a role, if it is there; false where something else depends on it by now, and it stays.
    ///
    /// # Errors
    /// Any other failure.
    pub async fn drop_role(&self, name: &str) -> Result<bool> {
        let connection = self.administer().await?;
        let drop = format!("DROP ROLE IF EXISTS {}", sql::identifier(name));
        match connection.batch_execute(&drop).await {
            Ok(()) => Ok(true),
            Err(error) if error.code() == Some(&SqlState::DEPENDENT_OBJECTS_STILL_EXIST) => Ok(false),
            Err(error) => Err(query_failed(format!("drop role {name}"), &error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_roles_are_found_and_nothing_that_only_looks_like_one() {
        let script =
            b"    CREATE ROLE \"a\" WITH LOGIN;\n    ALTER ROLE \"a \"\"b\" SET \"x\".\"y\" TO E'it''s \\\\', 'two';\n\
            \n    ALTER ROLE \"a\" SET \"work_mem\" TO '1MB'; DROP TABLE t;\n    ALTER ROLE \"a\" SET w TO '1MB';\n\
            \n    ALTER ROLE \"a\" SUPERUSER;\n    ALTER ROLE \"a\" SET \"role\" TO 'b';\n";
        let found = Setting::all(script);
        let shown: Vec<(&str, &str)> = found.iter().map(|one| (&*one.role, &*one.deed)).collect();
        let expected = [(r#""a ""b""#, r#" SET "x"."y" TO E'it''s \\', 'two'"#), (r#""a""#, r#" SET "role" TO 'b'"#)];
        assert_eq!(shown, expected);
        assert_eq!(
            script[found[1].place.clone()].escape_ascii().to_string(),
            r#"    ALTER ROLE \"a\" SET \"role\" TO \'b\';"#
        );
    }
}
