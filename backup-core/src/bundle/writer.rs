//! Writes a bundle: entries from many tasks, one after another into one stream that is never patched.

mod tail;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use sha2::{Digest, Sha256};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use super::block::{CONTENT, Encoder};
use super::expanded::{Expanded, Expanding};
use super::header::{Head, RECORD};
use super::manifest::postgres::Chunk;
use super::pack::{Packed, Packer};
use crate::event::Meter;
use crate::names::BundleName;
use crate::{Error, Kind, Result};

pub(super) use tail::END_OF_ARCHIVE;
pub use tail::{Sealed, Tail};

/// Messages between the tasks that capture and the thread that writes.
const QUEUE: usize = 4;
/// Small pieces are gathered in this many bytes, which stay in the core's own cache: to write each row straight into
/// a block that another core had last costs more than the second copy.
const GATHER: usize = 32 << 10;

enum Message {
    /// Nothing more comes.
    Close,
    /// An entry's blocks and end follow.
    Head(Head),
    Block(Packed),
    End(End),
    /// All of an entry at once, so that a task that is stopped while it hands one over leaves none or a whole one.
    Whole(Box<(Head, Vec<Packed>, End)>),
}

/// What is known of an entry at its end.
struct End {
    size: u64,
    digest: [u8; 32],
    expanded: Option<Expanded>,
    chunk: Option<Chunk>,
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

impl Writer {
    /// Begins a bundle in `sink`, compressed at `level`.
    pub fn start<W: Write + Send + 'static>(
        name: BundleName,
        level: u32,
        sink: W,
        meter: Arc<Meter>,
    ) -> (Self, Closing<W>) {
        let (queue, messages) = mpsc::channel(QUEUE);
        let tail = Tail::new(&name, Encoder::new(level), sink, meter.clone());
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
    /// What `fill` returns, a failure to write, or a file with holes whose content is not its map and data.
    pub async fn stream<F>(&self, head: Head, mut fill: F) -> Result<()>
    where
        F: FnMut(&mut Vec<u8>, usize) -> Result<()>,
    {
        let (size, mut expanding) = (head.size, Expanding::of(&head.kind));
        let queue = self.queue.lock().await;
        send(&queue, Message::Head(head)).await?;
        let mut content = Content::new(self);
        while content.size < size {
            let wanted = usize::try_from(size - content.size).unwrap_or(CONTENT).min(CONTENT);
            fill(&mut content.buffer, wanted)?;
            content.digest.update(&content.buffer);
            if let Some(expanding) = &mut expanding {
                expanding.take(&content.buffer)?;
            }
            send(&queue, Message::Block(content.pack(wanted as u64, size - content.size == wanted as u64).await))
                .await?;
        }
        let expanded = expanding.map(Expanding::finish).transpose()?;
        let digest = content.digest.finalize().into();
        send(&queue, Message::End(End { size, digest, expanded, chunk: None })).await
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
    queue.send(message).await.map_err(|_| stopped())
}

fn stopped() -> Error {
    Error::new(Kind::Failed, "write the bundle: its writer stopped")
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

    /// Hands the entry over to be written. A caller that is stopped meanwhile leaves the whole entry in the bundle, or
    /// nothing of it.
    pub async fn finish(mut self, chunk: Option<Chunk>) -> Result<()> {
        self.pass_on().await;
        if !self.content.buffer.is_empty() {
            let count = self.content.buffer.len() as u64;
            self.blocks.push(self.content.pack(count, true).await);
        }
        self.head.size = self.content.size;
        let digest = self.content.digest.finalize().into();
        let end = End { size: self.content.size, digest, expanded: None, chunk };
        let whole = Message::Whole(Box::new((self.head, self.blocks, end)));
        let queue = self.writer.queue.lock().await;
        // No more than one entry waits, which bounds memory.
        let place = queue.reserve_many(QUEUE).await.map_err(|_| stopped())?.next();
        place.ok_or_else(stopped)?.send(whole);
        Ok(())
    }
}
