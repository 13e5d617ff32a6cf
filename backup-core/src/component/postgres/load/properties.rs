//! What belongs to a database and is not in it: owner, privileges, comment, and its settings once more.

use super::statements::{self, Creation};
use super::{Load, Target};
use crate::Result;
use crate::component::postgres::sql;

impl Load {
    /// Gives the database its event triggers, and all that the bundle says of it but its name and connection limit.
    ///
    /// # Errors
    /// psql's words.
    pub async fn set_properties(&self) -> Result<()> {
        self.add_event_triggers().await?;
        self.target.set_properties(&self.shadow, &statements::creation(&self.content("create.sql")?)?).await
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
