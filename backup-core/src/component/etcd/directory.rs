//! What is done with directories of data.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use walkdir::WalkDir;

use super::recipe::Recipe;
use crate::written::sync_around;
use crate::{Error, ErrorContext, Kind, Result};

/// Whether a server has the data in this directory open: it locks them.
///
/// # Errors
/// Where that can't be seen.
pub(super) fn is_served(data: &Path) -> Result<bool> {
    let path = data.join("member/snap/db");
    let doing = || format!("see whether a server has {} open", path.display());
    // Whoever owns the directory could have put a pipe or a link there.
    let plainly = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits() as i32;
    let file = match OpenOptions::new().read(true).custom_flags(plainly).open(&path) {
        Err(cause) if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(false),
        opened => opened.context(doing)?,
    };
    if !file.metadata().context(doing)?.is_file() {
        return Err(Error::new(Kind::Failed, doing()).because("it is no regular file"));
    }
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
        // Both renames were done, and what comes after them was not.
        if before.exists() && place.exists() {
            sync_around(place)?;
            return remove(staging);
        }
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

/// Gives the place back to what had it before. What the place had is kept until [`drop_new`].
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
    Ok(())
}

/// Removes all that was made of the bundle, but for what has taken the place.
///
/// # Errors
/// What can't be removed.
pub(super) fn drop_new(recipe: &Recipe) -> Result<()> {
    remove(&recipe.staging)?;
    remove(&recipe.dropped())
}

/// Removes what stepped aside. It gets another name first, so that half of it is never taken for the whole.
///
/// # Errors
/// A rename that fails, what can't be removed.
pub(super) fn drop_aside(recipe: &Recipe) -> Result<()> {
    let dropped = recipe.dropped();
    remove(&dropped)?;
    if recipe.before.exists() {
        let doing = || format!("rename {} to {}", recipe.before.display(), dropped.display());
        fs::rename(&recipe.before, &dropped).context(doing)?;
        sync_around(&recipe.place)?;
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
    for entry in WalkDir::new(tree).follow_root_links(false).contents_first(true) {
        let entry = entry.map_err(std::io::Error::from).context(doing)?;
        if entry.file_type().is_file() || entry.file_type().is_dir() {
            File::open(entry.path()).and_then(|file| file.sync_all()).context(doing)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that is live, and one that is to take its place.
    fn stand(around: &Path) -> Recipe {
        let path = |name: &str| around.join(name);
        let recipe = Recipe {
            endpoint: String::new(),
            place: path("data"),
            staging: path(".new"),
            before: path("before"),
            member: String::new(),
            peers: Vec::new(),
        };
        make(&recipe.place, "live");
        make(&recipe.data(), "new");
        fs::write(recipe.staging.join("snapshot.db"), "").expect("a file");
        recipe
    }

    fn make(directory: &Path, what: &str) {
        fs::create_dir_all(directory).expect("a directory");
        fs::write(directory.join("what"), what).expect("a file");
    }

    fn what(directory: &Path) -> String {
        fs::read_to_string(directory.join("what")).unwrap_or_default()
    }

    #[test]
    fn wherever_it_was_cut_off_the_new_data_take_the_place_and_the_old_come_back() {
        type Cut = fn(&Recipe);
        let begun: [Cut; 4] = [
            |_| (),
            |recipe| fs::rename(&recipe.place, &recipe.before).expect("renamed"),
            // The server was started between the renames, and made itself new data.
            |recipe| {
                fs::rename(&recipe.place, &recipe.before).expect("renamed");
                make(&recipe.place, "empty");
            },
            // What is left of the staging directory is still there.
            |recipe| {
                fs::rename(&recipe.place, &recipe.before).expect("renamed");
                fs::rename(recipe.data(), &recipe.place).expect("renamed");
            },
        ];
        for (at, cut) in begun.iter().enumerate() {
            let around = tempfile::tempdir().expect("a directory");
            let recipe = stand(around.path());
            cut(&recipe);
            place(&recipe).expect("placed");
            assert_eq!((what(&recipe.place), what(&recipe.before)), ("new".into(), "live".into()), "{at}");
            assert!(!recipe.staging.exists(), "{at}");
            // The way back, which is cut off after its first rename and gone on with.
            fs::rename(&recipe.place, recipe.dropped()).expect("renamed");
            take_back(&recipe).expect("back");
            assert_eq!(what(&recipe.place), "live", "{at}");
            drop_new(&recipe).expect("dropped");
            assert_eq!(fs::read_dir(around.path()).expect("a directory").count(), 1, "{at}");
        }
    }

    #[test]
    fn what_stepped_aside_is_never_half_there() {
        let around = tempfile::tempdir().expect("a directory");
        let recipe = stand(around.path());
        place(&recipe).expect("placed");
        // A clean-up that was cut off after its rename.
        fs::rename(&recipe.before, recipe.dropped()).expect("renamed");
        // Half of it is no way back, and the place keeps what it has.
        take_back(&recipe).expect("nothing to do");
        assert_eq!(what(&recipe.place), "new");
        drop_aside(&recipe).expect("dropped");
        assert_eq!(fs::read_dir(around.path()).expect("a directory").count(), 1);
    }
}
