//! Where a snapshot lies until it is in the bundle: `etcdctl` writes to nothing but a file.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock, statvfs};
use tempfile::TempDir;

use crate::{ErrorContext, Result};

/// A private directory, which goes with this value. One that a killed run has left goes when the next is made.
pub(super) struct Scratch {
    directory: TempDir,
    /// Held as long as it is in use.
    _lock: File,
}

impl Scratch {
    /// Makes one.
    ///
    /// # Errors
    /// Where that can't be done.
    pub(super) fn make(place: Option<&Path>, id: &impl std::fmt::Display) -> Result<Self> {
        let (place, prefix) = (directory(place), format!(".orchestrator-cli_snapshot_{id}_"));
        let doing = || format!("make a directory in {}", place.display());
        remove_left(&place, &prefix);
        let directory = tempfile::Builder::new().prefix(&prefix).tempdir_in(&place).context(doing)?;
        let lock = File::open(directory.path()).context(doing)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(std::io::Error::from).context(doing)?;
        Ok(Self { directory, _lock: lock })
    }

    /// A file in it.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// Where they are made: nobody else can look into one of them.
pub(super) fn directory(place: Option<&Path>) -> PathBuf {
    place.map_or_else(std::env::temp_dir, Into::into)
}

/// Bytes that are free there, as far as that can be seen.
pub(super) fn free(place: &Path) -> u64 {
    statvfs(place).map_or(u64::MAX, |stat| stat.f_bavail * stat.f_frsize)
}

/// Removes what killed runs of ours have left, as far as it can be.
fn remove_left(place: &Path, prefix: &str) {
    let Ok(entries) = fs::read_dir(place) else { return };
    for entry in entries.flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(prefix)
            && entry
                .metadata()
                .is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == rustix::process::geteuid().as_raw());
        let unused = || {
            File::open(entry.path()).is_ok_and(|left| flock(&left, FlockOperation::NonBlockingLockExclusive).is_ok())
        };
        if is_ours && unused() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
