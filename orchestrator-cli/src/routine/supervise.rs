//! One run of a job, begun by a supervisor that outlives it: it keeps a second one off, ends what hangs, notices what was missed or
//! killed, and tells whoever is to know.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use backup_core::backup;
use backup_core::finding::Finding;
use backup_core::hooks::{Around, Said, settle as settle_hooks};
use backup_core::runs::{Run, Runs, State, hold};
use backup_core::schedule::Job;
use backup_core::schedule::Schedule;
use backup_core::settings::Settings;
use backup_core::{Context, Error, ErrorContext, Kind, Result, status, written};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CapabilitySet, clear_ambient_capability_set, configure_capability_in_ambient_set};
use tokio::process::{Child, Command};

use super::{MARK, begun};
use crate::output::Output;
use crate::{notify, report};

/// A run that is asked to end has so long to clean up, beside its last hooks.
pub(super) const FAREWELL: Duration = Duration::from_secs(60);

/// A job that is to be run.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    pub(crate) job: Job,
    /// Whether it comes by itself, and so again.
    pub(crate) scheduled: bool,
}

/// Runs a job.
///
/// # Errors
/// [`Kind::Locked`] where one is running; where it can't be begun.
pub(crate) async fn supervise(
    call: Call,
    config: &Path,
    (settings, schedule): (&Settings, &Schedule),
    output: &Output,
    context: &Context,
) -> Result<ExitCode> {
    let (job, runs) = (call.job, Runs::of(context)?);
    let _held = match hold(job, context) {
        Ok(held) => held,
        Err(error) if error.kind() == Kind::Locked => {
            let run = Run::of_state(
                job,
                State::Overlapped,
                context.now(),
                Finding::from_error("overlapped", job.name(), &error),
            );
            end(scheduled(run, call), settings, output, context).await;
            return Err(error);
        }
        Err(error) => return give_up(call, error, settings, output, context).await,
    };
    // What the journal can't tell or take holds no backup up.
    let missed = note_missed(job, schedule, &runs, context).unwrap_or_else(|error| Some(trouble_of("journal", &error)));
    say(&notify::begun(settings, context).await, output);
    let since = context.now();
    let mut child = match begin(job, config) {
        Ok(child) => child,
        Err(error) => return give_up(call, error, settings, output, context).await,
    };
    let id = child.id().unwrap_or(0);
    let patience = FAREWELL + around(job).map_or(Duration::ZERO, |job| settings.backup.hooks.longest_end(job));
    let (code, ended) = match wait(&mut child, (schedule.limit, patience), context).await {
        Ok(ended) => ended,
        Err(error) => return give_up(call, error, settings, output, context).await,
    };
    // In a container processes have the same number every day.
    let is_this = |run: &Run| run.job == job && run.is_of(id) && run.began >= since;
    let run = runs.all().ok().and_then(|runs| runs.into_iter().rev().find(is_this));
    let mut run = close(job, run, ended, code, context);
    if let Some(missed) = missed {
        run.findings.push(missed);
        run.warn();
    }
    if let Some(job) = around(job) {
        let said = Said::default();
        settle_hooks(&settings.backup.hooks, job, &said, context).await;
        run.findings.extend(said.all());
    }
    // What the run has left stopped, because it was killed, must not wait for the next one.
    if job == Job::Backup {
        match backup::settle(&settings.backup.components, context).await {
            Ok(found) => run.findings.extend(found),
            Err(error) => run.findings.push(Finding::from_error("left-held", job.name(), &error)),
        }
    }
    let good = run.state.is_good();
    end(scheduled(run, call), settings, output, context).await;
    Ok(match code {
        // Done with warnings is done for whoever began it, be it cron or Kubernetes; who is to know of them has been told.
        Some(crate::exit::WARNINGS) => ExitCode::SUCCESS,
        Some(code) => ExitCode::from(code),
        None if good => ExitCode::SUCCESS,
        None => ExitCode::from(crate::exit::of(Kind::Failed)),
    })
}

/// What hooks call a job, where there are hooks around it.
pub(super) fn around(job: Job) -> Option<Around> {
    match job {
        Job::Backup => Some(Around::Backup),
        Job::Drill => Some(Around::Drill),
        Job::Databases => None,
    }
}

fn scheduled(mut run: Run, call: Call) -> Run {
    run.scheduled = call.scheduled;
    run
}

/// Tells that a job could not even be begun.
async fn give_up(
    call: Call,
    error: Error,
    settings: &Settings,
    output: &Output,
    context: &Context,
) -> Result<ExitCode> {
    let job = call.job;
    let run = Run::of_state(job, State::Failed, context.now(), Finding::from_error("not-begun", job.name(), &error));
    end(scheduled(run, call), settings, output, context).await;
    Err(error)
}

/// Keeps in the journal that nothing ran when something should have, and says it.
fn note_missed(job: Job, schedule: &Schedule, runs: &Runs, context: &Context) -> Result<Option<Finding>> {
    let Some(last) = runs.last(job)? else { return Ok(None) };
    let times = schedule.missed(job, last.began, context.now());
    let Some(latest) = times.last() else { return Ok(None) };
    let many = if times.len() == 1 { "once".into() } else { format!("{} times", times.len()) };
    let message = format!("it should have run {many} since {}, and nothing ran", last.began.format("%F %T UTC"));
    let finding = Finding::warning("missed", job.name(), message).hint("see whether the machine was off, or its timer");
    runs.put(&Run::of_state(job, State::Missed, *latest, finding.clone()))?;
    Ok(Some(finding))
}

