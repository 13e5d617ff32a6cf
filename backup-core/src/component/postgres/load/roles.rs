//! Roles: made where they are missing, and dropped again.

use tokio_postgres::error::SqlState;

use super::Target;
use crate::Result;
use crate::component::postgres::{command, query_failed, sql};

impl Target {
    /// Runs the roles' script, as a whole or not at all.
    ///
    /// # Errors
    /// psql's words.
    pub async fn create_roles(&self, script: &[u8]) -> Result<()> {
        // Spelled out, so that a script whose end never comes, because we were killed, commits nothing.
        let whole = [b"BEGIN;\n", script, b"\nCOMMIT;\n"].concat();
        command::run(self.psql(&self.parameters), "create the roles with psql", Some(&whole)).await.map(|_| ())
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
