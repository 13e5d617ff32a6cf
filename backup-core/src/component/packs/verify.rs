//! What does not agree between packs and index.

use tokio_util::sync::CancellationToken;

use super::MOST_FINDINGS;
use super::linked::LinkTargets;
use super::reading::{Source, Visitor, read};
use crate::bundle::header::{EntryKind, Head};
use crate::finding::{Finding, Told};
use crate::{Context, Error, Kind, Result};

/// Reads all packs with the index; returns what is damaged. A pack that can't be read any further is left for the next one.
///
/// # Errors
/// Where they can't be read.
pub(super) fn verify(source: &impl Source, context: &Context) -> Result<Vec<Finding>> {
    let mut verify = Verify { told: Told::at_most(MOST_FINDINGS), linked: LinkTargets::default() };
    match verify.all(source, &context.cancel) {
        Ok(()) => {}
        Err(error) if error.kind() == Kind::Damaged => verify.damaged(error)?,
        Err(error) => return Err(error),
    }
    Ok(verify.told.into_findings())
}

struct Verify {
    told: Told,
    linked: LinkTargets,
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
        // A link to a link is one to the file, where that one leads to it.
        if matches!(head.kind, EntryKind::File | EntryKind::Sparse(_) | EntryKind::Hardlink(_)) {
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
