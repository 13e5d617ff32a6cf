//! Files with holes in GNU's pax sparse format 1.0: a map in decimal lines, padded to a record, then the data alone.

use std::collections::VecDeque;

use super::header::RECORD;
use crate::{Error, Kind, Result};

/// Pieces of a file that hold data, as offset and length, in order.
pub type Map = VecDeque<(u64, u64)>;

/// A map of more bytes than this is refused; it would describe a million holes.
const LONGEST_MAP: usize = 32 << 20;
/// No map that we write has more pieces, so that none is refused for its length.
pub const MOST_PIECES: usize = 500_000;

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

/// Reads the map at the beginning of `bytes`, for a file of `size` bytes; returns it with its padded length, or `None`
/// while it is not all there.
///
/// # Errors
/// [`Kind::Damaged`] where it is malformed or reaches beyond the file.
pub fn decode_map(bytes: &[u8], size: u64) -> Result<Option<(Map, usize)>> {
    let damaged = || Error::new(Kind::Damaged, "a malformed map of a sparse file");
    let mut at = 0;
    let mut next = || -> Result<Option<u64>> {
        let Some(length) = memchr::memchr(b'\n', &bytes[at..]) else {
            return if bytes.len() - at > 20 { Err(damaged()) } else { Ok(None) };
        };
        let text = std::str::from_utf8(&bytes[at..at + length]).map_err(|_| damaged())?;
        at += length + 1;
        text.parse().map(Some).map_err(|_| damaged())
    };
    let Some(count) = next()? else { return Ok(None) };
    let mut map = Map::new();
    for _ in 0..count {
        let (Some(offset), Some(length)) = (next()?, next()?) else { return Ok(None) };
        if offset.checked_add(length).is_none_or(|end| end > size) {
            return Err(damaged());
        }
        map.push_back((offset, length));
    }
    let padded = at.next_multiple_of(RECORD);
    Ok((bytes.len() >= padded).then_some((map, padded)))
}

/// Takes map and data, as they come, and says where each piece of data belongs.
pub struct Expander {
    size: u64,
    pending: Vec<u8>,
    map: Option<Map>,
}

impl Expander {
    /// For a file of `size` bytes.
    pub fn new(size: u64) -> Self {
        Self { size, pending: Vec::new(), map: None }
    }

    /// Takes the next part of the stored content; `put` gets the data with its place in the file.
    ///
    /// # Errors
    /// A malformed map, or what `put` returns.
    pub fn take(&mut self, content: &[u8], mut put: impl FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
        self.pending.extend_from_slice(content);
        if self.map.is_none() {
            let Some((map, length)) = decode_map(&self.pending, self.size)? else {
                let absurd = self.pending.len() > LONGEST_MAP;
                let error = || Error::new(Kind::Damaged, "an absurdly long map of a sparse file");
                return if absurd { Err(error()) } else { Ok(()) };
            };
            self.pending.drain(..length);
            self.map = Some(map);
        }
        let mut used = 0;
        while let Some((offset, length)) = self.map.as_mut().and_then(Map::pop_front) {
            let now = usize::try_from(length).unwrap_or(usize::MAX).min(self.pending.len() - used);
            put(offset, &self.pending[used..used + now])?;
            used += now;
            let left = length - now as u64;
            if let Some(map) = self.map.as_mut().filter(|_| left > 0) {
                map.push_front((offset + now as u64, left));
                break;
            }
        }
        self.pending.drain(..used);
        Ok(())
    }

    /// Makes sure that all of it came.
    ///
    /// # Errors
    /// [`Kind::Damaged`] where map and data don't match.
    pub fn finish(&self) -> Result<()> {
        if self.map.as_ref().is_none_or(|map| !map.is_empty()) || !self.pending.is_empty() {
            return Err(Error::new(Kind::Damaged, "a sparse file whose map does not match its data"));
        }
        Ok(())
    }
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
            let decoded = decode_map(&bytes, 1 << 41).expect("the map just made");
            prop_assert_eq!(decoded, Some((map, bytes.len())));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = decode_map(&bytes, 1 << 20);
        }
    }
}
