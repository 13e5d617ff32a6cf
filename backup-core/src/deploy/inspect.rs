//! What machines say of themselves before a deploy. They are asked over ssh, and nothing is changed.

use std::process::Stdio;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Agent, Plan};
use crate::cluster::hosts::{self, Allowed, Login, Seen};
use crate::finding::{Finding, Severity, bytes};
use crate::{Context, Error, ErrorContext, Kind, Result};

/// All of it must be said within this time.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of an answer that are read.
const LONGEST: u64 = 1 << 16;
/// Seconds that clocks may differ by: the answer travels too.
const SKEW: i64 = 30;
/// Room on a machine's disk, in bytes, that an agent's work is thought to need.
const ROOM: u64 = 1 << 30;

/// Asks every machine whose SSH port is open. What would stop the deploy there is an error, or a warning where the machine may
/// be unreachable.
pub(super) async fn inspect(seen: &[Seen], plan: &Plan, allowed: &Allowed, context: &Context) -> Vec<Finding> {
    let open = seen.iter().filter(|seen| seen.answer.as_ref().is_some_and(|answer| answer.ssh.is_some()));
    let asked = open.map(|seen| async move {
        let before = context.now();
        let said = ask(seen, &plan.agent, &plan.login, context).await;
        match said {
            Ok(said) => findings(&seen.host, &said, (before, context.now())),
            // That it is another machine has been said.
            Err(error) if error.kind() == Kind::Refused => Vec::new(),
            Err(error) => vec![Finding::from_error("login-failed", &seen.host, &error)],
        }
    });
    let mut found: Vec<Finding> = stream::iter(asked).buffered(plan.at_once).concat().await;
    for finding in found.iter_mut().filter(|finding| finding.severity == Severity::Error) {
        if allowed.unreachable.contains(&finding.subject) {
            finding.severity = Severity::Warning;
            finding.message.push_str("; allowed by --allow-unreachable");
        }
    }
    found
}

/// What a machine says: lines of a word and a number.
async fn ask(seen: &Seen, agent: &Agent, login: &Login, context: &Context) -> Result<String> {
    let doing = || format!("log in to {}", seen.host);
    let known = hosts::known_hosts(seen, context)?;
    let address = agent.orchestrator_for(seen)?;
    let mut command = login.batch(&seen.host, known.as_deref());
    command.arg("exec sh -s").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context(doing)?;
    let (Some(mut input), Some(output), Some(errors)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(Error::new(Kind::Failed, doing()));
    };
    let talk = async {
        // One that ends before it has read all says why by its exit.
        let _ = input.write_all(script(agent, &address).as_bytes()).await;
        drop(input);
        let (mut said, mut complaints) = (Vec::new(), Vec::new());
        let (mut output, mut errors) = (output.take(LONGEST), errors.take(LONGEST));
        let (read, heard) = tokio::join!(output.read_to_end(&mut said), errors.read_to_end(&mut complaints));
        read.and(heard).context(doing)?;
        // Whoever says more is not waited for.
        drop((output, errors));
        let status = child.wait().await.context(doing)?;
        if status.success() {
            return Ok(String::from_utf8_lossy(&said).into_owned());
        }
        let cause = String::from_utf8_lossy(&complaints).trim().to_owned();
        let cause = if cause.is_empty() { format!("ssh ended with {status}") } else { cause };
        Err(Error::new(Kind::Failed, doing()).because(cause).hint(format!(
            "`orchestrator-cli ssh {}` must work without a password: a key in the agent, and hosts.ssh_user in the settings",
            seen.host
        )))
    };
    match tokio::time::timeout(PATIENCE, talk).await {
        Ok(result) => result,
        Err(_) => Err(Error::new(Kind::Failed, format!("{}: no answer in {} s", doing(), PATIENCE.as_secs()))),
    }
}

