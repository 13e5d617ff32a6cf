//! What is done on one machine: the agent learns its orchestrator and release, and is run.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::Receiver;
use tokio::process::Command;

use crate::cluster::hosts::{self, Login, Seen};
use crate::{Context, Error, ErrorContext, Kind, Result};

/// Bytes of an agent's output that its log keeps.
const LOG: u64 = 16 << 20;
/// Bytes of its end that go into an error.
const SHOWN: usize = 400;
/// What the script's last line begins with, before a word that says how it ended and a number.
const ENDED: &str = "orchestrator-cli";

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
    /// Its ports that every machine must reach.
    #[serde(default)]
    pub ports: Vec<u16>,
}

impl Default for Agent {
    fn default() -> Self {
        Self {
            settings: "/etc/orchestrator-agent/orchestrator.json".into(),
            command: vec!["chef-client".into()],
            sudo: true,
            limit: 3600,
            orchestrator: None,
            ports: Vec::new(),
        }
    }
}

impl Agent {
    /// The address by which a machine's agent knows this one.
    pub(super) fn orchestrator_for(&self, machine: &Seen) -> Result<String> {
        match &self.orchestrator {
            Some(address) => Ok(address.clone()),
            None => own_address(machine).map(|address| address.to_string()),
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
        let orchestrator = self.agent.orchestrator_for(&seen)?;
        let told = Told { orchestrator: &orchestrator, release: self.release, cluster: self.cluster };
        let told = serde_json::to_string(&told).context(|| "write the agent's settings".into())?;
        let mut command = self.login.batch(self.host, known.as_deref());
        command.arg(shell(self.agent.sudo));
        let mark = mark()?;
        let script = script(self.agent, &told, &mark);
        match tokio::time::timeout(Duration::from_secs(self.agent.limit), self.talk(command, &script, &mark)).await {
            Ok(result) => result,
            Err(_) => Err(Error::new(Kind::Failed, format!("it took longer than {} s", self.agent.limit)).hint(
                "look at the machine: the agent may still run there; agent.limit in the settings is the time it may take",
            )),
        }
    }

    /// Sends the script, and writes to the log what comes back, until the script says that it has ended: something that the
    /// agent started may hold the connection open.
    async fn talk(&self, mut command: Command, script: &str, mark: &str) -> Result<()> {
        let doing = || "run ssh".to_owned();
        let writing = || format!("write {}", self.log.display());
        let mut log = File::options().create(true).append(true).mode(0o600).open(self.log).context(writing)?;
        let (reader, writer) = std::io::pipe().context(doing)?;
        let second = writer.try_clone().context(doing)?;
        command.stdin(Stdio::piped()).stdout(writer).stderr(second);
        let mut child = command.spawn().map_err(|cause| {
            Error::new(Kind::Failed, doing()).because(cause).hint("install the package openssh-client")
        })?;
        // It holds the pipe's other end, which would never be closed.
        drop(command);
        let mut output = Receiver::from_owned_fd(reader.into()).context(doing)?;
        if let Some(mut input) = child.stdin.take() {
            // One that ends before it has read all says why by its exit.
            let _ = input.write_all(script.as_bytes()).await;
        }
        let (end, ended) = keep(&mut output, &mut log, mark).await.context(writing)?;
        let settings = self.agent.settings.display();
        let what = match ended.as_ref().map(|(word, code)| (word.as_str(), *code)) {
            Some(("agent", 0)) => return Ok(()),
            Some(("agent", code)) => format!("the agent ended with exit code {code}"),
            Some(("busy", _)) => "an agent that an earlier deploy began still runs there".into(),
            Some(("settings", _)) => format!("{settings} can't be written"),
            Some(("changed", _)) => format!("after the agent's run {settings} is not what was written"),
            _ => format!(
                "ssh could not log in, could not become root, or was cut off: {}",
                child.wait().await.context(doing)?
            ),
        };
        let end = if end.is_empty() { "there is no output".into() } else { format!("its output ends with\n{end}") };
        Err(Error::new(Kind::Failed, what).because(end))
    }
}

/// A word that no output holds by chance.
fn mark() -> Result<String> {
    let mut bytes = [0; 16];
    let read = File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut bytes));
    read.map(|()| format!("{ENDED}-{}", hex::encode(bytes))).context(|| "read /dev/urandom".into())
}

