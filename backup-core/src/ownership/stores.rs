//! What stores say of who owns clusters. Whoever can put one object into a store can write anything there: what can't be believed is
//! told, and hides nothing else.

use std::sync::Arc;
use std::time::Duration;

use super::{Claim, Cluster, Notes};
use crate::signing::Signing;
use crate::store::{ClaimName, Store, blocking};
use crate::{Error, Kind, Result};

/// How long a store may take to say who owns the cluster.
const PATIENCE: Duration = Duration::from_secs(30);
/// Claims of one cluster that are tried, from the highest down, until one can be read.
const TRIED: usize = 16;

/// The cluster that is asked about.
#[derive(Clone)]
pub(super) struct Ours {
    /// It, with the identity that it goes by.
    pub(super) cluster: Cluster,
    /// The last epoch that is believed.
    pub(super) last: u64,
    /// The highest epoch that is known whoever is asked.
    pub(super) known: u64,
    /// What this machine has noted.
    pub(super) notes: Notes,
    /// What the settings say of signatures.
    pub(super) signing: Signing,
}

impl Ours {
    /// Why a claim is not believed; none where it is.
    pub(super) fn doubt(&self, claim: &Claim) -> Option<String> {
        if !self.cluster.is_claimed_by(claim) {
            return None;
        }
        if claim.epoch > self.last {
            return Some(self.absurd());
        }
        // Where signatures are demanded: what is no news needs none.
        let notes = &self.notes;
        let noted =
            [&notes.claim, &notes.taking, &notes.overtaken].into_iter().flatten().any(|noted| noted.is_same(claim));
        let is_news = claim.epoch > self.known || (notes.claim.is_some() && claim.epoch == self.known);
        let doubted = self.signing.required && is_news && !noted && !claim.is_signed(&self.signing);
        doubted.then(|| "no key that the settings trust has signed it, and they demand that".into())
    }

    fn absurd(&self) -> String {
        format!("after epoch {} nobody can have taken the cluster over so often unseen", self.last)
    }
}

/// What one store says.
pub(super) struct Said {
    /// Of each cluster the claim with the highest epoch.
    pub(super) claims: Vec<Claim>,
    /// The highest claim of the cluster that was asked about which can't be believed.
    pub(super) unbelieved: Option<Error>,
}

/// Asks all of them at once.
pub(super) async fn in_stores(stores: &[Arc<dyn Store>], ours: Option<Ours>) -> Vec<(String, Result<Said>)> {
    let asked = stores.iter().cloned().map(|store| {
        let ours = ours.clone();
        async move {
            let location = store.location();
            let said = tokio::time::timeout(PATIENCE, blocking(move || ask(&*store, ours.as_ref()))).await;
            let late = |_| Err(Error::new(Kind::Failed, format!("no answer in {} s", PATIENCE.as_secs())));
            (location, said.unwrap_or_else(late))
        }
    });
    futures_util::future::join_all(asked).await
}

fn ask(store: &dyn Store, ours: Option<&Ours>) -> Result<Said> {
    // They are in order of clusters and epochs.
    let names = store.claims()?;
    let mut said = Said { claims: Vec::new(), unbelieved: None };
    for of_one in names.chunk_by(|one, next| one.cluster == next.cluster) {
        for name in of_one.iter().rev().take(TRIED) {
            match read(store, name, ours) {
                Ok(Some(claim)) => {
                    said.claims.push(claim);
                    break;
                }
                // Another cluster's is no concern of this one.
                Ok(None) => {}
                Err(error) => said.unbelieved = said.unbelieved.or(Some(error)),
            }
        }
    }
    Ok(said)
}

/// Reads a claim; none of another cluster where it can't be read.
fn read(store: &dyn Store, name: &ClaimName, ours: Option<&Ours>) -> Result<Option<Claim>> {
    let named_ours = ours.filter(|ours| ours.cluster.identity == name.cluster);
    if let Some(ours) = named_ours.filter(|ours| name.epoch > ours.last) {
        return Err(unbelieved(store, name, ours.absurd()));
    }
    let text = store.read_claim(name);
    let read = text.map(|text| Claim::read(&text).filter(|claim| claim.name() == *name));
    match read {
        Ok(Some(claim)) => match ours.and_then(|ours| ours.doubt(&claim)) {
            Some(why) => Err(unbelieved(store, name, why)),
            None => Ok(Some(claim)),
        },
        Ok(None) if named_ours.is_some() => Err(unbelieved(store, name, "it is no claim".into())),
        Err(error) if named_ours.is_some() => Err(unbelieved(store, name, error.chain().join(": "))),
        _ => Ok(None),
    }
}

fn unbelieved(store: &dyn Store, name: &ClaimName, why: String) -> Error {
    let place = store.location();
    let error = Error::new(Kind::Damaged, format!("believe the claim {name} in {place}")).because(why);
    error.hint("find out who wrote it; if no orchestrator did, delete it there")
}
