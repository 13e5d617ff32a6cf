//! A restore's plan as journals and `--json` have it: databases and files have had fields of their own there since before there were other
//! components, and keep them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Shown;
use super::plan::{Plan, PlannedPart};
use crate::bundle::manifest::control_plane::Host;
use crate::component::files::{self, Placement};
use crate::component::postgres::{Planned, Recipe};
use crate::component::{FORGED, Fitted};
use crate::digest::Sha256Digest;
use crate::names::ComponentId;
use crate::{Error, Kind, Result};

/// The plan, field by field.
#[derive(Serialize, Deserialize)]
pub(super) struct Written {
    file: PathBuf,
    bundle: String,
    cluster_conf: Option<PathBuf>,
    #[serde(alias = "manifest_sha256")]
    sha256: Sha256Digest,
    /// The PostgreSQL server's own identifier, where there are databases.
    server: Option<String>,
    /// Roles that it has not and that are made.
    roles: Vec<String>,
    databases: Vec<Planned>,
    files: Vec<Placement>,
    /// Other components.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    parts: Vec<PlannedPart>,
    /// Connections that load rows at once.
    jobs: usize,
    hosts_down: Vec<String>,
    ssh_port: u16,
    #[serde(default)]
    hosts: Option<Vec<Host>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    accept_missing: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    foreign: bool,
    #[serde(default)]
    ownership: Option<Shown>,
}

impl Written {
    /// A plan with its databases and files in their fields.
    pub(super) fn of(plan: &Plan) -> serde_json::Result<Self> {
        let plan = plan.clone();
        let (mut databases, mut files, mut parts) = (None, Vec::new(), Vec::new());
        for part in plan.parts {
            match part.kind.as_str() {
                ComponentId::POSTGRES | ComponentId::POSTGRES_SCRIPT => {
                    databases = Some(Recipe::deserialize(part.recipe)?)
                }
                ComponentId::FILES => files = Vec::deserialize(part.recipe)?,
                _ => parts.push(part),
            }
        }
        let (server, jobs) = databases.as_ref().map(|it| (it.server.clone(), it.jobs)).unzip();
        let (roles, databases) = databases.map(|it| (it.roles, it.databases)).unwrap_or_default();
        Ok(Self {
            file: plan.file,
            bundle: plan.bundle,
            cluster_conf: plan.cluster_conf,
            sha256: plan.sha256,
            server,
            roles,
            databases,
            files,
            parts,
            jobs: jobs.unwrap_or(1),
            hosts_down: plan.hosts_down,
            ssh_port: plan.ssh_port,
            hosts: plan.hosts,
            accept_missing: plan.accept_missing,
            foreign: plan.foreign,
            ownership: plan.ownership,
        })
    }
}

impl TryFrom<Written> for Plan {
    type Error = serde_json::Error;

    fn try_from(written: Written) -> serde_json::Result<Self> {
        let Written { server, roles, databases, files, jobs, cluster_conf, .. } = written;
        let kind = if cluster_conf.is_some() { ComponentId::POSTGRES_SCRIPT } else { ComponentId::POSTGRES };
        let mut parts = Vec::new();
        if let Some(server) = server.filter(|_| !databases.is_empty()) {
            let recipe = Recipe { server, roles, databases, jobs };
            let fitted = recipe.fitted();
            parts.push(part(ComponentId::POSTGRES, kind, fitted, &recipe)?);
        }
        if !files.is_empty() {
            parts.push(part(ComponentId::FILES, ComponentId::FILES, files::fitted(&files), &files)?);
        }
        parts.extend(written.parts);
        Ok(Self {
            file: written.file,
            bundle: written.bundle,
            cluster_conf,
            sha256: written.sha256,
            parts,
            hosts_down: written.hosts_down,
            ssh_port: written.ssh_port,
            hosts: written.hosts,
            accept_missing: written.accept_missing,
            foreign: written.foreign,
            ownership: written.ownership,
        })
    }
}

fn part(id: &'static str, kind: &str, fitted: Fitted, recipe: &impl Serialize) -> serde_json::Result<PlannedPart> {
    let Fitted { brings, aside, live, .. } = fitted;
    let recipe = serde_json::to_value(recipe)?;
    Ok(PlannedPart { id: ComponentId::fixed(id), kind: kind.into(), brings, aside, live, recipe })
}

/// Makes sure that the plan names what a restore names, whatever calls itself how.
///
/// # Errors
/// [`Kind::Refused`] with the name that no restore would have.
pub(super) fn check_names(plan: &Plan) -> Result<()> {
    for PlannedPart { id, kind, recipe, .. } in &plan.parts {
        let forged = || {
            let message = format!("it names {id}, of the kind {kind}, as no restore does");
            Error::new(Kind::Refused, message).hint(FORGED)
        };
        match (id.as_str(), kind.as_str()) {
            (ComponentId::POSTGRES, ComponentId::POSTGRES | ComponentId::POSTGRES_SCRIPT) => {
                Recipe::deserialize(recipe).map_err(|_| forged())?.check_names()?;
            }
            (ComponentId::FILES, ComponentId::FILES) => {
                let files: Vec<Placement> = Vec::deserialize(recipe).map_err(|_| forged())?;
                files.iter().try_for_each(Placement::check_names)?;
            }
            (id, kind) if ComponentId::FIXED.contains(&id) || ComponentId::FIXED.contains(&kind) => {
                return Err(forged());
            }
            _ => {}
        }
    }
    Ok(())
}
