//! Taking a cluster over, and giving it up.

use std::sync::Arc;

use super::{Claim, Cluster, Notes, Standing};
use crate::finding::Finding;
use crate::signing::Signing;
use crate::store::{Store, blocking};
use crate::{Context, Error, Kind, Result};

/// The claim that this machine would write: its own, where it owns the cluster, unless signatures are demanded and its own is not trusted; one that it has begun to write; else a new one with
/// the epoch after all that it knows of and, where it `overrules` them, has met.
///
/// # Errors
/// Where the system has no random numbers.
pub fn next(standing: &Standing, overrules: bool, context: &Context) -> Result<Claim> {
    let notes = &standing.notes;
    let highest = standing.highest().map(|met| &met.claim);
    let met = highest.map_or(0, |claim| claim.epoch);
    let epoch = if overrules { notes.epoch.max(met) } else { notes.epoch };
    let signing = &standing.signing;
    // One that nobody else would believe is made anew, where the new one would be believed.
    let signs = signing.required && signing.check()?;
    let will_do = |claim: &&Claim| !signs || claim.is_signed(signing);
    if let Some(own) = notes.claim.as_ref().filter(will_do)
        && own.epoch >= epoch
        && standing.owns()
    {
        return Ok(own.clone());
    }
    let others = standing.met.iter().map(|met| &met.claim).filter(|claim| !notes.is_own(claim));
    let taken = others.map(|claim| claim.epoch).max().unwrap_or(0);
    let begun = notes.taking.as_ref().filter(|begun| !begun.released && begun.epoch > taken.max(notes.epoch));
    if let Some(begun) = begun.filter(will_do) {
        return Ok(begun.clone());
    }
    let epoch = epoch.max(begun.map_or(0, |begun| begun.epoch));
    // A cluster that is known by another identity already keeps it.
    let identity = highest.map_or(&notes.identity, |claim| &claim.identity);
    Claim::new(&standing.cluster, identity, epoch.saturating_add(1), context)?.signed(signing)
}

/// Writes a claim into all stores, and notes it. Stores are written in the order of their names, so that of two who know the same
/// ones the first to come wins. It may be done again until it succeeds.
///
/// # Errors
/// [`Kind::Refused`] where another machine has claimed the cluster first.
pub async fn take(
    claim: &Claim,
    cluster: &Cluster,
    stores: &[Arc<dyn Store>],
    signing: &Signing,
    context: &Context,
) -> Result<Vec<Finding>> {
    Notes::change(cluster, context, |notes| notes.taking = Some(claim.clone()))?;
    let mut stores = stores.to_vec();
    stores.sort_by_key(|store| store.location());
    let mut warnings = Vec::new();
    for store in stores {
        let (name, content) = (claim.name(), format!("{}\n", claim.line()));
        let written = {
            let (store, name) = (store.clone(), name.clone());
            blocking(move || store.claim(&name, content.as_bytes())).await
        };
        match written {
            Ok(found) => warnings.extend(found),
            Err(error) if error.kind() == Kind::Refused => {
                let location = store.location();
                // A store may refuse for other reasons.
                let there = blocking(move || store.read_claim(&name)).await;
                let winner = there
                    .ok()
                    .and_then(|text| Claim::read(&text))
                    .filter(|there| there.owner != claim.owner && (!signing.required || there.is_signed(signing)));
                let Some(winner) = winner else { return Err(error) };
                Notes::change(cluster, context, |notes| {
                    notes.taking = None;
                    notes.overtaken = Some(winner.clone());
                    notes.overtaken_in = Some(location.clone());
                })?;
                let doing = format!("claim {}: another machine was first", cluster.shown());
                return Err(Error::new(Kind::Refused, doing)
                    .because(format!("{location} has the claim of {winner}"))
                    .hint("go on there; `ownership show` says who owns the cluster"));
            }
            Err(error) => return Err(error),
        }
    }
    Notes::change(cluster, context, |notes| {
        *notes = Notes {
            identity: claim.identity.clone(),
            epoch: claim.epoch,
            claim: (!claim.released).then(|| claim.clone()),
            taking: None,
            overtaken: None,
            overtaken_in: None,
        };
    })?;
    Ok(warnings)
}

/// The claim by which this machine gives the cluster up.
///
/// # Errors
/// [`Kind::Refused`] where it does not own it.
pub fn release(standing: &Standing, context: &Context) -> Result<Claim> {
    let (cluster, notes) = (&standing.cluster, &standing.notes);
    if !standing.owns() {
        let owner = standing.highest().filter(|met| !met.claim.released);
        let owner = owner.map_or_else(|| "nobody owns it".into(), |met| format!("it belongs to {}", met.claim));
        let doing = format!("release {}: this machine does not own it", cluster.shown());
        return Err(Error::new(Kind::Refused, doing).because(owner));
    }
    let begun = notes.taking.clone().filter(|begun| begun.released && begun.epoch == notes.epoch.saturating_add(1));
    let new = || Claim::new(cluster, &notes.identity, notes.epoch.saturating_add(1), context);
    match begun {
        Some(begun) => Ok(begun),
        None => Claim { released: true, ..new()? }.signed(&standing.signing),
    }
}
