//! Content of large objects: scripts that `pg_dump` wrote, run in their order.

use super::checked::Checked;
use super::{Load, Target, notes};
use crate::component::postgres::{large_objects, query_failed};
use crate::{Error, ErrorContext, Kind, Result};

const NOTE: &str = "large objects";

/// Takes some away; each costs a lock.
const UNLINK: &str = "SELECT pg_catalog.count(pg_catalog.lo_unlink(oid)) \
    FROM (SELECT oid FROM pg_catalog.pg_largeobject_metadata LIMIT 1000) AS batch";

/// How what makes large objects begins.
const FORMS: [&str; 15] = [
    "SET ",
    "RESET SESSION AUTHORIZATION",
    "BEGIN;",
    "COMMIT;",
    "SELECT pg_catalog.set_config(",
    "SELECT pg_catalog.lo_create(",
    "SELECT pg_catalog.lo_open(",
    "SELECT pg_catalog.lowrite(",
    "SELECT pg_catalog.lo_lseek64(",
    "SELECT pg_catalog.lo_close(",
    "ALTER LARGE OBJECT ",
    "COMMENT ON LARGE OBJECT ",
    "SECURITY LABEL ",
    "GRANT ",
    "REVOKE ",
];

impl Load {
    /// Whether all large objects are there.
    ///
    /// # Errors
    /// Where that can't be seen.
    pub async fn are_objects_loaded(&self) -> Result<bool> {
        self.is_noted(NOTE).await
    }

    /// Writes the content of the large objects. To write it again changes nothing.
    ///
    /// # Errors
    /// psql's words; [`Kind::Failed`] where others are there afterwards than the bundle has.
    pub async fn load_objects(&self) -> Result<()> {
        let connection = self.ask().await?;
        // From version 17 on pg_dump makes them with their content, and not with the schema.
        if self.bundle.manifest().source.postgres.as_ref().is_some_and(|server| server.pg_dump_major() >= 17) {
            let failed = |error| query_failed("take away large objects of an earlier attempt", &error);
            while connection.query_one(UNLINK, &[]).await.map_err(failed)?.get::<_, i64>(0) > 0 {}
        }
        let prefix = format!("databases/{}/{}", self.database().directory, large_objects::DIRECTORY);
        for entry in self.bundle.manifest().entries.iter().filter(|entry| entry.path.starts_with(&prefix)) {
            let script = Checked::of_forms(&self.bundle.content(&entry.path)?, &FORMS);
            let script = script.context(|| entry.path.clone())?;
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

impl Target {
    /// Number of large objects in database `name`.
    ///
    /// # Errors
    /// Where it can't be connected to.
    pub async fn large_objects_of(&self, name: &str) -> Result<u64> {
        large_objects::count(&self.connect(name).await?).await
    }
}
