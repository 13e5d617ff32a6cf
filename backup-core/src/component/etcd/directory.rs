//! What is done with directories of data.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use walkdir::WalkDir;

use super::recipe::Recipe;
use crate::{Error, ErrorContext, Kind, Result};

/// Whether a server has the data in this directory open: it locks them.
///
/// # Errors
/// Where that can't be seen.
pub(super) fn is_served(data: &Path) -> Result<bool> {
    let path = data.join("member/snap/db");
    let doing = || format!("see whether a server has {} open", path.display());
    let file = match File::open(&path) {
        Err(cause) if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(false),
        opened => opened.context(doing)?,
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(cause) => Err(std::io::Error::from(cause)).context(doing),
    }
}

/// Gives the data their place, by two renames at most.
///
/// # Errors
/// Where what was written beside it is gone, or a rename fails.
pub(super) fn place(recipe: &Recipe) -> Result<()> {
    let Recipe { place, staging, before, .. } = recipe;
    let (data, doing) = (recipe.data(), || format!("put {} in its place", place.display()));
    if !data.exists() {
        let error = Error::new(Kind::Failed, doing()).because("what was written beside it is gone");
        return Err(error.hint("somebody removed it; go back with `restore --rollback`"));
    }
    if before.exists() {
        // A server that was started meanwhile, as with the machine, found nothing and made itself new data.
        remove(place)?;
    } else {
        fs::rename(place, before).context(doing)?;
        sync_around(place)?;
    }
    fs::rename(&data, place).context(doing)?;
    sync_around(place)?;
    remove(staging)
}

/// Gives the place back to what had it before.
///
/// # Errors
/// A rename that fails.
pub(super) fn take_back(recipe: &Recipe) -> Result<()> {
    let Recipe { place, before, .. } = recipe;
    let (dropped, doing) = (recipe.dropped(), || format!("bring {} back", place.display()));
    // Where nothing has stepped aside, what is there is what was there.
    if before.exists() {
        remove(&dropped)?;
        if place.exists() {
            fs::rename(place, &dropped).context(doing)?;
        }
        fs::rename(before, place).context(doing)?;
        sync_around(place)?;
    }
    remove(&dropped)
}

/// Removes a directory with all that is in it, if it is there.
///
/// # Errors
/// What can't be removed.
pub(super) fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.context(|| format!("remove {}", path.display())),
    }
}

/// Puts a tree on the disk: what restores it does not say that of its directories.
///
/// # Errors
/// The first of it that can't be.
pub(super) fn sync_all(tree: &Path) -> Result<()> {
    let doing = || format!("sync {}", tree.display());
    for entry in WalkDir::new(tree).contents_first(true) {
        let entry = entry.map_err(std::io::Error::from).context(doing)?;
        if !entry.path_is_symlink() {
            File::open(entry.path()).and_then(|file| file.sync_all()).context(doing)?;
        }
    }
    Ok(())
}

/// A rename is durable only once its directory is.
fn sync_around(path: &Path) -> Result<()> {
    let around = path.parent().unwrap_or(Path::new("/"));
    File::open(around).and_then(|around| around.sync_all()).context(|| format!("sync {}", around.display()))
}
