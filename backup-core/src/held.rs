//! Directories that are held open: what is done in one is done there, whatever leads to it by now.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2, readlinkat, unlinkat};
use rustix::io::Errno;

use crate::{Error, ErrorContext, Kind, Result, shell, trusted};

/// Links that are followed one after the other, as the kernel has it.
const LINKS: usize = 40;

/// A directory, and what it is called.
pub(crate) struct Held {
    directory: OwnedFd,
    shown: PathBuf,
}

/// Something in a directory that is held: a path to it that leads nowhere else, and what it is called.
#[derive(Debug, Clone)]
pub(crate) struct At {
    pub(crate) path: PathBuf,
    pub(crate) shown: PathBuf,
}

impl At {
    /// Whether something is there.
    pub(crate) fn is_there(&self) -> bool {
        self.path.symlink_metadata().is_ok()
    }
}

impl Held {
    /// Opens a directory below `root`, if it is there. Out of a root that was named no link leads; without one no link is followed that
    /// somebody else has made.
    ///
    /// # Errors
    /// [`Kind::Refused`] with the link and its owner; the system's words.
    pub(crate) fn open(root: &Path, directory: &Path) -> Result<Option<Self>> {
        let doing = || format!("open {}", directory.display());
        let opened = match directory.strip_prefix(root) {
            Ok(below) if root != Path::new("/") => open_below(root, below),
            _ => walk(directory)?,
        };
        match opened {
            Ok(opened) => Ok(Some(Self { directory: opened, shown: directory.into() })),
            Err(Errno::NOENT) => Ok(None),
            Err(cause) => Err(io::Error::from(cause)).context(doing),
        }
    }

    /// The nearest directory to `directory` that is there, from it upwards.
    pub(crate) fn nearest(root: &Path, directory: &Path) -> Result<Self> {
        for above in directory.ancestors() {
            if let Some(held) = Self::open(root, above)? {
                return Ok(held);
            }
        }
        Err(Error::new(
            Kind::NotFound,
            format!("open {}: none of the directories above it is there", directory.display()),
        ))
    }

    /// Opens a directory below `root`, and makes those that are missing.
    pub(crate) fn make(root: &Path, directory: &Path) -> Result<Self> {
        let doing = || format!("create {}", directory.display());
        let mut held = Self::nearest(root, directory)?;
        let below = directory.strip_prefix(&held.shown).unwrap_or(Path::new("")).to_owned();
        for name in below.components() {
            match mkdirat(&held.directory, name.as_os_str(), Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(cause) => Err(io::Error::from(cause)).context(doing)?,
            }
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let opened = openat(&held.directory, name.as_os_str(), flags, Mode::empty());
            held = Self { directory: opened.map_err(io::Error::from).context(doing)?, shown: held.shown.join(name) };
        }
        Ok(held)
    }

    /// What has a name in it.
    pub(crate) fn at(&self, name: &OsStr) -> At {
        At { path: self.path().join(name), shown: self.shown.join(name) }
    }

    /// A path that leads to it.
    pub(crate) fn path(&self) -> PathBuf {
        // The dot, so that nobody looks at the link that this is.
        format!("/proc/self/fd/{}/.", self.directory.as_raw_fd()).into()
    }

    /// What it is called.
    pub(crate) fn shown(&self) -> &Path {
        &self.shown
    }

    /// Itself, to be read.
    pub(crate) fn file(&self) -> io::Result<File> {
        Ok(openat(&self.directory, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?.into())
    }

    /// Puts what has which name in it on disk.
    pub(crate) fn sync(&self) -> Result<()> {
        self.file().and_then(|file| file.sync_all()).context(|| format!("sync {}", self.shown.display()))
    }

    /// Removes a directory in it that is empty; one that is not, or is not there, stays as it is.
    pub(crate) fn remove_empty(&self, name: &OsStr) -> Result<()> {
        match unlinkat(&self.directory, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
            Err(cause) => Err(io::Error::from(cause)).context(|| format!("remove {}", self.shown.join(name).display())),
        }
    }
}

/// Opens a directory below another one as if that were the whole machine's root.
fn open_below(root: &Path, below: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, root, flags, Mode::empty())?;
    let below = if below.as_os_str().is_empty() { Path::new(".") } else { below };
    match openat2(&root, below, flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS) {
        // A kernel before 5.6, or a container's filter that does not know the call: then no link is followed.
        Err(Errno::NOSYS | Errno::PERM) => below.components().try_fold(root, |at, name| match name {
            Component::Normal(name) => openat(&at, name, flags | OFlags::NOFOLLOW, Mode::empty()),
            Component::CurDir => Ok(at),
            _ => Err(Errno::LOOP),
        }),
        opened => opened,
    }
}

