//! Files with holes in GNU's pax sparse format 1.0: a map in decimal lines, padded to a record, then the data alone.

use std::collections::VecDeque;

use super::header::RECORD;
use crate::{Error, Kind, Result};

/// Pieces of a file that hold data, as offset and length, in order.
pub type Map = VecDeque<(u64, u64)>;

/// A map of more bytes than this is refused in formats 1 and 2; it would describe a million holes.
const LONGEST_MAP: usize = 32 << 20;
/// No map that we write has more pieces, so that none is refused for its length.
pub const MOST_PIECES: usize = 500_000;

/// How much of a map is taken on trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// In any order, as earlier versions took them, as long as it is not absurdly long.
    AnyOrder,
    /// As it is written since format 3: in order, without empty pieces but one at the file's end, no more than [`MOST_PIECES`].
    InOrder,
}

/// The map as it stands before the data.
pub fn encode_map(map: &Map) -> Vec<u8> {
    let mut text = format!("{}\n", map.len());
    for (offset, length) in map {
        text.push_str(&format!("{offset}\n{length}\n"));
    }
    let mut bytes = text.into_bytes();
    bytes.resize(bytes.len().next_multiple_of(RECORD), 0);
    bytes
}

/// A map as it comes, of which each byte is looked at once.
struct MapReader {
    size: u64,
    trust: Trust,
    taken: usize,
    /// The number that is not at the end of its line yet.
    number: Option<u64>,
    /// Pieces that are still to come; `None` before their number has.
    left: Option<u64>,
    offset: Option<u64>,
    map: Map,
}

impl MapReader {
    fn new(size: u64, trust: Trust) -> Self {
        Self { size, trust, taken: 0, number: None, left: None, offset: None, map: Map::new() }
    }

    fn is_whole(&self) -> bool {
        self.left == Some(0) && self.taken.is_multiple_of(RECORD)
    }

    /// Takes what belongs to the map; returns how many bytes that is.
    fn take(&mut self, bytes: &[u8]) -> Result<usize> {
        for (at, byte) in bytes.iter().enumerate() {
            if self.is_whole() {
                return Ok(at);
            }
            self.taken += 1;
            match byte {
                0 if self.left == Some(0) => {}
                _ if self.left == Some(0) => return Err(malformed()),
                b'0'..=b'9' if self.number != Some(0) => {
                    let number = self.number.unwrap_or(0).checked_mul(10);
                    let number = number.and_then(|number| number.checked_add(u64::from(byte - b'0')));
                    self.number = Some(number.ok_or_else(malformed)?);
                }
                b'\n' => {
                    let number = self.number.take().ok_or_else(malformed)?;
                    self.line(number)?;
                }
                _ => return Err(malformed()),
            }
            if self.taken > LONGEST_MAP {
                return Err(too_long());
            }
        }
        Ok(bytes.len())
    }

    fn line(&mut self, number: u64) -> Result<()> {
        let Some(left) = self.left else {
            // A piece takes at least four bytes.
            let most = if self.trust == Trust::InOrder { MOST_PIECES } else { LONGEST_MAP / 4 };
            self.left = Some(number);
            return if number > most as u64 { Err(too_long()) } else { Ok(()) };
        };
        let Some(offset) = self.offset.take() else {
            self.offset = Some(number);
            return Ok(());
        };
        let end = offset.checked_add(number).filter(|end| *end <= self.size).ok_or_else(malformed)?;
        if self.trust == Trust::InOrder {
            let before = self.map.back().map_or(0, |(offset, length)| offset + length);
            if offset < before || (number == 0 && (left > 1 || end < self.size)) {
                return Err(Error::new(Kind::Damaged, "a map of a sparse file whose pieces are empty or not in order"));
            }
        }
        self.map.push_back((offset, number));
        self.left = Some(left - 1);
        Ok(())
    }
}

fn malformed() -> Error {
    Error::new(Kind::Damaged, "a malformed map of a sparse file")
}

fn too_long() -> Error {
    Error::new(Kind::Damaged, "an absurdly long map of a sparse file")
}

