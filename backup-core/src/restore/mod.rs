//! A restore from beginning to end: preflight, build beside what is live, swap, confirm; and the ways back.

mod cluster;
mod drill;
mod files;
mod journals;
mod plan;
mod preflight;
mod release;
mod steps;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use chrono::{DateTime, Utc};
use serde::Serialize;

pub use drill::{Drill, drill};
pub use plan::{Plan, Planned};
pub use preflight::Preflight;

use crate::bundle::manifest::{Database, Manifest};
use crate::bundle::reader::Bundle;
use crate::cluster::hosts::Allowed;
use crate::component::files::Placement;
use crate::component::postgres::connection::{Parameters, connect_first};
use crate::component::postgres::{self, Target};
use crate::component::release::Origin;
use crate::event::{Meter, Ticker};
use crate::finding::{Finding, Severity};
use crate::plan::{Head, Journal, Progress, Step, apply, undo};
use crate::settings::RestoreSettings;
use crate::{Context, Error, ErrorContext, Kind, Result, store};
use journals::Journals;
use preflight::{Ready, preflight, tell};
use steps::{Work, steps};

/// The kind of plan, as its journal names it.
const KIND: &str = "restore";

/// What is asked for beside the settings.
#[derive(Debug)]
pub struct Request {
    /// The bundle.
    pub file: PathBuf,
    /// The one component that is asked for, where it is not all.
    pub only: Option<Component>,
    /// What stands for `/` where files are put.
    pub root: PathBuf,
    /// Databases, each with another name where it is to have one; empty for all of the bundle's.
    pub databases: Vec<(String, Option<String>)>,
    /// Connections that load rows at once.
    pub jobs: Option<usize>,
    /// The release of this machine.
    pub release: Option<Origin>,
    /// Findings about hosts that the operator takes upon himself.
    pub allowed: Allowed,
}

/// A part of a bundle that can be restored alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Component {
    /// PostgreSQL's databases and roles.
    Databases,
    /// Captured files, and `cluster.conf`.
    Files,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            file: PathBuf::new(),
            only: None,
            root: "/".into(),
            databases: Vec::new(),
            jobs: None,
            release: None,
            allowed: Allowed::default(),
        }
    }
}

impl Request {
    fn databases_wanted(&self) -> bool {
        self.only != Some(Component::Files)
    }

    /// Who names databases wants those alone.
    fn files_wanted(&self) -> bool {
        self.only == Some(Component::Files) || (self.only.is_none() && self.databases.is_empty())
    }

    /// The manifest's databases that are asked for, with their places and the names that they are to have.
    fn chosen<'m>(&'m self, manifest: &'m Manifest) -> impl Iterator<Item = (usize, &'m Database, &'m str)> {
        let all = manifest.databases.iter().enumerate();
        all.filter_map(|(index, database)| {
            if self.databases.is_empty() {
                return Some((index, database, database.name.as_str()));
            }
            let (name, other) = self.databases.iter().find(|(name, _)| *name == database.name)?;
            Some((index, database, other.as_deref().unwrap_or(name)))
        })
    }
}

/// What a restore made.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// The bundle's name.
    pub bundle: String,
    /// The databases.
    pub databases: Vec<Restored>,
    /// Files that were put in their places.
    pub files: Vec<Placement>,
    /// Roles that were made.
    pub roles: Vec<String>,
    /// Whatever happened after this is lost.
    pub state_of: DateTime<Utc>,
    /// From the plan's beginning to this moment.
    pub seconds: f64,
    /// What did not go as it should.
    pub warnings: Vec<Finding>,
}

/// A database that was put back.
#[derive(Debug, Serialize)]
pub struct Restored {
    /// Its name.
    pub name: String,
    /// Rows in it.
    pub rows: u64,
    /// The name of what was there before.
    pub before: Option<String>,
}

