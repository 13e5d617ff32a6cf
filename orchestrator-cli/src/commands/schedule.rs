//! `schedule`.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use backup_core::finding::{Finding, Severity, worst};
use backup_core::runs::Runs;
use backup_core::schedule::Job;
use backup_core::schedule::Schedule;
use backup_core::settings::{self, Settings};
use backup_core::state::MACHINE;
use backup_core::state::users::{self, Moved};
use backup_core::{Context, Error, ErrorContext, Kind, Result, trusted};
use chrono::{DateTime, Local};
use serde_json::json;

use crate::arguments::{Install, RunJob, Schedule as Arguments};
use crate::human::shell_word;
use crate::known::known;
use crate::output::{Output, flush_left, table};
use crate::routine::{
    Begun, CRONTAB, Call, SYSTEMD, UNITS, Unit, crontab, forever, installed, is_ours, once, supervise, units, written,
};
use crate::{exit, findings};

/// Times that are shown of each job.
const SHOWN: usize = 3;

pub(crate) async fn run(arguments: Arguments, output: &Output, context: &Context) -> Result<ExitCode> {
    match arguments {
        Arguments::Install(install) => self::install(&install, output),
        Arguments::Show { config } => show(&settings::load(&config.config, &known())?, output, context),
        Arguments::Prepare { user } => prepare(&user, output),
        Arguments::Remove { directory } => remove(directory.as_deref(), output),
        Arguments::Run(run) => run_jobs(run, output, context).await,
    }
}

async fn run_jobs(arguments: RunJob, output: &Output, context: &Context) -> Result<ExitCode> {
    let config = std::path::absolute(&arguments.config.config).context(|| "find the settings".into())?;
    let settings = settings::load(&config, &known())?;
    let schedule = schedule(&settings);
    let settings = Settings { schedule: Some(schedule.clone()), ..settings };
    let both = (&settings, &schedule);
    match arguments.job {
        Some(job) => {
            let call = Call { job: job.into(), scheduled: arguments.by_timer };
            supervise(call, &config, both, output, context).await
        }
        // Jobs that have never run are due at their next time, so the first round only notes when it was.
        None if arguments.due => {
            let since = Runs::of(context)?.watched_since(context.now())?;
            once(since, &config, both, output, context).await.map(|(_, code)| code)
        }
        None => forever(&config, both, output, context).await,
    }
}

/// The schedule of the settings, or the usual one.
fn schedule(settings: &Settings) -> Schedule {
    settings.schedule.clone().unwrap_or_default()
}

fn install(arguments: &Install, output: &Output) -> Result<ExitCode> {
    let config = std::path::absolute(&arguments.config.config).context(|| "find the settings".into())?;
    let settings = settings::load(&config, &known())?;
    let (schedule, directory) = (schedule(&settings), arguments.directory.as_deref());
    let live = directory.is_none();
    let mut findings = Vec::new();
    if live {
        findings.extend(lacking(&schedule, &settings, &arguments.user)?);
        findings.extend(users::prepare(&arguments.user)?.into_iter().map(moved));
    }
    let doing = || format!("let root's jobs go by {}", config.display());
    if let ("root", Err(error)) = (&*arguments.user, trusted::check(&config, doing)) {
        // They name programs that root would run.
        findings.push(Finding::warning_from_error("settings-open", "settings", &error));
    }
    let program = std::env::current_exe().context(|| "find this program".into())?;
    let begun = Begun { program: &program, config: &config, user: &arguments.user };
    let systemd = !arguments.cron && (!live || Path::new(SYSTEMD).exists());
    let before = ours(directory);
    let written = match systemd {
        true => write_units(&units(&schedule, &settings, &begun), directory)?,
        false => write_crontab(&begun, directory)?,
    };
    let stale: Vec<PathBuf> = before.into_iter().filter(|path| !written.contains(path)).collect();
    take_away(&stale, live)?;
    let mut text: String = written.iter().map(|path| format!("{}\n", path.display())).collect();
    text.extend(stale.iter().map(|path| format!("removed {}\n", path.display())));
    text.extend(findings.iter().map(findings::finding));
    text.push_str(&next_steps(&schedule, systemd && live));
    let value = json!({ "written": written, "removed": stale, "findings": findings });
    output.result("schedule-install", &value, &text)?;
    Ok(exit::done(worst(&findings) >= Some(Severity::Warning)))
}

