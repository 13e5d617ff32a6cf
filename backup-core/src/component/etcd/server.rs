//! A running server, spoken to by `etcdctl`.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use super::Hash;
use super::access::{self, Access, Who, address};
use super::answers::{Alarms, Header, Inside, Member, Members, OfEndpoint, Range, Status, Users};
use super::behalf::{Behalf, RESTORE};
use super::directory::is_served;
use super::own::Own;
use crate::component::program::{Input, Ran, of_words, run, succeed};
use crate::{Context, Error, ErrorContext, Kind, Result};

/// How long an answer may take that needs no look at the data.
const SOON: Duration = Duration::from_secs(5);
/// How long one may take that reads all keys.
const LONG: Duration = Duration::from_secs(30 * 60);
/// How long a server may take to stop, or one that was started to answer for the first time.
const PATIENCE: Duration = Duration::from_secs(120);
/// What passes in a second where all data are written, at least.
const SLOWEST: u64 = 4 << 20;
const PAUSE: Duration = Duration::from_millis(20);

/// What stops a server and starts it.
pub(super) enum Control {
    /// Commands of the settings.
    Commands { stop: Vec<String>, start: Vec<String> },
    /// It is one of our own.
    Own(Arc<Own>),
}

/// One server.
pub(super) struct Server {
    access: Access,
    data: PathBuf,
    control: Control,
}

/// How long it may take to write so many bytes.
pub(super) fn time_for(size: u64) -> Duration {
    PATIENCE + Duration::from_secs(size / SLOWEST)
}

impl Server {
    pub(super) fn new(access: Access, data: PathBuf, control: Control) -> Self {
        Self { access, data, control }
    }

    /// Where clients find it.
    pub(super) fn endpoint(&self) -> &str {
        &self.access.endpoint
    }

    /// Where it is, for people.
    pub(super) fn place(&self) -> String {
        format!("etcd at {}", self.access.endpoint)
    }

    /// The directory that it keeps its data in.
    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    /// Whether it is one of our own.
    pub(super) fn is_own(&self) -> bool {
        matches!(self.control, Control::Own(_))
    }

    /// As whom programs run that read a snapshot for it.
    pub(super) fn behalf(&self, like: &impl MetadataExt) -> Arc<Behalf> {
        match &self.control {
            Control::Own(own) => own.behalf(),
            Control::Commands { .. } => Arc::new(Behalf::of_owner(like, self.access.programs.as_deref())),
        }
    }

    /// What `etcdctl` says to a command. What speaks to a server that was started for a bundle stays behind its walls.
    async fn etcdctl(&self, words: &[&str], (who, limit): (Who, Duration), doing: &str) -> Result<Ran> {
        let etcdctl = match &self.control {
            Control::Commands { .. } => self.program("etcdctl"),
            Control::Own(own) => own.command("etcdctl"),
        };
        let command = self.access.complete(etcdctl, words, who, limit)?;
        let ran = timeout(limit + SOON, run(command, doing, Input::Nothing)).await;
        let late = |_| Error::new(Kind::Failed, format!("{doing}: no answer in {} s", limit.as_secs()));
        let ran = ran.map_err(late)?.map_err(|error| match error.first_hint() {
            None => error.hint("install etcd's client, or name its directory as programs below [[component]]"),
            Some(_) => error,
        })?;
        if ran.status.success() { Ok(ran) } else { Err(self.access.failed(doing, ran.status, &ran.said)) }
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command.env_clear().env("PATH", access::path(self.access.programs.as_deref()));
        command
    }

    async fn ask<T: DeserializeOwned>(&self, words: &[&str], how: (Who, Duration)) -> Result<T> {
        let doing = format!("ask {} for {}", self.place(), words[..2.min(words.len())].join(" ").trim_end());
        let ran = self.etcdctl(&[words, &["--write-out=json"]].concat(), how, &doing).await?;
        serde_json::from_slice(&ran.output).context(|| doing)
    }

    /// Asks what anybody may know of some versions, also where the settings' user is not known there.
    async fn ask_any<T: DeserializeOwned>(&self, words: &[&str]) -> Result<T> {
        match self.ask(words, (Who::User, SOON)).await {
            Err(error) if error.kind() == Kind::Refused && self.access.user.is_some() => {
                self.ask(words, (Who::Nobody, SOON)).await.map_err(|_| error)
            }
            asked => asked,
        }
    }

