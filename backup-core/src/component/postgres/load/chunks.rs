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

use super::checked::Checked;
use super::copied::Rows;
use super::opened::{Header, Opened};
use super::order::Task;
use super::refused::{LEFT_OUT, Violated};
use super::{Load, Target, notes, simple};
use crate::bundle::manifest::Entry;
use crate::bundle::reader::OpenBundle;
use crate::component::postgres::connection::Connection;
use crate::component::postgres::{command, query_failed, session, sql, tables};
use crate::event::Meter;
use crate::finding::Finding;
use crate::{Error, ErrorContext, Kind, Result};

const NOTE: &str = "rows";
/// Bytes sent at once: what fits the caches of both sides.
const MESSAGE: usize = 64 << 10;
/// Beside the settings of every connection, those that scripts of rows make. A commit that is lost in a crash of the
/// server takes its note along, and the last one waits for all before it.
const SESSION: &str = "SET xmloption = content; SET check_function_bodies = false; SET synchronous_commit = off";

/// What ends a chunk's rows.
const END: &[u8] = b"\\.\n";

/// Everything that the loaders share.
pub(super) struct Shared {
    target: Target,
    database: String,
    bundle: Arc<OpenBundle>,
    meter: Arc<Meter>,
    /// Whether every statement in the chunks is UTF-8.
    text: bool,
    /// The encoding that rows are in.
    encoding: String,
    tasks: Mutex<VecDeque<Task>>,
    /// The tables whose rows the server refused, and why.
    refused: Mutex<BTreeMap<usize, Error>>,
    /// The constraint that the last refused rows break.
    pub(super) violated: Mutex<Option<Violated>>,
}

impl Load {
    /// What was found when the rows were loaded, if all are there.
    ///
    /// # Errors
    /// Where that can't be seen.
    pub async fn rows_loaded(&self) -> Result<Option<Vec<Finding>>> {
        if self.is_noted(NOTE).await? { self.row_findings().await.map(Some) } else { Ok(None) }
    }

    /// Loads every chunk that isn't there yet. Says which constraints rows break, and which rows are left out.
    ///
    /// # Errors
    /// The tables whose rows the server refuses, once all others are loaded; any other failure at once, naming the chunk. What was
    /// loaded stays. [`Kind::Damaged`] before any row of a chunk is sent that is not as it was written.
    pub async fn load_rows(&self) -> Result<Vec<Finding>> {
        let there = self.load_missing().await?;
        self.meter.done.fetch_add(there, Relaxed);
        notes::note(&*self.ask().await?, NOTE).await?;
        self.row_findings().await
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
        let mut refused = BTreeMap::new();
        for level in self.by_level(&connection, missing).await?.into_values() {
            refused.extend(self.load(level).await?);
        }
        self.try_again(&connection, refused).await?;
        let there = noted(&connection).await?;
        for (_, entry) in self.chunks() {
            let (expected, table) = entry.chunk.as_ref().map_or((0, 0), |chunk| (chunk.rows, chunk.table));
            let is_left_out = || there.keys().any(|what| what.starts_with(&format!("{LEFT_OUT}{table} ")));
            if there.get(&entry.path) != Some(&expected) && !is_left_out() {
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

    /// What loads `tasks`.
    pub(super) fn shared(&self, tasks: VecDeque<Task>) -> Shared {
        Shared {
            target: self.target.reading(self.database()),
            database: self.shadow.clone(),
            bundle: self.bundle.clone(),
            meter: self.meter.clone(),
            text: self.database().encoding == "UTF8",
            encoding: self.database().encoding.clone(),
            tasks: Mutex::new(tasks),
            refused: Mutex::default(),
            violated: Mutex::default(),
        }
    }

    /// Loads chunks; returns the tables whose rows the server refused, and why.
    async fn load(&self, chunks: Vec<usize>) -> Result<BTreeMap<usize, Error>> {
        let bytes = chunks.iter().map(|index| self.bundle.manifest().entries[*index].size).sum();
        let tasks = self.tasks(chunks);
        let jobs = self.target.sessions_for(tasks.len(), bytes);
        let shared = Arc::new(self.shared(tasks));
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
        Ok(std::mem::take(&mut *shared.refused.lock().unwrap_or_else(PoisonError::into_inner)))
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
                let script = Checked::ours([forget.as_bytes(), empty, b");\n"].concat());
                self.target.run_script(&self.shadow, "look into an unlogged table with psql", &script).await?;
            }
        }
        Ok(())
    }
}

pub(super) async fn noted(connection: &Connection) -> Result<HashMap<String, u64>> {
    let gone = || Error::new(Kind::Failed, "read the restore's notes: somebody removed them");
    notes::read(connection).await?.ok_or_else(gone)
}

impl Shared {
    async fn load_tasks(&self) -> Result<()> {
        let connection = self.begin().await?;
        loop {
            let Some(task) = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).pop_front() else {
                return Ok(());
            };
            let table = task.first().and_then(|index| Some(self.entry(index).chunk.as_ref()?.table));
            let refused = || self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            if table.is_some_and(|table| refused().contains_key(&table)) {
                continue;
            }
            let loaded = match &task {
                Task::Chunk(index) => self.load_chunk(&connection, self.entry(*index)).await,
                Task::Table(chunks) => self.load_table(&connection, chunks).await,
            };
            match (loaded, table) {
                (Ok(()), _) => {}
                // The others are loaded first: what refuses these may read them.
                (Err(error), Some(table)) if error.is_lasting() && !connection.is_closed() => {
                    execute(&connection, "ROLLBACK").await?;
                    refused().entry(table).or_insert(error);
                }
                (Err(error), _) => return Err(error),
            }
        }
    }

