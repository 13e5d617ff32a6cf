//! What a backup is made of, in the order that it is captured in.

use std::sync::Arc;

use super::{Request, Settings};
use crate::component::Captures;
use crate::component::control_plane::{ControlPlane, Origin};
use crate::component::files::Trees;
use crate::component::postgres::{Postgres, Wanted};

/// The control plane, files, PostgreSQL, and the other components of the settings; PostgreSQL alone where a component's databases are
/// backed up.
pub(super) fn components(settings: &Settings, request: &Request) -> Vec<Arc<dyn Captures>> {
    let mut all: Vec<Arc<dyn Captures>> = Vec::new();
    let whole = request.series.is_orchestrators();
    if whole {
        let release = request.release.clone().map(Origin::Given).or_else(|| settings.release.clone());
        let (path, bytes) = (settings.cluster_conf.clone(), settings.cluster_conf_bytes.clone());
        all.push(Arc::new(ControlPlane::new(path, bytes, release)));
        all.push(Arc::new(Trees::new(settings.files.clone())));
    }
    let databases = if request.databases.is_empty() { &settings.databases } else { &request.databases };
    let server = settings.postgres(databases);
    let jobs = request.jobs.unwrap_or(server.jobs);
    all.push(Arc::new(Postgres::new(Wanted { jobs, ..server })));
    if whole && !request.is_partial() {
        all.extend(settings.components.iter().map(|component| component.clone() as Arc<dyn Captures>));
    }
    all
}
