//! Where the journal of runs is kept: `runs.json` of the state directory, which anybody may read.

use std::fs;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::{Job, Run, State};
use crate::finding::Finding;
use crate::names::Series;
use crate::{Context, Error, ErrorContext, Kind, Result, state, trusted};

/// Runs that are kept: some years of several a day.
const MOST: usize = 5000;
/// Nothing in the file is secret.
const MODE: u32 = 0o644;

/// The journal.
#[derive(Debug, Clone)]
pub struct Runs(PathBuf);

impl Runs {
    /// This machine's journal, which need not exist.
    ///
    /// # Errors
    /// Where there is no place for it.
    pub fn of(context: &Context) -> Result<Self> {
        state::directory(context).map(|directory| Self::at(&directory))
    }

    /// The journal in another state directory.
    pub(crate) fn at(directory: &Path) -> Self {
        Self(directory.join("runs.json"))
    }

    /// Its file, which need not exist.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Every run that is kept, oldest first. One whose process is gone counts as cut off.
    ///
    /// # Errors
    /// Where the file is there and can't be read.
    pub fn all(&self) -> Result<Vec<Run>> {
        Ok(judged(self.read()?))
    }

    /// The same for whoever only looks. Root sees the runs of other users' jobs, too, on which it acts in nothing.
    ///
    /// # Errors
    /// Where a journal is there and can't be read.
    pub fn shown(context: &Context) -> Result<Vec<Run>> {
        let mut runs = Self::of(context)?.all()?;
        for journal in Self::of_others(context)? {
            runs.extend(journal?);
        }
        // One that was handed on to a user stands in both journals.
        runs.sort_by_key(|run| run.began);
        runs.dedup();
        Ok(runs)
    }

    /// The series whose last backup failed, and when; by any journal of this machine, for nothing is deleted then.
    ///
    /// # Errors
    /// As [`Runs::shown`].
    pub fn failed(context: &Context) -> Result<Vec<(Series, DateTime<Utc>)>> {
        let mut failed = failed_in(&Self::of(context)?.all()?);
        for journal in Self::of_others(context)? {
            failed.extend(failed_in(&journal?));
        }
        Ok(failed)
    }

    /// What other users' jobs have noted, for root: each journal by itself, as its user says it.
    ///
    /// # Errors
    /// Where there is no place for a journal of ours.
    pub(crate) fn of_others(context: &Context) -> Result<impl Iterator<Item = Result<Vec<Run>>>> {
        let looks = rustix::process::geteuid().is_root() && state::directory(context)? == Path::new(state::MACHINE);
        let paths = if looks { state::users::journals() } else { Vec::new() };
        Ok(paths.into_iter().filter_map(|path| {
            let read = state::users::read(&path).context(|| format!("read {}", path.display())).transpose()?;
            Some(read.and_then(|text| Runs(path).parse(&text)).map(judged))
        }))
    }

    fn parse(&self, text: &[u8]) -> Result<Vec<Run>> {
        let doing = || format!("read {}", self.0.display());
        serde_json::from_slice(text).map_err(|cause| {
            Error::new(Kind::Damaged, doing()).because(cause).hint("move it away; a new one is begun with the next run")
        })
    }
}

/// Runs as they stand by now.
fn judged(mut runs: Vec<Run>) -> Vec<Run> {
    for run in runs.iter_mut().filter(|run| run.state == State::Running) {
        if !run.process.as_ref().is_some_and(super::Process::is_alive) {
            run.state = State::CutOff;
            let finding = Finding::error("cut-off", run.job.name(), "it ended without a word");
            run.findings = vec![finding.hint("look for a reboot, or who killed it: `journalctl`, `dmesg`")];
        }
    }
    runs
}

impl Runs {
    /// Puts a run into the journal, in place of the one of its job that began then.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn put(&self, run: &Run) -> Result<()> {
        let doing = || format!("write {}", self.0.display());
        let directory = self.0.parent().ok_or_else(|| Error::new(Kind::Failed, doing()))?;
        state::make(directory).context(doing)?;
        trusted::check(directory, doing)?;
        let _turn = state::turn(&self.0, doing)?;
        let mut runs = self.read()?;
        let same = |other: &Run| other.job == run.job && other.began == run.began && other.process == run.process;
        match runs.iter_mut().rev().find(|other| same(other)) {
            Some(there) => there.clone_from(run),
            None => runs.push(run.clone()),
        }
        runs.drain(..runs.len().saturating_sub(MOST));
        let text = serde_json::to_vec(&runs).context(doing)?;
        state::write_with_mode(&self.0, &text, MODE).context(doing)
    }

    fn read(&self) -> Result<Vec<Run>> {
        let doing = || format!("read {}", self.0.display());
        let Some(text) = state::read(&self.0, doing)? else { return Ok(Vec::new()) };
        self.parse(&text)
    }

    /// The last run of a job that was to do its work, if there is one.
    ///
    /// # Errors
    /// As [`Runs::all`].
    pub fn last(&self, job: Job) -> Result<Option<Run>> {
        Ok(self.all()?.into_iter().rev().find(|run| run.job == job && !run.partial))
    }

    /// Since when jobs are watched here that have never run: since this was first asked.
    ///
    /// # Errors
    /// Where it can't be kept.
    pub fn watched_since(&self, now: DateTime<Utc>) -> Result<DateTime<Utc>> {
        let path = self.0.with_file_name("watched-since");
        let kept = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
        if let Some(since) = kept {
            return Ok(since);
        }
        let text = format!("{}\n", now.to_rfc3339());
        state::write_with_mode(&path, text.as_bytes(), MODE).context(|| format!("write {}", path.display()))?;
        Ok(now)
    }
}

