//! How a server is reached, and the program that speaks to it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use tokio::process::Command;

use crate::component::program;
use crate::{Error, ErrorContext, Kind, Result};

/// Where programs are looked for; nothing of the caller's environment goes to them: a variable that says what an option says ends etcdctl,
/// and one that names a proxy leads it elsewhere.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How long a connection may take.
const DIAL: &str = "--dial-timeout=5s";
/// What the server says to somebody whom it does not let in.
const DENIED: [&str; 7] = [
    "user name is empty",
    "user name not found",
    "user not found",
    "authentication failed",
    "etcdserver: permission denied",
    "auth: permission denied",
    "invalid auth token",
];

/// How a server is reached.
#[derive(Debug, Default)]
pub(super) struct Access {
    pub(super) endpoint: String,
    pub(super) user: Option<String>,
    pub(super) password_file: Option<PathBuf>,
    pub(super) cacert: Option<PathBuf>,
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) programs: Option<PathBuf>,
}

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// The user of the settings.
    User,
    /// Nobody: some questions are answered to everybody.
    Nobody,
}

/// `HOST:PORT` of a URL, if it is one of a single server.
pub(super) fn address(endpoint: &str) -> Option<&str> {
    let address = ["http://", "https://"].iter().find_map(|scheme| endpoint.strip_prefix(scheme))?;
    let address = address.strip_suffix('/').unwrap_or(address);
    let (host, port) = address.rsplit_once(':')?;
    let whole = !host.is_empty() && port.parse::<u16>().is_ok() && !address.contains([',', '/', '@', ' ']);
    whole.then_some(address)
}

/// Where programs are looked for, with this directory first.
pub(super) fn path(programs: Option<&Path>) -> OsString {
    let Some(programs) = programs else { return PATH.into() };
    let mut path = programs.as_os_str().to_owned();
    path.push(":");
    path.push(PATH);
    path
}

impl Access {
    /// Completes `etcdctl` with a command that may take so long. Secrets go by its environment, which nobody else can read.
    pub(super) fn complete(&self, mut etcdctl: Command, words: &[&str], who: Who, limit: Duration) -> Result<Command> {
        etcdctl.env("ETCDCTL_API", "3");
        if let (Who::User, Some(user), Some(path)) = (who, &self.user, &self.password_file) {
            let text = fs::read_to_string(path).context(|| format!("read the password in {}", path.display()))?;
            etcdctl.env("ETCDCTL_USER", user).env("ETCDCTL_PASSWORD", text.lines().next().unwrap_or_default());
        }
        for (option, path) in [("cacert", &self.cacert), ("cert", &self.cert), ("key", &self.key)] {
            if let Some(path) = path {
                let mut word = OsString::from(format!("--{option}="));
                word.push(path);
                etcdctl.arg(word);
            }
        }
        etcdctl.args([DIAL, &format!("--endpoints={}", self.endpoint)]);
        etcdctl.arg(format!("--command-timeout={}s", limit.as_secs())).args(words);
        Ok(etcdctl)
    }

    /// The error of an etcdctl that said this. [`Kind::Refused`] where the server does not let us in.
    pub(super) fn failed(&self, doing: &str, status: ExitStatus, said: &str) -> Error {
        // Its own log, which says the same once more.
        let lines = said.lines().filter(|line| !line.starts_with('{')).map(|line| line.trim_start_matches("Error: "));
        let said = lines.collect::<Vec<_>>().join("\n");
        if DENIED.iter().any(|denied| said.contains(denied)) {
            let error = Error::new(Kind::Refused, doing.to_owned()).because(said);
            let hint = "set user and password_file below [[component]] in the settings: a user that has the role root";
            return error.hint(hint);
        }
        let error = program::failed(doing, status, &said);
        match said.contains("context deadline exceeded") {
            true => error.hint(
                "see that it runs, and that http or https, cacert, cert and key below [[component]] in the settings suit it",
            ),
            false => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_the_url_of_one_server() {
        assert_eq!(address("http://127.0.0.1:2379"), Some("127.0.0.1:2379"));
        assert_eq!(address("https://[::1]:2379/"), Some("[::1]:2379"));
        for other in
            ["127.0.0.1:2379", "http://one", "http://:1", "http://a:1,http://b:2", "unix://x:1", "http://u@a:1"]
        {
            assert_eq!(address(other), None, "{other}");
        }
    }
}