/// Looks at everything that a restore needs and changes nothing.
pub async fn look(request: &Request, settings: &RestoreSettings, context: &Context) -> Preflight {
    match Journals::look(context) {
        Ok(journals) => preflight(request, settings, journals.as_ref().map(Ok), context).await,
        Err(error) => preflight(request, settings, Some(Err(error)), context).await,
    }
}

/// A restore that has been looked into and not begun. No other one runs on this machine meanwhile.
pub struct Prepared {
    journals: Journals,
    /// What was found.
    pub preflight: Preflight,
}

/// Looks at everything that a restore needs, and keeps other restores off.
///
/// # Errors
/// [`Kind::Locked`] where another one runs.
pub async fn prepare(request: &Request, settings: &RestoreSettings, context: &Context) -> Result<Prepared> {
    let journals = Journals::open(context)?;
    let preflight = preflight(request, settings, Some(Ok(&journals)), context).await;
    Ok(Prepared { journals, preflight })
}

impl Prepared {
    /// Restores.
    ///
    /// # Errors
    /// What the preflight refused, or [`Kind::Unfinished`] where a step failed: the live databases are as they were.
    pub async fn apply(self, context: &Context) -> Result<Outcome> {
        let Self { journals, preflight } = self;
        let Ready { plan, target, bundle } = preflight.ready?;
        let created = context.now();
        let work = work(plan, target, Some(bundle), context);
        let steps = steps(&work);
        let journal = journals.create(&Head::new(KIND, created, steps::names(&work.plan), work.plan.clone()))?;
        let warnings = preflight.findings.into_iter().filter(|finding| finding.severity == Severity::Warning);
        go_on(&work, &steps, journal, created, warnings.collect()).await
    }
}

/// The last restore that is not rolled back. No other one runs on this machine meanwhile.
pub struct Current {
    _journals: Journals,
    journal: Journal,
    head: Head<Plan>,
}

/// Finds the restore that is to be resumed or rolled back.
///
/// # Errors
/// [`Kind::NotFound`], [`Kind::Locked`], [`Kind::Damaged`].
pub fn current(context: &Context) -> Result<Current> {
    let journals = Journals::open(context)?;
    let (journal, head) = journals.current()?;
    Ok(Current { _journals: journals, journal, head })
}

impl Current {
    /// What it does.
    pub fn plan(&self) -> &Plan {
        &self.head.plan
    }

    /// When it began.
    pub fn created(&self) -> DateTime<Utc> {
        self.head.created
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        self.journal.progress()
    }

    /// Goes on from where it stopped, be it at the very end; `file` is where the bundle is now, if it was moved.
    ///
    /// # Errors
    /// [`Kind::Unfinished`], to be called again.
    pub async fn resume(self, file: Option<&Path>, settings: &RestoreSettings, context: &Context) -> Result<Outcome> {
        if matches!(self.progress(), Progress::Undoing | Progress::Undone) {
            let error = Error::new(Kind::Unfinished, "resume the restore: its rollback has begun");
            return Err(error.hint("end it with `restore --rollback`"));
        }
        let Head { plan, created, .. } = self.head;
        let bundle = plan.bundle.clone();
        let reopened = reopen(plan, file, settings, context).await;
        let work = reopened.map_err(|error| still_unfinished(error, format!("resume the restore of {bundle}")))?;
        go_on(&work, &steps(&work), self.journal, created, Vec::new()).await
    }

    /// Returns to what was there before.
    ///
    /// # Errors
    /// [`Kind::Unfinished`] where a step can't be taken back; to be called again.
    pub async fn rollback(mut self, settings: &RestoreSettings, context: &Context) -> Result<Plan> {
        let plan = self.head.plan.clone();
        let journal = &mut self.journal;
        let undone = async {
            let target = reach(&plan, None, settings, context).await?;
            undo(&steps(&work(plan.clone(), target, None, context)), journal, context).await
        };
        let undone = undone.await;
        undone.map_err(|error| still_unfinished(error, format!("roll back the restore of {}", plan.bundle)))?;
        // A journal that never began has nothing to undo and would stay unfinished for ever.
        if self.journal.progress() == Progress::Waiting {
            self.journal.remove()?;
        }
        Ok(plan)
    }
}

