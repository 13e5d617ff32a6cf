//! Directories of the users that jobs run as, below root's own: what is in one is its user's alone, and root acts on nothing of it.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{AtFlags, Dir, Gid, Mode, OFlags, RenameFlags, Uid};
use rustix::fs::{fchmod, fchown, mkdirat, openat, renameat_with, statat};
use rustix::io::Errno;

use super::{MACHINE, PASS};
use crate::{Error, ErrorContext, Kind, Result, trusted};

/// The directory below root's in which each user has one.
const USERS: &str = "users";
/// The journal of runs; what root wrote of it holds for the jobs' user, too.
const RUNS: &str = "runs.json";
/// What a part of it is called while it is copied.
const HALF: &str = "runs.json.part";
/// More than any journal of runs holds.
const MOST: u64 = 64 << 20;

/// The state directory of the jobs that run as a user.
pub fn directory(user: &str) -> PathBuf {
    if user == "root" { MACHINE.into() } else { Path::new(MACHINE).join(USERS).join(user) }
}

/// The directory that was made for the jobs of whoever runs this; none where there is none, or it is somebody else's.
pub(super) fn own() -> Option<PathBuf> {
    let user = rustix::process::geteuid().as_raw();
    let own = Path::new(MACHINE).join(USERS).join(trusted::user(user));
    let found = own.symlink_metadata().ok()?;
    (found.is_dir() && found.uid() == user).then_some(own)
}

/// What was moved out of root's directory: its name, whose it is, and where it is now.
pub type Moved = (String, String, PathBuf);

/// Makes root's directory root's alone, and in it one for a user. What others own in root's, as older versions left it, goes to directories
/// of theirs: nothing is given to anybody. No path is followed that somebody else could change meanwhile.
///
/// # Errors
/// Where this is not root; where there is no such user; [`Kind::Refused`] where something else has the place.
pub fn prepare(user: &str) -> Result<Vec<Moved>> {
    let doing = || format!("make the directory for the state of {user}'s jobs");
    if !rustix::process::geteuid().is_root() {
        return Err(Error::new(Kind::Failed, doing()).because("only root can").hint("run it as root"));
    }
    let (uid, gid) = (number("-u", user)?, number("-g", user)?);
    let machine = Machine::take().context(doing)?;
    let moved = machine.sort_out().context(doing)?;
    if uid != 0 {
        let own = machine.open(user, uid)?;
        machine.hand_on_runs(&own).context(doing)?;
        own.give(uid, gid).context(doing)?;
    }
    Ok(moved)
}

/// Journals of runs of users' jobs, for whoever only looks at them. Who wrote one is not root: it is read as what it may be.
pub(crate) fn journals() -> Vec<PathBuf> {
    let users = Path::new(MACHINE).join(USERS);
    let entries = fs::read_dir(users).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path().join(RUNS)).collect();
    paths.sort();
    paths
}

/// Reads a file that its owner may put in its place what it likes: no link, no pipe, and no more than a journal can be.
pub(crate) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut content = Vec::new();
    file.take(MOST).read_to_end(&mut content)?;
    Ok(Some(content))
}

/// A number of a user, as the system knows it.
fn number(which: &str, user: &str) -> Result<u32> {
    let doing = || format!("look for the user {user}");
    let output = Command::new("id").args([which, "--", user]).output().context(doing)?;
    let number = String::from_utf8_lossy(&output.stdout).trim().parse().ok();
    number.filter(|_| output.status.success()).ok_or_else(|| {
        let error = Error::new(Kind::NotFound, doing()).because("this machine has no such user");
        error.hint("the packages make orchestrator-cli; --user names another one, such as postgres")
    })
}

/// Root's directory, held open.
struct Machine {
    directory: File,
    users: File,
    /// Whose it was, where that was not root.
    was: Option<u32>,
}

impl Machine {
    /// Makes it, and makes it root's alone.
    fn take() -> Result<Self> {
        let doing = || format!("take {MACHINE}");
        let machine = Path::new(MACHINE);
        DirBuilder::new().recursive(true).mode(0o755).create(machine).context(doing)?;
        let real = machine.canonicalize().context(doing)?;
        for around in [machine.parent(), real.parent()].into_iter().flatten() {
            trusted::check(around, doing)?;
        }
        let directory = open_directory(rustix::fs::CWD, real.as_os_str()).context(doing)?;
        let found = directory.metadata().context(doing)?;
        let was = Some(found.uid()).filter(|owner| *owner != 0);
        if was.is_some() {
            fchown(&directory, Some(Uid::ROOT), Some(Gid::ROOT)).map_err(io::Error::from).context(doing)?;
        }
        // From here on nobody else makes, renames or removes anything in it.
        let mode = Mode::from_raw_mode((found.mode() & 0o755) | PASS);
        fchmod(&directory, mode).map_err(io::Error::from).context(doing)?;
        let users = make_directory(&directory, OsStr::new(USERS), 0o755).context(doing)?;
        if users.metadata().context(doing)?.uid() != 0 {
            let error = Error::new(Kind::Refused, format!("{}: {MACHINE}/{USERS} is not root's", doing()));
            return Err(error.hint(format!("look what it is, then: mv -nT {MACHINE}/{USERS} {MACHINE}/{USERS}.other")));
        }
        // Whatever the umask is.
        fchmod(&users, Mode::from_raw_mode(0o755)).map_err(io::Error::from).context(doing)?;
        Ok(Self { directory, users, was })
    }

