//! What runs by itself, what it keeps, and who is told of it.

use std::path::PathBuf;
use std::time::Duration;

use super::DEFAULT_STORE;
use super::document::{DatabasesTable, DrillTable, HookTable, NotifyTable, ScheduleTable, StatusTable};
use crate::cluster::secret::Secret;
use crate::component::DrillLimits;
use crate::databases::{self, Owners};
use crate::hooks::{Around, Hook, Hooks};
use crate::retention::Policy;
use crate::schedule::Job;
use crate::schedule::Schedule;
use crate::span::Span;
use crate::status::Limits;
use crate::store::Address;
use crate::{Error, ErrorContext, Kind, Result};

/// What runs are spread over unless something else is said.
const RANDOM_DELAY: &str = "15min";
/// What a run may take unless something else is said.
const LIMIT: &str = "6h";

/// What a hook may take unless something else is said.
const HOOK_LIMIT: &str = "10min";

/// Who is told of runs. Addresses often have a token in them, and never print.
#[derive(Debug, Clone, Default)]
pub struct Notify {
    /// A URL that is asked for when a run begins (`/start` is added), has ended well, and has failed (`/fail`).
    pub ping: Option<Secret>,
    /// A URL that a run's end is posted to, in JSON.
    pub webhook: Option<Secret>,
    /// Addresses that a run which is not all well is mailed to.
    pub mail: Vec<String>,
    /// The program that mails.
    pub sendmail: PathBuf,
    /// A file for Prometheus' node exporter.
    pub metrics: Option<PathBuf>,
    /// Its mode; none where the settings say nothing.
    metrics_mode: Option<u32>,
}

impl Notify {
    /// The mode of metrics: the node exporter is another user, and nothing in them is secret.
    pub fn metrics_mode(&self) -> u32 {
        self.metrics_mode.unwrap_or(0o644)
    }
}

impl Default for Schedule {
    /// The usual times.
    fn default() -> Self {
        // What stands here as text is a calendar; a test says so.
        schedule(ScheduleTable::default()).unwrap_or(Self {
            jobs: Vec::new(),
            random_delay: Duration::ZERO,
            limit: Duration::ZERO,
        })
    }
}

/// When jobs run; an empty text turns one off.
pub(super) fn schedule(table: ScheduleTable) -> Result<Schedule> {
    let of = |job: Job, text: Option<String>, usual: &str| {
        let text = text.unwrap_or_else(|| usual.into());
        if text.trim().is_empty() {
            return Ok(None);
        }
        text.parse().map(|calendar| Some((job, calendar))).context(|| format!("schedule.{}", job.name()))
    };
    let jobs = [
        of(Job::Backup, table.backup, "02:30")?,
        of(Job::Databases, table.databases, "")?,
        of(Job::Drill, table.drill, "Sun 04:30")?,
    ];
    let limit = duration("schedule.limit", &table.limit.unwrap_or_else(|| LIMIT.into()))?;
    if limit < Duration::from_secs(1) {
        let error = Error::new(Kind::Usage, "schedule.limit is too short for any run");
        return Err(error.hint("such as \"90min\" or \"6h\""));
    }
    Ok(Schedule {
        jobs: jobs.into_iter().flatten().collect(),
        random_delay: duration("schedule.random_delay", &table.random_delay.unwrap_or_else(|| RANDOM_DELAY.into()))?,
        limit,
    })
}

fn duration(key: &str, text: &str) -> Result<Duration> {
    text.parse().map(Span::length).map_err(|cause: humantime::DurationError| {
        let error = Error::new(Kind::Usage, format!("{key}: {text:?}")).because(cause);
        error.hint("such as \"90min\" or \"6h\"")
    })
}

/// The programs that run around jobs.
pub(super) fn hooks(tables: Vec<HookTable>) -> Result<Hooks> {
    let hook = |table: HookTable| {
        if table.command.first().is_none_or(String::is_empty) {
            return Err(Error::new(Kind::Usage, "hooks: a command is empty")
                .hint("such as [\"/usr/local/bin/quiesce\", \"on\"]"));
        }
        let limit = duration("hooks.limit", table.limit.as_deref().unwrap_or(HOOK_LIMIT))?;
        let of = table.of.unwrap_or_else(|| vec![Around::Backup, Around::Restore, Around::Drill]);
        Ok(Hook { of, when: table.when, command: table.command, limit })
    };
    tables.into_iter().map(hook).collect::<Result<_>>().map(Hooks)
}

