//! What a bundle says of itself and of where it came from.

use serde::Serialize;

use super::{Ready, Request, Settings};
use crate::bundle::manifest::{Lying, Server, Source};
use crate::bundle::{FORMAT, FORMAT_OF_MONEY, FORMAT_OF_SECTIONS};
use crate::cluster::hosts::own_addresses;
use crate::component::postgres::DatabaseFacts;
use crate::context::Context;
use crate::{ErrorContext, Result};

pub(super) fn source(settings: &Settings, request: &Request, ready: &Ready, context: &Context) -> Source {
    let orchestrator = ready.orchestrator.as_ref();
    let cluster_conf = orchestrator.and_then(|_| settings.cluster_conf.canonicalize().ok());
    Source {
        group: request.series.group.clone(),
        partial: request.is_partial(),
        host: context.environment.host.clone(),
        cluster: settings.cluster.cluster_name.clone(),
        ownership: orchestrator.map(|orchestrator| orchestrator.standing.ownership()),
        cluster_conf_lying: orchestrator.and_then(|_| Lying::of(&settings.cluster_conf)),
        cluster_conf: cluster_conf.filter(|path| path.to_str().is_some()),
        addresses: own_addresses(),
        ssh_port: orchestrator.map(|_| settings.remote.login.port),
        release: orchestrator.map(|orchestrator| orchestrator.release.version.clone()),
        postgres: Some(Server {
            version: ready.postgres.server.version.clone(),
            version_number: ready.postgres.server.number,
            pg_dump: ready.postgres.tools.version.clone(),
            standby: ready.postgres.server.standby,
            preload: ready.postgres.server.preload.clone(),
        }),
    }
}

/// The lowest format that says all. Readers of the first format take amounts of money to be written as the server that they restore into would write them,
/// and would get those wrong that the source wrote otherwise.
pub(super) fn format(databases: &[DatabaseFacts], has_components: bool) -> u32 {
    let alike = |facts: &DatabaseFacts| {
        let locale = facts.session.get("lc_monetary").map(String::as_str).unwrap_or_default();
        ["C", "POSIX"].contains(&locale) || ["C.", "en_US"].iter().any(|start| locale.starts_with(start))
    };
    if has_components {
        return FORMAT_OF_SECTIONS;
    }
    match databases.iter().all(|facts| !facts.money || alike(facts)) {
        true => FORMAT,
        false => FORMAT_OF_MONEY,
    }
}

/// What `bundle.json` says: all that is known before anything is captured.
#[derive(Serialize)]
pub(super) struct Beginning<'b> {
    pub(super) format: u32,
    pub(super) tool: &'b str,
    pub(super) name: String,
    pub(super) created: chrono::DateTime<chrono::Utc>,
    pub(super) source: Source,
    pub(super) databases: Vec<&'b str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) components: Vec<&'b str>,
}

pub(super) fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(value).context(|| "write JSON".into())?;
    text.push(b'\n');
    Ok(text)
}
