//! `backup`.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use backup_core::backup::{self, Made, Request, destinations, recipients};
use backup_core::backup::{Preflight, Pruned, preflight};
use backup_core::bundle::manifest::{Announced, Source};
use backup_core::finding::Finding;
use backup_core::names::Series;
use backup_core::runs;
use backup_core::settings::{self, Settings};
use backup_core::{Context, Error, ErrorContext, Kind, Result};
use serde::Serialize;

use super::addresses;
use crate::arguments::Backup;
use crate::known::known;
use crate::output::Output;
use crate::{exit, findings, human};

pub(crate) async fn run(arguments: Backup, output: &Output, context: &Context) -> Result<ExitCode> {
    let streams = arguments.to.iter().any(|to| to.as_os_str() == "-");
    let done = run_with(arguments, output, context).await;
    Ok(done.unwrap_or_else(|error| {
        let (state, line) = ending(&error, streams);
        output.fail_in_state(&error, state, &line)
    }))
}

/// What an error means for the bundle.
fn ending(error: &Error, streams: bool) -> (&'static str, String) {
    if error.is_unsure() {
        return ("unsure", "failed: whether a bundle is there, `list` says".into());
    }
    let how = match error.kind() {
        Kind::Failed => "failed",
        Kind::Interrupted => "interrupted",
        _ => "refused",
    };
    ("no-bundle", format!("{how}: no {}bundle was written", if streams { "whole " } else { "" }))
}

async fn run_with(arguments: Backup, output: &Output, context: &Context) -> Result<ExitCode> {
    let settings = settings::load(&arguments.config.config, &known())?.reached_by(arguments.reach.ssh_port, context);
    let settings = settings.at_rate(arguments.limit.limit_rate);
    let (streams, to): (Vec<PathBuf>, Vec<PathBuf>) = arguments.to.into_iter().partition(|to| to.as_os_str() == "-");
    let request = Request {
        series: Series::orchestrator(),
        to: addresses(&to)?,
        recipients: arguments.recipient,
        databases: arguments.database,
        release: arguments.release,
        level: arguments.level,
        jobs: arguments.jobs.map(usize::from),
        hosts: None,
        without: arguments.without_store,
    };
    if arguments.dry_run {
        let plan = plan(&settings, &request, !streams.is_empty(), output, context);
        return context.until_cancelled(plan).await;
    }
    let _lock = if streams.is_empty() { None } else { runs::hold_stream(context)? };
    let stream = if streams.is_empty() { None } else { Some(standard_output()?) };
    let begun = Instant::now();
    let made = backup::run_and_prune(&settings.backup, &request, stream, arguments.no_prune, context).await?;
    if let Err(error) = output.result("backup", &made, &text(&made, begun)) {
        return Ok(output.fail_in_state(&error, "made", "the bundle was written all the same"));
    }
    Ok(exit::done(!made.outcome.warnings.is_empty() || !made.outcome.failed.is_empty()))
}

/// Standard output without the line buffer that Rust puts before it.
fn standard_output() -> Result<Box<dyn Write + Send>> {
    use std::io::IsTerminal as _;
    if std::io::stdout().is_terminal() {
        return Err(Error::new(Kind::Usage, "write the bundle to standard output: it is a terminal")
            .hint("redirect it to a file or a pipe"));
    }
    let descriptor = std::io::stdout().as_fd().try_clone_to_owned();
    let file = descriptor.context(|| "write the bundle to standard output".into())?;
    Ok(Box::new(File::from(file)))
}

fn text(made: &Made, begun: Instant) -> String {
    let outcome = &made.outcome;
    let mut text = String::new();
    for place in &outcome.published {
        text.push_str(&format!("{place}\n"));
    }
    text.push_str(&format!(
        "{} of content with {} in a bundle of {}, in {}\nsha256 {}\n",
        human::bytes(outcome.content),
        human::counted(outcome.rows, "row"),
        human::bytes(outcome.length),
        human::duration(begun.elapsed()),
        outcome.sha256,
    ));
    if let (true, Some(signature)) = (outcome.published.is_empty(), &outcome.signature) {
        text.push_str(&format!(
            "keep its signature beside it, as {}.tgz.sig or {0}.tgz.age.sig:\n{signature}",
            outcome.name
        ));
    }
    if made.partial {
        text.push_str(
            "it has some databases alone: `status` does not count it, and no rule of [retention] is for it\n",
        );
    }
    text.push_str(&findings::needs(&outcome.needs));
    for finding in outcome.not_everywhere("not everywhere") {
        text.push_str(&findings::finding(&finding.hint("the other destinations have the bundle")));
    }
    text.push_str(&pruned(&made.pruned));
    if !outcome.warnings.is_empty() {
        text.push_str(&format!("done with {}\n", human::counted(outcome.warnings.len() as u64, "warning")));
    }
    text
}

/// Says what was deleted.
pub(super) fn pruned(pruned: &[Pruned]) -> String {
    let line = |one: &Pruned| format!("deleted {} in {}: no rule keeps it\n", one.file, human::plain(&one.store));
    pruned.iter().map(line).collect()
}

/// What `--dry-run` says.
#[derive(Serialize)]
struct Plan {
    databases: Vec<String>,
    components: Vec<String>,
    bytes_on_disk: u64,
    release: String,
    files: Vec<PathBuf>,
    to: Vec<String>,
    findings: Vec<Finding>,
}

/// Databases and other components, by their names.
fn what(plan: &Plan) -> String {
    let all: Vec<&str> = plan.databases.iter().chain(&plan.components).map(String::as_str).collect();
    if all.is_empty() { "no database".into() } else { all.join(", ") }
}

async fn plan(
    settings: &Settings,
    request: &Request,
    stream: bool,
    output: &Output,
    context: &Context,
) -> Result<ExitCode> {
    let to = destinations(&settings.backup, request, stream, context)?;
    let recipients = recipients(&settings.backup, request)?;
    let Preflight { ready, findings } = preflight(&settings.backup, request, &to, &recipients, context).await;
    let ready = ready?;
    let mut announced = Announced::of(Source::default());
    ready.announce(&mut announced);
    let plan = Plan {
        databases: announced.databases,
        components: announced.components.into_iter().map(Into::into).collect(),
        bytes_on_disk: ready.size(),
        release: announced.source.release.unwrap_or_default(),
        files: settings.backup.files.iter().map(|tree| tree.path.clone()).collect(),
        to: to.iter().map(|destination| destination.address.to_string()).collect(),
        findings,
    };
    let mut text: String = plan.findings.iter().map(findings::finding).collect();
    text.push_str(&format!(
        "would back up {} ({} on disk), release {}, to {}; nothing was written; {} does it\n",
        what(&plan),
        human::bytes(plan.bytes_on_disk),
        plan.release,
        if plan.to.is_empty() { "standard output".into() } else { plan.to.join(", ") },
        output.again("--dry-run"),
    ));
    output.result("plan", &plan, &text)?;
    let warned = plan.findings.iter().any(|finding| finding.severity == backup_core::finding::Severity::Warning);
    Ok(exit::done(warned))
}
