//! What is done on one machine: the agent learns its orchestrator and release, and is run.

use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::Receiver;
use tokio::process::Command;

use crate::cluster::hosts::{self, Login};
use crate::{Context, Error, ErrorContext, Kind, Result};

/// Bytes of an agent's output that its log keeps.
const LOG: u64 = 16 << 20;
/// Bytes of its end that go into an error.
const SHOWN: usize = 400;
/// Exit code of the script where the settings can't be written, and where the agent has others in the end.
const NOT_WRITTEN: i32 = 96;
const CHANGED: i32 = 97;
/// Exit code of `ssh` itself.
const SSH: i32 = 255;

/// How agents are told and run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// The file that it has its settings from, on its machine.
    pub settings: PathBuf,
    /// The program with its arguments that does what is to be done there.
    pub command: Vec<String>,
    /// Whether who logs in becomes root by `sudo`.
    pub sudo: bool,
    /// Seconds that it may take.
    pub limit: u64,
    /// The orchestrator's address, where it is not the one of the way to the machine.
    pub orchestrator: Option<String>,
}

impl Default for Agent {
    fn default() -> Self {
        Self {
            settings: "/etc/orchestrator-agent/orchestrator.json".into(),
            command: vec!["chef-client".into()],
            sudo: true,
            limit: 3600,
            orchestrator: None,
        }
    }
}

/// What an agent is told.
#[derive(Debug, Serialize)]
struct Told<'t> {
    orchestrator: &'t str,
    release: &'t str,
    cluster: &'t str,
}

/// A machine that is to be deployed.
pub(super) struct Deployed<'d> {
    pub(super) host: &'d str,
    pub(super) agent: &'d Agent,
    pub(super) login: &'d Login,
    pub(super) release: &'d str,
    pub(super) cluster: &'d str,
    /// Where the agent's output goes.
    pub(super) log: &'d Path,
}

impl Deployed<'_> {
    /// Does all of it, or what is left of it: what is as it should be stays untouched.
    ///
    /// # Errors
    /// [`Kind::Refused`] where the machine is another one than it was; else where it can't be reached, its settings can't be
    /// written, or its agent fails.
    pub(super) async fn run(&self, context: &Context) -> Result<()> {
        let name = [self.host.to_owned()];
        let seen = hosts::look(&name, self.login.port, context).await?.remove(0);
        if seen.answer.is_none() {
            return Err(Error::new(Kind::Failed, "it does not answer"));
        }
        let known = hosts::known_hosts(&seen, context)?;
        let orchestrator = match &self.agent.orchestrator {
            Some(address) => address.clone(),
            None => own_address(&seen.addresses)?.to_string(),
        };
        let told = Told { orchestrator: &orchestrator, release: self.release, cluster: self.cluster };
        let told = serde_json::to_string(&told).context(|| "write the agent's settings".into())?;
        let mut command = Command::new("ssh");
        command.args(["-o", "BatchMode=yes", "-o", "ConnectTimeout=10"]);
        // A machine that was cut off is given up after a minute.
        command.args(["-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4"]);
        if known.is_none() {
            command.args(["-o", "StrictHostKeyChecking=yes"]);
        }
        command.args(self.login.arguments(self.host, known.as_deref())).arg(shell(self.agent.sudo));
        let script = script(self.agent, &told);
        match tokio::time::timeout(Duration::from_secs(self.agent.limit), self.talk(command, &script)).await {
            Ok(result) => result,
            Err(_) => Err(Error::new(Kind::Failed, format!("it took longer than {} s", self.agent.limit))
                .because(format!("its output is in {}", self.log.display()))
                .hint("look at the machine: the agent may still run there; agent.limit in the settings is the time it may take")),
        }
    }

    /// Sends the script, and writes to the log what comes back.
    async fn talk(&self, mut command: Command, script: &str) -> Result<()> {
        let doing = || "run ssh".to_owned();
        let mut log = File::options().create(true).append(true).mode(0o600).open(self.log);
        let log = log.as_mut().map_err(|cause| {
            Error::new(Kind::Failed, format!("write {}", self.log.display()))
                .because(std::io::Error::from(cause.kind()))
        })?;
        let (reader, writer) = std::io::pipe().context(doing)?;
        let second = writer.try_clone().context(doing)?;
        command.stdin(Stdio::piped()).stdout(writer).stderr(second).kill_on_drop(true).process_group(0);
        let mut child = command.spawn().context(doing)?;
        // It holds the pipe's other end, which would never be closed.
        drop(command);
        let mut output = Receiver::from_owned_fd(reader.into()).context(doing)?;
        if let Some(mut input) = child.stdin.take() {
            // One that ends before it has read all says why by its exit.
            let _ = input.write_all(script.as_bytes()).await;
        }
        let end = keep(&mut output, log).await.context(|| format!("write {}", self.log.display()))?;
        let status = child.wait().await.context(doing)?;
        let what = match status.code() {
            Some(0) => return Ok(()),
            Some(SSH) => "ssh could not log in, or was cut off".into(),
            Some(NOT_WRITTEN) => format!("{} can't be written", self.agent.settings.display()),
            Some(CHANGED) => format!("after the agent's run {} is not what was written", self.agent.settings.display()),
            _ => format!("the agent ended with {status}"),
        };
        let end = if end.is_empty() { "there is no output".into() } else { format!("its output ends with\n{end}") };
        Err(Error::new(Kind::Failed, what).because(end).hint(format!("all of its output is in {}", self.log.display())))
    }
}

