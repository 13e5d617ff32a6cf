//! What is captured of the control plane: the release, and `cluster.conf`.

use std::path::PathBuf;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::release::{Origin, Release, find};
use crate::Result;
use crate::bundle::manifest::Announced;
use crate::bundle::manifest::control_plane::Lying;
use crate::component::{ByHand, Captured, Captures, Look, Named, Out, Ready, Said};
use crate::finding::Finding;
use crate::names::ComponentId;

/// The control plane of this machine.
pub(crate) struct ControlPlane {
    id: ComponentId,
    conf: Conf,
    release: Option<Origin>,
}

/// A `cluster.conf`, as it was read.
#[derive(Clone)]
struct Conf {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl ControlPlane {
    /// One with this `cluster.conf`; `release` says where its release comes from.
    pub(crate) fn new(conf: PathBuf, bytes: Vec<u8>, release: Option<Origin>) -> Self {
        Self { id: ComponentId::fixed(ComponentId::CONTROL_PLANE), conf: Conf { path: conf, bytes }, release }
    }
}

impl Named for ControlPlane {
    fn id(&self) -> &ComponentId {
        &self.id
    }

    fn kind(&self) -> &'static str {
        ComponentId::CONTROL_PLANE
    }
}

impl Captures for ControlPlane {
    fn check<'a>(&'a self, look: &'a mut Look<'_>) -> BoxFuture<'a, Option<Box<dyn Ready>>> {
        async {
            let release = look.findings.keep("release", "release", find(self.release.as_ref()).await)?;
            let message = format!("{} ({})", release.version, release.origin);
            look.findings.all.push(Finding::ok("release", "release", message));
            Some(Box::new(ReadyControlPlane { conf: self.conf.clone(), release }) as Box<dyn Ready>)
        }
        .boxed()
    }
}

struct ReadyControlPlane {
    conf: Conf,
    release: Release,
}

impl Ready for ReadyControlPlane {
    fn size(&self) -> u64 {
        0
    }

    fn by_hand(&self, _: &str) -> ByHand {
        ByHand::also(
            "cluster.conf is the configuration of the cluster, byte for byte. release.json names the release that ran.",
        )
    }

    fn has_section(&self) -> bool {
        false
    }

    fn announce(&self, announced: &mut Announced) {
        let source = &mut announced.source;
        source.release = Some(self.release.version.clone());
        source.cluster_conf = self.conf.path.canonicalize().ok().filter(|path| path.to_str().is_some());
        source.cluster_conf_lying = Lying::of(&self.conf.path);
    }

    fn capture<'a>(self: Box<Self>, out: &'a Out) -> BoxFuture<'a, Result<Captured>> {
        async move {
            out.add_json("release.json", &self.release).await?;
            out.add("cluster.conf", &self.conf.bytes).await?;
            Ok(Captured { said: Said::nothing(), findings: Vec::new() })
        }
        .boxed()
    }
}
