//! What this machine has noted of the ownership of clusters.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Claim, Cluster};
use crate::{Context, Error, ErrorContext, Kind, Result, state, trusted};

const FILE: &str = "ownership.json";

/// What is noted of one cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notes {
    /// The cluster's identity.
    pub identity: String,
    /// The highest epoch that this machine has had a right to know of: its own, or the one that a restore has shown.
    pub epoch: u64,
    /// The claim by which this machine owns the cluster.
    pub claim: Option<Claim>,
    /// A claim that this machine has begun to write.
    pub taking: Option<Claim>,
    /// The claim that this machine has to give way to.
    pub overtaken: Option<Claim>,
    /// The store or the machine where that was met first; none where an older version noted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overtaken_in: Option<String>,
}

impl Notes {
    /// What is noted of a cluster of which nothing has been noted.
    pub fn none(cluster: &Cluster) -> Self {
        let identity = cluster.identity.clone();
        Self { identity, epoch: 0, claim: None, taking: None, overtaken: None, overtaken_in: None }
    }

    /// Reads what is noted.
    ///
    /// # Errors
    /// Where that can't be read.
    pub fn load(cluster: &Cluster, context: &Context) -> Result<Self> {
        Ok(Self::all(context)?.remove(&cluster.name).unwrap_or_else(|| Self::none(cluster)))
    }

    /// Reads what this user has noted itself.
    ///
    /// # Errors
    /// Where that can't be read.
    pub fn load_own(cluster: &Cluster, context: &Context) -> Result<Self> {
        let noted = path(context).map(|own| read(&own)).unwrap_or_else(|_| Ok(BTreeMap::new()))?.remove(&cluster.name);
        Ok(noted.unwrap_or_else(|| Self::none(cluster)))
    }

    /// All that is noted, by the clusters' names; what root has noted holds for whoever else runs this here.
    ///
    /// # Errors
    /// Where that can't be read.
    pub(super) fn all(context: &Context) -> Result<BTreeMap<String, Self>> {
        let mut all =
            if state::is_apart(context) { BTreeMap::new() } else { read(&Path::new(state::MACHINE).join(FILE))? };
        // Where nothing can be kept, nothing has been.
        if let Ok(own) = path(context) {
            for (name, notes) in read(&own)? {
                if all.get(&name).is_none_or(|machine| machine.epoch < notes.epoch) {
                    all.insert(name, notes);
                }
            }
        }
        Ok(all)
    }

    /// Changes what is noted; whoever else does so waits.
    ///
    /// # Errors
    /// Where it can't be read or written.
    pub(crate) fn change(cluster: &Cluster, context: &Context, change: impl FnOnce(&mut Self)) -> Result<()> {
        let path = path(context)?;
        let doing = || format!("note in {} who owns the cluster", path.display());
        let directory = state::directory(context)?;
        state::make(&directory).context(doing)?;
        trusted::check(&directory, doing)?;
        let _turn = state::turn(&path, doing)?;
        let mut all = read(&path)?;
        change(all.entry(cluster.name.clone()).or_insert_with(|| Self::none(cluster)));
        let text = serde_json::to_vec(&all).context(doing)?;
        // Nothing in it is secret, and others back up here too.
        state::write_with_mode(&path, &text, 0o644).context(doing)
    }

    /// Whether a claim is this machine's own.
    pub fn is_own(&self, claim: &Claim) -> bool {
        [&self.claim, &self.taking].into_iter().flatten().any(|own| own.owner == claim.owner)
    }

    /// Whether a claim means that this machine has been overtaken: its epoch is higher than all that this machine knows of, or it is
    /// the one that this machine has claimed too.
    pub fn gives_way_to(&self, claim: &Claim) -> bool {
        let as_high = claim.epoch == self.epoch && self.claim.is_some();
        !self.is_own(claim) && (claim.epoch > self.epoch || as_high)
    }
}

fn read(path: &Path) -> Result<BTreeMap<String, Notes>> {
    let doing = || format!("read from {} who owns the cluster", path.display());
    trusted::check(path, doing)?;
    match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|cause| {
            let error = Error::new(Kind::Failed, doing()).because(cause);
            error.hint("delete the file; if this machine owns the cluster, `ownership claim` says so again")
        }),
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(cause) if cause.kind() == ErrorKind::PermissionDenied && path.starts_with(state::MACHINE) => {
            let error = Error::new(Kind::Failed, doing()).because(cause);
            // As it is made since others may read there; older versions kept all of it to root.
            let place = state::MACHINE;
            Err(error.hint(format!("let others pass, as root: chmod 711 {place}; what is secret in it stays closed")))
        }
        Err(cause) => Err(cause).context(doing),
    }
}

fn path(context: &Context) -> Result<PathBuf> {
    Ok(state::directory(context)?.join(FILE))
}
