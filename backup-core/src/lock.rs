//! Locks that keep two runs apart. The system releases them with the process that holds them.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use crate::{Error, Kind, Result};

/// Anybody who reaches the directory may lock it then; there is nothing in it.
const SHARED: u32 = 0o666;

/// Opens a file that is there to be locked, and makes it where it is missing. What root makes in another user's directory that user can
/// lock too, whose own runs it would hold up for good.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    // Whoever else may write there could have put a link, or a pipe, in its place.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let open = |new: bool| OpenOptions::new().create_new(new).write(true).mode(0o600).custom_flags(flags).open(path);
    let made = match open(true) {
        Err(cause) if cause.kind() == ErrorKind::AlreadyExists => return open(false),
        made => made?,
    };
    let owner =
        path.parent().filter(|directory| *directory != Path::new("")).unwrap_or(Path::new(".")).metadata()?.uid();
    if rustix::process::geteuid().is_root() && owner != 0 {
        made.set_permissions(Permissions::from_mode(SHARED))?;
    }
    Ok(made)
}

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
