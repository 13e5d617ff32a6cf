//! A status on one screen, and the runs before it.

use std::path::Path;
use std::time::Duration;

use backup_core::finding::{News, Severity, age, worst};
use backup_core::runs::{Run, State};
use backup_core::status::{InStore, JobState, Status};
use chrono::{DateTime, Local, Utc};

use crate::findings::{GREEN, RED, YELLOW, finding};
use crate::human::{bytes, days, duration, plain};
use crate::output::{flush_left, table};

/// Whether something could not be looked at.
pub(super) fn unseen(status: &Status) -> bool {
    status.findings.iter().any(|finding| finding.news == News::Unknown)
}

/// One screen.
pub(crate) fn screen(status: &Status) -> String {
    let place =
        if status.cluster.is_empty() { status.host.clone() } else { format!("{} on {}", status.cluster, status.host) };
    let verdict = match worst(&status.findings) {
        Some(Severity::Error) => format!("{RED}NOT SAFE{RED:#}"),
        Some(Severity::Warning) => format!("{YELLOW}safe, look at the warnings{YELLOW:#}"),
        _ if unseen(status) => format!("{GREEN}safe{GREEN:#}, as far as can be seen"),
        _ => format!("{GREEN}safe{GREEN:#}"),
    };
    let mut text = format!("{}: {verdict}\n\n", plain(&place));
    let header = ["COMPONENT", "STORE", "NEWEST", "SIZE", "BUNDLES", "LAST DRILL"];
    let rows = status.series.iter().map(|one| series(one, status));
    text.push_str(&flush_left(&table(&header, &[3, 4], rows)));
    if !status.jobs.is_empty() {
        text.push('\n');
        let rows = status.jobs.iter().map(|job| of_job(job, status));
        text.push_str(&flush_left(&table(&["JOB", "WHEN", "NEXT", "LAST RUN", "LAST FAILURE"], &[], rows)));
    }
    text.push('\n');
    let rows = status.stores.iter().map(|store| {
        let free = store.free.map_or_else(|| "unknown".into(), bytes);
        let days = store.days_left().map_or_else(|| "-".into(), days);
        [plain(&store.store), free, days]
    });
    text.push_str(&flush_left(&table(&["STORE", "FREE", "ENOUGH FOR"], &[1, 2], rows)));
    if !status.findings.is_empty() {
        text.push('\n');
        status.findings.iter().for_each(|one| text.push_str(&finding(one)));
    }
    text
}

fn series(one: &InStore, status: &Status) -> [String; 6] {
    let ago = |time: DateTime<Utc>| match (status.time - time).to_std() {
        Ok(since) => format!("{} ago", age(since)),
        Err(_) => "in the future".into(),
    };
    let newest = one.bundles.last();
    let (none, count, never) = match status.is_unseen(one) {
        true => ("unknown", "?".into(), "unknown"),
        false => ("none", one.counted(), "never"),
    };
    let drill = one.drill.as_ref().map_or_else(
        || never.into(),
        |drill| {
            let time = duration(Duration::try_from_secs_f64(drill.seconds).unwrap_or_default());
            if drill.passed { format!("{}, in {time}", ago(drill.time)) } else { format!("FAILED {}", ago(drill.time)) }
        },
    );
    [
        plain(&one.series.to_string()),
        plain(&one.store),
        newest.map_or_else(|| none.into(), |newest| ago(newest.created)),
        newest.map_or_else(String::new, |newest| bytes(newest.length)),
        count,
        drill,
    ]
}

/// A moment on the clock of this machine's wall.
fn at(time: DateTime<Utc>) -> String {
    time.with_timezone(&Local).format("%F %H:%M %Z").to_string()
}

fn of_job(job: &JobState, status: &Status) -> [String; 5] {
    let known = |none: &str| if status.runs_unseen.is_some() { "unknown".to_owned() } else { none.into() };
    let run = |run: &Run| {
        let since = (status.time - run.began).to_std().map(age).unwrap_or_default();
        format!("{since} ago: {}", run.state.said())
    };
    [
        job.job.name().into(),
        job.schedule.clone().unwrap_or_else(|| "by hand".into()),
        job.next.map_or_else(String::new, at),
        job.last.as_ref().map_or_else(|| known("never"), run),
        job.last_failure.as_ref().map_or_else(|| known("none"), |run| at(run.began)),
    ]
}

/// The runs of a journal, newest first.
pub(crate) fn history(runs: &[Run], journal: &Path) -> String {
    if runs.is_empty() {
        let journal = journal.display();
        return format!(
            "no run is noted in {journal}; every user has a journal of his own, and STATE_DIRECTORY names another\n"
        );
    }
    let row = |run: &Run| {
        let took = run.ended.and_then(|ended| (ended - run.began).to_std().ok());
        let took = took.filter(|_| !matches!(run.state, State::Missed | State::Overlapped));
        let bundles: Vec<&str> = run.parts.iter().filter_map(|part| part.bundle.as_deref()).collect();
        let failed = run.parts.iter().filter_map(|part| part.failed.clone());
        let said: Vec<String> = failed.chain(run.findings.iter().map(|one| one.message.clone())).collect();
        [
            at(run.began),
            if run.partial { format!("{}, partial", run.job.name()) } else { run.job.name().into() },
            run.state.said().into(),
            took.map_or_else(String::new, duration),
            plain(
                &[bundles.join(", "), said.join("; ")]
                    .iter()
                    .filter(|text| !text.is_empty())
                    .cloned()
                    .collect::<Vec<_>>()
                    .join("; "),
            ),
        ]
    };
    flush_left(&table(&["BEGAN", "JOB", "", "TOOK", "WHAT"], &[3], runs.iter().rev().map(row)))
}
