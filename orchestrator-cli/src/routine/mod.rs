//! Jobs that run by themselves: under a supervisor that outlives them, by systemd's timers, cron, or a loop of its own.

mod crontab;
mod round;
mod supervise;
mod units;

pub(crate) use crontab::{CRONTAB, crontab};
pub(crate) use round::{forever, once};
pub(crate) use supervise::{Call, is_ours, supervise, write_metrics};
pub(crate) use units::{Unit, units};

use std::path::{Path, PathBuf};

use backup_core::schedule::Job;
use backup_core::schedule::Schedule;
use backup_core::settings::Settings;
use backup_core::store::Address;

/// What begins every file that `schedule install` writes; it overwrites and removes no other.
pub(crate) const MARK: &str = "# Written by `orchestrator-cli schedule install`; `schedule remove` removes it.";

/// Where systemd looks for the units of this machine's administrator.
pub(crate) const UNITS: &str = "/etc/systemd/system";
/// It is there where systemd runs.
pub(crate) const SYSTEMD: &str = "/run/systemd/system";

/// How a job is begun.
pub(crate) struct Begun<'b> {
    /// This program.
    pub(crate) program: &'b Path,
    /// The settings.
    pub(crate) config: &'b Path,
    /// Who it runs as.
    pub(crate) user: &'b str,
}

/// Directories that the jobs of a schedule write to.
pub(crate) fn written<'s>(schedule: &Schedule, settings: &'s Settings) -> Vec<&'s Path> {
    let stores = settings.backup.stores.iter().filter_map(|store| match &store.address {
        Address::Directory(path) => Some(path.as_path()),
        _ => None,
    });
    let metrics = settings.notify.metrics.as_deref().and_then(Path::parent);
    let databases = schedule.of(Job::Databases).map(|_| settings.databases.directory.as_path());
    let mut paths: Vec<&Path> = stores.chain(databases).chain(metrics).collect();
    paths.sort_unstable();
    paths.dedup();
    paths
}

/// What runs the jobs on this machine: timers that are switched on, of its administrator or of a package, or cron.
pub(crate) fn installed() -> Vec<PathBuf> {
    let timers = Job::ALL.into_iter().filter_map(timer);
    timers.chain(crontab_of_machine()).collect()
}

/// The jobs that something begins on this machine.
pub(crate) fn begun() -> Vec<Job> {
    let all = crontab_of_machine().is_some();
    Job::ALL.into_iter().filter(|job| all || timer(*job).is_some()).collect()
}

fn crontab_of_machine() -> Option<PathBuf> {
    Some(PathBuf::from(CRONTAB)).filter(|path| path.exists())
}

/// The timer of a job, where it is switched on.
fn timer(job: Job) -> Option<PathBuf> {
    let (units, name) = (Path::new(UNITS), format!("orchestrator-cli-{}.timer", job.name()));
    let is_masked = units.join(&name).canonicalize().is_ok_and(|there| there == Path::new("/dev/null"));
    let unit = units.join("timers.target.wants").join(name).canonicalize().ok()?;
    (!is_masked && Path::new(SYSTEMD).exists()).then_some(unit)
}
