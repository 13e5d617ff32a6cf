//! What a restore is made of: a bundle, or the pair of files that the manual procedure makes. Nobody else asks which.

mod bundle;
mod pair;

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{Request, Settings};
use crate::bundle::manifest::control_plane::Host;
use crate::bundle::manifest::{Section, Source as From};
use crate::bundle::reader::OpenBundle;
use crate::component::{Stored, files, postgres};
use crate::digest::Sha256Digest;
use crate::finding::Findings;
use crate::signing::Origin;
use crate::{Context, Result};
pub(super) use bundle::look_at_bundle;
use pair::{PairFiles, look_at_pair};

/// What a restore is made of, and what it says of itself. A pair says hardly anything.
pub(super) struct Source {
    /// The bundle's name, or the script's.
    pub(super) name: String,
    /// What tells it from every other one.
    pub(super) sha256: Sha256Digest,
    /// Where it came from.
    pub(super) from: From,
    /// The cluster's hosts as they were.
    pub(super) hosts: Vec<Host>,
    /// Whether a component's databases alone are in it, and no orchestrator.
    pub(super) is_of_component: bool,
    /// The time that its databases are of, if it says.
    pub(super) state_of: Option<DateTime<Utc>>,
    /// What databases are made of.
    pub(super) databases: Arc<dyn postgres::Made>,
    /// What files are made of.
    pub(super) files: files::Source,
    /// Other components.
    pub(super) sections: Vec<Section>,
    /// What these are read from.
    bundle: Option<Arc<OpenBundle>>,
}

impl Source {
    /// What it has of a component.
    pub(super) fn stored(&self, section: &Section) -> Option<Stored> {
        Some(Stored::new(section.clone(), self.bundle.clone()?))
    }

    /// What lies where a plan says, or where that is now, to go on with it.
    ///
    /// # Errors
    /// Where it can't be read.
    pub(super) async fn open(
        file: &Path,
        cluster_conf: Option<&Path>,
        settings: &Settings,
        context: &Context,
    ) -> Result<Self> {
        let Some(cluster_conf) = cluster_conf else {
            return settings.access.open(file, context).await.map(|bundle| Self::of_bundle(&Arc::new(bundle)));
        };
        let pair = PairFiles {
            sql: file.into(),
            cluster_conf: cluster_conf.into(),
            database: None,
            place: None,
            bin_dir: settings.bin_dir.clone(),
        };
        pair.read(context, Arc::default()).await.map(|(source, _)| source)
    }
}

/// Looks at what is to be restored: every byte of a bundle, or a script to its end.
pub(super) async fn look(
    request: &Request,
    settings: &Settings,
    findings: &mut Findings,
    context: &Context,
) -> Option<(Source, Origin)> {
    match &request.cluster_conf {
        Some(cluster_conf) => {
            let source = look_at_pair(cluster_conf, request, settings, findings, context).await?;
            Some((source, Origin::Unknown))
        }
        None => {
            let (bundle, origin) = look_at_bundle(&request.file, &settings.access, findings, context).await?;
            Some((Source::of_bundle(&bundle), origin))
        }
    }
}
