//! Locks that keep two runs apart. The system releases them with the process that holds them.
//!
//! Who can open a file can lock it, so that a lock is for the owner of its directory alone.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use crate::{Error, Kind, Result, trusted};

/// The mode of every lock.
const MODE: u32 = 0o600;
/// Whoever writes a note has done so long before.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);

/// Opens a file that is there to be locked, and makes it where it is missing. What root makes in another user's directory is that user's,
/// whose own runs it would hold up for good.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    // Whoever else may write there could have put a link, or a pipe, in its place.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let open = |new: bool| OpenOptions::new().create_new(new).write(true).mode(MODE).custom_flags(flags).open(path);
    let file = match open(true) {
        Err(cause) if cause.kind() == ErrorKind::AlreadyExists => open(false)?,
        made => made?,
    };
    let (found, user) = (file.metadata()?, rustix::process::geteuid());
    // Or something of root's, under another name.
    if !found.is_file() || found.nlink() != 1 || found.len() != 0 {
        return Err(io::Error::other("it is no lock: no empty file with one name"));
    }
    if user.is_root() {
        let around = path.parent().filter(|around| *around != Path::new("")).unwrap_or(Path::new(".")).metadata()?;
        if found.uid() != around.uid() {
            unless_forbidden(fchown(&file, Some(around.uid()), Some(around.gid())))?;
        }
    }
    // Older versions let everybody open some.
    if found.mode() & 0o777 != MODE && (user.is_root() || found.uid() == user.as_raw()) {
        unless_forbidden(file.set_permissions(Permissions::from_mode(MODE)))?;
    }
    Ok(file)
}

/// A server of NFS makes nobody of root, and a unit of systemd may keep root from giving files away: then a lock is whose it is.
fn unless_forbidden(changed: io::Result<()>) -> io::Result<()> {
    changed.or_else(|cause| if cause.kind() == ErrorKind::PermissionDenied { Ok(()) } else { Err(cause) })
}

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub struct Lock(File);

impl Drop for Lock {
    /// Closing the file is not enough: a program that another thread starts at this moment has it open too, until it runs.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// Locks an open file, without waiting; `path` is its name for messages.
///
/// # Errors
/// [`Kind::Locked`] with the message `held`, and who holds it, where another run does.
pub fn lock(file: File, path: &Path, held: impl FnOnce() -> String) -> Result<Lock> {
    lock_within(file, path, Duration::ZERO, held)
}

/// The same where it is held for a moment only, which is waited for.
///
/// # Errors
/// As [`lock`], where it is held for longer than that.
pub(crate) fn wait(file: File, path: &Path, held: impl FnOnce() -> String) -> Result<Lock> {
    lock_within(file, path, PATIENCE, held)
}

fn lock_within(file: File, path: &Path, limit: Duration, held: impl FnOnce() -> String) -> Result<Lock> {
    let end = Instant::now() + limit;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Lock(file)),
            Err(TryLockError::WouldBlock) if Instant::now() < end => std::thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => {
                let hint = "wait until it is done; the lock ends with the process that holds it, so none is ever stale";
                let error = Error::new(Kind::Locked, held()).hint(hint);
                return Err(match holder(&file) {
                    Some(holder) => error.because(format!("{} is held by {holder}", path.display())),
                    None => error,
                });
            }
            Err(TryLockError::Error(cause)) => {
                return Err(Error::new(Kind::Failed, format!("lock {}", path.display())).because(cause));
            }
        }
    }
}

/// Who holds a lock, as far as the system shows it.
fn holder(file: &File) -> Option<String> {
    let number = file.metadata().ok()?.ino().to_string();
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let process = locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_this = words.get(1) == Some(&"FLOCK") && words.get(5)?.rsplit(':').next() == Some(&*number);
        words.get(4).filter(|_| is_this).and_then(|process| process.parse::<u32>().ok())
    })?;
    let place = Path::new("/proc").join(process.to_string());
    let program = fs::read_to_string(place.join("comm")).ok()?;
    let user = trusted::user(place.metadata().ok()?.uid());
    Some(format!("process {process} of {user} ({})", program.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_its_owners_alone_and_says_who_holds_it() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("lock");
        fs::write(&path, "").expect("a file");
        fs::set_permissions(&path, Permissions::from_mode(0o666)).expect("a mode");
        let _held = lock(open(&path).expect("opened"), &path, String::new).expect("locked");
        assert_eq!(path.metadata().expect("there").mode() & 0o777, MODE);
        let begun = Instant::now();
        let second = open(&path).expect("opened");
        let error = lock_within(second, &path, Duration::from_millis(60), || "busy".into()).expect_err("held");
        assert!(begun.elapsed() >= Duration::from_millis(60) && error.kind() == Kind::Locked);
        let chain = error.chain();
        assert_eq!(chain[0], "busy");
        assert!(chain[1].contains(&format!("process {} of ", std::process::id())), "{chain:?}");
    }

    #[test]
    fn a_lock_that_is_let_go_is_free_although_a_program_that_is_being_started_has_the_file_open() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("lock");
        let file = open(&path).expect("opened");
        let inherited = file.try_clone().expect("a copy, as a program has it before it runs");
        drop(lock(file, &path, String::new).expect("locked"));
        let _again = lock(open(&path).expect("opened"), &path, || "busy".into()).expect("free");
        drop(inherited);
    }

    #[test]
    fn what_has_another_name_or_something_in_it_is_no_lock() {
        let place = tempfile::tempdir().expect("a directory");
        let (file, path) = (place.path().join("file"), place.path().join("lock"));
        fs::write(&file, "").expect("a file");
        fs::hard_link(&file, &path).expect("a link");
        assert!(open(&path).is_err());
        fs::remove_file(&file).expect("removed");
        assert!(open(&path).is_ok());
        fs::write(&path, "content").expect("written");
        assert!(open(&path).is_err());
    }
}
