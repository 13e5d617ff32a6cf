//! Where bundles are kept. A new place is one new [`Store`].

mod access;
mod address;
mod claims;
mod connector;
mod limited;
mod local;
mod memory;
mod options;
mod outlives;
mod rate;
mod rclone;
mod rclone_address;
mod sftp;
mod small;
mod trial;

use std::collections::HashSet;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};

pub use access::{Access, blocking, leave_out, list_beside};
pub(crate) use access::{bytes_stored, open_stored};
pub use address::{Address, S3Address, SftpAddress, file_in};
pub use claims::{CLAIMS, ClaimName, LAST_EPOCH, claims, is_taken};
pub use connector::{Connector, connect};
pub use limited::Limited;
pub use local::Directory;
pub(crate) use local::NEW;
use local::able;
pub use memory::Memory;
pub use options::{RcloneOptions, Retention, RetentionMode, S3Options, ServerEncryption, SftpOptions, StoreSettings};
pub use rate::Rate;
pub use rclone::Rclone;
pub use rclone_address::RcloneAddress;
pub use sftp::Sftp;
pub use small::SMALL;
use small::{read_small, read_small_file};

use crate::bundle::reader::ReadAt;
use crate::cluster::agent::quoted;
use crate::digest::Sha256Digest;
use crate::finding::Finding;
pub use crate::names::DIGEST;
use crate::names::{FileName, begins_with_name};
use crate::{Error, Kind, Result};

/// What a drill's record beside a bundle adds to its name.
pub const DRILL: &str = ".drill.json";
/// What a bundle's signature adds to its name.
pub const SIGNATURE: &str = ".sig";
/// What the signature of a drill's record adds to the bundle's name.
pub const DRILL_SIGNATURE: &str = ".drill.json.sig";
/// What the record adds to a bundle's name that keeps the bundle from being deleted by rules.
pub const KEEP: &str = ".keep.json";
/// All that may lie beside a bundle.
pub const BESIDE: [&str; 5] = [DIGEST, DRILL, SIGNATURE, DRILL_SIGNATURE, KEEP];

/// The ending of what is written under another name until it is complete.
const PART: &str = ".part";

/// Whether a file is what a run has left that was killed while it wrote.
fn is_part(file: &str) -> bool {
    let name = file.strip_prefix('.').and_then(|name| name.strip_suffix(PART));
    name.is_some_and(|name| name.starts_with("orchestrator_backup_") || begins_with_name(name))
}

/// The content of a digest's file.
pub fn digest_line(digest: &Sha256Digest, name: &FileName) -> String {
    format!("{digest}  {name}\n")
}

/// A bundle in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The name of its file.
    pub name: FileName,
    /// Its length in bytes.
    pub length: u64,
    /// Whether the record of a drill lies beside it.
    pub drilled: bool,
    /// Whether a signature does.
    pub signed: bool,
    /// Whether a record does that keeps the bundle.
    pub kept: bool,
}

/// Whether a file may be a bundle that somebody has renamed: it is called neither as one, nor as what lies beside one.
fn may_be_renamed(file: &str) -> bool {
    let beside = BESIDE.iter().any(|suffix| file.ends_with(suffix));
    !file.starts_with('.') && !beside && !file.starts_with(CLAIMS) && file.parse::<FileName>().is_err()
}

/// Of a path at most the last directory is made: a slip in the others would lead bundles astray.
fn astray(directory: &str, missing: &Path) -> Error {
    let why = format!("{} does not exist, and of a path at most the last directory is made", missing.display());
    let make = format!("mkdir -p {}", quoted(&missing.display().to_string()));
    Error::new(Kind::Failed, format!("write to {directory}"))
        .because(why)
        .hint(format!("correct the path, or make it: {make}"))
}

