//! A drill: a bundle is restored into a throw-away PostgreSQL, held against its manifest and the operator's own questions,
//! and the time is taken. Nothing is left of it but the record.

use std::path::Path;
use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::parts::way;
use super::plan::{Plan, PlannedPart};
use super::source::{Source, look_at_bundle};
use super::thrown::{Thrown, fitted};
use super::work::{Work, working};
use super::{KIND, Request, Settings};
use crate::bundle::manifest::Section;
use crate::bundle::manifest::postgres::Server;
use crate::bundle::reader::OpenBundle;
use crate::component::postgres::{self, OfBundle, Target, Throwaway, Tools, administrative, default_jobs};
use crate::component::{DrillLimits, Look, Restores};
use crate::drill::{Drill, Proved};
use crate::event::Ticker;
use crate::finding::{Finding, Findings, Severity};
use crate::names::timestamp;
use crate::plan::{Head, Journal, apply};
use crate::{Cause, Context, Error, ErrorContext, Kind, Result};

/// What is to be done where the server refuses something for good.
const WOULD_STOP: &str = "a restore of it would stop there too: mend it in the source and back up anew; or restore without what is \
    named, with --accept-missing";

/// What a drill has restored.
struct Restored {
    work: Work,
    target: Target,
    bundle: Arc<OpenBundle>,
}

impl Drill {
    /// Takes what the steps `found`, and looks at what they made.
    async fn look_around(&mut self, restored: &Restored, settings: &Settings, journal: &Journal) -> Result<()> {
        let is_version = |finding: &Finding| finding.code == postgres::EXTENSION_VERSION;
        let (versions, problems): (Vec<Finding>, Vec<Finding>) =
            look(restored, settings, journal).await?.into_iter().partition(is_version);
        // What other databases hold is no part of the bundle, and behind walls none is reached.
        let databases = &restored.bundle.manifest().databases;
        let is_elsewhere = |finding: &&Finding| postgres::is_of_elsewhere(finding, databases);
        let (elsewhere, found): (Vec<&Finding>, Vec<&Finding>) = journal.found().iter().partition(is_elsewhere);
        self.unproved.extend(elsewhere.into_iter().map(|finding| finding.clone().at_most(Severity::Info)));
        // It was said when the throw-away server was looked at.
        let found = found.into_iter().filter(|finding| !LACKING.contains(&finding.code.as_str()));
        self.unproved.extend(versions.into_iter().map(|finding| finding.at_most(Severity::Info)));
        self.problems.extend(found.cloned().chain(problems));
        Ok(())
    }

    /// Notes why it could not be restored, or returns that where it says nothing of the bundle. `missing` are libraries that the
    /// source preloads and this machine can't.
    fn not_restored(&mut self, error: Error, missing: &[String]) -> Result<()> {
        // A full disk is not the bundle's fault.
        if error.kind() == Kind::Interrupted || error.came_of(Cause::DiskFull) {
            return Err(error);
        }
        if !missing.is_empty() {
            let doing = format!("drill {}: it could not be restored here, which proves nothing", self.bundle);
            let why = format!("the server that was backed up preloads {}, and this machine can't", missing.join(", "));
            return Err(Error::new(Kind::Refused, doing).because(error.hint(why)));
        }
        let finding = Finding::from_error("not-restored", &self.bundle, &error);
        // There is no restore to go on with, or to go back from.
        self.problems.push(if error.is_lasting() { finding.hint(WOULD_STOP) } else { finding });
        Ok(())
    }
}

/// Codes of findings of what this machine lacks of the source's, which a drill goes on without.
const LACKING: [&str; 2] = ["money-locale", "setting-not-taken"];

