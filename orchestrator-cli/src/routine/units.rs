//! Units of systemd: a service and a timer for each job.

use std::fmt::Write;
use std::time::Duration;

use backup_core::schedule::Job;
use backup_core::schedule::{Calendar, Schedule};
use backup_core::settings::Settings;
use backup_core::state::MACHINE;

use super::supervise::{FAREWELL, around};
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

const ROOT: &str = "root";

/// What a job may do beyond what its user may: pings, but for root's drills. Root, who runs jobs that capture other people's files,
/// reads those, and no more; a drill puts its server behind walls, as a user of its own, and ends it.
fn capabilities(job: Job, user: &str) -> &'static str {
    match (user, job) {
        (ROOT, Job::Drill) => concat!(
            "CAP_DAC_OVERRIDE CAP_CHOWN CAP_FOWNER CAP_KILL CAP_SETGID CAP_SETUID CAP_SETPCAP ",
            "CAP_SYS_ADMIN CAP_SYS_CHROOT"
        ),
        (ROOT, _) => "CAP_NET_RAW CAP_DAC_READ_SEARCH",
        _ => "CAP_NET_RAW",
    }
}

/// Where a job keeps its state and its cache. Of another user than root both are below directories of root, and that user's alone: systemd
/// gives a directory with all in it to the unit's user, so that two users must not have the same.
fn directories(user: &str) -> String {
    let cache = format!(
        "CacheDirectory=orchestrator-cli-{user}\nCacheDirectoryMode=0700\nEnvironment=XDG_CACHE_HOME=/var/cache/orchestrator-cli-{user}\n"
    );
    if user == ROOT {
        return format!("ReadWritePaths=-{MACHINE}\n{cache}");
    }
    format!("StateDirectory=orchestrator-cli/users/{user}\nStateDirectoryMode=0700\n{cache}")
}

/// What is otherwise for a drill, whose throw-away PostgreSQL is kept in namespaces: those, and mounts in them. A drill asks no host of the
/// cluster and so needs no list of this machine's addresses.
const OF_DRILLS: [(&str, &str); 3] = [
    (" AF_NETLINK", ""),
    ("RestrictNamespaces=yes\n", "RestrictNamespaces=mnt net pid ipc\n"),
    ("SystemCallErrorNumber=", "SystemCallFilter=@mount capset\nSystemCallErrorNumber="),
];
/// What is besides where the user is not root, and makes user namespaces first: a /proc that nothing is mounted over, for in these the
/// kernel lets nobody see more of it than he does.
const OF_USERS_DRILLS: [(&str, &str); 3] = [
    ("RestrictNamespaces=", "RestrictNamespaces=user "),
    ("ProtectKernelTunables=yes\n", ""),
    ("ProtectKernelLogs=yes\n", ""),
];

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
    // The supervisor alone is told to stop, and tells its run, which has its last hooks to run.
    let hooks = around(job).map_or(Duration::ZERO, |job| settings.backup.hooks.longest_end(job));
    let _ = writeln!(text, "KillMode=mixed\nTimeoutStopSec={}", (FAREWELL + hooks).as_secs() + 30);
    text.push_str(&directories(begun.user));
    text.push_str("Nice=10\nIOSchedulingClass=best-effort\nIOSchedulingPriority=7\n");
    let capabilities = capabilities(job, begun.user);
    let _ = writeln!(text, "CapabilityBoundingSet={capabilities}");
    // Root has what stands there anyway.
    if begun.user != ROOT {
        text.push_str("AmbientCapabilities=CAP_NET_RAW\n");
    }
    let others: &[&[(&str, &str)]] = match (job, begun.user) {
        (Job::Drill, ROOT) => &[&OF_DRILLS],
        (Job::Drill, _) => &[&OF_DRILLS, &OF_USERS_DRILLS],
        _ => &[],
    };
    let others = others.iter().copied().flatten();
    text.push_str(&others.fold(HARDENING.to_owned(), |text, (usual, other)| text.replace(usual, other)));
    if begun.user == ROOT && job == Job::Drill {
        // The throw-away PostgreSQL runs as another user, in a directory of that user's.
        text.push_str("SystemCallFilter=@chown @setuid\n");
    }
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
