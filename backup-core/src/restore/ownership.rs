//! Who owns the cluster that is restored: shown before, and noted after, so that the first deploy here takes it over.

use std::collections::HashSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Request;
use super::source::Source;
use crate::cluster::ClusterConf;
use crate::encryption::Identities;
use crate::finding::{Finding, Findings, Severity};
use crate::ownership::{Cluster, Heard, Met, Notes, Standing, heard, not_asked};
use crate::settings::RestoreSettings;
use crate::store::Store;
use crate::{Context, Error, Kind, Result};

/// What a restore has shown of the ownership, as it stands in its plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// The cluster, with the identity that it goes by.
    pub cluster: Cluster,
    /// The highest epoch that was met.
    pub epoch: u64,
}

/// Looks at this machine's notes, at the stores, and at what machines have said (`claims`, each with the machine). A bundle that was
/// made before somebody else took the cluster over is refused: what has happened there since is not in it.
pub(super) async fn look(
    (conf, source): (&ClusterConf, &Source),
    claims: &[(String, String)],
    request: &Request,
    settings: &RestoreSettings,
    context: &Context,
    findings: &mut Findings,
) -> Option<Shown> {
    let cluster = Cluster::of(conf);
    let shown = cluster.shown();
    let standing = Standing::noted(cluster, context);
    let mut standing = findings.keep("ownership-unread", &shown, standing)?;
    if let Some(recorded) = &source.manifest().source.ownership {
        standing.notes.identity.clone_from(&recorded.identity);
        standing.notes.epoch = standing.notes.epoch.max(recorded.epoch);
    }
    let mut stores = findings.keep("stores", "stores", stores(request, settings, context)).unwrap_or_default();
    for (location, error) in standing.look_in_stores(&stores).await {
        findings.all.push(Finding { severity: Severity::Info, ..not_asked(&location, &error) });
        stores.retain(|store| store.location() != location);
    }
    claims.iter().for_each(|(host, claim)| standing.hear(host, claim));
    let identities = Identities::read(&settings.access.identities).unwrap_or_default();
    let heard = heard(&stores, &standing.cluster.name, &identities).await;
    match standing.overtaking() {
        Some(met) => {
            findings.keep::<()>("owned-by-other", &shown, Err(made_before(met, heard.as_ref(), &standing)));
        }
        None => findings.all.push(finding(&standing, heard.as_ref())),
    }
    let highest = standing.highest().map(|met| met.claim.clone());
    let epoch = highest.as_ref().map_or(0, |claim| claim.epoch).max(standing.notes.epoch);
    let identity = highest.map_or(standing.notes.identity, |claim| claim.identity);
    Some(Shown { cluster: Cluster { identity, ..standing.cluster }, epoch })
}

/// Notes that nobody owns the cluster from here, and that whoever was shown need not be given way to.
pub(super) fn remember(shown: &Shown, context: &Context) -> Result<()> {
    Notes::change(&shown.cluster, context, |notes| {
        *notes = Notes { epoch: shown.epoch, ..Notes::none(&shown.cluster) };
    })
}

/// The store that the bundle is in, and those of the settings, each once.
fn stores(request: &Request, settings: &RestoreSettings, context: &Context) -> Result<Vec<Arc<dyn Store>>> {
    let mut stores: Vec<Arc<dyn Store>> =
        settings.access.place(&request.file, context)?.into_iter().map(|(store, _)| store).collect();
    for known in &settings.access.stores {
        stores.push((context.connect)(known, context)?);
    }
    let mut seen = HashSet::new();
    stores.retain(|store| seen.insert(store.location()));
    Ok(stores)
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
            Finding::info("ownership", subject, format!("it belongs to this machine: {claim}{last}"))
        }
        Some(Met { claim, place }) => {
            let message = format!("it belongs to {claim}, says {place}{last}");
            Finding::warning("owned-by-other", subject, message).hint(
                "see that it is off; the first deploy from here takes the cluster over, and its backups and deploys refuse from then on",
            )
        }
    }
}

fn made_before(met: &Met, heard: Option<&Heard>, standing: &Standing) -> Error {
    let doing = format!("this was made before another orchestrator took {} over", standing.cluster.shown());
    let error = Error::new(Kind::Refused, doing).because(format!(
        "it belongs to {}, says {}{}",
        met.claim,
        met.place,
        last(heard)
    ));
    error.hint(
        "go on there, or restore a bundle that was made there: `list` shows them; if all of that is gone, `ownership claim` first",
    )
}
