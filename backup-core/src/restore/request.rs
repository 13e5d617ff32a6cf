//! What is asked of a restore.

use std::path::{Path, PathBuf};

use crate::cluster::hosts::Allowed;
use crate::component::control_plane::Origin;
use crate::component::files;
use crate::component::postgres::Asked;
use crate::names::ComponentId;

/// What is asked for beside the settings.
#[derive(Debug)]
pub struct Request {
    /// The bundle; or a script in `pg_dump`'s plain format.
    pub file: PathBuf,
    /// The `cluster.conf` that goes with a script; a bundle has its own.
    pub cluster_conf: Option<PathBuf>,
    /// The one component that is asked for, where it is not all.
    pub only: Option<Component>,
    /// What stands for `/` where files are put.
    pub root: PathBuf,
    /// Databases, each with another name where it is to have one; empty for all of the bundle's.
    pub databases: Vec<(String, Option<String>)>,
    /// Connections that load rows at once.
    pub jobs: Option<usize>,
    /// Objects of databases without which they may come back, should the server refuse them.
    pub accept_missing: Vec<String>,
    /// The release of this machine.
    pub release: Option<Origin>,
    /// Findings about hosts that the operator takes upon himself.
    pub allowed: Allowed,
    /// The cluster that it may be of, whatever cluster this machine is of.
    pub accept_cluster: Option<String>,
    /// Roles that the bundle may make although they can do more than databases' owners may.
    pub allow_superuser: Vec<String>,
    /// Whether client programs may be used that a bundle of somebody unknown could turn against us.
    pub allow_old_clients: bool,
    /// The port that hosts take SSH connections on, whatever the settings and the bundle say.
    pub ssh_port: Option<u16>,
}

/// A part of a bundle that can be restored alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Component {
    /// PostgreSQL's databases and roles.
    Databases,
    /// Captured files, and `cluster.conf`.
    Files,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            file: PathBuf::new(),
            cluster_conf: None,
            only: None,
            root: "/".into(),
            databases: Vec::new(),
            jobs: None,
            accept_missing: Vec::new(),
            release: None,
            allowed: Allowed::default(),
            accept_cluster: None,
            allow_superuser: Vec::new(),
            allow_old_clients: false,
            ssh_port: None,
        }
    }
}

impl Request {
    /// What is asked of the databases; `proved` is whether somebody known made what is restored.
    pub(super) fn of_databases(&self, proved: bool) -> Asked {
        Asked {
            databases: self.databases.clone(),
            allow_superuser: self.allow_superuser.clone(),
            allow_old_clients: self.allow_old_clients,
            proved,
        }
    }

    /// What kind of databases it is of.
    pub(super) fn kind_of_databases(&self) -> &'static str {
        if self.cluster_conf.is_some() { ComponentId::POSTGRES_SCRIPT } else { ComponentId::POSTGRES }
    }

    /// What is asked of the files; `settings_conf` is where the settings read `cluster.conf`.
    pub(super) fn of_files(&self, settings_conf: Option<&Path>) -> files::Asked {
        files::Asked {
            root: self.root.clone(),
            file: self.file.clone(),
            conf_given: self.cluster_conf.is_some(),
            settings_conf: settings_conf.map(Into::into),
            other_cluster: self.accept_cluster.is_some(),
        }
    }

    /// Whether files go to their own places.
    pub(super) fn is_in_place(&self) -> bool {
        self.root == Path::new("/")
    }

    pub(super) fn databases_wanted(&self) -> bool {
        self.only != Some(Component::Files)
    }

    /// Who names databases of a bundle wants those alone; a script's database must be named if it is not the usual one.
    pub(super) fn files_wanted(&self) -> bool {
        let all = self.databases.is_empty() || self.cluster_conf.is_some();
        self.only == Some(Component::Files) || (self.only.is_none() && all)
    }

    /// Who names databases, or one kind of all, wants those alone.
    pub(super) fn parts_wanted(&self) -> bool {
        self.only.is_none() && self.databases.is_empty() && self.is_in_place()
    }
}
