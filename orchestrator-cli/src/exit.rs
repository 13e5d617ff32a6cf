//! Exit codes, all of them here.

use std::process::ExitCode;

use backup_core::Kind;

/// Done.
pub(crate) const DONE: u8 = 0;
/// Done, with warnings that somebody should read.
pub(crate) const WARNINGS: u8 = 3;
/// A bundle is damaged.
pub(crate) const DAMAGED: u8 = 12;
/// A check refused.
pub(crate) const REFUSED: u8 = 13;
/// A restore is to be resumed or rolled back.
pub(crate) const UNFINISHED: u8 = 14;
/// A signal asked to stop.
pub(crate) const INTERRUPTED: u8 = 130;

/// The exit code of an error.
pub(crate) fn of(kind: Kind) -> u8 {
    match kind {
        Kind::Failed => 1,
        Kind::Usage => 2,
        Kind::NotFound => 10,
        Kind::Locked => 11,
        Kind::Damaged | Kind::Unsupported => DAMAGED,
        Kind::Refused => REFUSED,
        Kind::Unfinished => UNFINISHED,
        Kind::Interrupted => INTERRUPTED,
    }
}

/// Done, with warnings or without.
pub(crate) fn done(warnings: bool) -> ExitCode {
    ExitCode::from(if warnings { WARNINGS } else { DONE })
}
