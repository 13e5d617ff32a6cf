//! Progress as typed events: the core emits them, terminal bars and JSON lines render them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::finding::Finding;
use crate::names::StepId;

/// One thing that happened during a run.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A phase of the work began.
    Phase {
        /// What is done now, such as `capture database orchestrator`.
        name: String,
    },
    /// A mark was noted in a plan's journal, and is synced.
    Step {
        /// What the journal knows the step by.
        id: StepId,
        /// Its title.
        name: String,
        /// What was noted.
        mark: Mark,
        /// Its place among the plan's steps, from 1.
        number: usize,
        /// Number of steps.
        of: usize,
    },
    /// How far the work is. Counters only grow within a run.
    Progress {
        /// Estimated work done, in the unit of `total`.
        done: u64,
        /// Estimated work in all, in bytes; 0 while unknown.
        total: u64,
        /// Bytes of content read so far.
        read: u64,
        /// Bytes of bundle written so far.
        written: u64,
    },
    /// Something worth saying that did not stop the work.
    Finding(Finding),
}

/// What a journal notes of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// It is about to be applied, perhaps again.
    Begin,
    /// It is applied.
    Done,
    /// It is about to be undone, perhaps again.
    Undo,
    /// It is undone.
    Undone,
}

impl Mark {
    /// Every mark.
    pub const ALL: [Self; 4] = [Self::Begin, Self::Done, Self::Undo, Self::Undone];
}

/// Receives events. Called from many threads; must not block.
pub trait Observer: Send + Sync {
    /// Takes one event.
    fn event(&self, event: &Event);
}

/// An observer that drops everything.
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _: &Event) {}
}

/// Counters shared by everything that works on one run. They only grow.
#[derive(Debug, Default)]
pub struct Meter {
    /// Estimated work done, in the unit of `total`.
    pub done: AtomicU64,
    /// Estimated work in all; 0 while unknown.
    pub total: AtomicU64,
    /// Bytes of content that passed.
    pub read: AtomicU64,
    /// Bytes of bundle that passed.
    pub written: AtomicU64,
}

impl Meter {
    /// The counters as an event.
    pub fn progress(&self) -> Event {
        let now = |counter: &AtomicU64| counter.load(Relaxed);
        Event::Progress {
            done: now(&self.done),
            total: now(&self.total),
            read: now(&self.read),
            written: now(&self.written),
        }
    }
}

/// Tells the observer of progress until dropped.
pub(crate) struct Ticker(tokio::task::JoinHandle<()>);

impl Ticker {
    pub(crate) fn start(meter: Arc<Meter>, observer: Arc<dyn Observer>) -> Self {
        Self(tokio::spawn(async move {
            let mut interval = tokio::time::interval(Duration::from_millis(200));
            loop {
                interval.tick().await;
                observer.event(&meter.progress());
            }
        }))
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.0.abort();
    }
}
