//! One act of a plan.

use std::fmt;

use futures_util::future::LocalBoxFuture;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::finding::Finding;

/// What a journal knows a step by, such as `postgres/rows/orchestrator`: component, act, subject. It stands on disk, so it
/// is never reworded; a step's title may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepId(String);

impl StepId {
    /// The id with this text, which no other step of the plan may have.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
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

    /// Whether all that it does is there already.
    ///
    /// # Errors
    /// Where that can't be known.
    fn probe(&self) -> LocalBoxFuture<'_, Result<bool>>;

    /// Does it, or what is left of it.
    ///
    /// # Errors
    /// What stopped it. It is applied again when the plan is resumed.
    fn apply(&self) -> LocalBoxFuture<'_, Result<()>>;

    /// What it found and did not stop at, since this was last asked. It is noted once the step is done.
    fn found(&self) -> Vec<Finding> {
        Vec::new()
    }

    /// Takes back whatever of it is there, which may be nothing.
    ///
    /// # Errors
    /// What stopped that. It is undone again when the plan is.
    fn undo(&self) -> LocalBoxFuture<'_, Result<()>>;
}
