//! A component that is ready to be captured, and where what it has goes.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::Staying;
use crate::bundle::header::Head;
use crate::bundle::manifest::{Announced, Items, Manifest};
use crate::bundle::writer::{Growing, Writer};
use crate::event::Meter;
use crate::finding::Finding;
use crate::{Context, ErrorContext, Result};

/// The most that a part of something of unknown size has. Two of them wait in memory at most: one that grows, and one to be written.
pub const PART: u64 = 32 << 20;
/// What is read at once.
const READ: usize = 1 << 18;

/// The path of a part of something, by its number from 1 on.
pub(super) fn part_path(path: &str, number: u64) -> String {
    format!("{path}.{number:06}")
}

/// A component that was looked at: it owns its connections, locks and snapshots, and lets them go when it is dropped.
pub trait Ready: Send + Sync {
    /// Bytes that it will read, as far as that is known.
    fn size(&self) -> u64;

    /// Directories and files that are its own: what is captured of them otherwise would be no backup of it.
    fn covers(&self) -> BoxFuture<'_, Vec<Staying>> {
        async { Vec::new() }.boxed()
    }

    /// What a restore needs that is not in the bundle.
    fn needs(&self) -> Vec<Finding> {
        Vec::new()
    }

    /// How to restore it with plain tools, in the README.txt of the bundle of this name. It is known before the first byte is captured.
    fn by_hand(&self, bundle: &str) -> ByHand;

    /// Whether the manifest has a section of it, and the bundle a directory of its own for its entries. What the first format had has
    /// fields of its own there, and its entries stand where they always did: it says so by [`Self::announce`].
    fn has_section(&self) -> bool {
        true
    }

    /// Says in the bundle's beginning what is known before anything is captured, where it has no section.
    fn announce(&self, _: &mut Announced) {}

    /// What its component's [`Captures::quiet`](super::Captures::quiet) makes steps of that stop or hold something for as long as it is
    /// captured; none where nothing must be.
    fn hold(&self) -> Option<Value> {
        None
    }

    /// Captures it.
    ///
    /// # Errors
    /// The first failure; nothing is left out without a finding.
    fn capture<'a>(self: Box<Self>, out: &'a Out) -> BoxFuture<'a, Result<Captured>>;
}

/// How something is restored by hand.
#[derive(Debug, Default)]
pub struct ByHand {
    /// Steps of README.txt, each of which gets a number: what must be done before all else.
    pub steps: Vec<String>,
    /// A paragraph of the step that brings back all the rest; empty where there is none.
    pub also: String,
    /// Whether this paragraph comes before those of others.
    pub first: bool,
}

impl ByHand {
    /// A paragraph, and no step of its own.
    pub fn also(text: impl Into<String>) -> Self {
        Self { also: text.into(), ..Self::default() }
    }
}

/// What was captured of a component.
pub struct Captured {
    /// What the manifest says of it.
    pub said: Said,
    /// What did not go as it should.
    pub findings: Vec<Finding>,
}

/// What a manifest says of a component that was captured.
pub enum Said {
    /// A section.
    Section {
        /// The version of `body`.
        version: u32,
        /// The time that it is of.
        as_of: DateTime<Utc>,
        /// How much it is, for people.
        items: Items,
        /// What is said beside that, for its own kind to read.
        body: Value,
    },
    /// What this writes into the fields that the first format has for it. All entries are there by then.
    Fields(Fields),
}

/// What writes fields of a manifest.
pub type Fields = Box<dyn FnOnce(&mut Manifest) + Send>;

impl Said {
    /// Nothing: the entries say it all.
    pub fn nothing() -> Self {
        Self::Fields(Box::new(|_| ()))
    }
}

/// Where entries of a component go: below a directory of its own in the bundle, where it has a section.
pub struct Out {
    writer: Writer,
    root: String,
    /// Clock, environment, progress and cancellation.
    pub context: Context,
    /// How far the work is.
    pub meter: Arc<Meter>,
}

