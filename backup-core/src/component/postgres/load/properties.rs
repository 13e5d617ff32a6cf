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
        found.extend(self.target.set_properties(&self.shadow, &self.name, &creation).await?);
        Ok(found)
    }
}

impl Target {
    /// Gives the database `shadow`, which is to be called `name`, what belongs to one that was made in this way. What the server
    /// refuses of it can be made later.
    pub(super) async fn set_properties(&self, shadow: &str, name: &str, creation: &Creation) -> Result<Vec<Finding>> {
        // A restore that an earlier version began has not made them before.
        self.set_settings(shadow, creation).await?;
        let script = creation.properties_of(&sql::identifier(shadow))?;
        let set = self.run_script(self.administrative(), "set the database's properties with psql", &script).await;
        match set {
            Ok(()) => Ok(Vec::new()),
            Err(error) if error.is_lasting() => self.set_each_property(&script, name, creation).await,
            Err(error) => Err(error),
        }
    }

    /// The same by its script, one property after another.
    async fn set_each_property(&self, script: &[u8], name: &str, creation: &Creation) -> Result<Vec<Finding>> {
        let later = creation.properties_of(&sql::identifier(name))?;
        let (mut session, mut found) = (Vec::new(), Vec::new());
        for (statement, later) in statements::statements(script).into_iter().zip(statements::statements(&later)) {
            if [&b"SET "[..], b"RESET "].iter().any(|start| statement.starts_with(start)) {
                session.extend([statement, b"\n"].concat());
                continue;
            }
            let whole = [&session, statement, b"\n"].concat();
            match self.run_script(self.administrative(), "set a property of the database with psql", &whole).await {
                Ok(()) => {}
                Err(error) if error.is_lasting() => {
                    let why = error.chain().pop().unwrap_or_default();
                    let message = format!("a property of the database could not be set: {why}");
                    let hint = format!("once that is mended, run: {}", String::from_utf8_lossy(later));
                    found.push(Finding::warning("left-for-later", name, message).hint(hint));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}
