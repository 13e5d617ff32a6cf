//! What a restore and a drill are told by the settings.

use std::path::PathBuf;

use serde::Deserialize;

use crate::cluster::ClusterConf;
use crate::cluster::agent::Remote;
use crate::component::control_plane::{Origin, ReleaseRule};
use crate::component::postgres::connection::ConnectionString;
use crate::component::{Components, DrillLimits};
use crate::hooks::Hooks;
use crate::store::Access;

/// What a restore is told by the settings; a machine that is to be brought back need not have any.
#[derive(Debug, Default)]
pub struct Settings {
    /// Where the `cluster.conf` belongs, if it is said.
    pub cluster_conf: Option<PathBuf>,
    /// How PostgreSQL is reached.
    pub connection: ConnectionString,
    /// Directory of `psql` and `pg_restore`.
    pub bin_dir: Option<PathBuf>,
    /// Where the release of this machine comes from.
    pub release: Option<Origin>,
    /// Which releases it may have.
    pub release_rule: ReleaseRule,
    /// How the cluster's machines are logged in to, and what is done there.
    pub remote: Remote,
    /// The port that machines take SSH connections on, if it is said.
    pub ssh_port: Option<u16>,
    /// Connections that load rows at once, if it is said.
    pub jobs: Option<usize>,
    /// What a drill asks of the restored databases.
    pub assertions: Vec<Assertion>,
    /// What a drill may take.
    pub drill: DrillLimits,
    /// The components of this machine beside databases and files.
    pub components: Components,
    /// How bundles are reached.
    pub access: Access,
    /// Programs that run around restores and drills.
    pub hooks: Hooks,
}

impl Settings {
    /// The name of the cluster that this machine is of, as far as its `cluster.conf` can be read.
    pub fn cluster(&self) -> Option<String> {
        let bytes = std::fs::read(self.cluster_conf.as_ref()?).ok()?;
        ClusterConf::read(&bytes).ok()?.cluster_name
    }
}

/// A question that a restored database must answer with true.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assertion {
    /// The database.
    pub database: String,
    /// A query of one row and one column.
    pub sql: String,
}
