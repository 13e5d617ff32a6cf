//! One entry of a tree: what the system knows of it, and its content.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use super::content::{Gap, holes, read_full};
use super::{Linked, Target};
use crate::accounts::Accounts;
use crate::bundle::header::{EntryKind, Head};
use crate::bundle::path;
use crate::bundle::sparse::{MOST_PIECES, Map, encode_map};
use crate::finding::{Finding, Told};
use crate::{ErrorContext, Result};

/// Captures entries one after another.
pub(crate) struct Capture<T> {
    /// Where they go.
    pub(crate) target: T,
    /// What went wrong with single files.
    pub(crate) told: Told,
    /// Files with several names.
    pub(crate) linked: Linked,
    /// What stands for the machine's `/`.
    root: &'static [u8],
    accounts: Accounts,
}

impl<T: Target> Capture<T> {
    /// Entries go below `root`, which stands for the machine's `/`.
    pub(crate) fn new(target: T, root: &'static [u8], linked: Linked, told: Told) -> Self {
        Self { target, told, linked, root, accounts: Accounts::load() }
    }

    /// Captures what has a path; it says whether that is a directory, whose content may follow.
    ///
    /// # Errors
    /// Where it can't be written.
    pub(crate) async fn entry(&mut self, path: &Path) -> Result<bool> {
        let metadata = match path.symlink_metadata() {
            Ok(metadata) => metadata,
            Err(cause) => {
                self.unreadable(path, &cause);
                return Ok(false);
            }
        };
        let kind = metadata.file_type();
        if kind.is_file() {
            return self.file(path, &metadata).await.map(|()| false);
        }
        let mut head = self.head(path, &metadata);
        if kind.is_dir() {
            head.kind = EntryKind::Directory;
        } else if kind.is_symlink() {
            let target = match path.read_link() {
                Ok(target) => target.as_os_str().as_bytes().to_vec(),
                Err(cause) => {
                    self.unreadable(path, &cause);
                    return Ok(false);
                }
            };
            if path::climbs_out(self.root, &head.path, &target) {
                self.skipped(
                    path,
                    "link-climbs-out",
                    "the link climbs above the root directory and is not in the backup",
                );
                return Ok(false);
            }
            head.kind = EntryKind::Symlink(target);
        } else {
            self.skipped(path, "special-file", "a socket, pipe or device is not in the backup");
            return Ok(false);
        }
        let taken = self.target.take(head, |_, _| Ok(())).await?;
        Ok(taken && kind.is_dir())
    }

    fn head(&self, path: &Path, metadata: &Metadata) -> Head {
        let inside = path.as_os_str().as_bytes();
        let inside: Vec<u8> = inside.iter().copied().skip_while(|byte| *byte == b'/').collect();
        let path_inside = match (self.root, inside.is_empty()) {
            (b"", _) => inside,
            (root, true) => root.to_vec(),
            (root, false) => [root, b"/", &inside].concat(),
        };
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
        if let Some(first) = self.linked.first(metadata) {
            let head = Head { kind: EntryKind::Hardlink(first), xattrs: BTreeMap::new(), ..self.head(path, metadata) };
            return self.target.take(head, |_, _| Ok(())).await.map(drop);
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
        let (map, inside) = (holes(&file, &before, MOST_PIECES), head.path.clone());
        let content = self.content(&file, head, before.len(), map).await;
        let (taken, gap) = content.context(|| format!("capture {}", path.display()))?;
        if !taken {
            return Ok(());
        }
        self.linked.remember(metadata, &inside);
        let after = file.metadata().context(|| format!("read {}", path.display()))?;
        let same =
            |a: &Metadata, b: &Metadata| (a.len(), a.mtime(), a.mtime_nsec()) == (b.len(), b.mtime(), b.mtime_nsec());
        if let Some(Gap::Unreadable(cause)) = gap {
            let message = format!("part of the file can't be read, and zeros stand for it in the backup: {cause}");
            self.told.tell(Finding::warning("file-unreadable", path.display().to_string(), message));
        } else if gap.is_some() || !same(&before, &after) {
            let message = "the file changed while it was read; the backup holds a mixture of old and new";
            let finding = Finding::warning("file-changed", path.display().to_string(), message);
            self.told.tell(finding.hint("stop what writes to it, or exclude it, or back it up another way"));
        } else if path.symlink_metadata().is_err() {
            let message = "the file vanished while it was read; the backup holds it as it was";
            self.told.tell(Finding::warning("file-vanished", path.display().to_string(), message));
        }
        Ok(())
    }

    /// Adds a file's content; says whether it is in, and why zeros stand for a part of it, if they do.
    async fn content(
        &mut self,
        file: &File,
        mut head: Head,
        size: u64,
        map: Option<Map>,
    ) -> Result<(bool, Option<Gap>)> {
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
        let taken = self.target.take(head, fill).await?;
        Ok((taken, gap))
    }

    /// Says that something can't be read.
    pub(crate) fn unreadable(&mut self, path: &Path, cause: &std::io::Error) {
        let vanished = cause.kind() == std::io::ErrorKind::NotFound;
        let shown = path.display().to_string();
        self.told.tell(if vanished {
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
        self.told.tell(Finding::warning(code, path.display().to_string(), message));
    }
}

/// A file's extended attributes; those that can't be read or written in a tar header are left out.
fn attributes(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let names = xattr::list(path).map(Iterator::collect::<Vec<_>>).unwrap_or_default();
    let values = names.into_iter().filter_map(|name| Some((name.as_bytes().to_vec(), xattr::get(path, &name).ok()??)));
    values.filter(|(name, _)| !name.contains(&b'=')).collect()
}
