//! Locks that keep two runs apart. The system releases them with the process that holds them.

use std::fs::{File, TryLockError};
use std::path::Path;

use crate::{Error, Kind, Result};

/// Locks an open file, without waiting, for as long as it stays open; `path` is its name for messages.
///
/// # Errors
/// [`Kind::Locked`] with the message `held` where another run holds it.
pub fn lock(file: File, path: &Path, held: impl FnOnce() -> String) -> Result<File> {
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::new(Kind::Locked, held())
            .hint("wait until it is done; the lock ends with the process that holds it, so none is ever stale")),
        Err(TryLockError::Error(cause)) => {
            Err(Error::new(Kind::Failed, format!("lock {}", path.display())).because(cause))
        }
    }
}
