//! What machines say of themselves over ssh. Nothing is changed there.

use std::process::Stdio;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Record, Seen, known_hosts};
use crate::bundle::manifest::control_plane::Host;
use crate::cluster::agent::{Agent, Remote, command, quoted};
use crate::finding::{Finding, bytes};
use crate::text::is_unseen;
use crate::{Context, Error, ErrorContext, Kind, Result};

/// A machine must end its answer within this time.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of an answer that are read.
const LONGEST: u64 = 1 << 16;
/// Seconds that clocks may differ by. The answer travels too.
const SKEW: i64 = 30;
/// Room on a machine's disk, in bytes, that an agent's work is thought to need.
const ROOM: u64 = 1 << 30;
/// Machines that are asked first. If none of them lets us in, hundreds more would only fill their logs.
const FIRST: usize = 4;
/// Characters of a version that are kept.
const VERSION: usize = 100;

/// What a machine says of itself.
#[derive(Debug)]
pub struct Said {
    /// Its clock, in seconds since 1970, and this machine's before and after it was asked.
    clock: Option<(i64, DateTime<Utc>, DateTime<Utc>)>,
    /// Bytes that its disk has left.
    free: Option<u64>,
    /// Whether the login user can become root, if that is needed.
    root: bool,
    /// Whether the machine gets an answer if it pings this machine.
    ping: bool,
    /// Ports of this machine that it does not reach.
    unreached: Vec<u16>,
    /// Its agent's version.
    pub agent: Option<String>,
    /// The line that says who owns its cluster.
    pub claim: Option<String>,
}

/// A machine that was asked, and what it said.
pub type Answered<'s> = (&'s Seen, Result<Said>);

/// Asks every machine whose SSH port is open. If the record has keys of a machine, the machine must show one of them.
pub async fn ask_all<'s>(
    seen: &'s [Seen],
    remote: &Remote,
    record: Option<&Record>,
    context: &Context,
) -> Vec<Answered<'s>> {
    ask_each(&open(seen), remote, record, context).await
}

/// Asks the first machines whose SSH port is open, and all others if one of the first lets us in.
pub async fn ask_if_let_in<'s>(
    seen: &'s [Seen],
    remote: &Remote,
    record: Option<&Record>,
    context: &Context,
) -> Vec<Answered<'s>> {
    let open = open(seen);
    let (first, rest) = open.split_at(open.len().min(FIRST));
    let mut answered = ask_each(first, remote, record, context).await;
    if answered.iter().any(|(_, said)| said.is_ok()) {
        answered.extend(ask_each(rest, remote, record, context).await);
    }
    answered
}

fn open(seen: &[Seen]) -> Vec<&Seen> {
    seen.iter().filter(|seen| seen.answer.as_ref().is_some_and(|answer| answer.ssh.is_some())).collect()
}

async fn ask_each<'s>(
    seen: &[&'s Seen],
    remote: &Remote,
    record: Option<&Record>,
    context: &Context,
) -> Vec<Answered<'s>> {
    let asked: Vec<_> = seen.iter().map(|seen| ask(seen, remote, record, context)).collect();
    stream::iter(asked).buffered(remote.at_once).collect().await
}

async fn ask<'s>(seen: &'s Seen, remote: &Remote, record: Option<&Record>, context: &Context) -> Answered<'s> {
    let before = context.now();
    let said = talk(seen, remote, record, context).await;
    (seen, said.map(|said| read(&said, (before, context.now()))))
}