pub(super) fn drill(table: &DrillTable) -> Result<DrillLimits> {
    let time = table.limit.as_ref().map(|text| duration("drill.limit", text)).transpose()?;
    let memory = table.memory.map(|memory| memory.get().into());
    Ok(DrillLimits { time: time.unwrap_or(DrillLimits::default().time), memory })
}

pub(super) fn limits(table: &StatusTable) -> Limits {
    let usual = Limits::default();
    Limits {
        newest: table.newest.unwrap_or(usual.newest),
        drill: table.drill.unwrap_or(usual.drill),
        room: table.room.unwrap_or(usual.room),
    }
}

/// Whether a text is a URL with a host, and nothing that a URL can't hold.
fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/') && rest.chars().all(|c| c.is_ascii_graphic()))
}

pub(super) fn notify(table: NotifyTable) -> Result<Notify> {
    let url = |key: &str, text: Option<String>| match text {
        Some(text) if !is_url(&text) => {
            let error = Error::new(Kind::Usage, format!("notify.{key}: no URL of http or https"));
            Err(error.hint("such as https://hc.example.com/UUID"))
        }
        text => Ok(text.map(Secret::new)),
    };
    if let Some(odd) = table.mail.iter().find(|address| address.starts_with('-') || !address.contains('@')) {
        return Err(Error::new(Kind::Usage, format!("notify.mail: {odd} is no address")));
    }
    if let Some(path) = table.metrics.as_ref().filter(|path| !path.is_absolute()) {
        return Err(Error::new(Kind::Usage, format!("notify.metrics: {} is no absolute path", path.display())));
    }
    let mode = |text: &String| u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
    let metrics_mode = table.metrics_mode.as_ref().map(|text| {
        let odd = || Error::new(Kind::Usage, format!("notify.metrics_mode: {text} is no mode of a file"));
        mode(text).ok_or_else(|| odd().hint("such as \"0644\", which others read, or \"0600\""))
    });
    Ok(Notify {
        ping: url("ping", table.ping)?,
        webhook: url("webhook", table.webhook)?,
        mail: table.mail,
        sendmail: table.sendmail.unwrap_or_else(|| "/usr/sbin/sendmail".into()),
        metrics: table.metrics,
        metrics_mode: metrics_mode.transpose()?,
    })
}

pub(super) fn databases(table: DatabasesTable, bucket: Option<Address>) -> Result<databases::Settings> {
    let directory = table.directory.unwrap_or_else(|| DEFAULT_STORE.into());
    if !directory.is_absolute() {
        let shown = directory.display();
        return Err(Error::new(Kind::Usage, format!("databases.directory: {shown} is no absolute path")));
    }
    let command = table.command.unwrap_or_else(|| vec!["orchestrator-cli".into()]);
    if command.first().is_none_or(String::is_empty) {
        return Err(Error::new(Kind::Usage, "databases.command is empty"));
    }
    Ok(databases::Settings {
        directory,
        connection: table.said,
        owners: Owners::with(&table.components)?,
        user: Some(table.user.unwrap_or_else(|| "orchestrator-cli".into())).filter(|user| !user.is_empty()),
        command,
        bucket,
        written: None,
    })
}

/// Rules that keep nothing are a slip: whoever wants that writes none.
pub(super) fn retention(policy: Option<Policy>) -> Result<Option<Policy>> {
    match policy {
        Some(policy) if policy.is_empty() => {
            let error = Error::new(Kind::Usage, "retention: no rule keeps anything");
            Err(error.hint("set at least one of last, days, daily, weekly, monthly and yearly"))
        }
        policy => Ok(policy),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_word_there_are_backups_and_drills() {
        let usual = Schedule::default();
        let jobs: Vec<Job> = usual.jobs.iter().map(|(job, _)| *job).collect();
        assert_eq!(jobs, [Job::Backup, Job::Drill]);
        assert!(usual.random_delay < usual.limit);
    }
}
