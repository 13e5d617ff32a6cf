//! "Are we safe?": what is there, what ran, what comes next, and what of it is not as it should be.

mod gather;
mod judge;

use chrono::{DateTime, Utc};
use serde::Serialize;

pub use gather::look;
pub use judge::{Limits, judge};

use crate::databases;
use crate::finding::Finding;
use crate::names::Series;
use crate::runs::Run;
use crate::schedule::Job;
use crate::schedule::Schedule;
use crate::signing::Origin;

/// All that the settings tell.
#[derive(Debug, Clone, Copy)]
pub struct Told<'t> {
    /// As backups are told, of components' databases too.
    pub databases: databases::Told<'t>,
    /// When jobs run by themselves, if it is said.
    pub schedule: Option<&'t Schedule>,
    /// What is still well.
    pub limits: &'t Limits,
}

/// Everything at one moment.
#[derive(Debug, Serialize)]
pub struct Status {
    /// The moment.
    pub time: DateTime<Utc>,
    /// This machine.
    pub host: String,
    /// The cluster; empty where it has no name.
    pub cluster: String,
    /// Why nothing can be kept in the state directory, where nothing can.
    pub state: Option<String>,
    /// Why the journal of runs can't be read, where it can't.
    pub runs_unseen: Option<String>,
    /// Every series in every store that should have it, or has it.
    pub series: Vec<InStore>,
    /// The stores.
    pub stores: Vec<StoreState>,
    /// The jobs that run by themselves, or have run.
    pub jobs: Vec<JobState>,
    /// What is unfinished, in words.
    pub unfinished: Option<String>,
    /// What a backup that was killed has left stopped, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_held: Option<String>,
    /// What is not as it should be; nothing where all is well.
    pub findings: Vec<Finding>,
}

impl Status {
    /// Whether the store of a series can't be looked at, so that nothing is known of it.
    pub fn is_unseen(&self, series: &InStore) -> bool {
        self.stores.iter().any(|store| store.store == series.store && store.problem.is_some())
    }
}

/// A series in a store.
#[derive(Debug, Clone, Serialize)]
pub struct InStore {
    /// The series.
    #[serde(flatten)]
    pub series: Series,
    /// The store.
    pub store: String,
    /// Whether it should have a new bundle again and again.
    pub expected: bool,
    /// Whether it lies where it can't be looked at from here, and only runs tell of it.
    pub elsewhere: bool,
    /// Whether what is there outlives the machine that it is of.
    pub outlives: bool,
    /// The good bundles that are known, oldest first.
    pub bundles: Vec<Good>,
    /// Those that open, and that nothing here knows: they count for nothing.
    pub unknown: Vec<Good>,
    /// Bundles that can't be opened.
    pub bad: usize,
    /// The newest of them.
    pub bad_file: Option<String>,
    /// The last drill of one of them, of this machine or signed.
    pub drill: Option<LastDrill>,
}

impl InStore {
    /// How many bundles there are, for people.
    pub fn counted(&self) -> String {
        match (self.bundles.len(), self.unknown.len()) {
            (known, 0) => known.to_string(),
            (known, unknown) => format!("{known}, {unknown} unknown"),
        }
    }
}

/// A bundle that opened.
#[derive(Debug, Clone, Serialize)]
pub struct Good {
    /// Its file's name.
    pub file: String,
    /// When it was begun.
    pub created: DateTime<Utc>,
    /// Its length in bytes.
    pub length: u64,
    /// Who made it, as far as can be told here.
    #[serde(flatten)]
    pub origin: Origin,
}

/// A drill.
#[derive(Debug, Clone, Serialize)]
pub struct LastDrill {
    /// The bundle's file.
    pub file: String,
    /// When it was.
    pub time: DateTime<Utc>,
    /// The time to service, in seconds.
    pub seconds: f64,
    /// Whether the bundle was proved.
    pub passed: bool,
}

/// A store.
#[derive(Debug, Clone, Serialize)]
pub struct StoreState {
    /// Where it is.
    pub store: String,
    /// Why it can't be looked at, where it can't.
    pub problem: Option<String>,
    /// Bytes that are free there, where that can be seen.
    pub free: Option<u64>,
    /// Why records of drills in it say nothing.
    pub records: Vec<String>,
    /// Bytes that came in each of the last days, on average.
    pub daily: u64,
}

impl StoreState {
    /// Days until it is full, if nothing is deleted.
    pub fn days_left(&self) -> Option<u64> {
        self.free?.checked_div(self.daily)
    }
}

/// A job.
#[derive(Debug, Clone, Serialize)]
pub struct JobState {
    /// The job.
    pub job: Job,
    /// When it runs, as the settings say it.
    pub schedule: Option<String>,
    /// Whether something begins it by the clock: a timer or crontab of this machine, or one elsewhere or a loop, which did so in time.
    pub begun: bool,
    /// Its next time.
    pub next: Option<DateTime<Utc>>,
    /// Times since its last run at which nothing ran.
    pub missed: usize,
    /// Its last run.
    pub last: Option<Run>,
    /// Its last run that did not do its work.
    pub last_failure: Option<Run>,
}
