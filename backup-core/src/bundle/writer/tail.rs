//! The thread that writes: entries as they come, then the manifest, the archive's end and the footer.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::super::block::{CONTENT, Encoder};
use super::super::footer::{self, Footer};
use super::super::header::{Form, Head, RECORD};
use super::super::manifest::{self, Entry, Manifest, described};
use super::super::pack::Packed;
use super::super::{FORMAT, FORMAT_OF_HEADERS, path, rules};
use super::{End, Message};
use crate::digest::Sha256Digest;
use crate::event::Meter;
use crate::names::BundleName;
use crate::{Error, ErrorContext, Kind, Result};

/// The block that ends the tar archive, two records of zeros, as it stands in every bundle.
#[rustfmt::skip]
pub(in super::super) const END_OF_ARCHIVE: [u8; 39] = [
    31, 139, 8, 4, 0, 0, 0, 0, 0, 255, 8, 0, 79, 66, 4, 0, 39, 0, 0, 0, 99, 96, 24, 5, 163, 96, 20, 140, 84, 0, 0, 46, 175, 181, 239, 0, 4, 0, 0,
];
/// A bundle whose entries are all written, and which lacks its manifest and footer.
pub struct Tail<W> {
    sink: W,
    encoder: Encoder,
    offset: u64,
    meter: Arc<Meter>,
    prefix: String,
    seconds: i64,
    /// The oldest format that has all headers as they were written.
    format: u32,
    /// Every entry written so far.
    pub entries: Vec<Entry>,
}

/// A complete bundle, flushed into its sink.
pub struct Sealed<W> {
    /// Where it was written.
    pub sink: W,
    /// Bytes of the whole bundle.
    pub length: u64,
    /// The digest of the manifest, which tells the bundle from every other one.
    pub manifest: Sha256Digest,
}

/// An entry that is being written.
struct Begun {
    entry: Entry,
    stored: Sha256,
}

impl<W: Write> Tail<W> {
    pub(super) fn new(name: &BundleName, encoder: Encoder, sink: W, meter: Arc<Meter>) -> Self {
        let (prefix, seconds) = (format!("{name}/"), name.time().timestamp());
        Self { sink, encoder, offset: 0, meter, prefix, seconds, format: FORMAT, entries: Vec::new() }
    }

    /// Writes all that comes; `None` where an entry was given up half way.
    pub(super) fn take_all(mut self, mut messages: mpsc::Receiver<Message>) -> Result<Option<Self>> {
        loop {
            let whole = match messages.blocking_recv() {
                Some(Message::Close) => return Ok(Some(self)),
                Some(Message::Head(head)) => self.take_pieces(head, &mut messages)?,
                Some(Message::Whole(whole)) => self.take_whole(*whole)?,
                _ => false,
            };
            if !whole {
                return Ok(None);
            }
        }
    }

    /// Writes an entry that comes in pieces; `false` where its end never came.
    fn take_pieces(&mut self, head: Head, messages: &mut mpsc::Receiver<Message>) -> Result<bool> {
        let mut begun = self.begin(head)?;
        loop {
            match messages.blocking_recv() {
                Some(Message::Block(packed)) => {
                    if !self.put_packed(packed, &mut begun)? {
                        return Ok(false);
                    }
                }
                Some(Message::End(end)) => {
                    self.end(begun, end);
                    return Ok(true);
                }
                _ => return Ok(false),
            }
        }
    }

    /// Writes an entry that is all there; `false` where a block was never packed.
    fn take_whole(&mut self, (head, blocks, end): (Head, Vec<Packed>, End)) -> Result<bool> {
        let mut begun = self.begin(head)?;
        for packed in blocks {
            if !self.put_packed(packed, &mut begun)? {
                return Ok(false);
            }
        }
        self.end(begun, end);
        Ok(true)
    }

    fn put_packed(&mut self, packed: Packed, begun: &mut Begun) -> Result<bool> {
        let Ok(block) = packed.blocking_recv() else { return Ok(false) };
        self.put(&block, Some(&mut begun.stored))?;
        Ok(true)
    }

