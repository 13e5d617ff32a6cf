//! A directory of this machine as a store.

mod part;

use std::fs::{self, DirBuilder};
use std::io;
use std::iter;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rustix::fs::{Access, AtFlags, CWD, StatxAttributes, StatxFlags, access, statvfs, statx};
use rustix::io::Errno;

use self::part::{OWN, Part, put_small, sync};
use super::{BESIDE, ClaimName, Leftover, Store, Stored, Upload};
use super::{astray, bundles, claims, exists, is_part, is_taken, may_be_renamed};
use super::{read_small_file, trial};
use crate::bundle::reader::ReadAt;
use crate::cluster::agent::quoted;
use crate::finding::{Finding, bytes};
use crate::given::open_file;
use crate::lock::{self, Lock, lock};
use crate::names::FileName;
use crate::{Error, ErrorContext, Kind, Result};

const DIRECTORY: &str = "name the directory that keeps the bundles; the command show takes a single one";
/// The code of the finding that a store's directory is to be made.
pub(crate) const NEW: &str = "destination-new";
const LOCK: &str = ".orchestrator-cli.lock";
/// What a claim is called until it is there: a backup removes what is left of it.
const CLAIM: &str = "orchestrator_backup_claim";
const READ_ONLY: &str = "mount it so that it can be written, or name another place with --to";
const FULL: &str = "make room there, or name another place with --to";
const GRANT: &str = "give the user that runs the backup write permission there, or name another place with --to";

/// A directory that keeps bundles, and where a file system must be mounted for it.
#[derive(Debug, Clone)]
pub struct Directory(PathBuf, Option<PathBuf>);

impl Directory {
    /// The store in `path`, of which the last directory need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into(), None)
    }

    /// The same store, which is there only while a file system is mounted at `mount`.
    pub fn on(self, mount: Option<PathBuf>) -> Self {
        Self(self.0, mount)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Whether any backup has been written there: each leaves the file that keeps two runs apart.
    pub(crate) fn was_used(path: &Path) -> bool {
        path.join(LOCK).exists()
    }

    /// Makes the last directory of the path where it is missing.
    fn make(&self) -> Result<()> {
        self.look_for_mount()?;
        if self.0.exists() {
            return Ok(());
        }
        if let Some(parent) = self.parent().filter(|parent| !parent.exists()) {
            return Err(astray(&self.location(), parent));
        }
        let made = DirBuilder::new().mode(0o700).create(&self.0);
        // Somebody else may have made it meanwhile.
        let made = made.or_else(|cause| if self.0.is_dir() { Ok(()) } else { Err(cause) });
        made.and_then(|()| trial::of_directory(&self.0)).map_err(|cause| self.unwritable(cause))
    }

    /// The directory around it; none where that is the working directory.
    fn parent(&self) -> Option<&Path> {
        self.0.parent().filter(|parent| !parent.as_os_str().is_empty())
    }

    /// Refuses to take the directory below a mount for what is to be mounted there.
    fn look_for_mount(&self) -> Result<()> {
        let Some(mount) = &self.1 else { return Ok(()) };
        let doing = || format!("use {}", self.0.display());
        let hint = format!(
            "mount it: mount {}; the settings ask for it by require_mount",
            quoted(&mount.display().to_string())
        );
        match is_mounted(mount) {
            Ok(true) => Ok(()),
            Ok(false) => {
                let why = format!("no file system is mounted at {}", mount.display());
                Err(Error::new(Kind::Failed, doing()).because(why).hint(hint))
            }
            Err(cause) => {
                let why = format!("look what is mounted at {}: {cause}", mount.display());
                Err(Error::new(Kind::Failed, doing()).because(why).hint(hint))
            }
        }
    }

    fn lock(&self) -> Result<Lock> {
        let path = self.0.join(LOCK);
        let file = lock::open(&path).map_err(|cause| self.unwritable(cause))?;
        lock(file, &path, || format!("another backup is writing to {}", self.0.display()))
    }

    fn unwritable(&self, cause: io::Error) -> Error {
        let hint = match cause.kind() {
            io::ErrorKind::ReadOnlyFilesystem => READ_ONLY,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FULL,
            _ => GRANT,
        };
        Error::new(Kind::Failed, format!("write to {}", self.0.display())).because(cause).hint(hint)
    }

    /// Names and lengths of all files.
    fn files(&self) -> Result<Vec<(String, u64)>> {
        self.look_for_mount()?;
        let entries = fs::read_dir(&self.0).map_err(|cause| {
            let shown = self.0.display();
            let (kind, hint) = match cause.kind() {
                io::ErrorKind::PermissionDenied => {
                    (Kind::Failed, "run as root, or as the user that the jobs run as".into())
                }
                io::ErrorKind::NotFound => (Kind::NotFound, DIRECTORY.into()),
                io::ErrorKind::NotADirectory => (Kind::Failed, format!("{DIRECTORY}: `show {shown}`")),
                _ => (Kind::Failed, DIRECTORY.into()),
            };
            Error::new(kind, format!("list {shown}")).because(cause).hint(hint)
        })?;
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry.context(|| format!("list {}", self.0.display()))?;
            let file = entry.metadata().ok().filter(fs::Metadata::is_file);
            if let (Ok(name), Some(file)) = (entry.file_name().into_string(), file) {
                files.push((name, file.len()));
            }
        }
        Ok(files)
    }

    /// What runs that were killed have left, all of it.
    fn parts(&self) -> Result<Vec<Leftover>> {
        let mut parts = Vec::new();
        for entry in fs::read_dir(&self.0).context(|| format!("read {}", self.0.display()))?.flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            if is_part(&name) {
                let begun = entry.metadata().and_then(|metadata| metadata.modified()).ok().map(DateTime::from);
                parts.push(Leftover { name, begun });
            }
        }
        Ok(parts)
    }

    fn beside(&self, name: &FileName, suffix: &str) -> PathBuf {
        self.0.join(format!("{name}{suffix}"))
    }
}

