//! What a backup is told by the settings.

use std::path::PathBuf;

use crate::bundle::block::LEVELS;
use crate::bundle::pack::cores;
use crate::cluster::ClusterConf;
use crate::cluster::agent::Remote;
use crate::component::Components;
use crate::component::control_plane::Origin;
use crate::component::files::Tree;
use crate::component::postgres::Wanted;
use crate::component::postgres::connection::ConnectionString;
use crate::hooks::Hooks;
use crate::retention::Policy;
use crate::store::{Access, Address, StoreSettings};
use crate::{Error, Kind, Result};

/// The level of compression unless something else is said: within some percent of the size of `gzip -6`, and several
/// times faster.
pub const DEFAULT_LEVEL: u32 = 3;

/// What a backup is told by the settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Path of the `cluster.conf`.
    pub cluster_conf: PathBuf,
    /// Its bytes.
    pub cluster_conf_bytes: Vec<u8>,
    /// What it says.
    pub cluster: ClusterConf,
    /// How PostgreSQL is reached.
    pub connection: ConnectionString,
    /// Databases to capture; empty for all that count.
    pub databases: Vec<String>,
    /// Directory of `pg_dump` and `pg_restore`.
    pub bin_dir: Option<PathBuf>,
    /// Whether roles' passwords are captured.
    pub role_passwords: bool,
    /// Where the release's version comes from.
    pub release: Option<Origin>,
    /// Files to capture.
    pub files: Vec<Tree>,
    /// Other components to capture.
    pub components: Components,
    /// Stores that get bundles unless others are named.
    pub stores: Vec<StoreSettings>,
    /// Every place that bundles of any kind are put into by the settings.
    pub places: Vec<Address>,
    /// Who can read bundles, where they are encrypted.
    pub recipients: Vec<String>,
    /// How bundles are reached.
    pub access: Access,
    /// Which bundles are kept, where any are to be deleted.
    pub retention: Option<Policy>,
    /// Compression level.
    pub level: u32,
    /// Connections that read rows at once, if it is said.
    pub jobs: Option<usize>,
    /// How the cluster's machines are logged in to, and what is done there.
    pub remote: Remote,
    /// Programs that run around backups.
    pub hooks: Hooks,
}

impl Settings {
    /// PostgreSQL, where these databases are to be captured.
    pub(crate) fn postgres(&self, databases: &[String]) -> Wanted {
        Wanted {
            connection: self.connection.clone(),
            databases: databases.to_vec(),
            bin_dir: self.bin_dir.clone(),
            role_passwords: self.role_passwords,
            jobs: self.jobs.unwrap_or_else(cores),
        }
    }
}

/// Refuses levels that don't exist.
///
/// # Errors
/// [`Kind::Usage`].
pub fn check_level(level: u32) -> Result<()> {
    if LEVELS.contains(&level) {
        return Ok(());
    }
    Err(Error::new(Kind::Usage, format!("compression level {level} does not exist")).hint(format!(
        "{} is fastest, {} smallest, {DEFAULT_LEVEL} the default",
        LEVELS.start(),
        LEVELS.end()
    )))
}
