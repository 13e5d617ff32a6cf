//! Logs in to hosts with the system's own `ssh`. The operator's configuration and agent hold.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::process::Command;

use super::{Identity, Record, SSH_PORT, Seen};
use crate::{Context, Error, ErrorContext, Kind, Result, state};

/// How hosts are logged in to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// The port.
    pub port: u16,
    /// The user; none if ssh's own configuration says it.
    pub user: Option<String>,
}

impl Login {
    /// Arguments of `ssh` up to the host's name. `known` is a file with keys; the host must have one of these keys.
    pub fn arguments(&self, host: &str, known: Option<&Path>) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        if let Some(path) = known {
            let mut file = OsString::from("UserKnownHostsFile=\"");
            file.push(path);
            file.push("\"");
            let alias = format!("HostKeyAlias={host}");
            let options = [
                file,
                "GlobalKnownHostsFile=/dev/null".into(),
                "StrictHostKeyChecking=yes".into(),
                alias.into(),
                // An open connection would be used without a check, and a command could name further keys.
                "ControlPath=none".into(),
                "IgnoreUnknown=KnownHostsCommand".into(),
                "KnownHostsCommand=none".into(),
            ];
            arguments.extend(options.into_iter().flat_map(|option| ["-o".into(), option]));
        }
        if self.port != SSH_PORT {
            arguments.extend(["-p".into(), self.port.to_string().into()]);
        }
        if let Some(user) = &self.user {
            arguments.extend(["-l".into(), user.into()]);
        }
        arguments.extend(["--".into(), host.into()]);
        arguments
    }

    /// An `ssh` that asks no questions, and ends with us. The caller adds the command. If `known` is none, ssh itself must
    /// know the host.
    pub(crate) fn batch(&self, host: &str, known: Option<&Path>) -> Command {
        let mut command = Command::new("ssh");
        command.args(["-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10"]);
        // An operator's configuration may set these for interactive sessions.
        command.args(["-o", "ControlPath=none", "-o", "RemoteCommand=none", "-o", "ClearAllForwardings=yes"]);
        // A machine without a connection is given up after a minute.
        command.args(["-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4"]);
        if known.is_none() {
            command.args(["-o", "StrictHostKeyChecking=yes"]);
        }
        command.args(self.arguments(host, known)).kill_on_drop(true).process_group(0);
        command
    }
}

/// A file with the keys that a host shows and the record knows; none if the record knows no key of the host.
///
/// # Errors
/// [`Kind::Refused`] if the host shows none of its known keys.
pub fn known_hosts(seen: &Seen, record: Option<&Record>, context: &Context) -> Result<Option<PathBuf>> {
    let Some(record) = record else { return Ok(None) };
    match record.identity(seen) {
        Identity::Unknown => Ok(None),
        // If nothing answers, ssh says why.
        Identity::Unseen if seen.answer.as_ref().is_none_or(|answer| answer.ssh.is_none()) => Ok(None),
        Identity::Same => keep(record, seen, context).map(Some),
        Identity::Unseen => {
            let known = record.known(seen).join(", ");
            Err(stranger(seen, format!("the host showed no SSH host key, expected {known}")))
        }
        Identity::Changed => Err(stranger(seen, seen.key_changed(record.known(seen)))),
    }
}

fn stranger(seen: &Seen, why: String) -> Error {
    Error::new(Kind::Refused, format!("log in to {}", seen.host))
        .because(why)
        .hint("find out whether somebody reinstalled the machine; --accept-host-key continues anyway")
}

/// Writes the known keys of a host where ssh finds them. Other keys prove nothing: anybody can show a public key beside a
/// key of his own.
fn keep(record: &Record, seen: &Seen, context: &Context) -> Result<PathBuf> {
    // A host's name leads nowhere else. The reader of `cluster.conf` left other names out.
    let path = state::directory(context)?.join("known_hosts").join(&seen.host);
    let known = record.hosts.iter().filter(|host| host.host == seen.host).flat_map(|host| &host.keys);
    let known: Vec<&String> = known.collect();
    let proven = seen.keys.iter().zip(&seen.public_keys).filter(|(key, _)| known.contains(key));
    let lines: String = proven.map(|(_, key)| format!("{} {key}\n", seen.host)).collect();
    // An ssh may read the old file meanwhile.
    state::write(&path, lines.as_bytes()).context(|| format!("write {}", path.display()))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::manifest::control_plane::Host;
    use crate::context::Environment;

    #[test]
    fn only_a_key_that_is_known_of_a_host_is_believed() {
        let place = tempfile::tempdir().expect("a directory");
        let state = place.path().display().to_string();
        let variables = [("STATE_DIRECTORY".to_owned(), state)].into();
        let context = Context::new(Environment { variables, ..Environment::default() });
        let known = Host { host: "h".into(), reachable: true, keys: vec!["rsa A".into()], agent: None };
        let record = Record { bundle: "b".into(), hosts: vec![known], ssh_port: None };
        let seen = |keys: &[&str]| Seen {
            host: "h".into(),
            port: 22,
            addresses: Vec::new(),
            answer: Some(crate::cluster::hosts::Answer {
                icmp: None,
                ssh: Some([127, 0, 0, 1].into()),
                refused: false,
            }),
            keys: keys.iter().map(|key| (*key).into()).collect(),
            public_keys: keys.iter().map(|key| format!("public {key}")).collect(),
        };
        // Anybody can show a key that is public beside one of his own.
        let path = known_hosts(&seen(&["ed Z", "rsa A"]), Some(&record), &context).expect("known").expect("a file");
        assert_eq!(std::fs::read_to_string(path).expect("a file"), "h public rsa A\n");
        for stranger in [&["ed Z"][..], &[]] {
            assert_eq!(
                known_hosts(&seen(stranger), Some(&record), &context).map_err(|error| error.kind()),
                Err(Kind::Refused)
            );
        }
        let other = Seen { host: "other".into(), ..seen(&["ed Z"]) };
        assert!(known_hosts(&other, Some(&record), &context).expect("nothing is known").is_none());
    }
}
