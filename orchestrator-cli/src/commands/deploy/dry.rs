//! `deploy --dry`.

use std::process::ExitCode;

use backup_core::cluster::hosts;
use backup_core::component::control_plane::{self, Origin};
use backup_core::deploy::{Assets, Graph};
use backup_core::finding::Finding;
use backup_core::settings::Settings;
use backup_core::{Context, Result, written};
use serde_json::{Value, json};

use crate::arguments::Deploy;
use crate::exit;
use crate::human::{plain, shell_word};
use crate::output::Output;
use crate::picture::{Form, Subject};

pub(super) async fn run(
    deploy: Deploy,
    graph: &Graph,
    settings: &Settings,
    output: &Output,
    context: &Context,
) -> Result<ExitCode> {
    let file = deploy.graph.unwrap_or_else(|| "graph.png".into());
    let form = Form::of(&file)?;
    let release = match deploy.release.clone().map(Origin::Given).or_else(|| settings.backup.release.clone()) {
        Some(origin) => Some(control_plane::find(Some(&origin)).await?.version),
        None => None,
    };
    if let (Some(assets), Some(release)) = (&settings.deploy.assets, &release) {
        refresh(assets, release, output, context).await?;
    }
    let silent = silent(graph, settings, context).await?;
    let subject = Subject {
        cluster: settings.backup.cluster.cluster_name.as_deref().unwrap_or("an unnamed cluster"),
        release: release.as_deref(),
        graph,
        down: silent.iter().map(|finding| finding.subject.clone()).collect(),
    };
    let shown = file.display();
    written::write(&file, &form.draw(&subject)?, None)?;
    let text = format!("Generating dependency tree... done\nDependency graph for dry run written to {shown}.\n");
    let mut value = as_json(&subject);
    value["file"] = shown.to_string().into();
    value["findings"] = json!(silent);
    let release =
        deploy.release.map_or_else(String::new, |release| format!(" --release {}", shell_word(release.as_ref())));
    output.found(&silent);
    output.note(&format!("no machine was told anything; `deploy{release}` does it\n"));
    output.result("deploy-graph", &value, &text)?;
    Ok(exit::done(!silent.is_empty()))
}

/// Puts the release's assets where a deploy takes them from.
pub(super) async fn refresh(assets: &Assets, release: &str, output: &Output, context: &Context) -> Result<()> {
    context.phase("look at the release's assets");
    if assets.refresh(release).await? {
        output.note(&plain(&format!("assets of release {release} unpacked into {}\n", assets.directory.display())));
    }
    Ok(())
}

/// A warning for each machine that does not answer.
async fn silent(graph: &Graph, settings: &Settings, context: &Context) -> Result<Vec<Finding>> {
    let hosts: Vec<String> = graph.machines.iter().map(|machine| machine.host.clone()).collect();
    context.phase(hosts::looking_at(&hosts));
    let seen = hosts::look(&hosts, settings.backup.remote.login.port, context).await?;
    let warning = |host| {
        Finding::warning("host-unreachable", host, "does not answer")
            .hint("see to it before the deploy: it would not be reached, and nothing that needs it")
    };
    Ok(seen.into_iter().filter(|seen| seen.answer.is_none()).map(|seen| warning(seen.host)).collect())
}

fn as_json(subject: &Subject<'_>) -> Value {
    let graph = subject.graph;
    let hosts = |indices: &[usize]| indices.iter().map(|at| graph.machines[*at].host.as_str()).collect::<Vec<_>>();
    let machine = |index: usize| {
        let machine = &graph.machines[index];
        let needs = graph.requirements.iter().filter(|requirement| requirement.machine == index);
        let needs = needs.map(|requirement| {
            json!({ "component": requirement.component, "needs": requirement.needs, "on": hosts(&requirement.on) })
        });
        json!({
            "host": machine.host, "zone": machine.zone, "components": machine.components,
            "answers": !subject.down.contains(&machine.host), "needs": needs.collect::<Vec<_>>(),
        })
    };
    json!({
        "cluster": subject.cluster, "release": subject.release,
        "machines": (0..graph.machines.len()).map(machine).collect::<Vec<_>>(),
        "levels": graph.levels.iter().map(|level| hosts(level)).collect::<Vec<_>>(),
    })
}
