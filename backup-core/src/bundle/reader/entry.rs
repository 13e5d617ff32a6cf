//! One entry, read block by block and held against all that the manifest says of it.

use std::ops::Range;

use sha2::{Digest, Sha256};

use super::super::block::{self, Decoder};
use super::super::expanded::{Expanding, STEP};
use super::super::header::{EntryKind, Form, Head};
use super::super::manifest::{Entry, described};
use super::super::path;
use super::{Bundle, ReadAt, WINDOW, check_padding, other_bytes, read_blocks};
use crate::digest::Sha256Digest;
use crate::{Error, ErrorContext, Kind, Result};

/// Reads one entry block by block, checking everything that the manifest says of it.
pub struct EntryReader<'b, R> {
    bundle: &'b Bundle<R>,
    entry: &'b Entry,
    head: Head,
    decoder: Decoder,
    window: Vec<u8>,
    used: usize,
    at: u64,
    content: Vec<u8>,
    /// What of `content` was given, and how much of it there is to give.
    given: usize,
    length: usize,
    seen: u64,
    digest: Sha256,
    stored: Sha256,
    /// Where the manifest says what a file with holes comes out as.
    expanding: Option<Expanding>,
}

impl<'b, R: ReadAt> EntryReader<'b, R> {
    pub(super) fn open(bundle: &'b Bundle<R>, entry: &'b Entry) -> Result<Self> {
        let mut reader = Self {
            bundle,
            entry,
            head: Head::private("", 0, 0),
            decoder: Decoder::default(),
            window: Vec::new(),
            used: 0,
            at: entry.offset,
            content: Vec::new(),
            given: 0,
            length: 0,
            seen: 0,
            digest: Sha256::new(),
            stored: Sha256::new(),
            expanding: None,
        };
        reader.decode_block()?;
        let damaged = |why: &str| Error::new(Kind::Damaged, why);
        let (head, length) = Head::decode(&reader.content, Form::of(bundle.manifest.format)).map_err(damaged)?;
        if length != reader.content.len() || !agrees(&head, entry, &bundle.manifest.name) {
            return Err(damaged("its tar header is not what the manifest says of it"));
        }
        reader.expanding = entry.expanded.and_then(|_| Expanding::of(&head.kind));
        reader.head = head;
        Ok(reader)
    }

    /// The entry's tar header; its path begins with the bundle's directory.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The next part of the content, at most a block long, or `None` once all of it was given and found right.
    ///
    /// # Errors
    /// [`Kind::Damaged`], naming the entry.
    #[allow(clippy::should_implement_trait, reason = "it lends its buffer, which an Iterator can't")]
    pub fn next(&mut self) -> Result<Option<&[u8]>> {
        let entry = self.entry;
        let part = self.advance().context(|| format!("entry {}", entry.path))?;
        Ok(part.map(|part| &self.content[part]))
    }

    fn advance(&mut self) -> Result<Option<Range<usize>>> {
        if self.given == self.length && !self.next_block()? {
            return Ok(None);
        }
        let step = if self.expanding.is_some() { STEP } else { self.length };
        let part = self.given..self.length.min(self.given + step);
        self.given = part.end;
        if let Some(expanding) = &mut self.expanding {
            expanding.take(&self.content[part.clone()])?;
        }
        Ok(Some(part))
    }

    /// Reads a block of content, of which nothing is given yet; `false` once there is none left and all was found right.
    fn next_block(&mut self) -> Result<bool> {
        if Some(self.at) == self.entry.end() {
            return self.check_whole().map(|()| false);
        }
        self.decode_block()?;
        let left = self.entry.size - self.seen;
        let length = left.min(self.content.len() as u64);
        let last = Some(self.at) == self.entry.end();
        let padding = check_padding(&self.content, length);
        if (!last && length < self.content.len() as u64) || (last && padding.is_err()) || length == 0 {
            return Err(Error::new(Kind::Damaged, "its blocks don't hold what its header says"));
        }
        self.seen += length;
        (self.given, self.length) = (0, length as usize);
        self.digest.update(&self.content[..self.length]);
        Ok(true)
    }

    fn check_whole(&mut self) -> Result<()> {
        let digest = |digest: &Sha256, expected: Sha256Digest| digest.clone().finalize()[..] == expected.0;
        if !digest(&self.stored, self.entry.stored_sha256) {
            return Err(other_bytes());
        }
        if self.seen != self.entry.size || !digest(&self.digest, self.entry.sha256) {
            return Err(Error::new(Kind::Damaged, "its content is not what its digest was made of"));
        }
        if let Some(expanding) = self.expanding.take()
            && Some(expanding.finish()?) != self.entry.expanded
        {
            return Err(Error::new(Kind::Damaged, "with its holes it is not the file that the manifest says"));
        }
        Ok(())
    }

    /// Decodes the next block of the entry into `content`.
    fn decode_block(&mut self) -> Result<()> {
        let complete = |window: &[u8]| block::length(window).is_ok_and(|length| length <= window.len());
        if !complete(&self.window[self.used..]) {
            self.refill()?;
        }
        self.content.clear();
        let window = &self.window[self.used..];
        let length = self
            .decoder
            .decode(window, &mut self.content)
            .map_err(|cause| Error::new(Kind::Damaged, "its blocks").because(cause))?;
        self.stored.update(&window[..length]);
        self.used += length;
        self.at += length as u64;
        Ok(())
    }

    fn refill(&mut self) -> Result<()> {
        let left = self.entry.offset + self.entry.stored - self.at;
        let wanted = usize::try_from(left).unwrap_or(WINDOW).min(WINDOW);
        self.window.resize(wanted, 0);
        self.used = 0;
        read_blocks(&self.bundle.source, self.at, &mut self.window)
    }
}

/// Whether a tar header says what the manifest says.
fn agrees(head: &Head, entry: &Entry, name: &str) -> bool {
    let Some(head) = head.clone().inside(&format!("{name}/")) else { return false };
    path::to_text(&head.path) == entry.path
        && described(&head.kind) == (entry.kind, entry.link.clone())
        && head.size == entry.size
        && entry.expanded.is_none_or(|expanded| head.kind == EntryKind::Sparse(expanded.size))
}
