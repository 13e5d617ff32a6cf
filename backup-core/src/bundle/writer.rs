//! Writes a bundle: entries from many tasks, one after another into one stream that is never patched.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use sha2::{Digest, Sha256};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use super::block::{CONTENT, Encoder};
use super::footer::Footer;
use super::header::{Head, RECORD};
use super::manifest::{self, Chunk, Entry, Manifest, Sha256Digest, described};
use super::name::BundleName;
use super::pack::{Packed, Packer};
use super::{path, rules};
use crate::event::Meter;
use crate::{Error, ErrorContext, Kind, Result};

/// The block that ends the tar archive, two records of zeros, as it stands in every bundle.
#[rustfmt::skip]
pub(super) const END_OF_ARCHIVE: [u8; 39] = [
    31, 139, 8, 4, 0, 0, 0, 0, 0, 255, 8, 0, 79, 66, 4, 0, 39, 0, 0, 0, 99, 96, 24, 5, 163, 96, 20, 140, 84, 0, 0, 46, 175, 181, 239, 0, 4, 0, 0,
];
/// Messages between the tasks that capture and the thread that writes.
const QUEUE: usize = 4;
/// Small pieces are gathered in this many bytes, which stay in the core's own cache: to write each row straight into
/// a block that another core had last costs more than the second copy.
const GATHER: usize = 32 << 10;

enum Message {
    /// Nothing more comes.
    Close,
    Head(Head),
    Block(Packed),
    End {
        size: u64,
        digest: [u8; 32],
        chunk: Option<Chunk>,
    },
}

/// The way into a bundle, shared by every task that captures something. Cheap to clone.
#[derive(Clone)]
pub struct Writer {
    name: BundleName,
    packer: Packer,
    meter: Arc<Meter>,
    /// Held for as long as an entry's messages follow one another.
    queue: Arc<Mutex<mpsc::Sender<Message>>>,
}

/// The thread that writes. Dropping every [`Writer`] without [`Closing::close`] gives the bundle up.
pub struct Closing<W>(JoinHandle<Result<Option<Tail<W>>>>);

/// A bundle whose entries are all written, and which lacks its manifest and footer.
pub struct Tail<W> {
    sink: W,
    encoder: Encoder,
    offset: u64,
    meter: Arc<Meter>,
    prefix: String,
    seconds: i64,
    /// Every entry written so far.
    pub entries: Vec<Entry>,
}

/// A complete bundle, flushed into its sink.
pub struct Sealed<W> {
    /// Where it was written.
    pub sink: W,
    /// Bytes of the whole bundle.
    pub length: u64,
}

impl Writer {
    /// Begins a bundle in `sink`, compressed at `level`.
    pub fn start<W: Write + Send + 'static>(
        name: BundleName,
        level: u32,
        sink: W,
        meter: Arc<Meter>,
    ) -> (Self, Closing<W>) {
        let (queue, messages) = mpsc::channel(QUEUE);
        let tail = Tail {
            sink,
            encoder: Encoder::new(level),
            offset: 0,
            meter: meter.clone(),
            prefix: format!("{name}/"),
            seconds: name.time().timestamp(),
            entries: Vec::new(),
        };
        let thread = tokio::task::spawn_blocking(move || tail.take_all(messages));
        (Self { name, packer: Packer::new(level), meter, queue: Arc::new(Mutex::new(queue)) }, Closing(thread))
    }

    /// A head for a file of our own making, `path` below the bundle's directory.
    pub fn private_head(&self, path: &str) -> Head {
        Head::private(path.as_bytes(), 0, self.name.time().timestamp())
    }

    /// Adds a small entry whose content is at hand.
    pub async fn add(&self, path: &str, content: &[u8]) -> Result<()> {
        let mut entry = self.growing(self.private_head(path));
        entry.write(content).await;
        entry.finish(None).await
    }

    /// Begins an entry whose size is not known yet. Its blocks wait in memory, compressed, until it is finished.
    pub fn growing(&self, head: Head) -> Growing {
        let gathered = Vec::with_capacity(GATHER);
        Growing { writer: self.clone(), head, content: Content::new(self), gathered, blocks: Vec::new() }
    }

    /// Adds an entry of exactly `head.size` bytes, streamed; other entries wait until it is done.
    ///
    /// `fill` is called with a buffer to append at most the given number of bytes to, until all are there.
    ///
    /// # Errors
    /// What `fill` returns, or a failure to write.
    pub async fn stream<F>(&self, head: Head, mut fill: F) -> Result<()>
    where
        F: AsyncFnMut(&mut Vec<u8>, usize) -> Result<()>,
    {
        let size = head.size;
        let queue = self.queue.lock().await;
        send(&queue, Message::Head(head)).await?;
        let mut content = Content::new(self);
        while content.size < size {
            let wanted = usize::try_from(size - content.size).unwrap_or(CONTENT).min(CONTENT);
            fill(&mut content.buffer, wanted).await?;
            content.digest.update(&content.buffer);
            send(&queue, Message::Block(content.pack(wanted as u64, size - content.size == wanted as u64).await))
                .await?;
        }
        send(&queue, Message::End { size, digest: content.digest.finalize().into(), chunk: None }).await
    }
}

