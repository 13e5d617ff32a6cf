//! The journal of runs: what was done when, and how it ended; also what should have been done and was not.

mod kept;

use std::fs;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use kept::Runs;

use crate::digest::Sha256Digest;
use crate::event::Event;
use crate::finding::Finding;
use crate::hooks::Said;
use crate::lock::Lock;
use crate::names::Series;
use crate::schedule::Job;
use crate::{Context, Error, ErrorContext, Kind, Result, lock, state};

/// How a run stands, worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It goes on.
    Running,
    /// All went well.
    Done,
    /// It did its work, and somebody should look at something.
    Warned,
    /// It was to begin while the one before it still went on.
    Overlapped,
    /// It was to begin and did not: nothing ran then.
    Missed,
    /// It was interrupted, by an operator or by a shutdown.
    Interrupted,
    /// It ended without a word: killed, or with its machine.
    CutOff,
    /// It took longer than it may, and was ended.
    Hung,
    /// It did not do its work.
    Failed,
}

impl State {
    /// What became of a run, as a sentence's verb.
    pub fn said(self) -> &'static str {
        match self {
            Self::Running => "is running",
            Self::Done => "went well",
            Self::Warned => "went well, with warnings",
            Self::Overlapped => "could not begin, for the one before it still ran",
            Self::Missed => "did not begin",
            Self::Interrupted => "was interrupted",
            Self::CutOff => "was cut off",
            Self::Hung => "took too long and was ended",
            Self::Failed => "failed",
        }
    }

    /// Whether the work was done.
    pub fn is_good(self) -> bool {
        matches!(self, Self::Running | Self::Done | Self::Warned)
    }
}

/// What a run did for one series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The series.
    pub series: Series,
    /// The bundle that it made, or drilled; none where there is none.
    pub bundle: Option<String>,
    /// Its length in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// Digest of its manifest, which tells it from another one of this name; none in journals of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_sha256: Option<Sha256Digest>,
    /// Where the bundle was put.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub published: Vec<String>,
    /// Why it failed, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

impl Part {
    /// One without a bundle.
    pub fn of(series: &Series) -> Self {
        let (bundle, length, manifest_sha256, failed) = (None, None, None, None);
        Self { series: series.clone(), bundle, length, manifest_sha256, published: Vec::new(), failed }
    }
}

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// What it does.
    pub job: Job,
    /// When it began; of one that was missed, when it should have.
    pub began: DateTime<Utc>,
    /// When it ended, where it has.
    pub ended: Option<DateTime<Utc>>,
    /// How it stands.
    pub state: State,
    /// Whether some databases alone were asked for: it says nothing of the job.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// Whether a timer, cron or the loop of `schedule run` began it, so that it came by itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub scheduled: bool,
    /// What it did, series by series.
    #[serde(default)]
    pub parts: Vec<Part>,
    /// What it has to say, an error first.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// Whose run it is.
    process: Option<Process>,
}

/// A process, told from a later one with its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Process {
    id: u32,
    /// The system's word for when it began.
    since: String,
}

impl Process {
    fn own() -> Option<Self> {
        let id = std::process::id();
        Some(Self { id, since: since(id)? })
    }

    fn is_alive(&self) -> bool {
        since(self.id).as_ref() == Some(&self.since)
    }
}

/// When a process began, as Linux counts it, and the boot that it counts from.
fn since(id: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The program's name, in parentheses, may hold anything; the time is the 20th field after it.
    let ticks = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.to_owned();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(format!("{ticks} {}", boot.trim()))
}

/// What a run that ended has to say.
#[derive(Debug, Default)]
pub struct Report {
    /// What it did, series by series.
    pub parts: Vec<Part>,
    /// What did not go as it should.
    pub warnings: Vec<Finding>,
}

/// What a run is recorded as, and what its hooks say meanwhile.
pub struct Recorded<'r> {
    /// The run.
    pub run: Run,
    /// What hooks say.
    pub said: &'r Said,
}