/// The bundles among files, oldest first.
pub fn bundles(files: Vec<(String, u64)>) -> Vec<Stored> {
    let beside = |suffix: &str| -> HashSet<FileName> {
        files.iter().filter_map(|(name, _)| name.strip_suffix(suffix)?.parse().ok()).collect()
    };
    let (records, signatures, keeps) = (beside(DRILL), beside(SIGNATURE), beside(KEEP));
    let stored = files.into_iter().filter_map(|(name, length)| {
        let name: FileName = name.parse().ok()?;
        let (drilled, signed, kept) = (records.contains(&name), signatures.contains(&name), keeps.contains(&name));
        Some(Stored { name, length, drilled, signed, kept })
    });
    let mut bundles: Vec<Stored> = stored.collect();
    bundles.sort_by(|a, b| a.name.cmp(&b.name));
    bundles
}

/// Something that an upload left which never came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// What the store calls it.
    pub name: String,
    /// When it was begun, where the store says so.
    pub begun: Option<DateTime<Utc>>,
}

impl Leftover {
    /// Whether it was begun before a moment, as far as that is known.
    pub fn is_before(&self, moment: DateTime<Utc>) -> bool {
        self.begun.is_none_or(|begun| begun < moment)
    }
}

/// A place that keeps bundles. Its methods block; to make one costs nothing, and talks to nobody.
///
/// What every store promises, and the contract test holds it to:
/// - A bundle appears under its name only by [`Upload::publish`], whole, durable, and never over another one.
/// - An upload that is dropped leaves nothing that [`Store::list`] or the next upload would meet.
/// - Listing shows bundles alone, oldest first, whatever else lies there.
/// - Reads are ranged: opening a bundle costs no more than what is read of it.
/// - A claim is never overwritten: of several that are written under one name at once, one stays. Where the place can't see to
///   that, who writes one is told so.
pub trait Store: Send + Sync {
    /// How the place is called in messages.
    fn location(&self) -> String;

    /// Whether only one writes at a time. Where several may, names and uploads are kept apart all the same.
    fn has_lock(&self) -> bool;

    /// What has to be said before a backup: whether a bundle of about `size` bytes can be written, as far as that can be
    /// seen without leaving anything.
    ///
    /// # Errors
    /// Where it surely can't.
    fn check(&self, size: u64) -> Result<Vec<Finding>>;

    /// Begins an upload, taking the store's lock, where it has one, until it ends.
    ///
    /// # Errors
    /// [`Kind::Locked`] where another run is writing there, [`Kind::Refused`] where a bundle of this name exists.
    fn begin(&self, name: &FileName) -> Result<Box<dyn Upload>>;

    /// The bundles, oldest first.
    ///
    /// # Errors
    /// [`Kind::NotFound`] where the place does not exist.
    fn list(&self) -> Result<Vec<Stored>>;

    /// What lies beside a bundle under its name and `suffix`, if something does; it is small.
    ///
    /// # Errors
    /// Where it can't be read, or is longer than [`SMALL`].
    fn read_beside(&self, name: &FileName, suffix: &str) -> Result<Option<Vec<u8>>>;

    /// Puts something small beside a bundle, in place of what is there.
    ///
    /// # Errors
    /// Where it can't be written; what was there is there still.
    fn write_beside(&self, name: &FileName, suffix: &str, content: &[u8]) -> Result<()>;

    /// Deletes what lies beside a bundle under its name and `suffix`; if nothing does, that is no error.
    ///
    /// # Errors
    /// Where it is there still.
    fn remove_beside(&self, name: &FileName, suffix: &str) -> Result<()>;

    /// Opens a bundle for reading.
    ///
    /// # Errors
    /// [`Kind::NotFound`] where it does not exist.
    fn open(&self, name: &FileName) -> Result<Box<dyn ReadAt>>;

