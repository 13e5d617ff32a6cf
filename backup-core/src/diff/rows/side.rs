//! Where rows are read from: a bundle's chunks, or a live database.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};

use super::unit::Shape;
use crate::bundle::manifest::Entry;
use crate::bundle::manifest::postgres::{Chunk, Database};
use crate::bundle::reader::OpenBundle;
use crate::component::postgres::{Head, Keys, Live, Pieces, primary_keys};
use crate::event::Meter;
use crate::store::blocking;
use crate::{Context, Error, ErrorContext, Kind, Result};

/// A database, wherever it is.
pub(crate) enum Side {
    Bundle(Stored),
    Live(Box<Live>),
}

impl Side {
    /// When its rows were as they are read.
    pub(super) fn time(&self) -> DateTime<Utc> {
        match self {
            Self::Bundle(stored) => stored.facts().snapshot.time,
            Self::Live(live) => live.time(),
        }
    }

    /// Its tables.
    pub(super) async fn shapes(&self) -> Result<Vec<Shape>> {
        match self {
            Self::Bundle(stored) => {
                let stored = stored.clone();
                blocking(move || stored.shapes()).await
            }
            Self::Live(live) => {
                let tables = live.tables()?.into_iter();
                let shape = tables.map(|table| Shape {
                    schema: table.schema,
                    name: table.name,
                    head: Some(table.head),
                    rows: 0,
                });
                Ok(shape.collect())
            }
        }
    }

    pub(super) async fn keys(&self) -> Result<Keys> {
        match self {
            Self::Bundle(stored) => {
                let stored = stored.clone();
                blocking(move || stored.keys()).await
            }
            Self::Live(live) => live.keys().await,
        }
    }

    /// How much there is to read of the tables that are wanted.
    pub(super) fn bytes(&self, wanted: &[bool]) -> u64 {
        match self {
            Self::Bundle(stored) => stored.chunks(wanted).map(|(entry, _)| entry.size).fold(0, u64::saturating_add),
            Self::Live(live) => live.bytes(wanted),
        }
    }

    /// Reads every row of the tables that are wanted.
    pub(super) async fn read(
        &self,
        wanted: &[bool],
        pieces: Arc<dyn Pieces>,
        jobs: usize,
        (meter, context): (&Arc<Meter>, &Context),
    ) -> Result<()> {
        match self {
            Self::Live(live) => live.read(wanted, pieces, jobs, meter).await,
            Self::Bundle(stored) => {
                let (stored, wanted, meter, context) =
                    (stored.clone(), wanted.to_owned(), meter.clone(), context.clone());
                blocking(move || stored.read(&wanted, &*pieces, &meter, &context)).await
            }
        }
    }
}

/// A database in a bundle.
#[derive(Clone)]
pub(crate) struct Stored {
    bundle: Arc<OpenBundle>,
    database: usize,
}

impl Stored {
    pub(crate) fn new(bundle: Arc<OpenBundle>, database: usize) -> Self {
        Self { bundle, database }
    }

    fn facts(&self) -> &Database {
        &self.bundle.manifest().databases[self.database]
    }

    /// The chunks of the tables that are wanted.
    fn chunks(&self, wanted: &[bool]) -> impl Iterator<Item = (&Entry, &Chunk)> {
        let entries = self.bundle.manifest().entries.iter();
        let chunks = entries.filter_map(|entry| Some((entry, entry.chunk.as_ref()?)));
        chunks.filter(|(_, chunk)| chunk.database == self.database && wanted.get(chunk.table) == Some(&true))
    }

    /// Its tables, with the columns that their first chunks name.
    fn shapes(&self) -> Result<Vec<Shape>> {
        let tables = &self.facts().tables;
        let first: Vec<_> = self.chunks(&vec![true; tables.len()]).filter(|(_, chunk)| chunk.part == 0).collect();
        let heads = Mutex::new(vec![None; tables.len()]);
        self.each(&first, |(entry, chunk)| {
            let head = self.head(entry, chunk).context(|| format!("entry {}", entry.path))?;
            heads.lock().unwrap_or_else(PoisonError::into_inner)[chunk.table] = Some(head);
            Ok(())
        })?;
        let heads = heads.into_inner().unwrap_or_else(PoisonError::into_inner);
        let shape = |(table, head): (&crate::bundle::manifest::postgres::Table, _)| Shape {
            schema: table.schema.clone(),
            name: table.name.clone(),
            head,
            rows: table.rows,
        };
        Ok(tables.iter().zip(heads).map(shape).collect())
    }

