//! A deploy from beginning to end.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use super::inspect::inspect;
use super::plan::{Deploys, FIRST, KIND, Plan, log};
use super::steps::Work;
use super::{Graph, matching};
use crate::backup;
use crate::bundle::manifest::control_plane::Host;
use crate::cluster::hosts::{self, Allowed, Record, Seen, compare};
use crate::component::control_plane;
use crate::finding::{Finding, Findings};
use crate::ownership::{self, Cluster, Met, Standing, all_asked, not_asked, refuse_if_overtaken, without_store};
use crate::plan::{Ended, Head, Journal, Step, apply_in_levels};
use crate::{Context, Error, Kind, Result};

/// What is asked for beside the settings.
#[derive(Debug, Default)]
pub struct Request {
    /// The release; none for that of the settings.
    pub release: Option<control_plane::Origin>,
    /// Machines by name, address, zone or tag; empty for all.
    pub only: Vec<String>,
    /// Findings that the operator takes upon himself.
    pub allowed: Allowed,
    /// Stores, by their location, that need not be asked who owns the cluster.
    pub without: Vec<String>,
}

/// A deploy that has been looked into and not begun. No other one runs on this machine meanwhile.
pub struct Prepared {
    deploys: Deploys,
    /// What will be done.
    pub plan: Plan,
    /// What was found.
    pub findings: Vec<Finding>,
    /// Who owns the cluster, where it is to be taken over from him.
    pub owner: Option<Met>,
    /// The cluster's hosts, where all of them were looked at.
    hosts: Option<Vec<Host>>,
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
/// [`Kind::Locked`]; [`Kind::Usage`] where the release is unknown; [`Kind::NotFound`] where `only` means no machine;
/// [`Kind::Refused`] where another machine has taken the cluster over. What else forbids the deploy is among the findings.
pub async fn prepare(
    request: &Request,
    settings: &backup::Settings,
    graph: Graph,
    context: &Context,
) -> Result<Prepared> {
    let deploys = Deploys::open(context)?;
    let stores = ownership::stores(&settings.access, &request.without, context)?;
    let standing =
        Standing::noted(Cluster::of(&settings.cluster), &settings.access.signing, context)?.without(&request.without);
    let (mut standing, unasked) = refuse_if_overtaken(DOING, standing, &stores, context).await?;
    let release = control_plane::find(request.release.as_ref().or(settings.release.as_ref())).await?.version;
    let all = request.only.is_empty();
    let mut wanted = Vec::new();
    for query in &request.only {
        wanted.extend(matching(&graph.machines, query)?.into_iter().map(|machine| machine.host.clone()));
    }
    let graph = graph.only(|machine| all || wanted.contains(&machine.host));
    let names: Vec<String> = graph.machines.iter().map(|machine| machine.host.clone()).collect();
    context.phase(hosts::looking_at(&names));
    let seen = hosts::look(&names, settings.remote.login.port, context).await?;
    let record = Record::load(context)?;
    let known = record.as_ref().map_or(&[][..], |record| &record.hosts);
    let mut findings = compare(&seen, known, &request.allowed);
    findings.extend(unasked.iter().map(|(location, error)| not_asked(location, error).hint(without_store(location))));
    findings.extend(standing.without_claims(&stores));
    findings.extend(buried(&deploys, all));
    context.phase("ask them over ssh");
    let known = record.as_ref();
    let (found, hosts) = inspect(&seen, &settings.remote, (known, &request.allowed), &mut standing, context).await;
    findings.extend(found);
    standing.refuse(DOING, context)?;
    let plan = Plan {
        all,
        cluster: standing.cluster.name.clone(),
        release,
        graph,
        remote: settings.remote.clone(),
        claim: ownership::next(&standing, false, context)?,
        without: request.without.clone(),
    };
    let owner = standing.highest().filter(|met| !met.claim.released && !standing.notes.is_own(&met.claim)).cloned();
    let hosts = all.then_some(hosts);
    Ok(Prepared { deploys, plan, findings, owner, hosts, record: accepted(record, &seen, &request.allowed) })
}

const DOING: &str = "deploy";

/// A deploy of all machines takes the place of one that is unfinished.
fn buried(deploys: &Deploys, all: bool) -> Option<Finding> {
    let (_, head) = deploys.unfinished().ok().filter(|_| all)?;
    let message = format!(
        "the deploy of release {} that began at {} is unfinished, and can't be gone on with after this one",
        head.plan.release,
        head.created.format("%F %T UTC")
    );
    let finding = Finding::warning("deploy-unfinished", "deploy", message);
    Some(finding.hint("`deploy --resume` does what is left of it; this one begins anew"))
}

impl Prepared {
    /// Claims the cluster, backs up the databases, then deploys the machines.
    ///
    /// # Errors
    /// What a finding refuses; a backup that failed; [`Kind::Unfinished`] where it was interrupted. What becomes of machines is in
    /// the outcome.
    pub async fn apply(self, settings: &backup::Settings, context: &Context) -> Result<Outcome> {
        let mut findings = Findings { all: self.findings, first: None };
        if let Some(refusal) = findings.refusal() {
            return Err(refusal);
        }
        if let Some(record) = self.record {
            record.keep(context)?;
        }
        let steps = self.plan.ids();
        let head = Head::new(KIND, context.now(), self.plan, steps);
        let journal = self.deploys.create(&head)?;
        go_on(&head.plan, journal, self.hosts, settings, context).await
    }
}

/// Does what is left of the last deploy, with agents told, run and logged in to as the settings say now.
///
/// # Errors
/// [`Kind::NotFound`] where nothing is left of one; else as [`Prepared::apply`].
pub async fn resume(request: &Request, settings: &backup::Settings, context: &Context) -> Result<Outcome> {
    let deploys = Deploys::open(context)?;
    let (journal, head) = deploys.unfinished()?;
    let without = [&*head.plan.without, &*request.without].concat();
    may_go_on(&head.plan, &without, settings, context).await?;
    let allowed = &request.allowed;
    if !allowed.host_key.is_empty() {
        let seen = hosts::look(&allowed.host_key, settings.remote.login.port, context).await?;
        if let Some(record) = accepted(Record::load(context)?, &seen, allowed) {
            record.keep(context)?;
        }
    }
    let plan = Plan { remote: settings.remote.clone(), without, ..head.plan };
    go_on(&plan, journal, None, settings, context).await
}

/// Makes sure that the claim of a deploy which stopped half way is still this machine's, or its to take.
async fn may_go_on(plan: &Plan, without: &[String], settings: &backup::Settings, context: &Context) -> Result<()> {
    let stores = ownership::stores(&settings.access, without, context)?;
    let standing = Standing::noted(Cluster::of(&settings.cluster), &settings.access.signing, context)?.without(without);
    let (standing, failed) = refuse_if_overtaken(DOING, standing, &stores, context).await?;
    all_asked(failed, without_store)?;
    if standing.notes.is_own(&plan.claim) || plan.claim.epoch == standing.notes.epoch + 1 {
        return Ok(());
    }
    let doing =
        format!("go on with a deploy that claimed {} with epoch {}", standing.cluster.shown(), plan.claim.epoch);
    let error = Error::new(Kind::Refused, doing).because("it was given up, or a restore came after it");
    Err(error.hint("begin a new deploy, without --resume"))
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
        return Some(Record { bundle: String::new(), hosts, ssh_port: None });
    };
    for seen in accepted {
        record.hosts.retain(|host| host.host != seen.host);
        record.hosts.push(seen.record());
    }
    Some(record)
}

