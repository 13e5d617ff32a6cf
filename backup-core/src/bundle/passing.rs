//! A bundle's bytes checked as they pass, from the first to the last: each of them stands under a digest.

use std::io::{self, Write};

use sha2::{Digest, Sha256};

use super::footer::{self, Footer};
use super::manifest::{self, Manifest};
use super::writer::END_OF_ARCHIVE;
use crate::digest::Sha256Digest;
use crate::{Error, Kind, Result};

/// The parts of a bundle in the order of the file: its entries, its manifest, and what follows the manifest.
pub(crate) struct Passing<'m> {
    manifest: &'m Manifest,
    footer: &'m Footer,
    /// Which part passes, and how much of it is to come.
    part: usize,
    left: u64,
    digest: Sha256,
}

/// A part that has bytes of its own and their digest.
struct Part<'m> {
    name: &'m str,
    length: u64,
    sha256: Sha256Digest,
}

impl<'m> Passing<'m> {
    /// A check of a bundle that has this manifest and this footer; no byte of it has passed.
    ///
    /// # Errors
    /// [`Kind::Damaged`] if the file has no room for the end of the archive, or more.
    pub(crate) fn new(manifest: &'m Manifest, footer: &'m Footer) -> Result<Self> {
        let last = (END_OF_ARCHIVE.len() + footer::LENGTH) as u64;
        if footer.manifest_offset + footer.manifest_stored + last != footer.bundle_length {
            return Err(Error::new(Kind::Damaged, "end of archive: other bytes than this format has there"));
        }
        let mut passing = Self { manifest, footer, part: 0, left: 0, digest: Sha256::new() };
        passing.left = passing.part().map_or(0, |part| part.length);
        Ok(passing)
    }

    fn part(&self) -> Option<Part<'m>> {
        let entries = &self.manifest.entries;
        if let Some(entry) = entries.get(self.part) {
            return Some(Part { name: &entry.path, length: entry.stored, sha256: entry.stored_sha256 });
        }
        match self.part - entries.len() {
            0 => Some(Part {
                name: manifest::PATH,
                length: self.footer.manifest_stored,
                sha256: Sha256Digest(self.footer.manifest_digest),
            }),
            1 => {
                let last = [&END_OF_ARCHIVE[..], &self.footer.encode()].concat();
                let sha256 = Sha256Digest(Sha256::digest(&last).into());
                Some(Part { name: "end of archive", length: last.len() as u64, sha256 })
            }
            _ => None,
        }
    }

    /// Takes the next bytes of the file.
    ///
    /// # Errors
    /// [`Kind::Damaged`], naming the entry, as soon as all bytes of the entry have passed.
    pub(crate) fn take(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let Some(part) = self.part() else {
                return Err(Error::new(Kind::Damaged, "end of archive: bytes come after the bundle's end"));
            };
            let taken = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            self.digest.update(&bytes[..taken]);
            self.left -= taken as u64;
            bytes = &bytes[taken..];
            if self.left == 0 {
                self.close(&part)?;
            }
        }
        Ok(())
    }

    fn close(&mut self, part: &Part<'_>) -> Result<()> {
        if self.digest.finalize_reset()[..] != part.sha256.0 {
            let why = "its bytes in the file are not those that its digest was made of";
            return Err(Error::new(Kind::Damaged, format!("entry {}: {why}", part.name)));
        }
        self.part += 1;
        self.left = self.part().map_or(0, |part| part.length);
        Ok(())
    }

    /// Says whether all of the bundle has passed.
    ///
    /// # Errors
    /// [`Kind::Damaged`] if bytes are missing.
    pub(crate) fn finish(self) -> Result<()> {
        match self.part() {
            None => Ok(()),
            Some(part) => Err(Error::new(Kind::Damaged, format!("entry {}: the file ends in it", part.name))),
        }
    }
}

impl Write for Passing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.take(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
