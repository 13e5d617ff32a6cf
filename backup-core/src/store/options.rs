//! How a store is to be used: what the settings say of it beside its address.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Address, Rate};
use crate::cluster::secret::Secret;

/// A store as the settings name it.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// Where it is.
    pub address: Address,
    /// Where a file system must be mounted, or nothing is read and written there; counts for directories alone.
    pub require_mount: Option<PathBuf>,
    /// Whether its bundles outlive this machine, where the settings say it.
    pub elsewhere: Option<bool>,
    /// How fast bundles may be read and written there, if it is said.
    pub limit_rate: Option<Rate>,
    /// What counts for S3 alone.
    pub s3: S3Options,
    /// What counts for SFTP alone.
    pub sftp: SftpOptions,
    /// What counts for remotes of rclone alone.
    pub rclone: RcloneOptions,
}

impl StoreSettings {
    /// A store of which nothing but the address is known.
    pub fn new(address: Address) -> Self {
        let (s3, sftp, rclone) = Default::default();
        Self { address, require_mount: None, elsewhere: None, limit_rate: None, s3, sftp, rclone }
    }

    /// The same store at another address, where that lies in it or in the same bucket or machine, and how near it is.
    pub(super) fn nearness(&self, address: &Address) -> Option<usize> {
        match (&self.address, address) {
            (Address::Directory(own), Address::Directory(other)) => {
                let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
                let (own, other) = (whole(own), whole(other));
                other.starts_with(&own).then(|| own.components().count())
            }
            (Address::S3(own), Address::S3(other)) if own.bucket == other.bucket => {
                Some(shared(&own.prefix, &other.prefix))
            }
            (Address::Sftp(own), Address::Sftp(other)) if own.host == other.host && own.port == other.port => {
                Some(shared(&own.path, &other.path))
            }
            (Address::Rclone(own), Address::Rclone(other)) if own.remote == other.remote => {
                Some(shared(&own.path, &other.path))
            }
            _ => None,
        }
    }
}

/// How many parts of their paths two places share.
fn shared(one: &str, other: &str) -> usize {
    let parts = Path::new(one).components().zip(Path::new(other).components());
    parts.take_while(|(one, other)| one == other).count()
}

/// How S3 is reached, and how what is written there is kept.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct S3Options {
    /// URL of the server, where it is not Amazon's.
    pub endpoint: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// The profile of `~/.aws`.
    pub profile: Option<String>,
    /// Access key and secret key, where `cluster.conf` has them.
    #[serde(skip)]
    pub keys: Option<(Secret, Secret)>,
    /// Whether the bucket stands in the path of a URL instead of its host.
    pub path_style: Option<bool>,
    /// Certificates, in PEM, of who vouches for the server beside those that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// Encryption by the server.
    pub encryption: Option<ServerEncryption>,
    /// The key in KMS, where it is not the account's own.
    pub kms_key: Option<String>,
    /// Storage class, such as STANDARD_IA.
    pub storage_class: Option<String>,
    /// Tags of every bundle.
    pub tags: BTreeMap<String, String>,
    /// How long nobody can delete a bundle.
    pub retention: Option<Retention>,
    /// Whether a bundle can't be deleted until somebody lifts the hold.
    pub legal_hold: bool,
    /// Seconds that the server may be silent.
    pub timeout: Option<NonZeroU32>,
    /// Times that a request is tried.
    pub attempts: Option<NonZeroU32>,
}

/// Encryption by an S3 server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum ServerEncryption {
    /// With keys that S3 manages (SSE-S3).
    #[serde(rename = "AES256")]
    Aes256,
    /// With keys of KMS (SSE-KMS).
    #[serde(rename = "aws:kms")]
    Kms,
}

/// Retention by Object Lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Who may shorten it.
    pub mode: RetentionMode,
    /// Days from the backup on.
    pub days: u16,
}

/// Who may shorten a retention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RetentionMode {
    /// Those who have the permission for it.
    Governance,
    /// Nobody.
    Compliance,
}

/// How a machine is reached by SFTP.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SftpOptions {
    /// The private key to log in with; none for an agent's, and those in `~/.ssh`.
    pub identity_file: Option<PathBuf>,
    /// The file of known host keys; none for `~/.ssh/known_hosts` and `/etc/ssh/ssh_known_hosts`.
    pub known_hosts: Option<PathBuf>,
    /// Seconds that the server may be silent.
    pub timeout: Option<NonZeroU32>,
}

/// How rclone is run.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RcloneOptions {
    /// The file that names the remotes; none for rclone's own, or that of `RCLONE_CONFIG`.
    pub config: Option<PathBuf>,
    /// Seconds that a remote may be silent.
    pub timeout: Option<NonZeroU32>,
}
