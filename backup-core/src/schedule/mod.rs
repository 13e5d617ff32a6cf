//! When jobs run: calendar and cron expressions, and what is due.

mod calendar;
mod due;

use std::time::Duration;

pub use calendar::Calendar;
use chrono::{DateTime, Local, Utc};
use due::missed;
pub use due::{Due, due};
use serde::{Deserialize, Serialize};

/// What is done again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Job {
    /// A backup of the orchestrator.
    Backup,
    /// A backup of components' databases.
    Databases,
    /// A drill.
    Drill,
}

impl Job {
    /// Every job.
    pub const ALL: [Self; 3] = [Self::Backup, Self::Databases, Self::Drill];

    /// Its name in settings, units and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Databases => "databases",
            Self::Drill => "drill",
        }
    }
}

/// When each job runs.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The jobs that run by themselves, each with its time.
    pub jobs: Vec<(Job, Calendar)>,
    /// A run begins so much later, at most, so that many machines don't all begin at once.
    pub random_delay: Duration,
    /// A run that takes longer is ended.
    pub limit: Duration,
}

/// How late a run may be beside its random delay.
const GRACE: Duration = Duration::from_secs(15 * 60);

impl Schedule {
    /// The times of a job between its last run and now that nothing ran at, on this machine's clock; none of one that does not run by
    /// itself.
    pub fn missed(&self, job: Job, last: DateTime<Utc>, now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        let grace = self.random_delay + GRACE;
        self.of(job).map_or_else(Vec::new, |calendar| missed(calendar, last, grace, now, &Local))
    }

    /// When a job runs, if it does by itself.
    pub fn of(&self, job: Job) -> Option<&Calendar> {
        self.jobs.iter().find(|(other, _)| *other == job).map(|(_, calendar)| calendar)
    }
}
