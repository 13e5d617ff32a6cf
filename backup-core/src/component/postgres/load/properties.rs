//! What belongs to a database and is not in it: owner, privileges, comment, settings.

use super::{Load, statements};
use crate::Result;
use crate::component::postgres::sql;

impl Load {
    /// Gives the database its event triggers, and all that the bundle says of it but its name and connection limit.
    ///
    /// # Errors
    /// psql's words.
    pub async fn set_properties(&self) -> Result<()> {
        self.add_event_triggers().await?;
        let creation = statements::creation(&self.content("create.sql")?)?;
        let script = creation.properties_of(&sql::identifier(&self.shadow))?;
        self.target.run_script(self.target.administrative(), "set the database's properties with psql", &script).await
    }
}
