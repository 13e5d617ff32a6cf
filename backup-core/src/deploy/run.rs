//! A deploy from beginning to end.

use std::path::PathBuf;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use serde::Serialize;

use super::agent::Deployed;
use super::plan::{BACKUP, Deploys, KIND, Plan, log};
use super::{Components, Graph, graph};
use crate::backup;
use crate::cluster::hosts::{self, Allowed, Login, Record, compare};
use crate::component::release;
use crate::event::Event;
use crate::finding::{Finding, Findings, Severity};
use crate::plan::{Ended, Head, Journal, Step, apply_in_levels};
use crate::settings::Settings;
use crate::{Context, Error, Kind, Result};

/// What is asked for beside the settings.
#[derive(Debug, Default)]
pub struct Request {
    /// The release; none for that of the settings.
    pub release: Option<release::Origin>,
    /// Machines by name, address, zone or tag; empty for all.
    pub only: Vec<String>,
    /// Findings that the operator takes upon himself.
    pub allowed: Allowed,
}

/// A deploy that has been looked into and not begun. No other one runs on this machine meanwhile.
pub struct Prepared {
    deploys: Deploys,
    /// What will be done.
    pub plan: Plan,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// How a machine fared.
#[derive(Debug, Serialize)]
pub struct Fate {
    /// Its name or address, as `cluster.conf` has it.
    pub host: String,
    /// How it ended.
    pub state: State,
    /// Why it is not deployed.
    pub reason: Option<String>,
    /// The agent's output, where there is any.
    pub log: Option<PathBuf>,
}

/// How far a machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Its agent knows the orchestrator and the release, and has done its work.
    Deployed,
    /// Something went wrong.
    Failed,
    /// Nothing was done: what it needs is not there.
    Held,
}

/// What a deploy did.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// The cluster.
    pub cluster: String,
    /// The release.
    pub release: String,
    /// Its machines.
    pub machines: Vec<Fate>,
}

/// Looks at all machines, and keeps other deploys off.
///
/// # Errors
/// [`Kind::Locked`]; [`Kind::Usage`] where the release is unknown; [`Kind::NotFound`] where `only` means no machine.
/// What forbids the deploy is among the findings.
pub async fn prepare(request: &Request, settings: &Settings, graph: Graph, context: &Context) -> Result<Prepared> {
    let deploys = Deploys::open(context)?;
    let release = release::find(request.release.as_ref().or(settings.release.as_ref())).await?.version;
    if let Some(stranger) = request.only.iter().find(|query| !graph.machines.iter().any(|one| one.answers_to(query))) {
        return Err(Error::new(Kind::NotFound, format!("no machine matches {stranger}"))
            .hint("`nodes` lists them: a query is a name, an address or a part of them, a zone or a tag"));
    }
    let all = request.only.is_empty();
    let graph = graph.only(|machine| all || request.only.iter().any(|query| machine.answers_to(query)));
    let names: Vec<String> = graph.machines.iter().map(|machine| machine.host.clone()).collect();
    context.phase(format!("look at {} hosts", names.len()));
    let seen = hosts::look(&names, settings.ssh_port, context).await?;
    let mut record = Record::load(context)?.unwrap_or_default();
    let findings = compare(&seen, &record.hosts, &request.allowed);
    let accepted = |host: &str| request.allowed.host_key.iter().any(|name| name == host);
    let mut changed = false;
    for seen in seen.iter().filter(|seen| accepted(&seen.host) && !seen.keys.is_empty()) {
        record.hosts.retain(|host| host.host != seen.host);
        record.hosts.push(seen.record());
        changed = true;
    }
    if changed && !findings.iter().any(|finding| finding.severity == Severity::Error) {
        record.keep(context)?;
    }
    let login = Login { port: settings.ssh_port, user: settings.ssh_user.clone() };
    let cluster = settings.cluster.cluster_name.clone().unwrap_or_default();
    let plan = Plan { cluster, release, graph, agent: settings.agent.clone(), login, at_once: settings.deploy_at_once };
    Ok(Prepared { deploys, plan, findings })
}

impl Prepared {
    /// Backs up the databases, then deploys the machines.
    ///
    /// # Errors
    /// What a finding refuses; a backup that failed; [`Kind::Unfinished`] where it was interrupted. What becomes of machines is in
    /// the outcome.
    pub async fn apply(self, settings: &Settings, context: &Context) -> Result<Outcome> {
        let mut findings = Findings { all: self.findings, first: None };
        if let Some(refusal) = findings.refusal() {
            return Err(refusal);
        }
        let head = Head::new(KIND, context.now(), self.plan.steps(), self.plan);
        let journal = self.deploys.create(&head)?;
        go_on(&head.plan, journal, settings, context).await
    }
}

/// Does what is left of the last deploy.
///
/// # Errors
/// [`Kind::NotFound`] where nothing is left of one; else as [`Prepared::apply`].
pub async fn resume(settings: &Settings, context: &Context) -> Result<Outcome> {
    let deploys = Deploys::open(context)?;
    let (journal, head) = deploys.unfinished()?;
    go_on(&head.plan, journal, settings, context).await
}

