//! Files with several names: the first one that was met is where the others lead.

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// What a name takes beside its bytes.
const EACH: usize = 64;

/// The first names of files that have several, in bounded memory where that is asked for.
pub(crate) struct Linked {
    names: HashMap<(u64, u64), Name>,
    bytes: usize,
    most: Option<usize>,
    /// Names that were met when there was no room to remember them: what was met later of the same files may be stored as files of their own.
    pub(crate) apart: u64,
}

struct Name {
    path: Vec<u8>,
    seen: u64,
}

impl Linked {
    /// Of any number.
    pub(crate) fn unbounded() -> Self {
        Self { names: HashMap::new(), bytes: 0, most: None, apart: 0 }
    }

    /// In at most some `most` bytes. A file whose names have all been met is forgotten; more than there is room for are not remembered.
    pub(crate) fn within(most: usize) -> Self {
        Self { most: Some(most), ..Self::unbounded() }
    }

    /// The first name of a file, if it was met before.
    pub(crate) fn first(&mut self, metadata: &Metadata) -> Option<Vec<u8>> {
        if metadata.nlink() < 2 {
            return None;
        }
        let identity = (metadata.dev(), metadata.ino());
        let name = self.names.get_mut(&identity)?;
        name.seen += 1;
        if self.most.is_none() || name.seen < metadata.nlink() {
            return Some(name.path.clone());
        }
        let name = self.names.remove(&identity)?;
        self.bytes -= name.path.len() + EACH;
        Some(name.path)
    }

    /// Remembers where a file was met first.
    pub(crate) fn remember(&mut self, metadata: &Metadata, path: &[u8]) {
        if metadata.nlink() < 2 {
            return;
        }
        let taken = path.len() + EACH;
        if self.most.is_some_and(|most| self.bytes + taken > most) {
            self.apart += 1;
            return;
        }
        self.bytes += taken;
        self.names.insert((metadata.dev(), metadata.ino()), Name { path: path.to_vec(), seen: 1 });
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_forgotten_once_all_its_names_were_met_and_where_there_is_no_room() {
        let place = tempfile::tempdir().expect("a directory");
        let path = |name: &str| place.path().join(name);
        for name in ["a", "b", "single"] {
            fs::write(path(name), "").expect("written");
        }
        for (name, other) in [("a", "a2"), ("a", "a3"), ("b", "b2")] {
            fs::hard_link(path(name), path(other)).expect("a link");
        }
        let of = |name: &str| path(name).metadata().expect("there");
        let mut linked = Linked::within(EACH + 3);
        linked.remember(&of("single"), b"single");
        linked.remember(&of("a"), b"a");
        linked.remember(&of("b"), b"b");
        assert_eq!((linked.apart, linked.first(&of("b2")), linked.first(&of("single"))), (1, None, None));
        assert_eq!([linked.first(&of("a2")), linked.first(&of("a3"))], [Some(b"a".to_vec()), Some(b"a".to_vec())]);
        assert_eq!((linked.bytes, linked.names.len()), (0, 0));
        linked.remember(&of("b"), b"b");
        assert_eq!(linked.first(&of("b2")), Some(b"b".to_vec()));
    }
}
