//! The durable record of how far a plan got: lines that are appended and synced, never changed.
//!
//! A line is a check, a space, JSON and a newline. The check is made of the one before and of the JSON, so that a
//! changed, lost or moved line is seen. Only the last line may be torn, by a crash while it was written: it is as if it
//! had not been.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::status::{Mark, Progress, Status};
use crate::{Error, ErrorContext, Kind, Result, TOOL};

const FORMAT: u32 = 1;

/// The first line: what the plan is and all that its steps are made of. Nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head<P> {
    format: u32,
    tool: String,
    /// What kind of plan it is, such as `restore`.
    pub kind: String,
    /// When it was made.
    pub created: DateTime<Utc>,
    /// Names of its steps, in order.
    pub steps: Vec<String>,
    /// What its steps are made of.
    pub plan: P,
}

impl<P> Head<P> {
    /// A plan of this version's format.
    pub fn new(kind: &str, created: DateTime<Utc>, steps: Vec<String>, plan: P) -> Self {
        Self { format: FORMAT, tool: TOOL.into(), kind: kind.into(), created, steps, plan }
    }
}

/// Any further line.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    time: DateTime<Utc>,
    step: String,
    mark: Mark,
}

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    check: String,
    latest: DateTime<Utc>,
    steps: Vec<String>,
    statuses: HashMap<String, Status>,
    /// Whether a mark could not be written: what stands in the file then can't be added to.
    broken: bool,
}

impl Journal {
    /// Makes a journal, which no crash can leave half made: it has its name once its head is synced.
    ///
    /// # Errors
    /// [`Kind::Refused`] where one of this name exists.
    pub fn create<P: Serialize>(path: &Path, head: &Head<P>) -> Result<Self> {
        let doing = || format!("write the journal {}", path.display());
        let directory = path.parent().unwrap_or(Path::new("."));
        let (check, line) = line_after("", head).context(doing)?;
        let mut file = tempfile::Builder::new().prefix(".journal.").tempfile_in(directory).context(doing)?;
        file.write_all(line.as_bytes()).context(doing)?;
        file.as_file().sync_all().context(doing)?;
        file.persist_noclobber(path).map_err(|error| match error.error.kind() {
            ErrorKind::AlreadyExists => Error::new(Kind::Refused, format!("{} exists already", path.display())),
            _ => Error::new(Kind::Failed, doing()).because(error.error),
        })?;
        File::open(directory).and_then(|directory| directory.sync_all()).context(doing)?;
        let file = OpenOptions::new().append(true).open(path).context(doing)?;
        Ok(Self::at(file, path, check, head))
    }

    /// Opens a journal; a torn last line is cut off.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; [`Kind::Damaged`] where a line is not the one that was written; [`Kind::Unsupported`].
    pub fn open<P: for<'de> Deserialize<'de>>(path: &Path) -> Result<(Self, Head<P>)> {
        let shown = path.display();
        let bytes = fs::read(path).map_err(|cause| {
            let kind = if cause.kind() == ErrorKind::NotFound { Kind::NotFound } else { Kind::Failed };
            Error::new(kind, format!("read the journal {shown}")).because(cause)
        })?;
        let whole = memchr::memrchr(b'\n', &bytes).map_or(0, |end| end + 1);
        let (head, lines, check) = read(&bytes[..whole])
            .map_err(|error| Error::new(error.kind(), format!("the journal {shown}")).because(error))?;
        let doing = || format!("open the journal {shown}");
        let file = OpenOptions::new().append(true).open(path).context(doing)?;
        if whole < bytes.len() {
            file.set_len(whole as u64).and_then(|()| file.sync_all()).context(doing)?;
        }
        let mut journal = Self::at(file, path, check, &head);
        for (number, line) in lines.iter().enumerate() {
            journal.follow(&line.step, line.mark).context(|| format!("the journal {shown}, line {}", number + 2))?;
            journal.latest = line.time;
        }
        Ok((journal, head))
    }

