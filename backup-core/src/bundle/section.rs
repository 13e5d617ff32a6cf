//! What a manifest says of a component, from format 4 on.

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::names::ComponentId;
use crate::{Error, Kind, Result};

/// The directory of all components' entries.
const ROOT: &str = "components";

/// A component in a bundle. What is in its body, its kind knows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Section {
    /// What the component is called; its entries stand below `components/ID/`.
    pub id: ComponentId,
    /// What kind of state it is, such as `redis`.
    pub kind: String,
    /// The version of the body.
    pub version: u32,
    /// The time that it is of.
    pub as_of: DateTime<Utc>,
    /// How much it is, for people.
    pub items: Items,
    /// What its kind says of it.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub body: Value,
}

/// How much something is, as `list` shows it and a drill's record does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Items {
    /// How many.
    pub count: u64,
    /// One of them, such as `key`.
    pub unit: String,
}

impl Section {
    /// The directory of its entries, below the bundle's.
    pub fn root(&self) -> String {
        Self::root_of(&self.id)
    }

    /// The same of a component with this name.
    pub fn root_of(id: &ComponentId) -> String {
        format!("{ROOT}/{id}")
    }

    /// Makes sure that its body is of no newer version than the last one that its kind reads.
    ///
    /// # Errors
    /// [`Kind::Unsupported`].
    pub fn check_version(&self, last: u32) -> Result<()> {
        if self.version <= last {
            return Ok(());
        }
        let message = format!("the bundle has {} in version {}, and this tool reads {last}", self.id, self.version);
        Err(Error::new(Kind::Unsupported, message).hint("restore it with the version of this tool that made it"))
    }

    /// What its kind says of it.
    ///
    /// # Errors
    /// [`Kind::Damaged`] where that is not it.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T> {
        let Self { id, kind, .. } = self;
        T::deserialize(&self.body).map_err(|cause| {
            Error::new(Kind::Damaged, format!("read what the manifest says of {id}, of the kind {kind}")).because(cause)
        })
    }
}

/// The component whose entry this is, if it is one's.
pub(super) fn component_of(path: &str) -> Option<&str> {
    path.strip_prefix(ROOT)?.strip_prefix('/').map(|rest| rest.split('/').next().unwrap_or_default())
}
