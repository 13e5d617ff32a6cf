//! Blocks: independent gzip members of at most 1 MiB of content, each with one fixed header.

use std::fmt;

use libdeflater::{CompressionLvl, Compressor, Crc, DecompressionError, Decompressor};

/// The most content that one block holds.
pub const CONTENT: usize = 1 << 20;
/// Bytes before the deflate stream: ten of gzip's header and the extra field that holds the member's length.
pub const HEADER: usize = 20;
const TRAILER: usize = 8;
/// No block is longer than this: deflate's stored form adds five bytes to each 64 KiB, rounded up generously.
pub const LONGEST: usize = HEADER + CONTENT + CONTENT / 1024 + 64 + TRAILER;

/// gzip, deflate, extra field present, no time, no name, unknown system; one subfield `OB` of four bytes.
const FIXED: [u8; HEADER - 4] = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 8, 0, b'O', b'B', 4, 0];

/// Compression levels that libdeflate knows.
pub const LEVELS: std::ops::RangeInclusive<u32> = 1..=12;

/// Why bytes are not a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockError {
    /// The header is not the fixed one, or its length is impossible.
    Header,
    /// The bytes end before the block does.
    Short,
    /// The deflate stream is broken, or its content's length or checksum is not the one stated.
    Content,
}

impl fmt::Display for BlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "a block's header is not the one that this format has",
            Self::Short => "the file ends inside a block",
            Self::Content => "a block's content can't be decompressed to what its trailer says",
        })
    }
}

impl std::error::Error for BlockError {}

/// Turns content into blocks.
pub struct Encoder {
    compressor: Compressor,
    scratch: Vec<u8>,
}

impl Encoder {
    /// An encoder at `level`, clamped to [`LEVELS`].
    pub fn new(level: u32) -> Self {
        let level = level.clamp(*LEVELS.start(), *LEVELS.end());
        let level = CompressionLvl::new(level as i32).unwrap_or_default();
        Self { compressor: Compressor::new(level), scratch: vec![0; LONGEST] }
    }

    /// One block holding `content`, which is at most [`CONTENT`] bytes.
    pub fn encode(&mut self, content: &[u8]) -> Vec<u8> {
        debug_assert!(content.len() <= CONTENT);
        let room = LONGEST - TRAILER;
        // `LONGEST` is above libdeflate's bound for `CONTENT` bytes, so the error can't arise.
        let deflated = self.compressor.deflate_compress(content, &mut self.scratch[HEADER..room]).unwrap_or(0);
        let total = HEADER + deflated + TRAILER;
        let block = &mut self.scratch[..total];
        block[..FIXED.len()].copy_from_slice(&FIXED);
        block[FIXED.len()..HEADER].copy_from_slice(&(total as u32).to_le_bytes());
        let mut crc = Crc::new();
        crc.update(content);
        block[total - 8..total - 4].copy_from_slice(&crc.sum().to_le_bytes());
        block[total - 4..].copy_from_slice(&(content.len() as u32).to_le_bytes());
        block.to_vec()
    }
}

/// The length of the block that begins with `header`, of which [`HEADER`] bytes are looked at.
pub fn length(header: &[u8]) -> Result<usize, BlockError> {
    let header = header.get(..HEADER).ok_or(BlockError::Short)?;
    let (fixed, length) = header.split_at(FIXED.len());
    let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize;
    if fixed != FIXED || !(HEADER + 2 + TRAILER..=LONGEST).contains(&length) {
        return Err(BlockError::Header);
    }
    Ok(length)
}

/// Turns blocks back into content.
pub struct Decoder(Decompressor);

impl Default for Decoder {
    fn default() -> Self {
        Self(Decompressor::new())
    }
}

impl Decoder {
    /// Appends the content of the block that `bytes` begins with to `out`; returns the block's length.
    pub fn decode(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, BlockError> {
        let total = length(bytes)?;
        let block = bytes.get(..total).ok_or(BlockError::Short)?;
        let word = |at: usize| u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
        let (crc, size) = (word(total - 8), word(total - 4) as usize);
        if size > CONTENT {
            return Err(BlockError::Content);
        }
        let start = out.len();
        out.resize(start + size, 0);
        let result: Result<usize, DecompressionError> =
            self.0.deflate_decompress(&block[HEADER..total - TRAILER], &mut out[start..]);
        let mut actual = Crc::new();
        actual.update(&out[start..]);
        if result != Ok(size) || actual.sum() != crc {
            out.truncate(start);
            return Err(BlockError::Content);
        }
        Ok(total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn content_comes_back(content in proptest::collection::vec(any::<u8>(), 0..5000), level in 1u32..=12) {
            let block = Encoder::new(level).encode(&content);
            prop_assert_eq!(length(&block), Ok(block.len()));
            let mut out = Vec::new();
            prop_assert_eq!(Decoder::default().decode(&block, &mut out), Ok(block.len()));
            prop_assert_eq!(out, content);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut bent = Encoder::new(1).encode(b"some content");
            let _ = Decoder::default().decode(&bytes, &mut Vec::new());
            bent.splice(HEADER.., bytes);
            let _ = Decoder::default().decode(&bent, &mut Vec::new());
        }
    }

    #[test]
    fn a_full_block_of_noise_fits_its_bound() {
        let mut state = 1u64;
        let noise: Vec<u8> = (0..CONTENT)
            .map(|_| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 56) as u8
            })
            .collect();
        assert!(Encoder::new(3).encode(&noise).len() <= LONGEST);
    }
}
