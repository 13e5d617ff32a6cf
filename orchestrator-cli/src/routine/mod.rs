//! Jobs that run by themselves: under a supervisor that outlives them, by systemd's timers, cron, or a loop of its own.

mod crontab;
mod round;
mod supervise;
mod units;

pub(crate) use crontab::{CRONTAB, crontab};
pub(crate) use round::{forever, once};
pub(crate) use supervise::{is_ours, supervise, write_metrics};
pub(crate) use units::units;

use std::path::{Path, PathBuf};

use backup_core::runs::Job;
use backup_core::settings::Settings;
use backup_core::store::Address;

/// What begins every file that `schedule install` writes; it overwrites and removes no other.
pub(crate) const MARK: &str = "# Written by `orchestrator-cli schedule install`; `schedule remove` removes it.";

/// Where systemd looks for the units of this machine's administrator.
pub(crate) const UNITS: &str = "/etc/systemd/system";
/// Where it looks for those of packages.
const UNITS_OF_PACKAGES: &str = "/usr/lib/systemd/system";

/// How a job is begun.
pub(crate) struct Begun<'b> {
    /// This program.
    pub(crate) program: &'b Path,
    /// The settings.
    pub(crate) config: &'b Path,
    /// Who it runs as.
    pub(crate) user: &'b str,
}

/// Directories that jobs write to.
pub(crate) fn written(settings: &Settings) -> Vec<&Path> {
    let stores = settings.stores.iter().filter_map(|store| match &store.address {
        Address::Directory(path) => Some(path.as_path()),
        _ => None,
    });
    let metrics = settings.notify.metrics.as_deref().and_then(Path::parent);
    let mut paths: Vec<&Path> =
        stores.chain([settings.component_databases.directory.as_path()]).chain(metrics).collect();
    paths.sort_unstable();
    paths.dedup();
    paths
}

/// What runs the jobs on this machine: timers of its administrator or of a package, or cron.
pub(crate) fn installed() -> Vec<PathBuf> {
    let timers = Job::ALL.iter().flat_map(|job| {
        let timer = format!("orchestrator-cli-{}.timer", job.name());
        [UNITS, UNITS_OF_PACKAGES].map(|place| Path::new(place).join(&timer))
    });
    timers.chain([PathBuf::from(CRONTAB)]).filter(|path| path.exists()).collect()
}