impl Out {
    /// Below `root`, where it is not empty.
    pub fn new(writer: Writer, root: String, meter: Arc<Meter>, context: Context) -> Self {
        Self { writer, root, context, meter }
    }

    /// What writes the bundle, for what has no directory of its own.
    pub(super) fn writer(&self) -> &Writer {
        &self.writer
    }

    /// The path in the bundle of an entry of the component.
    pub(super) fn path(&self, path: &str) -> String {
        if self.root.is_empty() { path.into() } else { format!("{}/{path}", self.root) }
    }

    /// Adds a small entry whose content is at hand.
    ///
    /// # Errors
    /// A failure to write.
    pub async fn add(&self, path: &str, content: &[u8]) -> Result<()> {
        self.writer.add(&self.path(path), content).await
    }

    /// Adds a small entry of JSON, for people too.
    ///
    /// # Errors
    /// What can't be said in JSON, or a failure to write.
    pub(crate) async fn add_json(&self, path: &str, value: &(impl Serialize + Sync)) -> Result<()> {
        let mut text = serde_json::to_vec_pretty(value).context(|| "write JSON".into())?;
        text.push(b'\n');
        self.add(path, &text).await
    }

    /// Adds an entry of exactly `size` bytes, as [`Writer::stream`] does.
    ///
    /// # Errors
    /// What `fill` returns, or a failure to write.
    pub async fn stream<F>(&self, path: &str, size: u64, fill: F) -> Result<()>
    where
        F: FnMut(&mut Vec<u8>, usize) -> Result<()>,
    {
        let head = Head { size, ..self.writer.private_head(&self.path(path)) };
        self.writer.stream(head, fill).await
    }

    /// Adds what `reader` gives until its end, however much that is: as `PATH.000001`, `PATH.000002` and so on, of at most
    /// [`PART`] bytes each, so that little of it waits in memory. `cat PATH.*` joins them. Returns the number of bytes.
    ///
    /// # Errors
    /// What `reader` fails with, or a failure to write.
    pub async fn parts(&self, path: &str, mut reader: impl AsyncRead + Unpin) -> Result<u64> {
        let mut parts = self.growing_parts(path);
        loop {
            let mut read = Vec::with_capacity(READ);
            (&mut reader).take(READ as u64).read_buf(&mut read).await.context(|| format!("read {path}"))?;
            if read.is_empty() {
                return parts.finish().await;
            }
            parts.write(&read).await?;
        }
    }

    /// The same for what comes bit by bit.
    pub(super) fn growing_parts(&self, path: &str) -> Parts<'_> {
        Parts { out: self, path: path.into(), number: 0, part: None, size: 0 }
    }
}

/// Something of unknown size on its way into parts.
pub(super) struct Parts<'o> {
    out: &'o Out,
    path: String,
    /// Of the part that was begun last, from 1 on.
    number: u64,
    part: Option<Growing>,
    /// Bytes in parts that are finished.
    size: u64,
}

impl Parts<'_> {
    /// Appends bytes.
    pub(super) async fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let part = self.part();
            let room = usize::try_from(PART - part.size()).unwrap_or(READ);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            part.write(now).await;
            bytes = later;
            if part.size() >= PART {
                self.hand_over().await?;
            }
        }
        Ok(())
    }

    fn part(&mut self) -> &mut Growing {
        let Self { out, path, number, .. } = self;
        self.part.get_or_insert_with(|| {
            *number += 1;
            out.writer.growing(out.writer.private_head(&out.path(&part_path(path, *number))))
        })
    }

    async fn hand_over(&mut self) -> Result<()> {
        if let Some(part) = self.part.take() {
            self.size += part.size();
            part.finish(None).await?;
        }
        Ok(())
    }

    /// Ends it; returns the number of bytes. The end may come right after a whole part; an empty whole has one empty part.
    pub(super) async fn finish(mut self) -> Result<u64> {
        if self.number == 0 {
            self.part();
        }
        self.hand_over().await?;
        Ok(self.size)
    }
}
