//! Plans: steps that are applied in order, journaled before and after, resumed after a crash, undone after a regret.
//!
//! A plan knows nothing of what its steps do. Whoever makes one writes what its steps need into the head of its
//! journal, so that the same steps can be made from the journal alone.

mod head;
mod journal;
mod levels;
mod phase;
mod runner;
mod shelf;
mod status;
mod step;

pub use head::{Head, Recipe};
pub use journal::Journal;
#[cfg(any(test, fuzzing))]
pub(crate) use journal::fuzzing;
#[cfg(test)]
pub(crate) use journal::golden;
pub use levels::{Ended, apply_in_levels};
pub use phase::{Phase, Phased, in_phases};
pub use runner::{apply, undo};
pub use shelf::Shelf;
pub use status::{Progress, Status};
pub use step::{At, Seen, Step};
