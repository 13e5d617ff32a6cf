//! Which cluster this machine is of, as far as anything here says.

use std::path::Path;
use std::sync::Arc;

use super::stores::in_stores;
use super::{Claim, Cluster, Notes};
use crate::cluster::ClusterConf;
use crate::cluster::hosts::own_addresses;
use crate::store::Store;
use crate::{Context, Error, ErrorContext, Kind, Result};

/// A cluster that this machine is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// The cluster.
    pub cluster: Cluster,
    /// Whether this machine owns it, by its notes.
    pub owns: bool,
    /// Who says so: a `cluster.conf`, this machine's notes, or a store.
    pub place: String,
}

/// The cluster of the `cluster.conf` at a place; none where there is none, or it names neither a cluster nor machines.
///
/// # Errors
/// Where it can't be read or understood.
pub fn home_by_conf(path: &Path) -> Result<Option<Home>> {
    let bytes = match std::fs::read(path) {
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.context(|| format!("read {}", path.display()))?,
    };
    let text =
        String::from_utf8(bytes).map_err(|_| Error::new(Kind::Usage, format!("read {}: not UTF-8", path.display())))?;
    let conf = ClusterConf::parse(&text).context(|| format!("read {}", path.display()))?;
    let empty = conf.cluster_name.is_none() && conf.hosts().is_empty();
    Ok((!empty).then(|| Home { cluster: Cluster::of(&conf), owns: false, place: path.display().to_string() }))
}

/// The clusters that this machine has owned by its notes, or that a restore has shown it the owner of.
///
/// # Errors
/// Where the notes can't be read.
pub fn homes_by_notes(context: &Context) -> Result<Vec<Home>> {
    let noted = Notes::all(context)?.into_iter();
    let noted = noted.filter(|(_, notes)| notes.overtaken.is_none() && (notes.claim.is_some() || notes.epoch > 0));
    let home = |(name, notes): (String, Notes)| {
        let owns = notes.claim.is_some();
        let cluster = Cluster { name, identity: notes.identity };
        Home { cluster, owns, place: "this machine's notes".into() }
    };
    Ok(noted.map(home).collect())
}

/// The clusters whose owner is this machine by the claims in stores: its name, and one of its addresses. What can't be asked says nothing.
pub async fn homes_by_claims(stores: &[Arc<dyn Store>], context: &Context) -> Vec<Home> {
    let own = own_addresses();
    let host = &context.environment.host;
    let is_ours = |claim: &Claim| {
        !claim.released && claim.host == *host && claim.addresses.iter().any(|address| own.contains(address))
    };
    let mut homes = Vec::new();
    for (location, said) in in_stores(stores, None).await {
        let ours = said.map_or_else(|_| Vec::new(), |said| said.claims).into_iter().filter(is_ours);
        homes.extend(ours.map(|claim| Home {
            cluster: Cluster { name: claim.cluster, identity: claim.identity },
            owns: false,
            place: location.clone(),
        }));
    }
    homes
}
