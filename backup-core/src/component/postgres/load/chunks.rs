//! Rows: chunks loaded over several connections, each in one transaction with the note that it is there.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::process::Stdio;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{SinkExt, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio_util::task::{AbortOnDropHandle, LocalPoolHandle};

use super::order::Task;
use super::{Load, Target, notes};
use crate::bundle::manifest::{Chunk, Entry};
use crate::bundle::reader::{EntryReader, OpenBundle, ReadAt};
use crate::component::postgres::connection::Connection;
use crate::component::postgres::{command, query_failed, session, sql, tables};
use crate::event::Meter;
use crate::{Error, ErrorContext, Kind, Result};

const NOTE: &str = "rows";
/// Bytes sent at once: what fits the caches of both sides.
const MESSAGE: usize = 64 << 10;
/// A chunk up to this size is held in memory; a longer one, with a row that is longer, is read twice.
const HELD: u64 = 24 << 20;
/// Beside the settings of every connection, those that scripts of rows make. A commit that is lost in a crash of the
/// server takes its note along, and the last one waits for all before it.
const SESSION: &str = "SET xmloption = content; SET check_function_bodies = false; SET synchronous_commit = off";

/// What ends a chunk's rows.
const END: &[u8] = b"\\.\n";

/// Everything that the loaders share.
struct Shared {
    target: Target,
    database: String,
    bundle: Arc<OpenBundle>,
    meter: Arc<Meter>,
    /// Whether every statement in the chunks is UTF-8.
    text: bool,
    /// The option of COPY that says what encoding rows are in.
    encoding: String,
    tasks: Mutex<VecDeque<Task>>,
}

impl Load {
    /// Whether all rows are there.
    ///
    /// # Errors
    /// Where that can't be seen.
    pub async fn are_rows_loaded(&self) -> Result<bool> {
        self.is_noted(NOTE).await
    }

    /// Loads every chunk that isn't there yet.
    ///
    /// # Errors
    /// The first failure, naming the chunk; what was loaded stays. [`Kind::Damaged`] before any row of a chunk is sent
    /// that is not as it was written.
    pub async fn load_rows(&self) -> Result<()> {
        let there = self.load_missing().await?;
        self.meter.done.fetch_add(there, Relaxed);
        notes::note(&self.connect().await?, NOTE).await
    }

    /// The database's chunks with their places in the manifest.
    pub(super) fn chunks(&self) -> impl Iterator<Item = (usize, &Entry)> {
        let entries = self.bundle.manifest().entries.iter().enumerate();
        entries.filter(|(_, entry)| entry.chunk.as_ref().is_some_and(|chunk| chunk.database == self.index))
    }

    /// Loads every chunk that isn't there, or any more; returns the bytes of those that were.
    pub(super) async fn load_missing(&self) -> Result<u64> {
        let connection = self.connect().await?;
        self.forget_unlogged(&connection).await?;
        let there = noted(&connection).await?;
        let (done, missing): (Vec<_>, Vec<_>) = self.chunks().partition(|(_, entry)| there.contains_key(&entry.path));
        let missing: Vec<usize> = missing.into_iter().map(|(index, _)| index).collect();
        for level in self.by_level(&connection, missing).await?.into_values() {
            self.load(self.tasks(level)).await?;
        }
        let there = noted(&connection).await?;
        for (_, entry) in self.chunks() {
            let expected = entry.chunk.as_ref().map_or(0, |chunk| chunk.rows);
            if there.get(&entry.path) != Some(&expected) {
                return Err(Error::new(Kind::Failed, format!("chunk {}: the server has not all its rows", entry.path)));
            }
        }
        Ok(done.iter().map(|(_, entry)| entry.size).sum())
    }

    /// Chunks whose tables refer to none, then those whose tables refer to those, and so on.
    async fn by_level(&self, connection: &Connection, chunks: Vec<usize>) -> Result<BTreeMap<usize, Vec<usize>>> {
        let levels = tables::levels(connection).await?;
        let mut by_level: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for index in chunks {
            let chunk = self.bundle.manifest().entries[index].chunk.as_ref();
            let table = chunk.map(|chunk| &self.database().tables[chunk.table]);
            let level = table.map_or(0, |table| levels.at(&table.schema, &table.name));
            by_level.entry(level).or_default().push(index);
        }
        Ok(by_level)
    }

