//! What a file with holes holds once they are there again, by a digest that costs nothing for holes, however large they are.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::header::EntryKind;
use super::sparse::{Expander, Trust};
use crate::Result;
use crate::digest::Sha256Digest;

/// The file is looked at in parts of this length, counted from its beginning: a block of most file systems, so that a small piece of data
/// among holes costs what it is.
pub const PART: u64 = 4 << 10;
/// Each piece of data costs up to two parts, however small it is; whoever is given so much content at once can be told to stop in time.
pub const STEP: usize = 16 << 10;

/// What the manifest says of a file with holes: the file as it comes out, where size and digest of the entry are those of map and data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expanded {
    /// Its length with all holes.
    pub size: u64,
    /// SHA-256 of a text that has a line for each part that is not zeros alone: its number, a space, its SHA-256.
    pub parts_sha256: Sha256Digest,
}

/// Takes an entry's stored content and comes to what [`Expanded`] says.
pub struct Expanding {
    expander: Expander,
    parts: Parts,
}

impl Expanding {
    /// For an entry of this kind; `None` where it has no holes.
    pub fn of(kind: &EntryKind) -> Option<Self> {
        let EntryKind::Sparse(size) = *kind else { return None };
        Some(Self { expander: Expander::new(size, Trust::InOrder), parts: Parts::new(size) })
    }

    /// Takes the next part of the stored content.
    ///
    /// # Errors
    /// [`crate::Kind::Damaged`] where the map is malformed, or its pieces are not in order.
    pub fn take(&mut self, content: &[u8]) -> Result<()> {
        let parts = &mut self.parts;
        self.expander.take(content, |offset, data| {
            parts.take(offset, data);
            Ok(())
        })
    }

    /// What all of it comes to.
    ///
    /// # Errors
    /// [`crate::Kind::Damaged`] where map and data don't match.
    pub fn finish(mut self) -> Result<Expanded> {
        self.expander.finish()?;
        self.parts.close();
        Ok(Expanded { size: self.parts.size, parts_sha256: Sha256Digest(self.parts.lines.finalize().into()) })
    }
}

/// Digests of parts, as data comes for them.
struct Parts {
    size: u64,
    number: u64,
    part: Vec<u8>,
    lines: Sha256,
}

impl Parts {
    fn new(size: u64) -> Self {
        Self { size, number: 0, part: vec![0; PART as usize], lines: Sha256::new() }
    }

    /// Takes data that lies behind all that came before.
    fn take(&mut self, mut offset: u64, mut data: &[u8]) {
        while !data.is_empty() {
            if offset / PART != self.number {
                self.close();
                self.number = offset / PART;
            }
            let room = &mut self.part[(offset % PART) as usize..];
            let (now, later) = data.split_at(room.len().min(data.len()));
            room[..now.len()].copy_from_slice(now);
            offset += now.len() as u64;
            data = later;
        }
    }

    fn close(&mut self) {
        // The last part is as long as what the file has for it.
        let length = (self.size.saturating_sub(self.number * PART)).min(PART) as usize;
        let part = &mut self.part[..length];
        if part.iter().any(|byte| *byte != 0) {
            self.lines.update(format!("{} {}\n", self.number, hex::encode(Sha256::digest(&*part))));
            part.fill(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::sparse::{Map, encode_map};
    use proptest::prelude::*;

    /// The digest as the format's page defines it.
    fn plainly(file: &[u8]) -> Expanded {
        let parts = file.chunks(PART as usize).enumerate().filter(|(_, part)| part.iter().any(|byte| *byte != 0));
        let lines: String =
            parts.map(|(number, part)| format!("{number} {}\n", hex::encode(Sha256::digest(part)))).collect();
        Expanded { size: file.len() as u64, parts_sha256: Sha256Digest(Sha256::digest(lines).into()) }
    }

    fn expanded(map: &Map, file: &[u8], cut: usize) -> Expanded {
        let data = map.iter().flat_map(|(offset, length)| &file[*offset as usize..(offset + length) as usize]);
        let stored: Vec<u8> = encode_map(map).into_iter().chain(data.copied()).collect();
        let mut expanding = Expanding::of(&EntryKind::Sparse(file.len() as u64)).expect("holes");
        stored.chunks(cut).for_each(|content| expanding.take(content).expect("taken"));
        expanding.finish().expect("whole")
    }

    proptest! {
        #[test]
        fn the_digest_is_of_the_content_and_not_of_the_map(
            pieces in proptest::collection::vec((0u64..200_000, 1u64..100_000, any::<bool>()), 0..8), cut in 1usize..100_000, tail in 0usize..90_000,
        ) {
            let (mut map, mut file) = (Map::new(), Vec::new());
            for (gap, length, zeros) in pieces {
                file.resize(file.len() + gap as usize, 0);
                map.push_back((file.len() as u64, length));
                file.resize(file.len() + length as usize, u8::from(!zeros));
            }
            file.resize(file.len() + tail, 0);
            prop_assert_eq!(expanded(&map, &file, cut), plainly(&file));
            prop_assert_eq!(expanded(&[(0, file.len() as u64)].into(), &file, cut), plainly(&file));
        }
    }

    #[test]
    fn holes_cost_nothing_and_pieces_out_of_order_are_refused() {
        for (map, taken) in [([(0u64, 1u64), (i64::MAX as u64 - 1, 1)], true), ([(5, 1), (0, 1)], false)] {
            let mut expanding = Expanding::of(&EntryKind::Sparse(i64::MAX as u64)).expect("holes");
            let stored = [encode_map(&map.into()), b"xy".to_vec()].concat();
            assert_eq!(expanding.take(&stored).is_ok(), taken);
        }
    }
}
