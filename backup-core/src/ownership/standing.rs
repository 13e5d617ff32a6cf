//! Where this machine stands: what it has noted, and the claims that it meets.

use std::sync::Arc;
use std::time::Duration;

use super::{Claim, Cluster, Notes};
use crate::bundle::manifest::Ownership;
use crate::finding::Finding;
use crate::settings::Settings;
use crate::store::{Store, blocking};
use crate::{Context, Error, Kind, Result};

/// How long a store may take to say who owns the cluster.
const PATIENCE: Duration = Duration::from_secs(30);

/// The stores that say who owns the cluster: those of the settings, but for some by their location.
///
/// # Errors
/// [`Kind::Usage`] where there is none of that location.
pub fn stores(settings: &Settings, without: &[String], context: &Context) -> Result<Vec<Arc<dyn Store>>> {
    let mut stores = settings.access.connect_all([], context)?;
    let places: Vec<String> = stores.iter().map(|store| store.location()).collect();
    if let Some(stranger) = without.iter().find(|name| !places.contains(name)) {
        let error = Error::new(Kind::Usage, format!("--without-store {stranger}: there is no such store"));
        return Err(error.hint(format!("the stores are {}", places.join(", "))));
    }
    stores.retain(|store| !without.contains(&store.location()));
    Ok(stores)
}

/// A claim, and where it was met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Met {
    /// The claim.
    pub claim: Claim,
    /// A store, a machine, or this machine's notes.
    pub place: String,
}

/// What is known of who owns a cluster.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The cluster.
    pub cluster: Cluster,
    /// What this machine has noted.
    pub notes: Notes,
    /// The claims that it has met.
    pub met: Vec<Met>,
}

impl Standing {
    /// What this machine has noted of a cluster.
    ///
    /// # Errors
    /// Where that can't be read.
    pub fn noted(cluster: Cluster, context: &Context) -> Result<Self> {
        Ok(Self::of(cluster.clone(), Notes::load(&cluster, context)?))
    }

    /// The same where what root has noted is closed to this user, who goes on with its own notes and what it meets.
    ///
    /// # Errors
    /// Where its own can't be read.
    pub fn noted_here(cluster: Cluster, context: &Context) -> Result<Self> {
        Ok(Self::of(cluster.clone(), Notes::load_own(&cluster, context)?))
    }

    fn of(cluster: Cluster, notes: Notes) -> Self {
        let noted = [(&notes.overtaken, "this machine's notes"), (&notes.claim, "this machine's own claim")];
        let noted = noted.into_iter().filter_map(|(claim, place)| Some((claim.clone()?, place.to_owned())));
        let met = noted.map(|(claim, place)| Met { claim, place }).collect();
        Self { cluster, notes, met }
    }

    /// Takes in what stands in stores. Gives those that could not be asked, with the reason.
    pub async fn look_in_stores(&mut self, stores: &[Arc<dyn Store>]) -> Vec<(String, Error)> {
        let mut failed = Vec::new();
        for (location, found) in in_stores(stores, &self.notes.identity).await {
            match found {
                Ok(claims) => {
                    let ours = claims.into_iter().filter(|claim| self.concerns(claim));
                    let ours: Vec<Met> = ours.map(|claim| Met { claim, place: location.clone() }).collect();
                    self.met.extend(ours);
                }
                Err(error) => failed.push((location, error)),
            }
        }
        failed
    }

    /// Takes in what a machine says of its owner. One that is of another cluster is a finding.
    pub fn hear(&mut self, host: &str, line: &str) -> Option<Finding> {
        let claim = Claim::read(line.as_bytes())?;
        // Where either has no name, the machine itself is what they have in common.
        if !self.concerns(&claim) && !claim.cluster.is_empty() && !self.cluster.name.is_empty() {
            let message = format!("it belongs to another cluster, {}: {claim}", claim.cluster);
            let hint = "correct cluster.conf; or, if the machine was moved, delete the .owner file beside its agent's settings";
            return Some(Finding::error("other-cluster", host, message).hint(hint));
        }
        self.met.push(Met { claim, place: host.into() });
        None
    }

    /// Whether a claim is of this cluster: it has its identity, or goes by its name.
    fn concerns(&self, claim: &Claim) -> bool {
        claim.identity == self.notes.identity || (!claim.cluster.is_empty() && claim.cluster == self.cluster.name)
    }

    /// Where the notes can't be read: whatever claim is met then, this machine has to give way to.
    pub fn unread(cluster: Cluster) -> Self {
        Self { notes: Notes::none(&cluster), cluster, met: Vec::new() }
    }

    /// The claim that counts: the one with the highest epoch.
    pub fn highest(&self) -> Option<&Met> {
        // Of equal ones the first.
        self.met.iter().rev().max_by_key(|met| met.claim.epoch)
    }

    /// What a bundle keeps of it.
    pub fn ownership(&self) -> Ownership {
        Ownership { identity: self.notes.identity.clone(), epoch: self.notes.epoch }
    }

