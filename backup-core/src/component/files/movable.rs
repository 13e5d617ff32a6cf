//! Whether what stands at a place can step aside, and what is written beside it can take the place: two renames, which no
//! restore must find impossible after it has swapped the databases.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, StatxAttributes, StatxFlags, access, statfs, statx};
use rustix::io::Errno;

use super::place::Placement;
use super::system::rename;
use crate::held::{At, Held};
use crate::{Error, ErrorContext, Kind, Result, shell};

/// What else can be done wherever files can't be put back.
const ELSEWHERE: &str =
    "name another place with --root and copy from there, or restore the databases alone with --only databases";

impl Placement {
    /// Makes sure that it can take its place. For a moment a directory is made beside the place, and renamed.
    ///
    /// # Errors
    /// [`Kind::Refused`] with what stands in the way.
    pub fn check_renames(&self) -> Result<()> {
        let doing = || format!("put {} in its place", self.place.display());
        let refuse = |why: String, hint: String| {
            Err(Error::new(Kind::Refused, format!("{}: {why}", doing())).hint(format!("{hint}{ELSEWHERE}")))
        };
        let above = self.place.parent().unwrap_or(Path::new("/"));
        let held = Held::nearest(&self.root, above).context(doing)?;
        if let Some(first) = above.strip_prefix(held.shown()).ok().and_then(|missing| missing.components().next())
            && let at = held.at(first.as_os_str())
            && at.is_there()
        {
            let why = format!("{} is no directory, or a link that leads to none below there", at.shown.display());
            return refuse(why, "look where it leads; ".into());
        }
        let (path, there) = (held.path(), held.shown());
        match access(&path, Access::WRITE_OK | Access::EXEC_OK) {
            Ok(()) => {}
            Err(Errno::ROFS) => {
                return refuse(format!("{} is mounted read-only", there.display()), "mount it to be written, ".into());
            }
            Err(_) if held_fast(&path).is_none() => {
                return refuse(format!("no permission to write to {}", there.display()), "run as root, ".into());
            }
            Err(_) => {}
        }
        let standing = self.before.as_ref().map(|_| held.at(self.place.file_name().unwrap_or_default()));
        for at in standing.iter().chain([&At { path, shown: there.into() }]) {
            if let Some((why, option)) = held_fast(&at.path) {
                let hint = format!("`chattr {option} {}` lets it go; ", shell::path(&at.shown));
                return refuse(format!("{} is {why} (chattr)", at.shown.display()), hint);
            }
        }
        if let Some(place) = &standing {
            if is_mount(&place.path).unwrap_or_else(|| mounts().contains(&place.shown)) {
                let hint = format!(
                    "`umount {}`, or in a container mount the directory around it and not the file alone; or ",
                    shell::path(&place.shown)
                );
                return refuse("it is a mount point and can't step aside".into(), hint);
            }
            if let Some(mount) = mount_below(&place.path) {
                let hint = format!("`umount {}`; or ", shell::path(&mount));
                return refuse(format!("{} is mounted below it, and would step aside with it", mount.display()), hint);
            }
        }
        try_renames(&held, standing.as_ref()).map_err(|cause| {
            let error = Error::new(Kind::Refused, format!("{}: a rename was tried there, and failed", doing()));
            error.because(cause).hint(ELSEWHERE)
        })
    }
}

/// Renames a directory as it will be done, and takes it away again.
fn try_renames(directory: &Held, standing: Option<&At>) -> Result<()> {
    let doing = || format!("try a rename in {}", directory.shown().display());
    let trial =
        tempfile::Builder::new().prefix(".orchestrator-cli_trial_").tempdir_in(directory.path()).context(doing)?;
    let name = trial.path().file_name().unwrap_or_default().to_string_lossy();
    let inside = At { path: trial.path().join("renamed"), shown: directory.shown().join(&*name).join("renamed") };
    let beside = directory.at(format!("{name}_renamed").as_ref());
    fs::create_dir(&inside.path).context(doing)?;
    rename(&inside, &beside)?;
    rename(&beside, &inside)?;
    if let Some(standing) = standing {
        can_leave(&standing.path, trial.path())
            .map_err(io::Error::from)
            .context(|| format!("rename {}", standing.shown.display()))?;
    }
    trial.close().context(doing)
}