impl<W> Closing<W> {
    /// Waits until every entry is written; `None` where an entry was given up half way, for whatever reason its
    /// task has.
    ///
    /// # Errors
    /// A failure to write. After a failed entry call this too: where the writer stopped, the cause is known here.
    pub async fn close(self, writer: Writer) -> Result<Option<Tail<W>>> {
        // It fails only where the thread has stopped, and then the thread says why.
        let _ = writer.queue.lock().await.send(Message::Close).await;
        self.0.await.map_err(|cause| Error::new(Kind::Failed, "write the bundle").because(cause))?
    }
}

async fn send(queue: &mpsc::Sender<Message>, message: Message) -> Result<()> {
    queue.send(message).await.map_err(|_| Error::new(Kind::Failed, "write the bundle: its writer stopped"))
}

/// Content on its way into blocks.
struct Content {
    packer: Packer,
    meter: Arc<Meter>,
    buffer: Vec<u8>,
    digest: Sha256,
    size: u64,
}

impl Content {
    fn new(writer: &Writer) -> Self {
        Self {
            packer: writer.packer.clone(),
            meter: writer.meter.clone(),
            buffer: Vec::new(),
            digest: Sha256::new(),
            size: 0,
        }
    }

    /// Packs the buffer, of which `count` bytes are content; the last one is padded to whole tar records.
    async fn pack(&mut self, count: u64, last: bool) -> Packed {
        self.size += count;
        self.meter.read.fetch_add(count, Relaxed);
        if last {
            self.buffer.resize(self.buffer.len().next_multiple_of(RECORD), 0);
        }
        self.packer.pack(&mut self.buffer).await
    }
}

/// An entry whose size is not known before its end.
pub struct Growing {
    writer: Writer,
    head: Head,
    content: Content,
    gathered: Vec<u8>,
    blocks: Vec<Packed>,
}

impl Growing {
    /// Bytes of content so far.
    pub fn size(&self) -> u64 {
        self.content.size + (self.content.buffer.len() + self.gathered.len()) as u64
    }

    /// Appends content.
    pub async fn write(&mut self, bytes: &[u8]) {
        if self.gathered.len() + bytes.len() > GATHER {
            self.pass_on().await;
        }
        if bytes.len() > GATHER {
            self.fill(bytes).await;
        } else {
            self.gathered.extend_from_slice(bytes);
        }
    }

    async fn pass_on(&mut self) {
        let mut gathered = std::mem::take(&mut self.gathered);
        self.fill(&gathered).await;
        gathered.clear();
        self.gathered = gathered;
    }

    async fn fill(&mut self, mut bytes: &[u8]) {
        self.content.digest.update(bytes);
        while !bytes.is_empty() {
            let room = CONTENT - self.content.buffer.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.content.buffer.extend_from_slice(now);
            bytes = later;
            if self.content.buffer.len() == CONTENT {
                self.blocks.push(self.content.pack(CONTENT as u64, false).await);
            }
        }
    }

