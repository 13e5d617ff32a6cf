//! What a bundle's appearance needs of a directory, done beforehand with one small file.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use tempfile::TempPath;

use super::PART;
use crate::written::sync_directory;

/// What the names of trial files begin with. They are always the same: where nothing can be removed, one stays and no more.
pub(super) const TRIAL: &str = ".orchestrator_backup_trial";
/// What stands in it.
pub(super) const CONTENT: &[u8] = b"orchestrator-cli tries whether it may write, rename and remove here\n";
/// Times that it is tried: of several runs each may take another one's file away.
pub(super) const ATTEMPTS: usize = 4;

/// The names of a trial file: as it is written, and as it is renamed.
pub(super) fn names() -> [String; 2] {
    ["", "-renamed"].map(|suffix| format!("{TRIAL}{suffix}{PART}"))
}

/// Writes a file in a directory of this machine, syncs, renames and removes it.
pub(super) fn of_directory(directory: &Path) -> io::Result<()> {
    let [from, to] = names().map(|name| directory.join(name));
    let mut attempt = 1;
    loop {
        // Never through a link that somebody else has put there, and never into a file that is there already.
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&from);
        let written = made.and_then(|mut file| file.write_all(CONTENT).and_then(|()| file.sync_all()));
        let tried = written.and_then(|()| rename_and_remove(&from, &to));
        match tried {
            Err(cause)
                if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::AlreadyExists) && attempt < ATTEMPTS =>
            {
                // What a crash has left of the same; a link goes itself, and not what it leads to.
                [&from, &to].iter().for_each(|path| drop(fs::remove_file(path)));
                attempt += 1;
            }
            Err(cause) => {
                let _ = fs::remove_file(&from);
                return Err(cause);
            }
            Ok(()) => return sync_directory(directory),
        }
    }
}

/// Renames as a bundle is renamed, never over anything.
fn rename_and_remove(from: &Path, to: &Path) -> io::Result<()> {
    TempPath::try_from_path(from)?.persist_noclobber(to).map_err(|error| {
        // It is not to be removed meanwhile: another run may have it.
        let _ = error.path.keep();
        error.error
    })?;
    match fs::remove_file(to) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => Err(cause),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_follows_no_link_and_leaves_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let precious = directory.path().join("precious");
        fs::write(&precious, "still here").expect("a file");
        for name in names() {
            std::os::unix::fs::symlink(&precious, directory.path().join(name)).expect("a link");
        }
        of_directory(directory.path()).expect("it can be written");
        assert_eq!(fs::read_to_string(&precious).expect("the file"), "still here");
        assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 1);
    }
}
