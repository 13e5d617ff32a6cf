//! The cluster's hosts: whether they answer, and who they prove to be by their SSH host keys.

mod ask;
mod compare;
mod keys;
mod login;
mod probe;
mod record;

use std::collections::HashMap;
use std::net::IpAddr;

pub use ask::{Answered, Said, ask_all, ask_if_let_in};
pub use compare::{Allowed, compare};
pub use login::{Login, known_hosts};
pub use probe::Answer;
pub use record::{Identity, Record};

use crate::bundle::manifest::control_plane::Host;
use crate::{Context, Result};
use keys::HostKey;

/// The port that hosts take SSH connections on, unless the settings name another.
pub const SSH_PORT: u16 = 22;

/// What was seen of a host.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its name or address, as `cluster.conf` has it.
    pub host: String,
    /// The port that was tried for SSH.
    pub port: u16,
    /// Its addresses; none if its name has no address.
    pub addresses: Vec<IpAddr>,
    /// How it answered, if it did.
    pub answer: Option<Answer>,
    /// The SSH host keys that it presented, as `TYPE SHA256:DIGEST`.
    pub keys: Vec<String>,
    /// The same keys as a file of known hosts has them: `TYPE BASE64`.
    pub public_keys: Vec<String>,
}

impl Seen {
    /// The message if the host shows none of its known keys.
    fn key_changed(&self, known: &[String]) -> String {
        format!("SSH host key changed: expected {}, got {}", known.join(", "), self.keys.join(", "))
    }

    /// What a bundle records of it.
    pub fn record(&self) -> Host {
        Host { host: self.host.clone(), reachable: self.answer.is_some(), keys: self.keys.clone(), agent: None }
    }
}

/// What a bundle records of hosts; some of them were asked.
pub fn records(seen: &[Seen], answered: &[Answered<'_>]) -> Vec<Host> {
    let said: HashMap<&str, &Said> =
        answered.iter().filter_map(|(seen, said)| Some((seen.host.as_str(), said.as_ref().ok()?))).collect();
    let agent = |host: &str| said.get(host).and_then(|said| said.agent.clone());
    seen.iter().map(|seen| Host { agent: agent(&seen.host), ..seen.record() }).collect()
}

/// Looks at all `hosts` at once. It takes some seconds, however many hosts are down. The order stays.
///
/// # Errors
/// If `ssh-keyscan` is missing.
pub async fn look(hosts: &[String], port: u16, context: &Context) -> Result<Vec<Seen>> {
    let mut all = probe::probe(hosts, port).await;
    let open: Vec<IpAddr> = all.iter().filter_map(|seen| seen.answer.as_ref()?.ssh).collect();
    let keys: HashMap<IpAddr, Vec<HostKey>> = keys::scan(&open, port, context).await?;
    for seen in &mut all {
        let address = seen.answer.as_ref().and_then(|answer| answer.ssh);
        let keys = address.and_then(|address| keys.get(&address)).into_iter().flatten();
        (seen.keys, seen.public_keys) = keys.map(|key| (key.fingerprint(), key.to_string())).unzip();
    }
    Ok(all)
}

/// The phase in which hosts are looked at.
pub fn looking_at(hosts: &[String]) -> String {
    format!("look at {} {}", hosts.len(), if hosts.len() == 1 { "host" } else { "hosts" })
}

/// This machine's addresses but those of the loopback.
pub fn own_addresses() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let mut addresses: Vec<IpAddr> = interfaces
        .iter()
        .filter(|interface| !interface.is_loopback() && !interface.is_link_local())
        .map(|interface| interface.ip())
        .collect();
    addresses.sort();
    addresses.dedup();
    addresses
}
