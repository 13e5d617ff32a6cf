//! Trees of any number of files in a bundle: packed into tar files of bounded size, with an index beside them.
//!
//! `docs/bundle-format.md` says what they look like. Packs and index come in the order of the paths, in which a slash sorts before all else:
//! so a path that stands twice, or leads through a link, is seen by what stands before it alone. Memory does not grow with the tree where it is
//! written, unpacked, or read for one file; verifying remembers the files that hard links lead to, in some bytes each.

mod archive;
mod directories;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod index;
mod line;
mod linked;
mod order;
mod pack;
mod proof;
mod reading;
mod single;
mod stored;
#[cfg(test)]
mod tests;
mod tree;
mod unpack;
mod verify;
mod writing;

pub use line::PackedTree;
pub use unpack::Unpacked;
pub use writing::Packs;

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::PART;
use super::ready::part_path;

/// The most that a pack has, but for one that holds a single larger file.
const PACK: u64 = PART;
/// How the path of a pack ends.
const PACK_END: &str = ".tar";
/// What ends a tar file.
const END: [u8; 1024] = [0; 1024];
/// More findings of single files are counted alone.
const MOST_FINDINGS: usize = 1000;
/// What is read of content, or asked for, at once: no more than a core's own cache.
const STEP: usize = 128 << 10;
/// What the path of a directory may take that a tree is unpacked below, with the slash after it and a NUL at the end.
const ABOVE: usize = 512;
/// The longest path in a tree: below such a directory it is no longer than PATH_MAX of Linux.
const LONGEST: usize = 4096 - ABOVE;

/// A path on the machine as it stands in packs: without the first slash.
fn inside(path: &Path) -> &[u8] {
    let path = path.as_os_str().as_bytes();
    path.strip_prefix(b"/").unwrap_or(path)
}

/// The path of a pack, by its number from 1 on.
fn pack_path(path: &str, number: u64) -> String {
    part_path(path, number) + PACK_END
}

/// The path of the index, which is in parts.
fn index_path(path: &str) -> String {
    format!("{path}.index")
}

/// How a packed tree is restored with plain tools: a paragraph of README.txt. `path` is the one that [`super::Out::packs`] got, below the
/// directory of `component`.
pub fn packs_by_hand(component: &str, path: &str) -> String {
    let packs = format!("components/{component}/{path}");
    format!(
        "{packs}.000001.tar and the packs after it are a tree of files. Each pack is a complete tar file. Its paths are those of the \
         machine, without the first slash. Restore the packs into a new, empty directory. Owners come back only as root:\n\n    \
         mkdir restored && cat {packs}.*.tar | tar xpf - --ignore-zeros --xattrs --xattrs-include='*' -C restored\n\n\
         Each pack can be unpacked alone too, in their order. Directories then have the time of unpacking. \
         Join {packs}.index.000001 and the parts after it by cat. They have a line of JSON for each file: its path, the SHA-256 of \
         its content, its pack, and the byte where its entry begins (OFFSET). `tail -c +$((OFFSET + 1)) PACK | tar xf - PATH` \
         unpacks this file alone. A hard link has no content there. Its content is at the line of the path in its `link`.\n"
    )
}
