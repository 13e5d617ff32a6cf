//! Extracts entries into a directory: nothing is overwritten, nothing is written through a link, and what does not
//! match its digest does not stay.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use super::header::{EntryKind, Head};
use super::manifest::{Entry, FileType};
use super::path;
use super::reader::{Bundle, EntryReader, ReadAt};
use super::sparse::SparseWriter;
use crate::context::Context;
use crate::event::Meter;
use crate::finding::Finding;
use crate::{Error, ErrorContext, Kind, Result};

/// What was extracted.
#[derive(Debug)]
pub struct Extracted {
    /// The directory that holds it, named as the bundle.
    pub directory: PathBuf,
    /// Number of entries.
    pub entries: u64,
    /// Bytes of content.
    pub bytes: u64,
    /// What could not be put back as it was, such as an owner.
    pub warnings: Vec<Finding>,
}

/// Patterns that entries' paths are held against; none of them means every entry.
///
/// # Errors
/// [`Kind::Usage`] where a pattern is malformed.
pub fn patterns(patterns: &[String]) -> Result<Option<GlobSet>> {
    if patterns.is_empty() {
        return Ok(None);
    }
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        // `dir` stands for all below it, as it does for tar.
        for text in [pattern.trim_end_matches('/').to_owned(), format!("{}/**", pattern.trim_end_matches('/'))] {
            let glob = GlobBuilder::new(&text).literal_separator(true).build();
            set.add(glob.map_err(|cause| Error::new(Kind::Usage, format!("pattern {pattern}")).because(cause))?);
        }
    }
    set.build().map(Some).map_err(|cause| Error::new(Kind::Usage, "patterns").because(cause))
}

/// Extracts every entry that `wanted` matches into a new directory below `to`.
///
/// # Errors
/// [`Kind::Refused`] where the directory exists already, [`Kind::Damaged`] where an entry is, [`Kind::NotFound`]
/// where nothing matches. What was extracted before a failure is removed again.
pub fn extract<R: ReadAt>(
    bundle: &Bundle<R>,
    wanted: Option<&GlobSet>,
    to: &Path,
    context: &Context,
    meter: &Meter,
) -> Result<Extracted> {
    let chosen: Vec<&Entry> = bundle
        .manifest()
        .entries
        .iter()
        .filter(|entry| wanted.is_none_or(|wanted| wanted.is_match(&entry.path)))
        .collect();
    if chosen.is_empty() {
        return Err(Error::new(Kind::NotFound, "no entry of the bundle matches")
            .hint("`orchestrator-cli show --entries BUNDLE` lists them"));
    }
    let directory = to.join(&bundle.manifest().name);
    fs::create_dir_all(to).context(|| format!("create {}", to.display()))?;
    fs::DirBuilder::new().mode(0o700).create(&directory).map_err(|cause| {
        let error = Error::new(Kind::Refused, format!("create {}", directory.display())).because(cause);
        error.hint("extract never overwrites; name another directory with --to, or move the old one away")
    })?;
    let mut extraction = Extraction {
        bundle,
        directory: directory.clone(),
        context,
        meter,
        later: Vec::new(),
        result: Extracted { directory: directory.clone(), entries: 0, bytes: 0, warnings: Vec::new() },
    };
    match chosen.into_iter().try_for_each(|entry| extraction.entry(entry)).and_then(|()| extraction.finish()) {
        Ok(result) => Ok(result),
        Err(error) => {
            // The first error is the one to report.
            let _ = fs::remove_dir_all(&directory);
            Err(error)
        }
    }
}

struct Extraction<'b, R> {
    bundle: &'b Bundle<R>,
    directory: PathBuf,
    context: &'b Context,
    meter: &'b Meter,
    /// Directories and symbolic links, which are made last: a link can't be written through before it exists, and a
    /// directory's mode and time must not be touched by what is put into it.
    later: Vec<(PathBuf, Head)>,
    result: Extracted,
}

