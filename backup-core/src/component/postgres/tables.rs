//! Which tables' rows are captured, decided exactly as `pg_dump` decides.

use tokio_postgres::Row;

use super::connection::Connection;
use super::psql::Psql;
use super::{query_failed, sql};
use crate::{Error, Kind, Result};

/// Condition on `n` (a schema): it is a user's. `pg_dump` leaves out `information_schema` and all that begins with `pg_`.
pub(super) const USER_SCHEMA: &str = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'";

/// Condition on `c` (a relation): its rows can be read. Temporary ones are another session's, and a standby has none of
/// what is not written to the log.
pub(super) const READABLE: &str =
    "c.relpersistence <> 't' AND (c.relpersistence = 'p' OR NOT pg_catalog.pg_is_in_recovery())";

/// Joins that tell of a relation `c` whether an extension owns it, and whether it is one of the extension's
/// configuration tables: of an extension's own tables only those are dumped, under the condition that it states.
pub(super) const EXTENSION_JOINS: &str = "\
    LEFT JOIN pg_catalog.pg_depend x ON x.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND x.objid = c.oid \
        AND x.objsubid = 0 AND x.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND x.deptype = 'e' \
    LEFT JOIN LATERAL (SELECT u.relation, u.condition FROM pg_catalog.pg_extension e, \
        unnest(e.extconfig, e.extcondition) AS u(relation, condition) \
        WHERE e.oid = x.refobjid AND u.relation = c.oid) config ON true";

/// Condition that goes with [`EXTENSION_JOINS`].
pub(super) const NOT_AN_EXTENSIONS: &str = "(x.objid IS NULL OR config.relation IS NOT NULL)";

/// The topmost table of a partition `t` whose rows must find their partition anew when they are loaded. Hashes of an
/// enum's values are made of object identifiers, which are others in another database.
const ROOT: &str = "\
    SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) FROM pg_catalog.pg_class c \
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = pg_catalog.pg_partition_root(t.oid) \
    AND EXISTS (SELECT FROM pg_catalog.pg_partition_ancestors(t.oid) a \
        JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = a.relid \
        JOIN pg_catalog.pg_opclass o ON o.oid = ANY(p.partclass) JOIN pg_catalog.pg_am m ON m.oid = o.opcmethod \
        WHERE o.opcname = 'enum_ops' AND m.amname = 'hash')";

/// A table whose rows are captured.
#[derive(Debug, Clone)]
pub(super) struct TableFacts {
    pub(super) schema: String,
    pub(super) name: String,
    /// Schema and name as SQL, which need not be UTF-8, as all SQL here.
    pub(super) qualified: Vec<u8>,
    /// Columns as SQL, generated and dropped ones left out; empty where there are none.
    pub(super) columns: Vec<u8>,
    /// Condition of an extension's configuration table, `WHERE` included.
    pub(super) condition: Option<Vec<u8>>,
    /// Whether it is an extension's configuration table, which has rows of the extension's own beside.
    pub(super) configuration: bool,
    /// Whether ctid ranges mean anything: the table is stored as a heap.
    pub(super) heap: bool,
    /// Pages of the main fork.
    pub(super) pages: u64,
    /// Bytes on disk, oversized values included.
    pub(super) bytes: u64,
    /// `COPY … FROM stdin;` with a newline, in the database's encoding. It may name the partition's topmost table.
    pub(super) header: Vec<u8>,
    /// False where the table was truncated or rewritten after the snapshot that lists it.
    pub(super) untouched: bool,
}

impl TableFacts {
    /// Whether a statement that reads it is UTF-8, as the driver needs it.
    pub(super) fn is_text(&self) -> bool {
        [&self.qualified, &self.columns].into_iter().chain(&self.condition).all(|sql| std::str::from_utf8(sql).is_ok())
    }

    /// Schema and name as SQL, for people.
    pub(super) fn shown(&self) -> String {
        sql::text(self.qualified.clone())
    }
}

/// The tables, in the order of their names.
pub(super) async fn list(connection: &Connection) -> Result<Vec<TableFacts>> {
    let [schema, name, qualified, columns, condition] =
        ["t.nspname", "t.relname", "t.qualified", "t.columns", "t.condition"].map(sql::bytes);
    let sql = format!(
        "SELECT {schema}, {name}, {qualified}, {columns}, {condition}, t.heap, t.pages, t.bytes, t.untouched, t.configuration, \
            pg_catalog.convert_to('COPY ' || COALESCE(({ROOT}), t.qualified) || CASE WHEN t.columns = '' THEN '' ELSE ' (' || t.columns || ')' END \
                || E' FROM stdin;\\n', pg_catalog.getdatabaseencoding()) \
         FROM (SELECT c.oid, n.nspname::text, c.relname::text, \
            pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) AS qualified, \
            COALESCE((SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attnum) \
                FROM pg_catalog.pg_attribute a \
                WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''), '') AS columns, \
            NULLIF(config.condition, '') AS condition, config.relation IS NOT NULL AS configuration, COALESCE(m.amname = 'heap', false) AS heap, \
            COALESCE(pg_catalog.pg_relation_size(c.oid), 0) / pg_catalog.current_setting('block_size')::int8 AS pages, \
            COALESCE(pg_catalog.pg_table_size(c.oid), 0) AS bytes, \
            COALESCE(c.relfilenode = pg_catalog.pg_relation_filenode(c.oid), false) AS untouched \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         LEFT JOIN pg_catalog.pg_am m ON m.oid = c.relam {EXTENSION_JOINS} \
         WHERE c.relkind = 'r' AND {READABLE} AND {USER_SCHEMA} AND {NOT_AN_EXTENSIONS} \
         ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\") t"
    );
    let rows = connection.query(&sql, &[]).await.map_err(|error| query_failed("list the tables", &error))?;
    Ok(rows.iter().map(facts).collect())
}

fn facts(row: &Row) -> TableFacts {
    let count = |index| u64::try_from(row.get::<_, i64>(index)).unwrap_or(0);
    TableFacts {
        schema: sql::text(row.get(0)),
        name: sql::text(row.get(1)),
        qualified: row.get(2),
        columns: row.get(3),
        condition: row.get(4),
        heap: row.get(5),
        pages: count(6),
        bytes: count(7),
        untouched: row.get(8),
        configuration: row.get(9),
        header: row.get(10),
    }
}

/// The number of a table's rows; `psql` counts where the statement is not UTF-8.
pub(super) async fn count(connection: &Connection, psql: &Psql, table: &TableFacts) -> Result<u64> {
    let condition = table.condition.as_deref().unwrap_or_default();
    let select = [b"SELECT pg_catalog.count(*) FROM ONLY ", table.qualified.as_slice(), b" ", condition].concat();
    match std::str::from_utf8(&select) {
        Ok(select) => {
            let row = connection.query_one(select, &[]).await;
            let row = row.map_err(|error| query_failed(format!("count the rows of {}", table.shown()), &error))?;
            Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or(0))
        }
        Err(_) => {
            let copy = [b"COPY (", select.as_slice(), b") TO STDOUT"].concat();
            let mut lines = psql.copy(&copy).await?;
            let line = lines.next().await?.unwrap_or_default();
            while lines.next().await?.is_some() {}
            let number = String::from_utf8_lossy(&line).trim().parse();
            number.map_err(|cause| {
                Error::new(Kind::Failed, format!("count the rows of {}", table.shown())).because(cause)
            })
        }
    }
}
