//! Which releases a bundle may be restored on.

use serde::Deserialize;

use super::release::{Origin, Release, find};
use crate::finding::{Finding, Findings};
use crate::{Error, Kind};

/// The first release that an automated restore works with: before it, agents can't be told of a new orchestrator.
const FIRST: [u64; 3] = [2, 4, 0];

/// Which releases a machine may have that a bundle is restored on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReleaseRule {
    /// The bundle's, or a later one.
    #[default]
    AtLeast,
    /// The bundle's alone.
    Equal,
}

/// Holds the bundle's release against the oldest that can be restored, and this machine's against the bundle's. A script has none.
pub(crate) async fn fit(
    (of_bundle, is_script): (Option<&str>, bool),
    origin: Option<&Origin>,
    rule: ReleaseRule,
    findings: &mut Findings,
) {
    let Some(of_bundle) = of_bundle else {
        if is_script {
            let message = "a script does not say which release it is of: see that this machine has it, or a later one";
            findings.all.push(Finding::unknown("release-unknown", "release", message));
            return;
        }
        findings.all.push(Finding::warning("release-unknown", "release", "nothing says which release it is of"));
        return;
    };
    if numbers(of_bundle).is_some_and(|numbers| numbers < FIRST.to_vec()) {
        let error = Error::new(
            Kind::Refused,
            format!("the bundle is of release {of_bundle}, and a restore works with 2.4.0 and later alone"),
        );
        findings.keep::<()>(
            "release-too-old",
            "release",
            Err(error.hint(
                "by hand: install an orchestrator of that release, extract the bundle, follow its README.txt with psql, and \
                 have the Chef agents on the cluster's machines configured anew by support; or upgrade before the backup",
            )),
        );
    }
    if origin.is_none() {
        let message = format!("the bundle is of release {of_bundle}; nothing says which one this machine has");
        findings.all.push(
            Finding::warning("release-unknown", "release", message)
                .hint("name it with --release, or in the settings, to have it compared"),
        );
        return;
    }
    let Some(Release { version, .. }) = findings.keep("release", "release", find(origin).await) else {
        return;
    };
    let fits = match rule {
        ReleaseRule::Equal => version == of_bundle,
        ReleaseRule::AtLeast => match (numbers(&version), numbers(of_bundle)) {
            (Some(here), Some(there)) => here >= there,
            _ => version == of_bundle,
        },
    };
    let message = format!("this machine has {version}, the bundle is of {of_bundle}");
    if fits {
        let finding = match version == of_bundle {
            true => Finding::ok("release", "release", message),
            false => Finding::info("release", "release", format!("{message}; a later one takes it")),
        };
        findings.all.push(finding);
        return;
    }
    let rule = match rule {
        ReleaseRule::Equal => "the settings ask for the same one",
        ReleaseRule::AtLeast => "it must be the same or a later one",
    };
    findings.all.push(
        Finding::error("release-mismatch", "release", format!("{message}; {rule}"))
            .hint(format!("install an orchestrator of release {of_bundle} here first")),
    );
}

/// The numbers that a version begins with, such as 2, 6, 3 of `2.6.3-rc1`.
fn numbers(version: &str) -> Option<Vec<u64>> {
    let plain = version.trim_start_matches('v').split(|c: char| !(c.is_ascii_digit() || c == '.')).next()?;
    let mut numbers: Vec<u64> =
        plain.trim_end_matches('.').split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
    numbers.resize(numbers.len().max(3), 0);
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_their_numbers() {
        assert!(numbers("2.10.0") > numbers("2.9.9"));
        assert_eq!(numbers("v2.4"), numbers("2.4.0"));
        assert_eq!(numbers("2.6.3-rc1"), Some(vec![2, 6, 3]));
        assert_eq!(numbers("unknown"), None);
    }
}
