//! A status in Prometheus' text format, for the node exporter's textfile collector.

use std::collections::BTreeMap;
use std::fmt::Write;

use backup_core::finding::Severity;
use backup_core::runs::State;
use backup_core::status::Status;

/// Every metric: its name, its meaning, and its lines of labels and value.
type Metric = (&'static str, &'static str, Vec<(String, f64)>);

/// The metrics. Names and labels are documented in docs/operations.md and stay.
pub(crate) fn metrics(status: &Status) -> String {
    let mut text = String::new();
    for (name, help, lines) in all(status) {
        if lines.is_empty() {
            continue;
        }
        let _ = writeln!(text, "# HELP orchestrator_{name} {help}\n# TYPE orchestrator_{name} gauge");
        for (labels, value) in lines {
            let _ = writeln!(text, "orchestrator_{name}{labels} {value}");
        }
    }
    text
}

fn all(status: &Status) -> Vec<Metric> {
    let cluster = ("cluster", status.cluster.as_str());
    let series = |value: &dyn Fn(&backup_core::status::InStore) -> Option<f64>| -> Vec<(String, f64)> {
        let lines = status.series.iter().filter_map(|one| {
            let group = one.series.group.as_deref().unwrap_or_default();
            let labels = [cluster, ("component", &*one.series.component), ("group", group), ("store", &*one.store)];
            Some((labelled(&labels), value(one)?))
        });
        lines.collect()
    };
    let store = |value: &dyn Fn(&backup_core::status::StoreState) -> Option<f64>| -> Vec<(String, f64)> {
        let lines =
            status.stores.iter().filter_map(|one| Some((labelled(&[cluster, ("store", &*one.store)]), value(one)?)));
        lines.collect()
    };
    let job = |value: &dyn Fn(&backup_core::status::JobState) -> Option<f64>| -> Vec<(String, f64)> {
        let lines =
            status.jobs.iter().filter_map(|one| Some((labelled(&[cluster, ("job", one.job.name())]), value(one)?)));
        lines.collect()
    };
    let count = |severity| status.findings.iter().filter(|one| one.severity == severity).count() as f64;
    let findings = status.findings.iter().map(|one| {
        let labels = [cluster, ("code", &*one.code), ("severity", one.word()), ("subject", &*one.subject)];
        (labelled(&labels), 1.0)
    });
    let findings: BTreeMap<String, f64> = findings.collect();
    let whole = labelled(&[cluster]);
    let seconds = |time: chrono::DateTime<chrono::Utc>| time.timestamp() as f64;
    vec![
        ("status_time_seconds", "When this was written.", vec![(whole.clone(), seconds(status.time))]),
        ("status_errors", "Findings that mean: not safe.", vec![(whole.clone(), count(Severity::Error))]),
        ("status_warnings", "Findings to be looked at.", vec![(whole.clone(), count(Severity::Warning))]),
        ("status_finding", "Each thing that status has to say.", findings.into_iter().collect()),
        (
            "state_writable",
            "Whether runs and restores can be noted.",
            vec![(whole.clone(), f64::from(status.state.is_none()))],
        ),
        (
            "restore_unfinished",
            "Whether a restore is unfinished.",
            vec![(whole, f64::from(status.unfinished.is_some()))],
        ),
        (
            "backup_newest_time_seconds",
            "When the newest good bundle was begun.",
            series(&|one| one.bundles.last().map(|newest| seconds(newest.created))),
        ),
        (
            "backup_newest_bytes",
            "Length of the newest good bundle.",
            series(&|one| one.bundles.last().map(|newest| newest.length as f64)),
        ),
        ("backup_expected", "Whether new bundles should come.", series(&|one| Some(f64::from(one.expected)))),
        (
            "backup_outlives_machine",
            "Whether bundles there outlive the machine that they are of.",
            series(&|one| Some(f64::from(one.outlives))),
        ),
        ("backup_bundles", "Number of good bundles.", series(&|one| Some(one.bundles.len() as f64))),
        (
            "backup_bundles_unknown",
            "Number of bundles that nothing here knows, and that count for nothing.",
            series(&|one| Some(one.unknown.len() as f64)),
        ),
        ("backup_bundles_bad", "Number of bundles that can't be opened.", series(&|one| Some(one.bad as f64))),
        (
            "drill_time_seconds",
            "When a bundle was last drilled.",
            series(&|one| one.drill.as_ref().map(|drill| seconds(drill.time))),
        ),
        (
            "drill_duration_seconds",
            "Time to service in the last drill.",
            series(&|one| one.drill.as_ref().map(|drill| drill.seconds)),
        ),
        (
            "drill_passed",
            "Whether the last drill proved its bundle.",
            series(&|one| one.drill.as_ref().map(|drill| f64::from(drill.passed))),
        ),
        ("store_up", "Whether the store can be listed.", store(&|one| Some(f64::from(one.problem.is_none())))),
        ("store_free_bytes", "Bytes that are free there.", store(&|one| one.free.map(|free| free as f64))),
        ("store_free_days", "Days that this is enough for.", store(&|one| one.days_left().map(|days| days as f64))),
        (
            "run_time_seconds",
            "When the job's last run began.",
            job(&|one| one.last.as_ref().map(|run| seconds(run.began))),
        ),
        (
            "run_good",
            "Whether the job's last run did its work.",
            job(&|one| {
                one.last.as_ref().filter(|run| run.state != State::Running).map(|run| f64::from(run.state.is_good()))
            }),
        ),
        (
            "run_scheduled",
            "Whether something begins the job by the clock.",
            job(&|one| one.schedule.as_ref().map(|_| f64::from(one.begun))),
        ),
        ("run_missed", "Times since then at which nothing ran.", job(&|one| Some(one.missed as f64))),
        ("run_next_time_seconds", "When the job runs next.", job(&|one| one.next.map(seconds))),
    ]
}

fn labelled(labels: &[(&str, &str)]) -> String {
    let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    format!("{{{}}}", labels.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_one_whatever_is_in_it() {
        assert_eq!(labelled(&[("store", "a\"b\\c\nd")]), r#"{store="a\"b\\c\nd"}"#);
    }
}
