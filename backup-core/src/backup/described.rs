//! What a bundle says of itself and of where it came from.

use serde::Serialize;

use super::{Ready, Request, Settings};
use crate::bundle::FORMAT_OF_SECTIONS;
use crate::bundle::manifest::{Announced, Source};
use crate::cluster::hosts::own_addresses;
use crate::names::{BundleName, ComponentId};
use crate::{Context, TOOL};

/// What is known before anything is captured.
pub(super) fn announced(settings: &Settings, request: &Request, ready: &Ready, context: &Context) -> Announced {
    let standing = ready.standing.as_ref();
    let mut announced = Announced::of(Source {
        group: request.series.group.clone(),
        partial: request.is_partial(),
        host: context.environment.host.clone(),
        cluster: settings.cluster.cluster_name.clone(),
        ownership: standing.map(|standing| standing.ownership()),
        addresses: own_addresses(),
        ssh_port: standing.map(|_| settings.remote.login.port),
        ..Source::default()
    });
    ready.announce(&mut announced);
    announced
}

impl Ready {
    /// Says what its components will bring.
    pub fn announce(&self, announced: &mut Announced) {
        for component in &self.components {
            if component.ready.has_section() {
                announced.components.push(component.id.clone());
                announced.at_least(FORMAT_OF_SECTIONS);
            }
            component.ready.announce(announced);
        }
    }
}

/// What `bundle.json` says: all that is known before anything is captured.
#[derive(Serialize)]
pub(super) struct Beginning<'b> {
    format: u32,
    tool: &'b str,
    name: String,
    created: chrono::DateTime<chrono::Utc>,
    source: &'b Source,
    databases: &'b [String],
    #[serde(skip_serializing_if = "<[ComponentId]>::is_empty")]
    components: &'b [ComponentId],
}

impl<'b> Beginning<'b> {
    /// Of a bundle with this name.
    pub(super) fn of(name: &BundleName, announced: &'b Announced) -> Self {
        let Announced { format, source, databases, components } = announced;
        Self {
            format: *format,
            tool: TOOL,
            name: name.to_string(),
            created: name.time(),
            source,
            databases,
            components,
        }
    }
}
