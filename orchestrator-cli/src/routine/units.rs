//! Units of systemd: a service and a timer for each job.

use std::fmt::Write;

use backup_core::runs::Job;
use backup_core::schedule::{Calendar, Schedule};
use backup_core::settings::Settings;

use super::{Begun, MARK, written};

/// A unit: the name of its file, and what is in it.
pub(crate) struct Unit {
    pub(crate) name: String,
    pub(crate) content: String,
}

/// What a job may do, and no more: it reads all that its user may read, writes its own directories, talks to PostgreSQL, stores and hosts,
/// and sends pings, for which it has the one capability. `RemoveIPC=` must not be here: as the user postgres it would take the live server's
/// shared memory away.
const HARDENING: &str = "\
AmbientCapabilities=CAP_NET_RAW
CapabilityBoundingSet=CAP_NET_RAW
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
PrivateMounts=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
UMask=0077
";

/// The units of every job that has a time.
pub(crate) fn units(schedule: &Schedule, settings: &Settings, begun: &Begun<'_>) -> Vec<Unit> {
    let of = |(job, calendar): &(Job, Calendar)| {
        let name = format!("orchestrator-cli-{}", job.name());
        [
            Unit { name: format!("{name}.service"), content: service(*job, schedule, settings, begun) },
            Unit { name: format!("{name}.timer"), content: timer(*job, calendar, schedule) },
        ]
    };
    schedule.jobs.iter().flat_map(of).collect()
}

fn what(job: Job) -> &'static str {
    match job {
        Job::Backup => "Backup of the orchestrator",
        Job::Databases => "Backup of the components' databases",
        Job::Drill => "Drill of the newest bundles",
    }
}

fn service(job: Job, schedule: &Schedule, settings: &Settings, begun: &Begun<'_>) -> String {
    let mut text = format!("{MARK}\n[Unit]\nDescription={}\nDocumentation=man:orchestrator-cli(1)\n", what(job));
    text.push_str("Wants=network-online.target\nAfter=network-online.target postgresql.service\n");
    let word = |path: &std::path::Path| quoted(&path.display().to_string());
    let _ = writeln!(text, "ConditionPathExists={}\n\n[Service]\nType=oneshot", word(begun.config));
    let _ = writeln!(
        text,
        "ExecStart={} schedule run {} --by-timer --config {}",
        word(begun.program),
        job.name(),
        word(begun.config)
    );
    let _ = writeln!(text, "User={}", begun.user);
    // The supervisor ends what takes too long, and says so; this is for the supervisor itself.
    let _ = writeln!(text, "TimeoutStartSec={}", schedule.limit.as_secs() + 600);
    text.push_str("StateDirectory=orchestrator-cli\nStateDirectoryMode=0755\nCacheDirectory=orchestrator-cli\n");
    text.push_str("Environment=XDG_CACHE_HOME=/var/cache/orchestrator-cli\nNice=10\nIOSchedulingClass=best-effort\nIOSchedulingPriority=7\n");
    text.push_str(HARDENING);
    // A sendmail is given its queue by a program with rights of its own.
    if settings.notify.mail.is_empty() {
        text.push_str("NoNewPrivileges=yes\nRestrictSUIDSGID=yes\n");
    } else {
        text.push_str("ReadWritePaths=-/var/spool\n");
    }
    // The throw-away PostgreSQL of a drill may compile queries.
    if job != Job::Drill {
        text.push_str("MemoryDenyWriteExecute=yes\n");
    }
    for path in written(schedule, settings) {
        let _ = writeln!(text, "ReadWritePaths=-{}", word(path));
    }
    text
}

fn timer(job: Job, calendar: &Calendar, schedule: &Schedule) -> String {
    format!(
        "{MARK}\n[Unit]\nDescription={}, when it is time\n\n[Timer]\nOnCalendar={}\nRandomizedDelaySec={}\nFixedRandomDelay=yes\n\
         AccuracySec=1min\nPersistent=yes\n\n[Install]\nWantedBy=timers.target\n",
        what(job),
        calendar.on_calendar(),
        schedule.random_delay.as_secs()
    )
}

/// A word as systemd takes it, whatever is in it.
fn quoted(text: &str) -> String {
    let text = text.replace('%', "%%").replace('$', "$$");
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:=@%$".contains(c);
    if text.chars().all(plain) { text } else { format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")) }
}
