//! Rows: read by `COPY` over several connections under one snapshot, cut into chunks that are scripts of their own.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio_postgres::error::SqlState;
use tokio_util::task::{AbortOnDropHandle, LocalPoolHandle};

use super::connection::{Connection, Parameters};
use super::snapshot::{self, Rows, Snapshot};
use super::tables::TableFacts;
use super::{query_failed, sql, words};
use crate::bundle::manifest::postgres::Chunk;
use crate::bundle::writer::{Growing, Writer};
use crate::event::Meter;
use crate::{Cause, Error, Kind, Result};

/// A chunk is closed after the row that brings it to this size.
const CHUNK: u64 = 16 << 20;
/// A table is read in ranges of about this size on disk.
const RANGE: u64 = 32 << 20;
/// The first version whose ctid range scans read only their range.
const RANGE_SCANS: u32 = 14;

/// What ends a chunk's rows.
const END: &[u8] = b"\\.\n";

/// A table, or pages of it, to be read by one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Task {
    pub(super) table: usize,
    /// First page and the page after the last, which is none for the table's end. `None` means the whole table.
    pages: Option<(u64, Option<u64>)>,
    /// Place among the table's tasks.
    ordinal: u64,
    /// Bytes on disk, for progress.
    weight: u64,
}

/// What takes the rows that are read, from several readers at once.
pub(super) trait Sink: Send + Sync + 'static {
    /// Takes all rows of a task.
    async fn take(&self, task: &Task, rows: Rows) -> Result<()>;
}

/// Everything that the readers share.
struct Shared<S> {
    parameters: Parameters,
    snapshot: String,
    tables: Vec<TableFacts>,
    encoding: String,
    meter: Arc<Meter>,
    tasks: Mutex<VecDeque<Task>>,
    /// Tasks whose table's lock was not to be had at once, or whose statement is not UTF-8.
    refused: Mutex<Vec<Task>>,
    sink: S,
}

/// Writes rows into a bundle, cut into chunks.
struct Chunks {
    preamble: Vec<u8>,
    /// What follows it, for each table.
    headers: Vec<Vec<u8>>,
    database: usize,
    directory: String,
    writer: Writer,
    number: AtomicU64,
    written: Mutex<Vec<Written>>,
}

/// A chunk that was written.
#[derive(Debug)]
pub(super) struct Written {
    /// Index of its table.
    pub(super) table: usize,
    /// Orders a table's chunks, with gaps.
    pub(super) part: u64,
    pub(super) rows: u64,
    pub(super) number: u64,
}

/// Where the rows come from.
pub(super) struct Source<'s> {
    pub(super) parameters: &'s Parameters,
    pub(super) snapshot: &'s Snapshot,
    pub(super) major: u32,
    pub(super) encoding: &'s str,
    pub(super) jobs: usize,
}

/// Where they go in the bundle.
pub(super) struct Place<'p> {
    /// Index of the database in the manifest.
    pub(super) database: usize,
    /// Directory of its entries in the bundle.
    pub(super) directory: &'p str,
}

/// Reads every row of every table into `writer`; returns the chunks in the order of tables and rows.
///
/// A chunk's `part` in its entry is not yet its final one: it orders a table's chunks, with gaps.
pub(super) async fn capture(
    source: Source<'_>,
    place: Place<'_>,
    writer: &Writer,
    meter: &Arc<Meter>,
) -> Result<Vec<Written>> {
    let chunks = Arc::new(Chunks {
        preamble: sql::preamble(source.encoding),
        headers: source.snapshot.tables.iter().map(|table| table.header.clone()).collect(),
        database: place.database,
        directory: place.directory.into(),
        writer: writer.clone(),
        number: AtomicU64::new(1),
        written: Mutex::default(),
    });
    read(&source, |_| true, chunks.clone(), meter).await?;
    let mut written = std::mem::take(&mut *chunks.written.lock().unwrap_or_else(PoisonError::into_inner));
    written.sort_by_key(|chunk| (chunk.table, chunk.part));
    Ok(written)
}

