//! Content of large objects: scripts that `pg_dump` wrote, run in their order.

use super::{Load, notes};
use crate::component::postgres::large_objects;
use crate::{Error, Kind, Result};

const NOTE: &str = "large objects";

impl Load {
    /// Whether all large objects are there.
    ///
    /// # Errors
    /// Where that can't be seen.
    pub async fn are_objects_loaded(&self) -> Result<bool> {
        Ok(notes::read(&self.connect().await?).await?.is_some_and(|notes| notes.contains_key(NOTE)))
    }

    /// Writes the content of the large objects, which the schema has made. To write it again changes nothing.
    ///
    /// # Errors
    /// psql's words; [`Kind::Failed`] where others are there afterwards than the bundle has.
    pub async fn load_objects(&self) -> Result<()> {
        let connection = self.connect().await?;
        let prefix = format!("databases/{}/{}", self.database().directory, large_objects::DIRECTORY);
        for entry in self.bundle.manifest().entries.iter().filter(|entry| entry.path.starts_with(&prefix)) {
            let script = self.bundle.content(&entry.path)?;
            self.target.run_script(&self.shadow, &format!("run {} with psql", entry.path), &script).await?;
        }
        let (found, expected) = (large_objects::count(&connection).await?, self.database().large_objects);
        if found != expected {
            let message = format!("load the large objects: {found} are there, and the bundle has {expected}");
            return Err(Error::new(Kind::Failed, message));
        }
        notes::note(&connection, NOTE).await
    }
}
