//! One act of a plan.

use futures_util::future::BoxFuture;

use crate::Result;
use crate::finding::Finding;
use crate::names::StepId;

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
    fn probe(&self) -> BoxFuture<'_, Result<bool>>;

    /// Does it, or what is left of it.
    ///
    /// # Errors
    /// What stopped it. It is applied again when the plan is resumed.
    fn apply(&self) -> BoxFuture<'_, Result<()>>;

    /// What it found and did not stop at, since this was last asked. It is noted once the step is done.
    fn found(&self) -> Vec<Finding> {
        Vec::new()
    }

    /// Takes back whatever of it is there, which may be nothing.
    ///
    /// # Errors
    /// What stopped that. It is undone again when the plan is.
    fn undo(&self) -> BoxFuture<'_, Result<()>>;
}
