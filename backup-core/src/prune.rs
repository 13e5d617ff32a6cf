//! Deleting what no rule keeps: what would go is shown first, and then goes.

use std::sync::Arc;

use crate::authenticity::Knowledge;
use crate::catalog::Cache;
use crate::encryption::Identities;
use crate::finding::{Finding, Severity};
use crate::ownership::{Cluster, Standing, all_asked, not_asked, refuse_if_overtaken};
use crate::retention::{Known, Needed, Policy, Pruning, Verdict};
use crate::runs::Runs;
use crate::store::{Access, Address, Store, blocking};
use crate::{Context, Kind, Result, restore};

/// What is asked for beside the settings.
#[derive(Debug, Default)]
pub struct Request {
    /// Stores; empty for those of the settings.
    pub stores: Vec<Address>,
    /// Bundles that count as known although nothing here knows them.
    pub accept: Vec<String>,
    /// Whether something goes although the last backup failed.
    pub after_failure: bool,
}

/// A store and what becomes of its bundles.
pub struct Judged {
    /// The store.
    pub store: Arc<dyn Store>,
    /// What becomes of its bundles.
    pub verdict: Verdict,
}

/// What no rule keeps in some stores; nothing is deleted yet.
pub struct Doomed {
    /// What becomes of each store's bundles.
    pub judged: Vec<Judged>,
    /// Stores that could not be asked who owns the cluster: nothing is deleted there.
    pub unasked: Vec<Finding>,
    pruning: Pruning,
}

/// What was deleted.
pub struct Deleted {
    /// Names of the bundles' files.
    pub files: Vec<String>,
    /// What could not be deleted.
    pub failed: Vec<Finding>,
}

/// Judges the bundles of all stores.
///
/// # Errors
/// [`Kind::Refused`] where another machine has taken the cluster over; where no store can be asked.
pub async fn look(
    request: Request,
    policy: Policy,
    cluster: Cluster,
    access: &Access,
    context: &Context,
) -> Result<Doomed> {
    let mut places = request.stores;
    if places.is_empty() {
        places.extend(access.stores.iter().map(|store| store.address.clone()));
    }
    let mut stores = places.iter().map(|address| access.store(address.clone(), context)).collect::<Result<Vec<_>>>()?;
    let pruning = Pruning {
        policy,
        cluster: cluster.name.clone(),
        identities: Identities::read(&access.identities)?,
        knowledge: Knowledge::of(&access.signing, context),
        only: None,
        known: Known {
            accepted: request.accept,
            failed: if request.after_failure { Vec::new() } else { Runs::failed(context)? },
            needed: Needed::of(restore::needed(context)),
        },
    };
    let standing = Standing::noted(cluster, &access.signing, context)?;
    let (_, failed) = context.until_cancelled(refuse_if_overtaken("prune", standing, &stores, context)).await?;
    // Of one that can't say who owns the cluster nothing is deleted; the others know that themselves.
    stores.retain(|store| !failed.iter().any(|(location, _)| *location == store.location()));
    let unasked =
        failed.iter().map(|(location, error)| not_asked(location, error).at_most(Severity::Warning)).collect();
    if stores.is_empty() {
        all_asked(failed, |_| "see to that store".into())?;
    }
    let mut judged = Vec::new();
    for store in stores {
        let Some(address) = places.iter().find(|address| address.to_string() == store.location()) else { continue };
        let (now, cache) = (context.now(), Cache::of(address, context));
        let (rules, looked) = (pruning.clone(), store.clone());
        let verdict = context.until_cancelled(blocking(move || rules.plan(&*looked, cache, now))).await?;
        judged.push(Judged { store, verdict });
    }
    Ok(Doomed { judged, unasked, pruning })
}

impl Doomed {
    /// Why something is not deleted that rules might have deleted.
    pub fn withheld(&self) -> impl Iterator<Item = &Finding> {
        self.judged.iter().flat_map(|judged| &judged.verdict.withheld)
    }

    /// How many bundles go.
    pub fn count(&self) -> usize {
        self.judged.iter().flat_map(|judged| &judged.verdict.decisions).filter(|one| !one.kept).count()
    }

    /// Deletes them.
    ///
    /// # Errors
    /// [`Kind::Interrupted`]. What else fails is among the findings, and holds up no other one.
    pub async fn delete(&self, context: &Context) -> Result<Deleted> {
        let mut deleted = Deleted { files: Vec::new(), failed: Vec::new() };
        for Judged { store, verdict } in &self.judged {
            for decision in verdict.decisions.iter().filter(|decision| !decision.kept) {
                let (pruning, place, file) = (self.pruning.clone(), store.clone(), decision.file.clone());
                let now = context.now();
                match context.until_cancelled(blocking(move || pruning.remove(&*place, &file, now))).await {
                    Ok(()) => deleted.files.push(decision.file.clone()),
                    Err(error) if error.kind() == Kind::Interrupted => return Err(error),
                    Err(error) => {
                        deleted.failed.push(Finding::warning_from_error("not-deleted", &decision.file, &error));
                    }
                }
            }
        }
        Ok(deleted)
    }
}