    /// A connection that loads rows.
    pub(super) async fn begin(&self) -> Result<Connection> {
        let connection = self.target.connect(&self.database).await?;
        let begin = format!("{}; {SESSION}", session::AS_USERS);
        connection.batch_execute(&begin).await.map_err(|error| query_failed("begin to load rows", &error))?;
        Ok(connection)
    }

    pub(super) fn entry(&self, index: usize) -> &Entry {
        &self.bundle.manifest().entries[index]
    }

    pub(super) async fn load_chunk(&self, connection: &Connection, entry: &Entry) -> Result<()> {
        let load = async {
            let chunk = Opened::new(&self.bundle, entry)?;
            let header = Header::of(&chunk.preamble)?;
            let Some((_, copy)) = header.texts(self.text) else { return self.run(&header, chunk).await };
            execute(connection, "BEGIN").await?;
            self.copy(connection, &format!("{copy} FROM STDIN ({})", self.options()), chunk).await?;
            execute(connection, "COMMIT").await
        };
        load.await.context(|| format!("load chunk {}", entry.path))
    }

    /// The same inside the caller's transaction.
    pub(super) async fn load_inside(&self, connection: &Connection, entry: &Entry) -> Result<()> {
        let load = async {
            let chunk = Opened::new(&self.bundle, entry)?;
            let header = Header::of(&chunk.preamble)?;
            let (_, copy) = header.texts(self.text).ok_or_else(not_utf8)?;
            self.copy(connection, &format!("{copy} FROM STDIN ({})", self.options()), chunk).await
        };
        load.await.context(|| format!("load chunk {}", entry.path))
    }

    /// The table of a chunk as SQL; none where the driver can't say it, or its rows go by the topmost one of its partition.
    pub(super) fn relation(&self, entry: &Entry) -> Result<Option<String>> {
        let chunk = Opened::new(&self.bundle, entry)?;
        Ok(Header::of(&chunk.preamble)?.texts(self.text).map(|(table, _)| table.to_owned()))
    }

    /// Loads a table in one transaction. If it is emptied in the same one, its rows can be written as ones that everybody
    /// sees: nobody has to come back to mark them, neither who reads them first nor autovacuum.
    async fn load_table(&self, connection: &Connection, chunks: &[usize]) -> Result<()> {
        execute(connection, "BEGIN").await?;
        let mut freeze = None;
        for entry in chunks.iter().map(|index| self.entry(*index)) {
            let load = async {
                let chunk = Opened::new(&self.bundle, entry)?;
                let header = Header::of(&chunk.preamble)?;
                let (table, copy) = header.texts(self.text).ok_or_else(not_utf8)?;
                if freeze.is_none() {
                    freeze = Some(empty(connection, table).await?);
                }
                let option = if freeze == Some(true) { ", FREEZE" } else { "" };
                let copy = format!("{copy} FROM STDIN ({}{option})", self.options());
                self.copy(connection, &copy, chunk).await
            };
            load.await.context(|| format!("load chunk {}", entry.path))?;
        }
        execute(connection, "COMMIT").await
    }

    /// Sends the rows by the driver, and notes that they are there.
    async fn copy(&self, connection: &Connection, statement: &str, chunk: Opened<'_>) -> Result<()> {
        let failed = |error: tokio_postgres::Error| {
            *self.violated.lock().unwrap_or_else(PoisonError::into_inner) = Violated::by(&error);
            query_failed("COPY", &error)
        };
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

    /// Options of COPY.
    fn options(&self) -> String {
        format!("ENCODING {}", sql::literal(&self.encoding))
    }

    /// Sends the rows by psql, which takes a statement in any encoding. All that it runs is our own.
    async fn run(&self, header: &Header, chunk: Opened<'_>) -> Result<()> {
        simple::look_at_encoding(&self.encoding)?;
        let Opened { entry, rest, mut parts, .. } = chunk;
        let psql = self.target.psql(&self.target.parameters.with_database(&self.database));
        let mut running = command::start(psql, "run it with psql", Stdio::piped())?;
        let begin = format!("{}BEGIN;\n{SESSION};\n", self.target.fence().begin());
        let begin = format!("{begin}SET client_encoding = {};\n", sql::literal(&self.encoding));
        let begin = [begin.as_bytes(), &header.copy, b" FROM stdin;\n"].concat();
        // Spelled out, so that a script whose end never comes, because we were killed, commits nothing.
        let end = format!("{};\nCOMMIT;\n", notes::insert(&entry.path, ":ROW_COUNT"));
        let mut rows = Rows::default();
        if let Some(input) = &mut running.input {
            let _ = input.write_all(&begin).await;
        }
        let mut part = Some(rest);
        while let (Some(bytes), Some(input)) = (part, &mut running.input) {
            self.meter.read.fetch_add(bytes.len() as u64, Relaxed);
            rows.follow(&bytes)?;
            // A psql that has ended takes none, and says why by its exit status.
            let _ = input.write_all(&bytes).await;
            part = parts.next()?;
        }
        rows.finish()?;
        if let Some(input) = &mut running.input {
            let _ = input.write_all(end.as_bytes()).await;
        }
        running.finish().await?;
        self.count(entry);
        Ok(())
    }
}

pub(super) async fn execute(connection: &Connection, statement: &str) -> Result<()> {
    connection.batch_execute(statement).await.map_err(|error| query_failed("load rows", &error))
}

fn not_utf8() -> Error {
    Error::new(Kind::Damaged, "its statement is not UTF-8")
}

/// Empties a table, whose name is SQL, if it is empty already and no partitioned one; whether it was.
async fn empty(connection: &Connection, name: &str) -> Result<bool> {
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
