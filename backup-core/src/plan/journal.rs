//! The durable record of how far a plan got: lines that are appended and synced, never changed.
//!
//! A line is a check, a space, JSON and a newline. The check is made of the one before and of the JSON, so that a
//! changed, lost or moved line is seen. Only the last line may be torn, by a crash while it was written: it is as if it
//! had not been.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
#[cfg(test)]
pub(crate) mod golden;
#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::head::{FORMAT, Head, Noted, Recipe, TITLES};
use super::status::{Progress, Status};
use crate::event::Mark;
use crate::finding::Finding;
use crate::names::StepId;
use crate::written::sync_directory;
use crate::{Error, ErrorContext, Kind, Result, shell, trusted};

/// Any further line.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    time: DateTime<Utc>,
    step: String,
    mark: Mark,
    /// What the step found and did not stop at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    found: Vec<Finding>,
    /// What the operator accepted when the plan was gone on with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    accepted: Vec<String>,
    /// What the step's own work noted while it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<Value>,
}

impl Line {
    /// A mark with nothing beside it; whoever writes the line says which step it is of.
    fn of(mark: Mark, time: DateTime<Utc>) -> Self {
        Self { time, step: String::new(), mark, found: Vec::new(), accepted: Vec::new(), note: None }
    }
}

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    tool: String,
    check: String,
    latest: DateTime<Utc>,
    steps: Vec<Noted>,
    found: Vec<Finding>,
    accepted: Vec<String>,
    /// Whether a mark could not be written: what stands in the file then can't be added to.
    broken: bool,
}

impl Journal {
    /// Makes a journal, which no crash can leave half made: it has its name once its head is synced.
    ///
    /// # Errors
    /// [`Kind::Refused`] where one of this name exists.
    pub fn create<P: Recipe>(path: &Path, head: &Head<P>) -> Result<Self> {
        let doing = || format!("write the journal {}", path.display());
        let directory = path.parent().unwrap_or(Path::new("."));
        let (check, line) = line_after("", head).context(doing)?;
        let mut file = tempfile::Builder::new().prefix(".journal.").tempfile_in(directory).context(doing)?;
        // Whatever the umask is: the next run has to read it.
        file.as_file().set_permissions(Permissions::from_mode(0o600)).context(doing)?;
        file.write_all(line.as_bytes()).context(doing)?;
        file.as_file().sync_all().context(doing)?;
        file.persist_noclobber(path).map_err(|error| match error.error.kind() {
            ErrorKind::AlreadyExists => Error::new(Kind::Refused, format!("{} exists already", path.display())),
            _ => Error::new(Kind::Failed, doing()).because(error.error),
        })?;
        sync_directory(directory).context(doing)?;
        let file = OpenOptions::new().append(true).open(path).context(doing)?;
        Ok(Self::at(file, path, check, head))
    }

    /// Opens a journal; a torn last line is cut off.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; [`Kind::Damaged`] where a line is not the one that was written; [`Kind::Unsupported`].
    pub fn open<P: Recipe>(path: &Path) -> Result<(Self, Head<P>)> {
        let doing = || format!("open the journal {}", path.display());
        let (mut journal, head, torn) = Self::read(path)?;
        journal.file = OpenOptions::new().append(true).open(path).context(doing)?;
        if let Some(whole) = torn {
            journal.file.set_len(whole).and_then(|()| journal.file.sync_all()).context(doing)?;
        }
        Ok((journal, head))
    }

