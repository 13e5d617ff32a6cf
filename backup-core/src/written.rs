//! Files that are written for people and other programs, in directories where others may write too.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::held::Held;
use crate::{Error, ErrorContext, Kind, Result};

/// The mode of what is for its owner alone.
const PRIVATE: u32 = 0o600;

/// Writes a file, so that whoever reads it meets all of it. No link of another user is followed: it gives way to the file. Without a mode
/// a new file is its owner's alone, and one of the same owner keeps the mode that it has.
///
/// # Errors
/// Where it can't be written.
pub fn write(path: &Path, content: &[u8], mode: Option<u32>) -> Result<()> {
    let doing = || format!("write {}", path.display());
    let path = std::path::absolute(path).context(doing)?;
    // Standard output, a terminal: a device is written as it is.
    if path.starts_with("/dev") && !path.starts_with("/dev/shm") {
        return fs::write(&path, content).context(doing);
    }
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::new(Kind::Usage, doing()).because("it is the name of no file"));
    };
    let held = Held::open(Path::new("/"), directory).context(doing)?;
    let held =
        held.ok_or_else(|| Error::new(Kind::Failed, doing()).because(io::Error::from(io::ErrorKind::NotFound)))?;
    let at = held.at(name);
    let user = rustix::process::geteuid().as_raw();
    let there = at.path.symlink_metadata().ok();
    if there.as_ref().is_some_and(|there| there.is_symlink() && [0, user].contains(&there.uid())) {
        let target = directory.join(fs::read_link(&at.path).context(doing)?);
        return match target.symlink_metadata() {
            Ok(found) if found.is_symlink() => {
                Err(Error::new(Kind::Refused, doing()).because("it is a link to a link").hint("name the file itself"))
            }
            _ => write(&target, content, mode),
        };
    }
    let own = there.filter(|there| there.is_file() && there.uid() == user);
    let mode = mode.or(own.map(|own| own.mode() & 0o666)).unwrap_or(PRIVATE);
    let put = || {
        let mut file = tempfile::Builder::new().prefix(".orchestrator-cli_").tempfile_in(held.path())?;
        file.as_file().set_permissions(Permissions::from_mode(mode))?;
        file.write_all(content)?;
        file.persist(&at.path).map(drop).map_err(|error| error.error)
    };
    put().context(doing)
}

/// Puts on disk which names a directory has: what was made, renamed or removed in it is durable only then.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Puts the directory around a path on the disk: a rename is durable only once it is.
///
/// # Errors
/// Where that fails, with the directory.
pub(crate) fn sync_around(path: &Path) -> Result<()> {
    let around = path.parent().unwrap_or(Path::new("/"));
    sync_directory(around).context(|| format!("sync {}", around.display()))
}

/// Writes a secret into a new file that its owner alone may read. `what` is its name for messages, `never` why none is overwritten.
///
/// # Errors
/// [`Kind::Refused`] where the file exists; where it can't be written, and then it is not there.
pub(crate) fn write_secret(path: &Path, what: &str, never: &str, content: &[u8]) -> Result<()> {
    let doing = || format!("write {what} {}", path.display());
    let created = OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(path);
    let mut file = created.map_err(|cause| match cause.kind() {
        io::ErrorKind::AlreadyExists => {
            let error = Error::new(Kind::Refused, format!("{} exists already", path.display()));
            error.hint(format!("{never}; name another file"))
        }
        _ => Error::new(Kind::Failed, doing()).because(cause),
    })?;
    // Half a secret is none.
    let written = file.write_all(content).and_then(|()| file.sync_all());
    written.inspect_err(|_| drop(fs::remove_file(path))).context(doing)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_takes_its_place_with_its_mode_and_through_a_link_of_our_own() {
        let place = tempfile::tempdir().expect("a directory");
        let (file, link) = (place.path().join("file"), place.path().join("link"));
        symlink("file", &link).expect("a link");
        for (path, content) in [(&file, "one"), (&link, "two")] {
            write(path, content.as_bytes(), None).expect("written");
            assert_eq!(fs::read_to_string(&file).expect("it"), content);
        }
        let mode = || file.metadata().expect("it").mode() & 0o777;
        assert_eq!(mode(), PRIVATE);
        // A mode that was given on purpose stays.
        write(&file, b"", Some(0o644)).expect("written");
        write(&file, b"", None).expect("written");
        assert_eq!(mode(), 0o644);
        assert!(link.is_symlink() && fs::read_dir(place.path()).expect("it").count() == 2);
        assert!(write(&place.path().join("not/there"), b"", None).is_err());
    }
}