    async fn load(&self, tasks: VecDeque<Task>) -> Result<()> {
        let jobs = self.target.jobs.clamp(1, tasks.len().max(1));
        let shared = Arc::new(Shared {
            target: self.target.reading(self.database()),
            database: self.shadow.clone(),
            bundle: self.bundle.clone(),
            meter: self.meter.clone(),
            text: self.database().encoding == "UTF8",
            encoding: format!("ENCODING {}", sql::literal(&self.database().encoding)),
            tasks: Mutex::new(tasks),
        });
        // A thread for each, which decompresses and drives its connection too.
        let pool = LocalPoolHandle::new(jobs);
        let mut loaders: FuturesUnordered<_> = (0..jobs)
            .map(|_| {
                let shared = shared.clone();
                AbortOnDropHandle::new(pool.spawn_pinned(|| async move { shared.load_tasks().await }))
            })
            .collect();
        while let Some(loader) = loaders.next().await {
            loader.map_err(|cause| Error::new(Kind::Failed, "load rows").because(cause))??;
        }
        Ok(())
    }

    /// A crash of the server empties unlogged tables, while what is noted of their chunks is still there: it goes too.
    async fn forget_unlogged(&self, connection: &Connection) -> Result<()> {
        let failed = |error| query_failed("look for unlogged tables", &error);
        let [schema, name, qualified] =
            ["n.nspname::text", "c.relname::text", "c.oid::pg_catalog.regclass::text"].map(sql::bytes);
        let query = format!(
            "SELECT {schema}, {name}, {qualified} FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND c.relpersistence = 'u'"
        );
        let rows = connection.query(&query, &[]).await.map_err(failed)?;
        if rows.is_empty() {
            return Ok(());
        }
        let mut paths: HashMap<(&str, &str), Vec<&str>> = HashMap::new();
        for (_, entry) in self.chunks() {
            if let Some(table) = entry.chunk.as_ref().map(|chunk| &self.database().tables[chunk.table]) {
                paths.entry((&table.schema, &table.name)).or_default().push(&entry.path);
            }
        }
        for row in rows {
            let (schema, name) = (sql::text(row.get(0)), sql::text(row.get(1)));
            if let Some(paths) = paths.get(&(schema.as_str(), name.as_str())) {
                let empty: &[u8] = row.get(2);
                let forget = format!("{} AND NOT EXISTS (SELECT FROM ONLY ", notes::forget(paths));
                let script = [forget.as_bytes(), empty, b");\n"].concat();
                self.target.run_script(&self.shadow, "look into an unlogged table with psql", &script).await?;
            }
        }
        Ok(())
    }
}

async fn noted(connection: &Connection) -> Result<HashMap<String, u64>> {
    let gone = || Error::new(Kind::Failed, "read the restore's notes: somebody removed them");
    notes::read(connection).await?.ok_or_else(gone)
}

impl Shared {
    async fn load_tasks(&self) -> Result<()> {
        let connection = self.target.connect(&self.database).await?;
        let begin = format!("{}; {SESSION}", session::AS_USERS);
        connection.batch_execute(&begin).await.map_err(|error| query_failed("begin to load rows", &error))?;
        loop {
            let task = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            match task {
                None => return Ok(()),
                Some(Task::Chunk(index)) => self.load_chunk(&connection, self.entry(index)).await?,
                Some(Task::Table(chunks)) => self.load_table(&connection, &chunks).await?,
            }
        }
    }

    fn entry(&self, index: usize) -> &Entry {
        &self.bundle.manifest().entries[index]
    }

    async fn load_chunk(&self, connection: &Connection, entry: &Entry) -> Result<()> {
        let load = async {
            let chunk = Opened::new(&self.bundle, entry)?;
            let Some(header) = header(&chunk.preamble, self.text)? else { return self.run(chunk).await };
            execute(connection, "BEGIN").await?;
            let copy = format!("{header} FROM STDIN ({})", self.encoding);
            self.copy(connection, &copy, chunk).await?;
            execute(connection, "COMMIT").await
        };
        load.await.context(|| format!("load chunk {}", entry.path))
    }

