//! Extracts entries into a directory: nothing is overwritten, nothing is written through a link, and what does not
//! match its digest does not stay.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::dress::Dresser;
use super::header::{EntryKind, Head};
use super::manifest::{self, Entry, FileType};
use super::path;
use super::reader::{Bundle, EntryReader, ReadAt};
use super::sparse::{Expander, Trust};
use crate::context::Context;
use crate::event::Meter;
use crate::finding::{Finding, Told};
use crate::names::BundleName;
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

/// What to extract: paths, directories with all below them, or patterns with `*`, `**` and `?`.
pub struct Pattern {
    text: String,
    /// None for a text that is matched as it is.
    glob: Option<GlobSet>,
}

impl Pattern {
    /// A pattern.
    ///
    /// # Errors
    /// [`Kind::Usage`] where it is malformed.
    pub fn new(text: &str) -> Result<Self> {
        let below = text.strip_prefix("./").unwrap_or(text);
        // What `tar t` prints begins with the bundle's directory.
        let below = match below.split_once('/') {
            Some((first, rest)) if first.parse::<BundleName>().is_ok() => rest,
            _ => below,
        };
        let malformed = || format!("pattern {text}");
        let mut set = GlobSetBuilder::new();
        // `dir` stands for all below it, as it does for tar.
        for form in [below.trim_end_matches('/').to_owned(), format!("{}/**", below.trim_end_matches('/'))] {
            let glob = GlobBuilder::new(&form).literal_separator(true).build();
            set.add(glob.map_err(|cause| Error::new(Kind::Usage, malformed()).because(cause))?);
        }
        let glob = set.build().map_err(|cause| Error::new(Kind::Usage, malformed()).because(cause))?;
        Ok(Self { text: text.into(), glob: Some(glob) })
    }

    /// An entry's path, in which nothing stands for anything else, with all below it.
    pub fn exact(path: &str) -> Self {
        Self { text: path.into(), glob: None }
    }

    fn is_match(&self, path: &str) -> bool {
        match &self.glob {
            Some(glob) => glob.is_match(path),
            None => path.strip_prefix(&self.text).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        }
    }
}

/// Extracts every entry that one of `wanted` matches, or every entry if there are none, into a new directory below
/// `to`. It has its name only once all of it is there.
///
/// # Errors
/// [`Kind::Refused`] where the directory exists already, [`Kind::Damaged`] where an entry is, [`Kind::NotFound`]
/// where one of `wanted` matches nothing. What was extracted before a failure is removed again.
pub fn extract<R: ReadAt>(
    bundle: &Bundle<R>,
    wanted: &[Pattern],
    to: &Path,
    context: &Context,
    meter: &Meter,
) -> Result<Extracted> {
    let (name, entries) = (&bundle.manifest().name, &bundle.manifest().entries);
    let paths = || entries.iter().map(|entry| entry.path.as_str()).chain([manifest::PATH]);
    if let Some(pattern) = wanted.iter().find(|pattern| !paths().any(|path| pattern.is_match(path))) {
        return Err(Error::new(Kind::NotFound, format!("no entry of the bundle matches {}", pattern.text)));
    }
    let chosen = |path: &str| wanted.is_empty() || wanted.iter().any(|pattern| pattern.is_match(path));
    let directory = to.join(name);
    let exists = || {
        Error::new(Kind::Refused, format!("{} exists already", directory.display()))
            .hint("extract never overwrites; name another directory with --to, or move the old one away")
    };
    if directory.symlink_metadata().is_ok() {
        return Err(exists());
    }
    let create = || format!("create a directory in {}", to.display());
    fs::create_dir_all(to).context(create)?;
    let part = tempfile::Builder::new().prefix(&format!(".{name}.")).suffix(".part").tempdir_in(to);
    let part = part.context(create)?;
    let mut extraction = Extraction {
        bundle,
        part: part.path().to_owned(),
        context,
        meter,
        files: HashMap::new(),
        dresser: Dresser::new(part.path(), &directory, Told::all()),
        later: Vec::new(),
        result: Extracted { directory: directory.clone(), entries: 0, bytes: 0, warnings: Vec::new() },
    };
    entries.iter().filter(|entry| chosen(&entry.path)).try_for_each(|entry| extraction.entry(entry))?;
    if chosen(manifest::PATH) {
        extraction.manifest()?;
    }
    let extracted = extraction.finish()?;
    let rename = renameat_with(CWD, part.path(), CWD, &directory, RenameFlags::NOREPLACE);
    rename.map_err(|cause| match cause {
        Errno::EXIST => exists(),
        other => Error::new(Kind::Failed, format!("create {}", directory.display())).because(io::Error::from(other)),
    })?;
    // Its name is another one by now, so there is nothing left to remove.
    let _ = part.keep();
    Ok(extracted)
}