async fn go_on(plan: &Plan, mut journal: Journal, settings: &Settings, context: &Context) -> Result<Outcome> {
    let names = plan.steps();
    let logs: Vec<PathBuf> = plan.graph.machines.iter().map(|machine| log(&journal, &machine.host)).collect();
    let work = |(index, name): (usize, &String)| -> Box<dyn Step + '_> {
        match index.checked_sub(1) {
            None => Box::new(Backup { plan, settings, context }),
            Some(machine) => {
                Box::new(Deploy { plan, machine, name: name.clone(), log: logs[machine].clone(), context })
            }
        }
    };
    let steps: Vec<Box<dyn Step + '_>> = names.iter().enumerate().map(work).collect();
    let held = |index: usize, ended: &[Option<Ended>]| held(plan, index, ended);
    let ended = apply_in_levels(&steps, &plan.levels(), plan.at_once, held, &mut journal, context).await;
    let ended = ended.map_err(|error| {
        let error = Error::new(Kind::Unfinished, "the deploy stopped half way").because(error);
        error.hint("`deploy --resume` does what is left")
    })?;
    let mut ended = ended.into_iter();
    if let Some(Ended::Failed(error)) = ended.next() {
        let error = Error::new(error.kind(), "no machine was deployed").because(error);
        return Err(error);
    }
    let fates = ended.zip(&plan.graph.machines).zip(logs).map(|((ended, machine), log)| {
        let (state, reason) = match ended {
            Ended::Applied => (State::Deployed, None),
            Ended::Held(reason) => (State::Held, Some(reason)),
            // Its first link names the step.
            Ended::Failed(error) => (State::Failed, Some(error.chain().get(1..).unwrap_or_default().join(": "))),
        };
        Fate { host: machine.host.clone(), state, reason, log: log.exists().then_some(log) }
    });
    Ok(Outcome { cluster: plan.cluster.clone(), release: plan.release.clone(), machines: fates.collect() })
}

/// Why a machine must wait: something that it needs stands on none of the machines that should have it.
fn held(plan: &Plan, index: usize, ended: &[Option<Ended>]) -> Option<String> {
    if index > 0 && !matches!(ended[0], Some(Ended::Applied)) {
        return Some("the databases were not backed up".into());
    }
    let machine = index.checked_sub(1)?;
    let stands = |on: &usize| matches!(ended[on + 1], Some(Ended::Applied));
    let mut requirements = plan.graph.requirements.iter();
    let lacking = requirements.find(|of| of.machine == machine && !of.on.iter().any(stands))?;
    let on: Vec<&str> = lacking.on.iter().map(|at| plan.graph.machines[*at].host.as_str()).collect();
    Some(format!("{} needs {}, which is not deployed on {}", lacking.component, lacking.needs, on.join(", ")))
}

/// The first step of a deploy.
struct Backup<'d> {
    plan: &'d Plan,
    settings: &'d Settings,
    context: &'d Context,
}

impl Step for Backup<'_> {
    fn name(&self) -> &str {
        BACKUP
    }

    fn probe(&self) -> LocalBoxFuture<'_, Result<bool>> {
        async { Ok(false) }.boxed_local()
    }

    fn apply(&self) -> LocalBoxFuture<'_, Result<()>> {
        let request = backup::Request { release: Some(self.plan.release.clone()), ..backup::Request::default() };
        async move {
            let made = backup::run(self.settings, &request, None, self.context).await?;
            let tell = |finding| self.context.observer.event(&Event::Finding(finding));
            made.published
                .iter()
                .for_each(|place| tell(Finding::info("backed-up", place, "the databases are backed up")));
            made.warnings.into_iter().for_each(tell);
            Ok(())
        }
        .boxed_local()
    }

    fn undo(&self) -> LocalBoxFuture<'_, Result<()>> {
        async { Err(for_good()) }.boxed_local()
    }
}

/// One machine.
struct Deploy<'d> {
    plan: &'d Plan,
    machine: usize,
    name: String,
    log: PathBuf,
    context: &'d Context,
}

impl Step for Deploy<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    /// An agent that has run does no harm when it runs again, and only it knows whether it came to its end.
    fn probe(&self) -> LocalBoxFuture<'_, Result<bool>> {
        async { Ok(false) }.boxed_local()
    }

    fn apply(&self) -> LocalBoxFuture<'_, Result<()>> {
        let Plan { agent, login, release, cluster, graph, .. } = self.plan;
        let host = &graph.machines[self.machine].host;
        async move { Deployed { host, agent, login, release, cluster, log: &self.log }.run(self.context).await }
            .boxed_local()
    }

    fn undo(&self) -> LocalBoxFuture<'_, Result<()>> {
        async { Err(for_good()) }.boxed_local()
    }
}

fn for_good() -> Error {
    Error::new(Kind::Refused, "undo a deploy: what agents have done can't be taken back")
        .hint("deploy the release that was there before")
}

/// The machines of the settings' cluster in the order in which they are to be deployed.
///
/// # Errors
/// As [`graph`].
pub fn graph_of(settings: &Settings) -> Result<Graph, Vec<Finding>> {
    graph(&settings.cluster, &Components::with(&settings.components))
}
