//! What of a database is there already: its indexes and constraints, as pg_restore's list describes them.

use std::collections::HashSet;

use super::archive::{described, is_of};
use crate::Result;
use crate::component::postgres::connection::Connection;
use crate::component::postgres::query_failed;

/// The kinds that are looked for. Nothing else says that one of them is gone.
const KNOWN: [&str; 4] = ["INDEX", "CONSTRAINT", "CHECK CONSTRAINT", "FK CONSTRAINT"];

/// What begins as one of them, and is none.
const ATTACH: &str = "INDEX ATTACH";

/// The indexes that are whole, and the constraints; and all roles, which may own them.
pub(super) struct Built {
    there: HashSet<Vec<u8>>,
    roles: HashSet<Vec<u8>>,
}

impl Built {
    pub(super) async fn read(connection: &Connection) -> Result<Self> {
        // As pg_dump wrote it: in the database's own encoding, and each on one line.
        let bytes = |text: &str| {
            format!(
                "pg_catalog.convert_to(pg_catalog.translate({text}, E'\\n\\r', '  '), pg_catalog.getdatabaseencoding())"
            )
        };
        let sql = format!(
            "SELECT {} FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE (i.indisvalid OR c.relkind = 'I') AND n.nspname NOT IN ('pg_catalog', 'pg_toast') \
             UNION ALL SELECT {} FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_namespace n ON n.oid = k.connamespace \
             LEFT JOIN pg_catalog.pg_class t ON t.oid = k.conrelid LEFT JOIN pg_catalog.pg_type y ON y.oid = k.contypid \
             LEFT JOIN pg_catalog.pg_class c ON c.oid = k.conindid AND k.contype IN ('p', 'u', 'x') \
             LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid \
             WHERE n.nspname <> 'pg_catalog' AND (i.indexrelid IS NULL OR i.indisvalid OR c.relkind = 'I')",
            bytes("'INDEX ' || n.nspname || ' ' || c.relname"),
            bytes(
                "CASE k.contype WHEN 'c' THEN 'CHECK ' WHEN 'f' THEN 'FK ' ELSE '' END || 'CONSTRAINT ' || n.nspname || ' ' \
                 || COALESCE(t.relname, y.typname) || ' ' || k.conname"
            )
        );
        let failed = |error| query_failed("list the indexes", &error);
        let there = connection.query(&sql, &[]).await.map_err(failed)?;
        let sql = format!("SELECT {} FROM pg_catalog.pg_roles", bytes("rolname::text"));
        let roles = connection.query(&sql, &[]).await.map_err(failed)?;
        let set = |rows: Vec<tokio_postgres::Row>| rows.iter().map(|row| row.get(0)).collect();
        Ok(Self { there: set(there), roles: set(roles) })
    }

    /// Whether what a line speaks of is there; false of other kinds.
    fn has(&self, line: &[u8]) -> bool {
        let Some(entry) = described(line) else { return false };
        // Its owner stands last, and both may have spaces in their names.
        let is_it = |at: usize| self.there.contains(&entry[..at]) && self.roles.contains(&entry[at + 1..]);
        memchr::memchr_iter(b' ', entry).any(is_it)
    }

    /// The lines of what is not there, or not known to be.
    pub(super) fn missing(&self, list: &[Vec<u8>]) -> Vec<Vec<u8>> {
        list.iter().filter(|line| !self.has(line)).cloned().collect()
    }

    /// Those of what is certainly not there.
    pub(super) fn lost<'l>(&self, list: &'l [Vec<u8>]) -> impl Iterator<Item = &'l Vec<u8>> {
        list.iter().filter(|line| is_of(line, &KNOWN) && !is_of(line, &[ATTACH]) && !self.has(line))
    }
}
