//! Everything that a restore needs, looked at before anything is changed; all findings at once.

use std::path::PathBuf;

use super::Settings;
use super::cluster::Hosts;
use super::journals::Journals;
use super::plan::Plan;
use super::source::{self, Source};
use super::work::{Work, working};
use super::{Component, Request, Swap, cluster, moment, parts, stays, whose};
use crate::component::files::fit as fit_files;
use crate::component::postgres::{self, Planned, default_jobs, look_at_databases, look_at_server};
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
    let own = look_for_others(journals, &mut findings);
    if request.only == Some(Component::Files) && !request.databases.is_empty() {
        let error = Error::new(Kind::Usage, "databases are named, and files alone are asked for");
        findings.keep::<()>("database", "--only", Err(error.hint("leave out --only, or --database")));
    }
    let (source, origin) = source::look(request, settings, &mut findings, context).await.unzip();
    if let Some(source) = &source {
        let said = source.said();
        if said.from.partial {
            let message = "it has some of the databases alone, as was asked for when it was made";
            let hint = "`list` notes which bundles are so; take another one to bring back all";
            findings.all.push(Finding::info("partial", said.name, message).hint(hint));
        }
        if !said.is_of_component {
            let of_bundle = (said.from.release.as_deref(), request.cluster_conf.is_some());
            let origin = request.release.as_ref().or(settings.release.as_ref());
            control_plane::fit(of_bundle, origin, settings.release_rule, &mut findings).await;
        }
    }
    // What is changed decides what is asked of the cluster, whose findings stand first.
    let mut found = Findings::default();
    let databases = source.as_ref().map(Source::databases);
    let some = !request.databases.is_empty() || databases.as_ref().is_none_or(|it| !it.databases().is_empty());
    let wanted = request.databases_wanted() && some;
    let mut server = None;
    if wanted {
        let way = settings.way(0, request.jobs.or(settings.jobs).unwrap_or_else(default_jobs));
        let mut look = Look { context, findings: &mut found };
        server = look_at_server(&request.of_databases(false), &way, databases.as_ref(), &own, &mut look).await;
    }
    let (mut plan, mut swap) = (None, None);
    if let Some(source) = &source {
        let on_server = server.as_ref().map(|(target, _)| target);
        let moment = moment::free(&source.said().files(), request, on_server, context, &mut found).await;
        let mut databases = Some((Vec::new(), Vec::new()));
        if wanted {
            databases = match &server {
                Some((target, _)) => {
                    let proved = origin.as_ref().is_some_and(Origin::is_proved);
                    let (asked, databases) = (request.of_databases(proved), source.databases());
                    found.all.extend(postgres::unsafe_restore_tools(&databases, &asked, target));
                    let looked = look_at_databases(&asked, &databases, target, &moment, &mut found).await;
                    found.all.extend(postgres::later_powers(&databases, &asked));
                    looked
                }
                None => None,
            };
        }
        let planned = databases.as_ref().map(|(_, planned)| planned.as_slice());
        if let Some(planned) = planned {
            swap = Some(Swap::look(source, on_server, planned, &mut found).await);
        }
        let files =
            fit_files(&source.said().files(), &request.of_files(settings.cluster_conf.as_deref()), &moment, &mut found);
        stays::look(&files, request, settings, on_server, &mut Look { context, findings: &mut found }).await;
        let in_place = request.is_in_place() && !files.is_empty();
        let others = request.parts_wanted() && !source.said().components.is_empty();
        let lives = in_place || others || (wanted && takes_place(planned, request));
        let hosts = look_at_cluster((source, lives), request, settings, context, &mut findings).await;
        let absolute = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
        let parts = parts::look(source, request, settings, &moment, (context, &mut found)).await;
        plan = databases.zip(parts).map(|((roles, databases), parts)| Plan {
            file: absolute(&request.file),
            bundle: source.said().name.into(),
            cluster_conf: request.cluster_conf.as_ref().map(absolute),
            sha256: source.sha256(),
            server: server.as_ref().map(|(_, server)| server.clone()),
            roles,
            databases,
            files,
            parts,
            jobs: server.as_ref().map_or(1, |(target, _)| target.jobs),
            hosts_down: hosts.down,
            ssh_port: cluster::reach(&source.said(), request, settings).login.port,
            hosts: hosts.known,
            accept_missing: request.accept_missing.clone(),
            foreign: findings.all.iter().any(|finding| finding.code == whose::DIFFERS),
            ownership: hosts.ownership,
        });
    }
    findings.append(found);
    let sound = findings.all.iter().all(|finding| finding.severity != Severity::Error);
    if sound && plan.as_ref().is_some_and(Plan::is_empty) {
        findings.all.push(Finding::error(
            "nothing-to-restore",
            "restore",
            "there is nothing in it of what is asked for",
        ));
    }
    let ready = match (findings.refusal(), plan, source) {
        (None, Some(plan), Some(source)) => {
            let (working, target) = (working(context), server.map(|(target, _)| target));
            let others = parts::take_up(&plan, Some(&source), settings, &working).await;
            others.map(|others| Work::new(plan, target, Some(source), others, working))
        }
        (error, ..) => Err(error.unwrap_or_else(|| Error::new(Kind::Failed, "check what the restore needs"))),
    };
    Preflight { ready, swap, findings: findings.all }
}

/// Whether databases take the place of those that the cluster has: one steps aside, or one gets the name that it had.
fn takes_place(planned: Option<&[Planned]>, request: &Request) -> bool {
    let steps_aside = |planned: &[Planned]| planned.iter().any(|planned| planned.names.before.is_some());
    planned.is_some_and(steps_aside) || !request.of_databases(false).renames_all()
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
            "it is put beside what is live: this machine's cluster, the hosts and their owner are not checked";
        findings.all.push(Finding::info("not-checked", source.said().name, message));
        return Hosts::default();
    }
    whose::look(source, request, settings, context, findings).await;
    // A component's databases say nothing of the machines, and give nobody the cluster.
    if source.said().is_of_component {
        let message = "a component's databases alone are in it: the hosts and their owner are not checked";
        findings.all.push(Finding::info("not-checked", source.said().name, message));
        return Hosts::default();
    }
    cluster::look(source, request, settings, context, findings).await
}

/// Looks for a restore that is unfinished; returns the databases that it builds.
fn look_for_others(journals: Option<Result<&Journals>>, findings: &mut Findings) -> Vec<String> {
    let Some(journals) = journals else { return Vec::new() };
    let unfinished = journals.and_then(Journals::unfinished);
    let Some(Some((_, head))) = findings.keep("restore-running", "restore", unfinished) else { return Vec::new() };
    let error = Error::new(
        Kind::Unfinished,
        format!("a restore of {} that began at {} is unfinished", head.plan.bundle, head.created.format("%F %T UTC")),
    );
    let hint = "go on with `restore --resume`, or return to what was there with";
    let error = error.hint(format!("{hint} `restore --rollback {}`", head.plan.argument()));
    findings.keep::<()>("restore-unfinished", "restore", Err(error));
    head.plan.databases.into_iter().map(|planned| planned.names.shadow).collect()
}