/// Reads every row of the tables that are `wanted` into `sink`.
pub(super) async fn read<S: Sink>(
    source: &Source<'_>,
    wanted: impl Fn(usize) -> bool,
    sink: S,
    meter: &Arc<Meter>,
) -> Result<()> {
    let mut tasks = plan(&source.snapshot.tables, source.major >= RANGE_SCANS);
    tasks.retain(|task| wanted(task.table));
    let jobs = source.jobs.clamp(1, tasks.len().max(1));
    let shared = Arc::new(Shared {
        parameters: source.parameters.clone(),
        snapshot: source.snapshot.id.clone(),
        tables: source.snapshot.tables.clone(),
        encoding: source.encoding.into(),
        meter: meter.clone(),
        tasks: Mutex::new(tasks),
        refused: Mutex::default(),
        sink,
    });
    // A thread for each, which drives its connection too: rows that change threads on their way cost twice as much.
    let pool = LocalPoolHandle::new(jobs);
    let mut readers: FuturesUnordered<_> = (0..jobs)
        .map(|_| {
            let shared = shared.clone();
            AbortOnDropHandle::new(pool.spawn_pinned(|| read_tasks(shared)))
        })
        .collect();
    while let Some(reader) = readers.next().await {
        reader.map_err(|cause| Error::new(Kind::Failed, "read rows").because(cause))??;
    }
    // The snapshot has these locks, so it need not wait behind whoever waits for them.
    let refused = std::mem::take(&mut *shared.refused.lock().unwrap_or_else(PoisonError::into_inner));
    for task in refused {
        let rows = source.snapshot.copy(&statement(&shared, &task)).await;
        finish(&shared, &task, take(&shared, rows, &task).await)?;
    }
    Ok(())
}

/// Path of a chunk below its database's directory.
pub(super) fn chunk_path(number: u64) -> String {
    format!("data/{number:06}.sql")
}

/// Cuts big tables into ranges; the largest tables come first, so that the readers end together.
fn plan(tables: &[TableFacts], ranges: bool) -> VecDeque<Task> {
    let mut order: Vec<usize> = (0..tables.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(tables[*index].bytes));
    let mut tasks = VecDeque::new();
    for table in order {
        let facts = &tables[table];
        let cuts = (facts.bytes / RANGE).min(facts.pages);
        if !ranges || !facts.heap || facts.condition.is_some() || cuts < 2 {
            tasks.push_back(Task { table, pages: None, ordinal: 0, weight: facts.bytes });
            continue;
        }
        for ordinal in 0..cuts {
            let page = |cut: u64| cut * facts.pages / cuts;
            // The last range is open: rows on pages added since the size was read belong to the snapshot too.
            let end = (ordinal + 1 < cuts).then(|| page(ordinal + 1));
            tasks.push_back(Task { table, pages: Some((page(ordinal), end)), ordinal, weight: facts.bytes / cuts });
        }
    }
    tasks
}

async fn read_tasks<S: Sink>(shared: Arc<Shared<S>>) -> Result<()> {
    let connection = snapshot::join(&shared.parameters, &shared.snapshot).await?;
    loop {
        let task = shared.tasks.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(task) = task else { return Ok(()) };
        let statement = match String::from_utf8(statement(&shared, &task)) {
            Ok(statement) if lock(&shared, &connection, &task).await? => statement,
            _ => {
                shared.refused.lock().unwrap_or_else(PoisonError::into_inner).push(task);
                continue;
            }
        };
        let rows = snapshot::copy(&connection, &statement).await;
        finish(&shared, &task, take(&shared, rows, &task).await)?;
        connection.batch_execute(UNLOCK).await.map_err(|error| query_failed("COPY", &error))?;
    }
}

/// Gives back what [`lock`] took.
const UNLOCK: &str = "ROLLBACK TO SAVEPOINT task; RELEASE SAVEPOINT task";

/// Locks a task's table below a savepoint, so that locks don't add up; false where others come first.
///
/// Without waiting: the snapshot's owner holds the lock already, and behind a waiting exclusive lock, which waits for
/// the owner, this reader would wait for ever.
async fn lock<S: Sink>(shared: &Shared<S>, connection: &Connection, task: &Task) -> Result<bool> {
    let table = shared.tables[task.table].shown();
    let lock = format!("SAVEPOINT task; LOCK TABLE ONLY {table} IN ACCESS SHARE MODE NOWAIT");
    match connection.batch_execute(&lock).await {
        Ok(()) => Ok(true),
        Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
            connection.batch_execute(UNLOCK).await.map_err(|error| query_failed("COPY", &error))?;
            Ok(false)
        }
        Err(error) => Err(query_failed(format!("lock table {table}"), &error)),
    }
}

/// Counts a task as done, or says which table it was.
fn finish<S>(shared: &Shared<S>, task: &Task, result: Result<()>) -> Result<()> {
    let table = &shared.tables[task.table];
    result.map_err(|error| {
        let long = error.came_of(Cause::TooLong);
        let error = Error::new(error.kind(), format!("read table {}", table.shown())).because(error);
        if long { error.hint(words::too_long(&table.shown())) } else { error }
    })?;
    shared.meter.done.fetch_add(task.weight, Relaxed);
    Ok(())
}

async fn take<S: Sink>(shared: &Shared<S>, rows: Result<Rows>, task: &Task) -> Result<()> {
    shared.sink.take(task, rows?).await
}