    /// What it says of itself, also to those whom it does not let in.
    ///
    /// # Errors
    /// Where it does not answer.
    pub(super) async fn status(&self) -> Result<Status> {
        let answer: Vec<OfEndpoint> = self.ask_any(&["endpoint", "status"]).await?;
        answer.into_iter().find_map(|one| one.status).ok_or_else(|| self.silent("status"))
    }

    /// The one member.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] where it is one of several.
    pub(super) async fn member(&self) -> Result<Member> {
        let Members { members } = self.ask_any(&["member", "list"]).await?;
        let count = members.len();
        let member = members.into_iter().next().filter(|_| count == 1).ok_or_else(|| {
            let error = Error::new(Kind::Unsupported, format!("{} is one of {count} members", self.place()));
            error.hint("this kind of state is a cluster of one member: several are not backed up and restored yet")
        })?;
        // It is begun with these once more.
        let plain = |text: &str| !text.is_empty() && !text.contains([',', '=', ' ', '\n']);
        if !plain(&member.name) || member.peers.is_empty() || !member.peers.iter().all(|url| plain(url)) {
            let message = format!("{} has no plain name and peer URLs: {member:?}", self.place());
            return Err(Error::new(Kind::Unsupported, message));
        }
        Ok(member)
    }

    /// What its keys hash to at a revision, or now at 0, and what it says of itself beside that.
    ///
    /// # Errors
    /// [`Kind::Refused`] for a user who may not take a snapshot either; where that revision is not in its history.
    pub(super) async fn hash(&self, revision: i64) -> Result<(Header, Hash)> {
        match self.hash_at(revision).await {
            // Before 3.4.27 and 3.5.10 a server that is compacted up to its last revision hashes that only as "now".
            Err(error) if revision != 0 && is_compacted(&error) => match self.hash_at(0).await {
                Ok((header, hash)) if header.revision == revision => Ok((header, hash)),
                _ => Err(error),
            },
            answer => answer,
        }
    }

    async fn hash_at(&self, revision: i64) -> Result<(Header, Hash)> {
        let revision = format!("--rev={revision}");
        let answer: Vec<OfEndpoint> = self.ask(&["endpoint", "hashkv", &revision], (Who::User, LONG)).await?;
        let answer = answer.into_iter().find_map(|one| one.hash).ok_or_else(|| self.silent("hash"))?;
        Ok((answer.header, Hash { hash: answer.hash, compacted: answer.compact_revision }))
    }

    /// How many keys it has at a revision, or now at 0.
    ///
    /// # Errors
    /// As [`Self::hash`].
    pub(super) async fn keys(&self, revision: i64) -> Result<u64> {
        let revision = format!("--rev={revision}");
        let range: Range =
            self.ask(&["get", "", "--prefix", "--keys-only", "--limit=1", &revision], (Who::User, LONG)).await?;
        Ok(range.count)
    }

    /// Alarms that are on.
    ///
    /// # Errors
    /// Where it does not say.
    pub(super) async fn alarms(&self) -> Result<Vec<String>> {
        self.ask_any::<Alarms>(&["alarm", "list"]).await.map(|alarms| alarms.names())
    }

    /// How many users it has, and whether it asks who somebody is, which can't always be seen: a certificate may say it.
    ///
    /// # Errors
    /// Where it does not say who there is.
    pub(super) async fn users(&self) -> Result<(usize, Option<bool>)> {
        let Users { users } = self.ask(&["user", "list"], (Who::User, SOON)).await?;
        let stranger = self.ask::<Users>(&["user", "list"], (Who::Nobody, SOON)).await;
        let auth = match stranger {
            Err(error) if error.kind() == Kind::Refused => Some(true),
            Ok(_) if users.is_empty() || self.access.cert.is_none() => Some(false),
            _ => None,
        };
        Ok((users.len(), auth))
    }

    /// Saves a snapshot in a file; `size` is what the server has on disk. The program sets no limit of its own.
    ///
    /// # Errors
    /// Where it can't, or has not in time.
    pub(super) async fn save(&self, file: &Path, size: u64) -> Result<()> {
        let doing = format!("save a snapshot of {} in {}", self.place(), file.display());
        let shown = file.to_str().ok_or_else(|| Error::new(Kind::Unsupported, doing.clone()))?;
        self.etcdctl(&["snapshot", "save", shown], (Who::User, time_for(size)), &doing).await.map(drop)
    }

