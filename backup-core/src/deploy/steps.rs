//! The steps of a deploy: the claim, the backup, each machine.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::agent::Deployed;
use super::plan::{FIRST, Plan};
use crate::backup;
use crate::bundle::manifest::control_plane::Host;
use crate::event::Event;
use crate::finding::Finding;
use crate::names::StepId;
use crate::ownership::{self, Cluster};
use crate::plan::{At, Step};
use crate::{Context, Result};

/// Why no step is undone.
const FOR_GOOD: &str = "what agents have done can't be taken back; deploy the release that was there before";

/// What all steps work with.
#[derive(Clone, Copy)]
pub(super) struct Work<'d> {
    pub(super) plan: &'d Plan,
    pub(super) settings: &'d backup::Settings,
    /// The cluster's hosts, where they were just looked at.
    pub(super) hosts: Option<&'d [Host]>,
    pub(super) warnings: &'d Mutex<Vec<Finding>>,
    pub(super) context: &'d Context,
}

impl<'d> Work<'d> {
    /// The step with this id and title at its place in the plan; `logs` are the machines'.
    pub(super) fn step(self, index: usize, named: (StepId, String), logs: &[PathBuf]) -> Box<dyn Step + 'd> {
        match index.checked_sub(FIRST) {
            None if index == 0 => Box::new(TakeOver { named, work: self }),
            None => Box::new(Backup { named, work: self }),
            Some(machine) => Box::new(Deploy { named, machine, log: logs[machine].clone(), work: self }),
        }
    }

    fn warn(&self, found: Vec<Finding>) {
        found.iter().for_each(|finding| self.context.observer.event(&Event::Finding(finding.clone())));
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
    }
}

struct Backup<'d> {
    named: (StepId, String),
    work: Work<'d>,
}

impl Step for Backup<'_> {
    fn id(&self) -> &StepId {
        &self.named.0
    }

    fn title(&self) -> &str {
        &self.named.1
    }

    fn is_for_good(&self) -> Option<&str> {
        Some(FOR_GOOD)
    }

    fn apply<'a>(&'a self, _: &'a At<'_>) -> BoxFuture<'a, Result<()>> {
        let Work { plan, settings, hosts, context, .. } = self.work;
        let (release, hosts) = (Some(plan.release.clone()), hosts.map(<[Host]>::to_vec));
        let to = settings.stores.iter().map(|store| store.address.clone());
        let to: Vec<_> = to.filter(|address| !plan.without.contains(&address.to_string())).collect();
        // Where that leaves none, the bundle goes where it always does.
        let without = if to.is_empty() { Vec::new() } else { plan.without.clone() };
        let request = backup::Request { to, release, hosts, without, ..backup::Request::default() };
        async move {
            let made = backup::run(settings, &request, None, context).await?;
            for place in &made.published {
                context.observer.event(&Event::Finding(Finding::ok("backed-up", place, "the databases are backed up")));
            }
            self.work.warn(made.warnings.iter().cloned().chain(made.not_everywhere("backup")).collect());
            Ok(())
        }
        .boxed()
    }
}

struct TakeOver<'d> {
    named: (StepId, String),
    work: Work<'d>,
}

impl Step for TakeOver<'_> {
    fn id(&self) -> &StepId {
        &self.named.0
    }

    fn title(&self) -> &str {
        &self.named.1
    }

    fn is_for_good(&self) -> Option<&str> {
        Some(FOR_GOOD)
    }

    fn apply<'a>(&'a self, _: &'a At<'_>) -> BoxFuture<'a, Result<()>> {
        let Work { plan, settings, context, .. } = self.work;
        async move {
            let (cluster, stores) =
                (Cluster::of(&settings.cluster), ownership::stores(&settings.access, &plan.without, context)?);
            self.work.warn(ownership::take(&plan.claim, &cluster, &stores, &settings.access.signing, context).await?);
            Ok(())
        }
        .boxed()
    }
}

/// One machine.
struct Deploy<'d> {
    named: (StepId, String),
    machine: usize,
    log: PathBuf,
    work: Work<'d>,
}

impl Step for Deploy<'_> {
    fn id(&self) -> &StepId {
        &self.named.0
    }

    fn title(&self) -> &str {
        &self.named.1
    }

    fn is_for_good(&self) -> Option<&str> {
        Some(FOR_GOOD)
    }

    fn apply<'a>(&'a self, _: &'a At<'_>) -> BoxFuture<'a, Result<()>> {
        let Work { plan: Plan { remote, claim, release, cluster, graph, .. }, context, .. } = self.work;
        let host = &graph.machines[self.machine].host;
        async move { Deployed { host, remote, claim, release, cluster, log: &self.log }.run(context).await }.boxed()
    }
}