    /// Writes an entry's header as a block of its own.
    fn begin(&mut self, head: Head) -> Result<Begun> {
        let (offset, text) = (self.offset, path::to_text(&head.path));
        let (kind, link) = described(&head.kind);
        let head = head.below(&self.prefix);
        let header = head.encode(Form::Nearest);
        // Without pax records there is no room for a difference.
        if self.format < FORMAT_OF_HEADERS && header.len() > RECORD && header != head.encode(Form::Zeros) {
            self.format = FORMAT_OF_HEADERS;
        }
        if header.len() > CONTENT {
            return Err(Error::new(Kind::Failed, format!("write entry {text}: its attributes take more than 1 MiB")));
        }
        let mut stored = Sha256::new();
        let block = self.encoder.encode(&header);
        self.put(&block, Some(&mut stored))?;
        let none = Sha256Digest([0; 32]);
        let entry = Entry {
            path: text,
            kind,
            link,
            size: 0,
            sha256: none,
            expanded: None,
            offset,
            stored: 0,
            stored_sha256: none,
            chunk: None,
        };
        Ok(Begun { entry, stored })
    }

    fn end(&mut self, Begun { entry, stored }: Begun, End { size, digest, expanded, chunk }: End) {
        self.entries.push(Entry {
            size,
            sha256: Sha256Digest(digest),
            expanded,
            stored: self.offset - entry.offset,
            stored_sha256: Sha256Digest(stored.finalize().into()),
            chunk,
            ..entry
        });
    }

    fn put(&mut self, bytes: &[u8], stored: Option<&mut Sha256>) -> Result<()> {
        self.sink.write_all(bytes).context(|| "write the bundle".into())?;
        if let Some(stored) = stored {
            stored.update(bytes);
        }
        self.offset += bytes.len() as u64;
        self.meter.written.fetch_add(bytes.len() as u64, Relaxed);
        Ok(())
    }

    /// The oldest format that a manifest of these entries may have.
    pub fn oldest_format(&self) -> u32 {
        self.format
    }

    /// Completes the bundle with its manifest, the archive's end and the footer, and flushes it.
    ///
    /// # Errors
    /// A failure to write, or a manifest that the [`rules`] refuse: what no reader takes must never be
    /// published as a backup.
    pub fn seal(self, manifest: &Manifest) -> Result<Sealed<W>> {
        let format = if manifest.format < self.format {
            Err(Error::new(Kind::Damaged, format!("{}: its format has other headers", manifest::PATH)))
        } else {
            Ok(())
        };
        format.and_then(|()| manifest.check(self.offset)).map_err(|error| {
            Error::new(Kind::Failed, "the bundle would be refused by every reader, and is given up").because(error)
        })?;
        let json = to_json(manifest)?;
        if let Some(why) = rules::too_much(&json) {
            return Err(Error::new(Kind::Failed, format!("write the manifest: {why}"))
                .hint("back up fewer files or databases into one bundle"));
        }
        self.seal_json(json, manifest.format)
    }

    /// [`Tail::seal`] of whatever `manifest` says. For tests that need a hostile bundle.
    ///
    /// # Errors
    /// A failure to write.
    pub fn seal_unchecked(self, manifest: &Manifest) -> Result<Sealed<W>> {
        let json = to_json(manifest)?;
        self.seal_json(json, manifest.format)
    }

    fn seal_json(mut self, json: Vec<u8>, format: u32) -> Result<Sealed<W>> {
        let manifest_offset = self.offset;
        let Begun { mut stored, .. } = self.begin(Head::private(manifest::PATH, json.len() as u64, self.seconds))?;
        let mut content = json;
        content.resize(content.len().next_multiple_of(RECORD), 0);
        for part in content.chunks(CONTENT) {
            let block = self.encoder.encode(part);
            self.put(&block, Some(&mut stored))?;
        }
        let manifest_stored = self.offset - manifest_offset;
        self.put(&END_OF_ARCHIVE, None)?;
        let footer = Footer {
            format,
            manifest_offset,
            manifest_stored,
            bundle_length: self.offset + footer::LENGTH as u64,
            manifest_digest: stored.finalize().into(),
        };
        self.put(&footer.encode(), None)?;
        self.sink.flush().context(|| "write the bundle".into())?;
        Ok(Sealed { sink: self.sink, length: self.offset, manifest: Sha256Digest(footer.manifest_digest) })
    }
}

fn to_json(manifest: &Manifest) -> Result<Vec<u8>> {
    serde_json::to_vec(manifest).context(|| "write the manifest".into())
}
