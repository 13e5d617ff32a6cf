//! A file of a remote as bytes that can be read at any place.

use std::io::{self, ErrorKind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Rclone;
use super::incoming::Incoming;
use crate::bundle::reader::ReadAt;
use crate::{Error, Kind, Result};

/// Reads at once: each has a run of rclone.
pub(super) const READERS: usize = 4;
/// What is read at once of the end: footer and manifest of most bundles, and all of a small one.
const TAIL: u64 = 256 << 10;
/// Bytes that are rather skipped than reached by another run.
const SKIPPED: u64 = 256 << 10;
/// Times that a read is tried whose stream broke off.
const ATTEMPTS: u32 = 3;

/// A file, open.
pub(super) struct Object {
    store: Rclone,
    file: String,
    length: u64,
    tail: Mutex<Option<Vec<u8>>>,
    /// Streams that nobody reads at the moment, the latest last.
    idle: Mutex<Vec<Incoming>>,
}

impl Object {
    pub(super) fn open(store: Rclone, file: String) -> Result<Self> {
        let missing = || {
            let error = Error::new(Kind::NotFound, format!("open {}", store.shown(&file)));
            error.because("it is not there")
        };
        let length = store.look(&file)?.ok_or_else(missing)?.length;
        Ok(Self { store, file, length, tail: Mutex::default(), idle: Mutex::default() })
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Incoming>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stream that is just before this place, or a new one.
    fn stream(&self, offset: u64) -> Result<Incoming> {
        let mut idle = self.idle();
        let near = |stream: &Incoming| offset.checked_sub(stream.position).is_some_and(|gap| gap <= SKIPPED);
        match idle.iter().rposition(near) {
            Some(at) => Ok(idle.remove(at)),
            None => {
                drop(idle);
                Incoming::open(&self.store, &self.file, offset)
            }
        }
    }

    fn keep(&self, stream: Incoming) {
        let left = {
            let mut idle = self.idle();
            let left = (idle.len() >= READERS).then(|| idle.remove(0));
            idle.push(stream);
            left
        };
        drop(left);
    }

    /// Reads with one run, or with one that gave what stands before.
    fn read_once(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let mut stream = self.stream(offset)?;
        let mut skipped = vec![0; usize::try_from(offset - stream.position).unwrap_or(0)];
        let read = stream.read_exact(&mut skipped).and_then(|()| stream.read_exact(buffer));
        let Err(cause) = read else {
            if stream.position < self.length {
                self.keep(stream);
            }
            return Ok(());
        };
        let doing = format!("read {}", self.store.shown(&self.file));
        let ran = stream.ended(&cause);
        let error = self.store.0.program.failed(doing, &ran);
        // A run that gave less and calls that well met a file that is shorter by now.
        Err(if ran.is_well() { error.because("rclone gives fewer bytes than the file has") } else { error })
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut attempt = 1;
        loop {
            match self.read_once(offset, buffer) {
                Ok(()) => return Ok(()),
                Err(error) if attempt == ATTEMPTS => return Err(io::Error::other(error)),
                // A server ends what nobody read for long.
                Err(_) => attempt += 1,
            }
        }
    }

    /// Copies from the end of the file, which is read once.
    fn read_tail(&self, from: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        if tail.is_none() {
            let length = self.length.min(TAIL);
            let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
            self.read(self.length - length, &mut bytes)?;
            *tail = Some(bytes);
        }
        let from = usize::try_from(from).map_err(io::Error::other)?;
        let part = tail.as_ref().and_then(|tail| tail.get(from..from + buffer.len()));
        buffer.copy_from_slice(part.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl ReadAt for Object {
    fn length(&self) -> io::Result<u64> {
        Ok(self.length)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64);
        end.filter(|end| *end <= self.length).ok_or(ErrorKind::UnexpectedEof)?;
        if buffer.is_empty() {
            return Ok(());
        }
        match offset.checked_sub(self.length.saturating_sub(TAIL)) {
            Some(from) => self.read_tail(from, buffer),
            None => self.read(offset, buffer),
        }
    }

    fn readers(&self) -> usize {
        READERS
    }
}