/// Lines of a word and what it means.
async fn talk(seen: &Seen, remote: &Remote, record: Option<&Record>, context: &Context) -> Result<String> {
    let Remote { login, agent, .. } = remote;
    let doing = || format!("log in to {}", seen.host);
    let known = known_hosts(seen, record, context)?;
    let address = agent.orchestrator_for(seen)?;
    let mut command = login.batch(&seen.host, known.as_deref());
    command.arg("exec sh -s").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context(doing)?;
    let (Some(mut input), Some(output), Some(errors)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(Error::new(Kind::Failed, doing()));
    };
    let talk = async {
        // An ssh that ends early says why by its exit code.
        let _ = input.write_all(script(agent, &address).as_bytes()).await;
        drop(input);
        let (mut said, mut complaints) = (Vec::new(), Vec::new());
        let (mut output, mut errors) = (output.take(LONGEST), errors.take(LONGEST));
        let (read, heard) = tokio::join!(output.read_to_end(&mut said), errors.read_to_end(&mut complaints));
        read.and(heard).context(doing)?;
        // Nobody waits for longer answers.
        drop((output, errors));
        let status = child.wait().await.context(doing)?;
        if status.success() {
            return Ok(String::from_utf8_lossy(&said).into_owned());
        }
        let cause = String::from_utf8_lossy(&complaints).trim().to_owned();
        let cause = if cause.is_empty() { format!("ssh ended with {status}") } else { cause };
        Err(Error::new(Kind::Failed, doing()).because(cause).hint(format!(
            "`orchestrator-cli ssh {}` must work without a password: load a key into the SSH agent, and set hosts.ssh_user in the settings",
            seen.host
        )))
    };
    match tokio::time::timeout(PATIENCE, talk).await {
        Ok(result) => result,
        Err(_) => Err(Error::new(Kind::Failed, format!("{}: no answer in {} s", doing(), PATIENCE.as_secs()))),
    }
}

/// If a machine lacks a program, its answer lacks that line.
fn script(agent: &Agent, address: &str) -> String {
    let address = quoted(address);
    let sudo = if agent.sudo { "[ \"$(id -u)\" = 0 ] || sudo -n true 2> /dev/null; echo \"root $?\"\n" } else { "" };
    let version = command(&agent.version);
    let claim = quoted(&agent.claim());
    let ports = agent.ports.iter().map(|port| format!("{{ reach {port}; echo \"port-{port} $?\"; }} &\n"));
    let ports: String = ports.chain([String::from("wait\n")]).collect();
    format!(
        "main() {{\n\
         reach() {{\n\
         if command -v bash > /dev/null; then timeout 5 bash -c 'exec 3<> /dev/tcp/\"$0\"/\"$1\"' {address} \"$1\" 2> /dev/null\n\
         elif command -v nc > /dev/null; then nc -z -w 5 {address} \"$1\" 2> /dev/null; fi\n\
         }}\n\
         echo \"clock $(date +%s)\"\n\
         df -Pk / | {{ read -r _; read -r _ _ _ free _; echo \"free $free\"; }}\n\
         {sudo}if command -v ping > /dev/null; then ping -c 1 -W 2 {address} > /dev/null 2>&1; echo \"ping $?\"; fi\n\
         printf 'agent %s\\n' \"$(timeout 20 {version} 2> /dev/null | head -n 1)\"\n\
         printf 'claim %s\\n' \"$(head -n 1 -- {claim} 2> /dev/null)\"\n\
         {ports}}}\n\
         main < /dev/null\nexit 0\n"
    )
}

/// What an answer says that was given between two moments of this machine's clock.
fn read(text: &str, (before, after): (DateTime<Utc>, DateTime<Utc>)) -> Said {
    let mut said =
        Said { clock: None, free: None, root: true, ping: true, unreached: Vec::new(), agent: None, claim: None };
    for (word, rest) in text.lines().filter_map(|line| line.trim_end().split_once(' ')) {
        let number: Option<i64> = rest.trim().parse().ok();
        let fails = number.is_some_and(|code| code != 0);
        let some = || Some(rest.chars().filter(|c| !is_unseen(*c)).collect::<String>()).filter(|rest| !rest.is_empty());
        match word {
            "clock" => said.clock = number.map(|clock| (clock, before, after)),
            "free" => {
                said.free = number.and_then(|free| u64::try_from(free).ok()).map(|free| free.saturating_mul(1024))
            }
            "root" => said.root = !fails,
            "ping" => said.ping = !fails,
            "agent" => said.agent = some().map(|version| version.chars().take(VERSION).collect()),
            "claim" => said.claim = some(),
            _ if fails => said.unreached.extend(word.strip_prefix("port-").and_then(|port| port.parse::<u16>().ok())),
            _ => {}
        }
    }
    // They come as they are found.
    said.unreached.sort_unstable();
    said
}