    /// Moves what others own to directories of theirs.
    fn sort_out(&self) -> Result<Vec<Moved>> {
        let doing = || format!("read {MACHINE}");
        let mut moved = Vec::new();
        let entries = Dir::read_from(&self.directory).map_err(io::Error::from).context(doing)?;
        let names: Vec<_> = entries.flatten().map(|entry| entry.file_name().to_owned()).collect();
        for name in names {
            let name = OsStr::from_bytes(name.to_bytes());
            let is_dots = [".", ".."].iter().any(|dots| name == *dots);
            let found = statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW).map_err(io::Error::from);
            let owner = found.context(doing)?.st_uid;
            if is_dots || owner == 0 || (is_hidden(name) && is_home(owner)) {
                continue;
            }
            let user = trusted::user(owner);
            let own = self.open(&user, owner)?;
            let place = directory(&user).join(name);
            let to = || format!("move {} to {}", Path::new(MACHINE).join(name).display(), place.display());
            let renamed = renameat_with(&self.directory, name, &own.0, name, RenameFlags::NOREPLACE);
            match renamed {
                // One is there already, and whoever has it goes on with that.
                Err(Errno::EXIST) => continue,
                renamed => renamed.map_err(io::Error::from).context(to)?,
            }
            own.give(owner, own.0.metadata().context(to)?.gid()).context(to)?;
            moved.push((name.to_string_lossy().into_owned(), user, place));
        }
        Ok(moved)
    }

    /// Opens the directory of a user, and makes it where it is missing; root's until it is given.
    fn open(&self, user: &str, uid: u32) -> Result<Own> {
        let path = directory(user);
        let doing = || format!("make {}", path.display());
        let own = make_directory(&self.users, OsStr::new(user), 0o700).context(doing)?;
        let owner = own.metadata().context(doing)?.uid();
        if owner != 0 && owner != uid {
            let error = Error::new(Kind::Refused, format!("{}: it belongs to {}", doing(), trusted::user(owner)));
            return Err(error.hint(format!("mv -nT {0} {0}.other", crate::shell::path(&path))));
        }
        Ok(Own(own))
    }

    /// Root's own journal of runs holds those of the jobs where both had one directory; the jobs go on from there.
    fn hand_on_runs(&self, own: &Own) -> Result<()> {
        let doing = || format!("copy {MACHINE}/{RUNS}");
        let there = statat(&own.0, RUNS, AtFlags::SYMLINK_NOFOLLOW);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let runs = openat(&self.directory, RUNS, flags, Mode::empty());
        let (Some(_), Err(Errno::NOENT), Ok(runs)) = (self.was, there, runs) else { return Ok(()) };
        let copy = || {
            // Half of it would be damage for good. Nobody else writes here yet.
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut part = File::from(openat(&own.0, HALF, flags, Mode::from_raw_mode(0o644))?);
            io::copy(&mut File::from(runs), &mut part)?;
            part.sync_all()?;
            renameat_with(&own.0, HALF, &own.0, RUNS, RenameFlags::NOREPLACE)?;
            own.0.sync_all()
        };
        copy().context(doing)
    }
}

/// A user's directory.
struct Own(File);

impl Own {
    /// Makes it that user's: itself, and nothing in it.
    fn give(&self, uid: u32, gid: u32) -> io::Result<()> {
        fchown(&self.0, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        Ok(fchmod(&self.0, Mode::from_raw_mode(0o700))?)
    }
}

fn make_directory(around: &File, name: &OsStr, mode: u32) -> io::Result<File> {
    match mkdirat(around, name, Mode::from_raw_mode(mode)) {
        Ok(()) | Err(Errno::EXIST) => open_directory(around, name),
        Err(cause) => Err(cause.into()),
    }
}

fn open_directory(around: impl std::os::fd::AsFd, name: &OsStr) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(around, name, flags, Mode::empty())?.into())
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".")
}

/// Whether root's directory is a user's home still, as older packages made it: its keys and passwords are looked for there.
fn is_home(owner: u32) -> bool {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    passwd.lines().any(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        fields.get(2) == Some(&owner.to_string().as_str()) && fields.get(5).map(Path::new) == Some(Path::new(MACHINE))
    })
}
