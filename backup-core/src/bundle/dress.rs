//! What a file has beside its content, once it is written: owner, attributes, mode, time.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use super::header::{EntryKind, Head};
use super::path;
use crate::accounts::Accounts;
use crate::finding::{Finding, Told};
use crate::{ErrorContext, Result};

const SET_USER: u32 = 0o4000;
const SET_GROUP: u32 = 0o2000;

/// Gives files what their headers say.
pub(crate) struct Dresser {
    /// The directory that they are written below, and what it will be called.
    written: PathBuf,
    shown: PathBuf,
    accounts: Accounts,
    /// Owners whose names nobody has here.
    unknown: BTreeSet<String>,
    told: Told,
}

impl Dresser {
    /// For files below `written`, which will be called `shown`.
    pub(crate) fn new(written: &Path, shown: &Path, told: Told) -> Self {
        let (written, shown) = (written.to_owned(), shown.to_owned());
        Self { written, shown, accounts: Accounts::load(), unknown: BTreeSet::new(), told }
    }

    /// Owner, attributes, mode and time of a finished file, in that order: each would undo the one after it.
    /// What can't be given is a finding.
    ///
    /// # Errors
    /// The system's words, of a mode.
    pub(crate) fn dress(&mut self, target: &Path, head: &Head) -> Result<()> {
        if rustix::process::geteuid().is_root() {
            let (user, group) = self.owner(head);
            if lchown(target, user, group).is_err() {
                self.warn("owner-not-set", target, "its owner could not be set");
            }
        }
        if matches!(head.kind, EntryKind::Symlink(_)) {
            return self.set_time(target, head);
        }
        for (name, value) in &head.xattrs {
            if xattr::set(target, std::ffi::OsStr::from_bytes(name), value).is_err() {
                self.warn(
                    "attribute-not-set",
                    target,
                    &format!("its attribute {} could not be set", path::to_text(name)),
                );
            }
        }
        self.set_mode(target, head).context(|| format!("set the mode of {}", target.display()))?;
        self.set_time(target, head)
    }

    /// A bit that lends the rights of its user or group would lend those of others, where that is another one here.
    fn set_mode(&mut self, target: &Path, head: &Head) -> io::Result<()> {
        let here = target.symlink_metadata()?;
        let user = self.accounts.user_number(&head.user).or(u32::try_from(head.uid).ok());
        let group = self.accounts.group_number(&head.group).or(u32::try_from(head.gid).ok());
        let mut mode = head.mode;
        if !rustix::process::geteuid().is_root() {
            mode &= if user == Some(here.uid()) { 0o7777 } else { !SET_USER };
            mode &= if group == Some(here.gid()) { 0o7777 } else { !SET_GROUP };
        }
        fs::set_permissions(target, Permissions::from_mode(mode))?;
        let lacks = head.mode & !target.symlink_metadata()?.mode() & 0o7777;
        for (bit, name, whose) in [(SET_USER, "setuid", "user"), (SET_GROUP, "setgid", "group")] {
            if lacks & bit != 0 {
                self.warn(
                    "mode-not-set",
                    target,
                    &format!("its {name} bit is not set: it belongs to another {whose} here"),
                );
            }
        }
        if lacks & !(SET_USER | SET_GROUP) != 0 {
            self.warn("mode-not-set", target, &format!("its mode {:o} could not be set", head.mode));
        }
        Ok(())
    }

    /// Whom an entry belongs to here: whoever has the names that it had, as tar does it, else the numbers.
    fn owner(&mut self, head: &Head) -> (Option<u32>, Option<u32>) {
        let most = self.told.most();
        let pick = |kind: &str, name: &str, here: Option<u32>, there: u64, unknown: &mut BTreeSet<String>| {
            if here.is_none() && !name.is_empty() && unknown.len() < most {
                unknown.insert(format!("{kind} {name}, number {there}"));
            }
            here.or(u32::try_from(there).ok())
        };
        let user = self.accounts.user_number(&head.user);
        let group = self.accounts.group_number(&head.group);
        let unknown = &mut self.unknown;
        (pick("user", &head.user, user, head.uid, unknown), pick("group", &head.group, group, head.gid, unknown))
    }

    fn set_time(&mut self, target: &Path, head: &Head) -> Result<()> {
        let time = Timespec { tv_sec: head.modified.0, tv_nsec: head.modified.1.into() };
        let times = Timestamps { last_access: time, last_modification: time };
        if utimensat(CWD, target, &times, AtFlags::SYMLINK_NOFOLLOW).is_err() {
            self.warn("time-not-set", target, "its time could not be set");
        }
        Ok(())
    }

    fn warn(&mut self, code: &str, target: &Path, message: &str) {
        let shown = self.shown.join(target.strip_prefix(&self.written).unwrap_or(target));
        self.told.tell(Finding::warning(code, shown.display().to_string(), message));
    }

    /// What could not be put back as it was.
    pub(crate) fn into_findings(self) -> Vec<Finding> {
        let mut findings = self.told.into_findings();
        // Each is of many files, and none is left out for findings of single ones.
        findings.extend(self.unknown.iter().map(|owner| {
            let message = "nobody has this name here: what belonged to it belongs to whoever has the number";
            let finding = Finding::warning("owner-unknown", owner, message);
            finding.hint("make the account with this number, or correct the owner afterwards")
        }));
        findings
    }
}