    /// Loads a table in one transaction. If it is emptied in the same one, its rows can be written as ones that everybody
    /// sees: nobody has to come back to mark them, neither who reads them first nor autovacuum.
    async fn load_table(&self, connection: &Connection, chunks: &[usize]) -> Result<()> {
        execute(connection, "BEGIN").await?;
        let mut freeze = None;
        for entry in chunks.iter().map(|index| self.entry(*index)) {
            let load = async {
                let chunk = Opened::new(&self.bundle, entry)?;
                let header = header(&chunk.preamble, self.text)?;
                let header = header.ok_or_else(|| Error::new(Kind::Damaged, "its statement is not UTF-8"))?;
                if freeze.is_none() {
                    freeze = Some(empty(connection, header).await?);
                }
                let option = if freeze == Some(true) { ", FREEZE" } else { "" };
                let copy = format!("{header} FROM STDIN ({}{option})", self.encoding);
                self.copy(connection, &copy, chunk).await
            };
            load.await.context(|| format!("load chunk {}", entry.path))?;
        }
        execute(connection, "COMMIT").await
    }

    /// Sends the rows by the driver, and notes that they are there.
    async fn copy(&self, connection: &Connection, statement: &str, chunk: Opened<'_>) -> Result<()> {
        let failed = |error| query_failed("COPY", &error);
        let Opened { entry, chunk, preamble, rest, mut parts } = chunk;
        let mut sink = Box::pin(connection.copy_in::<_, Bytes>(statement).await.map_err(failed)?);
        let mut left = (entry.size - END.len() as u64).saturating_sub(preamble.len() as u64);
        let mut part = Some(rest);
        while let Some(mut bytes) = part {
            self.meter.read.fetch_add(bytes.len() as u64, Relaxed);
            bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            left -= bytes.len() as u64;
            while !bytes.is_empty() {
                let message = bytes.split_to(bytes.len().min(MESSAGE));
                sink.feed(message).await.map_err(failed)?;
            }
            part = parts.next()?;
        }
        let rows = sink.as_mut().finish().await.map_err(failed)?;
        if rows != chunk.rows {
            return Err(Error::new(Kind::Failed, format!("the server took {rows} rows of {}", chunk.rows)));
        }
        execute(connection, &notes::insert(&entry.path, &rows.to_string())).await?;
        self.count(entry);
        Ok(())
    }

    fn count(&self, entry: &Entry) {
        self.meter.done.fetch_add(entry.size, Relaxed);
        self.meter.written.fetch_add(entry.stored, Relaxed);
    }

    /// Runs the chunk as the script that it is.
    async fn run(&self, chunk: Opened<'_>) -> Result<()> {
        let Opened { entry, preamble, rest, mut parts, .. } = chunk;
        let psql = self.target.psql(&self.target.parameters.with_database(&self.database));
        let mut running = command::start(psql, "run it with psql", Stdio::piped())?;
        // Spelled out, so that a script whose end never comes, because we were killed, commits nothing.
        let end = format!("{};\nCOMMIT;\n", notes::insert(&entry.path, ":ROW_COUNT"));
        if let Some(input) = &mut running.input {
            let _ = input.write_all(b"BEGIN;\n").await;
            let _ = input.write_all(&preamble).await;
        }
        let mut part = Some(rest);
        while let (Some(bytes), Some(input)) = (part, &mut running.input) {
            self.meter.read.fetch_add(bytes.len() as u64, Relaxed);
            // A psql that has ended takes none, and says why by its exit status.
            let _ = input.write_all(&bytes).await;
            part = parts.next()?;
        }
        if let Some(input) = &mut running.input {
            let _ = input.write_all(end.as_bytes()).await;
        }
        running.finish().await?;
        self.count(entry);
        Ok(())
    }
}

async fn execute(connection: &Connection, statement: &str) -> Result<()> {
    connection.batch_execute(statement).await.map_err(|error| query_failed("load rows", &error))
}

/// Empties the table that a header names, if it is empty already and no partitioned one; whether it was.
async fn empty(connection: &Connection, header: &str) -> Result<bool> {
    let name = relation(header);
    // One of an extension may be referenced by a foreign key, and can't be emptied then; that is a trigger, too.
    let sql = "SELECT relkind = 'r' AND NOT relhastriggers AND pg_catalog.pg_relation_size(oid) = 0 FROM pg_catalog.pg_class \
        WHERE oid = pg_catalog.to_regclass($1)";
    let row = connection.query_opt(sql, &[&name]).await;
    let row = row.map_err(|error| query_failed(format!("look at table {name}"), &error))?;
    let is_empty = row.is_some_and(|row| row.get(0));
    if is_empty {
        execute(connection, &format!("TRUNCATE ONLY {name}")).await?;
    }
    Ok(is_empty)
}

