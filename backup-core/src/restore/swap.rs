//! What a swap means for those who use what is live, for the question before it.

use chrono::{DateTime, Utc};

use super::source::Source;
use super::whose::cluster_of;

/// What stands behind the question whether what is live is to step aside.
#[derive(Debug, Clone)]
pub struct Swap {
    /// The bundle's name, or the script's.
    pub bundle: String,
    /// The cluster that it is of; empty where that has no name.
    pub cluster: String,
    /// The time that it is of; none where nothing says it.
    pub state_of: Option<DateTime<Utc>>,
    /// The servers that something is swapped on: `PostgreSQL at /run/postgresql`.
    pub servers: Vec<String>,
    /// Whose sessions end.
    pub sessions: Vec<String>,
}

impl Swap {
    /// What is known before anything is changed.
    pub(super) fn of(source: &Source, servers: Vec<String>, sessions: Vec<String>) -> Self {
        let (bundle, cluster) = (source.name.clone(), cluster_of(source).name);
        Self { bundle, cluster, state_of: source.state_of, servers, sessions }
    }
}
