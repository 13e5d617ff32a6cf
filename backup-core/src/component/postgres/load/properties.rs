//! What belongs to a database and is not in it: owner, privileges, comment, and its settings once more.

use super::statements::{self, Creation};
use super::{Load, Target};
use crate::Result;
use crate::component::postgres::sql;
use crate::finding::Finding;

impl Load {
    /// Gives the database its event triggers, and all that the bundle says of it but its name and connection limit.
    ///
    /// # Errors
    /// psql's words.
    pub async fn set_properties(&self) -> Result<Vec<Finding>> {
        let mut found = self.add_event_triggers().await?;
        let creation = statements::creation(&self.content("create.sql")?)?;
        match self.target.set_properties(&self.shadow, &creation).await {
            Ok(()) => {}
            Err(error) if error.is_lasting() => found.extend(self.set_each_property(&creation).await?),
            Err(error) => return Err(error),
        }
        Ok(found)
    }

    /// The same, one property after another: what the server refuses of them can be made later.
    async fn set_each_property(&self, creation: &Creation) -> Result<Vec<Finding>> {
        let [script, later] = [&self.shadow, &self.name].map(|name| creation.properties_of(&sql::identifier(name)));
        let (script, later) = (script?, later?);
        let (mut session, mut found) = (Vec::new(), Vec::new());
        for (statement, later) in statements::statements(&script).into_iter().zip(statements::statements(&later)) {
            if [&b"SET "[..], b"RESET "].iter().any(|start| statement.starts_with(start)) {
                session.extend([statement, b"\n"].concat());
                continue;
            }
            let whole = [&session, statement, b"\n"].concat();
            let doing = "set a property of the database with psql";
            match self.target.run_script(self.target.administrative(), doing, &whole).await {
                Ok(()) => {}
                Err(error) if error.is_lasting() => {
                    let why = error.chain().pop().unwrap_or_default();
                    let message = format!("a property of the database could not be set: {why}");
                    let hint = format!("once that is mended, run: {}", String::from_utf8_lossy(later));
                    found.push(Finding::warning("left-for-later", &self.name, message).hint(hint));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}

impl Target {
    /// Gives a database what belongs to one that was made in this way.
    pub(super) async fn set_properties(&self, database: &str, creation: &Creation) -> Result<()> {
        // A restore that an earlier version began has not made them before.
        self.set_settings(database, creation).await?;
        let script = creation.properties_of(&sql::identifier(database))?;
        self.run_script(self.administrative(), "set the database's properties with psql", &script).await
    }
}
