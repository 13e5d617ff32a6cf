//! Puts databases back: each is built under another name, and takes its own only when all of them are whole.
//!
//! Everything here may be done again after it was cut off at any point.

mod admission;
mod archive;
mod built;
mod check;
mod checked;
mod chunks;
mod confirm;
mod copied;
mod early;
mod failures;
mod forgiving;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod kept;
mod later_powers;
mod notes;
mod objects;
mod opened;
mod order;
mod powers;
mod properties;
mod readiness;
mod refused;
mod roles;
mod schema;
mod script;
mod sessions;
mod settings;
mod shadow;
mod simple;
mod statements;
mod swap;

use std::sync::Arc;

pub(super) use archive::{list_file, use_list};
pub(crate) use confirm::EXTENSION_VERSION;
pub(super) use early::{is_mixed, parts};
use kept::Kept;
pub(crate) use later_powers::later_powers;
pub use readiness::{older_than_pg_dump, server_findings};
pub(crate) use refused::left_out;
pub use script::Script;
pub use sessions::Sessions;
pub(crate) use settings::money_locale;
pub use shadow::drop_database;
pub(super) use statements::pieces;
pub use swap::Names;
pub(super) use swap::{check_ways_back, swap, swap_back, swapped};

use super::connection::{Connection, Parameters, connect};
use super::query_failed;
use super::tools::Tools;
use crate::Result;
use crate::bundle::manifest::postgres::Database;
use crate::bundle::reader::OpenBundle;
use crate::event::Meter;

/// Bytes of rows for which one more session is worth its beginning.
const WORTH: u64 = 256 << 10;

/// A server that takes databases.
#[derive(Clone)]
pub struct Target {
    /// The connection's parameters; their database is one that is not restored.
    pub parameters: Parameters,
    /// Programs that fit the server.
    pub tools: Tools,
    /// Connections that load rows at once.
    pub jobs: usize,
    /// Sessions that are used again.
    kept: Kept,
}

/// A database of a bundle on its way into a server.
pub struct Load {
    /// The server, as [`Target::building`] gives it.
    pub target: Target,
    /// The bundle.
    pub bundle: Arc<OpenBundle>,
    /// Its place among the manifest's databases.
    pub index: usize,
    /// The name that it is to have.
    pub name: String,
    /// The name that it is built under.
    pub shadow: String,
    /// Objects without which it may come back, as [`Load::build_indexes`] names those that the server refuses.
    pub accepted: Vec<String>,
    /// How far the work is, in bytes of rows: once for loading them, and once for indexes and comparison, half each.
    pub meter: Arc<Meter>,
}

impl Load {
    /// What the manifest says of the database.
    fn database(&self) -> &Database {
        &self.bundle.manifest().databases[self.index]
    }

    /// A script or an archive of the database, checked.
    fn content(&self, path: &str) -> Result<Vec<u8>> {
        self.bundle.content(&format!("databases/{}/{path}", self.database().directory))
    }

    /// What indexes count for in the meter, and the comparison too.
    fn share_of_work(&self) -> u64 {
        self.chunks().map(|(_, entry)| entry.size).sum::<u64>() / 2
    }

    async fn connect(&self) -> Result<Connection> {
        self.target.connect(&self.shadow).await
    }

    async fn ask(&self) -> Result<Arc<Connection>> {
        self.target.ask(&self.shadow).await
    }

    /// Whether the database has noted that `what` is done.
    async fn is_noted(&self, what: &str) -> Result<bool> {
        Ok(notes::read(&*self.ask().await?).await?.is_some_and(|notes| notes.contains_key(what)))
    }
}

impl Target {
    /// One with these programs, which loads rows by so many sessions at once.
    pub fn new(parameters: Parameters, tools: Tools, jobs: usize) -> Self {
        Self { parameters, tools, jobs, kept: Kept::default() }
    }

    /// How many sessions share `tasks` of so many bytes of rows: beginning one takes longer than a few rows do.
    fn sessions_for(&self, tasks: usize, bytes: u64) -> usize {
        let worth = usize::try_from(bytes / WORTH).unwrap_or(usize::MAX).saturating_add(1);
        self.jobs.min(tasks).min(worth).max(1)
    }

    /// A connection whose commits are on disk when they return, whatever the server's default is.
    async fn connect(&self, database: &str) -> Result<Connection> {
        let connection = connect(&self.parameters.with_database(database)).await?;
        let durable = connection.batch_execute("SET synchronous_commit = on").await;
        durable.map_err(|error| query_failed(format!("connect to database {database}"), &error))?;
        Ok(connection)
    }

    async fn administer(&self) -> Result<Arc<Connection>> {
        self.ask(self.administrative()).await
    }

    /// The database that others are administered from.
    fn administrative(&self) -> &str {
        self.parameters.get("dbname").unwrap_or("postgres")
    }

    /// `psql` that reads a script from its standard input, stops at the first error and prints nothing. What it is sent must be
    /// [`checked::Checked`], or our own.
    fn psql(&self, parameters: &Parameters) -> tokio::process::Command {
        let mut psql = self.tools.client("psql", parameters);
        psql.args(["--no-psqlrc", "--quiet", "--no-password", "--set=ON_ERROR_STOP=1", "--output=/dev/null"]);
        // The whole message would hold the statement, and that may hold a password.
        psql.args(["--set=VERBOSITY=terse", "--file=-"]);
        psql
    }
}
