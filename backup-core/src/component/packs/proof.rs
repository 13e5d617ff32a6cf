//! What proves an entry's content.

use sha2::{Digest, Sha256};

use crate::Result;
use crate::bundle::expanded::{Expanded, Expanding, STEP};
use crate::bundle::header::{EntryKind, Head};
use crate::digest::Sha256Digest;

/// What proves an entry's content; nothing where it has none by its kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Proof {
    pub(super) sha256: Option<Sha256Digest>,
    pub(super) expanded: Option<Expanded>,
}

/// Digests of content that passes.
pub(super) struct Proving {
    digest: Sha256,
    expanding: Option<Expanding>,
    has_content: bool,
}

impl Proving {
    /// Of an entry with this header.
    pub(super) fn of(head: &Head) -> Self {
        let has_content = matches!(head.kind, EntryKind::File | EntryKind::Sparse(_));
        Self { digest: Sha256::new(), expanding: Expanding::of(&head.kind), has_content }
    }

    /// How much content it should be given at once.
    pub(super) fn step(&self) -> usize {
        if self.expanding.is_some() { STEP } else { usize::MAX }
    }

    /// Takes the next part of the content as it is stored.
    ///
    /// # Errors
    /// [`crate::Kind::Damaged`] where the map of a file with holes is malformed.
    pub(super) fn take(&mut self, content: &[u8]) -> Result<()> {
        self.digest.update(content);
        self.expanding.as_mut().map_or(Ok(()), |expanding| expanding.take(content))
    }

    /// What all of it comes to.
    ///
    /// # Errors
    /// [`crate::Kind::Damaged`] where map and data of a file with holes don't match.
    pub(super) fn finish(self) -> Result<Proof> {
        let sha256 = self.has_content.then(|| Sha256Digest(self.digest.finalize().into()));
        Ok(Proof { sha256, expanded: self.expanding.map(Expanding::finish).transpose()? })
    }
}
