//! A file that somebody named, opened; or what is to be done where it can't be.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::Seen;
use crate::accounts::Accounts;
use crate::encryption::is_encrypted;
use crate::names::DIGEST;
use crate::{Error, ErrorContext, Kind, Result, shell};

/// Opens a file that is read.
///
/// # Errors
/// [`Kind::NotFound`], with the name that is there, if one is nearly the same; [`Kind::Failed`], with the owner of a file that
/// may not be read; [`Kind::Damaged`] where it is no regular file.
pub(crate) fn open_file(path: &Path) -> Result<File> {
    // To open a pipe would wait for a writer.
    let nonblock = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(nonblock).open(path).map_err(|cause| {
        let (kind, hint) = match cause.kind() {
            io::ErrorKind::NotFound => (Kind::NotFound, what_is_there(path)),
            io::ErrorKind::PermissionDenied => (Kind::Failed, Some(how_to_read(path))),
            _ => (Kind::Failed, None),
        };
        let error = Error::new(kind, format!("open {}", path.display())).because(cause);
        if let Some(hint) = hint { error.hint(hint) } else { error }
    })?;
    let metadata = file.metadata().context(|| format!("open {}", path.display()))?;
    if !metadata.is_file() {
        return Err(Error::new(Kind::Damaged, format!("open {}: not a regular file, so not a bundle", path.display())));
    }
    Ok(file)
}

/// Opens a bundle's file, unless it is plainly something else.
pub(crate) fn open_bundle(path: &Path) -> Result<File> {
    let refused = |what: String, hint: String| {
        Err(Error::new(Kind::Damaged, format!("open {}: it is {what}, and no bundle", path.display())).hint(hint))
    };
    if path.is_file() && path.extension().is_some_and(|end| end == &DIGEST[1..]) {
        let bundle = path.with_extension("");
        let hint = if bundle.exists() { format!("name {}", shell::path(&bundle)) } else { copy_too(&bundle) };
        return refused("the digest of one".into(), hint);
    }
    match Seen::at(path) {
        Ok(seen) if seen.is_no_bundle() && !open_file(path).is_ok_and(|file| is_encrypted(&file)) => {
            refused(seen.what(), seen.way_out(path))
        }
        _ => open_file(path),
    }
}

/// What lies where nothing lies by the name that was given.
fn what_is_there(path: &Path) -> Option<String> {
    let with = |end: &str| PathBuf::from(format!("{}{end}", path.display()));
    let without = |end: &str| Some(PathBuf::from(path.to_str()?.strip_suffix(end)?));
    let others = [".tgz", ".tgz.age", ".age", ".gz", ".sql"].map(|end| Some(with(end)));
    let others = others.into_iter().chain([without(".age"), without(".gz")]).flatten();
    if let Some(other) = others.into_iter().find(|other| other.is_file()) {
        return Some(format!("name the one that is there: {}", shell::path(&other)));
    }
    with(DIGEST).is_file().then(|| copy_too(path))
}

fn copy_too(bundle: &Path) -> String {
    let directory = bundle.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = bundle.file_name().unwrap_or_default().to_string_lossy();
    format!("only its digest is there: copy {name} into {} too", directory.display())
}

/// Whose a file is that this user may not read, and the command that changes it.
fn how_to_read(path: &Path) -> String {
    let accounts = Accounts::load();
    let name = |number: u32| Some(accounts.user(number)).filter(|name| !name.is_empty()).unwrap_or(number.to_string());
    let own = name(rustix::process::geteuid().as_raw());
    // The first thing on the way that tells nothing lies in a directory that lets this user in not.
    let mut way: Vec<&Path> = path.ancestors().filter(|step| !step.as_os_str().is_empty()).collect();
    way.reverse();
    match way.iter().position(|step| step.metadata().is_err()) {
        Some(closed) if closed > 0 => {
            let directory = way[closed - 1];
            let owner = directory.metadata().map_or_else(|_| "another".into(), |metadata| name(metadata.uid()));
            let shown = directory.display();
            format!("{shown} belongs to {owner} and does not let {own} in: copy the file to another place, as root")
        }
        _ => {
            let owner = path.metadata().map_or_else(|_| "another".into(), |metadata| name(metadata.uid()));
            let chown = format!("sudo chown {} {}", shell::word(&own), shell::path(path));
            format!("it belongs to {owner}, and you are {own}: {chown}")
        }
    }
}
