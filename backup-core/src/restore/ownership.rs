//! Who owns the cluster that is restored: shown before, and noted after, so that the first deploy here takes it over.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Request;
use super::Settings;
use super::source::Source;
use crate::cluster::ClusterConf;
use crate::encryption::Identities;
use crate::finding::{Finding, Findings, Severity};
use crate::ownership::{Cluster, Heard, Met, Notes, Standing, heard, not_asked};
use crate::store::Store;
use crate::{Context, Error, Kind, Result};

/// What a restore has shown of the ownership, as it stands in its plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// The cluster, with the identity that it goes by.
    pub cluster: Cluster,
    /// The highest epoch that was met.
    pub epoch: u64,
    /// What was noted before, for a rollback.
    pub before: Notes,
}

/// Looks at this machine's notes, at the stores, and at what machines have said (`claims`, each with the machine). A bundle that was
/// made before somebody else took the cluster over is refused: what has happened there since is not in it.
pub(super) async fn look(
    (conf, source): (&ClusterConf, &Source),
    claims: &[(String, String)],
    request: &Request,
    settings: &Settings,
    (context, findings): (&Context, &mut Findings),
) -> Option<Shown> {
    let cluster = Cluster::of(conf);
    let shown = cluster.shown();
    let signing = &settings.access.signing;
    let standing = Standing::noted(cluster.clone(), signing, context).or_else(|error| {
        if !error.is_denied() {
            return Err(error);
        }
        // What stands in the stores and what the machines say counts all the same.
        findings.all.push(Finding::warning_from_error("ownership-unread", &shown, &error));
        Standing::noted_here(cluster, signing, context)
    });
    let mut standing = findings.keep("ownership-unread", &shown, standing)?;
    let before = standing.notes.clone();
    let recorded = source.from.ownership.as_ref();
    let recorded = recorded.filter(|recorded| {
        let believed = recorded.epoch <= standing.last_believed();
        if !believed {
            let message = format!("the bundle says epoch {}, which is not believed", recorded.epoch);
            findings.all.push(Finding::warning("epoch-absurd", &shown, message).hint("find out who made the bundle"));
        }
        believed
    });
    if let Some(recorded) = recorded {
        standing.notes.identity.clone_from(&recorded.identity);
        standing.known = standing.known.max(recorded.epoch);
    }
    let mut stores = findings.keep("stores", "stores", stores(request, settings, context)).unwrap_or_default();
    for (location, error) in standing.look_in_stores(&stores).await {
        findings.all.push(not_asked(&location, &error).at_most(Severity::Info));
        stores.retain(|store| store.location() != location);
    }
    let foreign: Vec<Finding> = claims.iter().filter_map(|(host, claim)| standing.hear(host, claim)).collect();
    findings.all.extend(foreign.into_iter().map(|finding| finding.at_most(Severity::Warning)));
    if !standing.owns() {
        // What others own is brought back from what was made since they do.
        standing.notes.epoch = made_in(recorded.map_or(0, |recorded| recorded.epoch), &standing);
        standing.notes.claim = None;
    }
    let identities = Identities::read(&settings.access.identities).unwrap_or_default();
    let heard = heard(&stores, &standing.cluster.name, &identities).await;
    match standing.overtaking() {
        Some(met) => {
            findings.keep::<()>(
                "owned-by-other",
                &shown,
                Err(made_before(met, heard.as_ref(), recorded.is_some(), &standing)),
            );
        }
        None => findings.all.push(finding(&standing, heard.as_ref())),
    }
    let highest = standing.highest().map(|met| met.claim.clone());
    let epoch = highest.as_ref().map_or(0, |claim| claim.epoch).max(standing.notes.epoch).max(before.epoch);
    let identity = highest.map_or(standing.notes.identity, |claim| claim.identity);
    Some(Shown { cluster: Cluster { identity, ..standing.cluster }, epoch, before })
}

/// The epoch that what is restored may be taken to be of: one that was made before its owner released the cluster is as good.
fn made_in(recorded: u64, standing: &Standing) -> u64 {
    let released = standing.highest().filter(|met| met.claim.released && met.claim.epoch == recorded.saturating_add(1));
    released.map_or(recorded, |met| met.claim.epoch)
}

/// Notes that nobody owns the cluster from here, and that whoever was shown need not be given way to; unless more has been noted since.
pub(super) fn remember(shown: &Shown, context: &Context) -> Result<()> {
    Notes::change(&shown.cluster, context, |notes| {
        if notes.epoch <= shown.epoch {
            *notes = noted(shown);
        }
    })
}

/// Notes what was noted before, unless more has been noted since.
pub(super) fn forget(shown: &Shown, context: &Context) -> Result<()> {
    Notes::change(&shown.cluster, context, |notes| {
        if *notes == noted(shown) {
            notes.clone_from(&shown.before);
        }
    })
}

fn noted(shown: &Shown) -> Notes {
    Notes { epoch: shown.epoch, ..Notes::none(&shown.cluster) }
}

/// The store that the bundle is in, and those of the settings.
pub(super) fn stores(request: &Request, settings: &Settings, context: &Context) -> Result<Vec<Arc<dyn Store>>> {
    let place = settings.access.place(&request.file, context)?;
    settings.access.connect_all(place.map(|(store, _)| store), context)
}

fn last(heard: Option<&Heard>) -> String {
    heard.map_or_else(String::new, |heard| format!("; last heard of {heard}"))
}

fn finding(standing: &Standing, heard: Option<&Heard>) -> Finding {
    let (subject, last) = (standing.cluster.shown(), last(heard));
    match standing.highest() {
        None => Finding::info("ownership", subject, format!("nobody has claimed it{last}")),
        Some(Met { claim, .. }) if claim.released => {
            Finding::info("ownership", subject, format!("it was released by {claim}{last}"))
        }
        Some(Met { claim, .. }) if standing.notes.is_own(claim) => {
            Finding::ok("ownership", subject, format!("it belongs to this machine: {claim}{last}"))
        }
        Some(Met { claim, place }) => {
            let message = format!("it belongs to {claim}, says {place}{last}");
            Finding::warning("owned-by-other", subject, message).hint(
                "see that it is off; the first deploy from here takes the cluster over, and its backups and deploys refuse from then on",
            )
        }
    }
}

fn made_before(met: &Met, heard: Option<&Heard>, known: bool, standing: &Standing) -> Error {
    let cluster = standing.cluster.shown();
    let doing = match known {
        true => format!("this was made before another orchestrator took {cluster} over"),
        false => format!("nothing says that this was made after another orchestrator took {cluster} over"),
    };
    let now = if met.claim.released { "was released by" } else { "belongs to" };
    let error =
        Error::new(Kind::Refused, doing).because(format!("it {now} {}, says {}{}", met.claim, met.place, last(heard)));
    error.hint(
        "go on there, or restore a bundle that was made there (the command show says a bundle's epoch); if all of that is gone, `ownership claim` first",
    )
}
