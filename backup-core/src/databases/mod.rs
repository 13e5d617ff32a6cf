//! Backups of the components' databases, on the machines that have them.
//!
//! The rule is that of the platform's manual ("Backing Up and Restoring Platform Data"): where `database_backups` of `cluster.conf`
//! names a bucket, bundles go there and the master of each server group keeps a copy; else every server keeps its own.

mod assign;
mod here;
mod remote;
mod rule;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use assign::Owners;
pub(crate) use remote::TAKEN;
pub use remote::{ERRAND, Errand};
pub use rule::Role;

use crate::backup::Outcome;
use crate::backup::{self, Pruned};
use crate::cluster::secret::Secret;
use crate::component::postgres::connection::ConnectionString;
use crate::deploy::Components;
use crate::deploy::machines;
use crate::event::Event;
use crate::finding::{Finding, Severity};
use crate::names::Series;
use crate::runs::{Part, Report, Run, record};
use crate::schedule::Job;
use crate::store::Address;
use crate::{Context, Result};

/// How component databases are backed up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where a server keeps its own bundles.
    pub directory: PathBuf,
    /// How a server is reached from itself.
    pub connection: ConnectionString,
    /// Which databases are which component's.
    pub owners: Owners,
    /// Who backs up on a server that is logged in to; none for who logs in.
    pub user: Option<String>,
    /// What is run there.
    pub command: Vec<String>,
    /// The bucket of `cluster.conf`, where it names one.
    pub bucket: Option<Address>,
    /// The text of the settings, for other machines. It may hold a password.
    pub written: Option<Secret>,
}

/// All that the settings tell.
#[derive(Debug, Clone, Copy)]
pub struct Told<'t> {
    /// As a backup is told.
    pub backup: &'t backup::Settings,
    /// Of components' databases.
    pub own: &'t Settings,
    /// The components that there are: the platform's, and those of the settings.
    pub components: &'t Components,
}

/// A machine with components that keep databases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Server {
    /// Its name or address, as `cluster.conf` has it.
    pub host: String,
    /// Its server group: the zone that it stands in.
    pub group: String,
    /// Those components.
    pub components: Vec<String>,
}

impl Server {
    /// What bundles of one of its components are.
    pub(crate) fn series(&self, component: &str) -> Series {
        Series { component: component.into(), group: Some(self.group.clone()) }
    }

    /// What bundles of all its components are.
    pub(crate) fn all_series(&self) -> impl Iterator<Item = Series> {
        self.components.iter().map(|component| self.series(component))
    }
}

/// What is asked for beside the settings.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Request {
    /// Who can read the bundles, beside those of the settings.
    pub recipients: Vec<String>,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
    /// Delete nothing afterwards.
    pub keep_all: bool,
    /// Stores, by their location, that get no bundle and are not asked for one.
    #[serde(default)]
    pub without: Vec<String>,
    /// Whether another machine asks for it, which has read `cluster.conf` itself.
    #[serde(skip)]
    pub by_errand: bool,
}

/// How the databases of one component fared on one machine.
#[derive(Debug, Serialize, Deserialize)]
pub struct Done {
    /// The machine.
    pub host: String,
    /// What its bundles are.
    pub series: Series,
    /// Whether it is the master, as PostgreSQL says; none where it could not be asked.
    pub role: Option<Role>,
    /// The databases.
    pub databases: Vec<String>,
    /// What became of it.
    pub fate: Fate,
    /// What did not go as it should beside the backup.
    pub warnings: Vec<Finding>,
    /// What was deleted afterwards.
    pub pruned: Vec<Pruned>,
}

/// What became of one component's backup.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Fate {
    /// There is a bundle.
    Made(Outcome),
    /// There would be one in these places.
    Would {
        /// The places.
        to: Vec<String>,
    },
    /// Nothing was to be done.
    Left {
        /// Why.
        why: String,
    },
    /// There is none.
    Failed {
        /// Why.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
}

impl Fate {
    fn failed(error: &crate::Error) -> Self {
        Self::Failed { message: error.chain().join(": "), hint: error.first_hint().map(Into::into) }
    }
}

/// Backs up the databases of this machine, or over ssh those of all `servers`, and notes the run. One that fails does not hold up the
/// others.
///
/// # Errors
/// Where PostgreSQL, or the hosts, can't be looked at; [`crate::Kind::Interrupted`].
pub async fn back_up(
    here: Option<&Server>,
    servers: &[Server],
    told: Told<'_>,
    request: &Request,
    context: &Context,
) -> Result<Vec<Done>> {
    let work = async {
        let mut done = match here {
            Some(server) => here::back_up(server, told, request, context).await,
            None => remote::back_up(servers, told, request, context).await,
        }?;
        if let Some(first) = done.first_mut().filter(|_| !request.by_errand) {
            let wrong = strange_tags(told);
            wrong.iter().for_each(|finding| context.observer.event(&Event::Finding(finding.clone())));
            first.warnings.extend(wrong);
        }
        Ok(done)
    };
    if request.dry_run {
        work.await
    } else {
        record(Run::beginning(Job::Databases, context), context, work, |done: &Vec<Done>| report(done)).await
    }
}

/// Tags that no component has: a slip of the fingers there leaves databases without a backup, or with another component's name.
fn strange_tags(told: Told<'_>) -> Vec<Finding> {
    let (_, wrong) = machines(&told.backup.cluster, told.components);
    let wrong = wrong.into_iter().filter(|finding| finding.code == "tag-unknown");
    wrong.map(|finding| finding.at_most(Severity::Warning)).collect()
}

/// What the journal of runs keeps of it.
fn report(done: &[Done]) -> Report {
    let mut report = Report::default();
    for one in done {
        report.parts.push(match &one.fate {
            Fate::Made(outcome) => {
                report.warnings.extend(outcome.warnings.iter().cloned());
                report.warnings.extend(outcome.not_everywhere(&one.series.to_string()));
                outcome.part(&one.series)
            }
            Fate::Failed { message, .. } => {
                Part { failed: Some(format!("{}: {message}", one.host)), ..Part::of(&one.series) }
            }
            Fate::Left { .. } | Fate::Would { .. } => continue,
        });
        report.warnings.extend(one.warnings.iter().cloned());
    }
    report
}

/// The machines of a cluster that keep databases of components, by their tags.
pub fn servers(told: Told<'_>) -> Vec<Server> {
    let (machines, _) = machines(&told.backup.cluster, told.components);
    let mut servers: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for machine in machines {
        let owning = machine.components.into_iter().filter(|tag| told.own.owners.has(tag));
        servers.entry((machine.zone, machine.host)).or_default().extend(owning);
    }
    let servers = servers.into_iter().filter(|(_, components)| !components.is_empty());
    servers.map(|((group, host), components)| Server { host, group, components }).collect()
}

/// The one of the servers that a machine is, by its addresses or its name.
pub fn this_one<'s>(servers: &'s [Server], addresses: &[IpAddr], host: &str) -> Option<&'s Server> {
    let is = |server: &&Server| {
        server.host == host || server.host.parse().is_ok_and(|address: IpAddr| addresses.contains(&address))
    };
    servers.iter().find(is)
}
