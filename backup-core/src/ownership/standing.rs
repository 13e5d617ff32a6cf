//! Where this machine stands: what it has noted, and the claims that it meets.

use std::sync::Arc;

use super::stores::{Ours, in_stores};
use super::{Claim, Cluster, Notes};
use crate::bundle::manifest::control_plane::Ownership;
use crate::finding::Finding;
use crate::signing::Signing;
use crate::store::{Access, Store, leave_out};
use crate::{Context, Error, Kind, Result};

/// The most epochs that may have passed unseen: each is one takeover. What claims more is not believed.
const UNSEEN: u64 = 1000;
/// Who else says what this machine has noted.
const NOTED: &str = "this machine's notes";

/// The stores that say who owns the cluster: those of the settings, but for some by their location.
///
/// # Errors
/// [`Kind::Usage`] where there is none of that location.
pub fn stores(access: &Access, without: &[String], context: &Context) -> Result<Vec<Arc<dyn Store>>> {
    leave_out(access.connect_all([], context)?, without)
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
    /// The highest epoch that is known whoever is asked: of the notes, and of a bundle that is restored.
    pub known: u64,
    /// What the settings say of signatures.
    pub(super) signing: Signing,
}

impl Standing {
    /// What this machine has noted of a cluster.
    ///
    /// # Errors
    /// Where that can't be read.
    pub fn noted(cluster: Cluster, signing: &Signing, context: &Context) -> Result<Self> {
        Ok(Self::of(cluster.clone(), Notes::load(&cluster, context)?, signing))
    }

    /// The same where what root has noted is closed to this user, who goes on with its own notes and what it meets.
    ///
    /// # Errors
    /// Where its own can't be read.
    pub fn noted_here(cluster: Cluster, signing: &Signing, context: &Context) -> Result<Self> {
        Ok(Self::of(cluster.clone(), Notes::load_own(&cluster, context)?, signing))
    }

    fn of(cluster: Cluster, notes: Notes, signing: &Signing) -> Self {
        let noted = [(&notes.overtaken, NOTED), (&notes.claim, "this machine's own claim")];
        let noted = noted.into_iter().filter_map(|(claim, place)| Some((claim.clone()?, place.to_owned())));
        let met = noted.map(|(claim, place)| Met { claim, place }).collect();
        let known = [&notes.overtaken, &notes.claim, &notes.taking].into_iter().flatten().map(|claim| claim.epoch);
        let known = known.chain([notes.epoch]).max().unwrap_or(0);
        Self { cluster, notes, met, known, signing: signing.clone() }
    }

    /// The same without what was noted of a claim that was met in one of these stores: somebody says that they tell no truth.
    pub fn without(mut self, stores: &[String]) -> Self {
        if self.notes.overtaken_in.as_ref().is_some_and(|place| stores.contains(place)) {
            self.met.retain(|met| met.place != NOTED);
        }
        self
    }

    /// Takes in what stands in stores. Gives those that could not be asked, or have what can't be believed, with the reason. Whatever
    /// else stands there counts all the same.
    pub async fn look_in_stores(&mut self, stores: &[Arc<dyn Store>]) -> Vec<(String, Error)> {
        let mut failed = Vec::new();
        for (location, said) in in_stores(stores, Some(self.ours())).await {
            match said {
                Ok(said) => {
                    let concerning = said.claims.into_iter().filter(|claim| self.concerns(claim));
                    let met: Vec<Met> = concerning.map(|claim| Met { claim, place: location.clone() }).collect();
                    self.met.extend(met);
                    failed.extend(said.unbelieved.map(|error| (location, error)));
                }
                Err(error) => failed.push((location, error)),
            }
        }
        failed
    }

    fn ours(&self) -> Ours {
        let (last, known, notes) = (self.last_believed(), self.known, self.notes.clone());
        Ours { cluster: self.named(), last, known, notes, signing: self.signing.clone() }
    }

    /// The cluster with the identity that it goes by.
    fn named(&self) -> Cluster {
        Cluster { name: self.cluster.name.clone(), identity: self.notes.identity.clone() }
    }

    /// No claim of a higher epoch is believed.
    pub fn last_believed(&self) -> u64 {
        self.known.saturating_add(UNSEEN)
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
        if let Some(why) = self.ours().doubt(&claim) {
            let message = format!("its claim is not believed: {claim}: {why}");
            let hint =
                "find out who wrote that; if nobody did who may, delete the .owner file beside its agent's settings";
            return Some(Finding::error("claim-unbelieved", host, message).hint(hint));
        }
        self.met.push(Met { claim, place: host.into() });
        None
    }

    fn concerns(&self, claim: &Claim) -> bool {
        self.named().is_claimed_by(claim)
    }

    /// Where the notes can't be read: whatever claim is met then, this machine has to give way to.
    pub fn unread(cluster: Cluster, signing: &Signing) -> Self {
        Self::of(cluster.clone(), Notes::none(&cluster), signing)
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
            // Where it was noted before, it is known where it was met first.
            if notes.gives_way_to(&met.claim) && met.place != NOTED {
                notes.overtaken = Some(met.claim.clone());
                notes.overtaken_in = Some(met.place.clone());
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