/// The table that a header names, as SQL.
fn relation(header: &str) -> &str {
    let name = header.strip_prefix("COPY ").unwrap_or(header);
    let schema = sql::after_identifier(name.as_bytes());
    match name[schema..].strip_prefix('.') {
        Some(rest) => &name[..schema + 1 + sql::after_identifier(rest.as_bytes())],
        None => &name[..schema],
    }
}

/// A chunk, none of which is given before all of it is found right.
struct Opened<'b> {
    entry: &'b Entry,
    chunk: &'b Chunk,
    /// What comes before its rows.
    preamble: Bytes,
    /// What follows, as far as it was read with it.
    rest: Bytes,
    parts: Parts<'b>,
}

impl<'b> Opened<'b> {
    fn new(bundle: &'b OpenBundle, entry: &'b Entry) -> Result<Self> {
        let chunk = entry.chunk.as_ref().ok_or_else(|| Error::new(Kind::Damaged, "it is no chunk"))?;
        let mut parts = Parts::checked(bundle, entry)?;
        let mut rest = parts.next()?.unwrap_or_default();
        let length = usize::try_from(chunk.preamble).ok().filter(|length| *length <= rest.len());
        let preamble = rest.split_to(length.ok_or_else(|| Error::new(Kind::Damaged, "an absurd preamble"))?);
        Ok(Self { entry, chunk, preamble, rest, parts })
    }
}

/// `COPY table (columns)` of a chunk, or none where the driver can't send it as it is.
fn header(preamble: &[u8], text: bool) -> Result<Option<&str>> {
    let damaged = || Error::new(Kind::Damaged, "it does not begin as a chunk does");
    // The settings before it end with an empty line, and hold none.
    let at = memchr::memmem::find(preamble, b"\n\nCOPY ").ok_or_else(damaged)?;
    let header = preamble[at + 2..].strip_suffix(b" FROM stdin;\n").ok_or_else(damaged)?;
    Ok(std::str::from_utf8(header).ok().filter(|header| text || header.is_ascii()))
}

/// An entry's content, none of which is given before all of it is found right.
enum Parts<'b> {
    Held(VecDeque<Bytes>),
    Read(Box<EntryReader<'b, Box<dyn ReadAt>>>),
}

impl<'b> Parts<'b> {
    fn checked(bundle: &'b OpenBundle, entry: &'b Entry) -> Result<Self> {
        let mut reader = bundle.read(entry)?;
        let mut held = VecDeque::new();
        while let Some(part) = reader.next()? {
            if entry.size <= HELD {
                held.push_back(Bytes::copy_from_slice(part));
            }
        }
        if entry.size <= HELD { Ok(Self::Held(held)) } else { Ok(Self::Read(Box::new(bundle.read(entry)?))) }
    }

    fn next(&mut self) -> Result<Option<Bytes>> {
        match self {
            Self::Held(parts) => Ok(parts.pop_front()),
            Self::Read(reader) => Ok(reader.next()?.map(Bytes::copy_from_slice)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_a_header_is_found() {
        assert_eq!(relation("COPY chef.runs (id, \"a b\")"), "chef.runs");
        assert_eq!(relation("COPY \"a. (\"\"b\".\"c (\""), "\"a. (\"\"b\".\"c (\"");
        assert_eq!(relation("COPY plain"), "plain");
    }

    #[test]
    fn a_header_is_what_follows_the_settings() {
        let preamble = [sql::preamble("UTF8"), b"COPY \"a\n\nCOPY b\" (\"\xc3\xa9\") FROM stdin;\n".to_vec()].concat();
        let found = header(&preamble, true).expect("a header");
        assert_eq!(found, Some("COPY \"a\n\nCOPY b\" (\"é\")"));
        assert_eq!(header(&preamble, false).expect("a header"), None);
        assert!(header(b"DROP TABLE x;\nCOPY a FROM stdin;\n", true).is_err());
    }
}
