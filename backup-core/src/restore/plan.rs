//! What a restore will do, as it stands in its journal: all that its steps are made of, and nothing secret.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Shown, format_1};
use crate::bundle::manifest::Host;
use crate::component::files::{Placement, place_id};
use crate::component::postgres::{Planned, Recipe, swap_id};
use crate::digest::Sha256Digest;
use crate::names::{ComponentId, FileName, StepId};
use crate::{Result, plan, shell};

/// A restore, decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The bundle's file, or the script.
    pub file: PathBuf,
    /// The bundle's name, or the script's.
    pub bundle: String,
    /// The `cluster.conf` that goes with a script; none where there is a bundle.
    pub cluster_conf: Option<PathBuf>,
    /// Digest of the bundle's manifest as it stands in the file, or of the pair.
    #[serde(alias = "manifest_sha256")]
    pub sha256: Sha256Digest,
    /// The PostgreSQL server's own identifier, where there are databases.
    pub server: Option<String>,
    /// Roles that it has not and that are made.
    pub roles: Vec<String>,
    /// The databases.
    pub databases: Vec<Planned>,
    /// Files.
    pub files: Vec<Placement>,
    /// Other components.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PlannedPart>,
    /// Connections that load rows at once.
    pub jobs: usize,
    /// Hosts of the cluster that were down when the restore began.
    pub hosts_down: Vec<String>,
    /// The port that hosts take SSH connections on.
    pub ssh_port: u16,
    /// Who the hosts are: as the bundle has them, and as they are where another key was accepted. None where the restore is
    /// no concern of theirs.
    #[serde(default)]
    pub hosts: Option<Vec<Host>>,
    /// Objects of databases without which they may come back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accept_missing: Vec<String>,
    /// Whether it is of another cluster than this machine, as far as that is known; the operator has accepted it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub foreign: bool,
    /// What was shown of who owns the cluster.
    #[serde(default)]
    pub ownership: Option<Shown>,
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

    fn check_names(&self) -> Result<()> {
        self.files.iter().try_for_each(Placement::check_names)?;
        self.databases.iter().try_for_each(Planned::check_names)
    }
}

impl Plan {
    /// What steps aside, and the name that it gets.
    pub fn stepping_aside(&self) -> Vec<(String, String)> {
        let databases = self.databases.iter().map(|planned| &planned.names);
        let databases = databases.filter_map(|names| Some((names.name.clone(), names.before.clone()?)));
        let shown = |path: &Path| path.display().to_string();
        let files = self.files.iter().filter_map(|file| Some((shown(&file.place), shown(file.before.as_ref()?))));
        let parts = self.parts.iter().flat_map(|part| part.aside.clone());
        databases.chain(files).chain(parts).collect()
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
        let parts = self.parts.iter().flat_map(|part| &part.live).cloned();
        [swap_id(), place_id()].into_iter().chain(parts)
    }

    /// Where a `cluster.conf` goes, if one does.
    pub(super) fn cluster_conf_place(&self) -> Option<&Path> {
        let is_conf = |file: &&Placement| file.entry == "cluster.conf" || file.place.ends_with("cluster.conf");
        self.files.iter().find(is_conf).map(|file| file.place.as_path())
    }

    /// Names of the databases, places of the files, and what other components bring.
    pub fn brings(&self) -> Vec<String> {
        let databases = self.databases.iter().map(|planned| planned.names.name.clone());
        let files = self.files.iter().map(|file| file.place.display().to_string());
        databases.chain(files).chain(self.parts.iter().flat_map(|part| part.brings.clone())).collect()
    }

    /// Whether nothing is restored.
    pub(super) fn is_empty(&self) -> bool {
        self.databases.is_empty() && self.files.is_empty() && self.parts.is_empty()
    }

    /// What the steps of its databases are made of, where it has any.
    pub(super) fn postgres(&self) -> Option<Recipe> {
        Some(Recipe {
            server: self.server.clone()?,
            roles: self.roles.clone(),
            databases: self.databases.clone(),
            accept_missing: self.accept_missing.clone(),
            of_script: self.cluster_conf.is_some(),
        })
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
