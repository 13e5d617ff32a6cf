//! Files and directories as a component: captured with all that the system knows of them, and put back.

mod capture;
mod conf;
mod fit;
mod movable;
mod named;
mod place;
mod restore;
mod restoring;
mod staging;
mod system;
mod trees;

pub use capture::Tree;
pub(crate) use fit::Asked;
pub(crate) use named::needs;
pub use place::Placement;
pub(crate) use place::{There, placements};
pub(crate) use restore::{GivenConf, Source};
pub(crate) use restoring::{Restoring, fitted};
pub(crate) use trees::Trees;
