//! Programs of the operator that run around a job: before it, after it, when it fails, and whatever happens.

mod left;
mod run;

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;

pub use left::settle;

use crate::event::Event;
use crate::finding::{Finding, Severity};
use crate::{Context, Error, Kind, Result};
use left::Noted;

/// What hooks run around.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Around {
    /// A backup of the orchestrator.
    Backup,
    /// A restore, its resumption, its rollback.
    Restore,
    /// A drill.
    Drill,
}

impl Around {
    /// Its name, for hooks and in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Restore => "restore",
            Self::Drill => "drill",
        }
    }
}

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// Before anything is done. A hook that fails stops the run.
    Before,
    /// After the job, if all of it was done.
    After,
    /// After the job, if it was not.
    Failure,
    /// At the end, whatever happened.
    Finally,
}

impl When {
    /// Its name, for hooks and in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
            Self::Failure => "failure",
            Self::Finally => "finally",
        }
    }
}

/// A program that runs around jobs.
#[derive(Debug, Clone)]
pub struct Hook {
    /// The jobs.
    pub of: Vec<Around>,
    /// When.
    pub when: When,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// How long it may take.
    pub limit: Duration,
}

/// The hooks of the settings, in their order.
#[derive(Debug, Clone, Default)]
pub struct Hooks(pub Vec<Hook>);

/// What hooks said in a run, for the run's record.
#[derive(Debug, Default)]
pub struct Said(Mutex<Vec<Finding>>);

impl Said {
    fn push(&self, finding: Finding) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(finding);
    }

    /// Shows a finding at once, and keeps it.
    fn show(&self, finding: Finding, context: &Context) {
        context.observer.event(&Event::Finding(finding.clone()));
        self.push(finding);
    }

    /// All of it.
    pub fn all(&self) -> Vec<Finding> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What somebody should look at.
    pub fn warnings(&self) -> impl Iterator<Item = Finding> {
        self.all().into_iter().filter(|finding| finding.severity == Severity::Warning)
    }
}

/// A job with hooks around it.
#[derive(Clone, Copy)]
pub struct Hooked<'h> {
    /// The job.
    pub job: Around,
    /// Where the hooks' words go.
    pub said: &'h Said,
    /// The run's context.
    pub context: &'h Context,
}

impl Hooks {
    /// The hooks of a job whose programs are not there.
    pub fn missing(&self, job: Around) -> Vec<Finding> {
        let of_job = self.0.iter().filter(|hook| hook.of.contains(&job));
        // A program without a path is looked for when the hook runs.
        let is_missing = |hook: &&Hook| {
            let program = hook.command.first().map(Path::new);
            program.is_some_and(|program| program.is_absolute() && !program.is_file())
        };
        let finding = |hook: &Hook| {
            let severity = if hook.when == When::Before { Severity::Error } else { Severity::Warning };
            let finding = Finding::new(severity, "hook-missing", hook.subject(hook.when), "the program is not there");
            finding.hint("correct `command` of [[hooks]] in the settings")
        };
        of_job.filter(is_missing).map(finding).collect()
    }

    /// The most time that the hooks at the end of a job take.
    pub fn longest_end(&self, job: Around) -> Duration {
        [When::Failure, When::Finally].into_iter().flat_map(|when| self.of(job, when)).map(|hook| hook.limit).sum()
    }

    fn of(&self, job: Around, when: When) -> impl Iterator<Item = &Hook> {
        self.0.iter().filter(move |hook| hook.of.contains(&job) && hook.when == when)
    }

    /// Does `work` with the hooks of a job around it, and keeps what they say. `is_done` tells of what came out whether the job was done.
    /// A hook after the work that fails is a warning: the work stays done.
    ///
    /// # Errors
    /// Those of the work; [`Kind::Locked`] where another run of the job goes on; where a hook before it fails, the work is not begun.
    pub async fn around<T>(
        &self,
        Hooked { job, said, context }: Hooked<'_>,
        work: impl Future<Output = Result<T>>,
        is_done: impl Fn(&T) -> bool,
    ) -> Result<T> {
        if !self.0.iter().any(|hook| hook.of.contains(&job)) {
            return work.await;
        }
        let noted = match Noted::begin(self, job, said, context).await {
            Ok(noted) => Some(noted),
            Err(error) if error.kind() == Kind::Locked => return Err(error),
            // Where nothing can be kept, the work is done all the same.
            Err(error) => {
                let finding = Finding::warning_from_error("hooks-not-noted", job.name(), &error);
                said.show(finding, context);
                None
            }
        };
        let done = async {
            for hook in self.of(job, When::Before) {
                let ran = context.until_cancelled(hook.run((job, When::Before), "", context)).await;
                let finding = ran.map_err(|error| stopped(job, error))?;
                said.push(finding);
            }
            work.await
        };
        let done = done.await;
        let (then, result) = match &done {
            Ok(outcome) if is_done(outcome) => (When::After, "done"),
            Err(_) if context.cancel.is_cancelled() => (When::Failure, "interrupted"),
            _ => (When::Failure, "failed"),
        };
        for when in [then, When::Finally] {
            self.run_all((job, when), result, said, context).await;
        }
        noted.into_iter().for_each(Noted::end);
        done
    }

    /// Runs hooks that no failure of another one holds up, although the run was told to stop.
    async fn run_all(&self, (job, when): (Around, When), result: &str, said: &Said, context: &Context) {
        for hook in self.of(job, when) {
            match hook.run((job, when), result, context).await {
                Ok(finding) => said.push(finding),
                Err(error) => {
                    let finding = Finding::warning_from_error("hook-failed", hook.subject(when), &error);
                    said.show(finding, context);
                }
            }
        }
    }
}

fn stopped(job: Around, error: Error) -> Error {
    if error.kind() == Kind::Interrupted {
        return error;
    }
    Error::new(Kind::Failed, format!("{}: a hook before it failed, so it was not begun", job.name())).because(error)
}
