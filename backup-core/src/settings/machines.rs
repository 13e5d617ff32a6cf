//! How the cluster's machines are reached.

use std::num::NonZeroUsize;

use super::document::{AgentTable, DeployTable, HostsTable};
use super::{Settings, agent};
use crate::cluster::agent::{DEFAULT_AT_ONCE, Remote};
use crate::cluster::hosts::{Login, Record, SSH_PORT};
use crate::{Context, Result};

impl Settings {
    /// The same, with machines reached by the port that is `asked` for; else by that of the settings, or the one that the last
    /// restore here has left.
    pub fn reached_by(mut self, asked: Option<u16>, context: &Context) -> Self {
        let left = || Record::load(context).ok().flatten()?.ssh_port;
        self.backup.remote.login.port = asked.or(self.ssh_port).or_else(left).unwrap_or(SSH_PORT);
        self
    }
}

pub(super) fn remote(hosts: HostsTable, table: AgentTable, deploy: &DeployTable) -> Result<Remote> {
    let login = Login { port: hosts.ssh_port.map_or(SSH_PORT, Into::into), user: hosts.ssh_user };
    Ok(Remote { login, agent: agent(table)?, at_once: deploy.at_once.map_or(DEFAULT_AT_ONCE, NonZeroUsize::get) })
}
