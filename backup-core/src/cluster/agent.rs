//! The agent on each machine of a cluster: where it has its settings from, how it is run, what it knows its orchestrator by.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::hosts::{Login, SSH_PORT, Seen};
use crate::{Error, Kind, Result};

/// How agents are told and run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// The file that it has its settings from, on its machine. The claim of its owner lies beside it.
    pub settings: PathBuf,
    /// The program with its arguments that does what is to be done there.
    pub command: Vec<String>,
    /// The program with its arguments whose first line of output says the agent's version.
    pub version: Vec<String>,
    /// Whether who logs in becomes root by `sudo`.
    pub sudo: bool,
    /// Seconds that it may take.
    pub limit: u64,
    /// The orchestrator's address, where it is not the one of the way to the machine.
    pub orchestrator: Option<String>,
    /// Its ports that every machine must reach.
    #[serde(default)]
    pub ports: Vec<u16>,
}

impl Default for Agent {
    fn default() -> Self {
        Self {
            settings: "/etc/orchestrator-agent/orchestrator.json".into(),
            command: vec!["chef-client".into()],
            version: vec!["chef-client".into(), "--version".into()],
            sudo: true,
            limit: 3600,
            orchestrator: None,
            ports: Vec::new(),
        }
    }
}

impl Agent {
    /// The address by which a machine's agent knows this one.
    pub(crate) fn orchestrator_for(&self, machine: &Seen) -> Result<String> {
        match &self.orchestrator {
            Some(address) => Ok(address.clone()),
            None => own_address(machine).map(|address| address.to_string()),
        }
    }

    /// The file on its machine that says who owns the cluster.
    pub(crate) fn claim(&self) -> String {
        format!("{}.owner", self.settings.display())
    }
}

/// Machines that are worked on at once unless something else is said.
pub const DEFAULT_AT_ONCE: usize = 32;

/// How machines are logged in to, and what is done there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remote {
    /// How they are logged in to.
    pub login: Login,
    /// Their agents.
    pub agent: Agent,
    /// Machines at once, at most.
    pub at_once: usize,
}

impl Default for Remote {
    fn default() -> Self {
        let login = Login { port: SSH_PORT, user: None };
        Self { login, agent: Agent::default(), at_once: DEFAULT_AT_ONCE }
    }
}

/// A text as one word of a shell, whatever is in it.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Words as a shell's command, whatever is in them.
pub(crate) fn command(words: &[String]) -> String {
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

/// The address that this machine has on the way to another one; nothing is sent.
fn own_address(other: &Seen) -> Result<IpAddr> {
    let towards = |other: &IpAddr| -> std::io::Result<IpAddr> {
        let any: SocketAddr = if other.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
        let socket = UdpSocket::bind(any)?;
        socket.connect((*other, 9))?;
        Ok(socket.local_addr()?.ip())
    };
    // The one that answered comes first: others may lead nowhere.
    let answered = other.answer.as_ref().and_then(|answer| answer.ssh);
    answered.iter().chain(&other.addresses).find_map(|other| towards(other).ok()).ok_or_else(|| {
        Error::new(Kind::Failed, "find the address that the agent reaches this machine by")
            .hint("name it with agent.orchestrator in the settings")
    })
}
