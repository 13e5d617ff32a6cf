//! The manifest: every entry's size, digest and place, every table's row count, where it all came from.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use super::announced::Announced;
pub use super::expanded::Expanded;
use super::header::EntryKind;
pub use super::origin::{Attributes, Lying, Ownership};
use super::path;
pub use super::section::{Items, Section};
use crate::digest::Sha256Digest;
use crate::finding::Finding;
use crate::names::BundleName;

/// Path of the manifest inside the bundle's directory.
pub const PATH: &str = "manifest.json";

/// The whole of `manifest.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Manifest {
    /// The bundle's format.
    pub format: u32,
    /// Name and version of the tool that wrote it.
    pub tool: String,
    /// The bundle's name, which is also its directory's.
    pub name: String,
    /// When the backup began.
    pub created: DateTime<Utc>,
    /// When its last entry was complete.
    pub finished: DateTime<Utc>,
    /// Where it came from.
    pub source: Source,
    /// The cluster's hosts as they were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<Host>,
    /// What it holds of PostgreSQL.
    #[serde(default)]
    pub databases: Vec<Database>,
    /// What it holds of other components, from format 4 on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<Section>,
    /// What did not go as it should, but did not stop the backup.
    #[serde(default)]
    pub warnings: Vec<Finding>,
    /// What a restore needs that is not in the bundle.
    #[serde(default)]
    pub needs: Vec<Finding>,
    /// Every entry but the manifest itself, in the order of the file.
    pub entries: Vec<Entry>,
}

/// Where a bundle came from.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Source {
    /// Name of the machine that made the bundle.
    pub host: String,
    /// The cluster's name from `cluster.conf`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The server group whose databases these are; none where the orchestrator is backed up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Whether it was asked for some of the databases alone: such a bundle never counts as the newest one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// Where its `cluster.conf` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_conf: Option<PathBuf>,
    /// How it lies there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_conf_lying: Option<Lying>,
    /// Who the cluster is, and the highest epoch of its ownership that was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ownership: Option<Ownership>,
    /// The machine's addresses but those of its loopback.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
    /// The port that the cluster's hosts took SSH connections on; 22 where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_port: Option<u16>,
    /// The release that ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// The PostgreSQL server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgres: Option<Server>,
}

/// A host of the cluster, as it was when the backup was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its name or address, as `cluster.conf` has it.
    pub host: String,
    /// Whether it answered.
    pub reachable: bool,
    /// The SSH host keys that it presented, as `TYPE SHA256:DIGEST`.
    #[serde(default)]
    pub keys: Vec<String>,
    /// The version of its agent, where it let us in and said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
}

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

/// What kind of file an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileType {
    /// A regular file.
    #[default]
    File,
    /// A regular file with holes.
    Sparse,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Another name of an earlier entry.
    Hardlink,
}

/// What the manifest says of an entry's kind: its type, and a link's target as text.
pub(crate) fn described(kind: &EntryKind) -> (FileType, Option<String>) {
    match kind {
        EntryKind::File => (FileType::File, None),
        EntryKind::Sparse(_) => (FileType::Sparse, None),
        EntryKind::Directory => (FileType::Directory, None),
        EntryKind::Symlink(target) => (FileType::Symlink, Some(path::to_text(target))),
        EntryKind::Hardlink(target) => (FileType::Hardlink, Some(path::to_text(target))),
    }
}

/// Whether it is the type that needs no word.
pub(crate) fn is_file(kind: &FileType) -> bool {
    *kind == FileType::File
}

/// One entry: what it is, where it stands, what proves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Path below the bundle's directory, escaped as `\xNN` where it is not plain text.
    pub path: String,
    /// What kind of file it is.
    #[serde(rename = "type", default, skip_serializing_if = "is_file")]
    pub kind: FileType,
    /// Target of a link, escaped likewise; a hard link's is a path below the bundle's directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Bytes of content.
    pub size: u64,
    /// SHA-256 of the content.
    pub sha256: Sha256Digest,
    /// Of a file with holes, whose content is a map and data: the file as it comes out. Bundles of earlier versions don't have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expanded: Option<Expanded>,
    /// Where the entry's blocks begin in the file.
    pub offset: u64,
    /// Bytes that the entry's blocks take in the file.
    pub stored: u64,
    /// SHA-256 of those bytes.
    pub stored_sha256: Sha256Digest,
    /// The slice of a table that it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunk: Option<Chunk>,
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

impl Entry {
    /// The entry's path as bytes.
    pub fn path_bytes(&self) -> Option<Vec<u8>> {
        path::from_text(&self.path)
    }

    /// The byte after the entry in the file.
    pub fn end(&self) -> Option<u64> {
        self.offset.checked_add(self.stored)
    }
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
    /// The component whose databases alone are in it; none where it holds an orchestrator.
    pub fn component(&self) -> Option<String> {
        let name: BundleName = self.name.parse().ok()?;
        (!name.is_orchestrators()).then(|| name.component().to_owned())
    }

    /// Rows of all databases.
    pub fn rows(&self) -> u64 {
        self.databases.iter().map(Database::rows).fold(0, u64::saturating_add)
    }

    /// Bytes of content of all entries.
    pub fn content(&self) -> u64 {
        self.entries.iter().map(|entry| entry.size).fold(0, u64::saturating_add)
    }
}