    /// Names of files that are not called as bundles are, and may be some all the same; none where it would take too much to look.
    ///
    /// # Errors
    /// As [`Store::list`].
    fn others(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Opens one of [`Store::others`].
    ///
    /// # Errors
    /// Where it can't be opened.
    fn open_other(&self, file: &str) -> Result<Box<dyn ReadAt>> {
        Err(Error::new(Kind::Unsupported, format!("open {file} in {}", self.location())))
    }

    /// How many bundles are looked at together: most of the time each waits for its store.
    fn readers(&self) -> usize {
        16
    }

    /// Until when nobody can delete a bundle, if the store sees to that.
    ///
    /// # Errors
    /// Where it can't be seen.
    fn locked_until(&self, _name: &FileName) -> Result<Option<DateTime<Utc>>> {
        Ok(None)
    }

    /// Deletes a bundle and all that lies beside it; one that is not there is no error.
    ///
    /// # Errors
    /// Where it is there still.
    fn remove(&self, name: &FileName) -> Result<()>;

    /// What uploads have left that were begun before `begun`, or no one knows when, and never came to their end.
    ///
    /// # Errors
    /// Where that can't be seen.
    fn leftovers(&self, begun: DateTime<Utc>) -> Result<Vec<Leftover>>;

    /// Deletes what an upload has left.
    ///
    /// # Errors
    /// Where it is there still.
    fn remove_leftover(&self, leftover: &Leftover) -> Result<()>;

    /// The claims, by cluster and epoch; none where the place does not exist.
    ///
    /// # Errors
    /// Where that can't be seen.
    fn claims(&self) -> Result<Vec<ClaimName>>;

    /// What a claim says.
    ///
    /// # Errors
    /// Where it can't be read, or is longer than [`SMALL`].
    fn read_claim(&self, name: &ClaimName) -> Result<Vec<u8>>;

    /// Writes a claim, whole and durable; one that is there already with this content is left alone. Gives what weakens the
    /// promise that nobody overwrites it.
    ///
    /// # Errors
    /// [`Kind::Refused`] where another one has this name.
    fn claim(&self, name: &ClaimName, content: &[u8]) -> Result<Vec<Finding>>;
}

/// A bundle on its way into a store. Dropping it gives it up.
pub trait Upload: Write + Send {
    /// What takes the upload back from outside, for when its writer hangs and can't be dropped.
    fn abandon(&self) -> Box<dyn FnOnce() + Send>;

    /// Makes the bundle appear under its name. `digest` is that of all its bytes.
    ///
    /// # Errors
    /// [`Kind::Refused`] where a bundle of this name exists; it is left untouched.
    fn publish(self: Box<Self>, digest: &Sha256Digest) -> Result<Published>;
}

/// A bundle that has appeared.
#[derive(Debug)]
pub struct Published {
    /// Where it is.
    pub place: String,
    /// What was asked for, and is not as it was asked for.
    pub warnings: Vec<Finding>,
}

impl From<String> for Published {
    fn from(place: String) -> Self {
        Self { place, warnings: Vec::new() }
    }
}

/// What there is to say of a store that writes over what is there: of two claims at one moment both may believe in theirs.
pub fn overwrites(location: &str) -> Finding {
    let message = "it overwrites what it is asked not to: of two orchestrators that claim the cluster in the same moment both may \
                   believe that it is theirs, until they meet on a machine";
    Finding::warning("claims-overwritten", location, message).hint(
        "let one orchestrator alone claim the cluster, or keep bundles in a store that heeds If-None-Match as well",
    )
}

/// A bundle is never written over another one, whatever the store.
pub fn exists(bundle: &str) -> Error {
    Error::new(Kind::Refused, format!("{bundle} exists already"))
        .hint("bundles are never overwritten; run the backup again in a second")
}

impl ReadAt for Box<dyn ReadAt> {
    fn length(&self) -> std::io::Result<u64> {
        (**self).length()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        (**self).read_at(offset, buffer)
    }

    fn readers(&self) -> usize {
        (**self).readers()
    }
}

impl ReadAt for Arc<dyn ReadAt> {
    fn length(&self) -> std::io::Result<u64> {
        (**self).length()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        (**self).read_at(offset, buffer)
    }

    fn readers(&self) -> usize {
        (**self).readers()
    }
}
