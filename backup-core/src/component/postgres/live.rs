//! The rows of a live database as a backup would read them now, for whoever wants to look at them.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::connection::{Parameters, connect};
use super::head::{Head, Keys};
use super::rows::{self, Sink, Source, Task};
use super::snapshot::{self, Rows, Snapshot};
use super::tables::USER_SCHEMA;
use super::{ReadyPostgres, discover, query_failed};
use crate::bundle::manifest::postgres::{Database, Extension, Setting};
use crate::event::Meter;
use crate::{Error, Kind, Result};

/// Takes rows from several readers at once, each in pieces of its own.
pub(crate) trait Pieces: Send + Sync {
    /// Begins a piece of a table, which is named by its place among the tables.
    fn begin(&self, table: usize) -> Box<dyn Piece + '_>;
}

/// Takes rows of one table.
pub(crate) trait Piece: Send {
    /// Takes a row: a line as `COPY` writes it, without its end.
    ///
    /// # Errors
    /// Where it is no row of that table.
    fn row(&mut self, line: &[u8]) -> Result<()>;

    /// Ends the piece.
    ///
    /// # Errors
    /// Where what was taken can't be kept.
    fn end(self: Box<Self>) -> Result<()>;
}

/// One picture of a live database. It ends when dropped.
pub(crate) struct Live {
    parameters: Parameters,
    major: u32,
    encoding: String,
    snapshot: Snapshot,
}

/// A table of it.
pub(crate) struct LiveTable {
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) head: Head,
}

/// What decides how a value is written, beside what every connection of ours sets.
const WRITES: [&str; 2] = ["TimeZone", "bytea_output"];

impl Live {
    /// Takes a picture of the database `name`. Its rows are written as those of the database `like` of a bundle.
    ///
    /// # Errors
    /// Where it can't be read.
    pub(crate) async fn open(server: &ReadyPostgres, name: &str, like: &Database) -> Result<Self> {
        let facts = server.databases.iter().find(|facts| facts.name == name);
        let facts = facts.ok_or_else(|| Error::new(Kind::NotFound, format!("database {name}")))?;
        let mut parameters = server.parameters.with_database(name);
        for setting in WRITES {
            let there = |all: &[Setting]| own(all, setting).map(str::to_owned);
            let recorded = like.session.as_ref().and_then(|session| session.get(setting).cloned());
            // Bundles of earlier versions have what the database itself set, and nothing of its server.
            let value = match (recorded, there(&like.settings), there(&facts.settings)) {
                (Some(recorded), ..) => recorded,
                (None, then, now) if then == now => continue,
                (None, Some(then), _) => then,
                (None, None, _) => elsewhere(server, setting).await?,
            };
            parameters = parameters.with_settings([(setting, value.as_str())]);
        }
        let snapshot = snapshot::take(&server.tools, &parameters).await?;
        Ok(Self { parameters, major: server.server.major(), encoding: facts.encoding.clone(), snapshot })
    }

    /// When the picture was taken, by the server's clock.
    pub(crate) fn time(&self) -> DateTime<Utc> {
        self.snapshot.taken.time
    }

    /// Its tables.
    ///
    /// # Errors
    /// Where one can't be understood.
    pub(crate) fn tables(&self) -> Result<Vec<LiveTable>> {
        let table = |facts: &super::tables::TableFacts| {
            let head = Head::of_copy(&facts.header);
            let head = head.ok_or_else(|| Error::new(Kind::Failed, format!("look at table {}", facts.shown())))?;
            Ok(LiveTable { schema: facts.schema.clone(), name: facts.name.clone(), head })
        };
        self.snapshot.tables.iter().map(table).collect()
    }

    /// Bytes on disk of the tables that are `wanted`.
    pub(crate) fn bytes(&self, wanted: &[bool]) -> u64 {
        self.snapshot.tables.iter().zip(wanted).filter(|(_, wanted)| **wanted).map(|(table, _)| table.bytes).sum()
    }

