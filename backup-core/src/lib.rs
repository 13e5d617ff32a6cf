//! Capture of a control plane into one bundle that proves itself.
//!
//! Everything that matters lives here: the bundle format, the components that are captured, the `cluster.conf`
//! language, the stores. There is no terminal, no HTTP framework and no cloud in this crate; clock, environment,
//! progress and cancellation enter through one [`context::Context`].

mod accounts;
pub mod authenticity;
pub mod backup;
pub mod bundle;
pub mod catalog;
pub mod cluster;
pub mod component;
pub mod context;
pub mod copy;
pub mod databases;
pub mod deploy;
pub mod diff;
pub mod digest;
pub mod drill;
pub mod drills;
pub mod encryption;
pub mod error;
pub mod event;
pub mod finding;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod given;
mod held;
pub mod hooks;
pub mod keep;
pub mod lock;
mod memory;
pub mod names;
mod nearest;
pub mod ownership;
pub mod plan;
pub mod prune;
mod random;
pub mod restore;
pub mod retention;
pub mod runs;
pub mod schedule;
pub mod settings;
pub mod shell;
pub mod signing;
pub mod span;
pub mod state;
pub mod status;
pub mod store;
pub mod text;
pub mod toml_text;
mod tree;
pub mod trusted;
pub mod written;

pub use context::Context;
pub use error::{Cause, Error, ErrorContext, Kind, Result};

/// Name and version of this tool, as recorded in every bundle.
pub const TOOL: &str = concat!("orchestrator-cli ", env!("CARGO_PKG_VERSION"));