impl Run {
    /// One that never began, or ended without a word.
    pub fn of_state(job: Job, state: State, began: DateTime<Utc>, finding: Finding) -> Self {
        let (ended, findings) = (Some(began), vec![finding]);
        let (partial, scheduled, parts) = (false, false, Vec::new());
        Self { job, began, ended, state, partial, scheduled, parts, findings, process: None }
    }

    /// Says that somebody should look at it, where all went well.
    pub fn warn(&mut self) {
        if self.state == State::Done {
            self.state = State::Warned;
        }
    }

    /// Whether it is the run of a process.
    pub fn is_of(&self, process: u32) -> bool {
        self.process.as_ref().is_some_and(|own| own.id == process)
    }

    /// One of this process that begins now.
    pub fn beginning(job: Job, context: &Context) -> Self {
        Self {
            job,
            began: context.now(),
            ended: None,
            state: State::Running,
            partial: false,
            scheduled: false,
            parts: Vec::new(),
            findings: Vec::new(),
            process: Process::own(),
        }
    }

    fn end(&mut self, result: Result<&Report, &Error>, now: DateTime<Utc>) {
        self.ended = Some(now);
        match result {
            Ok(report) => {
                self.parts.clone_from(&report.parts);
                self.findings.clone_from(&report.warnings);
                let failed = report.parts.iter().any(|part| part.failed.is_some());
                self.state = match (failed, report.warnings.is_empty()) {
                    (true, _) => State::Failed,
                    (false, false) => State::Warned,
                    (false, true) => State::Done,
                };
            }
            Err(error) => {
                self.state = if error.kind() == Kind::Interrupted { State::Interrupted } else { State::Failed };
                self.findings = vec![Finding::from_error("failed", self.job.name(), error)];
            }
        }
    }
}

/// Keeps other runs of a job off this machine for as long as the lock is held.
///
/// # Errors
/// [`Kind::Locked`] where one is running.
pub fn hold(job: Job, context: &Context) -> Result<Lock> {
    held(job.name(), format!("another run of {} goes on", job.name()), context)
}

/// Keeps other backups to standard output off, which has no directory whose lock does; none where nothing can be kept, which is warned of
/// elsewhere.
///
/// # Errors
/// [`Kind::Locked`] where one is running.
pub fn hold_stream(context: &Context) -> Result<Option<Lock>> {
    match held("stream", "another backup is streaming".into(), context) {
        Err(error) if error.kind() == Kind::Locked => Err(error),
        held => Ok(held.ok()),
    }
}

fn held(name: &str, held: String, context: &Context) -> Result<Lock> {
    let directory = state::directory(context)?;
    state::make_for("the state directory", &directory)?;
    let path = directory.join(format!("{name}.lock"));
    let file = lock::open(&path).context(|| format!("open {}", path.display()))?;
    lock::lock(file, &path, || held)
}

/// Does a job's work, and keeps in the journal when it began and how it ended. Where the journal can't be written the work is done
/// all the same, with a finding.
///
/// # Errors
/// Those of the work.
pub async fn record<T>(
    run: Run,
    context: &Context,
    work: impl Future<Output = Result<T>>,
    report: impl FnOnce(&T) -> Report,
) -> Result<T> {
    record_hooked(Recorded { run, said: &Said::default() }, context, work, report).await
}

/// The same for work with hooks around it. One that warns makes the run warn.
///
/// # Errors
/// Those of the work.
pub async fn record_hooked<T>(
    Recorded { mut run, said }: Recorded<'_>,
    context: &Context,
    work: impl Future<Output = Result<T>>,
    report: impl FnOnce(&T) -> Report,
) -> Result<T> {
    note(&run, context);
    let result = work.await;
    match &result {
        Ok(done) => run.end(Ok(&report(done)), context.now()),
        Err(error) => run.end(Err(error), context.now()),
    }
    if said.warnings().next().is_some() {
        run.warn();
    }
    run.findings.extend(said.all());
    note(&run, context);
    result
}

/// Puts a run into the journal, in place of what it said before.
fn note(run: &Run, context: &Context) {
    if let Err(error) = Runs::of(context).and_then(|runs| runs.put(run)) {
        let finding = Finding::warning_from_error("run-not-recorded", run.job.name(), &error);
        context.observer.event(&Event::Finding(finding));
    }
}
