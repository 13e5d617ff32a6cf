//! A restore from beginning to end: preflight, build beside what is live, swap, confirm; and the ways back.

mod cluster;
mod current;
mod databases;
mod drill;
mod files;
mod format_1;
mod journals;
mod leftovers;
mod moment;
mod ownership;
mod plan;
mod preflight;
mod release;
mod request;
mod roles;
mod settings;
mod source;
mod stays;
mod steps;
mod swap;
mod whose;

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::sync::OnceCell;

pub use current::{Current, Moved, WayBack, current, unfinished};
pub use drill::drill;
pub use journals::needed;
pub use leftovers::{Gone, Leftovers, gone, leftovers};
pub use ownership::Shown;
pub use plan::{Plan, Planned};
pub use preflight::Preflight;
pub use request::{Component, Request};
pub use settings::{Assertion, ReleaseRule, Settings};
pub use swap::Swap;

use crate::component::files::Placement;
use crate::component::postgres::connection::connect_first;
use crate::component::postgres::{self, Target};
use crate::event::{Meter, Ticker};
use crate::finding::{Finding, Severity};
use crate::plan::{Head, Journal, Status, Step, apply};
use crate::{Cause, Context, Error, Kind, Result};
use databases::administrative;
use journals::Journals;
use preflight::{Ready, preflight};
use source::Source;
use steps::{Work, steps};

/// The kind of plan, as its journal names it.
const KIND: &str = "restore";

/// What a restore made.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// The bundle's name, or the script's.
    pub bundle: String,
    /// The argument of `restore --rollback` that names this restore.
    #[serde(skip)]
    pub argument: String,
    /// The databases.
    pub databases: Vec<Restored>,
    /// Whether it is of another cluster than this machine was of, as far as that is known.
    #[serde(skip)]
    pub foreign: bool,
    /// Files that were put in their places.
    pub files: Vec<Placement>,
    /// Roles that were made.
    pub roles: Vec<String>,
    /// Whatever happened after this is lost; none where nothing says what time it is the state of.
    pub state_of: Option<DateTime<Utc>>,
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
    /// Rows in it, if they were counted.
    pub rows: Option<u64>,
    /// The name of what was there before.
    pub before: Option<String>,
}

/// Looks at everything that a restore needs and changes nothing.
pub async fn look(request: &Request, settings: &Settings, context: &Context) -> Preflight {
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
pub async fn prepare(request: &Request, settings: &Settings, context: &Context) -> Result<Prepared> {
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
        let Ready { plan, target, source } = preflight.ready?;
        let created = context.now();
        let work = work(plan, target, Some(source), context);
        let steps = steps(&work);
        let warnings = preflight.findings.into_iter().filter(|finding| finding.severity == Severity::Warning);
        let head = Head::new(KIND, created, work.plan.clone()).with_found(warnings.collect());
        go_on(&work, &steps, journals.create(&head)?, created).await
    }
}

fn work(plan: Plan, target: Option<Target>, source: Option<Source>, context: &Context) -> Arc<Work> {
    let meter = Arc::new(Meter::default());
    let planned = |index| plan.databases.iter().any(|planned| planned.index == index);
    let total = match &source {
        None => 0,
        Some(Source::Bundle(bundle)) => {
            let entries = bundle.manifest().entries.iter();
            let rows = entries.filter(|entry| entry.chunk.as_ref().is_some_and(|chunk| planned(chunk.database)));
            rows.map(|entry| entry.size).sum::<u64>() * 2
        }
        Some(Source::Pair(_)) if plan.databases.is_empty() => 0,
        Some(Source::Pair(pair)) => pair.script.size / 2 * 3,
    };
    meter.total.store(total, Relaxed);
    let target = target.map(|target| target.called(&plan.sessions()));
    let building = plan.databases.iter().map(|_| OnceCell::new()).collect();
    Arc::new(Work { plan, target, building, source, meter, found: Mutex::default(), context: context.clone() })
}