    /// What tells rows apart: primary keys, and unique indexes over columns that are never null.
    ///
    /// # Errors
    /// A failed query.
    pub(crate) async fn keys(&self) -> Result<Keys> {
        let query = format!(
            "SELECT pg_catalog.convert_to(pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) \
                || ' (' || k.columns || ')', pg_catalog.getdatabaseencoding()) \
             FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indrelid \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             CROSS JOIN LATERAL (SELECT \
                pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY u.place) AS columns, \
                pg_catalog.bool_and(COALESCE(a.attnotnull AND a.attgenerated = '', false)) AS never_null \
                FROM pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY AS u(number, place) \
                LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.number \
                WHERE u.place <= i.indnkeyatts) k \
             WHERE i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL AND k.never_null \
                AND c.relkind IN ('r', 'p') AND {USER_SCHEMA} \
             ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid"
        );
        let rows = self.snapshot.connection.query(&query, &[]).await;
        let rows = rows.map_err(|error| query_failed("list the tables' keys", &error))?;
        let mut keys = Keys::new();
        for head in rows.iter().filter_map(|row| Head::parse(row.get(0))) {
            keys.entry(head.table).or_default().push(head.columns);
        }
        Ok(keys)
    }

    /// Its extensions.
    ///
    /// # Errors
    /// A failed query.
    pub(crate) async fn extensions(&self) -> Result<Vec<Extension>> {
        discover::extensions(&self.snapshot.connection).await
    }

    /// Reads every row of the tables that are `wanted`, over several connections.
    ///
    /// # Errors
    /// The first failure, or what `pieces` returns.
    pub(crate) async fn read(
        &self,
        wanted: &[bool],
        pieces: Arc<dyn Pieces>,
        jobs: usize,
        meter: &Arc<Meter>,
    ) -> Result<()> {
        let source = Source {
            parameters: &self.parameters,
            snapshot: &self.snapshot,
            major: self.major,
            encoding: &self.encoding,
            jobs,
        };
        let wanted = |table: usize| wanted.get(table) == Some(&true);
        rows::read(&source, wanted, Taken { pieces, meter: meter.clone() }, meter).await?;
        // Had it ended, its locks would have gone with it, and a table that was emptied since would look empty.
        self.snapshot.check_alive().await
    }
}

/// The value that a setting had while the rows of a bundle's database were written; none where nothing tells it.
pub(crate) fn written_by<'d>(database: &'d Database, setting: &str) -> Option<&'d str> {
    let recorded = database.session.as_ref().and_then(|session| session.get(setting)).map(String::as_str);
    recorded.or_else(|| own(&database.settings, setting))
}

/// What the database itself sets.
fn own<'s>(settings: &'s [Setting], name: &str) -> Option<&'s str> {
    let found = settings.iter().find(|one| one.role.is_none() && one.name.eq_ignore_ascii_case(name));
    found.map(|found| found.value.as_str())
}

/// What a setting is where the database itself does not set it.
async fn elsewhere(server: &ReadyPostgres, setting: &str) -> Result<String> {
    let connection = connect(&server.parameters.with_database("template1")).await?;
    let row = connection.query_one("SELECT pg_catalog.current_setting($1)", &[&setting]).await;
    Ok(row.map_err(|error| query_failed(format!("read setting {setting}"), &error))?.get(0))
}

struct Taken {
    pieces: Arc<dyn Pieces>,
    meter: Arc<Meter>,
}

impl Sink for Taken {
    async fn take(&self, task: &Task, mut rows: Rows) -> Result<()> {
        let mut piece = self.pieces.begin(task.table);
        while let Some(row) = rows.next().await? {
            rows::refuse_other_than_a_line(&row)?;
            self.meter.read.fetch_add(row.len() as u64, std::sync::atomic::Ordering::Relaxed);
            piece.row(&row[..row.len() - 1])?;
        }
        piece.end()
    }
}
