//! A store that sends and takes no more than so many bytes a second.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::{ClaimName, Leftover, Published, Rate, Store, Stored, Upload};
use crate::Result;
use crate::bundle::reader::ReadAt;
use crate::digest::Sha256Digest;
use crate::finding::Finding;
use crate::names::FileName;

/// Another store, whose bundles are read and written at a limited rate. Small files beside the bundles pass at once.
pub struct Limited {
    store: Arc<dyn Store>,
    pace: Arc<Pace>,
}

impl Limited {
    /// The same store at this rate, for all that is read and written there at once.
    pub fn new(store: Arc<dyn Store>, rate: Rate) -> Self {
        Self { store, pace: Pace::of(rate) }
    }
}

/// A bundle that is read at this rate, if one is given.
pub(super) fn limited(bundle: impl ReadAt + 'static, rate: Option<Rate>) -> Box<dyn ReadAt> {
    match rate {
        Some(rate) => Box::new(Taken { bundle: Box::new(bundle), pace: Pace::of(rate) }),
        None => Box::new(bundle),
    }
}

/// When the next bytes may go.
struct Pace {
    rate: Rate,
    next: Mutex<Instant>,
}

impl Pace {
    fn of(rate: Rate) -> Arc<Self> {
        Arc::new(Self { rate, next: Mutex::new(Instant::now()) })
    }

    /// The most bytes that go at once: those of a tenth of a second.
    fn at_once(&self) -> usize {
        usize::try_from(self.rate.get() / 10).unwrap_or(usize::MAX).max(1)
    }

    /// Waits until so many bytes may go.
    fn wait_for(&self, bytes: usize) {
        let now = Instant::now();
        let begin = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let begin = now.max(*next);
            *next = begin + Duration::from_secs_f64(bytes as f64 / self.rate.get() as f64);
            begin
        };
        sleep(begin - now);
    }
}

impl Store for Limited {
    fn location(&self) -> String {
        self.store.location()
    }

    fn has_lock(&self) -> bool {
        self.store.has_lock()
    }

    fn check(&self, size: u64) -> Result<Vec<Finding>> {
        self.store.check(size)
    }

    fn begin(&self, name: &FileName) -> Result<Box<dyn Upload>> {
        Ok(Box::new(Sent { upload: self.store.begin(name)?, pace: self.pace.clone() }))
    }

    fn list(&self) -> Result<Vec<Stored>> {
        self.store.list()
    }

    fn read_beside(&self, name: &FileName, suffix: &str) -> Result<Option<Vec<u8>>> {
        self.store.read_beside(name, suffix)
    }

    fn write_beside(&self, name: &FileName, suffix: &str, content: &[u8]) -> Result<()> {
        self.store.write_beside(name, suffix, content)
    }

    fn remove_beside(&self, name: &FileName, suffix: &str) -> Result<()> {
        self.store.remove_beside(name, suffix)
    }

    fn open(&self, name: &FileName) -> Result<Box<dyn ReadAt>> {
        Ok(Box::new(Taken { bundle: self.store.open(name)?, pace: self.pace.clone() }))
    }

    fn others(&self) -> Result<Vec<String>> {
        self.store.others()
    }

    fn open_other(&self, file: &str) -> Result<Box<dyn ReadAt>> {
        Ok(Box::new(Taken { bundle: self.store.open_other(file)?, pace: self.pace.clone() }))
    }

    fn readers(&self) -> usize {
        self.store.readers()
    }

    fn locked_until(&self, name: &FileName) -> Result<Option<DateTime<Utc>>> {
        self.store.locked_until(name)
    }

    fn remove(&self, name: &FileName) -> Result<()> {
        self.store.remove(name)
    }

    fn leftovers(&self, begun: DateTime<Utc>) -> Result<Vec<Leftover>> {
        self.store.leftovers(begun)
    }

    fn remove_leftover(&self, leftover: &Leftover) -> Result<()> {
        self.store.remove_leftover(leftover)
    }

    fn claims(&self) -> Result<Vec<ClaimName>> {
        self.store.claims()
    }

    fn read_claim(&self, name: &ClaimName) -> Result<Vec<u8>> {
        self.store.read_claim(name)
    }

    fn claim(&self, name: &ClaimName, content: &[u8]) -> Result<Vec<Finding>> {
        self.store.claim(name, content)
    }
}

/// A bundle on its way out.
struct Sent {
    upload: Box<dyn Upload>,
    pace: Arc<Pace>,
}

impl Write for Sent {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let bytes = &bytes[..bytes.len().min(self.pace.at_once())];
        self.pace.wait_for(bytes.len());
        self.upload.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.upload.flush()
    }
}

impl Upload for Sent {
    fn abandon(&self) -> Box<dyn FnOnce() + Send> {
        self.upload.abandon()
    }

    fn publish(self: Box<Self>, digest: &Sha256Digest) -> Result<Published> {
        self.upload.publish(digest)
    }
}

/// A bundle that is read.
struct Taken {
    bundle: Box<dyn ReadAt>,
    pace: Arc<Pace>,
}

impl ReadAt for Taken {
    fn length(&self) -> io::Result<u64> {
        self.bundle.length()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.pace.wait_for(buffer.len());
        self.bundle.read_at(offset, buffer)
    }

    fn readers(&self) -> usize {
        self.bundle.readers()
    }
}
