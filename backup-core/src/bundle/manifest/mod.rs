//! The manifest: every entry's size, digest and place, where it all came from, and what it says of each component.
//!
//! PostgreSQL and the control plane have fields of their own, as since the first format: [`postgres`], [`control_plane`]. Every
//! other component has a [`Section`].

pub mod control_plane;
pub mod postgres;

use std::net::IpAddr;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use control_plane::{Host, Lying, Ownership};
use postgres::{Chunk, Database, Server};

pub use super::announced::Announced;
pub use super::expanded::Expanded;
use super::header::EntryKind;
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

impl Manifest {
    /// The component whose databases alone are in it; none where it holds an orchestrator.
    pub fn component(&self) -> Option<String> {
        let name: BundleName = self.name.parse().ok()?;
        (!name.is_orchestrators()).then(|| name.component().to_owned())
    }

    /// Bytes of content of all entries.
    pub fn content(&self) -> u64 {
        self.entries.iter().map(|entry| entry.size).fold(0, u64::saturating_add)
    }
}
