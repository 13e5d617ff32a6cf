//! What a component is stored as.

use std::fmt;

use serde::{Deserialize, Serialize};

/// No name is longer.
const LONGEST: usize = 64;

/// What settings, manifests and journals call a component, such as `redis` or `redis-sessions`. It is part of paths and of the ids of
/// steps, so it is never changed on the way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ComponentId(String);

impl ComponentId {
    /// The control plane itself: its release and its `cluster.conf`.
    pub const CONTROL_PLANE: &str = "control-plane";
    /// Captured files, and where `cluster.conf` goes.
    pub const FILES: &str = "files";
    /// A PostgreSQL server.
    pub const POSTGRES: &str = "postgres";
    /// What is made of a script of `pg_dump`, and of no bundle.
    pub const POSTGRES_SCRIPT: &str = "postgres-script";
    /// All of these: nothing that settings describe may be called so.
    pub const FIXED: [&str; 4] = [Self::CONTROL_PLANE, Self::FILES, Self::POSTGRES, Self::POSTGRES_SCRIPT];

    /// That of a component which every control plane has.
    pub(crate) fn fixed(name: &'static str) -> Self {
        Self(name.into())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text names no component.
#[derive(Debug, PartialEq, Eq)]
pub struct NotAComponent;

impl fmt::Display for NotAComponent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("no component is called so: a small letter, then small letters, digits and hyphens, 64 at most")
    }
}

impl std::error::Error for NotAComponent {}

/// Whether something may be called so: a small letter, then small letters, digits and hyphens, 64 at most.
pub(super) fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    name.bytes().next().is_some_and(|first| first.is_ascii_lowercase())
        && name.bytes().all(plain)
        && name.len() <= LONGEST
}

impl TryFrom<String> for ComponentId {
    type Error = NotAComponent;

    fn try_from(name: String) -> Result<Self, NotAComponent> {
        if is_plain(&name) { Ok(Self(name)) } else { Err(NotAComponent) }
    }
}

impl From<ComponentId> for String {
    fn from(id: ComponentId) -> Self {
        id.0
    }
}

impl fmt::Display for ComponentId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}
