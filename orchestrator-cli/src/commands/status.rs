//! `status`.

use std::process::ExitCode;

use backup_core::finding::{Finding, Severity, worst};
use backup_core::runs::Runs;
use backup_core::{Context, Result, settings, status, written};
use serde_json::json;

use crate::arguments::Status;
use crate::known::known;
use crate::output::Output;
use crate::{exit, report, routine};

pub(crate) async fn run(arguments: Status, output: &Output, context: &Context) -> Result<ExitCode> {
    if arguments.history {
        let journal = Runs::of(context)?;
        let runs = Runs::shown(context)?;
        output.result("history", &json!({ "runs": runs }), &report::history(&runs, journal.path()))?;
        return Ok(exit::done(false));
    }
    let (settings, unread) = settings::load_as_far_as_there(&arguments.config.config, &known())?;
    let mut status = status::look(settings.for_status(), &routine::begun(), context).await?;
    if let Some(error) = unread {
        // Whoever looks here may be about to restore it.
        let finding = Finding::from_error("no-cluster-conf", "cluster.conf", &error);
        let hint = finding.hint.as_ref().map_or_else(String::new, |hint| format!("{hint}; "));
        status.findings.insert(0, finding.clone().hint(format!("{hint}a restore brings a lost cluster.conf back")));
    }
    if let Some(path) = &arguments.metrics {
        routine::write_metrics(path, settings.notify.metrics_mode(), &status)?;
    }
    if let Some(path) = &arguments.html {
        // That they can't be read is a finding.
        let runs = Runs::shown(context).unwrap_or_default();
        let page = report::page(&status, &runs);
        written::write(path, page.as_bytes(), None)?;
    }
    output.result("status", &status, &report::screen(&status))?;
    Ok(match worst(&status.findings) {
        Some(Severity::Error) => ExitCode::from(exit::REFUSED),
        worst => exit::done(worst == Some(Severity::Warning)),
    })
}
