//! What does not agree between packs and index.

use std::hash::{BuildHasher, RandomState};

use tokio_util::sync::CancellationToken;

use super::MOST_FINDINGS;
use super::index::{Index, Said};
use super::reading::{Source, Visitor, read};
use crate::bundle::header::{EntryKind, Head};
use crate::finding::{Finding, Told};
use crate::{Context, Error, Kind, Result};

/// Reads all packs with the index; returns what is damaged. A pack that can't be read any further is left for the next one.
///
/// # Errors
/// Where they can't be read.
pub(super) fn verify(source: &impl Source, context: &Context) -> Result<Vec<Finding>> {
    let mut verify = Verify { told: Told::at_most(MOST_FINDINGS), linked: Linked::default() };
    match verify.all(source, &context.cancel) {
        Ok(()) => {}
        Err(error) if error.kind() == Kind::Damaged => verify.damaged(error)?,
        Err(error) => return Err(error),
    }
    Ok(verify.told.into_findings())
}

struct Verify {
    told: Told,
    linked: Linked,
}

impl Verify {
    fn all(&mut self, source: &impl Source, cancel: &CancellationToken) -> Result<()> {
        self.linked.read(source, cancel)?;
        read(source, self, cancel)?;
        let missing = self.linked.missing();
        if missing > 0 {
            return Err(Error::new(Kind::Damaged, format!("hard links lead to no file of the tree: {missing}")));
        }
        Ok(())
    }
}

impl Visitor for Verify {
    fn begin(&mut self, head: &Head) -> Result<()> {
        if matches!(head.kind, EntryKind::File | EntryKind::Sparse(_)) {
            self.linked.meet(&head.path);
        }
        Ok(())
    }

    fn content(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }

    fn end(&mut self, _: &Head) -> Result<()> {
        Ok(())
    }

    fn damaged(&mut self, error: Error) -> Result<()> {
        self.told.tell(Finding::from_error("damaged", "packs", &error));
        Ok(())
    }
}

/// Where hard links lead, as eight bytes each, whether or not that was met.
#[derive(Default)]
struct Linked {
    hasher: RandomState,
    targets: Vec<u64>,
    met: Vec<bool>,
}

impl Linked {
    /// Reads the index for them, before anything else.
    fn read(&mut self, source: &impl Source, cancel: &CancellationToken) -> Result<()> {
        let mut index = Index::open(source.index()?)?;
        while let Said::Entry(line) = index.next()? {
            if cancel.is_cancelled() {
                return Err(Error::new(Kind::Interrupted, "interrupted before all packs were read"));
            }
            if let Ok(Head { kind: EntryKind::Hardlink(target), .. }) = line.head() {
                self.targets.push(self.hasher.hash_one(target.as_slice()));
            }
        }
        self.targets.sort_unstable();
        self.targets.dedup();
        self.met = vec![false; self.targets.len()];
        Ok(())
    }

    fn meet(&mut self, path: &[u8]) {
        if let Ok(at) = self.targets.binary_search(&self.hasher.hash_one(path)) {
            self.met[at] = true;
        }
    }

    fn missing(&self) -> usize {
        self.met.iter().filter(|met| !**met).count()
    }
}
