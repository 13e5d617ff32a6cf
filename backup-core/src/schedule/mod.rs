//! When jobs run: calendar and cron expressions, and what is due.

mod calendar;
mod due;

use std::time::Duration;

pub use calendar::Calendar;
pub use due::{Due, due, missed};

use crate::runs::Job;

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

impl Schedule {
    /// When a job runs, if it does by itself.
    pub fn of(&self, job: Job) -> Option<&Calendar> {
        self.jobs.iter().find(|(other, _)| *other == job).map(|(_, calendar)| calendar)
    }
}
