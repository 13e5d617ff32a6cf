//! What a directory holds under a temporary name until it is whole: a bundle, or something small beside one.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, PersistError};

use crate::digest::Sha256Digest;
use crate::lock::Lock;
use crate::names::FileName;
use crate::store::{DIGEST, PART, Published, Upload, digest_line, exists, trial};
use crate::written::sync_directory;
use crate::{Error, ErrorContext, Kind, Result};

/// The mode of what its owner alone reads.
pub(super) const OWN: u32 = 0o600;

/// A bundle under a temporary name in its directory. Dropping it removes the file and then the lock.
pub(super) struct Part {
    part: NamedTempFile,
    name: FileName,
    directory: PathBuf,
    _lock: Lock,
}

impl Part {
    /// One that nothing is written to yet.
    pub(super) fn new(directory: &Path, name: &FileName, lock: Lock) -> io::Result<Self> {
        let part = part(directory, &name.to_string(), OWN)?;
        Ok(Self { part, name: name.clone(), directory: directory.to_owned(), _lock: lock })
    }
}

impl Write for Part {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.part.as_file_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.part.as_file_mut().flush()
    }
}

impl Upload for Part {
    fn abandon(&self) -> Box<dyn FnOnce() + Send> {
        let path = self.part.path().to_owned();
        // Where it is gone already, there is nothing to do.
        Box::new(move || drop(fs::remove_file(path)))
    }

    fn publish(self: Box<Self>, digest: &Sha256Digest) -> Result<Published> {
        let Self { part, name, directory, _lock } = *self;
        let target = directory.join(name.to_string());
        let shown = target.display().to_string();
        part.as_file().sync_all().context(|| format!("sync {shown}"))?;
        // Written before the bundle appears, so that a disk that is full by now leaves neither.
        let line = digest_line(digest, &name);
        let sum = synced(&directory, (&name.to_string(), OWN), line.as_bytes())
            .context(|| format!("write the digest of {shown}"))?;
        part.persist_noclobber(&target).map_err(|error| {
            if error.error.kind() == io::ErrorKind::AlreadyExists {
                return exists(&target.display().to_string());
            }
            Error::new(Kind::Failed, format!("publish {shown}")).because(error.error)
        })?;
        let beside = directory.join(format!("{name}{DIGEST}"));
        sum.persist(beside).context(|| format!("publish the digest of {shown}"))?;
        sync(&directory)?;
        Ok(shown.into())
    }
}

/// Writes a small file beside its place, syncs it and puts it there.
///
/// It is written without the lock, so a backup that begins meanwhile may take it for what a killed run has left, and remove it:
/// then it is written again.
pub(super) fn put_small(
    directory: &Path,
    named: (&str, u32),
    content: &[u8],
    place: impl Fn(NamedTempFile) -> Result<File, PersistError>,
) -> io::Result<()> {
    let mut attempt = 1;
    loop {
        match place(synced(directory, named, content)?) {
            Err(error) if error.error.kind() == io::ErrorKind::NotFound && attempt < trial::ATTEMPTS => attempt += 1,
            placed => return placed.map(drop).map_err(|error| error.error),
        }
    }
}

/// All of a small file under a temporary name, synced.
fn synced(directory: &Path, (name, mode): (&str, u32), content: &[u8]) -> io::Result<NamedTempFile> {
    let mut file = part(directory, name, mode)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// A temporary file, of which a run that is killed leaves what the next one removes.
fn part(directory: &Path, name: &str, mode: u32) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.permissions(Permissions::from_mode(mode)).prefix(&format!(".{name}.")).suffix(PART).tempfile_in(directory)
}

/// A rename is durable only once its directory is.
pub(super) fn sync(directory: &Path) -> Result<()> {
    sync_directory(directory).context(|| format!("sync {}", directory.display()))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::store::{Directory, Store};

    #[test]
    fn a_small_file_that_a_backup_took_for_a_leftover_is_written_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let (store, target) = (Directory::new(directory.path()), directory.path().join("claim"));
        let name = "orchestrator_backup_20260101T000000Z.tgz".parse().expect("a name");
        let cleared = Cell::new(0);
        let place = |part: NamedTempFile| {
            if cleared.replace(cleared.get() + 1) < 2 {
                drop(store.begin(&name).expect("a backup begins"));
            }
            part.persist_noclobber(&target)
        };
        put_small(directory.path(), ("orchestrator_backup_claim", OWN), b"mine", place).expect("it is written");
        assert_eq!((fs::read(&target).expect("it is there"), cleared.get()), (b"mine".to_vec(), 3));
    }
}