    fn head(&self, entry: &Entry, chunk: &Chunk) -> Result<Head> {
        let damaged = || Error::new(Kind::Damaged, "it does not begin as a chunk does");
        let mut reader = self.bundle.read(entry)?;
        let first = reader.next()?.unwrap_or_default();
        let length = usize::try_from(chunk.preamble).ok();
        let preamble = length.and_then(|length| first.get(..length)).ok_or_else(damaged)?;
        Head::of_preamble(preamble).ok_or_else(damaged)
    }

    /// The primary keys that its schema has.
    fn keys(&self) -> Result<Keys> {
        match self.bundle.content(&format!("databases/{}/post-data.sql", self.facts().directory)) {
            Ok(script) => Ok(primary_keys(&script)),
            // One that is longer than what is read into memory: without keys rows are counted all the same.
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Refused) => Ok(Keys::new()),
            Err(error) => Err(error),
        }
    }

    fn read(&self, wanted: &[bool], pieces: &dyn Pieces, meter: &Meter, context: &Context) -> Result<()> {
        let mut chunks: Vec<_> = self.chunks(wanted).collect();
        // In the order of the file, which is the way that a disk and a store read best.
        chunks.sort_by_key(|(entry, _)| entry.offset);
        self.each(&chunks, |(entry, chunk)| {
            let read = self.read_chunk((entry, chunk), pieces, meter, context);
            read.map_err(|error| match error.kind() {
                Kind::Damaged => Error::new(Kind::Damaged, format!("read chunk {}", entry.path)).because(error),
                _ => error,
            })
        })
    }

    fn read_chunk(
        &self,
        (entry, chunk): (&Entry, &Chunk),
        pieces: &dyn Pieces,
        meter: &Meter,
        context: &Context,
    ) -> Result<()> {
        let mut reader = self.bundle.read(entry)?;
        let mut piece = pieces.begin(chunk.table);
        let (mut skip, mut begun, mut rows, mut ended) = (chunk.preamble, Vec::new(), 0u64, false);
        while let Some(part) = reader.next()? {
            if context.cancel.is_cancelled() {
                return Err(Error::new(Kind::Interrupted, "interrupted before all rows were compared"));
            }
            meter.read.fetch_add(part.len() as u64, Relaxed);
            meter.done.fetch_add(part.len() as u64, Relaxed);
            let skipped = skip.min(part.len() as u64);
            skip -= skipped;
            let mut rest = &part[skipped as usize..];
            while let Some(end) = memchr::memchr(b'\n', rest) {
                let (line, after) = (&rest[..end], &rest[end + 1..]);
                let line = if begun.is_empty() {
                    line
                } else {
                    begun.extend_from_slice(line);
                    &begun
                };
                match line == b"\\." {
                    true => ended = true,
                    false => {
                        piece.row(line)?;
                        rows += 1;
                    }
                }
                begun.clear();
                rest = after;
            }
            begun.extend_from_slice(rest);
        }
        if !ended || rows != chunk.rows || !begun.is_empty() {
            return Err(Error::new(Kind::Damaged, "it does not hold the rows that the manifest says"));
        }
        piece.end()
    }

    /// Does something with each chunk, several at once, until one fails.
    fn each<T: Sync>(&self, chunks: &[T], work: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
        let (next, failed) = (AtomicUsize::new(0), Mutex::new(None));
        let readers = self.bundle.source().readers().min(chunks.len());
        std::thread::scope(|scope| {
            for _ in 0..readers {
                scope.spawn(|| {
                    while failed.lock().unwrap_or_else(PoisonError::into_inner).is_none()
                        && let Some(chunk) = chunks.get(next.fetch_add(1, Relaxed))
                    {
                        if let Err(error) = work(chunk) {
                            *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                        }
                    }
                });
            }
        });
        failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }
}
