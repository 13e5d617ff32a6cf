//! A tree of the machine as it is packed.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use globset::GlobSet;

use super::{MOST_FINDINGS, Packed, Packs};
use crate::bundle::header::Head;
use crate::bundle::path;
use crate::component::Out;
use crate::finding::{Finding, Told};
use crate::tree::{Capture, Linked, Target, Walk};
use crate::{Error, ErrorContext, Kind, Result};

/// What the first names of files with several may take.
const LINKED: usize = 24 << 20;

impl Out {
    /// Packs a directory with all below it, as [`Self::packs`] does, from its real path. What `exclude` matches is left out: it is held
    /// against paths below the directory, and against names. What went wrong with single files is in the findings.
    ///
    /// # Errors
    /// Where the directory can't be read, or is the machine's root; a failure to write.
    pub async fn pack_tree(
        &self,
        path: &str,
        directory: &Path,
        exclude: Option<&GlobSet>,
    ) -> Result<(Packed, Vec<Finding>)> {
        let doing = || format!("pack {}", directory.display());
        let root = directory.canonicalize().context(doing)?;
        let inside = root.as_os_str().as_bytes();
        let packs = self.packs(path, inside.strip_prefix(b"/").unwrap_or(inside)).await?;
        let target = Into { packs, refused: Told::at_most(MOST_FINDINGS) };
        let mut capture = Capture::new(target, b"", Linked::within(LINKED), Told::at_most(MOST_FINDINGS));
        let mut walk = Walk::default();
        if !capture.entry(&root).await? {
            return Err(Error::new(Kind::Refused, doing()).because("it is no directory that can be read"));
        }
        walk.descend(&root).context(doing)?;
        while let Some(path) = walk.next() {
            let (below, name) = (path.strip_prefix(&root).unwrap_or(&path), path.file_name().unwrap_or_default());
            if exclude.is_some_and(|glob| glob.is_match(below) || glob.is_match(name)) {
                continue;
            }
            if capture.entry(&path).await?
                && let Err(cause) = walk.descend(&path)
            {
                capture.unreadable(&path, &cause);
            }
        }
        finish(capture, directory).await
    }
}

async fn finish(capture: Capture<Into<'_>>, directory: &Path) -> Result<(Packed, Vec<Finding>)> {
    let (mut findings, apart) = (capture.told.into_findings(), capture.linked.apart);
    findings.extend(capture.target.refused.into_findings());
    if apart > 0 {
        let message = format!(
            "{apart} files with several names are stored once for each name: there are more of them than memory has room for"
        );
        findings.push(Finding::warning("names-apart", directory.display().to_string(), message));
    }
    Ok((capture.target.packs.finish().await?, findings))
}

/// Packs as what entries are captured into.
struct Into<'o> {
    packs: Packs<'o>,
    refused: Told,
}

impl Target for Into<'_> {
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