impl Store for Directory {
    fn location(&self) -> String {
        self.0.display().to_string()
    }

    fn has_lock(&self) -> bool {
        true
    }

    fn check(&self, size: u64) -> Result<Vec<Finding>> {
        self.look_for_mount()?;
        let directory = &self.0;
        let shown = directory.display().to_string();
        let unwritable = |why: String, hint: &str| {
            Err(Error::new(Kind::Failed, format!("write to {shown}")).because(why).hint(hint))
        };
        let there = directory.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
        if !there.is_dir() {
            return unwritable(format!("{} is not a directory", there.display()), "name a directory with --to");
        }
        let new = there != directory;
        if let Some(parent) = self.parent().filter(|parent| new && there != *parent) {
            return Err(astray(&shown, parent));
        }
        match access(there, Access::WRITE_OK | Access::EXEC_OK) {
            Ok(()) => {}
            Err(Errno::ROFS) => {
                return unwritable(
                    format!("{} is on a file system that is mounted read-only", there.display()),
                    READ_ONLY,
                );
            }
            Err(_) => return unwritable(format!("no permission to write to {}", there.display()), GRANT),
        }
        if !new {
            trial::of_directory(directory).map_err(|cause| self.unwritable(cause))?;
        }
        let free = statvfs(there).map(|stat| stat.f_bavail * stat.f_frsize).unwrap_or(u64::MAX);
        Ok(vec![able(shown, new, Some(free), size)])
    }

    fn begin(&self, name: &FileName) -> Result<Box<dyn Upload>> {
        self.make()?;
        let lock = self.lock()?;
        // Whoever holds the lock knows that nobody else writes.
        // One that can't be removed costs room and harms nobody: it may be no file of ours.
        self.parts()?.iter().for_each(|part| drop(self.remove_leftover(part)));
        let target = self.0.join(name.to_string());
        if target.symlink_metadata().is_ok() {
            return Err(exists(&target.display().to_string()));
        }
        let part = Part::new(&self.0, name, lock).map_err(|cause| self.unwritable(cause))?;
        Ok(Box::new(part))
    }

    fn list(&self) -> Result<Vec<Stored>> {
        Ok(bundles(self.files()?))
    }

    fn others(&self) -> Result<Vec<String>> {
        Ok(self.files()?.into_iter().map(|(name, _)| name).filter(|name| may_be_renamed(name)).collect())
    }

    fn open_other(&self, file: &str) -> Result<Box<dyn ReadAt>> {
        open_file(&self.0.join(file)).map(|file| Box::new(file) as Box<dyn ReadAt>)
    }

