//! What belongs to a database and is not in it: owner, privileges, comment, and its settings once more.

use super::checked::Checked;
use super::statements::{self, Alone, Creation};
use super::{Load, Target};
use crate::Result;
use crate::component::postgres::elsewhere::LEFT_FOR_LATER;
use crate::component::postgres::sql;
use crate::finding::Finding;

/// How what is said of a database begins.
const FORMS: [&str; 8] = [
    "SET client_encoding ",
    "SET SESSION AUTHORIZATION ",
    "RESET SESSION AUTHORIZATION",
    "ALTER DATABASE ",
    "COMMENT ON DATABASE ",
    "GRANT ",
    "REVOKE ",
    "SECURITY LABEL ",
];

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
        let mut found = self.set_settings(shadow, name, creation).await?;
        let script = creation.properties_of(&sql::identifier(shadow))?;
        let checked = Checked::of_forms(&script, &FORMS)?;
        let set = self.run_script(self.administrative(), "set the database's properties with psql", &checked).await;
        match set {
            Ok(()) => {}
            Err(error) if error.is_lasting() => found.extend(self.set_each_property(&script, name, creation).await?),
            Err(error) => return Err(error),
        }
        Ok(found)
    }

    /// The same by its script, one property after another.
    async fn set_each_property(&self, script: &[u8], name: &str, creation: &Creation) -> Result<Vec<Finding>> {
        let later = creation.properties_of(&sql::identifier(name))?;
        let later = statements::alone(&later)?;
        let finding = |refused: Refused| {
            let message = format!("a property of the database could not be set: {}", refused.why);
            let hint = format!("once that is mended, run: {}", String::from_utf8_lossy(&later[refused.place].later()));
            Finding::warning(LEFT_FOR_LATER, name, message).hint(hint)
        };
        let refused = self.run_each(self.administrative(), b"", &statements::alone(script)?).await?;
        Ok(refused.into_iter().map(finding).collect())
    }

    /// Runs statements one after another, each for itself and after `before`; gives those that the server refused.
    ///
    /// # Errors
    /// What may pass.
    pub(super) async fn run_each(&self, database: &str, before: &[u8], each: &[Alone<'_>]) -> Result<Vec<Refused>> {
        let mut refused = Vec::new();
        for (place, statement) in each.iter().enumerate() {
            let script = statement.script(before)?;
            match self.run_script(database, "run a statement with psql", &script).await {
                Ok(()) => {}
                Err(error) if error.is_lasting() => {
                    refused.push(Refused { place, why: error.chain().pop().unwrap_or_default() });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(refused)
    }
}

/// A statement that the server refused.
pub(super) struct Refused {
    /// Its place among those that were run.
    pub(super) place: usize,
    /// The server's words.
    pub(super) why: String,
}
