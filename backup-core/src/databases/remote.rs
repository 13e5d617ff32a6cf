//! The databases of all machines, each backed up there by this same program, over ssh.

use std::collections::HashMap;
use std::process::Stdio;

use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Done, Fate, Request, Role, Server, Told};
use crate::cluster::agent;
use crate::cluster::hosts::{self, Record, Seen, known_hosts};
use crate::encryption::Recipients;
use crate::event::Event;
use crate::finding::Finding;
use crate::{Context, Error, ErrorContext, Kind, Result};

/// The arguments with which the program is run on another machine. The sample for sudo allows these alone.
pub const ERRAND: &str = "--json --quiet databases backup --errand";
/// Bytes of an answer that are read.
const LONGEST: u64 = 16 << 20;
/// Characters of a complaint that go into an error.
const SHOWN: usize = 500;

/// What an errand's settings may say.
pub(crate) const TAKEN: [&str; 6] = ["cluster_conf", "stores", "encryption", "backup", "retention", "databases"];

/// All that a machine is told, by its standard input: it need have no settings of its own, and secrets stand in no argument.
#[derive(Serialize, Deserialize)]
pub struct Errand {
    /// The machine, as `cluster.conf` has it.
    pub host: String,
    /// The text of `cluster.conf`.
    pub cluster_conf: String,
    /// The text of the settings, where there are some.
    pub settings: Option<String>,
    /// What is asked for.
    pub request: Request,
}

/// Backs up the databases of all servers. Masters come first, so that their standbys find what they need not do.
///
/// # Errors
/// Where the hosts can't be looked at; [`Kind::Interrupted`]. What becomes of each is in its answer.
pub(super) async fn back_up(
    servers: &[Server],
    told: Told<'_>,
    request: &Request,
    context: &Context,
) -> Result<Vec<Done>> {
    let names: Vec<String> = servers.iter().map(|server| server.host.clone()).collect();
    context.phase(hosts::looking_at(&names));
    let work = async {
        let seen = hosts::look(&names, told.backup.remote.login.port, context).await?;
        let over = Over { told, record: Record::load(context)?, context };
        let all: Vec<(&Server, &Seen)> = servers.iter().zip(&seen).collect();
        if request.dry_run || told.own.bucket.is_none() {
            return Ok(over.each(&all, request).await);
        }
        context.phase("ask who is the master");
        let asked = over.each(&all, &Request { dry_run: true, ..request.clone() }).await;
        let roles: HashMap<&str, Option<Role>> = asked.iter().map(|done| (&*done.host, done.role)).collect();
        let is_standby = |(server, _): &(&Server, &Seen)| roles.get(&*server.host) == Some(&Some(Role::Standby));
        let (standbys, masters): (Vec<_>, Vec<_>) = all.into_iter().partition(is_standby);
        context.phase("back the masters up");
        // Bundles are named by their second, and groups share the bucket: one group after another.
        let mut done = Vec::new();
        for group in masters.chunk_by(|(one, _), (other, _)| one.group == other.group) {
            done.extend(over.each(group, request).await);
        }
        context.phase("back the standbys up");
        done.extend(over.each(&standbys, request).await);
        Ok(done)
    };
    context.until_cancelled(work).await
}

struct Over<'o> {
    told: Told<'o>,
    record: Option<Record>,
    context: &'o Context,
}

