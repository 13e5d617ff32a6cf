//! What a database that is being built knows of itself: which chunks it has and what else is done.
//!
//! A chunk is noted in the same transaction that loads it, so that nothing is loaded twice however a run ends.

use std::collections::HashMap;

use crate::Result;
use crate::component::postgres::connection::Connection;
use crate::component::postgres::{query_failed, sql};

/// Schema of the notes. It goes before triggers are made.
const SCHEMA: &str = "orchestrator_cli_restore";

/// Begins the notes, once everything that comes before rows is there.
pub(super) async fn begin(connection: &Connection) -> Result<()> {
    let sql = format!(
        "BEGIN; CREATE SCHEMA {SCHEMA}; CREATE TABLE {SCHEMA}.done (what text PRIMARY KEY, rows bigint NOT NULL); COMMIT"
    );
    connection.batch_execute(&sql).await.map_err(|error| query_failed("begin the restore's notes", &error))
}

/// The statement that notes `what`; `rows` is SQL.
pub(super) fn insert(what: &str, rows: &str) -> String {
    format!("INSERT INTO {SCHEMA}.done VALUES ({}, {rows})", sql::literal(what))
}

/// Notes what has no rows.
pub(super) async fn note(connection: &Connection, what: &str) -> Result<()> {
    connection
        .batch_execute(&insert(what, "0"))
        .await
        .map_err(|error| query_failed("write the restore's notes", &error))
}

/// All that is noted with its number of rows, or none where there are no notes.
pub(super) async fn read(connection: &Connection) -> Result<Option<HashMap<String, u64>>> {
    let failed = |error| query_failed("read the restore's notes", &error);
    let exist = "SELECT pg_catalog.to_regclass($1) IS NOT NULL";
    if !connection.query_one(exist, &[&format!("{SCHEMA}.done")]).await.map_err(failed)?.get::<_, bool>(0) {
        return Ok(None);
    }
    let rows = connection.query(&format!("SELECT what, rows FROM {SCHEMA}.done"), &[]).await.map_err(failed)?;
    let noted = |row: &tokio_postgres::Row| (row.get(0), u64::try_from(row.get::<_, i64>(1)).unwrap_or(0));
    Ok(Some(rows.iter().map(noted).collect()))
}

/// Takes back what is noted of `what`, inside the caller's transaction.
pub(super) fn forget(what: &[&str]) -> String {
    let list = what.iter().map(|what| sql::literal(what)).collect::<Vec<_>>().join(", ");
    format!("DELETE FROM {SCHEMA}.done WHERE what IN ({list})")
}

/// Ends the notes.
pub(super) async fn end(connection: &Connection) -> Result<()> {
    let dropped = connection.batch_execute(&format!("DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")).await;
    dropped.map_err(|error| query_failed("end the restore's notes", &error))
}
