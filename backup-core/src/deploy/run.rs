//! A deploy from beginning to end.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use serde::Serialize;

use super::agent::Deployed;
use super::inspect::inspect;
use super::plan::{BACKUP, Deploys, KIND, Plan, log};
use super::{Graph, matching};
use crate::backup;
use crate::cluster::hosts::{self, Allowed, Login, Record, Seen, compare};
use crate::component::release;
use crate::event::Event;
use crate::finding::{Finding, Findings};
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
    /// Who the machines are, where another key is accepted of one.
    record: Option<Record>,
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
    /// What to do about it.
    pub hint: Option<String>,
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
    /// What did not go as it should in the backup before.
    pub warnings: Vec<Finding>,
}

/// Looks at all machines, and keeps other deploys off.
///
/// # Errors
/// [`Kind::Locked`]; [`Kind::Usage`] where the release is unknown; [`Kind::NotFound`] where `only` means no machine.
/// What forbids the deploy is among the findings.
pub async fn prepare(request: &Request, settings: &Settings, graph: Graph, context: &Context) -> Result<Prepared> {
    let deploys = Deploys::open(context)?;
    let release = release::find(request.release.as_ref().or(settings.release.as_ref())).await?.version;
    let all = request.only.is_empty();
    let mut wanted = Vec::new();
    for query in &request.only {
        wanted.extend(matching(&graph.machines, query)?.into_iter().map(|machine| machine.host.clone()));
    }
    let graph = graph.only(|machine| all || wanted.contains(&machine.host));
    let names: Vec<String> = graph.machines.iter().map(|machine| machine.host.clone()).collect();
    context.phase(format!("look at {} hosts", names.len()));
    let seen = hosts::look(&names, settings.ssh_port, context).await?;
    let record = Record::load(context)?;
    let known = record.as_ref().map_or(&[][..], |record| &record.hosts);
    let mut findings = compare(&seen, known, &request.allowed);
    let login = Login { port: settings.ssh_port, user: settings.ssh_user.clone() };
    let cluster = settings.cluster.cluster_name.clone().unwrap_or_default();
    let plan =
        Plan { all, cluster, release, graph, agent: settings.agent.clone(), login, at_once: settings.deploy_at_once };
    findings.extend(buried(&deploys, &plan));
    context.phase("ask them over ssh");
    findings.extend(inspect(&seen, &plan, &request.allowed, context).await);
    Ok(Prepared { deploys, plan, findings, record: accepted(record, &seen, &request.allowed) })
}

/// A deploy of all machines takes the place of one that is unfinished.
fn buried(deploys: &Deploys, plan: &Plan) -> Option<Finding> {
    let (_, head) = deploys.unfinished().ok().filter(|_| plan.all)?;
    let message = format!(
        "the deploy of release {} that began at {} is unfinished, and can't be gone on with after this one",
        head.plan.release,
        head.created.format("%F %T UTC")
    );
    let finding = Finding::warning("deploy-unfinished", "deploy", message);
    Some(finding.hint("`deploy --resume` does what is left of it; this one begins anew"))
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
        if let Some(record) = self.record {
            record.keep(context)?;
        }
        let head = Head::new(KIND, context.now(), self.plan.steps(), self.plan);
        let journal = self.deploys.create(&head)?;
        go_on(&head.plan, journal, settings, context).await
    }
}

/// Does what is left of the last deploy, with agents told, run and logged in to as the settings say now.
///
/// # Errors
/// [`Kind::NotFound`] where nothing is left of one; else as [`Prepared::apply`].
pub async fn resume(allowed: &Allowed, settings: &Settings, context: &Context) -> Result<Outcome> {
    let deploys = Deploys::open(context)?;
    let (journal, head) = deploys.unfinished()?;
    if !allowed.host_key.is_empty() {
        let seen = hosts::look(&allowed.host_key, settings.ssh_port, context).await?;
        if let Some(record) = accepted(Record::load(context)?, &seen, allowed) {
            record.keep(context)?;
        }
    }
    let login = Login { port: settings.ssh_port, user: settings.ssh_user.clone() };
    let plan = Plan { agent: settings.agent.clone(), login, at_once: settings.deploy_at_once, ..head.plan };
    go_on(&plan, journal, settings, context).await
}

