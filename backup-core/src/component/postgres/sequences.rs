//! Values of sequences, which the schema's dump leaves out.

use super::connection::Connection;
use super::tables::{EXTENSION_JOINS, NOT_AN_EXTENSIONS, READABLE, USER_SCHEMA};
use super::{query_failed, sql};
use crate::Result;

/// Sequences read by one statement.
const BATCH: usize = 200;

/// A script that sets every sequence, and their number.
pub(super) async fn script(connection: &Connection, encoding: &str) -> Result<(Vec<u8>, u64)> {
    // The text is UTF-8; only in a database without an encoding do bytes stay what they are.
    let mut script = sql::preamble(if encoding == "SQL_ASCII" { encoding } else { "UTF8" });
    let names = names(connection).await?;
    for batch in names.chunks(BATCH) {
        let selects: Vec<String> = batch
            .iter()
            .enumerate()
            .map(|(index, name)| format!("SELECT {index}, last_value, is_called FROM {name}"))
            .collect();
        let query = format!("{} ORDER BY 1", selects.join(" UNION ALL "));
        let rows = connection.query(&query, &[]).await.map_err(|error| query_failed("read the sequences", &error))?;
        for (name, row) in batch.iter().zip(&rows) {
            let (value, called): (i64, bool) = (row.get(1), row.get(2));
            script.extend(format!("SELECT pg_catalog.setval({}, {value}, {called});\n", sql::literal(name)).bytes());
        }
    }
    Ok((script, names.len() as u64))
}

async fn names(connection: &Connection) -> Result<Vec<String>> {
    let query = format!(
        "SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace {EXTENSION_JOINS} \
         WHERE c.relkind = 'S' AND {READABLE} AND {USER_SCHEMA} AND {NOT_AN_EXTENSIONS} \
         ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\""
    );
    let rows = connection.query(&query, &[]).await.map_err(|error| query_failed("list the sequences", &error))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
