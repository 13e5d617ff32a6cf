//! `databases`.

use std::io::Read;
use std::process::ExitCode;

use backup_core::cluster::hosts::own_addresses;
use backup_core::databases::{Done, Errand, Fate, Request, Server, back_up, servers, this_one};
use backup_core::deploy::machines;
use backup_core::encryption::Recipients;
use backup_core::finding::Finding;
use backup_core::settings::{self, Settings};
use backup_core::store::blocking;
use backup_core::{Context, Error, ErrorContext, Kind, Result};
use serde_json::json;

use super::backup::pruned;
use crate::arguments::{Databases, DatabasesBackup};
use crate::known::known;
use crate::output::{Output, flush_left, table};
use crate::{exit, findings, human};

/// More than that is no errand.
const LONGEST: u64 = 16 << 20;

pub(crate) async fn run(databases: Databases, output: &Output, context: &Context) -> Result<ExitCode> {
    let Databases::Backup(arguments) = databases;
    let (settings, host, all, request, not_taken) = asked(arguments, context).await?;
    let servers = servers(settings.for_databases());
    let here = here(&servers, host.as_deref(), all, &settings, context)?;
    let mut done = back_up(here, &servers, settings.for_databases(), &request, context).await?;
    // It is for the orchestrator to say.
    done.first_mut().into_iter().for_each(|first| first.warnings.extend(not_taken.iter().cloned()));
    let mut text = text(&done);
    if done.iter().any(|done| matches!(done.fate, Fate::Would { .. })) {
        text.push_str(&format!("nothing was written; {} does it\n", output.again("--dry-run")));
    }
    output.result("databases", &json!({ "done": done }), &text)?;
    let failed = done.iter().filter(|done| matches!(done.fate, Fate::Failed { .. })).count();
    let warned = done.iter().any(|done| !done.warnings.is_empty() || is_warned(&done.fate));
    Ok(match failed {
        0 => exit::done(warned),
        _ => ExitCode::from(exit::of(Kind::Failed)),
    })
}

/// Settings, machine, whether all are meant, what of them, and what was not taken.
type Asked = (Settings, Option<String>, bool, Request, Vec<Finding>);

/// What is asked for: by arguments, or by an orchestrator.
async fn asked(arguments: DatabasesBackup, context: &Context) -> Result<Asked> {
    if !arguments.errand {
        let settings =
            settings::load(&arguments.config.config, &known())?.reached_by(arguments.reach.ssh_port, context);
        let request = Request {
            recipients: arguments.recipient,
            dry_run: arguments.dry_run,
            keep_all: arguments.no_prune,
            without: arguments.without_store,
            by_errand: false,
        };
        return Ok((settings, arguments.host, arguments.all, request, Vec::new()));
    }
    let read = blocking(|| {
        let mut text = Vec::new();
        let doing = || "read what the orchestrator asks for".to_owned();
        std::io::stdin().take(LONGEST).read_to_end(&mut text).context(doing)?;
        serde_json::from_slice::<Errand>(&text).context(doing)
    });
    let errand = context.until_cancelled(read).await?;
    Recipients::refuse_files(&errand.request.recipients)?;
    let own = &arguments.config.config;
    let (settings, not_taken) = settings::received(errand.settings.as_deref(), &errand.cluster_conf, own, &known())?;
    Ok((settings, Some(errand.host), false, Request { by_errand: true, ..errand.request }, not_taken))
}

/// The server that this machine is; none where all are asked for over ssh.
fn here<'s>(
    servers: &'s [Server],
    host: Option<&str>,
    all: bool,
    settings: &Settings,
    context: &Context,
) -> Result<Option<&'s Server>> {
    if servers.is_empty() {
        let error =
            Error::new(Kind::NotFound, "back up databases: cluster.conf gives no machine a component that keeps any");
        return Err(error.hint(
            "such tags are auditlog-database, component-database and monitoring, and those of [databases.components]",
        ));
    }
    let Some(host) = host else {
        let one = this_one(servers, &own_addresses(), &context.environment.host);
        return Ok(one.filter(|_| !all));
    };
    servers.iter().find(|server| server.host == host).map(Some).ok_or_else(|| {
        let (machines, _) = machines(&settings.backup.cluster, &settings.deploy.components);
        let why = match machines.iter().any(|machine| machine.host == host) {
            true => "it has no component that keeps any",
            false => "cluster.conf has no such host",
        };
        let known = servers.iter().map(|server| server.host.as_str()).collect::<Vec<_>>().join(", ");
        let error = Error::new(Kind::NotFound, format!("back up the databases of {host}: {why}"));
        error.hint(format!("those that do are {known}"))
    })
}

fn is_warned(fate: &Fate) -> bool {
    matches!(fate, Fate::Made(outcome) if !outcome.warnings.is_empty() || !outcome.failed.is_empty())
}

fn text(done: &[Done]) -> String {
    let row = |done: &Done| {
        [
            human::plain(&done.host),
            human::plain(&done.series.component),
            done.role.map_or_else(|| "?".into(), |role| role.to_string()),
            human::plain(&done.databases.join(", ")),
            fate(&done.fate),
        ]
    };
    let lines = table(&["HOST", "COMPONENT", "ROLE", "DATABASES", "BUNDLE"], &[], done.iter().map(row));
    let mut text = flush_left(&lines);
    for done in done {
        text.push_str(&details(done));
    }
    text
}

fn fate(fate: &Fate) -> String {
    human::plain(&match fate {
        Fate::Made(outcome) => {
            let (rows, length) = (human::counted(outcome.rows, "row"), human::bytes(outcome.length));
            format!("{} in {}: {rows}, {length}", outcome.name, parents(&outcome.published))
        }
        Fate::Would { to } => format!("would go to {}", to.join(", ")),
        Fate::Left { why } => format!("none: {why}"),
        Fate::Failed { .. } => "FAILED".into(),
    })
}

/// The stores of a bundle's places.
fn parents(published: &[String]) -> String {
    let parent = |place: &String| place.rsplit_once('/').map_or(place.clone(), |(store, _)| store.to_owned());
    published.iter().map(parent).collect::<Vec<_>>().join(", ")
}

/// What is to be said beside the table.
fn details(done: &Done) -> String {
    let mut text = pruned(&done.pruned);
    if let Fate::Failed { message, hint } = &done.fate {
        let subject = format!("{} on {}", done.series, done.host);
        let finding = Finding::error("not-backed-up", subject, message);
        text.push_str(&findings::finding(&hint.iter().fold(finding, |finding, hint| finding.hint(hint))));
    }
    if let Fate::Made(outcome) = &done.fate {
        outcome.not_everywhere("not everywhere").for_each(|finding| text.push_str(&findings::finding(&finding)));
    }
    text
}