/// What is known of the machines, with the keys that are accepted; none where that changes nothing. Where nothing was known, all
/// that were seen are believed: to accept one is no reason to doubt others.
fn accepted(record: Option<Record>, seen: &[Seen], allowed: &Allowed) -> Option<Record> {
    let shown = |seen: &&Seen| !seen.keys.is_empty();
    let accepted: Vec<&Seen> = seen.iter().filter(shown).filter(|seen| allowed.host_key.contains(&seen.host)).collect();
    if accepted.is_empty() {
        return None;
    }
    let Some(mut record) = record else {
        let hosts = seen.iter().filter(shown).map(Seen::record).collect();
        return Some(Record { bundle: String::new(), hosts });
    };
    for seen in accepted {
        record.hosts.retain(|host| host.host != seen.host);
        record.hosts.push(seen.record());
    }
    Some(record)
}

async fn go_on(plan: &Plan, mut journal: Journal, settings: &Settings, context: &Context) -> Result<Outcome> {
    let names = plan.steps();
    let warnings = Mutex::new(Vec::new());
    let logs: Vec<PathBuf> = plan.graph.machines.iter().map(|machine| log(&journal, &machine.host)).collect();
    let work = |(index, name): (usize, &String)| -> Box<dyn Step + '_> {
        match index.checked_sub(1) {
            None => Box::new(Backup { plan, settings, warnings: &warnings, context }),
            Some(machine) => {
                Box::new(Deploy { plan, machine, name: name.clone(), log: logs[machine].clone(), context })
            }
        }
    };
    let steps: Vec<Box<dyn Step + '_>> = names.iter().enumerate().map(work).collect();
    let held = |index: usize, ended: &[Option<Ended>]| held(plan, index, ended);
    let ended = apply_in_levels(&steps, &plan.levels(), plan.at_once, held, &mut journal, context).await;
    let ended = ended.map_err(|error| {
        let error = Error::new(Kind::Unfinished, "the deploy stopped half way; agents that were begun may still run")
            .because(error);
        error.hint("`deploy --resume` does what is left")
    })?;
    let mut ended = ended.into_iter();
    if let Some(Ended::Failed(error)) = ended.next() {
        let error = Error::new(error.kind(), "no machine was deployed").because(error);
        return Err(error);
    }
    let fates = ended.zip(&plan.graph.machines).zip(logs).map(|((ended, machine), log)| {
        let (state, reason, hint) = match ended {
            Ended::Applied => (State::Deployed, None, None),
            Ended::Held(reason) => (State::Held, Some(reason), None),
            Ended::Failed(error) => {
                // Its first link names the step.
                let reason = error.chain().get(1..).unwrap_or_default().join(": ");
                (State::Failed, Some(reason), error.first_hint().map(Into::into))
            }
        };
        Fate { host: machine.host.clone(), state, reason, hint, log: log.exists().then_some(log) }
    });
    let machines = fates.collect();
    let warnings = std::mem::take(&mut *warnings.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(Outcome { cluster: plan.cluster.clone(), release: plan.release.clone(), machines, warnings })
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
    warnings: &'d Mutex<Vec<Finding>>,
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
            let failed = made.failed.iter().map(|why| Finding::warning("destination-failed", "backup", why));
            let mut warnings: Vec<Finding> = made.warnings.into_iter().chain(failed).collect();
            warnings.iter().cloned().for_each(tell);
            self.warnings.lock().unwrap_or_else(PoisonError::into_inner).append(&mut warnings);
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
