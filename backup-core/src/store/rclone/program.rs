//! The program: what it is told each time, and what its exit codes mean.

use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use super::run::{Ran, run};
use crate::context::Environment;
use crate::store::RcloneOptions;
use crate::{Error, Kind, Result, shell, trusted};

const NAME: &str = "rclone";
/// The subcommand that takes a file from its standard input.
pub(super) const SEND: &str = "rcat";
/// How long the remote may be silent, unless the settings say otherwise.
const SILENCE: Duration = Duration::from_secs(60);
/// How long it may take to reach a remote at most.
const CONNECT: Duration = Duration::from_secs(15);
/// Times that rclone tries a request which may be tried again. Its own ten take minutes with a remote that refuses all of them.
const ATTEMPTS: u32 = 4;
/// What would make rclone answer in another way than it is read here, or show what it must not show.
const UNWANTED: [&str; 16] = [
    "RCLONE_VERBOSE",
    "RCLONE_QUIET",
    "RCLONE_LOG_FILE",
    "RCLONE_DUMP",
    "RCLONE_ERROR_ON_NO_TRANSFER",
    "RCLONE_DRY_RUN",
    "RCLONE_IGNORE_EXISTING",
    "RCLONE_FILTER",
    "RCLONE_INCLUDE",
    "RCLONE_EXCLUDE",
    "RCLONE_FILES_FROM",
    "RCLONE_MIN_AGE",
    "RCLONE_MAX_AGE",
    "RCLONE_MIN_SIZE",
    "RCLONE_MAX_SIZE",
    "RCLONE_MAX_DEPTH",
];

/// How rclone is run for one remote.
pub(super) struct Program {
    remote: String,
    config: Option<String>,
    /// How long the remote may be silent.
    pub(super) silence: Duration,
    /// The same, if the settings say it.
    pub(super) said_silence: Option<Duration>,
    environment: Arc<Environment>,
}

impl Program {
    pub(super) fn new(remote: &str, options: &RcloneOptions, environment: Arc<Environment>) -> Self {
        let said_silence = options.timeout.map(|seconds| Duration::from_secs(seconds.get().into()));
        let silence = said_silence.unwrap_or(SILENCE);
        let config = options.config.as_ref().map(|path| path.display().to_string());
        Self { remote: remote.to_owned(), config, silence, said_silence, environment }
    }

    /// A run with these words. It asks nothing of anybody, and no key to any terminal ends it.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(NAME);
        command.env_clear().envs(&self.environment.variables);
        let is_unwanted = |name: &&String| UNWANTED.iter().any(|unwanted| name.starts_with(unwanted));
        self.environment.variables.keys().filter(is_unwanted).for_each(|name| {
            command.env_remove(name);
        });
        let (silence, connect) = (self.silence.as_secs(), CONNECT.min(self.silence).as_secs());
        command.args(words);
        command.args(["--ask-password=false", "--retries=1", "--buffer-size=1M", "--log-level=ERROR", "--log-format="]);
        command.args(["--use-json-log=false", "--progress=false", "--interactive=false"]);
        // A long upload is worth as many as rclone itself takes.
        if words.first() != Some(&SEND) {
            command.arg(format!("--low-level-retries={ATTEMPTS}"));
        }
        command.args([format!("--timeout={silence}s"), format!("--contimeout={connect}s")]);
        command.args(self.config.iter().flat_map(|path| ["--config", path]));
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command
    }

    /// Begins a run whose streams go to and from us.
    pub(super) fn spawn(&self, words: &[&str], input: Stdio, output: Stdio) -> Result<Child> {
        let doing = || format!("reach {}", self.remote);
        if let Some(config) = &self.config {
            // The settings of a remote may name programs that rclone runs.
            trusted::check(Path::new(config), doing)?;
        }
        let mut command = self.command(words);
        command.stdin(input).stdout(output).stderr(Stdio::piped()).spawn().map_err(|cause| {
            if cause.kind() != io::ErrorKind::NotFound {
                return Error::new(Kind::Failed, format!("{}: run rclone", doing())).because(cause);
            }
            let error = Error::new(Kind::Unsupported, format!("{}: rclone is not installed", doing()));
            error.hint("install it: apt-get install rclone, or as https://rclone.org/install/ says")
        })
    }

    /// Runs it; each run may take as long as several answers.
    pub(super) fn run(&self, words: &[&str], input: Option<&[u8]>) -> Result<Ran> {
        self.run_within(self.silence * (ATTEMPTS + 1), words, input)
    }

    pub(super) fn run_within(&self, limit: Duration, words: &[&str], input: Option<&[u8]>) -> Result<Ran> {
        let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
        let child = self.spawn(words, stdin, Stdio::piped())?;
        Ok(run(child, input, limit))
    }

    /// The same, where it must end well.
    pub(super) fn succeed(&self, doing: String, words: &[&str], input: Option<&[u8]>) -> Result<Ran> {
        let ran = self.run(words, input)?;
        self.judge(doing, ran)
    }

    /// A run that ended well, or the error that it ended with.
    pub(super) fn judge(&self, doing: String, ran: Ran) -> Result<Ran> {
        if ran.is_well() { Ok(ran) } else { Err(self.failed(doing, &ran)) }
    }

    /// The error of a run. rclone documents its exit codes: https://rclone.org/docs/#exit-code
    pub(super) fn failed(&self, doing: String, ran: &Ran) -> Error {
        let by_hand = self.by_hand(&["lsd", &format!("{}:", self.remote)]);
        let (kind, hint) = match ran.code {
            _ if ran.is_late => {
                (Kind::Failed, "look after the network between here and there; rclone.timeout allows more".into())
            }
            Some(2) => (Kind::Unsupported, "use rclone 1.60 or newer: rclone version".into()),
            Some(3 | 4) => (Kind::NotFound, format!("see what is there: {by_hand}")),
            Some(5) => (Kind::Failed, format!("run it again later; by hand the remote is tried with: {by_hand}")),
            Some(8) => (Kind::Failed, "raise the limit that RCLONE_MAX_TRANSFER sets".into()),
            _ => (Kind::Failed, format!("try the remote by hand: {by_hand}")),
        };
        Error::new(kind, doing).because(ran.cause()).hint(hint)
    }

    /// A command that an operator can run.
    pub(super) fn by_hand(&self, words: &[&str]) -> String {
        let config = self.config.iter().flat_map(|path| ["--config", path]);
        let words = std::iter::once(NAME).chain(config).chain(words.iter().copied());
        words.map(|word| shell::word(word).to_string()).collect::<Vec<_>>().join(" ")
    }
}