    /// How far a plan is and what it is, for whoever only looks: nothing is changed, and somebody else may be writing.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn peek<P: Recipe>(path: &Path) -> Result<(Progress, Head<P>)> {
        Self::read(path).map(|(journal, head, _)| (journal.progress(), head))
    }

    /// Reads a journal, and says where its whole lines end if the last one is torn.
    fn read<P: Recipe>(path: &Path) -> Result<(Self, Head<P>, Option<u64>)> {
        let shown = path.display();
        trusted::check(path, || format!("read the journal {shown}"))?;
        let bytes = fs::read(path).map_err(|cause| {
            let denied = cause.kind() == ErrorKind::PermissionDenied;
            let kind = if cause.kind() == ErrorKind::NotFound { Kind::NotFound } else { Kind::Failed };
            let error = Error::new(kind, format!("read the journal {shown}")).because(cause);
            if denied { error.hint(unreadable(path)) } else { error }
        })?;
        let whole = memchr::memrchr(b'\n', &bytes).map_or(0, |end| end + 1);
        let (head, lines, check) = read(&bytes[..whole])
            .map_err(|error| Error::new(error.kind(), format!("the journal {shown}")).because(error))?;
        let head: Head<P> = head;
        head.plan.check_names().context(|| format!("the journal {shown}"))?;
        let file = File::open(path).context(|| format!("open the journal {shown}"))?;
        let mut journal = Self::at(file, path, check, &head);
        for (number, line) in lines.into_iter().enumerate() {
            journal
                .follow(|step| step.key == line.step, &line.step, line.mark)
                .map(|step| step.note = line.note.or(step.note.take()))
                .context(|| format!("the journal {shown}, line {}", number + 2))?;
            journal.latest = line.time;
            journal.keep(line.found);
            journal.accepted.extend(line.accepted);
        }
        Ok((journal, head, (whole < bytes.len()).then_some(whole as u64)))
    }

    /// One in which no mark was noted yet.
    fn at<P: Recipe>(file: File, path: &Path, check: String, head: &Head<P>) -> Self {
        let (path, tool, latest, steps) = (path.into(), head.tool.clone(), head.created, head.noted());
        let found = head.found.clone();
        Self { file, path, tool, check, latest, steps, found, accepted: Vec::new(), broken: false }
    }

    /// Keeps findings. A step that is done again finds the same again, and so may another one.
    fn keep(&mut self, found: Vec<Finding>) {
        for finding in found {
            if !self.found.contains(&finding) {
                self.found.push(finding);
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it, with all that it knows.
    ///
    /// # Errors
    /// Where it can't be removed.
    pub fn remove(self) -> Result<()> {
        fs::remove_file(&self.path).context(|| format!("remove the journal {}", self.path.display()))
    }

    /// When the last mark was noted, or the plan was made.
    pub fn latest(&self) -> DateTime<Utc> {
        self.latest
    }

    /// What was found before the plan began and by the steps that are done, and stopped nothing; each once.
    pub fn found(&self) -> &[Finding] {
        &self.found
    }

    /// What the operator has accepted since the plan was made.
    pub fn accepted(&self) -> &[String] {
        &self.accepted
    }

    /// Notes what the operator accepts from now on, with the step that comes next. Nothing is noted where all is done.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn accept(&mut self, accepted: &[String], time: DateTime<Utc>) -> Result<()> {
        let new: Vec<String> = accepted.iter().filter(|name| !self.accepted.contains(name)).cloned().collect();
        let next = self.steps.iter().find(|step| step.status != Status::Applied).map(|step| step.id.clone());
        let Some(next) = next.filter(|_| !new.is_empty()) else { return Ok(()) };
        self.write(&next, Line { accepted: new, ..Line::of(Mark::Begin, time) })
    }

    /// What wrote it.
    pub(super) fn tool(&self) -> &str {
        &self.tool
    }

    /// Its steps, in order.
    pub(super) fn ids(&self) -> impl Iterator<Item = &StepId> {
        self.steps.iter().map(|step| &step.id)
    }

    /// How far a step is; none where the plan has no such step.
    pub fn status(&self, step: &StepId) -> Option<Status> {
        self.steps.iter().find(|noted| noted.id == *step).map(|noted| noted.status)
    }

    /// Whether a step has begun, or is done, and is not undone again.
    pub fn has_happened(&self, step: &StepId) -> bool {
        matches!(self.status(step), Some(Status::Applying | Status::Applied))
    }

    /// How far a step is that the plan must have.
    pub(super) fn status_of(&self, step: &StepId) -> Result<Status> {
        let lost = || Error::new(Kind::Damaged, format!("the journal {} has no step {step}", self.path.display()));
        self.status(step).ok_or_else(lost)
    }

    /// How far every step is, in their order.
    pub fn statuses(&self) -> Vec<Status> {
        self.steps.iter().map(|step| step.status).collect()
    }

    /// How far the plan is.
    pub fn progress(&self) -> Progress {
        Progress::of(&self.statuses())
    }

    /// Notes a mark, and what the step found that is done with it, and syncs them.
    ///
    /// # Errors
    /// Where it can't be written, or can't follow what is noted.
    pub(super) fn note(&mut self, step: &StepId, mark: Mark, time: DateTime<Utc>, found: Vec<Finding>) -> Result<()> {
        self.write(step, Line { found, ..Line::of(mark, time) })
    }

    /// Notes what the work of a step that has begun must know if it is cut off, and syncs it.
    ///
    /// # Errors
    /// Where it can't be written, or the step is not at work.
    pub(super) fn note_beside(&mut self, step: &StepId, note: Value, time: DateTime<Utc>) -> Result<()> {
        let mark = if self.status_of(step)? == Status::Undoing { Mark::Undo } else { Mark::Begin };
        self.write(step, Line { note: Some(note), ..Line::of(mark, time) })
    }

    /// What a step's work noted last.
    pub(super) fn noted(&self, step: &StepId) -> Option<&Value> {
        self.steps.iter().find(|noted| noted.id == *step)?.note.as_ref()
    }

    /// Appends a line about a step, which it calls by what the journal calls it.
    fn write(&mut self, step: &StepId, mut line: Line) -> Result<()> {
        if self.broken {
            let path = self.path.display();
            return Err(Error::new(
                Kind::Failed,
                format!("write the journal {path}: an earlier mark could not be written"),
            ));
        }
        // Before it is written: a mark that can't follow would make a damaged journal of a sound one.
        let noted = self.follow(|noted| noted.id == *step, step.as_str(), line.mark)?;
        line.step.clone_from(&noted.key);
        let doing = || format!("write the journal {}", self.path.display());
        let (check, text) = line_after(&self.check, &line).context(doing)?;
        self.broken = true;
        self.file.write_all(text.as_bytes()).context(doing)?;
        self.file.sync_data().context(doing)?;
        self.broken = false;
        self.check = check;
        self.latest = line.time;
        self.keep(line.found);
        self.accepted.extend(line.accepted);
        if let Some(noted) = self.steps.iter_mut().find(|noted| noted.id == *step) {
            noted.note = line.note.or(noted.note.take());
        }
        Ok(())
    }

    /// Moves the step that `is` it on, and returns it.
    fn follow(&mut self, is: impl Fn(&Noted) -> bool, shown: &str, mark: Mark) -> Result<&mut Noted> {
        let step = self.steps.iter_mut().find(|step| is(step));
        let moved = step.and_then(|step| Some((step.status.after(mark)?, step)));
        let (status, step) = moved.ok_or_else(|| {
            Error::new(Kind::Damaged, format!("{mark:?} of step {shown} can't follow what stands before it"))
        })?;
        step.status = status;
        Ok(step)
    }
}

/// What to do about a journal that may not be read: it is this user's and was closed, or another one's.
fn unreadable(path: &Path) -> String {
    let own = fs::metadata(path).is_ok_and(|metadata| metadata.uid() == rustix::process::geteuid().as_raw());
    let (word, chmod) = (shell::path(path), format!("chmod 600 {}", shell::path(path)));
    if own { chmod } else { format!("it is another user's: run as that one, whom `stat -c %U {word}` names") }
}

/// A line after the one with the check `before`, and its own check.
fn line_after(before: &str, value: &impl Serialize) -> serde_json::Result<(String, String)> {
    let json = serde_json::to_string(value)?;
    let check = check_after(before, &json);
    let line = format!("{check} {json}\n");
    Ok((check, line))
}

/// What every line's check is made of.
fn check_after(before: &str, json: &str) -> String {
    hex::encode(&Sha256::new().chain_update(before).chain_update(json).finalize()[..8])
}

/// The head, the lines, and the last line's check.
fn read<P: Recipe>(bytes: &[u8]) -> Result<(Head<P>, Vec<Line>, String)> {
    #[derive(Deserialize)]
    struct Least {
        format: u32,
        tool: String,
    }
    let damaged = |number: usize| Error::new(Kind::Damaged, format!("line {number} is not the one that was written"));
    let mut check = String::new();
    let mut texts = Vec::new();
    for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let line = std::str::from_utf8(line).ok().and_then(|line| line.strip_suffix('\n')?.split_once(' '));
        let (said, json) = line.ok_or_else(|| damaged(index + 1))?;
        check = check_after(&check, json);
        if said != check {
            return Err(damaged(index + 1));
        }
        texts.push(json);
    }
    let (head, lines) = texts.split_first().ok_or_else(|| Error::new(Kind::Damaged, "it is empty"))?;
    let least: Least = serde_json::from_str(head).map_err(|cause| damaged(1).because(cause))?;
    if ![TITLES, FORMAT].contains(&least.format) {
        return Err(Error::new(Kind::Unsupported, format!("its format is {}", least.format))
            .hint(format!("it was written by {}; use that version", least.tool)));
    }
    let head = serde_json::from_str(head).map_err(|cause| damaged(1).because(cause))?;
    let parse =
        |(index, json): (usize, &&str)| serde_json::from_str(json).map_err(|cause| damaged(index + 2).because(cause));
    let lines = lines.iter().enumerate().map(parse).collect::<Result<_>>()?;
    Ok((head, lines, check))
}
