//! Trees of files as they are captured, wherever they go: with owner, mode, times, links, extended attributes and holes.
//!
//! A file that changes or vanishes while it is read is a finding by its name; what it goes into stays whole.

mod content;
mod entry;
mod exclude;
mod linked;
mod target;
mod walk;

pub(crate) use entry::Capture;
pub(crate) use exclude::leaves_out;
pub(crate) use linked::Linked;
pub(crate) use target::Target;
pub(crate) use walk::Walk;
