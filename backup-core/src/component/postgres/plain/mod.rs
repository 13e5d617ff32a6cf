//! A script in `pg_dump`'s plain format: what it holds, told without a server.

pub(crate) mod commands;
mod database;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod later;
mod lexer;
mod reading;
mod statement;
mod stream;

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use sha2::{Digest, Sha256};

use crate::bundle::manifest::postgres::Table;
use crate::digest::Sha256Digest;
use crate::event::Meter;
use crate::finding::bytes;
use crate::{Context, Error, ErrorContext, Kind, Result};
pub(crate) use later::{Later, described};
use lexer::Lexer;
use reading::Reading;
use statement::{NOT_PG_DUMPS, SET_TABLESPACE, is_copy, tablespace};
pub(crate) use stream::ScriptFile;

/// Bytes that are read at once, and that have one digest.
pub(crate) const PART: usize = 1 << 20;
/// The longest line of SQL that is read: it is held in memory. Rows between `COPY` and `\.` may be longer.
const LINE: u64 = 64 << 20;

/// What a script holds.
#[derive(Debug)]
pub(crate) struct Contents {
    /// Where it is.
    pub(crate) file: ScriptFile,
    /// The digest that tells it from others.
    pub(crate) sha256: Sha256Digest,
    /// Digest of each [`PART`] of its text.
    pub(crate) parts: Arc<[[u8; 32]]>,
    /// The length of its text in bytes.
    pub(crate) size: u64,
    /// The version of the server that it is of, as the server states it.
    pub(crate) server: String,
    /// The version of `pg_dump`.
    pub(crate) pg_dump: String,
    /// The encoding of its texts.
    pub(crate) encoding: String,
    /// Every table that rows are copied into, with their number.
    pub(crate) tables: Vec<Table>,
    /// Whether all its rows are copied, and so counted; others are inserted, or have a table whose name is not UTF-8.
    pub(crate) counted: bool,
    /// Whether it says whom anything belongs to.
    pub(crate) owners: bool,
    /// Roles that own or may use something.
    pub(crate) roles: BTreeSet<String>,
    /// Extensions.
    pub(crate) extensions: BTreeSet<String>,
    /// Tablespaces of single tables and indexes.
    pub(crate) tablespaces: BTreeSet<String>,
    /// Number of large objects.
    pub(crate) large_objects: u64,
    /// Whether its lines end as other systems' do: values that are inserted with line breaks in them have such ones, too.
    pub(crate) crlf: bool,
    /// Whether it makes schema public, which every new database has.
    pub(crate) makes_public: bool,
    /// What of it is not run.
    pub(crate) left_out: Vec<LeftOut>,
    /// What of it can be done later.
    pub(crate) later: Arc<[Later]>,
}

/// The statement that ends in a line of a script, or the last one before it, for people; lines are counted from 1. None where
/// the script has changed, or has not so many.
///
/// # Errors
/// Where it can't be read.
pub(crate) fn statement_at(script: &ScriptFile, line: u64) -> Result<Option<String>> {
    let doing = || format!("read {}", script.path().display());
    let mut input = BufReader::with_capacity(PART, script.open()?);
    let (mut lexer, mut copies, mut last, mut text) = (Lexer::default(), false, None, Vec::new());
    for _ in 0..line {
        text.clear();
        if input.read_until(b'\n', &mut text).context(doing)? == 0 {
            return Ok(None);
        }
        if copies {
            copies = !reading::ends_rows(&text);
            continue;
        }
        if let Some(statement) = lexer.take(&text).pop() {
            copies = is_copy(&statement);
            last = Some(described(&statement));
        }
    }
    Ok(last)
}

/// The statements of a script, each without comments and as far as it is kept.
pub(crate) fn statements(script: &[u8]) -> Vec<Vec<u8>> {
    let mut lexer = Lexer::default();
    script.split_inclusive(|byte| *byte == b'\n').flat_map(|line| lexer.take(line)).collect()
}

/// A part of a script's text that is not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeftOut {
    /// Its first byte.
    pub(crate) from: u64,
    /// The byte after its last one.
    pub(crate) to: u64,
    /// A major version of servers that know it, as newer ones do: these run it.
    pub(crate) since: Option<u32>,
}

/// Reads a script from beginning to end.
///
/// # Errors
/// [`Kind::Unsupported`] where it is no script of one database in `pg_dump`'s plain format; [`Kind::Damaged`] where its
/// end is missing.
pub(crate) fn read(script: ScriptFile, context: &Context, meter: &Meter) -> Result<Contents> {
    let path = script.path().to_owned();
    let doing = || format!("read {}", path.display());
    let text = script.open()?;
    let mut input = BufReader::with_capacity(PART, Hashed { text, whole: Sha256::new(), parts: Vec::new(), size: 0 });
    let mut reading = Reading::default();
    let mut line = Vec::new();
    let (mut counted, mut crlf) = (0, false);
    loop {
        if context.cancel.is_cancelled() {
            return Err(Error::new(Kind::Interrupted, "interrupted before the script was read"));
        }
        line.clear();
        // A row may be as long as a value can be, and need not be held.
        let limit = if reading.copy.is_some() { PART as u64 } else { LINE };
        if (&mut input).take(limit).read_until(b'\n', &mut line).context(doing)? == 0 {
            break;
        }
        if reading.copy.is_none() && line.len() as u64 == LINE {
            let message = format!("a line of it is longer than {}", bytes(LINE));
            return Err(Error::new(Kind::Unsupported, message).hint(NOT_PG_DUMPS)).context(doing);
        }
        crlf |= reading.copy.is_none() && line.starts_with(b"-- Dumped") && line.ends_with(b"\r\n");
        reading.take(&line).context(doing)?;
        let read = input.get_ref().size;
        // Whatever it is, it need not be read to its end.
        if read > LINE && reading.server.is_none() {
            return Err(not_pg_dumps()).context(doing);
        }
        meter.done.fetch_add(read - counted, Relaxed);
        meter.read.fetch_add(read - counted, Relaxed);
        counted = read;
    }
    let Hashed { whole, parts, size, .. } = input.into_inner();
    let parts = parts.into_iter().map(|part| part.finalize().into()).collect();
    let sha256 = script.digest(Sha256Digest(whole.finalize().into()))?;
    let contents = reading.finish(script).context(doing)?;
    Ok(Contents { sha256, parts, size, crlf, ..contents })
}

fn not_pg_dumps() -> Error {
    Error::new(Kind::Unsupported, "it is no script that pg_dump wrote, of version 9.5 or later").hint(NOT_PG_DUMPS)
}

/// Hashes what is read, as a whole and in parts.
struct Hashed {
    text: Box<dyn Read + Send>,
    whole: Sha256,
    parts: Vec<Sha256>,
    size: u64,
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = PART - (self.size % PART as u64) as usize;
        let length = buffer.len().min(room);
        let read = self.text.read(&mut buffer[..length])?;
        if room == PART && read > 0 {
            self.parts.push(Sha256::new());
        }
        self.whole.update(&buffer[..read]);
        if let Some(part) = self.parts.last_mut() {
            part.update(&buffer[..read]);
        }
        self.size += read as u64;
        Ok(read)
    }
}

/// The tablespaces that parts of a schema are put into.
pub(crate) fn tablespaces(script: &[u8]) -> BTreeSet<String> {
    let mut lexer = Lexer::default();
    let lines = script.split_inclusive(|byte| *byte == b'\n');
    let statements = lines.flat_map(|line| lexer.take(line));
    statements.filter_map(|text| tablespace(text.strip_prefix(SET_TABLESPACE)?)).collect()
}
