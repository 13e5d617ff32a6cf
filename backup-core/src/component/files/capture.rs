//! Files and directories: with owner, mode, times, links, extended attributes and holes.
//!
//! A file that changes or vanishes while it is read is a finding by its name; the bundle stays whole.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{File, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use globset::GlobSet;
use rustix::fs::{OFlags, SeekFrom, seek};
use walkdir::WalkDir;

use crate::accounts::Accounts;
use crate::bundle::header::{EntryKind, Head};
use crate::bundle::path;
use crate::bundle::sparse::{MOST_PIECES, Map, encode_map};
use crate::bundle::writer::Writer;
use crate::context::Context;
use crate::finding::Finding;
use crate::{ErrorContext, Result};

/// Where captured files stand in the bundle; it stands for the machine's `/`.
pub(super) const ROOT: &str = "files";

/// A path to capture with everything below it.
#[derive(Debug, Clone)]
pub struct Tree {
    /// An absolute path.
    pub path: PathBuf,
    /// What to leave out, held against paths below `path` and against names.
    pub exclude: Option<GlobSet>,
}

impl Tree {
    /// Whether a path below `path` is left out.
    pub(crate) fn leaves_out(&self, below: &Path) -> bool {
        let name = below.file_name().unwrap_or_default();
        self.exclude.as_ref().is_some_and(|glob| glob.is_match(below) || glob.is_match(name))
    }
}

/// Captures every tree into the bundle; what went wrong with single files is in the findings.
///
/// # Errors
/// Where a tree's own path can't be read, or the bundle can't be written.
pub(super) async fn capture(trees: &[Tree], writer: &Writer, context: &Context) -> Result<Vec<Finding>> {
    let mut capture = Capture {
        writer,
        findings: Vec::new(),
        linked: HashMap::new(),
        done: HashSet::new(),
        accounts: Accounts::load(),
    };
    for tree in trees {
        context.phase(format!("capture files {}", tree.path.display()));
        capture.tree(tree).await?;
    }
    Ok(capture.findings)
}

struct Capture<'w> {
    writer: &'w Writer,
    findings: Vec<Finding>,
    /// Entries of files with several names, by device and inode.
    linked: HashMap<(u64, u64), Vec<u8>>,
    /// Paths that are in the bundle; trees may overlap.
    done: HashSet<PathBuf>,
    accounts: Accounts,
}