/// Writes output to a log, up to a length, until its end or the line that begins with `mark`; returns the end of what came before
/// that line, and what the line says.
async fn keep(output: &mut Receiver, log: &mut File, mark: &str) -> std::io::Result<(String, Option<(String, i32)>)> {
    let mut left = LOG.saturating_sub(log.metadata()?.len());
    let (mut end, mut buffer) = (String::new(), vec![0; 1 << 16]);
    loop {
        let length = output.read(&mut buffer).await?;
        let kept = length.min(usize::try_from(left).unwrap_or(usize::MAX));
        log.write_all(&buffer[..kept])?;
        if left > 0 && kept < length {
            log.write_all(b"\n[the rest is left out]\n")?;
        }
        left -= kept as u64;
        end.push_str(&String::from_utf8_lossy(&buffer[..length]));
        let said = end.rsplit_once(mark).and_then(|(before, said)| Some((before, said.split_once('\n')?.0)));
        if let Some((before, said)) = said {
            let said = said.trim().split_once(' ').and_then(|(word, code)| Some((word.to_owned(), code.parse().ok()?)));
            return Ok((shown(before), said));
        }
        if length == 0 {
            return Ok((shown(&end), None));
        }
        end.drain(..end.ceil_char_boundary(end.len().saturating_sub(2 * SHOWN)));
    }
}

/// The end of a text, as much as goes into an error.
fn shown(text: &str) -> String {
    let text = text.trim();
    text[text.ceil_char_boundary(text.len().saturating_sub(SHOWN))..].to_owned()
}

/// The address that this machine has on the way to another one; nothing is sent.
fn own_address(other: &Seen) -> Result<IpAddr> {
    let towards = |other: &IpAddr| -> std::io::Result<IpAddr> {
        let any: SocketAddr = if other.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
        let socket = UdpSocket::bind(any)?;
        socket.connect((*other, 9))?;
        Ok(socket.local_addr()?.ip())
    };
    // The one that answered comes first: others may lead nowhere.
    let answered = other.answer.as_ref().and_then(|answer| answer.ssh);
    answered.iter().chain(&other.addresses).find_map(|other| towards(other).ok()).ok_or_else(|| {
        Error::new(Kind::Failed, "find the address that the agent reaches this machine by")
            .hint("name it with agent.orchestrator in the settings")
    })
}

/// What `ssh` runs: a shell that reads the script, as root if it can.
fn shell(sudo: bool) -> &'static str {
    if sudo { "if [ \"$(id -u)\" = 0 ]; then exec sh -s; else exec sudo -n sh -s; fi" } else { "exec sh -s" }
}

/// The script. It is one function, for a shell would begin with what it has of a script that is cut off. While it runs it holds a
/// lock, which its agent does not get, so that no second one runs beside it. Errors go the way of all output, or they could come
/// after the last line.
fn script(agent: &Agent, told: &str, mark: &str) -> String {
    let command: Vec<String> = agent.command.iter().map(|word| quoted(word)).collect();
    format!(
        "main() {{\n\
         exec 2>&1\n\
         file={}\n\
         new={}\n\
         directory=$(dirname -- \"$file\")\n\
         mkdir -p -- \"$directory\" && exec 9> \"$file.lock\" || {{ echo \"{mark} settings 1\"; return; }}\n\
         if command -v flock > /dev/null; then flock -n 9 || {{ echo \"{mark} busy 1\"; return; }}; fi\n\
         if [ \"$(cat -- \"$file\" 2> /dev/null)\" = \"$new\" ]; then\n\
         echo \"$file: as it should be\"\n\
         else\n\
         rm -f -- \"$directory\"/.orchestrator.??????\n\
         temporary=$(mktemp -- \"$directory/.orchestrator.XXXXXX\") &&\n\
         printf '%s\\n' \"$new\" > \"$temporary\" && chmod 644 -- \"$temporary\" && sync -- \"$temporary\" &&\n\
         mv -fT -- \"$temporary\" \"$file\" || {{ rm -f -- \"$temporary\"; echo \"{mark} settings 1\"; return; }}\n\
         echo \"$file: written\"\n\
         fi\n\
         {} < /dev/null 9>&- || {{ echo \"{mark} agent $?\"; return; }}\n\
         [ \"$(cat -- \"$file\")\" = \"$new\" ] || {{ echo \"{mark} changed 1\"; return; }}\n\
         echo \"{mark} agent 0\"\n\
         }}\n\
         main\nexit\n",
        quoted(&agent.settings.to_string_lossy()),
        quoted(told),
        command.join(" ")
    )
}

/// A text as one word of a shell, whatever is in it.
pub(super) fn quoted(text: &str) -> String {
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
            shell.args(["-c", &script(&agent, &told, "mark")]).current_dir(place.path()).output().expect("sh runs")
        };
        let (first, second) = (run(), run());
        assert!(
            first.status.success() && String::from_utf8_lossy(&first.stdout).ends_with(&format!("{odd}mark agent 0\n")),
            "{first:?}"
        );
        assert!(String::from_utf8_lossy(&second.stdout).contains("as it should be"), "{second:?}");
        assert_eq!(std::fs::read_to_string(settings).expect("settings"), format!("{told}\n"));
        assert!(!place.path().join("ran").exists());
    }
}
