//! Arguments of what runs by itself, and of what is seen of it.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Config;

#[derive(Args)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) config: Config,
    /// List the runs instead, newest first
    #[arg(long, conflicts_with_all = ["html", "metrics"])]
    pub(crate) history: bool,
    /// Write a page that needs nothing else
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Write Prometheus metrics
    #[arg(long, value_name = "FILE")]
    pub(crate) metrics: Option<PathBuf>,
}

#[derive(Subcommand)]
pub(crate) enum Schedule {
    /// Write a service and a timer of systemd for every job, or a crontab where there is no systemd, and switch them on
    Install(Install),
    /// Show when jobs run
    Show {
        #[command(flatten)]
        config: Config,
    },
    /// Make the directory of the state of a user's jobs, and move there what that user owns in root's; `schedule install` does it, too
    Prepare {
        /// Who jobs run as
        #[arg(long, value_name = "USER", default_value = "orchestrator-cli", value_parser = user)]
        user: String,
    },
    /// Remove what `schedule install` has written
    Remove {
        /// Where it was written [default: systemd's and cron's own directories]
        #[arg(long, value_name = "DIR")]
        directory: Option<PathBuf>,
    },
    /// Run a job now, as a timer does; without one, run all of them when they are due, in the foreground
    Run(RunJob),
}

#[derive(Args)]
pub(crate) struct Install {
    #[command(flatten)]
    pub(crate) config: Config,
    /// Who jobs run as
    #[arg(long, value_name = "USER", default_value = "orchestrator-cli", value_parser = user)]
    pub(crate) user: String,
    /// Write a crontab though there is systemd
    #[arg(long)]
    pub(crate) cron: bool,
    /// Write there, and switch nothing on [default: systemd's and cron's own directories]
    #[arg(long, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct RunJob {
    /// The job [default: all, when they are due]
    pub(crate) job: Option<Job>,
    #[command(flatten)]
    pub(crate) config: Config,
    /// Run what is due now and end, as cron does it
    #[arg(long, conflicts_with = "job")]
    pub(crate) due: bool,
    /// For a timer that begins the job again and again, as a CronJob does: `status` counts on it. A run by hand is none of these
    #[arg(long, requires = "job")]
    pub(crate) by_timer: bool,
}

/// A job.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum Job {
    /// A backup of the orchestrator
    Backup,
    /// A backup of the components' databases
    Databases,
    /// A drill of the newest bundles
    Drill,
}

impl From<Job> for backup_core::schedule::Job {
    fn from(job: Job) -> Self {
        match job {
            Job::Backup => Self::Backup,
            Job::Databases => Self::Databases,
            Job::Drill => Self::Drill,
        }
    }
}

/// A user's name, which goes into units and crontabs.
fn user(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    match !text.is_empty() && !text.starts_with('-') && text.chars().all(plain) {
        true => Ok(text.into()),
        false => Err("no name of a user".into()),
    }
}
