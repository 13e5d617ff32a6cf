//! Whose bundle it is: its cluster against the one that this machine is of.

use std::path::Path;

use super::Request;
use super::Settings;
use super::cluster::conf_of;
use super::ownership::stores;
use super::source::Source;
use crate::finding::{Finding, Findings};
use crate::ownership::{Cluster, Home, home_by_conf, homes_by_claims, homes_by_notes};
use crate::{Context, Error, shell};

const CODE: &str = "cluster";
pub(super) const DIFFERS: &str = "cluster-differs";
const FLAG: &str = "--accept-cluster";

/// The cluster that a bundle is of.
pub(super) fn cluster_of(source: &Source) -> Cluster {
    let from = &source.from;
    let recorded = from.ownership.as_ref().map(|ownership| ownership.identity.clone());
    // A component's bundle has no cluster.conf.
    let mut cluster = conf_of(source).map_or_else(|_| Cluster::named(""), |conf| Cluster::of(&conf));
    if let Some(name) = from.cluster.as_ref().filter(|_| cluster.name.is_empty()) {
        cluster = Cluster::named(name);
    }
    Cluster { identity: recorded.unwrap_or(cluster.identity), name: cluster.name }
}

/// Refuses a bundle of another cluster than this machine is of, unless the operator names it.
pub(super) async fn look(
    source: &Source,
    request: &Request,
    settings: &Settings,
    context: &Context,
    findings: &mut Findings,
) {
    let (bundle, subject) = (cluster_of(source), source.name.clone());
    if let Some(accepted) = request.accept_cluster.as_ref().filter(|name| **name != bundle.name) {
        let message = format!("{FLAG} {accepted}: it is of {}", called(&bundle));
        findings.all.push(Finding::error(DIFFERS, subject, message).hint("see that it is the right bundle"));
        return;
    }
    let homes = homes(source, request, settings, context, findings).await;
    let Some(first) = homes.iter().flatten().next() else {
        let message = format!("it is of {}; nothing here says which cluster this machine is of", called(&bundle));
        findings.all.push(Finding::info(CODE, subject, message));
        return;
    };
    let differs = homes.iter().find(|homes| !homes.iter().any(|home| is_same(&home.cluster, &bundle)));
    let Some(home) = differs.and_then(|homes| homes.first()) else {
        let message = format!("it is of {}, as this machine is, says {}", called(&bundle), first.place);
        findings.all.push(Finding::info(CODE, subject, message));
        return;
    };
    let (there, here) = (called(&bundle), called(&home.cluster));
    let message = format!("it is of {there}, and this machine is of {here}, says {}", home.place);
    findings.all.push(if request.accept_cluster.is_some() {
        Finding::warning(DIFFERS, subject, format!("{message}; allowed by {FLAG}"))
    } else if bundle.name.is_empty() || home.cluster.name.is_empty() {
        // One may be the other, before it got its name.
        Finding::warning(DIFFERS, subject, message).hint("see that it is the right bundle")
    } else {
        let name = shell::word(&bundle.name);
        let hint = format!("see that it is the right bundle; `… {FLAG} {name}` goes on all the same");
        Finding::error(DIFFERS, subject, message).hint(hint)
    });
}

/// The clusters that this machine is of, by each who has to agree: the `cluster.conf` of its settings, and its notes where it owns some.
/// Where these say nothing, by the first of the others that does: the `cluster.conf` in whose place the bundle's goes, what else was
/// noted, claims in stores.
async fn homes(
    source: &Source,
    request: &Request,
    settings: &Settings,
    context: &Context,
    findings: &mut Findings,
) -> Vec<Vec<Home>> {
    let theirs = source.from.cluster_conf.as_deref();
    let ours = settings.cluster_conf.as_deref();
    let own = ours.and_then(|place| by_conf(place, findings));
    let replaced = theirs.filter(|place| Some(*place) != ours).and_then(|place| by_conf(place, findings));
    let noted = homes_by_notes(context).unwrap_or_else(|error| {
        findings.all.push(unknown("this machine's notes", &error));
        Vec::new()
    });
    let (owned, noted): (Vec<Home>, Vec<Home>) = noted.into_iter().partition(|home| home.owns);
    let some = |homes: Vec<Home>| (!homes.is_empty()).then_some(homes);
    let surely: Vec<Vec<Home>> = own.into_iter().chain(some(owned)).collect();
    if !surely.is_empty() {
        return surely;
    }
    if let Some(homes) = replaced.or_else(|| some(noted)) {
        return vec![homes];
    }
    // That they can't be reached is said where the cluster's owner is asked for.
    let stores = stores(request, settings, context).unwrap_or_default();
    some(homes_by_claims(&stores, context).await).into_iter().collect()
}

fn by_conf(place: &Path, findings: &mut Findings) -> Option<Vec<Home>> {
    match home_by_conf(place) {
        Ok(home) => home.map(|home| vec![home]),
        Err(error) => {
            findings.all.push(unknown(&place.display().to_string(), &error));
            None
        }
    }
}

fn unknown(place: &str, error: &Error) -> Finding {
    let message = format!("it does not say this machine's cluster: {}", error.chain().join(": "));
    Finding::info("cluster-unknown", place, message)
}

fn is_same(one: &Cluster, other: &Cluster) -> bool {
    one.identity == other.identity || (!one.name.is_empty() && one.name == other.name)
}

fn called(cluster: &Cluster) -> String {
    if cluster.name.is_empty() { "a cluster without a name".into() } else { cluster.shown() }
}