impl<R: ReadAt> Extraction<'_, R> {
    fn entry(&mut self, entry: &Entry) -> Result<()> {
        if self.context.cancel.is_cancelled() {
            return Err(Error::new(Kind::Interrupted, "interrupted before everything was extracted"));
        }
        let target = self.place(entry)?;
        self.write(entry, &target).context(|| format!("extract {}", entry.path))?;
        self.result.entries += 1;
        self.result.bytes += entry.size;
        self.meter.written.fetch_add(entry.stored, Relaxed);
        Ok(())
    }

    fn place(&self, entry: &Entry) -> Result<PathBuf> {
        let bytes = entry.path_bytes().filter(|bytes| path::refuse(bytes).is_none());
        let bytes = bytes.ok_or_else(|| Error::new(Kind::Damaged, format!("entry {}: a bad path", entry.path)))?;
        Ok(self.directory.join(std::ffi::OsStr::from_bytes(&bytes)))
    }

    fn write(&mut self, entry: &Entry, target: &Path) -> Result<()> {
        if let Some(parent) = target.parent() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(parent)
                .context(|| format!("create {}", parent.display()))?;
        }
        let mut reader = self.bundle.read(entry)?;
        let head = reader.head().clone();
        match &head.kind {
            EntryKind::File | EntryKind::Sparse(_) => {
                let file = self.new_file(target)?;
                self.fill(&mut reader, &head, file)?;
                self.dress(target, &head)
            }
            EntryKind::Directory => {
                drain(&mut reader)?;
                fs::DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(target)
                    .context(|| format!("create {}", target.display()))?;
                self.later.push((target.to_owned(), head));
                Ok(())
            }
            EntryKind::Symlink(_) => {
                drain(&mut reader)?;
                self.later.push((target.to_owned(), head));
                Ok(())
            }
            EntryKind::Hardlink(_) => {
                drain(&mut reader)?;
                self.hardlink(entry, target)
            }
        }
    }

    fn new_file(&self, target: &Path) -> Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        options.open(target).context(|| format!("create {}", target.display()))
    }

    fn fill(&self, reader: &mut EntryReader<'_, R>, head: &Head, mut file: File) -> Result<()> {
        let write = |error: std::io::Error| Error::new(Kind::Failed, "write the file").because(error);
        let mut sparse = match head.kind {
            EntryKind::Sparse(size) => Some(SparseWriter::new(size)),
            _ => None,
        };
        while let Some(content) = reader.next()? {
            self.meter.read.fetch_add(content.len() as u64, Relaxed);
            match &mut sparse {
                Some(sparse) => sparse.write(content, &mut file)?,
                None => file.write_all(content).map_err(write)?,
            }
        }
        match sparse {
            Some(sparse) => sparse.finish(&file),
            None => Ok(()),
        }
    }

    /// A hard link to an earlier entry, or a copy of it where that entry was not asked for.
    fn hardlink(&mut self, entry: &Entry, target: &Path) -> Result<()> {
        let missing = || Error::new(Kind::Damaged, "a hard link to no earlier file");
        let name = entry.link.as_deref().ok_or_else(missing)?;
        let original = self.bundle.manifest().entries.iter().find(|other| other.path == name);
        let original =
            original.filter(|other| matches!(other.kind, FileType::File | FileType::Sparse)).ok_or_else(missing)?;
        let earlier = self.place(original)?;
        if earlier.symlink_metadata().is_ok() {
            return fs::hard_link(&earlier, target).context(|| format!("link {}", target.display()));
        }
        self.write(original, target)
    }

    /// Owner, attributes, mode and time of a finished file, in that order: each would undo the one after it.
    fn dress(&mut self, target: &Path, head: &Head) -> Result<()> {
        let owner = |id: u64| u32::try_from(id).ok();
        if rustix::process::geteuid().is_root() && lchown(target, owner(head.uid), owner(head.gid)).is_err() {
            self.warn("owner-not-set", target, "its owner could not be set");
        }
        if matches!(head.kind, EntryKind::Symlink(_)) {
            return self.set_time(target, head);
        }
        for (name, value) in &head.xattrs {
            if xattr::set(target, std::ffi::OsStr::from_bytes(name), value).is_err() {
                self.warn(
                    "attribute-not-set",
                    target,
                    &format!("its attribute {} could not be set", path::to_text(name)),
                );
            }
        }
        // Without privileges a set-uid bit would make the file run as somebody else than intended.
        let mode = if rustix::process::geteuid().is_root() { head.mode } else { head.mode & 0o777 };
        fs::set_permissions(target, Permissions::from_mode(mode))
            .context(|| format!("set the mode of {}", target.display()))?;
        self.set_time(target, head)
    }

    fn set_time(&mut self, target: &Path, head: &Head) -> Result<()> {
        let time = Timespec { tv_sec: head.modified.0, tv_nsec: head.modified.1.into() };
        let times = Timestamps { last_access: time, last_modification: time };
        if utimensat(CWD, target, &times, AtFlags::SYMLINK_NOFOLLOW).is_err() {
            self.warn("time-not-set", target, "its time could not be set");
        }
        Ok(())
    }

    fn warn(&mut self, code: &str, target: &Path, message: &str) {
        self.result.warnings.push(Finding::warning(code, target.display().to_string(), message));
    }

    fn finish(mut self) -> Result<Extracted> {
        // Deepest first, so that no directory is changed after its time was set.
        let mut later = std::mem::take(&mut self.later);
        later.sort_by_key(|(target, head)| {
            (head.kind == EntryKind::Directory, std::cmp::Reverse(target.components().count()))
        });
        for (target, head) in later {
            if let EntryKind::Symlink(link) = &head.kind {
                symlink(std::ffi::OsStr::from_bytes(link), &target).context(|| format!("link {}", target.display()))?;
            }
            self.dress(&target, &head)?;
        }
        Ok(self.result)
    }
}

/// Reads an entry to its end for the sake of its digests.
fn drain<R: ReadAt>(reader: &mut EntryReader<'_, R>) -> Result<()> {
    while reader.next()?.is_some() {}
    Ok(())
}
