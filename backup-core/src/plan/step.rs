//! One act of a plan.

use futures_util::future::LocalBoxFuture;

use crate::Result;

/// One idempotent act. Every method may be called again after it was cut off at any point.
pub trait Step: Send + Sync {
    /// What it does, in words that no other step of the plan has: `load database orchestrator`. The journal knows it by
    /// this name.
    fn name(&self) -> &str;

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

    /// Takes back whatever of it is there, which may be nothing.
    ///
    /// # Errors
    /// What stopped that. It is undone again when the plan is.
    fn undo(&self) -> LocalBoxFuture<'_, Result<()>>;
}
