//! The fallback where there is no systemd: cron asks often whether something is due.

use backup_core::state::users;

use super::{Begun, MARK};
use crate::human::shell_word;

/// Where cron looks for it.
pub(crate) const CRONTAB: &str = "/etc/cron.d/orchestrator-cli";

/// A file for `/etc/cron.d`. What is due, late or missed is decided by `schedule run --due` alone, so that it is the same everywhere.
pub(crate) fn crontab(begun: &Begun<'_>) -> String {
    // In a crontab a percent sign is a line end.
    let word = |path| shell_word(path).replace('%', "\\%");
    format!(
        "{MARK}\nSHELL=/bin/sh\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nSTATE_DIRECTORY={}\n\
         */5 * * * * {} {} --quiet schedule run --due --config {}\n",
        users::directory(begun.user).display(),
        begun.user,
        word(begun.program),
        word(begun.config)
    )
}
