//! A running server, spoken to by `redis-cli`.

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use tokio::net::{TcpStream, UnixStream};
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use super::throwaway::Own;
use crate::component::program::{self, Input, of_words, run, succeed};
use crate::{Context, Error, ErrorContext, Kind, Result};

/// How long a server may take to stop, one that was started to answer for the first time, and any to answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long nobody else may write while a server that is to be stopped saves its data, in milliseconds; it ends by itself.
const HELD: &str = "60000";
const PAUSE: Duration = Duration::from_millis(50);

/// What stops a server and starts it.
pub(super) enum Control {
    /// Commands of the settings.
    Commands { stop: Vec<String>, start: Vec<String> },
    /// It is one of our own.
    Own(Arc<Own>),
}

/// What becomes of what a server that is stopped has in memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Memory {
    /// It is in its file then.
    Saved,
    /// It may go: it is not what is to be there.
    Dropped,
}

/// How a server is reached.
pub(super) struct Server {
    address: String,
    user: Option<String>,
    password_file: Option<PathBuf>,
    control: Control,
}

/// What a server says of itself.
pub(super) struct Info(HashMap<String, String>);

impl Info {
    pub(super) fn get(&self, key: &str) -> &str {
        self.0.get(key).map_or("", String::as_str)
    }

    pub(super) fn number(&self, key: &str) -> u64 {
        self.get(key).parse().unwrap_or(0)
    }

    /// Keys in all of its databases.
    pub(super) fn keys(&self) -> u64 {
        let databases =
            self.0.iter().filter(|(key, _)| key.strip_prefix("db").is_some_and(|rest| rest.parse::<u32>().is_ok()));
        let keys = |value: &String| value.split(',').find_map(|field| field.strip_prefix("keys=")?.parse::<u64>().ok());
        databases.filter_map(|(_, value)| keys(value)).sum()
    }
}

impl Server {
    pub(super) fn new(address: String, user: Option<String>, password_file: Option<PathBuf>, control: Control) -> Self {
        Self { address, user, password_file, control }
    }

    /// Where it is.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Where it is, for people.
    pub(super) fn place(&self) -> String {
        format!("redis at {}", self.address)
    }

    /// A program of Redis. What speaks to a server that was started for a bundle, or reads what is in one, stays behind its walls.
    pub(super) fn program(&self, name: &str) -> Command {
        match &self.control {
            Control::Commands { .. } => Command::new(name),
            Control::Own(own) => own.program(name),
        }
    }

    /// `redis-cli` with a command. The password goes by its environment, which nobody else can read.
    fn cli(&self, words: &[&str]) -> Result<Command> {
        let mut command = self.program("redis-cli");
        match self.address.rsplit_once(':') {
            Some((host, port)) if !self.address.starts_with('/') => command.args(["-h", host, "-p", port]),
            _ => command.args(["-s", &self.address]),
        };
        command.env_remove("REDISCLI_AUTH");
        if let Some(user) = &self.user {
            command.args(["--user", user]);
        }
        if let Some(path) = &self.password_file {
            let text = fs::read_to_string(path).context(|| format!("read the password in {}", path.display()))?;
            command.env("REDISCLI_AUTH", text.lines().next().unwrap_or_default());
        }
        command.args(["--raw", "--no-auth-warning"]).args(words);
        Ok(command)
    }

    /// What it answers to a command; an error of the server is text like any other.
    async fn ask(&self, words: &[&str]) -> Result<String> {
        let doing = format!("ask {} for {}", self.place(), words.join(" "));
        let ran = timeout(PATIENCE, run(self.cli(words)?, &doing, Input::Nothing)).await;
        let late = |_| Error::new(Kind::Failed, format!("{doing}: no answer in {} s", PATIENCE.as_secs()));
        let ran = ran.map_err(late)??;
        if !ran.status.success() {
            return Err(program::failed(&doing, ran.status, &ran.said));
        }
        Ok(String::from_utf8_lossy(&ran.output).into_owned())
    }

    /// What it says of itself.
    ///
    /// # Errors
    /// Where it does not answer, or lets us not in.
    pub(super) async fn info(&self) -> Result<Info> {
        let text = self.ask(&["INFO"]).await?;
        let fields = text.lines().filter_map(|line| line.trim().split_once(':'));
        let info = Info(fields.map(|(key, value)| (key.into(), value.into())).collect());
        if info.get("redis_version").is_empty() {
            let error = Error::new(Kind::Refused, format!("ask {} what it is", self.place())).because(text.trim());
            return Err(error.hint("set user and password_file below [[component]] in the settings"));
        }
        Ok(info)
    }

    /// The file that it keeps its data in.
    ///
    /// # Errors
    /// Where it does not say.
    pub(super) async fn file(&self) -> Result<PathBuf> {
        let mut values = Vec::new();
        for key in ["dir", "dbfilename"] {
            let text = self.ask(&["CONFIG", "GET", key]).await?;
            let value = text.strip_prefix(key).map(str::trim).filter(|value| !value.is_empty());
            let refused =
                || Error::new(Kind::Refused, format!("ask {} for its {key}", self.place())).because(text.trim());
            values.push(value.ok_or_else(refused)?.to_owned());
        }
        Ok(Path::new(&values[0]).join(&values[1]))
    }

