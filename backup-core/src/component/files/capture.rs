//! Files and directories under their own paths: each is an entry of the bundle.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use globset::GlobSet;
use walkdir::WalkDir;

use crate::bundle::writer::Writer;
use crate::context::Context;
use crate::finding::{Finding, Told};
use crate::tree::{Capture, Linked, leaves_out};
use crate::{ErrorContext, Result};

/// Where captured files stand in the bundle; it stands for the machine's `/`.
pub(super) const ROOT: &str = "files";

/// A path to capture with everything below it.
#[derive(Debug, Clone)]
pub struct Tree {
    /// An absolute path.
    pub path: PathBuf,
    /// What to leave out, held against paths below `path` and against names.
    pub exclude: Option<GlobSet>,
}

impl Tree {
    /// Whether a path below `path` is left out.
    pub(crate) fn leaves_out(&self, below: &Path) -> bool {
        leaves_out(self.exclude.as_ref(), below)
    }
}

/// Captures every tree into the bundle; what went wrong with single files is in the findings.
///
/// # Errors
/// Where a tree's own path can't be read, or the bundle can't be written.
pub(super) async fn capture(trees: &[Tree], writer: &Writer, context: &Context) -> Result<Vec<Finding>> {
    let capture = Capture::new(writer, ROOT.as_bytes(), Linked::unbounded(), Told::all());
    let mut captured = Trees { capture, done: HashSet::new() };
    for tree in trees {
        context.phase(format!("capture files {}", tree.path.display()));
        captured.tree(tree).await?;
    }
    Ok(captured.capture.told.into_findings())
}

struct Trees<'w> {
    capture: Capture<&'w Writer>,
    /// Paths that are in the bundle; trees may overlap.
    done: HashSet<PathBuf>,
}

impl Trees<'_> {
    async fn tree(&mut self, tree: &Tree) -> Result<()> {
        let doing = || format!("capture files {}", tree.path.display());
        // Entries stand under their real paths: none may be reached through a link that is an entry itself.
        let root = tree.path.canonicalize().context(doing)?;
        if let (Some(parent), Some(name)) = (tree.path.parent(), tree.path.file_name())
            && tree.path.is_symlink()
        {
            self.entry(&parent.canonicalize().context(doing)?.join(name)).await?;
        }
        let mut entries = WalkDir::new(&root).follow_links(false).sort_by_file_name().into_iter();
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    let path = error.path().unwrap_or(&root).to_owned();
                    let cause = error.into_io_error().unwrap_or_else(|| std::io::ErrorKind::Other.into());
                    self.capture.unreadable(&path, &cause);
                    continue;
                }
            };
            let below = entry.path().strip_prefix(&root).unwrap_or(entry.path());
            if entry.depth() > 0 && tree.leaves_out(below) {
                if entry.file_type().is_dir() {
                    entries.skip_current_dir();
                }
                continue;
            }
            self.entry(entry.path()).await?;
        }
        Ok(())
    }

    async fn entry(&mut self, path: &Path) -> Result<()> {
        if self.done.insert(path.to_owned()) {
            self.capture.entry(path).await?;
        }
        Ok(())
    }
}