/// The statement that `pg_dump` would use, or the same rows page range by page range.
fn statement<S>(shared: &Shared<S>, task: &Task) -> Vec<u8> {
    let TableFacts { qualified, columns, condition, .. } = &shared.tables[task.table];
    let options = format!(" TO STDOUT (ENCODING {})", sql::literal(&shared.encoding)).into_bytes();
    match (task.pages, condition) {
        (Some((from, to)), _) => {
            let below = to.map(|to| format!(" AND ctid < '({to},0)'::pg_catalog.tid")).unwrap_or_default();
            let range = format!(" WHERE ctid >= '({from},0)'::pg_catalog.tid{below})").into_bytes();
            [b"COPY (SELECT ", columns.as_slice(), b" FROM ONLY ", qualified, &range, &options].concat()
        }
        (None, Some(condition)) => {
            [b"COPY (SELECT ", columns.as_slice(), b" FROM ", qualified, b" ", condition, b")", &options].concat()
        }
        (None, None) if columns.is_empty() => [b"COPY ", qualified.as_slice(), &options].concat(),
        (None, None) => [b"COPY ", qualified.as_slice(), b" (", columns, b")", &options].concat(),
    }
}

/// One message is one line. A server that sent anything else could end the rows early, or put commands of its own after
/// them.
pub(super) fn refuse_other_than_a_line(row: &[u8]) -> Result<()> {
    if memchr::memchr(b'\n', row) != Some(row.len().wrapping_sub(1)) || row == END {
        return Err(Error::new(Kind::Failed, "the server sent a row that is not one line"));
    }
    Ok(())
}

impl Sink for Arc<Chunks> {
    async fn take(&self, task: &Task, mut rows: Rows) -> Result<()> {
        let mut cutter = Cutter { chunks: self, task, open: None, part: 0 };
        while let Some(row) = rows.next().await? {
            cutter.take(&row).await?;
        }
        cutter.close().await
    }
}

/// Cuts the rows of one task into chunks.
struct Cutter<'s> {
    chunks: &'s Chunks,
    task: &'s Task,
    open: Option<Open>,
    part: u64,
}

struct Open {
    entry: Growing,
    rows: u64,
    preamble: u64,
    number: u64,
}

/// Begins a chunk of a task's table.
async fn begin(chunks: &Chunks, task: &Task) -> Open {
    let number = chunks.number.fetch_add(1, Relaxed);
    let path = format!("{}/{}", chunks.directory, chunk_path(number));
    let mut entry = chunks.writer.growing(chunks.writer.private_head(&path));
    entry.write(&chunks.preamble).await;
    entry.write(&chunks.headers[task.table]).await;
    let preamble = entry.size();
    Open { entry, rows: 0, preamble, number }
}

impl Cutter<'_> {
    async fn take(&mut self, row: &[u8]) -> Result<()> {
        refuse_other_than_a_line(row)?;
        // Borrowed where it stands: to move it out and back for every row costs as much as copying the row.
        let open = match &mut self.open {
            Some(open) => open,
            none => none.insert(begin(self.chunks, self.task).await),
        };
        open.entry.write(row).await;
        open.rows += 1;
        if open.entry.size() >= CHUNK { self.close().await } else { Ok(()) }
    }

    async fn close(&mut self) -> Result<()> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        open.entry.write(END).await;
        let part = (self.task.ordinal << 32) + self.part;
        self.part += 1;
        let written = Written { table: self.task.table, part, rows: open.rows, number: open.number };
        self.chunks.written.lock().unwrap_or_else(PoisonError::into_inner).push(written);
        let chunk = Chunk {
            database: self.chunks.database,
            table: self.task.table,
            part,
            rows: open.rows,
            preamble: open.preamble,
        };
        open.entry.finish(Some(chunk)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(pages: u64, bytes: u64) -> TableFacts {
        TableFacts {
            schema: "s".into(),
            name: "t".into(),
            qualified: "s.t".into(),
            columns: "a".into(),
            condition: None,
            configuration: false,
            heap: true,
            pages,
            bytes,
            header: Vec::new(),
            untouched: true,
        }
    }

    #[test]
    fn ranges_cover_every_page_once_and_the_last_is_open() {
        let tasks = plan(&[table(10_001, 10 * RANGE)], true);
        assert_eq!(tasks.len(), 10);
        let mut next = 0;
        for task in &tasks {
            let (from, to) = task.pages.expect("a range");
            assert_eq!(from, next);
            next = to.unwrap_or(u64::MAX);
        }
        assert_eq!(next, u64::MAX);
    }

    #[test]
    fn a_table_of_few_pages_and_much_else_is_cut_by_its_pages() {
        assert_eq!(plan(&[table(3, 100 * RANGE)], true).len(), 3);
    }

    #[test]
    fn old_servers_and_small_tables_are_read_whole() {
        let whole = |tasks: VecDeque<Task>| tasks.len() == 1 && tasks[0].pages.is_none();
        assert!(whole(plan(&[table(10_000, 10 * RANGE)], false)));
        assert!(whole(plan(&[table(100, RANGE)], true)));
    }
}
