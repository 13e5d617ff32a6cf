//! What machines say of themselves before a deploy.

use crate::bundle::manifest::control_plane::Host;
use crate::cluster::agent::Remote;
use crate::cluster::hosts::{Allowed, Record, Seen, ask_all, records};
use crate::finding::{Finding, Severity};
use crate::ownership::Standing;
use crate::{Context, Kind};

/// Asks every machine whose SSH port is open. What would stop the deploy there is an error, or a warning where the machine may
/// be unreachable. What they say of their owner goes into `standing`. Gives what a bundle records of all, too.
pub(super) async fn inspect(
    seen: &[Seen],
    remote: &Remote,
    (record, allowed): (Option<&Record>, &Allowed),
    standing: &mut Standing,
    context: &Context,
) -> (Vec<Finding>, Vec<Host>) {
    let recorded = record.map_or(&[][..], |record| &record.hosts);
    let mut found = Vec::new();
    let answered = ask_all(seen, remote, record, context).await;
    for (seen, said) in &answered {
        match said {
            Ok(said) => {
                found.extend(said.findings(&seen.host, recorded));
                found.extend(said.claim.as_ref().and_then(|claim| standing.hear(&seen.host, claim)));
            }
            // That it is another machine has been said.
            Err(error) if error.kind() == Kind::Refused => {}
            Err(error) => found.push(Finding::from_error("login-failed", &seen.host, error)),
        }
    }
    for finding in found.iter_mut().filter(|finding| finding.severity == Severity::Error) {
        if allowed.unreachable.contains(&finding.subject) {
            finding.severity = Severity::Warning;
            finding.message.push_str("; allowed by --allow-unreachable");
        }
    }
    (found, records(seen, &answered))
}
