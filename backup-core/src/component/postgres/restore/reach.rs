//! The server that databases are restored into.

use std::path::PathBuf;

use super::Recipe;
use crate::bundle::pack::cores;
use crate::component::postgres::connection::{ConnectionString, connect_first};
use crate::component::postgres::{self, Target};
use crate::{Context, Error, Kind, Result};

/// Databases that every server has and that are none of those restored; the first may have been dropped.
pub(crate) fn administrative<'n>(mut restored: impl Iterator<Item = &'n str>) -> &'static [&'static str] {
    if restored.any(|name| name == "postgres") { &["template1"] } else { &["postgres", "template1"] }
}

/// Connections for each core: while one waits for the server, another decompresses.
const JOBS_PER_CORE: usize = 2;

/// Connections that load rows where nobody says how many.
pub(crate) fn default_jobs() -> usize {
    cores() * JOBS_PER_CORE
}

/// How a server is reached, and with what.
pub(crate) struct Way {
    /// How it is connected to.
    pub(crate) connection: ConnectionString,
    /// Directory of the client programs, if it is said.
    pub(crate) bin_dir: Option<PathBuf>,
    /// Connections that load rows at once.
    pub(crate) jobs: usize,
}

impl Way {
    /// The server that a restore was planned for; `written_by` is the major version that programs must have to read what is restored, 0
    /// for any.
    ///
    /// # Errors
    /// [`Kind::Refused`] where another one answers; where none does.
    pub(super) async fn to(&self, recipe: &Recipe, written_by: u32, context: &Context) -> Result<Target> {
        let parameters = self.connection.parameters(&context.environment)?;
        let restored = recipe.databases.iter().map(|planned| planned.names.name.as_str());
        let (connection, parameters) = connect_first(&parameters, administrative(restored)).await?;
        let facts = postgres::server(&connection).await?;
        let major = facts.major().max(written_by);
        let tools = postgres::find_tools(self.bin_dir.as_deref(), &context.environment, major).await?;
        let target = Target::new(parameters, tools, recipe.jobs);
        if target.identifier().await? != recipe.server {
            let place = target.parameters.place();
            let error =
                Error::new(Kind::Refused, format!("{place} is another server than the one that the restore began on"));
            return Err(error.hint(
                "connect to that one, as for the restore itself: PGHOST, PGPORT or --config; if it is gone for good, \
                 `restore cleanup --forget` forgets the restore",
            ));
        }
        Ok(target)
    }
}
