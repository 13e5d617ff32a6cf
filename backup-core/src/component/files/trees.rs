//! The files and directories of a control plane that are captured.

use std::io;
use std::path::Path;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rustix::fs::{Access, access};

use super::capture::{Tree, capture};
use crate::component::{ByHand, Captured, Captures, Look, Named, Out, Ready, Said};
use crate::finding::{Finding, Findings};
use crate::names::ComponentId;
use crate::{Error, Kind, Result};

/// Trees that are captured.
pub(crate) struct Trees {
    id: ComponentId,
    trees: Vec<Tree>,
}

impl Trees {
    /// These.
    pub(crate) fn new(trees: Vec<Tree>) -> Self {
        Self { id: ComponentId::fixed(ComponentId::FILES), trees }
    }
}

impl Named for Trees {
    fn id(&self) -> &ComponentId {
        &self.id
    }

    fn kind(&self) -> &'static str {
        ComponentId::FILES
    }
}

impl Captures for Trees {
    fn check<'a>(&'a self, look: &'a mut Look<'_>) -> BoxFuture<'a, Option<Box<dyn Ready>>> {
        self.trees.iter().for_each(|tree| look_at(&tree.path, look.findings));
        let ready: Box<dyn Ready> = Box::new(ReadyTrees(self.trees.clone()));
        async { Some(ready) }.boxed()
    }
}

fn look_at(path: &Path, findings: &mut Findings) {
    let shown = path.display().to_string();
    if let Err(cause) = access(path, Access::READ_OK) {
        let error = Error::new(Kind::Failed, format!("read {shown}")).because(io::Error::from(cause));
        findings.keep::<()>(
            "files",
            &shown,
            Err(error.hint("correct [[files]] in the settings, or run as a user that may read it")),
        );
    } else {
        findings.all.push(Finding::ok("files", shown, "can be read"));
    }
}

struct ReadyTrees(Vec<Tree>);

impl Ready for ReadyTrees {
    fn size(&self) -> u64 {
        0
    }

    fn by_hand(&self, bundle: &str) -> ByHand {
        if self.0.is_empty() {
            return ByHand::default();
        }
        // Copied from the unpacked tree, files would take the owner and mode that it has on `/` and `/home` along.
        let text = format!(
            "Put the files back. They stand below files/, under their old paths. Unpack them as root, straight from the\n\
             archive: existing directories keep their owner and mode. Files of the same names are replaced:\n\n    \
             tar xzpf {bundle}.tgz -C / --strip-components=2 --no-overwrite-dir {bundle}/files"
        );
        ByHand { first: true, ..ByHand::also(text) }
    }

    fn has_section(&self) -> bool {
        false
    }

    fn capture<'a>(self: Box<Self>, out: &'a Out) -> BoxFuture<'a, Result<Captured>> {
        async move {
            let findings = capture(&self.0, out.writer(), &out.context).await?;
            Ok(Captured { said: Said::nothing(), findings })
        }
        .boxed()
    }
}
