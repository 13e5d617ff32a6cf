//! The phases of a plan that is made of several parts: no part begins one before every part has ended the one before it.

use super::step::Step;

/// What a step is there for, which decides when its turn comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Makes ready what others need, and keeps what may be lost.
    Prepare,
    /// Builds beside what is live.
    Stage,
    /// Shows that what was built is what it should be.
    Prove,
    /// Stops what uses what is live.
    Quiesce,
    /// Puts what was built into the place of what is live.
    Swap,
    /// Does what can't be taken back.
    Pivot,
    /// Starts what was stopped.
    Start,
    /// Looks at what is live now.
    Confirm,
}

/// A step in its phase.
pub struct Phased {
    /// When its turn comes.
    pub phase: Phase,
    /// What is done then.
    pub step: Box<dyn Step>,
}

/// The steps of all parts in the order of a plan: by phases, within one by the order of the parts, and within a part by its own order.
pub fn in_phases(parts: impl IntoIterator<Item = Phased>) -> Vec<Box<dyn Step>> {
    let mut all: Vec<Phased> = parts.into_iter().collect();
    all.sort_by_key(|one| one.phase);
    all.into_iter().map(|one| one.step).collect()
}
