//! The footer: one empty gzip member of fixed size at the very end, whose extra field says where the manifest is.

use sha2::{Digest, Sha256};

use crate::{Error, Kind, Result};

/// Length of the footer in bytes, in every format.
pub const LENGTH: usize = 122;
/// What may have become of a file that has no footer.
pub(super) const NO_BUNDLE: &str =
    "the file was cut short or added to, is still being copied, or is not a bundle of this tool";

/// gzip, deflate, extra field present, no time, no name, unknown system; one subfield `OF` of 96 bytes.
const FIXED: [u8; 16] = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 100, 0, b'O', b'F', 96, 0];
/// An empty deflate stream, a checksum of zero, a length of zero.
const EMPTY: [u8; 10] = [3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const DIGEST_AT: usize = LENGTH - EMPTY.len() - 32;

/// Where the manifest is, and what everything must add up to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footer {
    /// Format of the bundle.
    pub format: u32,
    /// Where the manifest's entry begins in the file.
    pub manifest_offset: u64,
    /// Bytes that the manifest's entry takes in the file.
    pub manifest_stored: u64,
    /// Length of the whole file, footer included.
    pub bundle_length: u64,
    /// SHA-256 of the manifest's entry as it stands in the file.
    pub manifest_digest: [u8; 32],
}

impl Footer {
    /// The footer as it stands in the file.
    pub fn encode(&self) -> [u8; LENGTH] {
        let mut bytes = Vec::with_capacity(LENGTH);
        bytes.extend_from_slice(&FIXED);
        bytes.extend_from_slice(&self.format.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.manifest_offset.to_le_bytes());
        bytes.extend_from_slice(&self.manifest_stored.to_le_bytes());
        bytes.extend_from_slice(&self.bundle_length.to_le_bytes());
        bytes.extend_from_slice(&self.manifest_digest);
        let digest = Sha256::digest(&bytes);
        bytes.extend_from_slice(&digest);
        bytes.extend_from_slice(&EMPTY);
        let mut footer = [0; LENGTH];
        footer.copy_from_slice(&bytes);
        footer
    }

    /// Reads the footer of a file of `file_length` bytes from that file's last [`LENGTH`] bytes.
    ///
    /// # Errors
    /// [`Kind::Damaged`] where it is not a footer or is damaged, [`Kind::Unsupported`] where its format is newer.
    pub fn decode(bytes: &[u8; LENGTH], file_length: u64) -> Result<Self> {
        if bytes[..FIXED.len()] != FIXED {
            return Err(Error::new(Kind::Damaged, "footer: the file does not end in a bundle's footer").hint(NO_BUNDLE));
        }
        if Sha256::digest(&bytes[..DIGEST_AT])[..] != bytes[DIGEST_AT..DIGEST_AT + 32]
            || bytes[DIGEST_AT + 32..] != EMPTY
            || bytes[20..24] != [0; 4]
        {
            return Err(Error::new(Kind::Damaged, "footer: its digest does not match its content"));
        }
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(word)
        };
        let mut manifest_digest = [0; 32];
        manifest_digest.copy_from_slice(&bytes[48..80]);
        let footer = Self {
            format: u32::from_le_bytes([bytes[16], bytes[17], bytes[18], bytes[19]]),
            manifest_offset: word(24),
            manifest_stored: word(32),
            bundle_length: word(40),
            manifest_digest,
        };
        if footer.bundle_length != file_length {
            return Err(Error::new(
                Kind::Damaged,
                format!("footer: the bundle was {} bytes long and the file has {file_length}", footer.bundle_length),
            ));
        }
        Ok(footer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_footer_comes_back_and_no_byte_of_it_can_change() {
        let footer = Footer {
            format: 1,
            manifest_offset: 1000,
            manifest_stored: 200,
            bundle_length: 5000,
            manifest_digest: [7; 32],
        };
        let bytes = footer.encode();
        assert_eq!(Footer::decode(&bytes, 5000).expect("the footer just made"), footer);
        for at in 0..LENGTH {
            let mut bent = bytes;
            bent[at] ^= 1;
            assert!(Footer::decode(&bent, 5000).is_err(), "byte {at}");
        }
        assert!(Footer::decode(&bytes, 4999).is_err());
    }
}