/// The series whose last backup failed, and when. A run that failed as a whole failed for the series of the run before it.
fn failed_in(runs: &[Run]) -> Vec<(Series, DateTime<Utc>)> {
    let mut last: Vec<(Series, DateTime<Utc>, bool)> = Vec::new();
    let counts = |run: &&Run| run.job != Job::Drill && run.state != State::Overlapped && !run.partial;
    for run in runs.iter().filter(counts) {
        let of_run: Vec<(Series, bool)> = match run.parts.is_empty() {
            false => run.parts.iter().map(|part| (part.series.clone(), part.failed.is_some())).collect(),
            true if run.state.is_good() => Vec::new(),
            true if run.job == Job::Backup => vec![(Series::orchestrator(), true)],
            true => {
                last.iter().filter(|(series, ..)| !series.is_orchestrators()).map(|one| (one.0.clone(), true)).collect()
            }
        };
        for (series, failed) in of_run {
            last.retain(|(other, ..)| *other != series);
            last.push((series, run.began, failed));
        }
    }
    last.into_iter().filter(|one| one.2).map(|(series, began, _)| (series, began)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Part, Report, record};
    use super::*;
    use crate::context::Environment;

    fn context(place: &tempfile::TempDir) -> Context {
        let variables = [("STATE_DIRECTORY".to_owned(), place.path().display().to_string())].into();
        Context::new(Environment { variables, ..Environment::default() })
    }

    fn part(component: &str, failed: bool) -> Part {
        let series = Series { component: component.into(), group: None };
        Part { failed: failed.then(|| "why".to_owned()), ..Part::of(&series) }
    }

    #[tokio::test]
    async fn what_was_begun_is_kept_with_its_end_and_one_without_is_cut_off() {
        let place = tempfile::tempdir().expect("a directory");
        let context = context(&place);
        let runs = Runs::of(&context).expect("a place");
        let report = |_: &()| Report { parts: vec![part("orchestrator", false)], warnings: Vec::new() };
        let during = async {
            assert_eq!(runs.all().expect("runs")[0].state, State::Running);
            Ok(())
        };
        record(Run::beginning(Job::Backup, &context), &context, during, report).await.expect("it is done");
        let failing = async { Err::<(), _>(Error::new(Kind::Failed, "the disk is full")) };
        assert!(record(Run::beginning(Job::Backup, &context), &context, failing, |_| Report::default()).await.is_err());
        let states = || runs.all().expect("runs").iter().map(|run| run.state).collect::<Vec<_>>();
        assert_eq!(states(), [State::Done, State::Failed]);
        assert_eq!(Runs::failed(&context).expect("runs").len(), 1);
        let mut gone = Run::beginning(Job::Drill, &context);
        gone.process = Some(super::super::Process { id: std::process::id(), since: "another time".into() });
        runs.put(&gone).expect("written");
        assert_eq!(states(), [State::Done, State::Failed, State::CutOff]);
    }

    #[tokio::test]
    async fn of_each_series_the_last_run_tells() {
        let place = tempfile::tempdir().expect("a directory");
        let context = context(&place);
        let failed = || {
            Runs::failed(&context).expect("runs").into_iter().map(|(series, _)| series.component).collect::<Vec<_>>()
        };
        let databases = |parts: Vec<Part>| {
            let context = context.clone();
            async move {
                let report = |_: &()| Report { parts, warnings: Vec::new() };
                record(Run::beginning(Job::Databases, &context), &context, async { Ok(()) }, report)
                    .await
                    .expect("it is done");
            }
        };
        databases(vec![part("monitoring", false), part("auditlog-database", true)]).await;
        assert_eq!(failed(), ["auditlog-database"]);
        databases(vec![part("auditlog-database", false)]).await;
        assert!(failed().is_empty());
        let failing = async { Err::<(), _>(Error::new(Kind::Failed, "no PostgreSQL")) };
        assert!(
            record(Run::beginning(Job::Databases, &context), &context, failing, |_| Report::default()).await.is_err()
        );
        assert_eq!(failed().len(), 2);
    }
}
