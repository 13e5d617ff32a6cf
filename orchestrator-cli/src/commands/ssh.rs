//! `ssh`: the system's own, on a node of the cluster that is who it was.

use std::ffi::OsString;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{IsTerminal, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use backup_core::cluster::hosts::{self, Identity, Record, Seen};
use backup_core::deploy::Machine;
use backup_core::settings::{self, Settings};
use backup_core::{Context, Error, ErrorContext, Kind, Result, state};

use super::confirm::answer;
use super::nodes::{address, machines, matching};
use crate::arguments::Ssh;
use crate::exit;
use crate::human::plain;
use crate::output::Output;

pub(crate) async fn run(ssh: Ssh, output: &Output, context: &Context) -> Result<ExitCode> {
    let settings = settings::load(&ssh.config.config)?;
    let found = matching(machines(&settings), ssh.query.as_deref())?;
    let Some(machine) = choose(&found, output, context).await? else {
        output.print(&list(&found))?;
        return Ok(ExitCode::from(exit::of(Kind::Usage)));
    };
    let seen = hosts::look(std::slice::from_ref(&machine.host), settings.ssh_port, context).await?;
    let known = known_hosts(machine, seen.first(), ssh.accept_host_key, context)?;
    let cause = command(&ssh, machine, &settings, known.as_deref()).exec();
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

/// A file with the host's keys, if they are those that are known of it; none where nothing is known of it, or is to be believed.
fn known_hosts(machine: &Machine, seen: Option<&Seen>, accept: bool, context: &Context) -> Result<Option<PathBuf>> {
    let (Some(seen), false) = (seen, accept) else { return Ok(None) };
    let Some(record) = Record::load(context)? else { return Ok(None) };
    match record.identity(seen) {
        // Where it shows no key it is not reached either, and ssh says why.
        Identity::Unknown | Identity::Unseen => Ok(None),
        Identity::Same => keep(machine, seen, context).map(Some),
        Identity::Changed => {
            let message = format!("log in to {}: its SSH key is another one than {} has", machine.host, record.bundle);
            Err(Error::new(Kind::Refused, message).because(format!("it shows {}", seen.keys.join(", "))).hint(
                "find out whether the machine was made anew; --accept-host-key leaves it to ssh and its own known_hosts",
            ))
        }
    }
}

/// Writes the host's keys where ssh finds them.
fn keep(machine: &Machine, seen: &Seen, context: &Context) -> Result<PathBuf> {
    let directory = state::directory(context)?.join("known_hosts");
    // Its name holds nothing that leads elsewhere: others were left out when `cluster.conf` was read.
    let path = directory.join(&machine.host);
    let doing = || format!("write {}", path.display());
    DirBuilder::new().recursive(true).mode(0o700).create(&directory).context(doing)?;
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&path).context(doing)?;
    let lines: String = seen.public_keys.iter().map(|key| format!("{} {key}\n", machine.host)).collect();
    file.write_all(lines.as_bytes()).context(doing)?;
    Ok(path)
}

/// The system's ssh. The operator's own configuration and agent hold, but for who the host must be where that is known.
fn command(ssh: &Ssh, machine: &Machine, settings: &Settings, known: Option<&Path>) -> Command {
    let mut command = Command::new("ssh");
    if let Some(path) = known {
        let mut file = OsString::from("UserKnownHostsFile=\"");
        file.push(path);
        file.push("\"");
        command.arg("-o").arg(file).args(["-o", "GlobalKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=yes"]);
        command.arg("-o").arg(format!("HostKeyAlias={}", machine.host));
    }
    if settings.ssh_port != hosts::SSH_PORT {
        command.args(["-p", &settings.ssh_port.to_string()]);
    }
    if let Some(user) = ssh.user.as_ref().or(settings.ssh_user.as_ref()) {
        command.args(["-l", user]);
    }
    command.arg("--").arg(&machine.host).args(&ssh.command);
    command
}