/// Writes output to a log, up to a length, and returns the end of it.
async fn keep(output: &mut Receiver, log: &mut File) -> std::io::Result<String> {
    let (mut left, mut end, mut buffer) = (LOG, Vec::new(), vec![0; 1 << 16]);
    loop {
        let length = output.read(&mut buffer).await?;
        if length == 0 {
            break;
        }
        let kept = length.min(usize::try_from(left).unwrap_or(usize::MAX));
        log.write_all(&buffer[..kept])?;
        left -= kept as u64;
        if left == 0 && kept > 0 {
            log.write_all(b"\n[the rest is left out]\n")?;
        }
        end.extend_from_slice(&buffer[..length]);
        end.drain(..end.len().saturating_sub(SHOWN));
    }
    Ok(String::from_utf8_lossy(&end).trim().to_owned())
}

/// The address that this machine has on the way to one of others; nothing is sent.
fn own_address(others: &[IpAddr]) -> Result<IpAddr> {
    let towards = |other: &IpAddr| -> std::io::Result<IpAddr> {
        let any: SocketAddr = if other.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
        let socket = UdpSocket::bind(any)?;
        socket.connect((*other, 9))?;
        Ok(socket.local_addr()?.ip())
    };
    others.iter().find_map(|other| towards(other).ok()).ok_or_else(|| {
        Error::new(Kind::Failed, "find the address that the agent reaches this machine by")
            .hint("name it with agent.orchestrator in the settings")
    })
}

/// What `ssh` runs: a shell that reads the script, as root if it can.
fn shell(sudo: bool) -> &'static str {
    if sudo { "if [ \"$(id -u)\" = 0 ]; then exec sh -s; else exec sudo -n sh -s; fi" } else { "exec sh -s" }
}

/// The script. It is one function, for a shell would begin with what it has of a script that is cut off.
fn script(agent: &Agent, told: &str) -> String {
    let command: Vec<String> = agent.command.iter().map(|word| quoted(word)).collect();
    format!(
        "main() {{\n\
         file={}\n\
         new={}\n\
         if [ \"$(cat -- \"$file\" 2> /dev/null)\" = \"$new\" ]; then\n\
         echo \"$file: as it should be\"\n\
         else\n\
         directory=$(dirname -- \"$file\")\n\
         mkdir -p -- \"$directory\" && temporary=$(mktemp -- \"$directory/.orchestrator.XXXXXX\") &&\n\
         printf '%s\\n' \"$new\" > \"$temporary\" && chmod 644 -- \"$temporary\" && sync &&\n\
         mv -f -- \"$temporary\" \"$file\" || return {NOT_WRITTEN}\n\
         echo \"$file: written\"\n\
         fi\n\
         {} < /dev/null || return\n\
         [ \"$(cat -- \"$file\")\" = \"$new\" ] || return {CHANGED}\n\
         }}\n\
         main\nexit\n",
        quoted(&agent.settings.to_string_lossy()),
        quoted(told),
        command.join(" ")
    )
}

/// A text as one word of a shell, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_cluster_or_its_settings_are_named_runs_as_a_command() {
        let place = tempfile::tempdir().expect("a directory");
        let odd = "'; touch ran; echo $(touch ran) `touch ran` \" \\ \n";
        let settings = place.path().join("it's; touch ran").join("orchestrator.json");
        let command = vec!["printf".into(), "%s".into(), odd.into()];
        let agent = Agent { settings: settings.clone(), command, ..Agent::default() };
        let told = serde_json::to_string(&Told { orchestrator: odd, release: odd, cluster: odd }).expect("JSON");
        let run = || {
            let mut shell = std::process::Command::new("sh");
            shell.args(["-c", &script(&agent, &told)]).current_dir(place.path()).output().expect("sh runs")
        };
        let (first, second) = (run(), run());
        assert!(first.status.success() && String::from_utf8_lossy(&first.stdout).ends_with(odd), "{first:?}");
        assert!(String::from_utf8_lossy(&second.stdout).contains("as it should be"), "{second:?}");
        assert_eq!(std::fs::read_to_string(settings).expect("settings"), format!("{told}\n"));
        assert!(!place.path().join("ran").exists());
    }
}
