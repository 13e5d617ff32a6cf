//! What bundles are kept as.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ORCHESTRATOR;

/// What a bundle is one of: all bundles of one component, and of one server group where the cluster has several.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Series {
    /// The component.
    pub component: String,
    /// The server group; none for the orchestrator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

impl Series {
    /// The orchestrator's own.
    pub fn orchestrator() -> Self {
        Self { component: ORCHESTRATOR.into(), group: None }
    }

    /// Whether it is the orchestrator's own.
    pub fn is_orchestrators(&self) -> bool {
        self.component == ORCHESTRATOR
    }
}

impl Default for Series {
    fn default() -> Self {
        Self::orchestrator()
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.group {
            None => f.write_str(&self.component),
            Some(group) => write!(f, "{} of {group}", self.component),
        }
    }
}
