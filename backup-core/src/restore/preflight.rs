//! Everything that a restore needs, looked at before anything is changed; all findings at once.

use std::path::PathBuf;

use super::cluster::Hosts;
use super::journals::Journals;
use super::parts::{Candidate, Chosen, candidates};
use super::plan::Plan;
use super::source::{self, Source};
use super::work::{Work, working};
use super::{Component, Request, Settings, Swap, cluster, moment, stays, whose};
use crate::component::{Look, control_plane};
use crate::finding::{Finding, Findings, Severity};
use crate::signing::Origin;
use crate::{Context, Error, Kind, Result};

/// What a preflight has to say.
pub struct Preflight {
    /// What a restore goes on with, or why it does not.
    pub(super) ready: Result<Work>,
    /// What stands behind the question before the swap, as far as it was looked at.
    pub swap: Option<Swap>,
    /// All that was found, good and bad.
    pub findings: Vec<Finding>,
}

impl Preflight {
    /// The plan, or why there is none.
    ///
    /// # Errors
    /// The first finding that forbids the restore.
    pub fn plan(&self) -> Result<&Plan, &Error> {
        self.ready.as_ref().map(|ready| &ready.plan)
    }

    /// Titles of the steps that it amounts to; none where there is no plan.
    pub fn steps(&self) -> Vec<String> {
        let steps = self.ready.as_ref().map(Work::steps).unwrap_or_default();
        steps.iter().map(|step| step.title().into()).collect()
    }
}

/// Looks at everything.
pub(super) async fn preflight(
    request: &Request,
    settings: &Settings,
    journals: Option<Result<&Journals>>,
    context: &Context,
) -> Preflight {
    let mut findings = Findings::default();
    let unfinished = look_for_others(journals, &mut findings);
    if request.only == Some(Component::Files) && !request.databases.is_empty() {
        let error = Error::new(Kind::Usage, "--database and `--only files` exclude each other");
        findings.keep::<()>("database", "--only", Err(error.hint("leave out --only, or --database")));
    }
    let (source, origin) = source::look(request, settings, &mut findings, context).await.unzip();
    if let Some(source) = &source {
        look_at_release(source, request, settings, &mut findings).await;
    }
    // What is changed decides what is asked of the cluster, whose findings stand first.
    let mut found = Findings::default();
    let mut look = Look { context, findings: &mut found };
    let asked = (request, origin.as_ref().is_some_and(Origin::is_proved));
    let mut candidates = candidates(source.as_ref(), asked, settings, unfinished.as_ref());
    for component in candidates.iter().filter_map(Candidate::wanted) {
        component.reach(&mut look).await;
    }
    let (mut chosen, mut plan, mut swap) = (Chosen::none(), None, None);
    if let Some(source) = &source {
        let moment = moment::free(&candidates, &mut look).await;
        // What the first format has is looked at to its end, then the others.
        for has_section in [false, true] {
            let before = chosen.places.len();
            chosen.look(&mut candidates, has_section, &moment, &mut look).await;
            stays::look(&chosen.places[before..], &candidates, request, settings, &mut look).await;
        }
        let hosts = look_at_cluster((source, chosen.lives), request, settings, context, &mut findings).await;
        let absolute = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
        let foreign = findings.all.iter().any(|finding| finding.code == whose::DIFFERS);
        swap = Some(Swap::of(source, std::mem::take(&mut chosen.servers), std::mem::take(&mut chosen.ends)));
        plan = chosen.all_fit.then(|| Plan {
            file: absolute(&request.file),
            bundle: source.name.clone(),
            cluster_conf: request.cluster_conf.as_ref().map(absolute),
            sha256: source.sha256,
            parts: chosen.parts.iter().map(|(part, _)| part.clone()).collect(),
            hosts_down: hosts.down,
            ssh_port: cluster::reach(source, request, settings).login.port,
            hosts: hosts.known,
            accept_missing: request.accept_missing.clone(),
            foreign,
            ownership: hosts.ownership,
        });
    }
    findings.append(found);
    let sound = findings.all.iter().all(|finding| finding.severity != Severity::Error);
    if sound && plan.as_ref().is_some_and(|plan| plan.parts.is_empty()) {
        findings.all.push(Finding::error(
            "nothing-to-restore",
            "restore",
            "the bundle holds nothing of what is asked for",
        ));
    }
    let ready = match (findings.refusal(), plan, source) {
        (None, Some(plan), Some(source)) => take_up(plan, source, chosen, context).await,
        (error, ..) => Err(error.unwrap_or_else(|| Error::new(Kind::Failed, "check what the restore needs"))),
    };
    Preflight { ready, swap, findings: findings.all }
}

/// All that the steps of a plan need, by the components that it was made with.
async fn take_up(plan: Plan, source: Source, chosen: Chosen, context: &Context) -> Result<Work> {
    let working = working(&plan.accept_missing, context);
    let mut parts = Vec::new();
    for (part, component) in chosen.parts {
        parts.push(component.take_up(&part.recipe, &working).await?);
    }
    Ok(Work::new(plan, Some(source), parts, working))
}

/// Looks whether some of it alone is there, and whether this machine's release takes it.
async fn look_at_release(source: &Source, request: &Request, settings: &Settings, findings: &mut Findings) {
    if source.from.partial {
        let message = "the bundle holds only some of the databases; its backup was asked for these";
        let hint = "`list` marks such bundles; restore another one to get all databases";
        findings.all.push(Finding::info("partial", &source.name, message).hint(hint));
    }
    if !source.is_of_component {
        let of_bundle = (source.from.release.as_deref(), request.cluster_conf.is_some());
        let origin = request.release.as_ref().or(settings.release.as_ref());
        control_plane::fit(of_bundle, origin, settings.release_rule, findings).await;
    }
}

/// Looks whose the bundle is, at the hosts, and at who owns them; where nothing that lives is changed, says that it does not.
async fn look_at_cluster(
    (source, lives): (&Source, bool),
    request: &Request,
    settings: &Settings,
    context: &Context,
    findings: &mut Findings,
) -> Hosts {
    if !lives {
        let message =
            "the restore goes beside the live state: this machine's cluster, the hosts and their owner are not checked";
        findings.all.push(Finding::info("not-checked", source.name.clone(), message));
        return Hosts::default();
    }
    whose::look(source, request, settings, context, findings).await;
    // A component's databases say nothing of the machines, and give nobody the cluster.
    if source.is_of_component {
        let message = "the bundle holds only the databases of a component: the hosts and their owner are not checked";
        findings.all.push(Finding::info("not-checked", source.name.clone(), message));
        return Hosts::default();
    }
    cluster::look(source, request, settings, context, findings).await
}

/// Looks for a restore that is unfinished; returns its plan.
fn look_for_others(journals: Option<Result<&Journals>>, findings: &mut Findings) -> Option<Plan> {
    let unfinished = journals?.and_then(Journals::unfinished);
    let (_, head) = findings.keep("restore-running", "restore", unfinished)??;
    let error = Error::new(
        Kind::Unfinished,
        format!("the restore of {}, begun at {}, is unfinished", head.plan.bundle, head.created.format("%F %T UTC")),
    );
    let hint = "continue with `restore --resume`, or return to the state before with";
    let error = error.hint(format!("{hint} `restore --rollback {}`", head.plan.argument()));
    findings.keep::<()>("restore-unfinished", "restore", Err(error));
    Some(head.plan)
}
