//! The file that a snapshot is: pages of a database, and the SHA-256 of them behind it. etcd's own look at such a file does not hold it
//! against that.

use sha2::{Digest, Sha256};

use crate::digest::Sha256Digest;
use crate::{Error, Kind, Result};

/// Bytes of the digest.
const TRAILER: u64 = 32;
/// Databases are whole multiples of that.
const PAGE: u64 = 512;

/// Holds a file against the digest at its end while it passes by.
pub(super) struct Trailer {
    left: u64,
    size: u64,
    digest: Sha256,
    said: Vec<u8>,
}

impl Trailer {
    /// Of a file with so many bytes.
    pub(super) fn new(size: u64) -> Self {
        Self { left: size.saturating_sub(TRAILER), size, digest: Sha256::new(), said: Vec::new() }
    }

    /// The next bytes.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        let inside = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        let (pages, said) = bytes.split_at(inside);
        self.left -= pages.len() as u64;
        self.digest.update(pages);
        // Whoever gives more than the file has needs no memory for it.
        self.said.extend(said.iter().take(2 * TRAILER as usize));
    }

    /// Makes sure that the file was what its end says.
    ///
    /// # Errors
    /// [`Kind::Damaged`].
    pub(super) fn finish(self, shown: &str) -> Result<()> {
        let damaged = |why: String| {
            Err(Error::new(Kind::Damaged, format!("check the snapshot {shown}"))
                .because(Error::new(Kind::Damaged, why)))
        };
        if self.size % PAGE != TRAILER {
            return damaged(format!("it has {} bytes, and no snapshot has so many", self.size));
        }
        let digest: [u8; 32] = self.digest.finalize().into();
        if self.said != digest {
            let said = hex::encode(self.said);
            return damaged(format!(
                "its end says SHA-256 {said}, and what is before that has {}",
                Sha256Digest(digest)
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(file: &[u8], parts: usize) -> Result<()> {
        let mut trailer = Trailer::new(file.len() as u64);
        file.chunks(parts).for_each(|part| trailer.take(part));
        trailer.finish("a file")
    }

    #[test]
    fn a_snapshot_is_believed_if_its_end_is_the_digest_of_all_before() {
        let pages = vec![7; 1024];
        let whole = [&pages[..], &Sha256::digest(&pages)].concat();
        for parts in [1, 31, 512, 1030, 5000] {
            check(&whole, parts).expect("it is whole");
        }
        for at in [0, 1023, 1024, 1055] {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            check(&flipped, 100).expect_err("a byte is another one");
        }
        for cut in [0, 31, 32, 1024, 1040] {
            check(&whole[..cut], 100).expect_err("it is cut off");
        }
        check(&[&whole[..], &[0; 512]].concat(), 100).expect_err("it is longer");
    }
}
