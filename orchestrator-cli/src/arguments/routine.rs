//! Arguments of what runs by itself, and of what is seen of it.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Config;

#[derive(Args)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) config: Config,
    /// List the runs, newest first
    #[arg(long, conflicts_with_all = ["html", "metrics"])]
    pub(crate) history: bool,
    /// Write an HTML page to this file. The page needs no other file
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Write Prometheus metrics to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) metrics: Option<PathBuf>,
}

#[derive(Subcommand)]
pub(crate) enum Schedule {
    /// Write and switch on a systemd timer for every job, or a crontab if there is no systemd
    #[command(after_help = "Examples:\n  \
        orchestrator-cli schedule install --user postgres\n  \
        orchestrator-cli schedule install --cron")]
    Install(Install),
    /// Show when jobs run
    #[command(after_help = "Example:\n  orchestrator-cli schedule show")]
    Show {
        #[command(flatten)]
        config: Config,
    },
    /// Make the state directory for the jobs of a user, and move that user's files there. `schedule install` does this too
    #[command(after_help = "Example:\n  orchestrator-cli schedule prepare --user postgres")]
    Prepare {
        /// User that the jobs run as
        #[arg(long, value_name = "USER", default_value = "orchestrator-cli", value_parser = user)]
        user: String,
    },
    /// Remove what `schedule install` wrote
    #[command(after_help = "Example:\n  orchestrator-cli schedule remove")]
    Remove {
        /// Directory with the timers or the crontab [default: the directories of systemd and cron]
        #[arg(long, value_name = "DIR")]
        directory: Option<PathBuf>,
    },
    /// Run a job now, as a timer does. Without a job: stay in the foreground, and run all jobs when they are due
    #[command(after_help = "Examples:\n  \
        orchestrator-cli schedule run backup\n  \
        orchestrator-cli schedule run")]
    Run(RunJob),
}

#[derive(Args)]
pub(crate) struct Install {
    #[command(flatten)]
    pub(crate) config: Config,
    /// User that the jobs run as
    #[arg(long, value_name = "USER", default_value = "orchestrator-cli", value_parser = user)]
    pub(crate) user: String,
    /// Write a crontab although there is systemd
    #[arg(long)]
    pub(crate) cron: bool,
    /// Write to this directory, and switch nothing on [default: the directories of systemd and cron]
    #[arg(long, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct RunJob {
    /// Job to run [default: all jobs, when they are due]
    pub(crate) job: Option<Job>,
    #[command(flatten)]
    pub(crate) config: Config,
    /// Run the jobs that are due now, then end, as cron does
    #[arg(long, conflicts_with = "job")]
    pub(crate) due: bool,
    /// Count this run as one of a timer, such as a Kubernetes CronJob. `status` then expects the next one. Leave this out by hand
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
