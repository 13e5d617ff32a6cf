//! The directory beside a place that something is written into first.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::held::At;
use crate::{Error, ErrorContext, Kind, Result};

/// A directory that something is written into before it takes its place, held open. Whoever owns the directory around it
/// may put another one, or a link, in its place; what is written goes into this one all the same, and only we may.
pub(super) struct Staging(File);

impl Staging {
    /// Creates it, if it is not there.
    pub(super) fn create(at: &At) -> Result<Self> {
        let doing = || format!("create {}", at.shown.display());
        match DirBuilder::new().mode(0o700).create(&at.path) {
            Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => Err(cause).context(doing)?,
            _ => Self::open(at)?.ok_or_else(|| Error::new(Kind::Failed, format!("{}: it is gone again", doing()))),
        }
    }

    /// Opens it, if it is there.
    pub(super) fn open(at: &At) -> Result<Option<Self>> {
        let doing = || format!("open {}", at.shown.display());
        let flags = (OFlags::NOFOLLOW | OFlags::DIRECTORY).bits().cast_signed();
        let directory = match OpenOptions::new().read(true).custom_flags(flags).open(&at.path) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.context(doing)?,
        };
        let metadata = directory.metadata().context(doing)?;
        if metadata.uid() != rustix::process::geteuid().as_raw() || metadata.mode() & 0o022 != 0 {
            let error = Error::new(Kind::Refused, format!("{}: somebody else put it there", doing()));
            return Err(error.hint("find out who, remove it, then run the same command again"));
        }
        Ok(Some(Self(directory)))
    }

    /// A path that leads to it whatever its name is by now.
    pub(super) fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }

    /// Puts it and all below it on disk.
    pub(super) fn sync(&self) -> Result<()> {
        sync(&self.path()).context(|| "sync what was written".into())
    }
}

/// More files than that are synced by syncing their whole filesystem, which has to wait for whatever else is written there.
const FEW: usize = 1000;

/// Puts a directory and all below it on disk, file by file if they are few and we may open them.
fn sync(directory: &Path) -> io::Result<()> {
    match few_below(directory).and_then(|few| {
        let few = few.ok_or(io::ErrorKind::Unsupported)?;
        few.iter().try_for_each(|path| File::open(path)?.sync_all())
    }) {
        Ok(()) => Ok(()),
        Err(_) => Ok(rustix::fs::syncfs(File::open(directory)?)?),
    }
}

/// All files and directories from a directory on, if they are few.
fn few_below(directory: &Path) -> io::Result<Option<Vec<PathBuf>>> {
    let (mut files, mut directories, mut at) = (Vec::new(), vec![directory.to_owned()], 0);
    while let Some(directory) = directories.get(at) {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() || kind.is_file() {
                if kind.is_dir() { &mut directories } else { &mut files }.push(entry.path());
            }
        }
        at += 1;
        if directories.len() + files.len() > FEW {
            return Ok(None);
        }
    }
    files.extend(directories);
    Ok(Some(files))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_beside_a_place_goes_nowhere_else() {
        let around = tempfile::tempdir().expect("a directory");
        let (path, elsewhere) = (around.path().join("staging"), around.path().join("elsewhere"));
        let at = At { path: path.clone(), shown: path.clone() };
        let staging = Staging::create(&at).expect("made");
        fs::rename(&path, &elsewhere).expect("renamed");
        std::os::unix::fs::symlink("/", &path).expect("a link in its place");
        fs::write(staging.path().join("file"), "content").expect("written");
        assert_eq!(fs::read(elsewhere.join("file")).expect("where it was opened"), b"content");
        assert!(Staging::open(&at).is_err() && Staging::create(&at).is_err(), "the link was followed");
    }
}
