//! One act of a plan.

use std::sync::{Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::finding::Finding;
use crate::names::StepId;
use crate::{Context, ErrorContext, Result};

/// Whether what a step does is there already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// It is not, or not all of it, or nothing shows it: it is done again.
    Absent,
    /// All of it is.
    Whole,
    /// That can't be told now, for this reason: the plan stops here, and asks again when it is resumed.
    Unknown(String),
}

impl From<bool> for Seen {
    fn from(whole: bool) -> Self {
        if whole { Self::Whole } else { Self::Absent }
    }
}

/// One idempotent act. Every method may be called again after it was cut off at any point.
pub trait Step: Send + Sync {
    /// What the journal knows it by.
    fn id(&self) -> &StepId;

    /// What it does, for people: `load rows of database orchestrator`.
    fn title(&self) -> &str;

    /// Whether it may be cut off at any point when the run is to stop. One that may not must be brief.
    fn may_be_cut_off(&self) -> bool {
        true
    }

    /// Why it can't be undone, where it can't: a plan in which it has begun is not undone.
    fn is_for_good(&self) -> Option<&str> {
        None
    }

    /// Whether all that it does is there already. It is asked where an earlier run may have been cut off in it.
    ///
    /// # Errors
    /// What kept it from looking.
    fn probe<'a>(&'a self, _: &'a At<'_>) -> BoxFuture<'a, Result<Seen>> {
        async { Ok(Seen::Absent) }.boxed()
    }

    /// Does it, or what is left of it.
    ///
    /// # Errors
    /// What stopped it. It is applied again when the plan is resumed.
    fn apply<'a>(&'a self, at: &'a At<'_>) -> BoxFuture<'a, Result<()>>;

    /// Takes back whatever of it is there, which may be nothing. Unless a step says so, what it did goes with what another step
    /// takes back.
    ///
    /// # Errors
    /// What stopped that. It is undone again when the plan is.
    fn undo<'a>(&'a self, _: &'a At<'_>) -> BoxFuture<'a, Result<()>> {
        async { Ok(()) }.boxed()
    }
}

/// What a step keeps for a later run of it.
pub(super) trait Notes: Send + Sync {
    /// Keeps a note of the step; it is on the disk when this returns.
    fn note(&self, step: &StepId, note: Value) -> Result<()>;

    /// The step's last note.
    fn noted(&self, step: &StepId) -> Option<Value>;
}

/// Where a step works: its context, and its place in the plan's journal.
pub struct At<'a> {
    /// Clock, environment, progress and cancellation.
    pub context: &'a Context,
    step: &'a StepId,
    notes: &'a dyn Notes,
    found: Mutex<Vec<Finding>>,
}

impl<'a> At<'a> {
    pub(super) fn new(context: &'a Context, step: &'a StepId, notes: &'a dyn Notes) -> Self {
        Self { context, step, notes, found: Mutex::default() }
    }

    /// Keeps what the step must know if it is cut off from here on, such as the number of an upload that it has begun. The note is
    /// synced before this returns, and takes the place of an earlier one. Nothing in it may be secret.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn note(&self, note: &impl Serialize) -> Result<()> {
        let note = serde_json::to_value(note).context(|| format!("note what step {} has done", self.step))?;
        self.notes.note(self.step, note)
    }

    /// The last note of the step, in this run or an earlier one.
    ///
    /// # Errors
    /// [`crate::Kind::Failed`] where it is not such a note.
    pub fn noted<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        let doing = || format!("read the note of step {}", self.step);
        self.notes.noted(self.step).map(serde_json::from_value).transpose().context(doing)
    }

    /// Keeps what the step found and does not stop at. It is noted once the step is done.
    pub fn keep(&self, found: impl IntoIterator<Item = Finding>) {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
    }

    /// What was kept.
    pub(super) fn found(&self) -> Vec<Finding> {
        std::mem::take(&mut self.found.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