impl Over<'_> {
    async fn each(&self, servers: &[(&Server, &Seen)], request: &Request) -> Vec<Done> {
        let asked: Vec<_> = servers.iter().map(|(server, seen)| self.one(server, seen, request)).collect();
        stream::iter(asked).buffered(self.told.backup.remote.at_once).concat().await
    }

    async fn one(&self, server: &Server, seen: &Seen, request: &Request) -> Vec<Done> {
        match self.send(server, seen, request).await {
            Ok(done) => done,
            // Of each component it is to be seen that there is no bundle.
            Err(error) => server.components.iter().map(|component| failed(server, component, &error)).collect(),
        }
    }

    async fn send(&self, server: &Server, seen: &Seen, request: &Request) -> Result<Vec<Done>> {
        let recipients = self.recipients(request)?;
        // No identity goes along, and without one nothing can be judged there.
        let unjudged = self.told.backup.retention.is_some() && !recipients.is_empty();
        let errand = Errand {
            host: server.host.clone(),
            cluster_conf: String::from_utf8_lossy(&self.told.backup.cluster_conf_bytes).into_owned(),
            settings: self.told.own.written.as_ref().map(|text| needed(text.expose())).transpose()?,
            request: Request { recipients, keep_all: request.keep_all || unjudged, ..request.clone() },
        };
        let errand = serde_json::to_vec(&errand).context(|| "write JSON".into())?;
        let doing = || format!("back up the databases of {}", server.host);
        let known = known_hosts(seen, self.record.as_ref(), self.context)?;
        let mut command = self.told.backup.remote.login.batch(&server.host, known.as_deref());
        command.arg(self.program()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context(doing)?;
        let (Some(mut input), Some(output), Some(errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(Error::new(Kind::Failed, doing()));
        };
        let (mut said, mut complaints) = (Vec::new(), Vec::new());
        let (mut output, mut errors) = (output.take(LONGEST), errors.take(LONGEST));
        let tell = async {
            // One that ends before it has read all says why by its exit.
            let _ = input.write_all(&errand).await;
            drop(input);
        };
        let ((), read, heard) = tokio::join!(tell, output.read_to_end(&mut said), errors.read_to_end(&mut complaints));
        read.and(heard).context(doing)?;
        drop((output, errors));
        let status = child.wait().await.context(doing)?;
        let done = answer(&said, &String::from_utf8_lossy(&complaints), status.code());
        let mut done = done.map_err(|error| {
            let hint = error.first_hint().map(Into::into);
            let error = Error::new(error.kind(), doing()).because(error);
            error.hint(hint.unwrap_or_else(|| self.hint(server)))
        })?;
        if let (Some(first), true) = (done.first_mut(), unjudged && !request.keep_all && !request.dry_run) {
            let message = "bundles are encrypted, and no identity goes to other machines: nothing is deleted there";
            let finding = Finding::warning("not-pruned", &server.host, message);
            let finding = finding.hint("`prune` where an identity is, or leave [retention] out");
            self.context.observer.event(&Event::Finding(finding.clone()));
            first.warnings.push(finding);
        }
        Ok(done)
    }

    /// The program as a shell there runs it.
    fn program(&self) -> String {
        let databases = self.told.own;
        let program = agent::command(&databases.command);
        let become_user =
            databases.user.as_ref().map_or_else(String::new, |user| format!("sudo -n -u {} ", agent::quoted(user)));
        // A directory that the other user may not enter would be an error of its own.
        format!("cd / && exec {become_user}{program} {ERRAND}")
    }

    fn recipients(&self, request: &Request) -> Result<Vec<String>> {
        let all = [&*self.told.backup.recipients, &*request.recipients].concat();
        Ok(Recipients::parse(&all)?.texts())
    }

    fn hint(&self, server: &Server) -> String {
        format!(
            "`orchestrator-cli ssh {}` must work without a password, and this same version of orchestrator-cli be installed there",
            server.host
        )
    }
}

/// What a machine has answered: a document with the result or an error, or else what it complains of.
fn answer(said: &[u8], complaints: &str, code: Option<i32>) -> Result<Vec<Done>> {
    #[derive(Deserialize)]
    struct Document {
        result: Option<Answer>,
        error: Option<Failure>,
    }
    #[derive(Deserialize)]
    struct Answer {
        done: Vec<Done>,
    }
    #[derive(Deserialize)]
    struct Failure {
        message: String,
        hint: Option<String>,
    }
    match serde_json::from_slice(said) {
        Ok(Document { result: Some(result), .. }) => Ok(result.done),
        Ok(Document { error: Some(failure), .. }) => {
            let error = Error::new(Kind::Failed, failure.message);
            Err(failure.hint.into_iter().fold(error, |error, hint| error.hint(hint)))
        }
        _ => {
            let complaints = complaints.replace('\r', "");
            let complaints = complaints.trim();
            let end = &complaints[complaints.ceil_char_boundary(complaints.len().saturating_sub(SHOWN))..];
            let ended = code.map_or_else(|| "ssh was ended".into(), |code| format!("ssh ended with exit code {code}"));
            Err(Error::new(Kind::Failed, if end.is_empty() { ended } else { end.into() }))
        }
    }
}

/// The settings without what is the orchestrator's own: who is told of runs, its own database, agents.
fn needed(text: &str) -> Result<String> {
    let mut table: toml::Table = toml::from_str(text).context(|| "read the settings".into())?;
    table.retain(|key, _| TAKEN.contains(&key));
    toml::to_string(&table).context(|| "write the settings".into())
}

fn failed(server: &Server, component: &str, error: &Error) -> Done {
    Done {
        host: server.host.clone(),
        series: server.series(component),
        role: None,
        databases: Vec::new(),
        fate: Fate::failed(error),
        warnings: Vec::new(),
        pruned: Vec::new(),
    }
}
