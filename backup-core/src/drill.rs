//! The record of a drill, which lies beside its bundle.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::bundle::manifest::Items;
use crate::digest::Sha256Digest;
use crate::finding::Finding;
use crate::names::ComponentId;
use crate::signing::Origin;

/// What a drill has shown of a bundle.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Drill {
    /// The bundle's name.
    pub bundle: String,
    /// Digest of its manifest, which tells it from another one of this name.
    pub manifest_sha256: Sha256Digest,
    /// Who made the bundle, as far as could be told; no record says it, which anybody could have written.
    #[serde(skip)]
    pub origin: Origin,
    /// When the drill began.
    pub time: DateTime<Utc>,
    /// From the first look at the bundle until the databases had their names.
    pub seconds: f64,
    /// The PostgreSQL that it was restored into.
    pub postgres: String,
    /// Rows that came back.
    pub rows: u64,
    /// What came back of other components.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<Proved>,
    /// What was not as it should be; nothing where the bundle is proved.
    pub problems: Vec<Finding>,
    /// What this server could not show, whatever the bundle is like.
    #[serde(default)]
    pub unproved: Vec<Finding>,
    /// What functions of the bundle could reach, where this machine gave them fewer walls than there are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_walled_off: Vec<Finding>,
}

/// What a drill has shown of a component.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Proved {
    /// What it is called.
    pub id: ComponentId,
    /// How much came back.
    pub items: Items,
}

impl Drill {
    /// Whether the bundle is proved.
    pub fn passed(&self) -> bool {
        self.problems.is_empty()
    }
}