    /// One in which no mark was noted yet.
    fn at<P>(file: File, path: &Path, check: String, head: &Head<P>) -> Self {
        let (latest, steps) = (head.created, head.steps.clone());
        Self { file, path: path.into(), check, latest, steps, statuses: HashMap::new(), broken: false }
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

    /// How far a step is.
    pub fn status(&self, step: &str) -> Status {
        self.statuses.get(step).copied().unwrap_or(Status::Waiting)
    }

    /// How far every step is, in their order.
    pub fn statuses(&self) -> Vec<Status> {
        self.steps.iter().map(|step| self.status(step)).collect()
    }

    /// How far the plan is.
    pub fn progress(&self) -> Progress {
        Progress::of(&self.statuses())
    }

    /// Notes a mark and syncs it.
    ///
    /// # Errors
    /// Where it can't be written, or can't follow what is noted.
    pub(super) fn note(&mut self, step: &str, mark: Mark, time: DateTime<Utc>) -> Result<()> {
        if self.broken {
            let path = self.path.display();
            return Err(Error::new(
                Kind::Failed,
                format!("write the journal {path}: an earlier mark could not be written"),
            ));
        }
        // Before it is written: a mark that can't follow would make a damaged journal of a sound one.
        self.follow(step, mark)?;
        let doing = || format!("write the journal {}", self.path.display());
        let (check, line) = line_after(&self.check, &Line { time, step: step.into(), mark }).context(doing)?;
        self.broken = true;
        self.file.write_all(line.as_bytes()).context(doing)?;
        self.file.sync_data().context(doing)?;
        self.broken = false;
        self.check = check;
        self.latest = time;
        Ok(())
    }

    fn follow(&mut self, step: &str, mark: Mark) -> Result<()> {
        let status = self.status(step).after(mark).filter(|_| self.steps.iter().any(|known| known == step));
        let status = status.ok_or_else(|| {
            Error::new(Kind::Damaged, format!("{mark:?} of step {step} can't follow what stands before it"))
        })?;
        self.statuses.insert(step.into(), status);
        Ok(())
    }
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
fn read<P: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<(Head<P>, Vec<Line>, String)> {
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
    if least.format != FORMAT {
        return Err(Error::new(Kind::Unsupported, format!("its format is {}", least.format))
            .hint(format!("it was written by {}; use that version", least.tool)));
    }
    let head = serde_json::from_str(head).map_err(|cause| damaged(1).because(cause))?;
    let parse =
        |(index, json): (usize, &&str)| serde_json::from_str(json).map_err(|cause| damaged(index + 2).because(cause));
    let lines = lines.iter().enumerate().map(parse).collect::<Result<_>>()?;
    Ok((head, lines, check))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(directory: &Path) -> PathBuf {
        let path = directory.join("journal");
        let head = Head::new("test", Utc::now(), vec!["one".into(), "two".into()], 7u32);
        let mut journal = Journal::create(&path, &head).expect("a journal");
        for (step, mark) in [("one", Mark::Begin), ("one", Mark::Done), ("two", Mark::Begin)] {
            journal.note(step, mark, Utc::now()).expect("a mark");
        }
        path
    }

    fn statuses(path: &Path) -> Result<Vec<Status>> {
        Journal::open::<u32>(path).map(|(journal, _)| journal.statuses())
    }

    #[test]
    fn it_says_again_what_it_was_told() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = written(directory.path());
        assert_eq!(statuses(&path).expect("sound"), [Status::Applied, Status::Applying]);
        assert_eq!(Journal::open::<u32>(&path).expect("sound").1.plan, 7);
    }

    #[test]
    fn cut_at_any_byte_it_is_what_its_whole_lines_say() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = written(directory.path());
        let bytes = fs::read(&path).expect("the journal");
        let expected = [[Status::Waiting; 2], [Status::Applying, Status::Waiting], [Status::Applied, Status::Waiting]];
        for length in 0..bytes.len() {
            fs::write(&path, &bytes[..length]).expect("a cut journal");
            let lines = memchr::memchr_iter(b'\n', &bytes[..length]).count();
            match statuses(&path) {
                Ok(found) => assert_eq!(found, expected[lines - 1], "{length}"),
                Err(error) => assert_eq!((lines, error.kind()), (0, Kind::Damaged), "{length}"),
            }
            if lines > 0 {
                // It goes on from there.
                let (mut journal, _) = Journal::open::<u32>(&path).expect("sound");
                journal.note("two", Mark::Begin, Utc::now()).expect("a mark");
                assert_eq!(statuses(&path).expect("sound")[1], Status::Applying);
            }
        }
    }

    #[test]
    fn every_changed_byte_and_every_lost_or_moved_line_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = written(directory.path());
        let bytes = fs::read(&path).expect("the journal");
        let refuse = |bytes: &[u8], what: String| {
            fs::write(&path, bytes).expect("a damaged journal");
            assert_eq!(statuses(&path).expect_err(&what).kind(), Kind::Damaged, "{what}");
        };
        // The last newline is what tells a whole line from a torn one.
        for at in 0..bytes.len() - 1 {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            refuse(&changed, format!("byte {at}"));
        }
        let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        for at in 0..lines.len() - 1 {
            let mut moved = lines.clone();
            moved.swap(at, at + 1);
            refuse(&moved.concat(), format!("line {at} moved"));
            let mut lost = lines.clone();
            lost.remove(at);
            refuse(&lost.concat(), format!("line {at} lost"));
        }
    }
}
