//! One picture of a database: an exported snapshot, and locks that keep its tables as the picture shows them.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio_postgres::CopyOutStream;
use tokio_postgres::error::SqlState;

use super::connection::{Connection, Parameters, connect};
use super::discover::position;
use super::psql::{Lines, Psql};
use super::tables::{self, TableFacts};
use super::tools::Tools;
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
    pub(super) taken: manifest::postgres::Snapshot,
    pub(super) tables: Vec<TableFacts>,
    /// Sees the same picture, for statements that are not UTF-8.
    psql: Psql,
}

impl Snapshot {
    /// Makes sure that the snapshot and its locks have lasted until now.
    pub(super) async fn check_alive(&self) -> Result<()> {
        let alive = self.connection.batch_execute("SELECT").await;
        alive.map_err(|error| query_failed("keep the snapshot to the end", &error))?;
        self.psql.check_alive().await
    }

    /// Runs a `COPY … TO STDOUT`.
    pub(super) async fn copy(&self, statement: &[u8]) -> Result<Rows> {
        match std::str::from_utf8(statement) {
            Ok(text) => copy(&self.connection, text).await,
            Err(_) => Ok(Rows::Psql(self.psql.copy(statement).await?)),
        }
    }
}

/// Runs a `COPY … TO STDOUT` in one of a snapshot's connections.
pub(super) async fn copy(connection: &Connection, statement: &str) -> Result<Rows> {
    let stream = connection.copy_out(statement).await.map_err(|error| query_failed("COPY", &error))?;
    Ok(Rows::Driver(Box::pin(stream)))
}

/// Rows of a running `COPY`.
pub(super) enum Rows {
    Driver(Pin<Box<CopyOutStream>>),
    Psql(Lines),
}

impl Rows {
    /// The next row as the server sends it, or none after the last.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>> {
        match self {
            Self::Driver(stream) => stream.next().await.transpose().map_err(|error| query_failed("COPY", &error)),
            Self::Psql(lines) => lines.next().await,
        }
    }
}

/// Takes a snapshot and locks its tables against being dropped or rewritten.
///
/// A snapshot does not protect from `TRUNCATE` or a rewrite that commits between the snapshot and the lock: the
/// table would look empty. So the file of each table is compared once all are locked, and the snapshot is taken anew
/// where one changed.
pub(super) async fn take(tools: &Tools, parameters: &Parameters) -> Result<Snapshot> {
    let connection = connect(parameters).await?;
    for _ in 0..ATTEMPTS {
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL lock_timeout = '60s'";
        connection.batch_execute(begin).await.map_err(|error| query_failed("begin a snapshot", &error))?;
        let row = connection.query_one("SELECT pg_catalog.pg_export_snapshot()", &[]).await;
        let id: String = row.map_err(|error| query_failed("export a snapshot", &error))?.get(0);
        let (time, wal) = position(&connection).await?;
        let psql = Psql::new(tools, parameters, format!("{}; SET LOCAL lock_timeout = '60s'", joining(&id)));
        if lock(&connection, &psql, &tables::list(&connection).await?).await? {
            let tables = tables::list(&connection).await?;
            if tables.iter().all(|table| table.untouched) {
                return Ok(Snapshot {
                    connection,
                    id,
                    taken: manifest::postgres::Snapshot { time, wal },
                    tables,
                    psql,
                });
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
async fn lock(connection: &Connection, psql: &Psql, tables: &[TableFacts]) -> Result<bool> {
    // Who reads a table locks it: another's lock doesn't help where an exclusive one is waited for in between.
    let (texts, others): (Vec<_>, Vec<_>) = tables.iter().partition(|table| table.is_text());
    for batch in others.chunks(BATCH) {
        psql.execute(&lock_statement(batch)).await?;
    }
    for batch in texts.chunks(BATCH) {
        match connection.batch_execute(&String::from_utf8_lossy(&lock_statement(batch))).await {
            Ok(()) => {}
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => return Ok(false),
            Err(error) => return Err(query_failed("lock the tables against being rewritten", &error)),
        }
    }
    Ok(true)
}

fn lock_statement(tables: &[&TableFacts]) -> Vec<u8> {
    let names: Vec<&[u8]> = tables.iter().map(|table| table.qualified.as_slice()).collect();
    [b"LOCK TABLE ONLY ", names.join(b", ONLY ".as_slice()).as_slice(), b" IN ACCESS SHARE MODE"].concat()
}

fn joining(id: &str) -> String {
    format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT {}", sql::literal(id))
}

/// Another connection that sees the same picture.
pub(super) async fn join(parameters: &Parameters, id: &str) -> Result<Connection> {
    let connection = connect(parameters).await?;
    connection.batch_execute(&joining(id)).await.map_err(|error| query_failed("join the snapshot", &error))?;
    Ok(connection)
}