fn script(agent: &Agent, address: &str) -> String {
    let address = super::agent::quoted(address);
    let sudo = if agent.sudo { "[ \"$(id -u)\" = 0 ] || sudo -n true 2> /dev/null; echo \"root $?\"\n" } else { "" };
    let ports: String = agent.ports.iter().map(|port| format!("reach {port}; echo \"port-{port} $?\"\n")).collect();
    format!(
        "main() {{\n\
         reach() {{\n\
         if command -v bash > /dev/null; then timeout 5 bash -c 'exec 3<> /dev/tcp/\"$0\"/\"$1\"' {address} \"$1\" 2> /dev/null\n\
         else nc -z -w 5 {address} \"$1\" 2> /dev/null; fi\n\
         }}\n\
         echo \"clock $(date +%s)\"\n\
         df -Pk / | {{ read -r _; read -r _ _ _ free _; echo \"free $free\"; }}\n\
         {sudo}ping -c 1 -W 2 {address} > /dev/null 2>&1; echo \"ping $?\"\n\
         {ports}}}\n\
         main < /dev/null\nexit 0\n"
    )
}

/// What of a machine's answer is not as it should be; it was given between two moments of this machine's clock.
fn findings(host: &str, said: &str, (before, after): (DateTime<Utc>, DateTime<Utc>)) -> Vec<Finding> {
    let mut found = Vec::new();
    let numbers = said.lines().filter_map(|line| {
        let (word, number) = line.trim().split_once(' ')?;
        Some((word, number.parse::<i64>().ok()?))
    });
    for (word, number) in numbers {
        match word {
            "clock" => {
                let early = number - before.timestamp();
                let late = number - after.timestamp();
                if late > SKEW || early < -SKEW {
                    let (by, how) = if late > 0 { (late, "ahead of") } else { (-early, "behind") };
                    let message = format!("its clock is {by} s {how} this machine's");
                    found.push(Finding::warning("clock-differs", host, message).hint("see to its time service"));
                }
            }
            "free" if number >= 0 && (number as u64) < ROOM >> 10 => {
                let message = format!("its disk has {} left", bytes(number as u64 * 1024));
                found.push(Finding::warning("space-low", host, message).hint("make room before agents need it"));
            }
            "root" if number != 0 => {
                let message = "who logs in can't become root there by `sudo -n`";
                let hint = "log in as root, let sudo ask no password, or set agent.sudo = false in the settings";
                found.push(Finding::error("no-root", host, message).hint(hint));
            }
            "ping" if number != 0 => {
                let message = "it gets no answer to a ping of this machine";
                found.push(
                    Finding::warning("no-ping-back", host, message).hint("look at the routes and firewalls between"),
                );
            }
            word if number != 0 => {
                if let Some(port) = word.strip_prefix("port-").and_then(|port| port.parse::<u16>().ok()) {
                    let message = format!("it does not reach port {port} of this machine");
                    let hint = "start what listens there, and open the firewalls between; agent.ports in the settings names it";
                    found.push(Finding::error("no-way-back", host, message).hint(hint));
                }
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_as_it_should_be_is_told_and_nothing_else() {
        let now = DateTime::from_timestamp(1_000_000, 0).expect("a time");
        let codes = |said: &str| -> Vec<String> {
            findings("h", said, (now, now + chrono::TimeDelta::seconds(40))).into_iter().map(|one| one.code).collect()
        };
        assert!(codes("clock 1000010\nfree 9999999\nroot 0\nping 0\nport-443 0\n").is_empty());
        // It took 40 seconds to answer, so that its clock may say any of them.
        assert!(codes("clock 1000069").is_empty() && codes("clock 999971").is_empty());
        assert_eq!(codes("clock 1000071\nclock 999969"), ["clock-differs", "clock-differs"]);
        assert_eq!(codes("free 1000\nroot 1\nping 2"), ["space-low", "no-root", "no-ping-back"]);
        assert_eq!(codes("port-443 1\nport-99999 1\nport-x 1\nfree -1\nclock x\nnonsense\n"), ["no-way-back"]);
    }
}