impl Said {
    /// Problems, and differences from what a bundle recorded.
    pub fn findings(&self, host: &str, recorded: &[Host]) -> Vec<Finding> {
        let mut found = Vec::new();
        if let Some((clock, before, after)) = self.clock {
            let (late, early) = (clock - after.timestamp(), before.timestamp() - clock);
            if late > SKEW || early > SKEW {
                let (by, how) = if late > 0 { (late, "ahead of") } else { (early, "behind") };
                let message = format!("the clock is {by} s {how} the clock of this machine");
                found.push(Finding::warning("clock-differs", host, message).hint("check the time service of the host"));
            }
        }
        if let Some(free) = self.free.filter(|free| *free < ROOM) {
            let message = format!("the disk has only {} free", bytes(free));
            found.push(Finding::warning("space-low", host, message).hint("free space before the agents need it"));
        }
        if !self.root {
            let message = "the login user can't become root by `sudo -n`";
            let hint = "log in as root, let sudo ask no password, or set agent.sudo = false in the settings";
            found.push(Finding::error("no-root", host, message).hint(hint));
        }
        if !self.ping {
            let message = "the host gets no answer if it pings this machine";
            found.push(
                Finding::warning("no-ping-back", host, message)
                    .hint("check the routes and firewalls between both machines"),
            );
        }
        for port in &self.unreached {
            let message = format!("the host can't reach port {port} of this machine");
            let hint =
                "start the service on this port, and open the firewalls; agent.ports in the settings names the port";
            found.push(Finding::error("no-way-back", host, message).hint(hint));
        }
        let before = recorded.iter().find(|recorded| recorded.host == host).and_then(|host| host.agent.as_ref());
        if let (Some(before), Some(now)) = (before, &self.agent)
            && before != now
        {
            let message = format!("agent changed: expected {before}, got {now}");
            found.push(Finding::warning("agent-differs", host, message).hint("check that this agent fits the release"));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_as_it_should_be_is_told_and_nothing_else() {
        let now = DateTime::from_timestamp(1_000_000, 0).expect("a time");
        let host = Host { host: "h".into(), reachable: true, keys: Vec::new(), agent: Some("Chef: 14.2".into()) };
        let codes = |text: &str| -> Vec<String> {
            let said = read(text, (now, now + chrono::TimeDelta::seconds(40)));
            said.findings("h", std::slice::from_ref(&host)).into_iter().map(|one| one.code).collect()
        };
        assert!(
            codes("clock 1000010\nfree 9999999\nroot 0\nping 0\nagent Chef: 14.2\nclaim \nport-443 0\n").is_empty()
        );
        // It took 40 seconds to answer, so that its clock may say any of them.
        assert!(codes("clock 1000069").is_empty() && codes("clock 999971").is_empty());
        assert_eq!(codes("clock 1000071"), ["clock-differs"]);
        assert_eq!(codes("clock 999969"), ["clock-differs"]);
        assert_eq!(codes("free 1000\nroot 1\nping 2"), ["space-low", "no-root", "no-ping-back"]);
        assert_eq!(codes("agent Chef: 15\u{1b}[2J\n"), ["agent-differs"]);
        assert_eq!(codes("port-443 1\nport-99999 1\nport-x 1\nfree -1\nclock x\nagent \nnonsense\n"), ["no-way-back"]);
    }
}
