//! Where what this machine must remember is kept.

pub mod users;

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::context::Environment;
use crate::lock::Lock;
use crate::written::sync_directory;
use crate::{Context, Error, ErrorContext, Kind, Result, lock, trusted};

pub use crate::trusted::MACHINE;

/// What to do where nothing can be kept.
pub(crate) const UNWRITABLE: &str = "see to its owner and its room, or name another place with STATE_DIRECTORY; until then no run and no restore is noted";

/// Where `STATE_DIRECTORY` says, else root's usual place; for others the one that was made for their jobs, else below `XDG_STATE_HOME` or
/// `~/.local/state`. It need not exist.
///
/// # Errors
/// Where nothing says a place.
pub fn directory(context: &Context) -> Result<PathBuf> {
    directory_of(rustix::process::geteuid().is_root(), users::own(), &context.environment)
}

/// `XDG_STATE_HOME` is a user's. Root may have it from whoever called sudo, and what root must remember is the machine's.
fn directory_of(is_root: bool, of_jobs: Option<PathBuf>, environment: &Environment) -> Result<PathBuf> {
    match (environment.get("STATE_DIRECTORY"), of_jobs, environment.get("XDG_STATE_HOME")) {
        (Some(directory), ..) => Ok(PathBuf::from(directory)),
        (None, ..) if is_root => Ok(PathBuf::from(MACHINE)),
        // What the user does by hand or by an errand is known to the jobs, and the other way round.
        (None, Some(directory), _) => Ok(directory),
        (None, None, Some(directory)) => Ok(Path::new(directory).join("orchestrator-cli")),
        (None, None, None) => {
            let home = environment.home.as_ref().ok_or_else(|| {
                Error::new(Kind::Failed, "find a place for what must be remembered: the user has no home directory")
                    .hint("name one with STATE_DIRECTORY")
            })?;
            Ok(home.join(".local/state/orchestrator-cli"))
        }
    }
}

/// Whether what this user has noted holds alone; else what root has noted holds for this user, too.
pub(crate) fn is_apart(context: &Context) -> bool {
    // Jobs have a directory of their user's below root's.
    let elsewhere = |directory| !Path::new(directory).starts_with(MACHINE);
    context.environment.get("STATE_DIRECTORY").is_some_and(elsewhere) || rustix::process::geteuid().is_root()
}

/// Tries whether something can be kept there, without leaving anything.
///
/// # Errors
/// Why it can't.
pub fn look(context: &Context) -> Result<()> {
    let directory = directory(context)?;
    let doing = || format!("write to {}", directory.display());
    let there = directory.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let tried = match there == directory {
        true => tempfile::tempfile_in(there).and_then(|mut file| file.write_all(b"x").and_then(|()| file.sync_all())),
        false => access(there, Access::WRITE_OK | Access::EXEC_OK).map_err(io::Error::from),
    };
    tried.map_err(|cause| Error::new(Kind::Failed, doing()).because(cause).hint(UNWRITABLE))
}

/// Makes a directory where it is missing, and locks it; `what` is its name for messages.
///
/// # Errors
/// [`Kind::Locked`] with the message `held` where another run holds it.
pub(crate) fn open_locked(directory: &Path, what: &str, held: &str) -> Result<Lock> {
    make_for(what, directory)?;
    let path = directory.join(".lock");
    let file = lock::open(&path).context(|| format!("open {what} {}", directory.display()))?;
    lock::lock(file, &path, || held.into())
}

/// Waits for its turn to change a file, which other runs change, too.
///
/// # Errors
/// [`Kind::Locked`] where that takes too long; with `doing`.
pub(crate) fn turn(path: &Path, doing: impl Fn() -> String) -> Result<Lock> {
    let place = path.with_extension("lock");
    let file = lock::open(&place).context(&doing)?;
    lock::wait(file, &place, || format!("{}: another run does so", doing()))
}

/// Makes a directory where it is missing; `what` is its name for messages.
///
/// # Errors
/// Where it can't be made; [`Kind::Refused`] for root where it is not root's alone.
pub(crate) fn make_for(what: &str, directory: &Path) -> Result<()> {
    make(directory).map_err(|cause| {
        let hint = match cause.kind() {
            io::ErrorKind::PermissionDenied => {
                "run as a user that may write there, or name another place with STATE_DIRECTORY"
            }
            _ => UNWRITABLE,
        };
        Error::new(Kind::Failed, format!("open {what} {}", directory.display())).because(cause).hint(hint)
    })?;
    // Whoever else can write there could have put it there, and something into it.
    trusted::check(directory, || format!("open {what} {}", directory.display()))
}

/// Reads a file that this machine acts on, if it is there.
///
/// # Errors
/// [`Kind::Refused`] for root where somebody else could have written it; with `doing`.
pub(crate) fn read(path: &Path, doing: impl Fn() -> String) -> Result<Option<Vec<u8>>> {
    trusted::check(path, &doing)?;
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(cause).context(doing),
    }
}

/// Writes a file for its owner alone, in a directory that is made where it is missing; whoever reads it meets all of it, and a power
/// cut finds the old one or the new one.
pub(crate) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    write_with_mode(path, content, 0o600)
}

/// The same with a mode, for what others may read.
pub(crate) fn write_with_mode(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    make(directory)?;
    let mut file = tempfile::Builder::new().tempfile_in(directory)?;
    // Whatever the umask is.
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    sync_directory(directory)
}

/// Makes a directory for its owner alone where it is missing. Through root's usual place others may pass: they read there who owns
/// the clusters. What is closed in it has a mode of its own.
pub(crate) fn make(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    if directory.starts_with(MACHINE) && rustix::process::geteuid().is_root() {
        let mode = fs::metadata(MACHINE)?.permissions().mode();
        if mode & PASS != PASS {
            fs::set_permissions(MACHINE, Permissions::from_mode((mode & 0o7777) | PASS))?;
        }
    }
    Ok(())
}

/// That group and others may pass through a directory.
const PASS: u32 = 0o011;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_remembers_for_the_machine_and_others_for_themselves() {
        for (is_root, variables, expected) in [
            (true, &[][..], Some(MACHINE)),
            (true, &["XDG_STATE_HOME"], Some(MACHINE)),
            (true, &["XDG_STATE_HOME", "STATE_DIRECTORY"], Some("/STATE_DIRECTORY")),
            (false, &["XDG_STATE_HOME"], Some("/XDG_STATE_HOME/orchestrator-cli")),
            (false, &["XDG_STATE_HOME", "STATE_DIRECTORY"], Some("/STATE_DIRECTORY")),
            (false, &[], None),
        ] {
            let variables = variables.iter().map(|name| ((*name).to_owned(), format!("/{name}"))).collect();
            let mut environment = Environment { variables, ..Environment::default() };
            let of = |environment: &Environment| directory_of(is_root, None, environment).ok();
            assert_eq!(of(&environment), expected.map(PathBuf::from), "{environment:?}");
            environment.home = Some("/home".into());
            let expected = expected.unwrap_or("/home/.local/state/orchestrator-cli");
            assert_eq!(of(&environment), Some(expected.into()), "{environment:?}");
        }
        let variables = [("XDG_STATE_HOME".to_owned(), "/elsewhere".to_owned())].into();
        let environment = Environment { variables, ..Environment::default() };
        let of_jobs = directory_of(false, Some("/jobs".into()), &environment).ok();
        assert_eq!(of_jobs, Some("/jobs".into()), "what the jobs know, their user knows");
    }
}
