//! `status`.

use std::process::ExitCode;

use backup_core::finding::{Finding, Severity, worst};
use backup_core::runs::Runs;
use backup_core::status::JobState;
use backup_core::{Context, ErrorContext, Result, settings, status};
use serde_json::json;

use crate::arguments::Status;
use crate::output::Output;
use crate::{exit, report, routine};

pub(crate) async fn run(arguments: Status, output: &Output, context: &Context) -> Result<ExitCode> {
    if arguments.history {
        let journal = Runs::of(context)?;
        let runs = journal.all()?;
        output.result("history", &json!({ "runs": runs }), &report::history(&runs, journal.path()))?;
        return Ok(exit::done(false));
    }
    let mut settings = settings::load(&arguments.config.config)?;
    let installed = routine::installed();
    if !installed.is_empty() {
        settings.schedule.get_or_insert_default();
    }
    let mut status = status::look(&settings, context).await?;
    if installed.is_empty() {
        // What has run in time is begun by something else, such as a container's loop.
        let scheduled: Vec<&JobState> = status.jobs.iter().filter(|job| job.schedule.is_some()).collect();
        let idle = scheduled.iter().any(|job| job.missed > 0) || scheduled.iter().all(|job| job.last.is_none());
        let new = if idle && !scheduled.is_empty() { Finding::warning } else { Finding::info };
        let finding = new("not-installed", "schedule", "no timer and no crontab of this machine runs jobs");
        let hint = "`schedule install`; a container's `schedule run` or a CronJob needs neither";
        status.findings.push(finding.hint(hint));
    }
    if let Some(path) = &arguments.metrics {
        routine::write_metrics(path, &status)?;
    }
    if let Some(path) = &arguments.html {
        let page = report::page(&status, &Runs::of(context)?.all()?);
        std::fs::write(path, page).context(|| format!("write {}", path.display()))?;
    }
    output.result("status", &status, &report::screen(&status))?;
    Ok(match worst(&status.findings) {
        Some(Severity::Error) => ExitCode::from(exit::REFUSED),
        worst => exit::done(worst == Some(Severity::Warning)),
    })
}