/// Writes units, and switches their timers on unless they are for another machine.
fn write_units(units: &[Unit], directory: Option<&Path>) -> Result<Vec<PathBuf>> {
    let path = |unit: &Unit| directory.unwrap_or(Path::new(UNITS)).join(&unit.name);
    let written: Vec<PathBuf> = units.iter().map(path).collect();
    units.iter().zip(&written).try_for_each(|(unit, path)| write(path, &unit.content))?;
    if directory.is_none() {
        systemctl(&["daemon-reload"])?;
        written.iter().filter_map(|path| timer(path)).try_for_each(|timer| systemctl(&["enable", "--now", timer]))?;
    }
    Ok(written)
}

fn write_crontab(begun: &Begun<'_>, directory: Option<&Path>) -> Result<Vec<PathBuf>> {
    let path = crontab_in(directory);
    write(&path, &crontab(begun))?;
    Ok(vec![path])
}

fn crontab_in(directory: Option<&Path>) -> PathBuf {
    directory.map_or_else(|| CRONTAB.into(), |there| there.join("orchestrator-cli"))
}

/// The name of a timer's unit; none of what is no timer.
fn timer(path: &Path) -> Option<&str> {
    path.file_name()?.to_str().filter(|name| name.ends_with(".timer"))
}

fn next_steps(schedule: &Schedule, by_systemd: bool) -> String {
    match (schedule.jobs.first(), by_systemd) {
        (None, _) => "no job has a time: nothing runs by itself\n".into(),
        (Some((job, _)), true) => {
            let job = job.name();
            format!("`schedule show` says what comes next, `systemctl start orchestrator-cli-{job}` tries it now\n")
        }
        (Some(_), false) => "`schedule show` says what comes next\n".into(),
    }
}

/// What the user that jobs run as does not have here yet. A job may make no directory that is not its own.
fn lacking(schedule: &Schedule, settings: &Settings, user: &str) -> Result<Vec<Finding>> {
    let doing = || format!("look for the user {user}");
    let known = Command::new("id").args(["-u", "--", user]).output().context(doing)?;
    if !known.status.success() {
        let error = Error::new(Kind::NotFound, doing()).because("this machine has no such user");
        return Err(error.hint("the packages make orchestrator-cli; --user names another one, such as postgres"));
    }
    let metrics = settings.notify.metrics.as_deref().and_then(Path::parent);
    let finding = |path: &Path| {
        let (code, message) = match path.is_dir() {
            false => ("no-directory", "jobs write there, and it does not exist".to_owned()),
            true if !may_write(user, path) => ("no-access", format!("jobs write there, and {user} may not")),
            true => return None,
        };
        // Metrics are for others to read.
        let mode = if Some(path) == metrics { 755 } else { 700 };
        let make = format!("install -d -o {user} -m {mode} {}", shell_word(path));
        Some(Finding::warning(code, path.display().to_string(), message).hint(make))
    };
    Ok(written(schedule, settings).into_iter().filter_map(finding).collect())
}

/// Whether a user may write to a directory, as far as root can try it.
fn may_write(user: &str, path: &Path) -> bool {
    let tried = Command::new("runuser").args(["-u", user, "--", "test", "-w"]).arg(path).output();
    tried.is_ok_and(|output| output.status.success()) || !rustix::process::geteuid().is_root()
}

/// Writes a file unless somebody else's is there.
fn write(path: &Path, content: &str) -> Result<()> {
    let doing = || format!("write {}", path.display());
    if path.exists() && !is_ours(path) {
        let error =
            Error::new(Kind::Refused, doing()).because("a file is there that `schedule install` has not written");
        return Err(error.hint("move it away; to change a unit of ours use a drop-in: `systemctl edit`"));
    }
    fs::write(path, content).map_err(|cause| {
        let hint = match cause.kind() {
            ErrorKind::PermissionDenied => Some("run it as root"),
            ErrorKind::NotFound => Some("make the directory first"),
            _ => None,
        };
        hint.into_iter().fold(Error::new(Kind::Failed, doing()).because(cause), |error, hint| error.hint(hint))
    })
}

