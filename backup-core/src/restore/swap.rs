//! What a swap means for those who use what is live, for the question before it.

use chrono::{DateTime, Utc};

use super::source::Source;
use super::whose::cluster_of;
use crate::component::postgres::{Planned, Sessions, Target};
use crate::finding::{Finding, Findings};

/// What stands behind the question whether live databases and files are to step aside.
#[derive(Debug, Clone)]
pub struct Swap {
    /// The bundle's name, or the script's.
    pub bundle: String,
    /// The cluster that it is of; empty where that has no name.
    pub cluster: String,
    /// The time that it is of; none where nothing says it.
    pub state_of: Option<DateTime<Utc>>,
    /// The PostgreSQL server, where databases are swapped.
    pub server: Option<String>,
    /// Whose sessions end.
    pub sessions: Sessions,
}

impl Swap {
    /// What is known before anything is changed.
    pub(super) async fn look(
        source: &Source,
        target: Option<&Target>,
        databases: &[Planned],
        findings: &mut Findings,
    ) -> Self {
        let live = databases.iter().filter(|planned| planned.names.before.is_some());
        let live: Vec<&str> = live.map(|planned| planned.names.name.as_str()).collect();
        let mut sessions = Sessions::default();
        if let Some(target) = target.filter(|_| !live.is_empty()) {
            sessions = findings.keep("sessions", "sessions", target.sessions(&live).await).unwrap_or_default();
            if !sessions.is_empty() {
                let message = format!("these end in the swap: {sessions}");
                findings.all.push(Finding::info("sessions", "sessions", message));
            }
        }
        Self {
            bundle: source.said().name.into(),
            cluster: cluster_of(source).name,
            state_of: source.state_of(),
            server: target.filter(|_| !databases.is_empty()).map(|target| target.parameters.place()),
            sessions,
        }
    }
}
