//! The hosts' identities from the bundle of the last restore on this machine. Later logins compare hosts with them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Seen;
use crate::bundle::manifest::control_plane::Host;
use crate::{Context, ErrorContext, Result, state};

/// The known hosts.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Record {
    /// Name of the bundle with these hosts; empty if no bundle has them.
    pub bundle: String,
    /// The hosts, with their keys.
    pub hosts: Vec<Host>,
    /// The SSH port of the hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_port: Option<u16>,
}

/// Who a host proves to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Identity {
    /// The host has one of its known keys.
    Same,
    /// The host has none of its known keys.
    Changed,
    /// No key of the host is known.
    Unknown,
    /// The host shows no key.
    Unseen,
}

impl Record {
    /// The record; none if no restore has written one.
    ///
    /// # Errors
    /// If the record can't be read.
    pub fn load(context: &Context) -> Result<Option<Self>> {
        let path = path(context)?;
        let doing = || format!("read the hosts' identities from {}", path.display());
        let text = state::read(&path, doing)?;
        text.map(|text| serde_json::from_slice(&text)).transpose().context(doing)
    }

    /// Writes this record over the last one.
    ///
    /// # Errors
    /// If the record can't be written.
    pub fn keep(&self, context: &Context) -> Result<()> {
        let path = path(context)?;
        let doing = || format!("keep the hosts' identities in {}", path.display());
        let text = serde_json::to_vec(self).context(doing)?;
        state::write(&path, &text).context(doing)
    }

    /// Who a host proves to be.
    pub fn identity(&self, seen: &Seen) -> Identity {
        match self.known(seen) {
            [] => Identity::Unknown,
            _ if seen.keys.is_empty() => Identity::Unseen,
            keys if seen.keys.iter().any(|key| keys.contains(key)) => Identity::Same,
            _ => Identity::Changed,
        }
    }

    /// The keys that are known of a host.
    pub(super) fn known(&self, seen: &Seen) -> &[String] {
        self.hosts.iter().find(|host| host.host == seen.host).map_or(&[], |host| &host.keys)
    }
}

fn path(context: &Context) -> Result<PathBuf> {
    Ok(state::directory(context)?.join("hosts.json"))
}
