//! Where journals of restores are kept, and which of them is unfinished.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::plan::Plan;
use crate::plan::{Head, Journal, Progress, Shelf};
use crate::{Context, Error, ErrorContext, Kind, Result, state, trusted};

/// Of one that another restore came after: it is never rolled back, also when the other one is forgotten.
const SUPERSEDED: &str = ".superseded";

/// Names the journal of the last restore whose end was told; the others of the directory are looked for by their names' ends.
const ENDED: &str = ".ended";

/// The journals of restores; no other restore runs on this machine meanwhile.
pub(super) struct Journals(Shelf);

impl Journals {
    /// Opens the directory, making it where it is missing.
    ///
    /// # Errors
    /// [`Kind::Locked`] where another restore runs.
    pub(super) fn open(context: &Context) -> Result<Self> {
        Shelf::open(directory(context)?, "another restore is running on this machine").map(Self)
    }

    /// The same where there is such a directory; nothing is made.
    pub(super) fn look(context: &Context) -> Result<Option<Self>> {
        if directory(context)?.exists() { Self::open(context).map(Some) } else { Ok(None) }
    }

    /// Begins a plan's journal.
    pub(super) fn create(&self, head: &Head<Plan>) -> Result<Journal> {
        self.supersede()?;
        self.0.create(head)
    }

    /// Marks all journals as those of older restores.
    fn supersede(&self) -> Result<()> {
        for path in paths(self.0.directory())?.iter().filter(|path| is_current(path)) {
            let renamed = fs::rename(path, path.with_extension(&SUPERSEDED[1..]));
            renamed.context(|| format!("rename the journal {}", path.display()))?;
        }
        Ok(())
    }

    /// Every journal, oldest first.
    ///
    /// # Errors
    /// [`Kind::Damaged`] with what to do about it.
    pub(super) fn all(&self) -> Result<Vec<(Journal, Head<Plan>)>> {
        let doing = || format!("read the journals in {}", self.0.directory().display());
        let open = |path: &PathBuf| {
            Journal::open(path).map_err(|error| match error.kind() {
                Kind::Damaged => Error::new(Kind::Damaged, doing()).because(error).hint(
                    "it can't be gone on from: look with psql for databases named …_restore_… and …_before_…, put them right by \
                     hand, then remove the journal",
                ),
                _ => error,
            })
        };
        paths(self.0.directory())?.iter().map(open).collect()
    }

    /// The restore that is to be resumed or rolled back before another one begins.
    ///
    /// # Errors
    /// As [`Journals::all`].
    pub(super) fn unfinished(&self) -> Result<Option<(Journal, Head<Plan>)>> {
        Ok(self.all()?.into_iter().find(|(journal, _)| is_unfinished(journal.progress())))
    }

    /// The journal of the last restore, which is the one to resume or roll back. An older one never is: what was
    /// written since its restore would be lost.
    ///
    /// # Errors
    /// [`Kind::NotFound`] where there is none.
    pub(super) fn current(&self) -> Result<(Journal, Head<Plan>)> {
        let mut all = self.all()?;
        let last = all.pop().filter(|(journal, _)| is_current(journal.path()));
        if let Some((_, head)) = last.as_ref().filter(|(journal, _)| journal.progress() == Progress::Undone) {
            let message = format!("the last restore, of {}, is rolled back already", head.plan.bundle);
            let error = Error::new(Kind::NotFound, message);
            let left = |(journal, head): &(Journal, Head<Plan>)| {
                journal.progress() != Progress::Undone && !head.plan.stepping_aside().is_empty()
            };
            let hint = "one before it can't be: what stepped aside for it stays as …_before_… until `restore cleanup`";
            return Err(if all.iter().any(left) { error.hint(hint) } else { error });
        }
        last.ok_or_else(|| {
            Error::new(Kind::NotFound, format!("{} holds the journal of no restore", self.0.directory().display()))
                .hint("journals belong to the user who ran the restore, and go with `restore cleanup`")
        })
    }
}

/// Notes that a restore's end was told, so that nobody takes it for one that was asked for later.
pub(super) fn note_end(journal: &Journal) -> Result<()> {
    let (path, name) = (journal.path().with_file_name(ENDED), journal.path().file_name().unwrap_or_default());
    state::write(&path, name.as_encoded_bytes()).context(|| format!("write {}", path.display()))
}

/// Whether it was.
pub(super) fn has_ended(journal: &Journal) -> bool {
    let path = journal.path().with_file_name(ENDED);
    let noted = if trusted::is_trusted(&path) { fs::read(path).unwrap_or_default() } else { Vec::new() };
    journal.path().file_name().is_some_and(|name| name.as_encoded_bytes() == noted)
}

/// When bundles were restored on this machine, by their names, as far as this user may see it; one that was rolled back was not. Nothing
/// is locked or changed.
pub fn restored(context: &Context) -> BTreeMap<String, DateTime<Utc>> {
    let paths = directory(context).and_then(|directory| paths(&directory)).unwrap_or_default();
    // Of what can't be read nothing is said.
    let heads = paths.iter().filter_map(|path| Journal::peek::<Plan>(path).ok());
    let applied = heads.filter(|(progress, _)| *progress == Progress::Applied);
    applied.map(|(_, head)| (head.plan.bundle, head.created)).collect()
}

/// Names of the bundles that unfinished restores on this machine are made of, running ones too, as far as this user may see
/// them: another user's are closed to it. Nothing is locked or changed.
///
/// # Errors
/// Where that can't be seen.
pub fn needed(context: &Context) -> Result<Vec<String>> {
    let directory = directory(context)?;
    match fs::read_dir(&directory) {
        Err(cause) if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
            return Ok(Vec::new());
        }
        looked => drop(looked.context(|| format!("read the journals in {}", directory.display()))?),
    }
    let mut names = Vec::new();
    for path in paths(&directory)? {
        match Journal::peek::<Plan>(&path) {
            Ok((progress, head)) if is_unfinished(progress) => names.push(head.plan.bundle),
            // It was ended meanwhile.
            Err(error) if error.kind() == Kind::NotFound => {}
            peeked => drop(peeked?),
        }
    }
    Ok(names)
}

fn is_unfinished(progress: Progress) -> bool {
    matches!(progress, Progress::Waiting | Progress::Begun | Progress::Undoing)
}

fn paths(directory: &Path) -> Result<Vec<PathBuf>> {
    Shelf::paths(directory, Some(SUPERSEDED))
}

/// Whether a journal is of the last restore.
pub(super) fn is_current(path: &Path) -> bool {
    Shelf::is_current(path)
}

fn directory(context: &Context) -> Result<PathBuf> {
    Ok(state::directory(context)?.join("restores"))
}
