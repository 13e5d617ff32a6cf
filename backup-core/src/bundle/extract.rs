//! Extracts entries into a directory: nothing is overwritten, nothing is written through a link, and what does not
//! match its digest does not stay.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use rustix::fs::{AtFlags, CWD, RenameFlags, Timespec, Timestamps, renameat_with, utimensat};
use rustix::io::Errno;

use super::header::{EntryKind, Head};
use super::manifest::{self, Entry, FileType};
use super::path;
use super::reader::{Bundle, EntryReader, ReadAt};
use super::sparse::{Expander, Trust};
use crate::accounts::Accounts;
use crate::context::Context;
use crate::event::Meter;
use crate::finding::Finding;
use crate::names::BundleName;
use crate::{Error, ErrorContext, Kind, Result};

const SET_USER: u32 = 0o4000;
const SET_GROUP: u32 = 0o2000;

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
        accounts: Accounts::load(),
        unknown: BTreeSet::new(),
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
    accounts: Accounts,
    /// Owners whose names nobody has here.
    unknown: BTreeSet<String>,
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

    /// Owner, attributes, mode and time of a finished file, in that order: each would undo the one after it.
    fn dress(&mut self, target: &Path, head: &Head) -> Result<()> {
        if rustix::process::geteuid().is_root() {
            let (user, group) = self.owner(head);
            if lchown(target, user, group).is_err() {
                self.warn("owner-not-set", target, "its owner could not be set");
            }
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
        self.set_mode(target, head).context(|| format!("set the mode of {}", target.display()))?;
        self.set_time(target, head)
    }

    /// A bit that lends the rights of its user or group would lend those of others, where that is another one here.
    fn set_mode(&mut self, target: &Path, head: &Head) -> io::Result<()> {
        let here = target.symlink_metadata()?;
        let user = self.accounts.user_number(&head.user).or(u32::try_from(head.uid).ok());
        let group = self.accounts.group_number(&head.group).or(u32::try_from(head.gid).ok());
        let mut mode = head.mode;
        if !rustix::process::geteuid().is_root() {
            mode &= if user == Some(here.uid()) { 0o7777 } else { !SET_USER };
            mode &= if group == Some(here.gid()) { 0o7777 } else { !SET_GROUP };
        }
        fs::set_permissions(target, Permissions::from_mode(mode))?;
        let lacks = head.mode & !target.symlink_metadata()?.mode() & 0o7777;
        for (bit, name, whose) in [(SET_USER, "setuid", "user"), (SET_GROUP, "setgid", "group")] {
            if lacks & bit != 0 {
                self.warn(
                    "mode-not-set",
                    target,
                    &format!("its {name} bit is not set: it belongs to another {whose} here"),
                );
            }
        }
        if lacks & !(SET_USER | SET_GROUP) != 0 {
            self.warn("mode-not-set", target, &format!("its mode {:o} could not be set", head.mode));
        }
        Ok(())
    }

    /// Whom an entry belongs to here: whoever has the names that it had, as tar does it, else the numbers.
    fn owner(&mut self, head: &Head) -> (Option<u32>, Option<u32>) {
        let pick = |kind: &str, name: &str, here: Option<u32>, there: u64, unknown: &mut BTreeSet<String>| {
            if here.is_none() && !name.is_empty() {
                unknown.insert(format!("{kind} {name}, number {there}"));
            }
            here.or(u32::try_from(there).ok())
        };
        let user = self.accounts.user_number(&head.user);
        let group = self.accounts.group_number(&head.group);
        let unknown = &mut self.unknown;
        (pick("user", &head.user, user, head.uid, unknown), pick("group", &head.group, group, head.gid, unknown))
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
        let shown = self.result.directory.join(target.strip_prefix(&self.part).unwrap_or(target));
        self.result.warnings.push(Finding::warning(code, shown.display().to_string(), message));
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
        for owner in &self.unknown {
            let message = "nobody has this name here: what belonged to it belongs to whoever has the number";
            let finding = Finding::warning("owner-unknown", owner, message);
            self.result
                .warnings
                .push(finding.hint("make the account with this number, or correct the owner afterwards"));
        }
        Ok(self.result)
    }
}

/// Reads an entry to its end for the sake of its digests.
fn drain<R: ReadAt>(reader: &mut EntryReader<'_, R>) -> Result<()> {
    while reader.next()?.is_some() {}
    Ok(())
}
