//! Client programs that a bundle from elsewhere can't turn against who restores it, as far as is known.

use super::Tools;
use super::tools::numbers;
use crate::finding::{Finding, Severity};

/// For each major version the oldest minor release that has what is mended. CVE-2026-116314 (12 November 2026): before them a crafted
/// archive makes pg_restore run code as its user; the record names 18.7, 17.12, 16.16, 15.20 and 14.25. The release notes of
/// the same branches have CVE-2026-18408 (13 August 2026: 18.6, 17.11, 16.15, 15.19, 14.24), by which `\unrestrict` ran programs, and
/// CVE-2025-8714 and 8715 (14 August 2025: 17.6, 16.10, 15.14, 14.19, 13.22). Nothing mends versions before these.
const SAFE: [(u32, u32); 5] = [(14, 25), (15, 20), (16, 16), (17, 12), (18, 7)];

/// The finding's code.
pub const CLIENTS_UNSAFE: &str = "clients-unsafe";

/// What may happen with programs of older releases.
pub(crate) fn unsafe_tools(tools: &Tools, severity: Severity) -> Option<Finding> {
    if is_safe(&tools.version) {
        return None;
    }
    let message = format!(
        "pg_restore {}: whoever made a bundle could make it run programs as the user who restores or drills it (CVE-2026-116314)",
        tools.version
    );
    let floor = SAFE.iter().find(|(major, _)| *major == tools.major).map(|(major, minor)| format!("{major}.{minor}"));
    let hint = match floor {
        Some(floor) => {
            let major = tools.major;
            format!("update the package postgresql-client-{major} to {floor} or newer")
        }
        None => "nothing mends that version any more: install client programs of version 15 or newer".into(),
    };
    Some(Finding::new(severity, CLIENTS_UNSAFE, tools.directory.display().to_string(), message).hint(hint))
}

fn is_safe(version: &str) -> bool {
    let (major, minor) = numbers(version);
    match SAFE.iter().find(|(known, _)| *known == major) {
        // What is tried before a release has no minor number, and what is newer than the table was made later.
        Some((_, floor)) => minor >= *floor,
        None => SAFE.iter().all(|(known, _)| *known < major),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_table_names_is_safe_and_nothing_before_it() {
        let safe = ["15.20 (Debian 15.20-0+deb12u1)", "18.7", "17.12", "16.16", "14.25", "19beta1", "19.0"];
        assert!(safe.iter().all(|version| is_safe(version)));
        let not =
            ["15.18 (Debian 15.18-0+deb12u1)", "18.6", "17.11", "16.15", "14.24", "13.23", "12.22", "18beta1", ""];
        assert!(!not.iter().any(|version| is_safe(version)));
    }
}