fn begin(job: Job, config: &Path) -> Result<Child> {
    let program = std::env::current_exe().context(|| "find this program".into())?;
    let mut command = Command::new(program);
    command.args(match job {
        Job::Backup => &["backup"][..],
        Job::Databases => &["databases", "backup"],
        Job::Drill => &["drill"],
    });
    command.arg("--config").arg(config).arg("--quiet").stdin(std::process::Stdio::null());
    // A terminal's signal is for us alone: a second one from us would end the run where it stands.
    command.process_group(0);
    // It is we ourselves once more, and it drops this before it starts anything: a unit gave us the right to send pings.
    let _ = configure_capability_in_ambient_set(CapabilitySet::NET_RAW, true);
    let spawned = command.spawn();
    let _ = clear_ambient_capability_set();
    spawned.context(|| format!("begin {}", job.name()))
}

/// Waits for the end, and brings it about where it takes too long, or where we are to end ourselves. Gives the exit code, none for one
/// that was killed, and the state that this means.
async fn wait(
    child: &mut Child,
    (limit, patience): (Duration, Duration),
    context: &Context,
) -> Result<(Option<u8>, Option<State>)> {
    let doing = || "wait for the run".to_owned();
    let (status, state) = tokio::select! {
        status = child.wait() => (status.context(doing)?, None),
        () = tokio::time::sleep(limit) => (farewell(child, patience).await?, Some(State::Hung)),
        () = context.cancel.cancelled() => (farewell(child, patience).await?, Some(State::Interrupted)),
    };
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok((code, state.or(code.is_none().then_some(State::CutOff))))
}

/// Asks it to end, and ends it after so long.
async fn farewell(child: &mut Child, patience: Duration) -> Result<std::process::ExitStatus> {
    if let Some(pid) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
        // One that is gone already needs no signal.
        let _ = kill_process(pid, Signal::TERM);
    }
    if let Ok(status) = tokio::time::timeout(patience, child.wait()).await {
        return status.context(|| "wait for the run".into());
    }
    child.kill().await.context(|| "end the run".into())?;
    child.wait().await.context(|| "wait for the run".into())
}

/// The run as it is to stand in the journal: as itself has said, or as its end says where it could not.
fn close(job: Job, run: Option<Run>, ended: Option<State>, code: Option<u8>, context: &Context) -> Run {
    let message = match (ended, code) {
        (Some(State::Hung), _) => "it took longer than schedule.limit and was ended".to_owned(),
        (Some(State::Interrupted), _) => "it was asked to end".to_owned(),
        (_, Some(code)) => format!("it ended with exit code {code} before it could begin; its output says why"),
        (_, None) => "it was killed".to_owned(),
    };
    let finding = Finding::error("ended", job.name(), message);
    let Some(mut run) = run else {
        return Run::of_state(job, ended.unwrap_or(State::Failed), context.now(), finding);
    };
    if let Some(state) = ended.filter(|state| *state != State::CutOff || !run.state.is_good() || run.ended.is_none()) {
        run.state = state;
        run.ended = Some(context.now());
        run.findings.insert(0, finding);
    }
    run
}

/// Keeps the run, writes the metrics, tells whoever is to know. What of this fails is said, and fails nothing.
async fn end(mut run: Run, settings: &Settings, output: &Output, context: &Context) {
    // Whoever asked us to end is to be told of it, too.
    let context = &context.to_its_end();
    let kept = keep(&run, context);
    let mut begun = begun();
    if run.scheduled {
        // What began this run begins the next one.
        begun.push(run.job);
    }
    let looked = status::look(settings.for_status(), &begun, context).await;
    let mut trouble: Vec<Finding> = kept.err().iter().map(|error| trouble_of("journal", error)).collect();
    let whole = match &looked {
        // Of this run all has been said.
        Ok(status) => {
            let own = |one: &Finding| one.code == "last-run" && one.subject == run.job.name();
            status.findings.iter().filter(|one| !own(one)).cloned().collect()
        }
        Err(error) => vec![trouble_of("status", error)],
    };
    if let (Some(path), Ok(status)) = (&settings.notify.metrics, &looked) {
        trouble.extend(
            write_metrics(path, settings.notify.metrics_mode(), status)
                .err()
                .iter()
                .map(|error| trouble_of("metrics", error)),
        );
    }
    trouble.extend(notify::ended(&run, &whole, settings, context).await);
    say(&trouble, output);
    if !trouble.is_empty() {
        run.findings.extend(trouble);
        run.warn();
        // It was said above already where this can't be done.
        let _ = keep(&run, context);
    }
}

fn keep(run: &Run, context: &Context) -> Result<()> {
    Runs::of(context)?.put(run)
}

fn trouble_of(what: &str, error: &Error) -> Finding {
    Finding::warning_from_error("not-told", what, error)
}

fn say(found: &[Finding], output: &Output) {
    output.found(found);
}

/// Writes the metrics where the node exporter finds them, all at once.
pub(crate) fn write_metrics(path: &Path, mode: u32, status: &status::Status) -> Result<()> {
    written::write(path, report::metrics(status).as_bytes(), Some(mode))
}

/// Whether a file was written by `schedule install`.
pub(crate) fn is_ours(path: &Path) -> bool {
    std::fs::read_to_string(path).is_ok_and(|text| text.starts_with(MARK))
}
