//! What a backup that went well leaves to be deleted.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Outcome, Settings};
use crate::authenticity::Knowledge;
use crate::catalog::Cache;
use crate::encryption::Identities;
use crate::event::Event;
use crate::finding::Finding;
use crate::names::FileName;
use crate::names::Series;
use crate::retention::{Decision, Known, Needed, Pruning};
use crate::store::{Address, Store, blocking};
use crate::{Context, Result, restore};

/// A bundle that was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pruned {
    /// Where it was.
    pub store: String,
    /// Its file's name.
    pub file: String,
}

/// Deletes what no rule of the settings keeps of a series, in every one of the places that has its new bundle, and nothing where the
/// settings have no rules. What could not be deleted, or was held back, is a warning: the backup went well all the same.
pub async fn prune_after(
    series: &Series,
    made: &Outcome,
    places: &[Address],
    settings: &Settings,
    context: &Context,
) -> (Vec<Pruned>, Vec<Finding>) {
    let (mut pruned, mut warnings) = (Vec::new(), Vec::new());
    let Some(policy) = settings.retention.clone() else { return (pruned, warnings) };
    context.phase("prune");
    let identities = match Identities::read(&settings.access.identities) {
        Ok(identities) => identities,
        Err(error) => {
            let finding = Finding::warning_from_error("not-pruned", series.to_string(), &error);
            context.observer.event(&Event::Finding(finding.clone()));
            return (pruned, vec![finding]);
        }
    };
    let pruning = Pruning {
        policy,
        cluster: settings.cluster.cluster_name.clone().unwrap_or_default(),
        identities,
        knowledge: Knowledge::of(&settings.access.signing, context).with_made(made.manifest_sha256),
        only: Some(series.clone()),
        known: Known { needed: Needed::of(restore::needed(context)), ..Known::default() },
    };
    for place in places {
        let work = {
            let store = settings.access.store(place.clone(), context);
            let (pruning, bundle, now, cache) =
                (pruning.clone(), made.name.clone(), context.now(), Cache::of(place, context));
            async move { blocking(move || prune(&pruning, &*store?, &bundle, cache, now)).await }
        };
        match context.until_cancelled(work).await {
            Ok((files, findings)) => {
                let store = place.to_string();
                pruned.extend(files.into_iter().map(|file| Pruned { store: store.clone(), file }));
                warnings.extend(findings);
            }
            Err(error) => warnings.push(Finding::warning_from_error("not-pruned", place.to_string(), &error)),
        }
    }
    warnings.iter().for_each(|finding| context.observer.event(&Event::Finding(finding.clone())));
    (pruned, warnings)
}

fn prune(
    pruning: &Pruning,
    store: &dyn Store,
    bundle: &str,
    cache: Option<Cache>,
    now: DateTime<Utc>,
) -> Result<(Vec<String>, Vec<Finding>)> {
    let verdict = pruning.plan(store, cache, now)?;
    // A place that did not get it keeps all that it has.
    let is_it = |one: &Decision| one.file.parse::<FileName>().is_ok_and(|name| name.bundle.to_string() == bundle);
    if !verdict.decisions.iter().any(is_it) {
        return Ok((Vec::new(), Vec::new()));
    }
    let (mut deleted, mut findings) = (Vec::new(), verdict.withheld);
    for decision in verdict.decisions.into_iter().filter(|decision| !decision.kept) {
        match pruning.remove(store, &decision.file, now) {
            Ok(()) => deleted.push(decision.file),
            Err(error) => findings.push(Finding::warning_from_error("not-deleted", &decision.file, &error)),
        }
    }
    Ok((deleted, findings))
}
