//! What is small in a store: claims, and what lies beside bundles. Whoever can write there can make it as long as he likes.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// Nothing that lies beside a bundle is longer, nor is a claim.
pub const SMALL: u64 = 1 << 20;

/// All of a file of this machine that is small.
pub(super) fn read_small_file(path: &Path) -> io::Result<Vec<u8>> {
    // To open a pipe would wait for a writer.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    read_small(file)
}

/// All of something small.
pub(super) fn read_small(source: impl Read) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    source.take(SMALL + 1).read_to_end(&mut content)?;
    if content.len() as u64 > SMALL {
        return Err(io::Error::other(format!("it is longer than {SMALL} bytes, and no such file is")));
    }
    Ok(content)
}
