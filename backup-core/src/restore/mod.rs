//! A restore from beginning to end: preflight, build beside what is live, swap, confirm; and the ways back.

mod cluster;
mod current;
mod drill;
mod format_1;
mod journals;
mod leftovers;
mod moment;
mod ownership;
mod parts;
mod plan;
mod preflight;
mod request;
mod settings;
mod source;
mod stays;
mod stopped;
mod swap;
mod thrown;
mod whose;
mod work;
mod written;

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};

pub use current::{Current, Moved, RolledBack, WayBack, current, unfinished};
pub use drill::drill;
pub use journals::{needed, restored};
pub use leftovers::{Gone, Leftovers, gone, leftovers};
pub use ownership::Shown;
pub use plan::{Plan, PlannedPart};
pub use preflight::Preflight;
pub use request::{Component, Request};
pub use settings::{Assertion, Settings};
pub use stopped::Stopped;
pub use swap::Swap;

use crate::component::Item;
use crate::event::Ticker;
use crate::finding::{Finding, Severity};
use crate::hooks::{Around, Hooked, Hooks, Said};
use crate::names::ComponentId;
use crate::plan::{Head, Journal, apply};
use crate::{Cause, Context, Error, Kind, Result};
use journals::Journals;
use preflight::preflight;
use work::Work;

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
    /// Whether it is of another cluster than this machine was of, as far as that is known.
    #[serde(skip)]
    pub foreign: bool,
    /// Whether the control plane has come back, and not some of it alone.
    #[serde(skip)]
    pub whole: bool,
    /// Where its `cluster.conf` came back, if it did.
    #[serde(skip)]
    pub cluster_conf: Option<PathBuf>,
    /// Each thing that came back.
    #[serde(skip)]
    pub items: Vec<Item>,
    /// What else is to be told.
    #[serde(skip)]
    pub also: Vec<String>,
    /// The same as its components say it.
    #[serde(flatten)]
    pub fields: Map<String, Value>,
    /// Whatever happened after this is lost; none where nothing says what time it is the state of.
    pub state_of: Option<DateTime<Utc>>,
    /// From the plan's beginning to this moment.
    pub seconds: f64,
    /// What did not go as it should.
    pub warnings: Vec<Finding>,
}

/// Lists of the outcome that are there also where nothing of that kind came back.
const LISTS: [&str; 3] = ["databases", "files", "roles"];

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
    hooks: Hooks,
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
    Ok(Prepared { journals, hooks: settings.hooks.clone(), preflight })
}

impl Prepared {
    /// Restores.
    ///
    /// # Errors
    /// What the preflight refused, or [`Kind::Unfinished`] where a step failed: the live databases are as they were.
    pub async fn apply(self, context: &Context) -> Result<Outcome> {
        let Self { journals, hooks, preflight } = self;
        let work = preflight.ready?;
        let created = context.now();
        let ids = work.steps().iter().map(|step| step.id().clone()).collect();
        let warnings = preflight.findings.into_iter().filter(|finding| finding.severity == Severity::Warning);
        let head = Head::new(KIND, created, work.plan.clone(), ids).with_found(warnings.collect());
        let restoring = async { go_on(&work, journals.create(&head)?, created).await };
        hooked(&hooks, restoring, context).await
    }
}

/// Restores with hooks around it, and adds what they warn of.
async fn hooked(hooks: &Hooks, work: impl Future<Output = Result<Outcome>>, context: &Context) -> Result<Outcome> {
    let said = Said::default();
    let hooked = Hooked { job: Around::Restore, said: &said, context };
    let mut outcome = hooks.around(hooked, work, |_| true).await?;
    outcome.warnings.extend(said.warnings());
    Ok(outcome)
}

async fn go_on(work: &Work, mut journal: Journal, created: DateTime<Utc>) -> Result<Outcome> {
    let (plan, context) = (&work.plan, &work.context);
    let ticker = Ticker::start(work.meter.clone(), context.observer.clone());
    let applied = apply(&work.steps(), &mut journal, context).await;
    drop(ticker);
    applied.map_err(|error| {
        // Some can't be resumed from, and say so.
        let hint = error.first_hint().map(Into::into);
        let full =
            error.came_of(Cause::DiskFull).then(|| String::from("make room first, then `restore --resume` goes on from there"));
        let hint = full.or(hint).unwrap_or_else(|| match error.is_lasting() {
            true => format!(
                "it will fail again: `restore --rollback {}` returns to what was there; mend what stands above, then restore anew",
                plan.argument()
            ),
            false => "`restore --resume` goes on from there".into(),
        });
        let live: Vec<String> = work.parts().filter_map(|part| part.live(&journal)).collect();
        let live = if live.is_empty() { "the live databases are as they were".into() } else { live.join("; ") };
        Error::new(Kind::Unfinished, format!("the restore stopped half way; {live}")).because(error).hint(hint)
    })?;
    let mut warnings = journal.found().to_vec();
    let source = work.source()?;
    let mut fields = Map::from_iter(LISTS.map(|name| (name.to_owned(), Value::Array(Vec::new()))));
    let (mut items, mut also, mut cluster_conf) = (Vec::new(), Vec::new(), None);
    for part in work.parts() {
        let brought = part.brought(&journal).await;
        items.extend(brought.items);
        also.extend(brought.also);
        cluster_conf = cluster_conf.or(brought.cluster_conf);
        for (name, value) in brought.fields {
            match (fields.entry(name).or_insert_with(|| Value::Array(Vec::new())), value) {
                (Value::Array(all), Value::Array(more)) => all.extend(more),
                (field, value) => *field = value,
            }
        }
        warnings.extend(brought.findings);
    }
    match cluster::look_again(source, plan, context).await {
        Ok(found) => warnings.extend(found),
        Err(error) => warnings.push(Finding::warning_from_error("hosts-not-looked-at", "hosts", &error)),
    }
    if let Err(error) = cluster::remember(plan, context) {
        warnings.push(Finding::warning_from_error("hosts-not-kept", "hosts", &error));
    }
    if let Err(error) = journals::note_end(&journal) {
        warnings.push(Finding::warning_from_error("end-not-noted", "restore", &error));
    }
    Ok(Outcome {
        bundle: plan.bundle.clone(),
        argument: plan.argument(),
        foreign: plan.foreign,
        // A script's cluster.conf may lie in its place already.
        whole: plan.has(ComponentId::POSTGRES) && (plan.has(ComponentId::FILES) || plan.cluster_conf.is_some()),
        cluster_conf,
        items,
        also,
        fields,
        state_of: source.state_of,
        seconds: journal.latest().signed_duration_since(created).as_seconds_f64(),
        warnings,
    })
}
