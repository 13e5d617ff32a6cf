//! A bundle on its way to another machine, under a temporary name until all of it is there.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::Sftp;
use super::connect::{Connection, FAREWELL};
use super::line::is_answer;
use super::outgoing::Outgoing;
use super::trial::{cannot_sync, not_synced};
use crate::digest::Sha256Digest;
use crate::finding::Finding;
use crate::names::FileName;
use crate::store::{DIGEST, Published, Upload, digest_line, exists};
use crate::{Error, Kind, Result};

/// How long it may take to bring a bundle onto the disk.
const SYNC: Duration = Duration::from_secs(30 * 60);

/// A bundle under a temporary name.
pub(super) struct Part {
    store: Sftp,
    connection: Connection,
    name: FileName,
    path: PathBuf,
    /// None once it is written.
    file: Option<Outgoing>,
    over: bool,
}

impl Part {
    pub(super) fn new(store: Sftp, connection: Connection, name: FileName, path: PathBuf, file: Outgoing) -> Self {
        Self { store, connection, name, path, file: Some(file), over: false }
    }

    fn shown(&self) -> String {
        self.store.shown(&self.name.to_string())
    }

    fn file(&mut self) -> io::Result<&mut Outgoing> {
        self.file.as_mut().ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }

    /// Brings all that was written onto the other machine's disk, where its server can do that.
    fn sync(&mut self) -> Result<Option<Finding>> {
        let shown = self.shown();
        let Some(mut file) = self.file.take() else { return Ok(None) };
        file.flush().map_err(|cause| Error::new(Kind::Failed, format!("write {shown}")).because(cause))?;
        // All of a long bundle may have to go to a slow disk.
        let synced = self.connection.within(SYNC, || file.sync());
        let closed = file.close();
        let name = self.name.to_string();
        match (synced, closed) {
            (Err(cause), _) if !cannot_sync(&cause) => Err(self.store.failed("sync", &name, cause)),
            (_, Err(cause)) => Err(self.store.failed("write", &name, cause)),
            (Ok(()), Ok(())) => Ok(None),
            (Err(_), Ok(())) => {
                let told = self.store.0.told_unsynced.load(Relaxed);
                Ok((!told).then(|| not_synced(shown)))
            }
        }
    }

    /// Gives the bundle its name.
    fn rename(&self, target: &Path) -> Result<()> {
        let Err(cause) = self.connection.rename(&self.path, target) else { return Ok(()) };
        let name = self.name.to_string();
        if is_answer(&cause) {
            // The server says "failure" whatever the reason is.
            let taken = self.connection.has(target);
            return Err(if taken { exists(&self.shown()) } else { self.store.failed("publish", &name, cause) });
        }
        // It may have done so, and the answer was lost. Nobody else has this part.
        let seen = self.store.anew(|connection| (connection.has(target), connection.has(&self.path)));
        let error = self.store.failed("publish", &name, cause);
        match seen {
            Some((true, false)) => Ok(()),
            Some(_) => Err(error),
            None => Err(error
                .hint("it may be there all the same: look with `list` before the backup is run again")
                .unsure()),
        }
    }
}

impl Write for Part {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file()?.flush()
    }
}

impl Upload for Part {
    fn abandon(&self) -> Box<dyn FnOnce() + Send> {
        let (store, path, line) = (self.store.clone(), self.path.clone(), self.connection.line.clone());
        // The writer may hang in its own connection.
        Box::new(move || {
            line.hang_up();
            store.anew(|connection| connection.remove(&path));
        })
    }

    fn publish(mut self: Box<Self>, digest: &Sha256Digest) -> Result<Published> {
        let unsynced = self.sync()?;
        let target = self.connection.directory.join(self.name.to_string());
        // Not every server refuses to rename onto something.
        if self.connection.has(&target) {
            return Err(exists(&self.shown()));
        }
        self.rename(&target)?;
        self.over = true;
        let mut warnings: Vec<Finding> = unsynced.into_iter().collect();
        let (line, beside) = (digest_line(digest, &self.name), format!("{}{DIGEST}", self.name));
        if let Err(error) = self.store.put_beside(&self.connection, &beside, line.as_bytes()) {
            // The bundle proves itself without.
            warnings.push(Finding::warning_from_error("digest-not-written", self.shown(), &error));
        }
        Ok(Published { place: self.shown(), warnings })
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.over {
            let file = self.file.take();
            let _ = self.connection.within(FAREWELL, || file.map(Outgoing::close));
            self.store.give_up(&self.connection, &self.path);
        }
    }
}
