//! Where the journals of one kind of plan are kept.

use std::fs;
use std::path::{Path, PathBuf};

use super::head::{Head, Recipe};
use super::journal::Journal;
use crate::lock::Lock;
use crate::{ErrorContext, Result, state};

/// How the name of a journal ends.
const SUFFIX: &str = ".journal";

/// A directory of journals, locked: no other plan of its kind runs on this machine meanwhile.
pub struct Shelf {
    directory: PathBuf,
    _lock: Lock,
}

impl Shelf {
    /// Opens it, making it where it is missing; `held` says who has it where somebody else does.
    ///
    /// # Errors
    /// [`crate::Kind::Locked`] where another plan of its kind is at work.
    pub fn open(directory: PathBuf, held: &str) -> Result<Self> {
        let lock = state::open_locked(&directory, "the journals' directory", held)?;
        Ok(Self { directory, _lock: lock })
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Begins a plan's journal.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn create<P: Recipe>(&self, head: &Head<P>) -> Result<Journal> {
        // Names are in the order of time, and two in one second have two.
        let name = format!("{}{SUFFIX}", head.created.format("%Y%m%dT%H%M%S%.6fZ"));
        Journal::create(&self.directory.join(name), head)
    }

    /// Paths of all journals in a directory, oldest first; those of older plans may end in `superseded`, too.
    ///
    /// # Errors
    /// Where it can't be read.
    pub fn paths(directory: &Path, superseded: Option<&str>) -> Result<Vec<PathBuf>> {
        let doing = || format!("read the journals in {}", directory.display());
        let mut paths = Vec::new();
        for entry in fs::read_dir(directory).context(doing)? {
            let entry = entry.context(doing)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_one = [Some(SUFFIX), superseded].into_iter().flatten().any(|suffix| name.ends_with(suffix));
            if is_one && !name.starts_with('.') {
                paths.push(entry.path());
            }
        }
        paths.sort();
        Ok(paths)
    }

    /// Whether a journal is of no older plan.
    pub fn is_current(path: &Path) -> bool {
        path.extension().is_some_and(|extension| extension == &SUFFIX[1..])
    }
}