/// Opens a directory name by name. Links of root and of our own are followed, each as it was when its owner was looked at.
fn walk(path: &Path) -> Result<Result<OwnedFd, Errno>> {
    let mut todo: VecDeque<OsString> = path.components().map(|part| part.as_os_str().to_owned()).collect();
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let (mut links, mut shown) = (0, PathBuf::new());
    // Whoever may not look into the working directory has no need to.
    let begin = if path.is_absolute() { "/" } else { "." };
    let mut at = match openat(CWD, begin, flags, Mode::empty()) {
        Ok(here) => here,
        Err(cause) => return Ok(Err(cause)),
    };
    while let Some(name) = todo.pop_front() {
        let next = match openat(&at, &name, flags, Mode::empty()) {
            Ok(next) => File::from(next),
            Err(cause) => return Ok(Err(cause)),
        };
        shown.push(&name);
        let metadata = next.metadata().context(|| format!("look at {}", shown.display()))?;
        if !FileType::from_raw_mode(metadata.mode()).is_symlink() {
            at = next.into();
            continue;
        }
        let owner = metadata.uid();
        if owner != 0 && owner != rustix::process::geteuid().as_raw() && !trusted::is_outside(owner) {
            return Err(refused(path, &shown, owner));
        }
        links += 1;
        let target = match readlinkat(&next, "", Vec::new()) {
            Ok(target) if links <= LINKS => PathBuf::from(OsString::from_vec(target.into_bytes())),
            Ok(_) => return Ok(Err(Errno::LOOP)),
            Err(cause) => return Ok(Err(cause)),
        };
        shown.pop();
        target.components().rev().for_each(|part| todo.push_front(part.as_os_str().to_owned()));
    }
    Ok(openat(&at, ".", flags | OFlags::DIRECTORY, Mode::empty()))
}

fn refused(path: &Path, link: &Path, owner: u32) -> Error {
    let message = format!("open {}: {} is a link of {}", path.display(), link.display(), trusted::user(owner));
    let hint = format!(
        "find out where it leads and why; if it is to be followed, as root: chown -h root {}; or name another place with --root",
        shell::path(link)
    );
    Error::new(Kind::Refused, message).hint(hint)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_root_is_left_by_no_link_and_what_is_held_stays_what_it_was() {
        let place = tempfile::tempdir().expect("a directory");
        let path = |name: &str| place.path().join(name);
        fs::create_dir_all(path("root/srv/own")).expect("directories");
        fs::create_dir_all(path("outside")).expect("a directory");
        symlink("/srv", path("root/absolute")).expect("a link");
        symlink("../../../outside", path("root/climbs")).expect("a link");
        symlink(path("outside"), path("root/leads out")).expect("a link");
        let root = path("root");
        let mark = |held: &Held, name: &str| fs::write(held.at(OsStr::new(name)).path, "").expect("written");
        mark(&Held::open(&root, &path("root/absolute/own")).expect("opened").expect("there"), "one");
        assert!(path("root/srv/own/one").exists());
        for name in ["root/climbs", "root/leads out", "root/not there"] {
            assert!(Held::open(&root, &path(name)).expect("looked").is_none(), "{name}");
        }
        assert!(Held::make(&root, &path("root/leads out/deep")).is_err());
        mark(&Held::make(&root, &path("root/a/b")).expect("made"), "two");
        assert!(path("root/a/b/two").exists() && names(&path("outside")) == 0);
        // Our own links are followed where no root was named, and what is held is not led elsewhere.
        let slash = Path::new("/");
        let held = Held::open(slash, &path("root/leads out")).expect("opened").expect("there");
        fs::rename(path("outside"), path("moved")).expect("moved");
        fs::create_dir(path("outside")).expect("another one");
        mark(&held, "three");
        assert!(path("moved/three").exists() && names(&path("outside")) == 0);
        held.remove_empty(OsStr::new("three")).expect_err("a file is no directory");
    }

    fn names(directory: &Path) -> usize {
        fs::read_dir(directory).expect("a directory").count()
    }
}