/// Restores a bundle into a throw-away server below `place`, and looks whether all is well.
///
/// # Errors
/// Where there can be no drill: no bundle, no server programs, no place. What is wrong with the bundle is in the result.
pub async fn drill(file: &Path, place: &Path, settings: &Settings, context: &Context) -> Result<Drill> {
    let begun = context.now();
    let mut findings = Findings::default();
    let bundle = look_at_bundle(file, &settings.access, &mut findings, context).await;
    let (bundle, origin) = match (findings.refusal(), bundle) {
        (Some(error), _) => return Err(error),
        (None, Some(bundle)) => bundle,
        (None, None) => return Err(Error::new(Kind::Failed, format!("open {}", file.display()))),
    };
    let source = Source::of_bundle(&bundle);
    let manifest = bundle.manifest();
    let server = manifest.source.postgres.as_ref();
    let major = server.map_or(0, |server| server.pg_dump_major().max(server.version_number / 10_000));
    let tools = postgres::find_server(settings.bin_dir.as_deref(), &context.environment, major).await?;
    let mut drill = Drill {
        bundle: manifest.name.clone(),
        manifest_sha256: source.sha256,
        origin,
        time: begun,
        seconds: 0.0,
        postgres: tools.version.clone(),
        rows: manifest.rows(),
        components: manifest.components.iter().map(proved).collect(),
        problems: Vec::new(),
        unproved: server.and_then(|server| other_version(server, &tools)).into_iter().collect(),
        not_walled_off: Vec::new(),
    };
    context.phase("start a throw-away PostgreSQL");
    let preparing = context.now();
    let preload = server.map_or(&[][..], |server| &server.preload);
    let started = Throwaway::start(&tools, place, preload, &settings.drill, &context.environment).await;
    let (throwaway, missing) = started?;
    drill.not_walled_off.extend(throwaway.open().cloned());
    drill.unproved.extend(missing.iter().map(|library| not_preloaded(library)));
    let prepared = context.now();
    let database = administrative(manifest.databases.iter().map(|database| database.name.as_str()));
    let parameters = throwaway.parameters()?.with_database(database[0]);
    let target = Target::new(parameters, throwaway.tools(), settings.jobs.unwrap_or_else(default_jobs));
    let tablespaces = postgres::read_globals(&bundle.content("databases/globals.sql")?)?.tablespaces;
    make_tablespaces(&target, &throwaway, &tablespaces).await?;
    let (moment, working) = (timestamp(begun), working(&[], context));
    let (of_bundle, mut look) = (OfBundle(bundle.clone()), Look { context, findings: &mut findings });
    let (databases, restoring) = bring_back(of_bundle, &target, &moment, settings, &mut look).await?;
    let mut parts = vec![restoring.take_up(&databases.recipe, &working).await?];
    let others = Thrown::make(&source, throwaway.path(), settings, &moment, &working).await?;
    parts.extend(others.parts);
    drill.unproved.extend(others.unproved);
    let is_lacking = |finding: &&Finding| LACKING.contains(&finding.code.as_str());
    drill.unproved.extend(findings.all.iter().filter(is_lacking).cloned());
    let plan = Plan {
        file: file.into(),
        bundle: manifest.name.clone(),
        cluster_conf: None,
        sha256: drill.manifest_sha256,
        parts: [databases].into_iter().chain(others.planned).collect(),
        hosts_down: Vec::new(),
        hosts: None,
        accept_missing: Vec::new(),
        foreign: false,
        ownership: None,
        ssh_port: settings.remote.login.port,
    };
    let restored = Restored { work: Work::new(plan, Some(source), parts, working), target, bundle: bundle.clone() };
    let work = &restored.work;
    let steps = work.steps();
    let ids = steps.iter().map(|step| step.id().clone()).collect();
    let head = Head::new(KIND, begun, work.plan.clone(), ids);
    let mut journal = Journal::create(&throwaway.path().join("journal"), &head)?;
    let ticker = Ticker::start(work.meter.clone(), context.observer.clone());
    let until = Instant::now() + settings.drill.time;
    let applied = timeout_at(until, apply(&steps, &mut journal, context)).await;
    drop(ticker);
    let setup = prepared.signed_duration_since(preparing);
    drill.seconds = (context.now().signed_duration_since(begun) - setup).as_seconds_f64();
    match applied {
        Ok(Ok(())) => match timeout_at(until, drill.look_around(&restored, settings, &journal)).await {
            Ok(looked) => looked?,
            Err(_) => drill.problems.push(too_late(&drill.bundle, &settings.drill)),
        },
        Ok(Err(error)) => drill.not_restored(error, &missing)?,
        Err(_) => drill.problems.push(too_late(&drill.bundle, &settings.drill)),
    }
    drop((others.guards, throwaway));
    Ok(drill)
}

