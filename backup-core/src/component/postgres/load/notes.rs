//! What a database that is being built knows of itself: which chunks it has and what else is done.
//!
//! A chunk is noted in the same transaction that loads it, so that nothing is loaded twice however a run ends.

use std::collections::HashMap;

use serde::Serialize;

use crate::component::postgres::connection::Connection;
use crate::component::postgres::{query_failed, sql};
use crate::finding::Finding;
use crate::{ErrorContext, Result};

/// Schema of the notes. It goes before triggers are made.
const SCHEMA: &str = "orchestrator_cli_restore";

/// What begins the comment on the notes that holds what was found when the database was made, as JSON.
const FOUND: &str = "found ";

/// Begins the notes, once everything that comes before rows is there, with what was found on the way.
pub(super) async fn begin(connection: &Connection, found: &[Finding]) -> Result<()> {
    let json = as_ascii(found)?;
    let sql = format!(
        "BEGIN; CREATE SCHEMA {SCHEMA}; CREATE TABLE {SCHEMA}.done (what text PRIMARY KEY, rows bigint NOT NULL); \
         COMMENT ON TABLE {SCHEMA}.done IS {}; COMMIT",
        sql::literal(&format!("{FOUND}{json}"))
    );
    connection.batch_execute(&sql).await.map_err(|error| query_failed("begin the restore's notes", &error))
}

/// What is noted, as JSON that any database can hold: not every encoding has all characters.
pub(super) fn as_ascii<T: Serialize + ?Sized>(what: &T) -> Result<String> {
    let json = serde_json::to_string(what).context(|| "write the restore's notes".into())?;
    Ok(json.chars().flat_map(ascii).collect())
}

/// A character as JSON has it in a text, in ASCII.
fn ascii(c: char) -> Vec<char> {
    if c.is_ascii() {
        return vec![c];
    }
    c.encode_utf16(&mut [0; 2]).iter().flat_map(|unit| format!("\\u{unit:04x}").chars().collect::<Vec<_>>()).collect()
}

/// What was found when the database was made; none where there are no notes.
pub(super) async fn found(connection: &Connection) -> Result<Option<Vec<Finding>>> {
    let sql = "SELECT pg_catalog.obj_description(c.oid, 'pg_class') FROM pg_catalog.pg_class c \
        WHERE c.oid = pg_catalog.to_regclass($1)";
    let row = connection.query_opt(sql, &[&format!("{SCHEMA}.done")]).await;
    let row = row.map_err(|error| query_failed("read the restore's notes", &error))?;
    let Some(row) = row else { return Ok(None) };
    let comment: Option<String> = row.get(0);
    let json = comment.as_deref().and_then(|comment| comment.strip_prefix(FOUND));
    let read = |json| serde_json::from_str(json).context(|| "read the restore's notes".into());
    Ok(Some(json.map(read).transpose()?.unwrap_or_default()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_read_back_from_ascii() {
        let found =
            [Finding::warning("left-for-later", "café 表 𝄞", "value \"…\" of \u{fffd}").hint("GRANT … TO \"ü\"")];
        let json = as_ascii(&found[..]).expect("JSON");
        assert!(json.is_ascii(), "{json}");
        assert_eq!(serde_json::from_str::<Vec<Finding>>(&json).expect("findings"), found);
    }
}
