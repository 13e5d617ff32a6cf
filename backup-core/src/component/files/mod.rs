//! Files and directories as a component: captured with all that the system knows of them, and put back.

mod along;
mod capture;
mod movable;
mod place;
mod staging;

pub use capture::{Tree, capture};
pub use place::{Placement, placements};
pub(crate) use along::Staying;
