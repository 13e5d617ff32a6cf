//! A tree of the machine as it is packed.

use std::path::Path;

use globset::GlobSet;

use super::{MOST_FINDINGS, PackedTree, Packs, inside};
use crate::bundle::header::Head;
use crate::bundle::path;
use crate::component::Out;
use crate::context::go_on;
use crate::finding::{Finding, Told};
use crate::tree::{Capture, Linked, Target, Walk, leaves_out};
use crate::{Error, ErrorContext, Kind, Result};

/// What the first names of files with several may take.
const LINKED: usize = 24 << 20;

impl Out {
    /// Packs a directory with all below it, as [`Self::packs`] does, under its real path: [`Stored::unpack`](super::super::Stored::unpack)
    /// must be given that. What `exclude` matches is left out: it is held against paths below the directory, and against names. What went wrong
    /// with single files is in the findings; a path of more than 3584 bytes is left out, too.
    ///
    /// # Errors
    /// Where the directory can't be read, or is the machine's root; a failure to write.
    pub async fn pack_tree(
        &self,
        path: &str,
        directory: &Path,
        exclude: Option<&GlobSet>,
    ) -> Result<(PackedTree, Vec<Finding>)> {
        let doing = || format!("pack {}", directory.display());
        let root = directory.canonicalize().context(doing)?;
        let packs = self.packs(path, inside(&root)).await?;
        let target = IntoPacks { packs, refused: Told::at_most(MOST_FINDINGS) };
        let mut capture = Capture::new(target, b"", Linked::within(LINKED), Told::at_most(MOST_FINDINGS));
        let mut walk = Walk::default();
        if !capture.entry(&root).await? {
            return Err(Error::new(Kind::Refused, doing()).because("it is no directory that can be read"));
        }
        walk.descend(&root).await.context(doing)?;
        while let Some(path) = walk.next() {
            // A million names may be left out, one after another.
            tokio::task::coop::consume_budget().await;
            go_on(&self.context.cancel).context(doing)?;
            if leaves_out(exclude, path.strip_prefix(&root).unwrap_or(&path)) {
                continue;
            }
            if capture.entry(&path).await?
                && let Err(cause) = walk.descend(&path).await
            {
                capture.unreadable(&path, &cause);
            }
        }
        finish(capture, directory).await
    }
}

async fn finish(capture: Capture<IntoPacks<'_>>, directory: &Path) -> Result<(PackedTree, Vec<Finding>)> {
    let (mut findings, apart) = (capture.told.into_findings(), capture.linked.apart);
    findings.extend(capture.target.refused.into_findings());
    if apart > 0 {
        let message = format!(
            "{apart} names of files that have several could not be remembered, as there are more than memory has room for: \
             other names of the same files may be stored as files of their own"
        );
        findings.push(Finding::warning("names-apart", directory.display().to_string(), message));
    }
    Ok((capture.target.packs.finish().await?, findings))
}

/// Packs as what entries are captured into.
struct IntoPacks<'o> {
    packs: Packs<'o>,
    refused: Told,
}

impl Target for IntoPacks<'_> {
    async fn take<F>(&mut self, head: Head, fill: F) -> Result<bool>
    where
        F: FnMut(&mut Vec<u8>, usize) -> Result<()> + Send,
    {
        let shown = format!("/{}", path::to_text(&head.path));
        match self.packs.add(head, fill).await {
            Ok(()) => Ok(true),
            // What no reader would take is no reason to have no backup of all else.
            Err(error) if error.kind() == Kind::Refused => {
                let finding = Finding::from_error("file-refused", shown, &error);
                self.refused.tell(finding.at_most(crate::finding::Severity::Warning));
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}
