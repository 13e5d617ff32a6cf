//! One picture of a database: an exported snapshot, and locks that keep its tables as the picture shows them.

use tokio_postgres::error::SqlState;

use super::connection::{Connection, Parameters, connect};
use super::discover::position;
use super::tables::{self, TableFacts};
use super::{query_failed, sql};
use crate::bundle::manifest;
use crate::{Error, Kind, Result};

/// Tables locked by one statement.
const BATCH: usize = 500;
/// Snapshots taken before giving up on a database whose tables are rewritten all the time.
const ATTEMPTS: usize = 5;

/// An exported snapshot. It ends when dropped.
pub(super) struct Snapshot {
    pub(super) connection: Connection,
    pub(super) id: String,
    pub(super) taken: manifest::Snapshot,
    pub(super) tables: Vec<TableFacts>,
}

impl Snapshot {
    /// Makes sure that the snapshot and its locks have lasted until now.
    pub(super) async fn check_alive(&self) -> Result<()> {
        let alive = self.connection.batch_execute("SELECT").await;
        alive.map_err(|error| query_failed("keep the snapshot to the end", &error))
    }
}

/// Takes a snapshot and locks its tables against being dropped or rewritten.
///
/// A snapshot does not protect from `TRUNCATE` or a rewrite that commits between the snapshot and the lock: the
/// table would look empty. So the file of each table is compared once all are locked, and the snapshot is taken anew
/// where one changed.
pub(super) async fn take(parameters: &Parameters) -> Result<Snapshot> {
    let connection = connect(parameters).await?;
    for _ in 0..ATTEMPTS {
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL lock_timeout = '60s'";
        connection.batch_execute(begin).await.map_err(|error| query_failed("begin a snapshot", &error))?;
        let row = connection.query_one("SELECT pg_catalog.pg_export_snapshot()", &[]).await;
        let id = row.map_err(|error| query_failed("export a snapshot", &error))?.get(0);
        let (time, wal) = position(&connection).await?;
        if lock(&connection, &tables::list(&connection).await?).await? {
            let tables = tables::list(&connection).await?;
            if tables.iter().all(|table| table.untouched) {
                return Ok(Snapshot { connection, id, taken: manifest::Snapshot { time, wal }, tables });
            }
        }
        connection.batch_execute("ROLLBACK").await.map_err(|error| query_failed("end a snapshot", &error))?;
    }
    Err(Error::new(
        Kind::Failed,
        format!("take a snapshot: tables were dropped, truncated or rewritten in each of {ATTEMPTS} attempts"),
    )
    .hint("run the backup while no TRUNCATE, CLUSTER or VACUUM FULL runs all the time"))
}

/// Locks `tables`; false where one of them is gone already.
async fn lock(connection: &Connection, tables: &[TableFacts]) -> Result<bool> {
    for batch in tables.chunks(BATCH) {
        let names: Vec<String> = batch.iter().map(|table| format!("ONLY {}", table.qualified)).collect();
        let sql = format!("LOCK TABLE {} IN ACCESS SHARE MODE", names.join(", "));
        match connection.batch_execute(&sql).await {
            Ok(()) => {}
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => return Ok(false),
            Err(error) => return Err(query_failed("lock the tables against being rewritten", &error)),
        }
    }
    Ok(true)
}

/// Another connection that sees the same picture.
pub(super) async fn join(parameters: &Parameters, id: &str) -> Result<Connection> {
    let connection = connect(parameters).await?;
    let begin =
        format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT {}", sql::literal(id));
    connection.batch_execute(&begin).await.map_err(|error| query_failed("join the snapshot", &error))?;
    Ok(connection)
}