/// What earlier restores have left: databases and files that stepped aside.
///
/// # Errors
/// [`Kind::Unfinished`] where a restore is; [`Kind::Locked`], [`Kind::Damaged`].
pub fn leftovers(context: &Context) -> Result<Leftovers> {
    let journals = Journals::open(context)?;
    if let Some(head) = journals.unfinished()? {
        let error = Error::new(Kind::Unfinished, format!("clean up: a restore of {} is unfinished", head.plan.bundle));
        return Err(error.hint("end it first, with `restore --resume` or `restore --rollback`"));
    }
    let restores = journals.all()?;
    Ok(Leftovers { _journals: journals, restores })
}

/// Restores that are complete or rolled back.
pub struct Leftovers {
    _journals: Journals,
    restores: Vec<(Journal, Head<Plan>)>,
}

impl Leftovers {
    /// Names of the databases, and paths of the files, that stepped aside.
    pub fn names(&self) -> Vec<String> {
        let applied = self.restores.iter().filter(|(journal, _)| journal.progress() == Progress::Applied);
        applied.flat_map(|(_, head)| head.plan.stepping_aside().into_iter().map(|(_, before)| before)).collect()
    }

    /// Drops them and forgets the restores; there is no way back afterwards.
    ///
    /// # Errors
    /// The first failure; to be called again.
    pub async fn drop_all(self, settings: &RestoreSettings, context: &Context) -> Result<()> {
        for (journal, head) in self.restores {
            if journal.progress() == Progress::Applied {
                if let Some(target) = reach(&head.plan, None, settings, context).await? {
                    for before in head.plan.databases.iter().filter_map(|planned| planned.names.before.as_ref()) {
                        context.phase(format!("drop database {before}"));
                        context.until_cancelled(postgres::drop_database(&target, before)).await?;
                    }
                }
                head.plan.files.iter().try_for_each(Placement::clean_up)?;
            }
            journal.remove()?;
        }
        Ok(())
    }
}

fn work(plan: Plan, target: Option<Target>, bundle: Option<Arc<Bundle<File>>>, context: &Context) -> Arc<Work> {
    let meter = Arc::new(Meter::default());
    let entries = bundle.iter().flat_map(|bundle| &bundle.manifest().entries);
    let planned = |index| plan.databases.iter().any(|planned| planned.index == index);
    let rows = entries.filter(|entry| entry.chunk.as_ref().is_some_and(|chunk| planned(chunk.database)));
    meter.total.store(rows.map(|entry| entry.size).sum(), Relaxed);
    Arc::new(Work { plan, target, bundle, meter, context: context.clone() })
}

/// An error that leaves a restore as unfinished as it was.
fn still_unfinished(error: Error, doing: String) -> Error {
    let hint = error.first_hint().map(Into::into);
    let error = Error::new(Kind::Unfinished, doing).because(error);
    error.hint(hint.unwrap_or_else(|| String::from("remove the cause, then run the same command again")))
}

/// All that is needed to go on with a plan.
async fn reopen(plan: Plan, file: Option<&Path>, settings: &RestoreSettings, context: &Context) -> Result<Arc<Work>> {
    let file = file.unwrap_or(&plan.file);
    let opened = store::open_file(file).and_then(Bundle::open);
    let bundle = opened.context(|| format!("open the bundle {}", file.display())).map_err(|error| {
        error.hint("put the bundle back, name it with --file, or return to what was there with --rollback")
    })?;
    if bundle.footer().manifest_digest != plan.manifest_sha256.0 {
        let error = Error::new(Kind::Refused, format!("{} is another bundle than {}", file.display(), plan.bundle));
        return Err(error.hint("name the right one with --file"));
    }
    let written_by = bundle.manifest().source.postgres.as_ref().map(|server| server.pg_dump.as_str());
    let target = reach(&plan, written_by, settings, context).await?;
    Ok(work(plan, target, Some(Arc::new(bundle)), context))
}