    /// The revision that a snapshot is of, as the file itself says.
    ///
    /// # Errors
    /// Where it can't be read.
    pub(super) async fn revision_of(&self, file: &Path) -> Result<i64> {
        let doing = format!("read the snapshot {}", file.display());
        let mut command = self.program("sh");
        command.env("ETCDCTL_API", "3").args(["-c", RESTORE, "sh", "status", "--write-out=json"]).arg(file);
        let ran = succeed(command, &doing, Input::Nothing).await?;
        let inside: Inside = serde_json::from_slice(&ran.output).context(|| doing)?;
        // One without any keys is counted from 0 there, and from 1 by servers.
        Ok(inside.revision.max(1))
    }

    fn silent(&self, what: &str) -> Error {
        Error::new(Kind::Failed, format!("ask {} for its {what}: its answer has none", self.place()))
    }

    /// Whether something takes connections there, or has its data open. That neither is so must be certain, since directories are
    /// renamed then.
    ///
    /// # Errors
    /// Where that can't be told.
    async fn is_running(&self) -> Result<bool> {
        Ok(self.takes_connections().await? || is_served(&self.data)?)
    }

    async fn takes_connections(&self) -> Result<bool> {
        if let Control::Own(own) = &self.control {
            return Ok(own.listens());
        }
        let doing = || format!("see whether {} runs", self.place());
        match timeout(SOON, TcpStream::connect(address(&self.access.endpoint).unwrap_or_default())).await {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(cause)) if cause.kind() == ErrorKind::ConnectionRefused => Ok(false),
            // It is about to end, or has just begun.
            Ok(Err(cause)) if cause.kind() == ErrorKind::ConnectionReset => Ok(true),
            Ok(Err(cause)) => Err(Error::new(Kind::Failed, doing()).because(cause)),
            Err(_) => {
                Err(Error::new(Kind::Failed, doing()).because("it does not take connections, and does not refuse them"))
            }
        }
    }

    /// Stops it, and waits until it has. What would start it again by itself is told, too, where it does not run.
    ///
    /// # Errors
    /// What stops it says; where it does not stop.
    pub(super) async fn stop(&self) -> Result<()> {
        let runs = self.is_running().await?;
        let doing = || format!("stop {}", self.place());
        match &self.control {
            Control::Own(own) => own.stop().await?,
            Control::Commands { stop, .. } => match succeed(of_words(stop), &doing(), Input::Nothing).await {
                Err(error) if runs => return Err(error),
                _ => {}
            },
        }
        let deadline = Instant::now() + PATIENCE;
        while self.is_running().await? {
            if Instant::now() > deadline {
                return Err(Error::new(Kind::Failed, doing()).because("it still runs"));
            }
            sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Starts it, where it does not run, and waits until it takes writes.
    ///
    /// # Errors
    /// What starts it says; where it does not answer.
    pub(super) async fn start(&self, context: &Context) -> Result<Status> {
        let doing = || format!("start {}", self.place());
        // That something takes connections does not say that it is this one: the settings may name another machine's.
        if !is_served(&self.data)? {
            match &self.control {
                Control::Commands { start, .. } => {
                    succeed(of_words(start), &doing(), Input::Nothing).await.map(drop)?;
                }
                Control::Own(own) => own.start()?,
            }
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Control::Own(own) = &self.control {
                own.check().await?;
            }
            let answer = match self.takes_connections().await? {
                true => self.status().await,
                false => Err(self.silent("status")),
            };
            match answer {
                Ok(status) if status.is_settled() => return Ok(status),
                Err(error) if Instant::now() > deadline => {
                    let error = Error::new(Kind::Failed, format!("{}: it does not answer", doing())).because(error);
                    return Err(error.hint("see its own log why"));
                }
                Ok(_) if Instant::now() > deadline => {
                    return Err(Error::new(Kind::Failed, format!("{}: it has no leader", doing())));
                }
                _ => {}
            }
            context.until_cancelled(sleep(PAUSE).map(Ok)).await?;
        }
    }
}

/// Whether a revision is asked for that is not in the history any more.
pub(super) fn is_compacted(error: &Error) -> bool {
    error.chain().iter().any(|message| message.contains("has been compacted"))
}
