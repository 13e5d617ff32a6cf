//! When a cluster's orchestrator was last heard of: by the bundles that it left.

use std::net::IpAddr;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::machine;
use crate::encryption::Identities;
use crate::store::{Store, blocking, open_stored};
use crate::{Result, names::FileName};

/// Bundles that are looked into, at most: the newest may be another cluster's.
const LOOKED_AT: usize = 8;

/// The newest bundle of a cluster.
#[derive(Debug, Clone, Serialize)]
pub struct Heard {
    /// The bundle's name.
    pub bundle: String,
    /// Where it is.
    pub store: String,
    /// When it was begun.
    pub time: DateTime<Utc>,
    /// Name of the machine that made it; none where the bundle can't be opened here.
    pub host: Option<String>,
    /// That machine's addresses.
    pub addresses: Vec<IpAddr>,
}

impl std::fmt::Display for Heard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} by {} in {}", self.time.format("%F %T UTC"), self.bundle, self.store)?;
        if let Some(host) = &self.host {
            write!(f, " from {}", machine(host, &self.addresses))?;
        }
        Ok(())
    }
}

/// The newest bundle of the cluster of this name in any of the stores; what can't be read says nothing.
pub async fn heard(stores: &[Arc<dyn Store>], cluster: &str, identities: &Identities) -> Option<Heard> {
    let asked = stores.iter().cloned().map(|store| {
        let (cluster, identities) = (cluster.to_owned(), identities.clone());
        blocking(move || newest(&*store, &cluster, &identities))
    });
    let found = futures_util::future::join_all(asked).await.into_iter().filter_map(|found| found.ok().flatten());
    found.max_by_key(|heard| heard.time)
}

fn newest(store: &dyn Store, cluster: &str, identities: &Identities) -> Result<Option<Heard>> {
    let stored = store.list()?;
    // What database servers make says nothing of the orchestrator.
    let newest = stored.iter().rev().filter(|stored| stored.name.bundle.is_orchestrators()).take(LOOKED_AT);
    Ok(newest.filter_map(|stored| look(store, &stored.name, cluster, identities)).next())
}

fn look(store: &dyn Store, name: &FileName, cluster: &str, identities: &Identities) -> Option<Heard> {
    let heard = |host, addresses| Heard {
        bundle: name.to_string(),
        store: store.location(),
        time: name.bundle.time(),
        host,
        addresses,
    };
    match open_stored(store, identities, name).ok()? {
        // Whose it is, only who has its identity could say.
        None => Some(heard(None, Vec::new())),
        Some(bundle) => {
            let source = &bundle.manifest().source;
            let same = source.cluster.as_deref().unwrap_or_default() == cluster;
            same.then(|| heard(Some(source.host.clone()), source.addresses.clone()))
        }
    }
}
