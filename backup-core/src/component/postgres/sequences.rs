//! Values of sequences, which the schema's dump leaves out.

use super::connection::Connection;
use super::snapshot::Snapshot;
use super::tables::{EXTENSION_JOINS, NOT_AN_EXTENSIONS, READABLE, USER_SCHEMA};
use super::{query_failed, sql};
use crate::{Error, Kind, Result};

/// Sequences read by one statement.
const BATCH: usize = 200;

/// A sequence's name as SQL, and that as an SQL literal.
struct Name {
    qualified: Vec<u8>,
    literal: Vec<u8>,
}

/// A script that sets every sequence, and their number.
pub(super) async fn script(snapshot: &Snapshot, encoding: &str) -> Result<(Vec<u8>, u64)> {
    // The text is UTF-8; only in a database without an encoding do bytes stay what they are.
    let mut script = sql::preamble(if encoding == "SQL_ASCII" { encoding } else { "UTF8" });
    let names = names(&snapshot.connection).await?;
    for batch in names.chunks(BATCH) {
        let selects: Vec<Vec<u8>> = batch
            .iter()
            .enumerate()
            .map(|(index, name)| {
                [format!("SELECT {index}, last_value, is_called FROM ").as_bytes(), &name.qualified].concat()
            })
            .collect();
        let copy = [b"COPY (", selects.join(b" UNION ALL ".as_slice()).as_slice(), b" ORDER BY 1) TO STDOUT"].concat();
        let mut rows = snapshot.copy(&copy).await?;
        for name in batch {
            let row = rows.next().await?;
            let row = row.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
            let [_, value, called] = row.trim_end().split('\t').collect::<Vec<_>>()[..] else {
                return Err(Error::new(Kind::Failed, format!("read the sequences: the server sent {row:?}")));
            };
            script.extend(b"SELECT pg_catalog.setval(");
            script.extend(&name.literal);
            script.extend(format!(", {value}, '{called}');\n").bytes());
        }
        while rows.next().await?.is_some() {}
    }
    Ok((script, names.len() as u64))
}

async fn names(connection: &Connection) -> Result<Vec<Name>> {
    let [qualified, literal] = ["s.qualified", "pg_catalog.quote_literal(s.qualified)"].map(sql::bytes);
    let query = format!(
        "SELECT {qualified}, {literal} FROM (\
            SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) AS qualified, \
                n.nspname, c.relname \
            FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace {EXTENSION_JOINS} \
            WHERE c.relkind = 'S' AND {READABLE} AND {USER_SCHEMA} AND {NOT_AN_EXTENSIONS}) s \
         ORDER BY s.nspname COLLATE \"C\", s.relname COLLATE \"C\""
    );
    let rows = connection.query(&query, &[]).await.map_err(|error| query_failed("list the sequences", &error))?;
    Ok(rows.iter().map(|row| Name { qualified: row.get(0), literal: row.get(1) }).collect())
}
