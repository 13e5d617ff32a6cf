//! What is asked of a server over a connection, and files that are written there.

use std::path::{Path, PathBuf};

use ssh2::{FileStat, OpenFlags, OpenType};

use super::connect::Connection;
use super::outgoing::Outgoing;

type Answer<T> = Result<T, ssh2::Error>;

impl Connection {
    pub(super) fn stat(&self, path: &Path) -> Answer<FileStat> {
        self.ask(|sftp| sftp.stat(path))
    }

    /// Whether something has this name, a link among it.
    pub(super) fn has(&self, path: &Path) -> bool {
        self.ask(|sftp| sftp.lstat(path)).is_ok()
    }

    pub(super) fn list(&self, path: &Path) -> Answer<Vec<(PathBuf, FileStat)>> {
        self.ask(|sftp| sftp.readdir(path))
    }

    pub(super) fn open_file(&self, path: &Path) -> Answer<ssh2::File> {
        self.ask(|sftp| sftp.open(path))
    }

    pub(super) fn make_directory(&self, path: &Path, mode: i32) -> Answer<()> {
        self.ask(|sftp| sftp.mkdir(path, mode))
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> Answer<()> {
        self.ask(|sftp| sftp.rename(from, to, None))
    }

    pub(super) fn remove(&self, path: &Path) -> Answer<()> {
        self.ask(|sftp| sftp.unlink(path))
    }

    /// Creates a file for writing; `how` beside that it is written.
    pub(super) fn create(&self, path: &Path, how: OpenFlags, mode: i32) -> Answer<Outgoing> {
        let flags = OpenFlags::WRITE | OpenFlags::CREATE | how;
        let file = self.ask(|sftp| sftp.open_mode(path, flags, mode, OpenType::File))?;
        Ok(Outgoing::new(file, self.line.clone(), self.answer))
    }
}
