//! What root makes to work with in a directory of another user is that user's, whose own runs could not use it otherwise. Bundles are not:
//! their content is for whoever made them.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown, lchown};
use std::path::Path;

use rustix::fs::OFlags;

/// The owner of a directory, where it is not root and we are.
fn other(directory: &Path) -> io::Result<Option<Metadata>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    directory.metadata().map(|owner| Some(owner).filter(|owner| owner.uid() != 0))
}

/// Gives a file that was just made to the owner of its directory.
pub(crate) fn give(made: &File, directory: &Path) -> io::Result<()> {
    match other(directory)? {
        Some(owner) => fchown(made, Some(owner.uid()), Some(owner.gid())),
        None => Ok(()),
    }
}

/// Makes a directory for its owner alone where it is missing, and those above it; they are of the owner of what was there.
pub(crate) fn make(directory: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = directory.ancestors().take_while(|path| !path.exists()).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    for made in missing.into_iter().rev().filter(|path| *path != Path::new("")) {
        let above = made.parent().filter(|above| *above != Path::new("")).unwrap_or(Path::new("."));
        if let Some(owner) = other(above)? {
            lchown(made, Some(owner.uid()), Some(owner.gid()))?;
        }
    }
    Ok(())
}

/// Opens a file that is there to be locked; it is made where it is missing.
pub(crate) fn open_to_lock(path: &Path) -> io::Result<File> {
    // Whoever else may write there could have put a link in its place.
    let nofollow = OFlags::NOFOLLOW.bits().cast_signed();
    let open = |new: bool| OpenOptions::new().create_new(new).write(true).mode(0o600).custom_flags(nofollow).open(path);
    match open(true) {
        Err(cause) if cause.kind() == ErrorKind::AlreadyExists => open(false),
        Err(cause) => Err(cause),
        Ok(made) => {
            give(&made, path.parent().unwrap_or(Path::new(".")))?;
            Ok(made)
        }
    }
}
