//! Where hard links lead, as long as a tree is verified.

use std::hash::{BuildHasher, RandomState};

use tokio_util::sync::CancellationToken;

use super::index::{Index, Said};
use super::reading::Source;
use crate::bundle::header::{EntryKind, Head};
use crate::context::go_on;
use crate::{Error, Kind, Result};

/// More files than these are not verified: eight bytes each, and up to as many again while links are gathered, are 256 MiB.
const MOST: usize = 16 << 20;
/// So many are gathered at least before those that came twice are left out.
const GATHERED: usize = 1 << 16;

/// Where hard links lead, as eight bytes each, whether or not that was met.
pub(super) struct LinkTargets {
    hasher: RandomState,
    targets: Vec<u64>,
    /// So many are gathered before those that came twice are left out again.
    room: usize,
    most: usize,
    met: Vec<bool>,
}

impl Default for LinkTargets {
    fn default() -> Self {
        Self::at_most(MOST)
    }
}

impl LinkTargets {
    fn at_most(most: usize) -> Self {
        Self { hasher: RandomState::new(), targets: Vec::new(), room: GATHERED, most, met: Vec::new() }
    }

    /// Reads the index for them, before anything else.
    pub(super) fn read(&mut self, source: &impl Source, cancel: &CancellationToken) -> Result<()> {
        let mut index = Index::open(source.index()?)?;
        while let Said::Entry(line) = index.next()? {
            go_on(cancel)?;
            if let Ok(Head { kind: EntryKind::Hardlink(target), .. }) = line.head() {
                self.gather(&target)?;
            }
        }
        self.sort()?;
        self.met = vec![false; self.targets.len()];
        Ok(())
    }

    fn gather(&mut self, target: &[u8]) -> Result<()> {
        if self.targets.len() == self.room {
            self.sort()?;
            self.room = (2 * self.targets.len()).max(GATHERED);
            self.targets.reserve_exact(self.room - self.targets.len());
        }
        self.targets.push(self.hasher.hash_one(target));
        Ok(())
    }

    fn sort(&mut self) -> Result<()> {
        self.targets.sort_unstable();
        self.targets.dedup();
        match self.targets.len() <= self.most {
            true => Ok(()),
            false => {
                let message = format!("verify packs: hard links lead to more than {} files", self.most);
                Err(Error::new(Kind::Unsupported, message).hint("unpack them: that holds them against the index, too"))
            }
        }
    }

    /// An entry that a hard link may lead to.
    pub(super) fn meet(&mut self, path: &[u8]) {
        if let Ok(at) = self.targets.binary_search(&self.hasher.hash_one(path)) {
            self.met[at] = true;
        }
    }

    /// How many were not met.
    pub(super) fn missing(&self) -> usize {
        self.met.iter().filter(|met| !**met).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_grows_with_files_and_not_with_links_and_has_an_end() {
        let mut linked = LinkTargets::default();
        for number in 0..20 * GATHERED {
            linked.gather((number % 100).to_string().as_bytes()).expect("few files");
        }
        assert!(linked.targets.capacity() <= 2 * GATHERED, "{}", linked.targets.capacity());
        linked.sort().expect("few files");
        assert_eq!(linked.targets.len(), 100);
        let mut linked = LinkTargets::at_most(GATHERED);
        let refused = (0..).find_map(|number: usize| linked.gather(number.to_string().as_bytes()).err());
        assert_eq!(refused.expect("it ends").kind(), Kind::Unsupported);
        assert!(linked.targets.len() <= 2 * GATHERED);
    }
}
