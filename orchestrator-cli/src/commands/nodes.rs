//! `nodes`.

use std::process::ExitCode;

use backup_core::cluster::hosts::{self, Identity, Record, Seen};
use backup_core::deploy::{self, Machine};
use backup_core::settings::Settings;
use backup_core::{Context, Result};
use serde_json::{Value, json};

use crate::exit;
use crate::human::plain;
use crate::output::{Output, table};

/// The nodes that a query means, or all.
pub(crate) async fn run(
    query: Option<&str>,
    settings: &Settings,
    output: &Output,
    context: &Context,
) -> Result<ExitCode> {
    let (all, wrong) = deploy::machines(&settings.backup.cluster, &settings.deploy.components);
    let machines = matching(all, query)?;
    let names: Vec<String> = machines.iter().map(|machine| machine.host.clone()).collect();
    context.phase(hosts::looking_at(&names));
    let seen = hosts::look(&names, settings.backup.remote.login.port, context).await?;
    let record = Record::load(context)?.unwrap_or_default();
    let rows = || machines.iter().zip(&seen);
    let header = ["NAME", "IP", "ZONE", "TAGS", "IDENTITY", "ANSWERS"];
    let lines = table(&header, &[], rows().map(|(machine, seen)| row(machine, seen, record.identity(seen))));
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let nodes: Vec<Value> = rows().map(|(machine, seen)| as_json(machine, seen, record.identity(seen))).collect();
    output.found(&wrong);
    output.result("nodes", &json!({ "nodes": nodes, "findings": wrong }), &text)?;
    let bad = rows().any(|(_, seen)| seen.answer.is_none() || record.identity(seen) == Identity::Changed);
    Ok(exit::done(bad || !wrong.is_empty()))
}

/// The machines that a query means, or all.
///
/// # Errors
/// [`backup_core::Kind::NotFound`] where it means none.
pub(super) fn matching(machines: Vec<Machine>, query: Option<&str>) -> Result<Vec<Machine>> {
    match query {
        None => Ok(machines),
        Some(query) => Ok(deploy::matching(&machines, query)?.into_iter().cloned().collect()),
    }
}

/// The address of a machine: what `cluster.conf` has where that is one, else what its name leads to.
pub(super) fn address(machine: &Machine, seen: Option<&Seen>) -> String {
    let found = seen.and_then(|seen| seen.addresses.first()).map(ToString::to_string);
    found.unwrap_or_else(|| machine.host.clone())
}

fn row(machine: &Machine, seen: &Seen, identity: Identity) -> [String; 6] {
    let identity = match identity {
        Identity::Same => "as before",
        Identity::Changed => "CHANGED",
        Identity::Unknown if seen.keys.is_empty() => "-",
        Identity::Unknown => "new",
        Identity::Unseen => "not shown",
    };
    let answers = match &seen.answer {
        None => "no".into(),
        Some(answer) => {
            let ssh = if answer.ssh.is_some() { "ssh" } else { "no ssh" };
            match answer.icmp {
                Some(time) => format!("{ssh}, ping {:.1} ms", time.as_secs_f64() * 1000.0),
                None => ssh.into(),
            }
        }
    };
    let tags = match machine.components.as_slice() {
        [] => "-".into(),
        tags => tags.join(","),
    };
    [plain(&machine.name()), address(machine, Some(seen)), plain(&machine.zone), plain(&tags), identity.into(), answers]
}

fn as_json(machine: &Machine, seen: &Seen, identity: Identity) -> Value {
    json!({
        "name": machine.name(), "host": machine.host, "addresses": seen.addresses, "zone": machine.zone,
        "tags": machine.components, "answers": seen.answer.is_some(),
        "ssh": seen.answer.as_ref().is_some_and(|answer| answer.ssh.is_some()), "keys": seen.keys, "identity": identity,
    })
}
