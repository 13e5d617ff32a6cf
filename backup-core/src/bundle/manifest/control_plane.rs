//! What the manifest says of the control plane in fields of its own, as since the first format: its hosts, who owned the cluster, and
//! how `cluster.conf` lay on its machine. Of that the bundle holds the content alone, as an entry of nobody's.

use std::fs::Metadata;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf, absolute};

use serde::{Deserialize, Serialize};

use crate::accounts::Accounts;

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

/// How `cluster.conf` lies there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lying {
    /// The file.
    pub file: Attributes,
    /// The directory that it is in.
    pub directory: Attributes,
    /// The path that the settings, or the operator, named it by, where a link leads from there to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named: Option<PathBuf>,
}

/// A mode and an owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// The mode's lower twelve bits.
    pub mode: u32,
    /// The user's name; empty where the number has none.
    pub user: String,
    /// The group's name; empty where the number has none.
    pub group: String,
}

impl Lying {
    /// That of a file, as far as it can be seen.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let (real, accounts) = (path.canonicalize().ok()?, Accounts::load());
        let attributes = |metadata: Metadata| Attributes {
            mode: metadata.permissions().mode() & 0o7777,
            user: accounts.user(metadata.uid()),
            group: accounts.group(metadata.gid()),
        };
        let named = absolute(path).ok().filter(|named| *named != real && named.to_str().is_some());
        Some(Self {
            file: attributes(real.metadata().ok()?),
            directory: attributes(real.parent()?.metadata().ok()?),
            named,
        })
    }
}

/// What a bundle keeps of the ownership of its cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ownership {
    /// The cluster's identity: 32 hexadecimal digits.
    pub identity: String,
    /// The highest epoch that was known; 0 where nobody has ever claimed the cluster.
    pub epoch: u64,
}