impl Capture<'_> {
    async fn tree(&mut self, tree: &Tree) -> Result<()> {
        let doing = || format!("capture files {}", tree.path.display());
        // Entries stand under their real paths: none may be reached through a link that is an entry itself.
        let root = tree.path.canonicalize().context(doing)?;
        if let (Some(parent), Some(name)) = (tree.path.parent(), tree.path.file_name())
            && tree.path.is_symlink()
        {
            self.entry(&parent.canonicalize().context(doing)?.join(name)).await?;
        }
        let mut entries = WalkDir::new(&root).follow_links(false).sort_by_file_name().into_iter();
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    let path = error.path().unwrap_or(&root).to_owned();
                    let cause = error.into_io_error().unwrap_or_else(|| std::io::ErrorKind::Other.into());
                    self.unreadable(&path, &cause);
                    continue;
                }
            };
            let below = entry.path().strip_prefix(&root).unwrap_or(entry.path());
            if entry.depth() > 0 && tree.leaves_out(below) {
                if entry.file_type().is_dir() {
                    entries.skip_current_dir();
                }
                continue;
            }
            self.entry(entry.path()).await?;
        }
        Ok(())
    }

    async fn entry(&mut self, path: &Path) -> Result<()> {
        if !self.done.insert(path.to_owned()) {
            return Ok(());
        }
        let metadata = match path.symlink_metadata() {
            Ok(metadata) => metadata,
            Err(cause) => {
                self.unreadable(path, &cause);
                return Ok(());
            }
        };
        let kind = metadata.file_type();
        if kind.is_file() {
            return self.file(path, &metadata).await;
        }
        let mut head = self.head(path, &metadata);
        if kind.is_dir() {
            head.kind = EntryKind::Directory;
        } else if kind.is_symlink() {
            let target = match path.read_link() {
                Ok(target) => target.as_os_str().as_bytes().to_vec(),
                Err(cause) => {
                    self.unreadable(path, &cause);
                    return Ok(());
                }
            };
            if path::climbs_out(ROOT.as_bytes(), &head.path, &target) {
                self.skipped(
                    path,
                    "link-climbs-out",
                    "the link climbs above the root directory and is not in the backup",
                );
                return Ok(());
            }
            head.kind = EntryKind::Symlink(target);
        } else {
            self.skipped(path, "special-file", "a socket, pipe or device is not in the backup");
            return Ok(());
        }
        self.writer.stream(head, |_, _| Ok(())).await
    }

    fn head(&self, path: &Path, metadata: &Metadata) -> Head {
        let inside = path.as_os_str().as_bytes();
        let inside: Vec<u8> = inside.iter().copied().skip_while(|byte| *byte == b'/').collect();
        let path_inside =
            if inside.is_empty() { ROOT.as_bytes().to_vec() } else { [ROOT.as_bytes(), b"/", &inside].concat() };
        Head {
            path: path_inside,
            mode: metadata.mode() & 0o7777,
            uid: metadata.uid().into(),
            gid: metadata.gid().into(),
            user: self.accounts.user(metadata.uid()),
            group: self.accounts.group(metadata.gid()),
            modified: (metadata.mtime(), u32::try_from(metadata.mtime_nsec()).unwrap_or(0)),
            xattrs: attributes(path),
            ..Head::private("", 0, 0)
        }
    }

    async fn file(&mut self, path: &Path, metadata: &Metadata) -> Result<()> {
        let identity = (metadata.dev(), metadata.ino());
        if let Some(first) = self.linked.get(&identity).filter(|_| metadata.nlink() > 1) {
            let head =
                Head { kind: EntryKind::Hardlink(first.clone()), xattrs: BTreeMap::new(), ..self.head(path, metadata) };
            return self.writer.stream(head, |_, _| Ok(())).await;
        }
        // The name may stand for a link or a pipe by now, which must not be followed or waited for.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let open = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path);
        let file = match open {
            Ok(file) => file,
            Err(cause) => {
                self.unreadable(path, &cause);
                return Ok(());
            }
        };
        // The open file counts: the name may stand for another one by now.
        let before = file.metadata().context(|| format!("read {}", path.display()))?;
        if !before.is_file() {
            self.skipped(path, "special-file", "a socket, pipe or device is not in the backup");
            return Ok(());
        }
        let head = self.head(path, &before);
        if metadata.nlink() > 1 {
            self.linked.insert(identity, head.path.clone());
        }
        let map = holes(&file, &before, MOST_PIECES);
        let content = self.content(&file, head, before.len(), map).await;
        let gap = content.context(|| format!("capture {}", path.display()))?;
        let after = file.metadata().context(|| format!("read {}", path.display()))?;
        let same =
            |a: &Metadata, b: &Metadata| (a.len(), a.mtime(), a.mtime_nsec()) == (b.len(), b.mtime(), b.mtime_nsec());
        if let Some(Gap::Unreadable(cause)) = gap {
            let message = format!("part of the file can't be read, and zeros stand for it in the backup: {cause}");
            self.findings.push(Finding::warning("file-unreadable", path.display().to_string(), message));
        } else if gap.is_some() || !same(&before, &after) {
            let message = "the file changed while it was read; the backup holds a mixture of old and new";
            let finding = Finding::warning("file-changed", path.display().to_string(), message);
            self.findings.push(finding.hint("stop what writes to it, or exclude it, or back it up another way"));
        } else if path.symlink_metadata().is_err() {
            let message = "the file vanished while it was read; the backup holds it as it was";
            self.findings.push(Finding::warning("file-vanished", path.display().to_string(), message));
        }
        Ok(())
    }

    /// Adds a file's content; says why zeros stand for a part of it, if they do.
    async fn content(&self, file: &File, mut head: Head, size: u64, map: Option<Map>) -> Result<Option<Gap>> {
        let (mut prefix, pieces) = match map {
            Some(map) => {
                head.kind = EntryKind::Sparse(size);
                (encode_map(&map), map)
            }
            None => (Vec::new(), Map::from([(0, size)])),
        };
        head.size = prefix.len() as u64 + pieces.iter().map(|(_, length)| length).sum::<u64>();
        let mut pieces = pieces.into_iter();
        let (mut at, mut left) = (0, 0);
        let mut gap = None;
        let fill = |buffer: &mut Vec<u8>, wanted: usize| {
            let from_prefix = prefix.len().min(wanted);
            buffer.extend(prefix.drain(..from_prefix));
            while buffer.len() < wanted {
                if left == 0 {
                    (at, left) = pieces.next().unwrap_or((0, wanted as u64));
                    continue;
                }
                let begin = buffer.len();
                let part = usize::try_from(left).unwrap_or(wanted).min(wanted - begin);
                buffer.resize(begin + part, 0);
                gap = gap.take().or(read_full(file, at, &mut buffer[begin..]));
                at += part as u64;
                left -= part as u64;
            }
            Ok(())
        };
        self.writer.stream(head, fill).await?;
        Ok(gap)
    }

    fn unreadable(&mut self, path: &Path, cause: &std::io::Error) {
        let vanished = cause.kind() == std::io::ErrorKind::NotFound;
        let shown = path.display().to_string();
        self.findings.push(if vanished {
            Finding::warning("file-vanished", shown, "the file vanished before it was read and is not in the backup")
        } else {
            Finding::warning(
                "file-unreadable",
                shown,
                format!("the file can't be read and is not in the backup: {cause}"),
            )
            .hint("run the backup as a user that may read it, or exclude it")
        });
    }

    fn skipped(&mut self, path: &Path, code: &str, message: &str) {
        self.findings.push(Finding::warning(code, path.display().to_string(), message));
    }
}

/// Why zeros stand for a part of a file.
enum Gap {
    /// It ended before that part.
    Ended,
    /// The part could not be read.
    Unreadable(std::io::Error),
}

/// Reads a slice; what can't be had of it is left as zeros.
fn read_full(file: &File, mut at: u64, mut slice: &mut [u8]) -> Option<Gap> {
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
fn holes(file: &File, metadata: &Metadata, most: usize) -> Option<Map> {
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

/// A file's extended attributes; those that can't be read or written in a tar header are left out.
fn attributes(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let names = xattr::list(path).map(Iterator::collect::<Vec<_>>).unwrap_or_default();
    let values = names.into_iter().filter_map(|name| Some((name.as_bytes().to_vec(), xattr::get(path, &name).ok()??)));
    values.filter(|(name, _)| !name.contains(&b'=')).collect()
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
