//! Which tables' rows are captured, decided exactly as `pg_dump` decides.

use std::collections::HashMap;

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
/// enum's values are made of object identifiers, which are others in another database; so are those of arrays, ranges and
/// rows, all of whose operator classes take a pseudo-type, if there is an enum in them. What the server's own classes don't
/// hash, or a collation that tells no equal texts apart does, may be another hash there too.
const ROOT: &str = "\
    SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) FROM pg_catalog.pg_class c \
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = pg_catalog.pg_partition_root(t.oid) \
    AND EXISTS (SELECT FROM pg_catalog.pg_partition_ancestors(t.oid) a \
        JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = a.relid \
        JOIN pg_catalog.pg_opclass o ON o.oid = ANY(p.partclass) JOIN pg_catalog.pg_type y ON y.oid = o.opcintype \
        WHERE p.partstrat = 'h' AND (y.typtype = 'p' OR o.oid >= 16384 OR EXISTS (SELECT FROM pg_catalog.pg_collation l \
            WHERE l.oid = ANY(p.partcollation) AND NOT l.collisdeterministic)))";

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

/// A table's schema and name.
type Name = (String, String);

/// How many others' rows must be there before a table's: those that its foreign keys refer to, and those that theirs do.
///
/// Foreign keys of users come after all rows. An extension's own configuration tables have theirs from the beginning.
pub(super) struct Levels(HashMap<Name, usize>);

impl Levels {
    /// A table's level, 0 where it refers to none.
    pub(super) fn of(&self, table: &TableFacts) -> usize {
        self.at(&table.schema, &table.name)
    }

    /// The level of the table of this name.
    pub(super) fn at(&self, schema: &str, name: &str) -> usize {
        self.0.get(&(schema.to_owned(), name.to_owned())).copied().unwrap_or(0)
    }

    /// Tables that refer to one another in a circle come last, as nothing is right for them.
    fn new(references: &[(Name, Name)]) -> Self {
        let mut levels = HashMap::new();
        // No way without a circle is longer than the number of steps there are.
        for _ in 0..=references.len() {
            for (from, to) in references.iter().filter(|(from, to)| from != to) {
                let least = levels.get(to).copied().unwrap_or(0) + 1;
                let level = levels.entry(from.clone()).or_insert(0);
                *level = least.clamp(*level, references.len() + 1);
            }
        }
        Self(levels)
    }
}

/// The levels of the configuration tables of extensions in the database that `connection` is in.
pub(super) async fn levels(connection: &Connection) -> Result<Levels> {
    let [schema, name, other_schema, other] =
        ["n.nspname::text", "c.relname::text", "fn.nspname::text", "f.relname::text"].map(sql::bytes);
    let query = format!(
        "SELECT {schema}, {name}, {other_schema}, {other} FROM pg_catalog.pg_constraint k \
         JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_catalog.pg_class f ON f.oid = k.confrelid JOIN pg_catalog.pg_namespace fn ON fn.oid = f.relnamespace \
         WHERE k.contype = 'f' AND EXISTS (SELECT FROM pg_catalog.pg_extension e WHERE k.conrelid = ANY(e.extconfig)) \
            AND EXISTS (SELECT FROM pg_catalog.pg_extension e WHERE k.confrelid = ANY(e.extconfig))"
    );
    let rows = connection.query(&query, &[]).await;
    let rows = rows.map_err(|error| query_failed("list the foreign keys of extensions", &error))?;
    let text = |row: &Row, index: usize| sql::text(row.get(index));
    let pairs: Vec<(Name, Name)> =
        rows.iter().map(|row| ((text(row, 0), text(row, 1)), (text(row, 2), text(row, 3)))).collect();
    Ok(Levels::new(&pairs))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_come_after_those_that_they_refer_to() {
        let named = |name: &str| ("s".to_owned(), name.to_owned());
        let pairs = [("c", "b"), ("b", "a"), ("a", "a"), ("d", "a"), ("x", "y"), ("y", "x")];
        let levels = Levels::new(&pairs.map(|(from, to)| (named(from), named(to))));
        let of = ["a", "b", "c", "d", "free"].map(|name| levels.at("s", name));
        assert_eq!(of, [0, 1, 2, 1, 0]);
        assert!(levels.at("s", "x") > 2 && levels.at("s", "y") > 2);
    }
}