struct Extraction<'b, R> {
    bundle: &'b Bundle<R>,
    /// The directory under its temporary name.
    part: PathBuf,
    context: &'b Context,
    meter: &'b Meter,
    /// Where files are by now, by their paths in the bundle, for the hard links that follow them.
    files: HashMap<&'b str, PathBuf>,
    dresser: Dresser,
    /// Directories and symbolic links, which are made last: a link can't be written through before it exists, and a
    /// directory's mode and time must not be touched by what is put into it.
    later: Vec<(PathBuf, Head)>,
    result: Extracted,
}

impl<'b, R: ReadAt> Extraction<'b, R> {
    fn entry(&mut self, entry: &'b Entry) -> Result<()> {
        self.check_cancelled()?;
        let target = self.place(entry)?;
        self.write(entry, &target).context(|| format!("extract {}", entry.path))?;
        self.result.entries += 1;
        self.result.bytes += entry.size;
        self.meter.written.fetch_add(entry.stored, Relaxed);
        Ok(())
    }

    fn check_cancelled(&self) -> Result<()> {
        if self.context.cancel.is_cancelled() {
            return Err(Error::new(Kind::Interrupted, "interrupted before everything was extracted"));
        }
        Ok(())
    }

    /// The manifest itself, for what README.txt has to say about it.
    fn manifest(&mut self) -> Result<()> {
        let json = self.bundle.manifest_json()?;
        let target = self.part.join(manifest::PATH);
        self.new_file(&target)?.write_all(&json).context(|| format!("extract {}", manifest::PATH))?;
        self.result.entries += 1;
        self.result.bytes += json.len() as u64;
        Ok(())
    }

    fn place(&self, entry: &Entry) -> Result<PathBuf> {
        let bytes = entry.path_bytes().filter(|bytes| path::refuse(bytes).is_none());
        let bytes = bytes.ok_or_else(|| Error::new(Kind::Damaged, format!("entry {}: a bad path", entry.path)))?;
        Ok(self.part.join(std::ffi::OsStr::from_bytes(&bytes)))
    }

    fn write(&mut self, entry: &'b Entry, target: &Path) -> Result<()> {
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
                self.files.insert(&entry.path, target.to_owned());
                self.fill(&mut reader, &head, file)?;
                self.dresser.dress(target, &head)
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
        let write = |error: io::Error| Error::new(Kind::Failed, "write the file").because(error);
        // Where its pieces must be in order the reader has seen to that.
        let mut sparse = match head.kind {
            EntryKind::Sparse(size) => Some((Expander::new(size, Trust::AnyOrder), size)),
            _ => None,
        };
        while let Some(content) = reader.next()? {
            self.check_cancelled()?;
            self.meter.read.fetch_add(content.len() as u64, Relaxed);
            match &mut sparse {
                Some((expander, _)) => {
                    expander.take(content, |offset, data| file.write_all_at(data, offset).map_err(write))?;
                }
                None => file.write_all(content).map_err(write)?,
            }
        }
        match sparse {
            Some((expander, size)) => {
                expander.finish()?;
                file.set_len(size).context(|| "set the file's length".into())
            }
            None => Ok(()),
        }
    }

    /// A hard link to an earlier entry, or a copy of it where that entry was not asked for.
    fn hardlink(&mut self, entry: &'b Entry, target: &Path) -> Result<()> {
        let missing = || Error::new(Kind::Damaged, "a hard link to no earlier file");
        let name = entry.link.as_deref().ok_or_else(missing)?;
        if let Some(earlier) = self.files.get(name) {
            return fs::hard_link(earlier, target).context(|| format!("link {}", target.display()));
        }
        let original = self.bundle.manifest().entries.iter().find(|other| other.path == name);
        let original = original.filter(|other| matches!(other.kind, FileType::File | FileType::Sparse));
        self.write(original.ok_or_else(missing)?, target)
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
            self.dresser.dress(&target, &head)?;
        }
        self.result.warnings = self.dresser.into_findings();
        Ok(self.result)
    }
}

/// Reads an entry to its end for the sake of its digests.
fn drain<R: ReadAt>(reader: &mut EntryReader<'_, R>) -> Result<()> {
    while reader.next()?.is_some() {}
    Ok(())
}
