//! What is done on one machine: the agent learns its orchestrator and release, and is run.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::Receiver;
use tokio::process::Command;

use crate::cluster::agent::{Agent, Remote, command, quoted};
use crate::cluster::hosts::{self, Record};
use crate::ownership::Claim;
use crate::{Context, Error, ErrorContext, Kind, Result, random};

/// Bytes of an agent's output that its log keeps.
const LOG: u64 = 16 << 20;
/// Bytes of its end that go into an error.
const SHOWN: usize = 1000;
/// What the script's last line begins with, before a word that says how it ended and a number.
const ENDED: &str = "orchestrator-cli";

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
    pub(super) remote: &'d Remote,
    /// By which this machine owns the cluster.
    pub(super) claim: &'d Claim,
    pub(super) release: &'d str,
    pub(super) cluster: &'d str,
    /// Where the agent's output goes.
    pub(super) log: &'d Path,
}

impl Deployed<'_> {
    /// Does all of it, or what is left of it: what is as it should be stays untouched.
    ///
    /// # Errors
    /// [`Kind::Refused`] where the machine is another one than it was, or another orchestrator's; else where it can't be reached,
    /// its settings can't be written, or its agent fails.
    pub(super) async fn run(&self, context: &Context) -> Result<()> {
        let Remote { login, agent, .. } = self.remote;
        let name = [self.host.to_owned()];
        let seen = hosts::look(&name, login.port, context).await?.remove(0);
        if seen.answer.is_none() {
            return Err(Error::new(Kind::Failed, "it does not answer"));
        }
        let known = hosts::known_hosts(&seen, Record::load(context)?.as_ref(), context)?;
        let orchestrator = agent.orchestrator_for(&seen)?;
        let told = Told { orchestrator: &orchestrator, release: self.release, cluster: self.cluster };
        let told = serde_json::to_string(&told).context(|| "write the agent's settings".into())?;
        let mut command = login.batch(self.host, known.as_deref());
        command.arg(shell(agent.sudo));
        let mark = format!("{ENDED}-{}", random::word()?);
        let script = script(agent, self.claim, &told, &mark);
        match tokio::time::timeout(Duration::from_secs(agent.limit), self.talk(command, &script, &mark)).await {
            Ok(result) => result,
            Err(_) => Err(Error::new(Kind::Failed, format!("it took longer than {} s", agent.limit)).hint(
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
        let settings = self.remote.agent.settings.display();
        let what = match ended.as_ref().map(|(word, code)| (word.as_str(), *code)) {
            Some(("agent", 0)) => return Ok(()),
            Some(("agent", code)) => format!("the agent ended with exit code {code}"),
            Some(("owned", _)) => return Err(owned(&end)),
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

/// What `ssh` runs: a shell that reads the script, as root if it can.
fn shell(sudo: bool) -> &'static str {
    if sudo { "if [ \"$(id -u)\" = 0 ]; then exec sh -s; else exec sudo -n sh -s; fi" } else { "exec sh -s" }
}

/// The claim of another orchestrator, which the script has printed.
fn owned(output: &str) -> Error {
    let claim = output.lines().rev().find_map(|line| Claim::read(line.as_bytes()));
    let owner = claim.map_or_else(|| "another orchestrator".into(), |claim| claim.to_string());
    Error::new(Kind::Refused, format!("it belongs to {owner}")).hint("`ownership show` says who owns the cluster")
}

/// The script. It is one function, for a shell would begin with what it has of a script that is cut off. While it runs it holds a
/// lock, which its agent does not get, so that no second one runs beside it, and none comes between looking at the claim and writing
/// it; nobody else can open that, and so hold it. Errors go the way of all output, or they could come after the last line.
fn script(agent: &Agent, claim: &Claim, told: &str, mark: &str) -> String {
    format!(
        "main() {{\n\
         exec 2>&1\n\
         umask 022\n\
         file={}\n\
         owner={}\n\
         new={}\n\
         directory=$(dirname -- \"$file\")\n\
         mkdir -p -- \"$directory\" && (umask 077; : >> \"$file.lock\") && chmod 600 -- \"$file.lock\" && exec 9>> \"$file.lock\" || {{ echo \"{mark} settings 1\"; return; }}\n\
         if command -v flock > /dev/null; then flock -n 9 || {{ echo \"{mark} busy 1\"; return; }}; fi\n\
         held=$(sed -n '1s/^{{\"epoch\":\\([0-9]\\{{1,18\\}}\\),\"owner\":\"\\([0-9a-f]*\\)\".*/\\1 \\2/p' -- \"$owner\" 2> /dev/null)\n\
         if [ -n \"$held\" ] && [ \"${{held#* }}\" != {} ] && [ \"${{held% *}}\" -ge {} ]; then\n\
         head -n 1 -- \"$owner\"; echo \"{mark} owned 1\"; return\n\
         fi\n\
         rm -f -- \"$directory\"/.orchestrator.??????\n\
         put \"$owner\" {} && put \"$file\" \"$new\" || {{ echo \"{mark} settings 1\"; return; }}\n\
         {} < /dev/null 9>&- || {{ echo \"{mark} agent $?\"; return; }}\n\
         [ \"$(cat -- \"$file\")\" = \"$new\" ] || {{ echo \"{mark} changed 1\"; return; }}\n\
         echo \"{mark} agent 0\"\n\
         }}\n\
         put() {{\n\
         if [ \"$(cat -- \"$1\" 2> /dev/null)\" = \"$2\" ]; then echo \"$1: as it should be\"; return; fi\n\
         temporary=$(mktemp -- \"$directory/.orchestrator.XXXXXX\") &&\n\
         printf '%s\\n' \"$2\" > \"$temporary\" && chmod 644 -- \"$temporary\" && sync -- \"$temporary\" &&\n\
         mv -fT -- \"$temporary\" \"$1\" && echo \"$1: written\" || {{ rm -f -- \"$temporary\"; return 1; }}\n\
         }}\n\
         main\nexit\n",
        quoted(&agent.settings.to_string_lossy()),
        quoted(&agent.claim()),
        quoted(told),
        quoted(&claim.owner),
        claim.epoch,
        quoted(&claim.line()),
        command(&agent.command)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(epoch: u64, owner: &str) -> Claim {
        let text = format!(
            r#"{{"epoch":{epoch},"owner":"{owner}","identity":"0a","cluster":"'$(touch ran)","host":"\"; touch ran","addresses":[],"since":"2026-11-20T19:15:00Z"}}"#
        );
        Claim::read(text.as_bytes()).expect("a claim")
    }

    #[test]
    fn of_orchestrators_the_one_with_the_highest_epoch_is_obeyed() {
        let place = tempfile::tempdir().expect("a directory");
        let agent = Agent { settings: place.path().join("o.json"), command: vec!["true".into()], ..Agent::default() };
        let run = |epoch, owner: &str| {
            let script = script(&agent, &claim(epoch, owner), "{}", "mark");
            let ran = std::process::Command::new("sh").args(["-c", &script]).output().expect("sh runs");
            String::from_utf8(ran.stdout).expect("text").lines().last().unwrap_or_default().to_owned()
        };
        for (epoch, owner, end) in [
            (2, "b", "mark agent 0"),
            (1, "a", "mark owned 1"),
            (2, "a", "mark owned 1"),
            (2, "b", "mark agent 0"),
            (10, "a", "mark agent 0"),
            (9, "b", "mark owned 1"),
        ] {
            assert_eq!(run(epoch, owner), end, "{epoch} {owner}");
        }
        assert_eq!(std::fs::read_to_string(agent.claim()).expect("a claim"), format!("{}\n", claim(10, "a").line()));
    }

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
            shell
                .args(["-c", &script(&agent, &claim(1, "a"), &told, "mark")])
                .current_dir(place.path())
                .output()
                .expect("sh runs")
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
