//! A store in memory: the plainest one that keeps the promises, for tests of what works with any.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use super::{
    BESIDE, ClaimName, DIGEST, Leftover, Published, Store, Stored, Upload, bundles, digest_line, exists, is_taken,
};
use crate::bundle::reader::ReadAt;
use crate::digest::Sha256Digest;
use crate::finding::Finding;
use crate::names::FileName;
use crate::{Error, Kind, Result};

/// A store that lives as long as its last clone.
#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    bundles: BTreeMap<FileName, Arc<[u8]>>,
    beside: BTreeMap<String, Vec<u8>>,
    claims: BTreeMap<ClaimName, Vec<u8>>,
    /// Whether somebody writes.
    locked: bool,
    /// What it is called; nothing where it is the only one.
    location: String,
    /// The most bytes that a bundle may have, where the room is small.
    room: Option<usize>,
}

impl Memory {
    /// One of several, which is called so.
    pub fn at(location: impl Into<String>) -> Self {
        Self(Arc::new(Mutex::new(Kept { location: location.into(), ..Kept::default() })))
    }

    /// From now on bundles of more bytes find it full.
    pub fn make_room(&self, room: Option<usize>) {
        self.kept().room = room;
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for Memory {
    fn location(&self) -> String {
        let kept = self.kept();
        if kept.location.is_empty() { "memory".into() } else { kept.location.clone() }
    }

    fn has_lock(&self) -> bool {
        true
    }

    fn check(&self, _size: u64) -> Result<Vec<Finding>> {
        Ok(Vec::new())
    }

    fn begin(&self, name: &FileName) -> Result<Box<dyn Upload>> {
        let mut kept = self.kept();
        if kept.locked {
            return Err(Error::new(Kind::Locked, "another backup is writing to memory"));
        }
        if kept.bundles.contains_key(name) {
            return Err(exists(&format!("{name} in memory")));
        }
        kept.locked = true;
        let abandoned = Arc::new(AtomicBool::new(false));
        Ok(Box::new(Growing { store: self.clone(), name: name.clone(), bytes: Vec::new(), abandoned }))
    }

    fn list(&self) -> Result<Vec<Stored>> {
        let kept = self.kept();
        let files = kept.bundles.iter().map(|(name, bytes)| (name.to_string(), bytes.len() as u64));
        Ok(bundles(files.chain(kept.beside.iter().map(|(name, bytes)| (name.clone(), bytes.len() as u64))).collect()))
    }

    fn read_beside(&self, name: &FileName, suffix: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.kept().beside.get(&format!("{name}{suffix}")).cloned())
    }

    fn write_beside(&self, name: &FileName, suffix: &str, content: &[u8]) -> Result<()> {
        self.kept().beside.insert(format!("{name}{suffix}"), content.to_vec());
        Ok(())
    }

    fn remove_beside(&self, name: &FileName, suffix: &str) -> Result<()> {
        self.kept().beside.remove(&format!("{name}{suffix}"));
        Ok(())
    }

    fn open(&self, name: &FileName) -> Result<Box<dyn ReadAt>> {
        let bytes = self.kept().bundles.get(name).cloned();
        let bytes =
            bytes.ok_or_else(|| Error::new(Kind::NotFound, format!("open {name}: memory has no such bundle")))?;
        Ok(Box::new(Bytes(bytes)))
    }

    fn remove(&self, name: &FileName) -> Result<()> {
        let mut kept = self.kept();
        kept.bundles.remove(name);
        for suffix in BESIDE {
            kept.beside.remove(&format!("{name}{suffix}"));
        }
        Ok(())
    }

    fn leftovers(&self, _begun: DateTime<Utc>) -> Result<Vec<Leftover>> {
        Ok(Vec::new())
    }

    fn remove_leftover(&self, _leftover: &Leftover) -> Result<()> {
        Ok(())
    }

    fn claims(&self) -> Result<Vec<ClaimName>> {
        Ok(self.kept().claims.keys().cloned().collect())
    }

    fn read_claim(&self, name: &ClaimName) -> Result<Vec<u8>> {
        let claim = self.kept().claims.get(name).cloned();
        claim.ok_or_else(|| Error::new(Kind::NotFound, format!("read {name}: memory has no such claim")))
    }

    fn claim(&self, name: &ClaimName, content: &[u8]) -> Result<Vec<Finding>> {
        let mut kept = self.kept();
        let there = kept.claims.entry(name.clone()).or_insert_with(|| content.to_vec());
        if there == content { Ok(Vec::new()) } else { Err(is_taken(&name.to_string())) }
    }
}

struct Bytes(Arc<[u8]>);

impl ReadAt for Bytes {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(offset).ok();
        let part = from.and_then(|from| self.0.get(from..from.checked_add(buffer.len())?));
        buffer.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// A bundle that grows. Dropping it lets others write.
struct Growing {
    store: Memory,
    name: FileName,
    bytes: Vec<u8>,
    abandoned: Arc<AtomicBool>,
}

impl Write for Growing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.store.kept().room.is_some_and(|room| self.bytes.len() + bytes.len() > room) {
            return Err(io::Error::from(rustix::io::Errno::NOSPC));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Growing {
    fn drop(&mut self) {
        self.store.kept().locked = false;
    }
}

impl Upload for Growing {
    fn abandon(&self) -> Box<dyn FnOnce() + Send> {
        let abandoned = self.abandoned.clone();
        Box::new(move || abandoned.store(true, SeqCst))
    }

    fn publish(mut self: Box<Self>, digest: &Sha256Digest) -> Result<Published> {
        if self.abandoned.load(SeqCst) {
            return Err(Error::new(Kind::Failed, format!("publish {}: it was given up", self.name)));
        }
        let bytes = std::mem::take(&mut self.bytes);
        let mut kept = self.store.kept();
        if kept.bundles.contains_key(&self.name) {
            return Err(exists(&format!("{} in memory", self.name)));
        }
        kept.beside.insert(format!("{}{DIGEST}", self.name), digest_line(digest, &self.name).into_bytes());
        kept.bundles.insert(self.name.clone(), bytes.into());
        drop(kept);
        Ok(format!("memory:{}", self.name).into())
    }
}
