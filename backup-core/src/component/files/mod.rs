//! Files and directories as a component: captured with all that the system knows of them, and put back.

mod along;
mod capture;
mod conf;
mod movable;
mod place;
mod staging;
mod system;

pub(crate) use along::Staying;
pub use capture::{Tree, capture};
pub(crate) use place::FORGED;
pub use place::{Placement, placements};
