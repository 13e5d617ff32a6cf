//! Packs and index from anybody, for the fuzz target, and such as are right, for tests to bend.

use std::io::Read;

use super::END;
use super::line::{Begin, FORMAT, Line, PackedTree, json};
use super::proof::Proving;
use super::reading::{Source, Visitor, read};
use crate::bundle::header::{EntryKind, Form, Head, RECORD};
use crate::bundle::sparse::encode_map;
use crate::context::{Context, Environment};
use crate::{Error, Kind, Result};

/// Packs and index in memory.
pub(super) struct Bytes {
    pub(super) index: Vec<u8>,
    pub(super) packs: Vec<Vec<u8>>,
}

impl Source for Bytes {
    fn index(&self) -> Result<Box<dyn Read + '_>> {
        Ok(Box::new(self.index.as_slice()))
    }

    fn packs(&self) -> u64 {
        self.packs.len() as u64
    }

    fn pack(&self, number: u64) -> Result<Box<dyn Read + '_>> {
        let pack = usize::try_from(number).ok().and_then(|number| self.packs.get(number.checked_sub(1)?));
        Ok(Box::new(pack.ok_or_else(|| Error::new(Kind::Damaged, "a pack is missing"))?.as_slice()))
    }
}

/// What agrees is, byte by byte, what a writer would have written.
pub(crate) fn packs(bytes: &[u8]) {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return };
    let (index, pack) = rest.split_at((u32::from_le_bytes(*length) as usize).min(rest.len()));
    let source = Bytes { index: index.to_vec(), packs: vec![pack.to_vec()] };
    let (mut again, context) = (Again(Vec::new()), Context::new(Environment::default()));
    if read(&source, &mut again, &context.cancel).is_ok() {
        again.0.extend_from_slice(&END);
        assert!(again.0 == pack);
    }
}

/// Writes what it is given.
struct Again(Vec<u8>);

impl Visitor for Again {
    fn begin(&mut self, head: &Head) -> Result<()> {
        self.0.extend(head.encode(Form::Nearest));
        Ok(())
    }

    fn content(&mut self, content: &[u8]) -> Result<()> {
        self.0.extend_from_slice(content);
        Ok(())
    }

    fn end(&mut self, _: &Head) -> Result<()> {
        self.0.resize(self.0.len().next_multiple_of(RECORD), 0);
        Ok(())
    }

    fn damaged(&mut self, error: Error) -> Result<()> {
        Err(error)
    }
}

/// A seed that is right.
pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let Bytes { index, packs } = made("srv/a", &[entries()]);
    let length = u32::try_from(index.len()).unwrap_or(0).to_le_bytes().to_vec();
    vec![("packs", [length, index, packs.concat()].concat())]
}

/// Some of each kind.
pub(super) fn entries() -> Vec<(Head, Vec<u8>)> {
    let entry = |path: &[u8], kind: EntryKind, content: &[u8]| {
        let head = Head { kind, user: "ops".into(), ..Head::private(path, content.len() as u64, 1_790_000_000) };
        (head, content.to_vec())
    };
    let holes = [encode_map(&[(0, 5), (1 << 20, 0)].into_iter().collect()), b"holes".to_vec()].concat();
    vec![
        entry(b"srv/a", EntryKind::Directory, b""),
        entry(b"srv/a/a", EntryKind::File, b"content"),
        entry(b"srv/a/b", EntryKind::Directory, b""),
        entry(b"srv/a/b/holes", EntryKind::Sparse(1 << 20), &holes),
        entry(b"srv/a/b/link", EntryKind::Symlink(b"../../../etc/x".to_vec()), b""),
        entry(b"srv/a/b/odd\xff\n", EntryKind::File, b""),
        entry(b"srv/a/c", EntryKind::Hardlink(b"srv/a/a".to_vec()), b""),
        entry(b"srv/a/d", EntryKind::File, &[7; 700]),
    ]
}

/// Packs of these entries, each of the inner lists in one, and their index; nothing is looked at.
pub(super) fn made(root: &str, packs: &[Vec<(Head, Vec<u8>)>]) -> Bytes {
    let mut index = json(&Begin { format: FORMAT, root: root.into() }).unwrap_or_default();
    let mut packed = PackedTree { packs: packs.len() as u64, ..PackedTree::default() };
    let mut pack = |(number, entries): (u64, &Vec<(Head, Vec<u8>)>)| {
        let mut pack = Vec::new();
        for (head, content) in entries {
            let (offset, mut proving) = (pack.len() as u64, Proving::of(head));
            pack.extend(head.encode(Form::Nearest));
            pack.extend_from_slice(content);
            pack.resize(pack.len().next_multiple_of(RECORD), 0);
            let proof = proving.take(content).and_then(|()| proving.finish()).unwrap_or_default();
            index.extend(json(&Line::of(head, (number, offset), proof)).unwrap_or_default());
            packed.entries += 1;
            packed.bytes = packed.bytes.saturating_add(head.size);
        }
        [pack, END.to_vec()].concat()
    };
    let packs = (1..).zip(packs).map(&mut pack).collect();
    index.extend(json(&packed).unwrap_or_default());
    Bytes { index, packs }
}