/// The server that a plan was made for, where it has databases; `written_by` is the major version that programs must
/// have to read the bundle's schema.
async fn reach(plan: &Plan, written_by: u32, settings: &Settings, context: &Context) -> Result<Option<Target>> {
    let Some(server) = &plan.server else { return Ok(None) };
    let parameters = settings.connection.parameters(&context.environment)?;
    let restored = plan.databases.iter().map(|planned| planned.names.name.as_str());
    let (connection, parameters) = connect_first(&parameters, administrative(restored)).await?;
    let facts = postgres::server(&connection).await?;
    let major = facts.major().max(written_by);
    let tools = postgres::find_tools(settings.bin_dir.as_deref(), &context.environment, major).await?;
    let target = Target { parameters, tools, jobs: plan.jobs };
    if target.identifier().await? != *server {
        let place = target.parameters.place();
        let error =
            Error::new(Kind::Refused, format!("{place} is another server than the one that the restore began on"));
        return Err(error.hint(
            "connect to that one, as for the restore itself: PGHOST, PGPORT or --config; if it is gone for good, \
             `restore cleanup --forget` forgets the restore",
        ));
    }
    Ok(Some(target))
}

async fn go_on(
    work: &Arc<Work>,
    steps: &[Box<dyn Step>],
    mut journal: Journal,
    created: DateTime<Utc>,
) -> Result<Outcome> {
    let context = &work.context;
    let ticker = Ticker::start(work.meter.clone(), context.observer.clone());
    let applied = apply(steps, &mut journal, context).await;
    drop(ticker);
    applied.map_err(|error| {
        // Some can't be resumed from, and say so.
        let hint = error.first_hint().map(Into::into);
        let full =
            error.came_of(Cause::DiskFull).then(|| String::from("make room first, then `restore --resume` goes on from there"));
        let hint = full.or(hint).unwrap_or_else(|| match error.is_lasting() {
            true => format!(
                "it will fail again: `restore --rollback {}` returns to what was there; mend what stands above, then restore anew",
                work.plan.argument()
            ),
            false => "`restore --resume` goes on from there".into(),
        });
        let live = match journal.status(&steps::swap_id()) {
            Some(Status::Applied) => "the databases have been swapped already",
            Some(Status::Applying) => "whether the databases have been swapped shows when it goes on",
            None if !work.plan.databases.is_empty() => "whether the databases have been swapped is not known",
            _ => "the live databases are as they were",
        };
        Error::new(Kind::Unfinished, format!("the restore stopped half way; {live}")).because(error).hint(hint)
    })?;
    let mut warnings = journal.found().to_vec();
    let source = work.source()?;
    let manifest = source.manifest();
    let mut databases = Vec::new();
    for planned in &work.plan.databases {
        let (database, names) = (&manifest.databases[planned.index], &planned.names);
        // What a script does not say can't be confirmed.
        if let Source::Bundle(_) = source {
            match work.target()?.confirm(&names.name, database).await {
                Ok(found) => warnings.extend(found),
                Err(error) => warnings.push(Finding::warning_from_error("not-confirmed", &names.name, &error)),
            }
        }
        let left_out = postgres::left_out(journal.found(), &names.name);
        databases.push(Restored {
            name: names.name.clone(),
            rows: source.is_counted().then(|| database.rows().saturating_sub(left_out)),
            before: names.before.clone(),
        });
    }
    match cluster::look_again(source, &work.plan, context).await {
        Ok(found) => warnings.extend(found),
        Err(error) => warnings.push(Finding::warning_from_error("hosts-not-looked-at", "hosts", &error)),
    }
    if let Err(error) = cluster::remember(&work.plan, context) {
        warnings.push(Finding::warning_from_error("hosts-not-kept", "hosts", &error));
    }
    if let Err(error) = journals::note_end(&journal) {
        warnings.push(Finding::warning_from_error("end-not-noted", "restore", &error));
    }
    Ok(Outcome {
        bundle: work.plan.bundle.clone(),
        argument: work.plan.argument(),
        foreign: work.plan.foreign,
        databases,
        files: work.plan.files.clone(),
        roles: work.plan.roles.clone(),
        state_of: source.state_of(),
        seconds: journal.latest().signed_duration_since(created).as_seconds_f64(),
        warnings,
    })
}
