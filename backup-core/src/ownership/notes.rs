//! What this machine has noted of the ownership of clusters.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Claim, Cluster};
use crate::{Context, ErrorContext, Result, state};

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
}

impl Notes {
    /// What is noted of a cluster of which nothing has been noted.
    pub fn none(cluster: &Cluster) -> Self {
        Self { identity: cluster.identity.clone(), epoch: 0, claim: None, taking: None, overtaken: None }
    }

    /// Reads what is noted.
    ///
    /// # Errors
    /// Where that can't be read.
    pub fn load(cluster: &Cluster, context: &Context) -> Result<Self> {
        // Where nothing can be kept, nothing has been.
        let Ok(path) = path(context) else { return Ok(Self::none(cluster)) };
        Ok(read(&path)?.remove(&cluster.name).unwrap_or_else(|| Self::none(cluster)))
    }

    /// Changes what is noted; whoever else does so waits.
    ///
    /// # Errors
    /// Where it can't be read or written.
    pub(crate) fn change(cluster: &Cluster, context: &Context, change: impl FnOnce(&mut Self)) -> Result<()> {
        let path = path(context)?;
        let doing = || format!("note in {} who owns the cluster", path.display());
        state::make(&state::directory(context)?).context(doing)?;
        let lock = OpenOptions::new().create(true).append(true).mode(0o600).open(path.with_extension("lock"));
        let lock = lock.context(doing)?;
        lock.lock().context(doing)?;
        let mut all = read(&path)?;
        change(all.entry(cluster.name.clone()).or_insert_with(|| Self::none(cluster)));
        let text = serde_json::to_vec(&all).context(doing)?;
        state::write(&path, &text).context(doing)
    }

    /// Whether a claim is this machine's own.
    pub fn is_own(&self, claim: &Claim) -> bool {
        [&self.claim, &self.taking].into_iter().flatten().any(|own| own.owner == claim.owner)
    }

    /// Whether a claim means that this machine has been overtaken: its epoch is higher than all that this machine knows of, or it is
    /// the one that this machine has claimed too.
    pub fn gives_way_to(&self, claim: &Claim) -> bool {
        !self.is_own(claim) && (claim.epoch > self.epoch || (claim.epoch == self.epoch && self.claim.is_some()))
    }
}

fn read(path: &Path) -> Result<BTreeMap<String, Notes>> {
    let doing = || format!("read from {} who owns the cluster", path.display());
    match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).context(doing),
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(cause) => Err(cause).context(doing),
    }
}

fn path(context: &Context) -> Result<PathBuf> {
    Ok(state::directory(context)?.join("ownership.json"))
}
