//! `deploy`.

mod dry;

use std::process::ExitCode;

use backup_core::cluster::hosts::Allowed;
use backup_core::component::control_plane::Origin;
use backup_core::deploy::{self, Fate, Outcome, Prepared, Request, State};
use backup_core::event::Event;
use backup_core::finding::Severity;
use backup_core::settings;
use backup_core::{Context, Kind, Result};
use serde_json::json;

use super::confirm::agreed;
use crate::arguments::Deploy;
use crate::exit;
use crate::findings::{GREEN, RED, YELLOW};
use crate::human::{counted, indented, plain};
use crate::known::known;
use crate::output::Output;

pub(crate) async fn run(arguments: Deploy, output: &Output, context: &Context) -> Result<ExitCode> {
    let resumes = arguments.resume;
    Ok(run_with(arguments, output, context).await.unwrap_or_else(|error| {
        let (state, line) = ending(error.kind(), resumes);
        output.fail_in_state(&error, state, &line)
    }))
}

/// What an error means for the machines.
fn ending(kind: Kind, resumes: bool) -> (&'static str, String) {
    let how = match kind {
        Kind::Unfinished => return ("resumable", "unfinished: `deploy --resume` does what is left".into()),
        Kind::Interrupted => "interrupted",
        Kind::Failed => "failed",
        _ => "refused",
    };
    ("refused", format!("{how}: no {}machine was told anything", if resumes { "further " } else { "" }))
}

async fn run_with(arguments: Deploy, output: &Output, context: &Context) -> Result<ExitCode> {
    let settings = settings::load(&arguments.config.config, &known())?.reached_by(arguments.reach.ssh_port, context);
    let allowed =
        Allowed { unreachable: arguments.allow_unreachable.clone(), host_key: arguments.accept_host_key.clone() };
    if arguments.resume {
        let request = Request { allowed, without: arguments.without_store, ..Request::default() };
        return done(&deploy::resume(&request, &settings.backup, context).await?, output);
    }
    let graph = match deploy::graph(&settings.backup.cluster, &settings.deploy.components) {
        Ok(graph) => graph,
        Err(findings) => {
            let line = "refused: no machine was told anything";
            return Ok(output.fail_with_findings("failed to generate the dependency graph", &findings, line));
        }
    };
    if arguments.dry {
        return context.until_cancelled(dry::run(arguments, &graph, &settings, output, context)).await;
    }
    let request = Request {
        release: arguments.release.map(Origin::Given),
        only: arguments.only,
        allowed,
        without: arguments.without_store,
    };
    let prepared = context.until_cancelled(deploy::prepare(&request, &settings.backup, graph, context)).await?;
    let worrying = prepared.findings.iter().filter(|finding| finding.severity != Severity::Info);
    worrying.for_each(|finding| context.observer.event(&Event::Finding(finding.clone())));
    let refused = prepared.findings.iter().any(|finding| finding.severity == Severity::Error);
    if !refused && !agreed(&question(&prepared), arguments.yes, output, context).await? {
        return output.stopped();
    }
    if let Some(assets) = &settings.deploy.assets {
        context.until_cancelled(dry::refresh(assets, &prepared.plan.release, output, context)).await?;
    }
    done(&prepared.apply(&settings.backup, context).await?, output)
}

fn question(prepared: &Prepared) -> String {
    let plan = &prepared.plan;
    let machines = counted(plan.graph.machines.len() as u64, "machine");
    let command = plan.remote.agent.command.join(" ");
    let hosts: Vec<&str> = plan.graph.machines.iter().map(|machine| machine.host.as_str()).collect();
    plain(&format!(
        "This {}backs up the databases, then tells the agents of {machines} of {} that this is their orchestrator, and runs \
         `{command}` on each for release {}: {}.",
        prepared.owner.as_ref().map_or_else(String::new, |met| format!("takes the cluster over from {}, ", met.claim)),
        if plan.cluster.is_empty() { "the cluster" } else { &plan.cluster },
        plan.release,
        hosts.join(", ")
    ))
}

fn done(outcome: &Outcome, output: &Output) -> Result<ExitCode> {
    let deployed = outcome.machines.iter().filter(|fate| fate.state == State::Deployed).count();
    let complete = deployed == outcome.machines.len();
    let mut text: String = outcome.machines.iter().map(line).collect();
    let all = counted(outcome.machines.len() as u64, "machine");
    let rest = if complete { "" } else { "; `deploy --resume` does what is left" };
    text.push_str(&plain(&format!("release {} on {deployed} of {all}{rest}\n", outcome.release)));
    let state = if complete { "deployed" } else { "resumable" };
    let mut value = json!(outcome);
    value["state"] = state.into();
    if let Err(error) = output.result("deploy", &value, &text) {
        return Ok(output.fail_in_state(&error, state, "the deploy went on all the same"));
    }
    Ok(if complete { exit::done(!outcome.warnings.is_empty()) } else { ExitCode::from(exit::UNFINISHED) })
}

fn line(fate: &Fate) -> String {
    let label = match fate.state {
        State::Deployed => format!("{GREEN}deployed{GREEN:#} "),
        State::Failed => format!("{RED}failed{RED:#}   "),
        State::Held => format!("{YELLOW}held{YELLOW:#}     "),
    };
    let reason = fate.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let hint = fate.hint.as_ref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
    let log = fate.log.as_ref().filter(|_| fate.state == State::Failed);
    let log = log.map(|log| format!("\nlog: {}", log.display())).unwrap_or_default();
    format!(
        "{label}{}",
        indented("", &plain(&format!("{}{reason}{log}{hint}", fate.host)).replace('\n', "\n         "))
    )
}
