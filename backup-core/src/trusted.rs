//! What root believes: what nobody else can have written, all directories on the way included, as sshd has it with `StrictModes`.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use crate::accounts::Accounts;
use crate::{Error, ErrorContext, Kind, Result, shell};

/// Where root keeps what a machine must remember; the jobs of other users have directories of theirs in it.
pub const MACHINE: &str = "/var/lib/orchestrator-cli";

/// Links that are followed one after the other, as the kernel has it.
const LINKS: usize = 40;
/// That group or others may write.
const WRITABLE: u32 = 0o022;
/// That what is in a directory can be renamed and removed by its owner alone.
const STICKY: u32 = 0o1000;

/// Refuses for root what somebody else could have put at a path, or on the way to it. What does not exist is nobody's. Whoever is not root
/// is asked for nothing: who else may write to his directories is his own matter.
///
/// # Errors
/// [`Kind::Refused`] with `doing`, naming what is not root's, and whose it is.
pub fn check(path: &Path, doing: impl FnOnce() -> String) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    match stranger(path, 0).context(|| format!("look at {}", path.display()))? {
        None => Ok(()),
        Some(found) => {
            let (why, hint) = found.said();
            Err(Error::new(Kind::Refused, doing()).because(why).hint(hint))
        }
    }
}

/// Whether root may act on what is there.
pub(crate) fn is_trusted(path: &Path) -> bool {
    check(path, String::new).is_ok()
}

/// What keeps a path from being believed.
#[derive(Debug, PartialEq, Eq)]
enum Stranger {
    /// It belongs to somebody else, by the user's number.
    Owner(PathBuf, u32),
    /// Others may write to it; its mode.
    Open(PathBuf, u32),
}

impl Stranger {
    fn said(&self) -> (String, String) {
        match self {
            Self::Owner(path, owner) => {
                let user = user(*owner);
                let why =
                    format!("{} belongs to {user}, and root acts on nothing that others can write", path.display());
                let word = shell::path(path);
                let hint = if path == Path::new(MACHINE) {
                    format!(
                        "as root: `schedule prepare --user {}` gives each user a directory of its own",
                        shell::word(&user)
                    )
                } else {
                    format!(
                        "look what is in it; if root is to act on it, as root: chown -h root {word} && chmod go-w {word}"
                    )
                };
                (why, hint)
            }
            Self::Open(path, mode) => {
                let why = format!(
                    "others may write to {}, which has the mode {:o}, and root acts on nothing that others can write",
                    path.display(),
                    mode & 0o7777
                );
                (why, format!("look what is in it; then, as root: chmod go-w {}", shell::path(path)))
            }
        }
    }
}

/// A user for messages.
pub(crate) fn user(number: u32) -> String {
    let name = Accounts::load().user(number);
    if name.is_empty() { number.to_string() } else { name }
}

/// The first thing on the way to a path that neither root nor `user` alone can change. What was looked at can't be changed by others
/// afterwards, so that opening the path leads to what was seen here.
fn stranger(path: &Path, user: u32) -> std::io::Result<Option<Stranger>> {
    let mut todo: VecDeque<OsString> = parts(&std::path::absolute(path)?);
    let (mut at, mut links) = (PathBuf::from("/"), 0);
    loop {
        let metadata = match at.symlink_metadata() {
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
            metadata => metadata?,
        };
        if let Some(found) = judge(&at, &metadata, user) {
            return Ok(Some(found));
        }
        if metadata.is_symlink() {
            links += 1;
            if links > LINKS {
                return Err(rustix::io::Errno::LOOP.into());
            }
            let target = fs::read_link(&at)?;
            at.pop();
            if target.is_absolute() {
                at = "/".into();
            }
            parts(&target).into_iter().rev().for_each(|part| todo.push_front(part));
        }
        match todo.pop_front() {
            None => return Ok(None),
            Some(part) if part == ".." => drop(at.pop()),
            Some(part) => at.push(part),
        }
    }
}

fn parts(path: &Path) -> VecDeque<OsString> {
    let part = |part: Component<'_>| match part {
        Component::Normal(_) | Component::ParentDir => Some(part.as_os_str().to_owned()),
        _ => None,
    };
    path.components().filter_map(part).collect()
}

fn judge(path: &Path, metadata: &Metadata, user: u32) -> Option<Stranger> {
    let (owner, mode) = (metadata.uid(), metadata.mode());
    if owner != 0 && owner != user && !is_outside(owner) {
        return Some(Stranger::Owner(path.into(), owner));
    }
    // A link's own mode means nothing. In a sticky directory others put nothing in the place of what is not theirs, which is looked at next.
    let open = mode & WRITABLE != 0 && !metadata.is_symlink() && !(metadata.is_dir() && mode & STICKY != 0);
    open.then(|| Stranger::Open(path.into(), mode))
}

/// Whether a number stands for all users that this user namespace does not know, such as the machine's own root: no process in here has it.
pub(crate) fn is_outside(owner: u32) -> bool {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let number = |text: &str| text.trim().parse::<u64>().ok();
    if number(&read("/proc/sys/kernel/overflowuid")) != Some(owner.into()) {
        return false;
    }
    let map = read("/proc/self/uid_map");
    let is_known = |line: &str| {
        let mut words = line.split_whitespace();
        let (first, length) = (words.next().and_then(number), words.nth(1).and_then(number));
        first.zip(length).is_none_or(|(first, length)| (first..first + length).contains(&owner.into()))
    };
    !map.is_empty() && !map.lines().any(is_known)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn what_others_can_write_is_no_matter_of_roots_and_each_step_of_the_way_counts() {
        let place = tempfile::tempdir().expect("a directory");
        let path = |name: &str| place.path().join(name);
        fs::create_dir_all(path("own/deep")).expect("directories");
        fs::create_dir_all(path("open/deep")).expect("directories");
        fs::create_dir_all(path("sticky/deep")).expect("directories");
        for name in ["own", "open", "sticky"] {
            fs::write(path(name).join("deep/file"), "content").expect("a file");
        }
        let mode = |name: &str, mode| fs::set_permissions(path(name), Permissions::from_mode(mode)).expect("a mode");
        mode("open", 0o777);
        mode("sticky", 0o1777);
        symlink(path("open/deep"), path("own/link")).expect("a link");
        symlink("../own/deep", path("own/sound")).expect("a link");
        symlink("itself", path("own/itself")).expect("a link");
        let user = rustix::process::geteuid().as_raw();
        let found = |name: &str| stranger(&path(name), user).expect("seen");
        let open = || Some(Stranger::Open(path("open"), 0o40777));
        for (name, expected) in [
            ("own/deep/file", None),
            ("own/not/there", None),
            ("own/sound/file", None),
            ("sticky/deep/file", None),
            ("open/deep/file", open()),
            ("own/link/file", open()),
            ("own/../open/deep", open()),
        ] {
            assert_eq!(found(name), expected, "{name}");
        }
        assert!(stranger(&path("own/itself"), user).is_err());
        mode("own/deep/file", 0o660);
        assert_eq!(found("own/deep/file"), Some(Stranger::Open(path("own/deep/file"), 0o100_660)));
        // Somebody else's is none of a user's that is neither it nor root.
        if user != 0 {
            assert_eq!(stranger(&path("own"), user + 1).expect("seen"), Some(Stranger::Owner(path(""), user)));
        }
    }
}