    fn read_beside(&self, name: &FileName, suffix: &str) -> Result<Option<Vec<u8>>> {
        let path = self.beside(name, suffix);
        match read_small_file(&path) {
            Ok(content) => Ok(Some(content)),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(Error::new(Kind::Failed, format!("read {}", path.display())).because(cause)),
        }
    }

    fn write_beside(&self, name: &FileName, suffix: &str, content: &[u8]) -> Result<()> {
        let path = self.beside(name, suffix);
        put_small(&self.0, (&name.to_string(), OWN), content, |part| part.persist(&path))
            .context(|| format!("write {}", path.display()))?;
        sync(&self.0)
    }

    fn remove_beside(&self, name: &FileName, suffix: &str) -> Result<()> {
        delete(&self.beside(name, suffix))?;
        sync(&self.0)
    }

    fn open(&self, name: &FileName) -> Result<Box<dyn ReadAt>> {
        open_file(&self.0.join(name.to_string())).map(|file| Box::new(file) as Box<dyn ReadAt>)
    }

    fn remove(&self, name: &FileName) -> Result<()> {
        // What lies beside it goes last: without its bundle it misleads nobody.
        let bundle = self.0.join(name.to_string());
        for path in iter::once(bundle).chain(BESIDE.map(|suffix| self.beside(name, suffix))) {
            delete(&path)?;
        }
        sync(&self.0)
    }

    fn leftovers(&self, begun: DateTime<Utc>) -> Result<Vec<Leftover>> {
        // Whoever writes here holds the lock.
        let _lock = self.lock()?;
        Ok(self.parts()?.into_iter().filter(|part| part.is_before(begun)).collect())
    }

    fn remove_leftover(&self, leftover: &Leftover) -> Result<()> {
        let path = self.0.join(&leftover.name);
        fs::remove_file(&path).context(|| format!("remove the leftover {}", path.display()))
    }

    fn claims(&self) -> Result<Vec<ClaimName>> {
        self.look_for_mount()?;
        let entries = match fs::read_dir(&self.0) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.context(|| format!("list the claims in {}", self.0.display()))?,
        };
        let names: Vec<String> = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        Ok(claims(names.iter().map(String::as_str)))
    }

    fn read_claim(&self, name: &ClaimName) -> Result<Vec<u8>> {
        let path = self.0.join(name.to_string());
        read_small_file(&path).context(|| format!("read {}", path.display()))
    }

    fn claim(&self, name: &ClaimName, content: &[u8]) -> Result<Vec<Finding>> {
        self.make()?;
        let path = self.0.join(name.to_string());
        // Whoever else backs up into it must see it; nothing in it is secret.
        match put_small(&self.0, (CLAIM, 0o644), content, |part| part.persist_noclobber(&path)) {
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
                if self.read_claim(name)? != content {
                    return Err(is_taken(&path.display().to_string()));
                }
            }
            written => written.map_err(|cause| self.unwritable(cause))?,
        }
        sync(&self.0)?;
        Ok(Vec::new())
    }
}

/// Deletes a file; one that is not there is no error.
fn delete(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.context(|| format!("delete {}", path.display())),
    }
}

/// Whether a path is the root of a mounted file system; one that is mounted when it is looked at gets the time for that.
fn is_mounted(path: &Path) -> io::Result<bool> {
    let stat = statx(CWD, path.join("."), AtFlags::empty(), StatxFlags::empty())?;
    if stat.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT) {
        return Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT));
    }
    // A kernel before 5.8 does not say: there another file system than the parent's is a mounted one.
    let parent = fs::metadata(path.join(".."))?;
    Ok(fs::metadata(path)?.dev() != parent.dev())
}

/// That a store can be written, whether its directory comes first, and whether a bundle of `size` bytes may not fit into what is free.
pub(super) fn able(location: String, new: bool, free: Option<u64>, size: u64) -> Finding {
    if let Some(free) = free.filter(|free| *free < size) {
        let message = format!("{} are free there, and the bundle may take {}", bytes(free), bytes(size));
        return Finding::warning("space", location, message).hint("make room, or name another place with --to");
    }
    let free = free.map_or_else(String::new, |free| format!(", {} free", bytes(free)));
    match new {
        false => Finding::ok("destination", location, format!("can be written{free}")),
        true => Finding::info(NEW, location, format!("it does not exist and will be made{free}")),
    }
}
