//! What the manifest says of PostgreSQL in fields of its own, as since the first format, and what it may not say there.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::super::path;
use super::{Entry, Manifest, PATH};
use crate::{Error, Kind, Result};

/// A PostgreSQL server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Server {
    /// Its version as it states it, such as `15.18 (Debian 15.18-0+deb12u1)`.
    pub version: String,
    /// Its version as a number, such as 150018.
    pub version_number: u32,
    /// Version of the `pg_dump` that wrote the schema.
    pub pg_dump: String,
    /// Whether it was a standby.
    #[serde(default)]
    pub standby: bool,
    /// Libraries that it loaded when it started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preload: Vec<String>,
}

/// A database and how it was captured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Database {
    /// Its name.
    pub name: String,
    /// Directory of its entries below `databases/`.
    pub directory: String,
    /// The role that owns it.
    pub owner: String,
    /// Its encoding, such as `UTF8`.
    pub encoding: String,
    /// Its locale.
    pub locale: Locale,
    /// Its default tablespace.
    pub tablespace: String,
    /// The most connections it takes, -1 for no limit.
    pub connection_limit: i32,
    /// Its access privileges as PostgreSQL writes them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub privileges: Vec<String>,
    /// Its comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// `ALTER DATABASE … SET` and `ALTER ROLE … IN DATABASE … SET`.
    #[serde(default)]
    pub settings: Vec<Setting>,
    /// What sessions in it began with, of the settings that decide what values mean, whoever set them. Where it is there,
    /// amounts of money are written by the locale C.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<BTreeMap<String, String>>,
    /// Whether it has amounts of money.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub money: bool,
    /// Its extensions.
    #[serde(default)]
    pub extensions: Vec<Extension>,
    /// Size on the server's disk in bytes.
    pub size: u64,
    /// Roles that own or may use something in it.
    #[serde(default)]
    pub roles: Vec<String>,
    /// The one picture that all its rows were read from.
    pub snapshot: Snapshot,
    /// Every table whose rows are in the bundle, empty ones included.
    pub tables: Vec<Table>,
    /// Number of sequences whose values are in the bundle.
    pub sequences: u64,
    /// Number of large objects.
    pub large_objects: u64,
    /// What every new database has and this one has not: `schema public`, `extension plpgsql`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<String>,
    /// Materialized views whose rows are not of the database alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub elsewhere: Vec<Elsewhere>,
}

/// A materialized view that must be filled once more after a restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elsewhere {
    /// Its schema and name, as SQL.
    pub view: String,
    /// What it reads, for people.
    pub reads: String,
}

/// A database's locale.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Locale {
    /// `libc`, `icu` or `builtin`.
    pub provider: String,
    /// LC_COLLATE.
    pub collate: String,
    /// LC_CTYPE.
    pub ctype: String,
    /// The locale of a provider other than libc.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The collation's version on the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// A setting of a database, or of a role in it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Setting {
    /// The role, where it is for one role alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Name of the setting.
    pub name: String,
    /// Its value; `(hidden)` where the name speaks of a secret.
    pub value: String,
}

/// An installed extension.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Extension {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The schema that its objects live in.
    pub schema: String,
}

/// The picture that a database's rows were read from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Snapshot {
    /// When it was taken, by the server's clock.
    pub time: DateTime<Utc>,
    /// Position in the write-ahead log at that time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wal: Option<String>,
}

/// A table and how many rows of it are in the bundle.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Table {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Rows counted as they passed.
    pub rows: u64,
}

/// Which slice of which table a chunk holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Index into the manifest's databases.
    pub database: usize,
    /// Index into that database's tables.
    pub table: usize,
    /// Place among the table's chunks, from 0 without gaps; rows are in the server's order when chunks are.
    pub part: u64,
    /// Rows in this chunk.
    pub rows: u64,
    /// Bytes of SQL before the first row. After the last row comes `\.` and a newline.
    pub preamble: u64,
}

impl Server {
    /// The major version of the `pg_dump` that wrote the schema; 0 where it can't be told.
    pub fn pg_dump_major(&self) -> u32 {
        major(&self.pg_dump)
    }
}

/// The number that a version begins with; 0 where there is none.
pub(crate) fn major(version: &str) -> u32 {
    let digits = version.split(|c: char| !c.is_ascii_digit()).next();
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// Gives each table's chunks the parts 0, 1, 2, … in the order of the parts that they have.
pub fn number_chunks(entries: &mut [Entry]) {
    let mut chunks: Vec<&mut Chunk> = entries.iter_mut().filter_map(|entry| entry.chunk.as_mut()).collect();
    chunks.sort_by_key(|chunk| (chunk.database, chunk.table, chunk.part));
    let mut last = None;
    let mut part = 0;
    for chunk in chunks {
        let table = (chunk.database, chunk.table);
        part = if last == Some(table) { part + 1 } else { 0 };
        last = Some(table);
        chunk.part = part;
    }
}

impl Database {
    /// Rows of all its tables. Saturates, since a hostile manifest may say anything.
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows).fold(0, u64::saturating_add)
    }
}

impl Manifest {
    /// Rows of all databases.
    pub fn rows(&self) -> u64 {
        self.databases.iter().map(Database::rows).fold(0, u64::saturating_add)
    }
}

/// A database's directory goes into commands that an operator pastes, so it holds nothing that a shell minds.
pub(in crate::bundle) fn check_directories(databases: &[Database]) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '%');
    match databases.iter().find(|database| !database.directory.chars().all(plain)) {
        Some(database) => {
            let shown = path::to_text(database.directory.as_bytes());
            Err(Error::new(Kind::Damaged, format!("{PATH}: a database's directory is not plain: {shown}")))
        }
        None => Ok(()),
    }
}

/// A chunk is of a table that there is, and has a preamble and an end.
pub(in crate::bundle) fn check_chunk(databases: &[Database], entry: &Entry) -> Result<(), String> {
    let Some(chunk) = &entry.chunk else { return Ok(()) };
    let known = databases.get(chunk.database).is_some_and(|database| chunk.table < database.tables.len());
    let long = chunk.preamble.checked_add(3).is_some_and(|least| least <= entry.size);
    if known && long { Ok(()) } else { Err("a chunk of no known table, or shorter than its own preamble".into()) }
}

/// The rows of each table, for who adds them up.
pub(in crate::bundle) fn rows_of_tables(databases: &[Database]) -> impl Iterator<Item = u64> {
    databases.iter().flat_map(|database| &database.tables).map(|table| table.rows)
}

/// The rows of each chunk, for who adds them up.
pub(in crate::bundle) fn rows_of_chunks(entries: &[Entry]) -> impl Iterator<Item = u64> {
    entries.iter().filter_map(|entry| entry.chunk.as_ref()).map(|chunk| chunk.rows)
}
