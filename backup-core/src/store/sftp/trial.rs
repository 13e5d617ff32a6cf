//! What a bundle's appearance needs of a server, done beforehand with one small file: to write, sync, rename and remove.

use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use ssh2::{ErrorCode, OpenFlags};

use super::connect::Connection;
use super::line::is_answer;
use super::outgoing::Outgoing;
use super::{NOT_THERE, Sftp};
use crate::finding::Finding;
use crate::store::trial::{ATTEMPTS, CONTENT, names};
use crate::{Error, Kind, Result};

/// What SFTP says to a request that it does not know, and to one that it forbids.
const CANNOT: [ErrorCode; 2] = [ErrorCode::SFTP(8), ErrorCode::SFTP(3)];

/// What shows when the trial file is written.
struct Written {
    /// Whether it could be brought onto the disk.
    synced: bool,
    /// Bytes that are free there.
    room: Option<u64>,
}

/// Whether a file is not there, after it was removed if need be.
fn is_gone(connection: &Connection, path: &Path) -> bool {
    !connection.has(path) || connection.remove(path).is_ok() || !connection.has(path)
}

/// Whether a server has no way to bring a file onto its disk.
pub(super) fn cannot_sync(cause: &ssh2::Error) -> bool {
    CANNOT.contains(&cause.code())
}

impl Sftp {
    /// Tries in a directory what a bundle will need. Gives what the server does not do and a bundle can do without, and what room
    /// there is, where the server says so.
    pub(super) fn trial(&self, connection: &Connection, there: &Path) -> Result<(Vec<Finding>, Option<u64>)> {
        let shown = self.0.address.to_string();
        let [usual, renamed] = names().map(|name| there.join(name));
        let mut attempt = 1;
        loop {
            // One that can't be removed serves again, so that there is never more than one.
            let (from, to) = if is_gone(connection, &renamed) { (&usual, &renamed) } else { (&renamed, &usual) };
            let in_the_way = !is_gone(connection, from);
            let written = match self.write_trial(connection, from) {
                Ok(written) => written,
                // It can be neither removed nor written over, as can no bundle there; the rest shows with the next one.
                Err(_) if in_the_way && connection.line.is_up() => return Ok((self.lacks(true, Some(from)), None)),
                // Another run has written one meanwhile.
                Err(_) if attempt < ATTEMPTS && connection.has(from) => {
                    attempt += 1;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let Err(cause) = connection.rename(from, to) else {
                let kept = connection.remove(to).err().filter(|cause| is_answer(cause) && cause.code() != NOT_THERE);
                return Ok((self.lacks(written.synced, kept.map(|_| to.as_path())), written.room));
            };
            // Another run may have it, or a crash has left one; what is forbidden is so at every attempt.
            if attempt == ATTEMPTS {
                self.give_up(connection, from);
                let error =
                    Error::new(Kind::Failed, format!("rename a file in {shown}")).because(cause.message().to_owned());
                return Err(error.hint(
                    "a bundle is written under another name and gets its own when it is whole: let the server's user rename \
                     files there, or name another place with --to",
                ));
            }
            attempt += 1;
        }
    }

    fn write_trial(&self, connection: &Connection, path: &Path) -> Result<Written> {
        let doing = format!("write to {}", self.0.address);
        let before = |file: &mut Outgoing| {
            let room = file.room();
            match file.sync() {
                Ok(()) => Ok(Written { synced: true, room }),
                Err(cause) if cannot_sync(&cause) => Ok(Written { synced: false, room }),
                Err(cause) => Err(cause),
            }
        };
        let written = self.write_small(connection, (path, OpenFlags::TRUNCATE, 0o600), (CONTENT, &doing), before);
        written.map_err(|error| match connection.line.is_up() {
            true => error.hint("name a directory that the user who logs in may write to"),
            false => error,
        })
    }

    fn lacks(&self, synced: bool, kept: Option<&Path>) -> Vec<Finding> {
        let shown = self.0.address.to_string();
        let mut lacks = Vec::new();
        if !synced {
            // Said once is enough: the bundle's own warning would say the same.
            self.0.told_unsynced.store(true, Relaxed);
            lacks.push(not_synced(shown.clone()));
        }
        if let Some(kept) = kept {
            let message = format!(
                "the server removes nothing: no bundle can be pruned there, what a broken off upload leaves stays, and so does {}",
                kept.file_name().unwrap_or_default().display()
            );
            lacks.push(Finding::warning("removes-nothing", shown, message).hint(
                "fine where bundles are to be safe from this machine; else let the server's user remove files there",
            ));
        }
        lacks
    }
}

/// That what was sent may not be on the disk yet.
pub(super) fn not_synced(subject: String) -> Finding {
    let message = "the server can't bring a bundle onto its disk: if that machine fails just then, it may be lost";
    Finding::warning("not-synced", subject, message).hint("use a server with fsync@openssh.com")
}