    /// Stores among these that have no claim of the cluster although somebody has claimed it: they may be new, or not be mounted.
    pub fn without_claims(&self, stores: &[Arc<dyn Store>]) -> Vec<Finding> {
        let known = self.notes.epoch.max(self.highest().map_or(0, |met| met.claim.epoch));
        let places = stores.iter().map(|store| store.location()).filter(|_| known > 0);
        let without = places.filter(|place| !self.met.iter().any(|met| met.place == *place));
        let finding = |place: String| {
            let message = format!("no claim of the cluster is there, and its epoch is {known}");
            Finding::warning("claims-missing", place, message).hint("see that it is mounted, unless it is new")
        };
        without.map(finding).collect()
    }

    /// Whether this machine owns the cluster, as far as it knows.
    pub fn owns(&self) -> bool {
        self.notes.claim.is_some() && self.overtaking().is_none()
    }

    /// The claim that this machine has to give way to.
    pub fn overtaking(&self) -> Option<&Met> {
        let overtaking = self.met.iter().rev().filter(|met| self.notes.gives_way_to(&met.claim));
        overtaking.max_by_key(|met| met.claim.epoch)
    }

    /// Refuses to write where this machine has been overtaken, and notes it, so that it does so too where nobody tells it again.
    ///
    /// # Errors
    /// [`Kind::Refused`], naming the owner.
    pub fn refuse(&self, doing: &str, context: &Context) -> Result<()> {
        let Some(met) = self.overtaking() else { return Ok(()) };
        // Where it can't be noted, it is met again.
        let _ = Notes::change(&self.cluster, context, |notes| {
            if notes.gives_way_to(&met.claim) && !met.claim.is_unreadable() {
                notes.overtaken = Some(met.claim.clone());
            }
        });
        Err(overtaken(doing, &self.cluster, met))
    }
}

/// Refuses to write where this machine has been overtaken, as far as its notes and the stores say. Gives what could not be asked.
///
/// # Errors
/// [`Kind::Refused`].
pub async fn refuse_if_overtaken(
    doing: &str,
    mut standing: Standing,
    stores: &[Arc<dyn Store>],
    context: &Context,
) -> Result<(Standing, Vec<(String, Error)>)> {
    // Also where the notes say enough: the stores may know of a later owner.
    let failed = standing.look_in_stores(stores).await;
    standing.refuse(doing, context)?;
    Ok((standing, failed))
}

/// The claims with the highest epoch of each cluster, store by store.
pub(super) async fn in_stores(stores: &[Arc<dyn Store>], identity: &str) -> Vec<(String, Result<Vec<Claim>>)> {
    let asked = stores.iter().cloned().map(|store| async move {
        let (location, identity) = (store.location(), identity.to_owned());
        let found = tokio::time::timeout(PATIENCE, blocking(move || highest_in(&*store, &identity))).await;
        let late = |_| Err(Error::new(Kind::Failed, format!("no answer in {} s", PATIENCE.as_secs())));
        (location, found.unwrap_or_else(late))
    });
    futures_util::future::join_all(asked).await
}

/// Of a claim that can't be read its name says enough; another cluster's is no concern of this one.
fn highest_in(store: &dyn Store, identity: &str) -> Result<Vec<Claim>> {
    let mut names = store.claims()?;
    // They are in order: the last of each cluster stays.
    names.reverse();
    names.dedup_by(|next, kept| next.cluster == kept.cluster);
    let read = names.iter().filter_map(|name| {
        let text = store.read_claim(name).ok();
        let claim = text.and_then(|text| Claim::read(&text)).filter(|claim| claim.name() == *name);
        claim.or_else(|| (name.cluster == identity).then(|| Claim::unreadable(name)))
    });
    Ok(read.collect())
}

fn overtaken(doing: &str, cluster: &Cluster, met: &Met) -> Error {
    let (cluster, claim) = (cluster.shown(), &met.claim);
    let who = match claim.released {
        true => format!("it was released by {claim}"),
        false => format!("it belongs to {claim}"),
    };
    let hint = match claim.released {
        true => {
            "restore its newest bundle where the cluster is to go on, then deploy there; where none is left, `ownership claim`"
        }
        false => {
            "go on there; if this machine is to take the cluster over, restore that one's newest bundle here, then deploy; where none \
             is left, `ownership claim`"
        }
    };
    Error::new(Kind::Refused, format!("{doing}: this machine does not own {cluster}"))
        .because(format!("{who}, says {}", met.place))
        .hint(hint)
}

/// Makes an error of stores that could not be asked: one that does not answer may hold the claim of another orchestrator.
///
/// # Errors
/// What kept the first one from answering, with the way `around` it, which is given the store's place.
pub fn all_asked(failed: Vec<(String, Error)>, around: impl FnOnce(&str) -> String) -> Result<()> {
    let Some((location, error)) = failed.into_iter().next() else { return Ok(()) };
    let error = Error::new(error.kind(), format!("ask {location} who owns the cluster")).because(error);
    Err(error.hint(around(&location)))
}

/// The way around a store that can't be asked, of commands that take one.
pub fn without_store(location: &str) -> String {
    format!("--without-store {location} goes on without it")
}

/// That a store could not be asked who owns the cluster.
pub fn not_asked(location: &str, error: &Error) -> Finding {
    Finding::from_error("ownership-unseen", location, error).unseen()
}
