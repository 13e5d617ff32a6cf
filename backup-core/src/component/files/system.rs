//! Renames and removals as a restore needs them, whatever modes directories have.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};

use super::movable::advice;
use crate::held::At;
use crate::{Error, ErrorContext, Kind, Result};

/// What the owner must be let do with a directory that is emptied.
const OPEN: u32 = 0o700;

/// Gives something another name beside its own one; nothing is overwritten.
pub(super) fn rename(from: &At, to: &At) -> Result<()> {
    renameat_with(CWD, &from.path, CWD, &to.path, RenameFlags::NOREPLACE).map_err(|cause| {
        let cause = io::Error::from(cause);
        let message = format!("rename {} to {}", from.shown.display(), to.shown.display());
        let (error, hint) = (Error::new(Kind::Failed, message), advice(&cause, &from.shown));
        let error = error.because(cause);
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    })
}

/// The same where it comes into another directory. One that its owner may not write to can't be moved by it: it may for that long.
pub(super) fn move_there(from: &At, to: &At) -> Result<()> {
    let mode =
        from.path.symlink_metadata().ok().filter(|metadata| metadata.is_dir()).map(|found| found.permissions().mode());
    let Some(mode) = mode.filter(|mode| mode & OPEN != OPEN && !rustix::process::geteuid().is_root()) else {
        return rename(from, to);
    };
    let doing = || format!("set the mode of {}", from.shown.display());
    let flags = (OFlags::NOFOLLOW | OFlags::DIRECTORY).bits().cast_signed();
    fs::set_permissions(&from.path, Permissions::from_mode(mode | OPEN)).context(doing)?;
    let directory: File = OpenOptions::new().read(true).custom_flags(flags).open(&from.path).context(doing)?;
    let renamed = rename(from, to);
    directory.set_permissions(Permissions::from_mode(mode & 0o7777)).context(doing)?;
    renamed
}

/// Removes a file, or a directory with all below it, if it is there; directories whose owner may not write to them, too.
pub(super) fn remove(at: &At) -> Result<()> {
    let path = &at.path;
    let removed = match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path).or_else(|cause| {
            if cause.kind() != io::ErrorKind::PermissionDenied {
                return Err(cause);
            }
            open(path);
            fs::remove_dir_all(path)
        }),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    };
    removed.context(|| format!("remove {}", at.shown.display()))
}

/// Lets us into every directory of ours from a path on. Each is opened before it is read.
fn open(path: &Path) {
    let make_open = |path: &Path| {
        if let Ok(metadata) = path.symlink_metadata()
            && metadata.is_dir()
        {
            // What is another's stays as it is, and the removal says so.
            let _ = fs::set_permissions(path, Permissions::from_mode((metadata.permissions().mode() & 0o7777) | OPEN));
        }
    };
    make_open(path);
    let mut directories = vec![path.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                make_open(&entry.path());
                directories.push(entry.path());
            }
        }
    }
}
