//! A connection by SSH: a user whom a known host lets in, a directory in which to work, and its end.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ssh2::Session;

use super::host::{Shaken, known, milliseconds};
use super::line::Line;
use crate::context::Environment;
use crate::store::{SftpAddress, SftpOptions};
use crate::{Error, ErrorContext, Kind, Result};

/// How long any answer may take, unless the settings say otherwise.
const ANSWER: Duration = Duration::from_secs(60);
/// How long it may take to give something up: whoever ended the program waits for it.
pub(super) const FAREWELL: Duration = Duration::from_secs(4);
/// Keys that are tried where none is named, as ssh does it.
const OWN_KEYS: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// A session that a server let in. Its end waits for nobody.
pub(super) struct Connection {
    sftp: ssh2::Sftp,
    session: Session,
    /// The directory of the address.
    pub(super) directory: PathBuf,
    pub(super) line: Line,
    /// How long any answer may take.
    pub(super) answer: Duration,
}

/// How long any answer may take.
fn answer(options: &SftpOptions) -> Duration {
    options.timeout.map_or(ANSWER, |seconds| Duration::from_secs(seconds.get().into()))
}

impl Connection {
    /// Connects; each answer may take as long as the settings say.
    pub(super) fn open(address: &SftpAddress, options: &SftpOptions, environment: &Environment) -> Result<Self> {
        Self::open_within(address, options, environment, answer(options))
    }

    /// Connects; each answer may take as long as `answer` says.
    pub(super) fn open_within(
        address: &SftpAddress,
        options: &SftpOptions,
        environment: &Environment,
        answer: Duration,
    ) -> Result<Self> {
        let doing = || format!("connect to {address}");
        let Shaken { session, line } = known(address, options, environment, answer).context(doing)?;
        let user = address.user.as_deref().or(environment.user.as_deref()).unwrap_or("root");
        log_in(&session, user, options, environment).context(doing)?;
        let sftp = session.sftp().map_err(|cause| {
            Error::new(Kind::Failed, doing())
                .because(cause)
                .hint("let the server offer SFTP: Subsystem sftp in sshd_config")
        })?;
        let directory = match address.path.strip_prefix('~') {
            Some(below) => {
                let home = sftp.realpath(Path::new(".")).context(doing)?;
                home.join(below.trim_start_matches('/'))
            }
            None => PathBuf::from(&address.path),
        };
        Ok(Self { sftp, session, directory, line, answer })
    }

    /// Does something for which each answer may take as long as `time` says.
    pub(super) fn within<T>(&self, time: Duration, work: impl FnOnce() -> T) -> T {
        self.session.set_timeout(milliseconds(time));
        let done = work();
        self.session.set_timeout(milliseconds(self.answer));
        done
    }

    /// Asks the server something. Where it does not answer the line is ended.
    pub(super) fn ask<T>(&self, request: impl FnOnce(&ssh2::Sftp) -> Result<T, ssh2::Error>) -> Result<T, ssh2::Error> {
        request(&self.sftp).inspect_err(|cause| self.line.hang_up_unless_answered(cause))
    }
}

impl Drop for Connection {
    /// libssh2 would wait for the other side to close, and not every server does.
    fn drop(&mut self) {
        self.session.set_blocking(false);
        let _ = self.session.disconnect(None, "all is done", None);
        self.line.hang_up();
    }
}

/// Logs in with the key that is named, or those of an agent, or one's own.
fn log_in(session: &Session, user: &str, options: &SftpOptions, environment: &Environment) -> Result<()> {
    let mut tried = Vec::new();
    if let Some(file) = options.identity_file.as_ref().filter(|file| !file.exists()) {
        let error = Error::new(Kind::NotFound, format!("log in as {user} with {}: no such file", file.display()));
        return Err(error.hint("correct sftp.identity_file in the settings"));
    }
    if let Some(file) = &options.identity_file {
        if let Err(error) = with_file(session, user, file) {
            tried.push(error);
        }
    } else {
        if environment.get("SSH_AUTH_SOCK").is_some() {
            match with_agent(session, user) {
                Ok(true) => return Ok(()),
                Ok(false) => tried.push("none of the agent's keys is let in".into()),
                Err(cause) => tried.push(format!("the agent: {}", cause.message())),
            }
        }
        let home = environment.home.as_ref().map(|home| home.join(".ssh"));
        let files = home.iter().flat_map(|home| OWN_KEYS.map(|name| home.join(name))).filter(|file| file.exists());
        for file in files {
            match with_file(session, user, &file) {
                Ok(()) => return Ok(()),
                Err(error) => tried.push(error),
            }
        }
    }
    if session.authenticated() {
        return Ok(());
    }
    let tried = if tried.is_empty() { "there is no key".into() } else { tried.join("; ") };
    let error = Error::new(Kind::Failed, format!("log in as {user}")).because(tried);
    Err(error.hint(
        "put the public key into the other side's ~/.ssh/authorized_keys; a key with a passphrase goes into an agent: ssh-add",
    ))
}

/// Tries the keys of an agent, one after the other.
fn with_agent(session: &Session, user: &str) -> Result<bool, ssh2::Error> {
    let mut agent = session.agent()?;
    agent.connect()?;
    agent.list_identities()?;
    Ok(agent.identities()?.iter().any(|key| agent.userauth(user, key).is_ok()))
}

fn with_file(session: &Session, user: &str, file: &Path) -> Result<(), String> {
    let shown = file.display();
    if !file.exists() {
        return Err(format!("{shown}: no such file"));
    }
    session.userauth_pubkey_file(user, None, file, None).map_err(|cause| format!("{shown}: {}", cause.message()))
}