/// The server that a plan was made for, where it has databases.
async fn reach(
    plan: &Plan,
    written_by: Option<&str>,
    settings: &RestoreSettings,
    context: &Context,
) -> Result<Option<Target>> {
    let Some(server) = &plan.server else { return Ok(None) };
    let parameters = Parameters::resolve(settings.connection.expose(), &context.environment)?;
    let taken = plan.databases.iter().any(|planned| planned.names.name == "postgres");
    let parameters = parameters.with_database(if taken { "template1" } else { "postgres" });
    let (connection, parameters) = connect_first(&parameters).await?;
    let facts = postgres::server(&connection).await?;
    let written_by = written_by.and_then(|version| version.split('.').next()?.parse().ok()).unwrap_or(0);
    let major = facts.major().max(written_by);
    let tools = postgres::find_tools(settings.bin_dir.as_deref(), &context.environment, major).await?;
    let target = Target { parameters, tools, jobs: plan.jobs };
    if target.identifier().await? != *server {
        let place = target.parameters.place();
        let error =
            Error::new(Kind::Refused, format!("{place} is another server than the one that the restore began on"));
        return Err(error.hint("connect to that one, as for the restore itself: PGHOST, PGPORT or --config"));
    }
    Ok(Some(target))
}

async fn go_on(
    work: &Arc<Work>,
    steps: &[Box<dyn Step>],
    mut journal: Journal,
    created: DateTime<Utc>,
    mut warnings: Vec<Finding>,
) -> Result<Outcome> {
    let context = &work.context;
    let ticker = Ticker::start(work.meter.clone(), context.clone());
    let applied = apply(steps, &mut journal, context).await;
    drop(ticker);
    applied.map_err(|error| {
        // Some can't be resumed from, and say so.
        let hint = error.first_hint().map(Into::into);
        let hint = hint.unwrap_or_else(|| String::from("`restore --resume` goes on from there"));
        Error::new(Kind::Unfinished, "the restore stopped half way; the live databases are as they were")
            .because(error)
            .hint(hint)
    })?;
    let Some(bundle) = &work.bundle else { return Err(Error::new(Kind::Failed, "the bundle is not open")) };
    let manifest = bundle.manifest();
    let (mut databases, told) = (Vec::new(), warnings.len());
    for planned in &work.plan.databases {
        let (database, names) = (&manifest.databases[planned.index], &planned.names);
        match work.target()?.confirm(&names.name, database).await {
            Ok(found) => warnings.extend(found),
            Err(error) => warnings.push(as_warning("not-confirmed", &names.name, &error)),
        }
        databases.push(Restored { name: names.name.clone(), rows: database.rows(), before: names.before.clone() });
    }
    match cluster::look_again(bundle, &work.plan, context).await {
        Ok(found) => warnings.extend(found),
        Err(error) => warnings.push(as_warning("hosts-not-looked-at", "hosts", &error)),
    }
    tell(&warnings[told..], context);
    let state_of = manifest.databases.iter().map(|database| database.snapshot.time).min();
    Ok(Outcome {
        bundle: work.plan.bundle.clone(),
        databases,
        files: work.plan.files.clone(),
        roles: work.plan.roles.clone(),
        state_of: state_of.unwrap_or(manifest.created),
        seconds: journal.latest().signed_duration_since(created).as_seconds_f64(),
        warnings,
    })
}

/// What could not be seen after the work was done does not undo it.
fn as_warning(code: &str, subject: &str, error: &Error) -> Finding {
    Finding { severity: Severity::Warning, ..Finding::from_error(code, subject, error) }
}
