//! What a restore will do, as it stands in its journal: all that its steps are made of, and nothing secret.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::ser::Error as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::written::{self, Written};
use super::{Shown, format_1};
use crate::bundle::manifest::control_plane::Host;
use crate::digest::Sha256Digest;
use crate::names::{ComponentId, FileName, StepId};
use crate::{plan, shell};

/// A restore, decided.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct Plan {
    /// The bundle's file, or the script.
    pub file: PathBuf,
    /// The bundle's name, or the script's.
    pub bundle: String,
    /// The `cluster.conf` that goes with a script; none where there is a bundle.
    pub cluster_conf: Option<PathBuf>,
    /// Digest of the bundle's manifest as it stands in the file, or of the pair.
    pub sha256: Sha256Digest,
    /// What comes back, in order.
    pub parts: Vec<PlannedPart>,
    /// Hosts of the cluster that were down when the restore began.
    pub hosts_down: Vec<String>,
    /// The port that hosts take SSH connections on.
    pub ssh_port: u16,
    /// Who the hosts are: as the bundle has them, and as they are where another key was accepted. None where the restore is
    /// no concern of theirs.
    pub hosts: Option<Vec<Host>>,
    /// Objects of databases without which they may come back.
    pub accept_missing: Vec<String>,
    /// Whether it is of another cluster than this machine, as far as that is known; the operator has accepted it.
    pub foreign: bool,
    /// What was shown of who owns the cluster.
    pub ownership: Option<Shown>,
}

impl Serialize for Plan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Written::of(self).map_err(S::Error::custom)?.serialize(serializer)
    }
}

/// A component that is restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedPart {
    /// What it is called.
    pub id: ComponentId,
    /// What kind it is of.
    pub kind: String,
    /// What it brings, for people.
    pub brings: Vec<String>,
    /// What steps aside, and the name that it has then.
    pub aside: Vec<(String, String)>,
    /// The ids of the steps that change what is live.
    pub live: Vec<StepId>,
    /// What its steps are made of, for its own kind to read.
    pub recipe: Value,
}

impl plan::Recipe for Plan {
    fn titles_in_format_1(&self) -> Vec<(StepId, String)> {
        format_1::titles(self)
    }

    fn check_names(&self) -> crate::Result<()> {
        written::check_names(self)
    }
}

impl Plan {
    /// What the steps of a component are made of, where it is among the parts and has that.
    pub(super) fn recipe<R: DeserializeOwned>(&self, id: &str) -> Option<R> {
        let part = self.parts.iter().find(|part| part.id.as_str() == id)?;
        R::deserialize(&part.recipe).ok()
    }

    /// Whether a component is among the parts.
    pub(super) fn has(&self, id: &str) -> bool {
        self.parts.iter().any(|part| part.id.as_str() == id)
    }

    /// What steps aside, and the name that it gets.
    pub fn stepping_aside(&self) -> Vec<(String, String)> {
        self.parts.iter().flat_map(|part| part.aside.clone()).collect()
    }

    /// The argument by which an operator says that this restore is meant and no other one.
    pub fn argument(&self) -> String {
        match self.cluster_conf {
            None => format!("--file {}.tgz", self.bundle),
            Some(_) => format!("--sql {}", shell::word(&self.bundle)),
        }
    }

    /// Whether a path that an operator gives means what is restored here.
    pub fn is_of(&self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match self.cluster_conf {
            Some(_) => name == self.bundle,
            None => name.parse::<FileName>().is_ok_and(|name| name.bundle.to_string() == self.bundle),
        }
    }

    /// The steps that change what is live.
    pub(super) fn live_steps(&self) -> impl Iterator<Item = StepId> {
        self.parts.iter().flat_map(|part| &part.live).cloned()
    }

    /// Names of the databases, places of the files, and what other components bring.
    pub fn brings(&self) -> Vec<String> {
        self.parts.iter().flat_map(|part| part.brings.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Status, golden};

    #[test]
    fn journals_of_every_format_are_of_these_steps() {
        golden::check::<Plan>("restore-bundle", &[Status::Applied; 11]);
        let mut killed = [Status::Waiting; 6];
        killed[..3].copy_from_slice(&[Status::Applied, Status::Applied, Status::Applying]);
        golden::check::<Plan>("restore-script", &killed);
    }
}
