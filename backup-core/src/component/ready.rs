//! A component that is ready to be captured, and where what it has goes.

use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::bundle::header::Head;
use crate::bundle::manifest::Items;
use crate::bundle::writer::Writer;
use crate::event::Meter;
use crate::finding::Finding;
use crate::{Context, Result};

/// A component that was looked at: it owns its connections, locks and snapshots, and lets them go when it is dropped.
pub trait Ready: Send + Sync {
    /// Bytes that it will read, as far as that is known.
    fn size(&self) -> u64;

    /// Directories and files that are its own: what is captured of them otherwise would be no backup of it.
    fn covers(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// What a restore needs that is not in the bundle.
    fn needs(&self) -> Vec<Finding> {
        Vec::new()
    }

    /// How to restore it with plain tools: a paragraph of README.txt. It is known before the first byte is captured.
    fn by_hand(&self) -> String;

    /// What its component's [`Component::quiet`](super::Component::quiet) makes steps of that stop or hold something for as long as it is
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

/// What was captured of a component.
#[derive(Debug)]
pub struct Captured {
    /// The version of `body`.
    pub version: u32,
    /// The time that it is of.
    pub as_of: DateTime<Utc>,
    /// How much it is, for people.
    pub items: Items,
    /// What the manifest says of it beside that, for its own kind to read.
    pub body: Value,
    /// What did not go as it should.
    pub findings: Vec<Finding>,
}

/// Where entries of a component go: below a directory of its own in the bundle.
pub struct Out {
    writer: Writer,
    root: String,
    /// Clock, environment, progress and cancellation.
    pub context: Context,
    /// How far the work is.
    pub meter: Arc<Meter>,
}

impl Out {
    /// Below `root`.
    pub(crate) fn new(writer: Writer, root: String, meter: Arc<Meter>, context: Context) -> Self {
        Self { writer, root, context, meter }
    }

    /// Adds a small entry whose content is at hand.
    ///
    /// # Errors
    /// A failure to write.
    pub async fn add(&self, path: &str, content: &[u8]) -> Result<()> {
        self.writer.add(&format!("{}/{path}", self.root), content).await
    }

    /// Adds an entry of exactly `size` bytes, as [`Writer::stream`] does.
    ///
    /// # Errors
    /// What `fill` returns, or a failure to write.
    pub async fn stream<F>(&self, path: &str, size: u64, fill: F) -> Result<()>
    where
        F: FnMut(&mut Vec<u8>, usize) -> Result<()>,
    {
        let head = Head { size, ..self.writer.private_head(&format!("{}/{path}", self.root)) };
        self.writer.stream(head, fill).await
    }
}
