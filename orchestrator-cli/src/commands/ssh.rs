//! `ssh`: the system's own, on a node of the cluster that is who it was.

use std::io::IsTerminal;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use backup_core::cluster::hosts::{self, Login, Record};
use backup_core::deploy::{self, Machine};
use backup_core::{Context, Error, Kind, Result, settings};
use serde_json::{Value, json};

use super::confirm::answer;
use super::nodes::{address, matching};
use crate::arguments::Ssh;
use crate::exit;
use crate::human::plain;
use crate::known::known;
use crate::output::Output;

pub(crate) async fn run(ssh: Ssh, output: &Output, context: &Context) -> Result<ExitCode> {
    let settings = settings::load(&ssh.config.config, &known())?.reached_by(ssh.reach.ssh_port, context);
    // What is wrong with others of them is no concern of a login.
    let (all, _) = deploy::machines(&settings.backup.cluster, &settings.deploy.components);
    let found = matching(all, ssh.query.as_deref())?;
    let Some(machine) = choose(&found, output, context).await? else {
        let node =
            |machine: &Machine| json!({ "name": machine.name(), "host": machine.host, "tags": machine.components });
        let nodes: Vec<Value> = found.iter().map(node).collect();
        output.result("ssh", &json!({ "nodes": nodes }), &list(&found))?;
        return Ok(ExitCode::from(exit::of(Kind::Usage)));
    };
    let seen = hosts::look(std::slice::from_ref(&machine.host), settings.backup.remote.login.port, context).await?;
    let known = match seen.first().filter(|_| !ssh.accept_host_key) {
        Some(seen) => hosts::known_hosts(seen, Record::load(context)?.as_ref(), context)?,
        None => None,
    };
    let login = Login { port: settings.backup.remote.login.port, user: ssh.user.or(settings.backup.remote.login.user) };
    let mut command = Command::new("ssh");
    let cause = command.args(login.arguments(&machine.host, known.as_deref())).args(&ssh.command).exec();
    Err(Error::new(Kind::Failed, "run ssh").because(cause).hint("install the package openssh-client"))
}

/// The one machine that there is, or the one that the operator picks; none where nobody can be asked.
async fn choose<'m>(found: &'m [Machine], output: &Output, context: &Context) -> Result<Option<&'m Machine>> {
    if let [only] = found {
        return Ok(Some(only));
    }
    if found.is_empty() {
        return Err(Error::new(Kind::NotFound, "the cluster.conf names no machines"));
    }
    if !std::io::stdin().is_terminal() {
        return Ok(None);
    }
    output.ask(&format!("Multiple nodes matched your query, please select which:\n{}\n", list(found)));
    loop {
        let text = answer("Pick a host [1]: ", output, context).await?;
        let Some(text) = text else { return Err(Error::new(Kind::Interrupted, "no host was picked")) };
        match text.trim() {
            "" => return Ok(found.first()),
            number => match number.parse::<usize>().ok().and_then(|number| found.get(number.checked_sub(1)?)) {
                Some(machine) => return Ok(Some(machine)),
                None => output.ask(&format!("There are numbers from 1 to {}.\n", found.len())),
            },
        }
    }
}

/// The nodes with their numbers, as the platform's own tool lists them.
fn list(machines: &[Machine]) -> String {
    let line = |(index, machine): (usize, &Machine)| {
        let [name, tags] = [machine.name(), machine.components.join(",")].map(|text| plain(&text));
        format!("{}) IP: {}, Name: {name}, Tags: {tags}\n", index + 1, address(machine, None))
    };
    machines.iter().enumerate().map(line).collect()
}
