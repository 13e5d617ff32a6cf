//! What a bundle's appearance needs of a remote, done beforehand with one small file: to write, rename, read and remove.

use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;

use rustix::fs::statvfs;
use serde::Deserialize;

use super::Rclone;
use super::program::SEND;
use super::upload::Onto;
use crate::finding::{Finding, bytes};
use crate::store::able;
use crate::store::trial::{ATTEMPTS, CONTENT, names};
use crate::{Error, Kind, Result};

/// What `rclone about` says.
#[derive(Deserialize)]
struct Room {
    free: Option<u64>,
}

impl Rclone {
    /// Tries all that a bundle needs, and says what the remote does not promise.
    pub(super) fn look_beforehand(&self, size: u64) -> Result<Vec<Finding>> {
        self.0.expected.store(size, Relaxed);
        let (shown, features) = (self.0.address.to_string(), self.able_features()?);
        let new = match self.files() {
            Err(error) if error.kind() == Kind::NotFound => self.files_or_none().map(|_| true)?,
            files => files.map(|_| false)?,
        };
        let mut findings = vec![not_exclusive(shown.clone())];
        if !features.put_stream {
            findings.push(self.keeps_on_disk(size));
        }
        if features.duplicate_files {
            let message = "two files of one name may lie there, and rclone shows both of them";
            let hint = "let one orchestrator alone write there; rclone dedupe shows and removes such files";
            findings.push(Finding::info("names-not-unique", shown.clone(), message).hint(hint));
        }
        findings.extend(self.trial()?);
        let room = if features.about { self.room() } else { None };
        if new && !features.bucket_based {
            // The trial has made the directory. rclone removes no directory that has something in it.
            let _ = self.0.program.run(&["rmdir", &self.place()], None);
        }
        findings.push(able(shown, new, room, size));
        Ok(findings)
    }

    /// Bytes that are free, where the remote says so.
    fn room(&self) -> Option<u64> {
        let ran = self.0.program.run(&["about", "--json", &self.place()], None).ok()?;
        serde_json::from_slice::<Room>(&ran.output).ok()?.free
    }

    /// That rclone writes all of a bundle to this machine's disk first, and whether there is room.
    fn keeps_on_disk(&self, size: u64) -> Finding {
        let directory = PathBuf::from(self.0.context.environment.get("TMPDIR").unwrap_or("/tmp"));
        let free = statvfs(&directory).map_or(u64::MAX, |stat| stat.f_bavail.saturating_mul(stat.f_frsize));
        let shown = directory.display();
        let message = format!(
            "the remote takes no stream: rclone writes each bundle to {shown} first, where {} are free",
            bytes(free)
        );
        let finding = match free < size {
            true => Finding::warning("space", self.0.address.to_string(), message),
            false => Finding::info("rclone-temporary", self.0.address.to_string(), message),
        };
        finding.hint("TMPDIR names another directory with more room")
    }

    /// Writes a file, renames, reads and removes it. Gives what the remote does not do and a bundle can do without.
    fn trial(&self) -> Result<Option<Finding>> {
        let [from, to] = names();
        let mut attempt = 1;
        loop {
            let tried = self.try_names(&from, &to);
            match tried {
                // Another run may have renamed or removed the file meanwhile: all use the same names.
                Err(_) if attempt < ATTEMPTS && self.look(&from).is_ok_and(|there| there.is_none()) => attempt += 1,
                Err(error) => {
                    self.give_up(&from);
                    return Err(error);
                }
                Ok(()) => break,
            }
        }
        Ok(self.delete(&to).err().map(|_| {
            let message = format!(
                "the remote removes nothing: no bundle can be pruned there, what a broken off upload leaves stays, and so does {to}"
            );
            Finding::warning("removes-nothing", self.0.address.to_string(), message).hint(
                "fine where bundles are to be safe from this machine; else let the remote's user remove files there",
            )
        }))
    }

    fn try_names(&self, from: &str, to: &str) -> Result<()> {
        let doing = format!("write to {}", self.0.address);
        self.0.program.succeed(doing.clone(), &[SEND, &self.at(from)], Some(CONTENT))?;
        self.rename(from, to, (Onto::Anything, 0))?;
        match self.read_small(to)? {
            Some(content) if content == CONTENT => Ok(()),
            _ => {
                let error = Error::new(Kind::Failed, doing).because("what was written is not what is read back");
                Err(error.hint(format!("try it by hand: {}", self.0.program.by_hand(&["cat", &self.at(to)]))))
            }
        }
    }
}

/// That nothing keeps two runs from one name.
fn not_exclusive(subject: String) -> Finding {
    let message = "rclone can't write a file only where there is none: a bundle's name is looked for before it is given, and of two \
                   backups that give the same name in the same moment the second one may overwrite the first";
    Finding::info("not-exclusive", subject, message)
        .hint("let one orchestrator alone write there, or name an s3:// or sftp:// address")
}
