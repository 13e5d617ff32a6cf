//! Who owns a cluster: the one orchestrator whose word its machines take.
//!
//! A cluster has an identity, and an ownership epoch that only grows. Whoever takes a cluster over claims the next epoch: in the
//! stores, where one of several wins, and on every machine. Each orchestrator notes the highest epoch that it knows of; whoever
//! meets a higher one has been overtaken, and refuses to write from then on. Nothing is decided by clocks.

mod claim;
mod heard;
mod here;
mod notes;
mod standing;
mod stores;
mod take;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use claim::Claim;
pub use heard::{Heard, heard};
pub use here::{Home, home_by_conf, homes_by_claims, homes_by_notes};
pub use notes::Notes;
pub use standing::{Met, Standing, all_asked, not_asked, refuse_if_overtaken, stores, without_store};
pub use take::{next, release, take};

use crate::cluster::ClusterConf;

/// What tells a cluster from others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Its name; empty where it has none.
    pub name: String,
    /// The identity that it has unless another one has been noted: a digest of its name, so that all who meet it for the first time
    /// call it the same; where it has none, of its hosts.
    pub identity: String,
}

impl Cluster {
    /// The cluster of a `cluster.conf`.
    pub fn of(conf: &ClusterConf) -> Self {
        let name = conf.cluster_name.clone().unwrap_or_default();
        let mut hosts = conf.hosts();
        hosts.sort_unstable();
        if name.is_empty() {
            return Self { name, identity: identity(&hosts.join("\n")) };
        }
        Self::named(&name)
    }

    /// The cluster of a name.
    pub fn named(name: &str) -> Self {
        Self { name: name.into(), identity: identity(name) }
    }

    /// Whether a claim is of this cluster: it has its identity, or goes by its name.
    fn is_claimed_by(&self, claim: &Claim) -> bool {
        claim.identity == self.identity || (!claim.cluster.is_empty() && claim.cluster == self.name)
    }

    /// How it is called in messages.
    pub fn shown(&self) -> String {
        if self.name.is_empty() { "the cluster".into() } else { format!("cluster {}", self.name) }
    }
}

fn identity(known_by: &str) -> String {
    hex::encode(&Sha256::digest(known_by)[..16])
}

/// A machine as messages call it, with its addresses.
fn machine(host: &str, addresses: &[IpAddr]) -> String {
    let addresses: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
    if addresses.is_empty() { host.into() } else { format!("{host} ({})", addresses.join(", ")) }
}
