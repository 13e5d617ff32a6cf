//! Names of what is written beside a place, and of what steps aside from it.

/// How the names of what is written beside a place begin; the moment of the restore follows.
pub(super) const STAGING: &str = ".orchestrator-cli_restore_";
/// What to do about a journal that names what no restore would.
pub(crate) const FORGED: &str = "no restore wrote this journal: find out who did, and remove it";

/// The name of what steps aside.
pub(super) fn before(name: &str, moment: &str) -> String {
    format!("{name}_before_{moment}")
}
