//! A file of another machine as bytes that can be read at any place.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Mutex, PoisonError};

use super::Sftp;
use super::connect::{Connection, FAREWELL};
use crate::bundle::reader::ReadAt;
use crate::{Error, Kind, Result};

/// Reads at once: each has a connection of its own, and a server takes few at a time from those who have not logged in yet.
pub(super) const READERS: usize = 4;

/// A file, open.
pub(super) struct Object {
    store: Sftp,
    file: String,
    length: u64,
    /// Handles that nobody uses at the moment.
    idle: Mutex<Vec<Opened>>,
}

/// The handle goes before its connection.
struct Opened {
    file: ssh2::File,
    connection: Connection,
}

impl Object {
    pub(super) fn open(store: Sftp, file: String) -> Result<Self> {
        let mut opened = store.opened(&file)?;
        let stat = opened.file.stat().map_err(|cause| store.failed("open", &file, cause))?;
        let length = stat.size.filter(|_| stat.is_file()).ok_or_else(|| {
            Error::new(Kind::Damaged, format!("open {}: not a regular file, so not a bundle", store.shown(&file)))
        })?;
        Ok(Self { store, file, length, idle: Mutex::new(vec![opened]) })
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Opened>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sftp {
    fn opened(&self, file: &str) -> Result<Opened> {
        let connection = self.connection()?;
        let opened = connection.open_file(&connection.directory.join(file));
        let opened = opened.map_err(|cause| self.failed("open", file, cause))?;
        Ok(Opened { file: opened, connection })
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        for Opened { mut file, connection } in std::mem::take(&mut *self.idle()) {
            let closed = connection.within(FAREWELL, || file.close());
            let closed = closed.inspect_err(|cause| connection.line.hang_up_unless_answered(cause));
            if closed.is_ok() {
                self.store.keep(connection);
            }
        }
    }
}

impl ReadAt for Object {
    fn length(&self) -> io::Result<u64> {
        Ok(self.length)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64);
        end.filter(|end| *end <= self.length).ok_or(io::ErrorKind::UnexpectedEof)?;
        // A server may have ended one that nobody used for long.
        let idle = self.idle().pop().filter(|opened| opened.connection.line.is_up());
        let mut opened = match idle {
            Some(opened) => opened,
            None => self.store.opened(&self.file).map_err(io::Error::other)?,
        };
        let read = opened.file.seek(SeekFrom::Start(offset)).and_then(|_| opened.file.read_exact(buffer));
        read.map_err(|cause| {
            // It is in no state to be used again, and to close the file over it would wait once more.
            opened.connection.line.hang_up();
            io::Error::new(cause.kind(), format!("read {}: {cause}", self.store.shown(&self.file)))
        })?;
        self.idle().push(opened);
        Ok(())
    }

    fn readers(&self) -> usize {
        READERS
    }
}