async fn go_on(
    plan: &Plan,
    mut journal: Journal,
    hosts: Option<Vec<Host>>,
    settings: &backup::Settings,
    context: &Context,
) -> Result<Outcome> {
    let (ids, titles) = (plan.ids(), plan.titles());
    let warnings = Mutex::new(Vec::new());
    let logs: Vec<PathBuf> = plan.graph.machines.iter().map(|machine| log(&journal, &machine.host)).collect();
    let work = Work { plan, settings, hosts: hosts.as_deref(), warnings: &warnings, context };
    let steps: Vec<Box<dyn Step + '_>> =
        ids.into_iter().zip(titles).enumerate().map(|(index, named)| work.step(index, named, &logs)).collect();
    let held = |index: usize, ended: &[Option<Ended>]| held(plan, index, ended);
    let ended = apply_in_levels(&steps, (&plan.levels(), plan.remote.at_once), held, &mut journal, context).await;
    let ended = ended.map_err(|error| {
        let error = Error::new(Kind::Unfinished, "the deploy stopped half way; agents that were begun may still run")
            .because(error);
        error.hint("`deploy --resume` does what is left")
    })?;
    let mut ended = ended.into_iter();
    for first in ended.by_ref().take(FIRST) {
        if let Ended::Failed(error) = first {
            return Err(Error::new(error.kind(), "no machine was deployed").because(error));
        }
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
    let applied = |step: usize| matches!(ended[step], Some(Ended::Applied));
    if index > 0 && !applied(0) {
        return Some("this machine does not own the cluster".into());
    }
    let machine = index.checked_sub(FIRST)?;
    if !applied(1) {
        return Some("the databases were not backed up".into());
    }
    let stands = |on: &usize| applied(on + FIRST);
    let mut requirements = plan.graph.requirements.iter();
    let lacking = requirements.find(|of| of.machine == machine && !of.on.iter().any(stands))?;
    let on: Vec<&str> = lacking.on.iter().map(|at| plan.graph.machines[*at].host.as_str()).collect();
    Some(format!("{} needs {}, which is not deployed on {}", lacking.component, lacking.needs, on.join(", ")))
}