fn proved(section: &Section) -> Proved {
    Proved { id: section.id.clone(), items: section.items.clone() }
}

/// That the drill was ended.
fn too_late(bundle: &str, limits: &DrillLimits) -> Finding {
    let message =
        format!("restoring it and looking at it takes longer than {}", humantime::format_duration(limits.time));
    Finding::error("drill-too-long", bundle, message).hint(
        "where it is only large, give it longer with drill.limit in the settings; else something in it runs for ever",
    )
}

/// That the drill's server is of another version than the one that was backed up.
fn other_version(server: &Server, tools: &Tools) -> Option<Finding> {
    let major = server.version_number / 10_000;
    let message = format!("the backup is of PostgreSQL {major}, and the drill's server is {}", tools.major);
    let finding = Finding::info("drill-version", "PostgreSQL", message);
    let hint = format!("a restore into {major} is proved by a drill where the package postgresql-{major} is installed");
    (major != tools.major).then(|| finding.hint(hint))
}

fn not_preloaded(library: &str) -> Finding {
    let message = "the server that was backed up preloads it, and this machine has no such library or can't load it";
    let finding = Finding::warning("drill-preload", format!("library {library}"), message);
    finding.hint("install the package that holds it; what needs the library is not proved before")
}

/// The databases, as they come into the throw-away server. Whatever roles they make go with it, and what this machine lacks says nothing
/// of the bundle.
async fn bring_back(
    databases: OfBundle,
    target: &Target,
    moment: &str,
    settings: &Settings,
    look: &mut Look<'_>,
) -> Result<(PlannedPart, Arc<dyn Restores>)> {
    let restoring = postgres::Restoring::new(
        way(settings, target.jobs),
        Request::default().of_databases(true),
        Some(databases),
        Vec::new(),
    );
    let restoring: Arc<dyn Restores> = Arc::new(restoring.thrown_away(target.clone(), target.identifier().await?));
    Ok((fitted(&*restoring, moment, look).await?, restoring))
}

/// The source's tablespaces, each a directory of the throw-away server.
async fn make_tablespaces(target: &Target, throwaway: &Throwaway, names: &[String]) -> Result<()> {
    for (number, name) in names.iter().enumerate() {
        let directory = throwaway.directory(&format!("tablespace-{number}"))?;
        target.create_tablespace(name, &directory).await.context(|| format!("create tablespace {name}"))?;
    }
    Ok(())
}

/// The confirmations of every restore, and the operator's own questions.
async fn look(restored: &Restored, settings: &Settings, journal: &Journal) -> Result<Vec<Finding>> {
    let Restored { work, target, bundle } = restored;
    let (mut problems, manifest) = (Vec::new(), bundle.manifest());
    for part in work.parts() {
        problems.extend(part.brought(journal).await.findings);
    }
    // They are of the orchestrator, and a component's bundle has what it has of it.
    let has = |name: &str| manifest.databases.iter().any(|database| database.name == name);
    let whole = manifest.component().is_none() && !manifest.source.partial;
    for assertion in settings.assertions.iter().filter(|one| whole || has(&one.database)) {
        let subject = format!("{}: {}", assertion.database, assertion.sql);
        match target.holds(&assertion.database, &assertion.sql).await {
            Ok(true) => {}
            Ok(false) => problems.push(Finding::error("assertion", subject, "it is not true of the restored database")),
            Err(error) => problems.push(Finding::from_error("assertion", subject, &error)),
        }
    }
    Ok(problems)
}
