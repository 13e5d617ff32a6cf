//! SSH host keys, asked for with `ssh-keyscan`, which needs no account on any host. It connects to many hosts at once, and exchanges keys
//! with one after another; so there are several of it.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use futures_util::{StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::{Context, Error, ErrorContext, Kind, Result};

const DOING: &str = "ask the hosts for their SSH host keys with ssh-keyscan";
/// Seconds that one host gets.
const PATIENCE: &str = "2";
/// One of it ends then, whatever it waits for: longer than its hosts take that all stall with each of three kinds of keys.
const DEADLINE: Duration = Duration::from_secs(30);
/// Hosts that one of it asks.
const HOSTS_OF_ONE: usize = 4;
/// As many run at once.
const AT_ONCE: usize = 8;

/// A public key of a host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HostKey {
    kind: String,
    key: Vec<u8>,
}

impl HostKey {
    /// `TYPE SHA256:DIGEST`, as OpenSSH shows it.
    pub(super) fn fingerprint(&self) -> String {
        format!("{} SHA256:{}", self.kind, STANDARD_NO_PAD.encode(Sha256::digest(&self.key)))
    }
}

impl fmt::Display for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, STANDARD.encode(&self.key))
    }
}

/// Every key that each of `addresses` presents, in order. One that presents none is left out.
pub(super) async fn scan(addresses: &[IpAddr], port: u16, context: &Context) -> Result<HashMap<IpAddr, Vec<HostKey>>> {
    let some = addresses.chunks(HOSTS_OF_ONE).map(|some| scan_some(some, port, context));
    // Collected first: the compiler takes no stream that borrows from a closure.
    let some: Vec<_> = some.collect();
    stream::iter(some).buffer_unordered(AT_ONCE).try_concat().await
}

async fn scan_some(addresses: &[IpAddr], port: u16, context: &Context) -> Result<HashMap<IpAddr, Vec<HostKey>>> {
    let mut command = Command::new("ssh-keyscan");
    command.args(["-T", PATIENCE, "-p", &port.to_string(), "-t", "ed25519,ecdsa,rsa", "-f", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    if let Some(path) = context.environment.get("PATH") {
        command.env("PATH", path);
    }
    let mut child = command.spawn().map_err(|cause| {
        let kind = if cause.kind() == std::io::ErrorKind::NotFound { Kind::NotFound } else { Kind::Failed };
        Error::new(kind, DOING).because(cause).hint("install the package openssh-client")
    })?;
    if let Some(mut input) = child.stdin.take() {
        let list: String = addresses.iter().map(|address| format!("{address}\n")).collect();
        // One that has ended says why by its output, which is then empty.
        let _ = input.write_all(list.as_bytes()).await;
    }
    // It ends with an error where any host gave no key.
    match tokio::time::timeout(DEADLINE, child.wait_with_output()).await {
        Ok(output) => Ok(parse(&String::from_utf8_lossy(&output.context(|| DOING.into())?.stdout))),
        Err(_) => {
            let names = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let error = Error::new(Kind::Failed, format!("{DOING}: no answer in {} s", DEADLINE.as_secs()));
            Err(error.hint(format!("one of these hosts stalls: {names}")))
        }
    }
}

fn parse(output: &str) -> HashMap<IpAddr, Vec<HostKey>> {
    let mut keys: HashMap<IpAddr, Vec<HostKey>> = HashMap::new();
    for line in output.lines() {
        let mut words = line.split_whitespace();
        let (Some(host), Some(kind), Some(key)) = (words.next(), words.next(), words.next()) else { continue };
        // Another port than 22 is written as `[10.0.0.1]:2222`.
        let host = host.strip_prefix('[').and_then(|host| host.split_once(']')).map_or(host, |(host, _)| host);
        if let (Ok(address), Ok(key)) = (host.parse(), STANDARD.decode(key)) {
            keys.entry(address).or_default().push(HostKey { kind: kind.into(), key });
        }
    }
    keys.values_mut().for_each(|keys| keys.sort());
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_shown_as_openssh_shows_them() {
        let key = "AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
        let found = parse(&format!("# comment\n[10.0.0.1]:2222 ssh-ed25519 {key}\n::1 ssh-ed25519 {key}\nnonsense\n"));
        let expected = "ssh-ed25519 SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU";
        for address in ["10.0.0.1", "::1"] {
            let keys = &found[&address.parse::<IpAddr>().expect("an address")];
            assert_eq!((keys.len(), keys[0].fingerprint().as_str()), (1, expected));
            assert_eq!(keys[0].to_string(), format!("ssh-ed25519 {key}"));
        }
        assert_eq!(found.len(), 2);
    }
}
