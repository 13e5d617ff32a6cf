//! Where this machine stands: what it has noted, and the claims that it meets.

use std::sync::Arc;
use std::time::Duration;

use super::{Claim, Cluster, Notes, Ownership};
use crate::finding::Finding;
use crate::settings::Settings;
use crate::store::{ClaimName, Store, blocking};
use crate::{Context, Error, Kind, Result, backup};

/// How long a store may take to say who owns the cluster.
const PATIENCE: Duration = Duration::from_secs(30);

/// The stores that say who owns the cluster: those of the settings, but for some by their location.
///
/// # Errors
/// [`Kind::Usage`] where there is none of that location.
pub fn stores(settings: &Settings, without: &[String], context: &Context) -> Result<Vec<Arc<dyn Store>>> {
    let destinations = backup::destinations(settings, &backup::Request::default(), false, context)?;
    let (left, kept): (Vec<_>, Vec<_>) = destinations
        .into_iter()
        .map(|destination| (destination.store.location(), destination.store))
        .partition(|(location, _)| without.contains(location));
    if let Some(stranger) = without.iter().find(|name| !left.iter().any(|(location, _)| location == *name)) {
        let places: Vec<String> = left.into_iter().chain(kept).map(|(location, _)| location).collect();
        let error = Error::new(Kind::Usage, format!("--without-store {stranger}: there is no such store"));
        return Err(error.hint(format!("the stores are {}", places.join(", "))));
    }
    Ok(kept.into_iter().map(|(_, store)| store).collect())
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
        let notes = Notes::load(&cluster, context)?;
        let noted = [&notes.overtaken, &notes.claim].into_iter().flatten();
        let met = noted.map(|claim| Met { claim: claim.clone(), place: "this machine's notes".into() }).collect();
        Ok(Self { cluster, notes, met })
    }

    /// Takes in what stands in stores. Gives those that could not be asked, with the reason.
    pub async fn look_in_stores(&mut self, stores: &[Arc<dyn Store>]) -> Vec<(String, Error)> {
        let mut failed = Vec::new();
        for (location, found) in in_stores(stores).await {
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

    /// Takes in what a machine says of its owner.
    pub fn hear(&mut self, host: &str, line: &str) {
        let claim = Claim::read(line.as_bytes());
        self.met.extend(claim.map(|claim| Met { claim, place: host.into() }));
    }

    /// Whether a claim is of this cluster: it has its identity, or goes by its name.
    fn concerns(&self, claim: &Claim) -> bool {
        claim.identity == self.notes.identity || (!claim.cluster.is_empty() && claim.cluster == self.cluster.name)
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
            if notes.gives_way_to(&met.claim) {
                notes.overtaken = Some(met.claim.clone());
            }
        });
        Err(overtaken(doing, &self.cluster, met))
    }
}

/// Refuses to write where this machine has been overtaken, as far as its notes and the stores say. Gives what could not be asked.
///
/// # Errors
/// [`Kind::Refused`]; where the notes can't be read.
pub async fn refuse_if_overtaken(
    doing: &str,
    cluster: Cluster,
    stores: &[Arc<dyn Store>],
    context: &Context,
) -> Result<(Standing, Vec<(String, Error)>)> {
    let mut standing = Standing::noted(cluster, context)?;
    // Also where the notes say enough: the stores may know of a later owner.
    let failed = standing.look_in_stores(stores).await;
    standing.refuse(doing, context)?;
    Ok((standing, failed))
}

/// The claims with the highest epoch of each cluster, store by store.
async fn in_stores(stores: &[Arc<dyn Store>]) -> Vec<(String, Result<Vec<Claim>>)> {
    let asked = stores.iter().cloned().map(|store| async move {
        let location = store.location();
        let found = tokio::time::timeout(PATIENCE, blocking(move || highest_in(&*store))).await;
        let late = |_| Err(Error::new(Kind::Failed, format!("no answer in {} s", PATIENCE.as_secs())));
        (location, found.unwrap_or_else(late))
    });
    futures_util::future::join_all(asked).await
}

fn highest_in(store: &dyn Store) -> Result<Vec<Claim>> {
    let mut names = store.claims()?;
    // They are in order: the last of each cluster stays.
    names.reverse();
    names.dedup_by(|next, kept| next.cluster == kept.cluster);
    names.iter().map(|name| read(store, name)).collect()
}

fn read(store: &dyn Store, name: &ClaimName) -> Result<Claim> {
    let claim = Claim::read(&store.read_claim(name)?).filter(|claim| claim.name() == *name);
    Ok(claim.unwrap_or_else(|| Claim::unreadable(name)))
}

fn overtaken(doing: &str, cluster: &Cluster, met: &Met) -> Error {
    let (cluster, claim) = (cluster.shown(), &met.claim);
    let who = match claim.released {
        true => format!("it was released by {claim}"),
        false => format!("it belongs to {claim}"),
    };
    Error::new(Kind::Refused, format!("{doing}: this machine does not own {cluster} any more"))
        .because(format!("{who}, says {}", met.place))
        .hint(
            "go on there; if this machine is to take the cluster back, restore that one's newest bundle here, then deploy; where none is \
             left, `ownership claim`",
        )
}

/// That a store could not be asked who owns the cluster.
pub fn not_asked(location: &str, error: &Error) -> Finding {
    Finding::from_error("ownership-unseen", location, error)
}