    /// Hands the entry over to be written.
    pub async fn finish(mut self, chunk: Option<Chunk>) -> Result<()> {
        self.pass_on().await;
        if !self.content.buffer.is_empty() {
            let count = self.content.buffer.len() as u64;
            self.blocks.push(self.content.pack(count, true).await);
        }
        self.head.size = self.content.size;
        let queue = self.writer.queue.lock().await;
        send(&queue, Message::Head(self.head)).await?;
        for block in self.blocks {
            send(&queue, Message::Block(block)).await?;
        }
        let digest = self.content.digest.finalize().into();
        send(&queue, Message::End { size: self.content.size, digest, chunk }).await
    }
}

impl<W: Write> Tail<W> {
    fn take_all(mut self, mut messages: mpsc::Receiver<Message>) -> Result<Option<Self>> {
        loop {
            match messages.blocking_recv() {
                Some(Message::Close) => return Ok(Some(self)),
                Some(Message::Head(head)) => {
                    if !self.take_entry(head, &mut messages)? {
                        return Ok(None);
                    }
                }
                _ => return Ok(None),
            }
        }
    }

    /// Writes one entry; `false` where its end never came.
    fn take_entry(&mut self, head: Head, messages: &mut mpsc::Receiver<Message>) -> Result<bool> {
        let offset = self.offset;
        let mut stored = Sha256::new();
        let entry = self.begin(head, &mut stored)?;
        loop {
            match messages.blocking_recv() {
                Some(Message::Block(packed)) => {
                    let Ok(block) = packed.blocking_recv() else { return Ok(false) };
                    self.put(&block, Some(&mut stored))?;
                }
                Some(Message::End { size, digest, chunk }) => {
                    self.entries.push(Entry {
                        size,
                        sha256: Sha256Digest(digest),
                        offset,
                        stored: self.offset - offset,
                        stored_sha256: Sha256Digest(stored.finalize().into()),
                        chunk,
                        ..entry
                    });
                    return Ok(true);
                }
                Some(Message::Head(_) | Message::Close) | None => return Ok(false),
            }
        }
    }

    /// Writes an entry's header as a block of its own.
    fn begin(&mut self, head: Head, stored: &mut Sha256) -> Result<Entry> {
        let text = path::to_text(&head.path);
        let (kind, link) = described(&head.kind);
        let header = head.below(&self.prefix).encode();
        if header.len() > CONTENT {
            return Err(Error::new(Kind::Failed, format!("write entry {text}: its attributes take more than 1 MiB")));
        }
        let block = self.encoder.encode(&header);
        self.put(&block, Some(stored))?;
        let none = Sha256Digest([0; 32]);
        Ok(Entry {
            path: text,
            kind,
            link,
            size: 0,
            sha256: none,
            offset: 0,
            stored: 0,
            stored_sha256: none,
            chunk: None,
        })
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

    /// Completes the bundle with its manifest, the archive's end and the footer, and flushes it.
    ///
    /// # Errors
    /// A failure to write, or a manifest that the [`rules`] refuse: what no reader takes must never be
    /// published as a backup.
    pub fn seal(self, manifest: &Manifest) -> Result<Sealed<W>> {
        manifest.check(self.offset).map_err(|error| {
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
        let mut stored = Sha256::new();
        self.begin(Head::private(manifest::PATH, json.len() as u64, self.seconds), &mut stored)?;
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
            bundle_length: self.offset + super::footer::LENGTH as u64,
            manifest_digest: stored.finalize().into(),
        };
        self.put(&footer.encode(), None)?;
        self.sink.flush().context(|| "write the bundle".into())?;
        Ok(Sealed { sink: self.sink, length: self.offset })
    }
}

fn to_json(manifest: &Manifest) -> Result<Vec<u8>> {
    serde_json::to_vec(manifest).context(|| "write the manifest".into())
}
