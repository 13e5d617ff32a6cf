//! Deploys: which machine takes which components, which must stand before which, and how their agents learn of this orchestrator.
//!
//! The [`graph`] is a function of `cluster.conf` and of one table of [`Components`]; nothing is asked of a machine for it.

mod agent;
mod assets;
mod components;
mod inspect;
mod order;
mod placement;
mod plan;
mod run;
mod steps;

pub use assets::Assets;
pub use components::{Components, Need, Source};
pub use order::{Graph, Requirement};
pub use placement::{Machine, matching};
pub use plan::Plan;
pub use run::{Fate, Outcome, Prepared, Request, State, prepare, resume};

use crate::cluster::ClusterConf;
use crate::finding::Finding;

/// What a deploy is told by the settings, beside what a backup is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The components that there are: the platform's, and those of the settings.
    pub components: Components,
    /// The release's assets, where a deploy is to have some.
    pub assets: Option<Assets>,
}

/// The machines of a cluster in the order in which they are to be deployed.
///
/// # Errors
/// All that is wrong with the `cluster.conf`, each with its line: what no machine can take, what stands there twice, what
/// needs something that is nowhere, what needs itself.
pub fn graph(cluster: &ClusterConf, components: &Components) -> Result<Graph, Vec<Finding>> {
    let (machines, mut findings) = placement::place(cluster, components);
    findings.extend(components.check(cluster));
    if findings.is_empty() { Ok(Graph::new(machines, components)) } else { Err(findings) }
}

/// The machines of a cluster with what they are to take, and what is wrong with that, which leaves some things out.
pub fn machines(cluster: &ClusterConf, components: &Components) -> (Vec<Machine>, Vec<Finding>) {
    placement::place(cluster, components)
}

/// The subject of a finding on what stands at a path of `cluster.conf`.
fn place_of(cluster: &ClusterConf, path: &[&str]) -> String {
    cluster.line(path).map_or_else(|| "cluster.conf".into(), |line| format!("cluster.conf, line {line}"))
}
