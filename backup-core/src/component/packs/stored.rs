//! Packed trees in a bundle.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::reading::{self, Source};
use super::single::single;
use super::unpack::{Unpack, Unpacked};
use super::verify::verify;
use super::{PACK_END, index_path, inside};
use crate::bundle::header::Head;
use crate::bundle::manifest::Entry;
use crate::bundle::reader::{EntryReader, OpenBundle, ReadAt};
use crate::component::{Stored, Working};
use crate::finding::Finding;
use crate::{Context, Error, Kind, Result};

impl Stored {
    /// Brings back the tree that [`Out::packs`](super::super::Out::packs) has packed under this path, below a directory of ours. `root` is the
    /// path that it had on the machine. What is there is to be believed once this has ended well; whoever gets an error removes it.
    ///
    /// # Errors
    /// [`Kind::Refused`] where the directory is not empty, or its path has more than 510 bytes; [`Kind::Damaged`] at the first thing that does
    /// not agree, such as another root; the system's words.
    pub async fn unpack(&self, path: &str, root: &Path, to: PathBuf, work: Working) -> Result<Unpacked> {
        let root = inside(root).to_vec();
        self.with_packs(path, move |packs| {
            let cancel = &work.context.cancel;
            let mut unpack = Unpack::new(&to, &root, work.meter)?;
            let packed = reading::read(packs, &mut unpack, cancel)?;
            let warnings = unpack.finish(cancel)?;
            Ok(Unpacked { root: to.join(OsStr::from_bytes(&root)), packed, warnings })
        })
        .await
    }

    /// Reads a packed tree and says what does not agree: of packs, index, and the digests of both.
    ///
    /// # Errors
    /// Where it can't be read.
    pub async fn verify_packs(&self, path: &str, context: Context) -> Result<Vec<Finding>> {
        match self.with_packs(path, move |packs| verify(packs, &context)).await {
            Err(error) if error.kind() == Kind::Damaged => Ok(vec![Finding::from_error("damaged", path, &error)]),
            verified => verified,
        }
    }

    /// Reads one file of a packed tree, by its path on the machine: its content as it is stored. Of a hard link it is that of the file that it
    /// leads to, whose header is returned. What `take` was given is to be believed once this has ended well.
    ///
    /// # Errors
    /// [`Kind::NotFound`], [`Kind::Damaged`]; what `take` returns.
    pub async fn read_packed(
        &self,
        path: &str,
        file: &Path,
        take: impl FnMut(&[u8]) -> Result<()> + Send + 'static,
        context: Context,
    ) -> Result<Head> {
        let file = inside(file).to_vec();
        self.with_packs(path, move |packs| single(packs, &file, take, &context.cancel)).await
    }

    /// Works on packs in a thread that may wait for the disk.
    async fn with_packs<T: Send + 'static>(
        &self,
        path: &str,
        work: impl FnOnce(&InBundle) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (packs, index) = (self.numbered(path, PACK_END)?, self.numbered(&index_path(path), "")?);
        let source = InBundle { bundle: self.bundle.clone(), index, packs };
        let doing = format!("read {path}");
        let done = tokio::task::spawn_blocking(move || work(&source)).await;
        done.map_err(|cause| Error::new(Kind::Failed, doing).because(cause))?
    }
}

/// Packs and index as entries of a bundle.
struct InBundle {
    bundle: std::sync::Arc<OpenBundle>,
    index: Vec<Entry>,
    packs: Vec<Entry>,
}

impl Source for InBundle {
    fn index(&self) -> Result<Box<dyn Read + '_>> {
        Ok(Box::new(Joined::new(&self.bundle, &self.index)))
    }

    fn packs(&self) -> u64 {
        self.packs.len() as u64
    }

    fn pack(&self, number: u64) -> Result<Box<dyn Read + '_>> {
        let missing = || Error::new(Kind::Damaged, format!("pack {number} is missing"));
        let at = usize::try_from(number).ok().and_then(|number| number.checked_sub(1)).ok_or_else(missing)?;
        let pack = self.packs.get(at..).and_then(|packs| packs.get(..1)).ok_or_else(missing)?;
        Ok(Box::new(Joined::new(&self.bundle, pack)))
    }
}

/// Entries of a bundle, one after another, as a stream. Each is held against its digests when its end is read.
struct Joined<'b> {
    bundle: &'b OpenBundle,
    entries: std::slice::Iter<'b, Entry>,
    reader: Option<EntryReader<'b, Box<dyn ReadAt>>>,
    part: Vec<u8>,
    given: usize,
}

impl<'b> Joined<'b> {
    fn new(bundle: &'b OpenBundle, entries: &'b [Entry]) -> Self {
        Self { bundle, entries: entries.iter(), reader: None, part: Vec::new(), given: 0 }
    }

    /// Has something to give, or nothing at the end.
    fn refill(&mut self) -> Result<()> {
        (self.given, self.part) = (0, std::mem::take(&mut self.part));
        self.part.clear();
        while self.part.is_empty() {
            let Some(reader) = &mut self.reader else {
                let Some(entry) = self.entries.next() else { return Ok(()) };
                self.reader = Some(self.bundle.read(entry)?);
                continue;
            };
            match reader.next()? {
                Some(part) => self.part.extend_from_slice(part),
                None => self.reader = None,
            }
        }
        Ok(())
    }
}

impl Read for Joined<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.part.len() {
            self.refill().map_err(io::Error::other)?;
        }
        let now = buffer.len().min(self.part.len() - self.given);
        buffer[..now].copy_from_slice(&self.part[self.given..self.given + now]);
        self.given += now;
        Ok(now)
    }
}
