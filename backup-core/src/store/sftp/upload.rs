//! A bundle on its way to another machine, under a temporary name until all of it is there.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::Sftp;
use super::connect::{Connection, FAREWELL};
use super::outgoing::Outgoing;
use super::trial::{cannot_sync, not_synced};
use crate::bundle::digest::Sha256Digest;
use crate::bundle::name::FileName;
use crate::finding::Finding;
use crate::store::{DIGEST, Published, Upload, digest_line, exists};
use crate::{Error, Kind, Result};

/// What is sent at once. libssh2 waits for the answers to all of it, so little would mean many waits.
const GATHER: usize = 1 << 20;
/// How long it may take to bring a bundle onto the disk.
const SYNC: Duration = Duration::from_secs(30 * 60);

/// A bundle under a temporary name.
pub(super) struct Part {
    store: Sftp,
    connection: Connection,
    name: FileName,
    path: PathBuf,
    /// None once it is written.
    file: Option<BufWriter<Outgoing>>,
    over: bool,
}

impl Part {
    pub(super) fn new(store: Sftp, connection: Connection, name: FileName, path: PathBuf, file: Outgoing) -> Self {
        Self { store, connection, name, path, file: Some(BufWriter::with_capacity(GATHER, file)), over: false }
    }

    fn shown(&self) -> String {
        self.store.shown(&self.name.to_string())
    }

    fn file(&mut self) -> io::Result<&mut BufWriter<Outgoing>> {
        self.file.as_mut().ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }

    /// Brings all that was written onto the other machine's disk, where its server can do that.
    fn sync(&mut self) -> Result<Option<Finding>> {
        let shown = self.shown();
        let file = self.file.take().map(BufWriter::into_inner).transpose();
        let file =
            file.map_err(|cause| Error::new(Kind::Failed, format!("write {shown}")).because(cause.into_error()))?;
        let Some(mut file) = file else { return Ok(None) };
        // All of a long bundle may have to go to a slow disk.
        self.connection.wait_at_most(SYNC);
        let synced = file.sync();
        let closed = file.close();
        self.connection.wait_at_most(self.connection.answer);
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
            store.remove_part(&path);
        })
    }

    fn publish(mut self: Box<Self>, digest: &Sha256Digest) -> Result<Published> {
        let unsynced = self.sync()?;
        let directory = &self.connection.directory;
        let beside = format!("{}{DIGEST}", self.name);
        let sum = self.store.write_part(&self.connection, &beside, digest_line(digest, &self.name).as_bytes())?;
        let target = directory.join(self.name.to_string());
        let sftp = &self.connection.sftp;
        // Not every server refuses to rename onto something.
        if sftp.lstat(&target).is_ok() {
            let _ = sftp.unlink(&sum);
            return Err(exists(&self.shown()));
        }
        if let Err(cause) = sftp.rename(&self.path, &target, None) {
            let _ = sftp.unlink(&sum);
            // The server says "failure" whatever the reason is.
            if sftp.lstat(&target).is_ok() {
                return Err(exists(&self.shown()));
            }
            return Err(self.store.failed("publish", &self.name.to_string(), cause));
        }
        self.over = true;
        let mut warnings: Vec<Finding> = unsynced.into_iter().collect();
        let beside = directory.join(beside);
        // One that a bundle left which is gone.
        let _ = sftp.unlink(&beside);
        if let Err(cause) = sftp.rename(&sum, &beside, None) {
            let error = self.store.failed("write the digest of", &self.name.to_string(), cause);
            warnings.push(Finding::warning_from_error("digest-not-written", self.shown(), &error));
        }
        Ok(Published { place: self.shown(), warnings })
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.over {
            self.connection.wait_at_most(FAREWELL);
            // What is buffered need not be sent any more.
            let _ = self.file.take().map(|file| file.into_parts().0.close());
            if !self.connection.removes(&self.path) {
                self.connection.line.hang_up();
                self.store.remove_part(&self.path);
            }
        }
    }
}