/// Renames what stands at a place to a directory that is `full`, which can't be done, and looks why not: nothing changes.
fn can_leave(standing: &Path, full: &Path) -> Result<(), Errno> {
    // A directory of an overlay's lower layer, as a container's image is, can't be renamed. On others nothing is tried with
    // a directory: some system that is reached by a network might put one in place of the other.
    let is_directory = standing.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
    if is_directory && statfs(standing)?.f_type != OVERLAY {
        return Ok(());
    }
    match rustix::fs::rename(standing, full) {
        Ok(()) | Err(Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
        Err(cause) => Err(cause),
    }
}

/// What `statfs` says of an overlay.
const OVERLAY: rustix::fs::FsWord = 0x794c_7630;

fn attributes(path: &Path) -> Option<(StatxAttributes, StatxAttributes)> {
    let found = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS).ok()?;
    Some((found.stx_attributes, found.stx_attributes_mask))
}

/// Why the system renames it for nobody, and what `chattr` takes that away with.
fn held_fast(path: &Path) -> Option<(&'static str, &'static str)> {
    let (attributes, _) = attributes(path)?;
    match attributes {
        _ if attributes.contains(StatxAttributes::IMMUTABLE) => Some(("immutable", "-i")),
        _ if attributes.contains(StatxAttributes::APPEND) => Some(("append-only", "-a")),
        _ => None,
    }
}

/// Whether something is mounted there; none where the system doesn't say.
fn is_mount(path: &Path) -> Option<bool> {
    let (attributes, known) = attributes(path)?;
    known.contains(StatxAttributes::MOUNT_ROOT).then(|| attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// A mount point below a directory. It would step aside too, and be emptied when what has stepped aside is removed.
fn mount_below(place: &Path) -> Option<PathBuf> {
    if !place.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return None;
    }
    let place = place.canonicalize().ok()?;
    // One that another mount hides is no mount point that can be seen.
    mounts().into_iter().find(|mount| *mount != place && mount.starts_with(&place) && is_mount(mount) != Some(false))
}

/// Every mount point that this process knows of.
fn mounts() -> Vec<PathBuf> {
    let table = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let point = |line: &[u8]| line.split(|byte| *byte == b' ').nth(4).map(unescaped);
    table.split(|byte| *byte == b'\n').filter_map(point).collect()
}

/// A path of the kernel's tables, which write space, tab, newline and backslash as three octal digits.
fn unescaped(text: &[u8]) -> PathBuf {
    let (mut path, mut rest) = (Vec::new(), text);
    while let [byte, after @ ..] = rest {
        let digits = after.get(..3).filter(|_| *byte == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        path.push(escaped.unwrap_or(*byte));
        rest = if escaped.is_some() { &after[3..] } else { after };
    }
    std::ffi::OsString::from_vec(path).into()
}

/// What a rename that failed means for whoever has to go on.
pub(super) fn advice(cause: &io::Error, path: &Path) -> Option<String> {
    (cause.raw_os_error() == Some(Errno::BUSY.raw_os_error()))
        .then(|| format!("it is a mount point: `umount {}`, then run the same command again", shell::path(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_kernel_are_read_as_they_are() {
        assert_eq!(unescaped(b"/a\\040b\\134c\\011"), Path::new("/a b\\c\t"));
        assert_eq!(unescaped(b"/end\\04"), Path::new("/end\\04"));
        assert!(mounts().contains(&"/proc".into()), "{:?}", mounts());
        assert_eq!((is_mount(Path::new("/proc")), is_mount(Path::new("/proc/self"))), (Some(true), Some(false)));
    }
}
