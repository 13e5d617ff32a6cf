//! What is in a file: where it holds data, and the bytes there.

use std::fs::{File, Metadata};
use std::os::unix::fs::{FileExt, MetadataExt};

use rustix::fs::{SeekFrom, seek};

use crate::bundle::sparse::Map;

/// Why zeros stand for a part of a file.
pub(super) enum Gap {
    /// It ended before that part.
    Ended,
    /// The part could not be read.
    Unreadable(std::io::Error),
}

/// Reads a slice; what can't be had of it is left as zeros.
pub(super) fn read_full(file: &File, mut at: u64, mut slice: &mut [u8]) -> Option<Gap> {
    while !slice.is_empty() {
        match file.read_at(slice, at) {
            Ok(0) => return Some(Gap::Ended),
            Ok(count) => {
                at += count as u64;
                slice = &mut slice[count..];
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Some(Gap::Unreadable(error)),
        }
    }
    None
}

/// Where a file holds data, in at most so many pieces, if it has holes worth keeping.
pub(super) fn holes(file: &File, metadata: &Metadata, most: usize) -> Option<Map> {
    if metadata.blocks() * 512 >= metadata.len() {
        return None;
    }
    let mut map = Map::new();
    let mut at = 0;
    // ENXIO says that only a hole is left; a file system without the notion answers with one piece of data.
    // A file that grows meanwhile has data beyond the length that its entry states.
    while let Some(data) = seek(file, SeekFrom::Data(at)).ok().filter(|data| *data < metadata.len()) {
        let hole = seek(file, SeekFrom::Hole(data)).ok()?.min(metadata.len());
        // What lies behind so many holes is stored as it is, zeros too.
        let hole = if map.len() + 1 < most { hole } else { metadata.len() };
        // A hole may have come there meanwhile.
        if hole > data {
            map.push_back((data, hole - data));
        }
        at = hole;
    }
    if map == [(0, metadata.len())] {
        return None;
    }
    if at < metadata.len() {
        // GNU tar gives a file that ends in a hole its length only by an empty piece at the end.
        map.push_back((metadata.len(), 0));
    }
    Some(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_more_pieces_than_a_map_has_keeps_its_content() {
        const STRIDE: usize = 1 << 20;
        let file = tempfile::tempfile().expect("a file");
        let mut content = vec![0; 10 * STRIDE];
        for begin in (0..content.len()).step_by(STRIDE) {
            content[begin..begin + 4].copy_from_slice(b"data");
            file.write_all_at(b"data", begin as u64).expect("written");
        }
        file.set_len(content.len() as u64).expect("a length");
        let metadata = file.metadata().expect("there");
        for (most, pieces) in [(4, 4), (10, 10), (11, 11)] {
            let map = holes(&file, &metadata, most).expect("holes");
            // Where all pieces have room, an empty one says where the file ends.
            assert_eq!(map.len(), pieces, "{map:?}");
            let mut back = vec![0; content.len()];
            for (offset, length) in map {
                let piece = &mut back[offset as usize..(offset + length) as usize];
                assert!(read_full(&file, offset, piece).is_none());
            }
            assert!(back == content, "{most}");
        }
    }
}