/// Makes the directory of the state of a user's jobs.
fn prepare(user: &str, output: &Output) -> Result<ExitCode> {
    let findings: Vec<Finding> = users::prepare(user)?.into_iter().map(moved).collect();
    let directory = users::directory(user);
    let mut text = format!("{}\n", directory.display());
    text.extend(findings.iter().map(findings::finding));
    output.result("schedule-prepare", &json!({ "directory": directory, "findings": findings }), &text)?;
    Ok(exit::done(false))
}

/// That something lies elsewhere now.
fn moved((name, user, place): Moved) -> Finding {
    let message = format!("it belonged to {user}, and is now {}; root does not act on it", place.display());
    let finding = Finding::info("state-moved", format!("{MACHINE}/{name}"), message);
    if name == "ownership.json" {
        return finding.hint("if this machine owns a cluster, root says so again with `ownership claim`");
    }
    finding
}

fn systemctl(arguments: &[&str]) -> Result<()> {
    call("systemctl", arguments)
}

fn call(program: &str, arguments: &[&str]) -> Result<()> {
    let doing = || format!("{program} {}", arguments.join(" "));
    let output = Command::new(program).args(arguments).output().context(doing)?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::new(Kind::Failed, doing()).because(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

/// The files that `schedule install` has written.
fn ours(directory: Option<&Path>) -> Vec<PathBuf> {
    let names = Job::ALL
        .iter()
        .flat_map(|job| ["timer", "service"].map(|kind| format!("orchestrator-cli-{}.{kind}", job.name())));
    let units = names.map(|name| directory.unwrap_or(Path::new(UNITS)).join(name));
    units.chain([crontab_in(directory)]).filter(|path| is_ours(path)).collect()
}

/// Removes files of ours; `live` where systemd looks at them.
fn take_away(files: &[PathBuf], live: bool) -> Result<()> {
    let live = live && Path::new(SYSTEMD).exists();
    for path in files {
        if let Some(timer) = timer(path).filter(|_| live) {
            systemctl(&["disable", "--now", timer])?;
        }
        fs::remove_file(path).context(|| format!("remove {}", path.display()))?;
    }
    if live && !files.is_empty() { systemctl(&["daemon-reload"]) } else { Ok(()) }
}

fn remove(directory: Option<&Path>, output: &Output) -> Result<ExitCode> {
    let removed = ours(directory);
    take_away(&removed, directory.is_none())?;
    let mut text: String = removed.iter().map(|path| format!("removed {}\n", path.display())).collect();
    if removed.is_empty() {
        text.push_str("nothing that `schedule install` wrote is there\n");
    }
    let of_package = installed();
    if directory.is_none() {
        of_package.iter().for_each(|path| {
            text.push_str(&format!("left: {}; `systemctl disable --now` switches it off\n", path.display()))
        });
    }
    output.result("schedule-remove", &json!({ "removed": removed }), &text)?;
    Ok(exit::done(false))
}

fn show(settings: &Settings, output: &Output, context: &Context) -> Result<ExitCode> {
    let schedule = schedule(settings);
    let (mut rows, mut values) = (Vec::new(), Vec::new());
    for (job, calendar) in &schedule.jobs {
        let mut moment = context.now().with_timezone(&Local);
        let next = std::iter::from_fn(|| {
            moment = calendar.next_after(&moment)?;
            Some(moment)
        });
        let next: Vec<DateTime<Local>> = next.take(SHOWN).collect();
        let shown: Vec<String> = next.iter().map(|time| time.format("%a %F %H:%M %Z").to_string()).collect();
        rows.push([job.name().into(), calendar.to_string(), shown.join(", ")]);
        values.push(json!({ "job": job, "schedule": calendar.to_string(), "on_calendar": calendar.on_calendar(), "next": next }));
    }
    let installed = installed();
    let mut text = flush_left(&table(&["JOB", "WHEN", "NEXT"], &[], rows.into_iter()));
    if installed.is_empty() {
        let finding = Finding::warning("not-installed", "schedule", "nothing on this machine runs them");
        text.push_str(&findings::finding(&finding.hint("`schedule install`, or `schedule run` in a container")));
    }
    installed.iter().for_each(|path| text.push_str(&format!("by {}\n", path.display())));
    output.result("schedule", &json!({ "jobs": values, "installed": installed }), &text)?;
    Ok(exit::done(installed.is_empty()))
}