/// Reads the map at the beginning of `bytes`, for a file of `size` bytes; returns it with its padded length, or `None`
/// while it is not all there.
///
/// # Errors
/// [`Kind::Damaged`] where it is malformed, too long or reaches beyond the file.
pub fn decode_map(bytes: &[u8], size: u64, trust: Trust) -> Result<Option<(Map, usize)>> {
    let mut reader = MapReader::new(size, trust);
    let length = reader.take(bytes)?;
    Ok(reader.is_whole().then_some((reader.map, length)))
}

/// Takes map and data, as they come, and says where each piece of data belongs.
pub struct Expander(MapReader);

impl Expander {
    /// For a file of `size` bytes.
    pub fn new(size: u64, trust: Trust) -> Self {
        Self(MapReader::new(size, trust))
    }

    /// Takes the next part of the stored content; `put` gets the data with its place in the file.
    ///
    /// # Errors
    /// A malformed map, more data than it has pieces for, or what `put` returns.
    pub fn take(&mut self, content: &[u8], mut put: impl FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
        let used = self.0.take(content)?;
        let mut content = &content[used..];
        while !content.is_empty() {
            let (offset, length) = self.0.map.pop_front().ok_or_else(no_match)?;
            let now = usize::try_from(length).unwrap_or(usize::MAX).min(content.len());
            let (data, later) = content.split_at(now);
            put(offset, data)?;
            content = later;
            if length > now as u64 {
                self.0.map.push_front((offset + now as u64, length - now as u64));
            }
        }
        Ok(())
    }

    /// Makes sure that all of it came.
    ///
    /// # Errors
    /// [`Kind::Damaged`] where map and data don't match.
    pub fn finish(&self) -> Result<()> {
        let all = self.0.is_whole() && self.0.map.iter().all(|(_, length)| *length == 0);
        if all { Ok(()) } else { Err(no_match()) }
    }
}

fn no_match() -> Error {
    Error::new(Kind::Damaged, "a sparse file whose map does not match its data")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_map_comes_back(pieces in proptest::collection::vec((0u64..1 << 40, 0u64..1 << 20), 0..200)) {
            let map: Map = pieces.into();
            let bytes = encode_map(&map);
            let decoded = decode_map(&bytes, 1 << 41, Trust::AnyOrder).expect("the map just made");
            prop_assert_eq!(decoded, Some((map, bytes.len())));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = [Trust::AnyOrder, Trust::InOrder].map(|trust| decode_map(&bytes, 1 << 20, trust));
        }
    }

    #[test]
    fn maps_that_no_writer_writes_are_refused() {
        // A map of a file of 100 bytes, and whether it is taken in any order, and in order alone.
        let cases: [(&str, bool, bool); 14] = [
            ("1\n0\n5\n", true, true),
            ("2\n0\n5\n5\n95\n", true, true),
            ("2\n0\n5\n100\n0\n", true, true),
            ("1\n100\n0\n", true, true),
            ("1\n50\n0\n", true, false),
            ("2\n100\n0\n100\n0\n", true, false),
            ("2\n50\n5\n0\n5\n", true, false),
            ("2\n0\n5\n4\n5\n", true, false),
            ("1\n99\n2\n", false, false),
            ("1\n18446744073709551615\n1\n", false, false),
            ("1\n00\n1\n", false, false),
            ("1\n+1\n1\n", false, false),
            ("\n", false, false),
            ("8388609\n", false, false),
        ];
        for (text, any, ordered) in cases {
            let mut bytes = text.as_bytes().to_vec();
            bytes.resize(RECORD, 0);
            for (trust, taken) in [(Trust::AnyOrder, any), (Trust::InOrder, ordered)] {
                assert_eq!(decode_map(&bytes, 100, trust).is_ok(), taken, "{text:?} {trust:?}");
            }
        }
        // The number of pieces is enough.
        assert!(decode_map(b"500001\n", 100, Trust::InOrder).is_err());
        assert!(decode_map(b"500000\n", 100, Trust::InOrder).is_ok_and(|map| map.is_none()));
        assert!(decode_map(&[b"1\n0\n1\n".as_slice(), &[1; RECORD]].concat(), 100, Trust::AnyOrder).is_err());
    }
}