    /// Has it write its data into its file, and waits until it has; returns the time that it is of.
    ///
    /// # Errors
    /// Where it can't, in its own words.
    pub(super) async fn save(&self) -> Result<DateTime<Utc>> {
        let doing = || format!("have {} save its data", self.place());
        // One that is under way is of an earlier time.
        self.until_saved().await?;
        let text = self.ask(&["TIME"]).await?;
        let begun: i64 = text.lines().next().and_then(|line| line.trim().parse().ok()).unwrap_or(0);
        let said = self.ask(&["BGSAVE"]).await?;
        if !said.starts_with("Background saving started") {
            return Err(Error::new(Kind::Failed, doing()).because(said.trim()));
        }
        let info = self.until_saved().await?;
        let saved = info.get("rdb_last_save_time").parse::<i64>().unwrap_or(0);
        if info.get("rdb_last_bgsave_status") != "ok" || saved < begun {
            return Err(Error::new(Kind::Failed, doing())
                .because("it says that it failed")
                .hint("see its own log why"));
        }
        Ok(DateTime::from_timestamp(begun, 0).unwrap_or_default())
    }

    /// Waits until nothing is being loaded or saved.
    async fn until_saved(&self) -> Result<Info> {
        loop {
            let info = self.info().await?;
            if info.get("rdb_bgsave_in_progress") == "0" && info.get("loading") == "0" {
                return Ok(info);
            }
            sleep(PAUSE).await;
        }
    }

    /// Whether it runs: something takes connections there. That nothing does must be certain, since files are renamed then.
    ///
    /// # Errors
    /// Where that can't be told.
    async fn is_running(&self) -> Result<bool> {
        let connect = async {
            match self.address.starts_with('/') {
                true => UnixStream::connect(&self.address).await.map(drop),
                false => TcpStream::connect(&self.address).await.map(drop),
            }
        };
        let doing = || format!("see whether {} runs", self.place());
        match timeout(PATIENCE, connect).await {
            Ok(Ok(())) => Ok(true),
            Ok(Err(cause)) if matches!(cause.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => Ok(false),
            Ok(Err(cause)) => Err(Error::new(Kind::Failed, doing()).because(cause)),
            Err(_) => {
                Err(Error::new(Kind::Failed, doing()).because("it does not take connections, and does not refuse them"))
            }
        }
    }

    /// Stops it, where it runs, and waits until it has.
    ///
    /// # Errors
    /// Where it can't save what is to be kept; what stops it says; where it does not stop.
    pub(super) async fn stop(&self, memory: Memory) -> Result<()> {
        if !self.is_running().await? {
            return Ok(());
        }
        let stopped = async {
            if memory == Memory::Saved {
                self.save_all().await?;
            }
            self.stop_now().await
        };
        let stopped = stopped.await;
        if stopped.is_err() {
            // Whoever writes must not wait for a stop that does not come.
            let _ = self.ask(&["CLIENT", "UNPAUSE"]).await;
        }
        stopped
    }

    /// Has it save all that it has, while nobody else writes. Servers before 6.2 can't hold others off: there it must come to a save that
    /// nothing was written after.
    async fn save_all(&self) -> Result<()> {
        const TIMES: usize = 5;
        self.until_saved().await?;
        for _ in 0..TIMES {
            self.ask(&["CLIENT", "PAUSE", HELD, "WRITE"]).await?;
            self.save().await?;
            if self.info().await?.number("rdb_changes_since_last_save") == 0 {
                return Ok(());
            }
        }
        let error =
            Error::new(Kind::Failed, format!("have {} save its data: it is written to meanwhile", self.place()));
        Err(error.hint("stop what writes to it, then go on"))
    }

    async fn stop_now(&self) -> Result<()> {
        match &self.control {
            Control::Commands { stop, .. } => {
                succeed(of_words(stop), &format!("stop {}", self.place()), Input::Nothing).await.map(drop)?;
            }
            Control::Own(own) => {
                // It ends while it is asked.
                let _ = self.ask(&["SHUTDOWN", "NOSAVE"]).await;
                own.ended().await?;
            }
        }
        let deadline = Instant::now() + PATIENCE;
        while self.is_running().await? {
            if Instant::now() > deadline {
                return Err(Error::new(Kind::Failed, format!("stop {}: it still answers", self.place())));
            }
            sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Starts it, where it does not run, and waits until it has loaded its data; returns whether it did not run.
    ///
    /// # Errors
    /// What starts it says; where it does not answer.
    pub(super) async fn start(&self, context: &Context) -> Result<(Info, bool)> {
        let starts = !self.is_running().await?;
        if starts {
            match &self.control {
                Control::Commands { start, .. } => {
                    succeed(of_words(start), &format!("start {}", self.place()), Input::Nothing).await.map(drop)?;
                }
                Control::Own(own) => own.start()?,
            }
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.info().await {
                Ok(info) if info.get("loading") == "0" => return Ok((info, starts)),
                // Loading may take long, and it says itself that it goes on.
                Ok(_) => {}
                Err(error) if Instant::now() > deadline => {
                    let error =
                        Error::new(Kind::Failed, format!("start {}: it does not answer", self.place())).because(error);
                    return Err(error.hint("see its own log why"));
                }
                Err(_) => {}
            }
            context.until_cancelled(sleep(PAUSE).map(Ok)).await?;
        }
    }
}
