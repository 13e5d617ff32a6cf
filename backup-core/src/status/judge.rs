//! What of a status is not as it should be: a function of it.

use chrono::TimeDelta;

use super::{InStore, JobState, Status, StoreState};
use crate::finding::{Finding, age};
use crate::schedule::Job;
use crate::signing::UNKNOWN;

/// What is still well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Hours that the newest good bundle may be old.
    pub newest: u32,
    /// Days that the last drill may be old.
    pub drill: u32,
    /// Days that a store must have room for.
    pub room: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { newest: 26, drill: 8, room: 7 }
    }
}

/// Everything that is not as it should be, errors first: without a good bundle nobody is safe, all else is to be looked at.
pub fn judge(status: &Status, limits: &Limits) -> Vec<Finding> {
    let series = status.series.iter().flat_map(|series| of_series(series, limits, status));
    let stores = status.stores.iter().flat_map(|store| of_store(store, limits));
    let jobs = status.jobs.iter().flat_map(of_job);
    let nothing = (!status.series.iter().any(|series| series.expected)).then(|| {
        Finding::error("nothing-expected", "schedule", "no job makes bundles here")
            .hint("set schedule.backup or schedule.databases in the settings, then `schedule install`")
    });
    let apart = status.series.iter().filter_map(|series| of_copies(series, status));
    let state = status
        .state
        .as_ref()
        .map(|why| Finding::warning("state-unwritable", "state directory", why).hint(crate::state::UNWRITABLE));
    let runs = status.runs_unseen.as_ref().map(|why| {
        let message = format!("what ran is not known: {why}");
        Finding::warning("runs-unseen", "journal of runs", message)
            .unseen()
            .hint("ask as root, or as the user that the jobs run as")
    });
    let unfinished = status.unfinished.as_ref().map(|what| {
        Finding::warning("unfinished", "restore", what).hint("`restore --resume` goes on, `restore --rollback` returns")
    });
    let held = status.left_held.as_ref().map(|what| {
        Finding::error("left-held", "backup", what).hint("the next `backup` starts it; or start it by hand")
    });
    let own = nothing.into_iter().chain(held).chain(of_schedule(status)).chain(state).chain(runs).chain(unfinished);
    let mut findings: Vec<Finding> = series.chain(apart).chain(stores).chain(jobs).chain(own).collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

fn of_series(of: &InStore, limits: &Limits, status: &Status) -> Vec<Finding> {
    let subject = format!("{} in {}", of.series, of.store);
    let mut findings = Vec::new();
    // What can't be looked at is said once, of the store.
    let unseen = status.is_unseen(of);
    match of.bundles.last() {
        _ if unseen => {}
        None if of.expected => {
            let how = if of.series.is_orchestrators() { "`backup`" } else { "`databases backup`" };
            let message = match of.unknown.is_empty() {
                true => "there is no good bundle",
                false => "there is no good bundle that a key or a journal of ours knows",
            };
            let finding = Finding::error("no-bundle", &subject, message);
            findings.push(finding.hint(format!("make one now: {how}")));
        }
        Some(newest) if of.expected && status.time - newest.created > TimeDelta::hours(limits.newest.into()) => {
            let old = (status.time - newest.created).num_hours();
            let message = format!("the newest good bundle is {old} hours old, and may be {}", limits.newest);
            let hint = "`status --history` says what became of the runs since then";
            findings.push(Finding::error("bundle-old", &subject, message).hint(hint));
        }
        Some(newest) if newest.created > status.time + TimeDelta::minutes(10) => {
            let message = format!("{} is from the future, by this machine's clock", newest.file);
            findings.push(Finding::warning("from-the-future", &subject, message).hint("see to the clock"));
        }
        _ => {}
    }
    findings.extend(of_unknown(of, &subject));
    if of.bad > 0 {
        let file = of.bad_file.as_deref().unwrap_or("a bundle");
        let message = match of.bad {
            1 => format!("{file} can't be opened"),
            bad => format!("{bad} bundles can't be opened, such as {file}"),
        };
        findings.push(Finding::warning("bundle-bad", &subject, message).hint("`list` says which, and why"));
    }
    if of.expected && !of.bundles.is_empty() {
        findings.extend(match of.elsewhere {
            false => of_drill(of, limits, status, &subject),
            true => {
                let message = "whether a bundle of it was ever restored can't be seen from here";
                let hint = "`status` on the server itself shows its drills";
                Some(Finding::unknown("drill-unseen", &subject, message).hint(hint))
            }
        });
    }
    findings
}

/// What opens, and nobody here knows. Where it came after what is known, somebody else puts bundles there.
fn of_unknown(of: &InStore, subject: &str) -> Option<Finding> {
    let others = of.bundles.iter().filter(|bundle| !bundle.origin.is_known()).count();
    if others > 0 {
        if !of.expected {
            return None;
        }
        let message =
            format!("who made {} of them can't be seen from here: other servers make some, too", bundles(others));
        let hint = "signed bundles are known everywhere: `key generate --signing /etc/orchestrator/signing.key`";
        return Some(Finding::unknown("origin-unseen", subject, message).hint(hint));
    }
    let newest = of.unknown.last()?;
    let before = of.bundles.first().is_some_and(|first| newest.created < first.created);
    let new = if before { Finding::info } else { Finding::warning };
    let message = format!(
        "nothing here knows who made {}, and it counts for nothing",
        match of.unknown.len() {
            1 => newest.file.clone(),
            many => format!("{} such as {}", bundles(many), newest.file),
        }
    );
    Some(new("bundle-unknown", subject, &message).hint(UNKNOWN))
}

fn bundles(count: usize) -> String {
    if count == 1 { "a bundle".into() } else { format!("{count} bundles") }
}

/// That all bundles of a series go with one machine. It is said once, of the first store that has some.
fn of_copies(of: &InStore, status: &Status) -> Option<Finding> {
    let mut same = status.series.iter().filter(|other| other.series == of.series);
    let is_first = same
        .clone()
        .find(|other| other.expected && !other.bundles.is_empty())
        .is_some_and(|first| std::ptr::eq(first, of));
    // What is in a store that can't be looked at is said of the store.
    let safe = same.any(|other| other.outlives && (!other.bundles.is_empty() || status.is_unseen(other)));
    if !is_first || safe {
        return None;
    }
    let (message, hint) = match of.series.is_orchestrators() {
        true => (
            "every copy is on this machine, and is lost with it",
            "add a store on another machine to the settings: [[stores]] with address = \"sftp://…\" or \"s3://…\"; of a path that outlives \
             this machine say elsewhere = true",
        ),
        false => (
            "every copy is on the server that it is a backup of, and is lost with it",
            "name a bucket: database_backups in cluster.conf; of a path that outlives the server say elsewhere = true in [[stores]]",
        ),
    };
    Some(Finding::error("no-copy-elsewhere", of.series.to_string(), message).hint(hint))
}

/// Whether jobs come by themselves. What was done by hand today is done by nobody tomorrow.
fn of_schedule(status: &Status) -> Option<Finding> {
    const HINT: &str = "`schedule install` as root; in a container `schedule run` is a loop, and a CronJob runs `schedule run backup --by-timer`";
    let jobs = || status.jobs.iter().filter(|job| job.schedule.is_some());
    let idle: Vec<&JobState> = jobs().filter(|job| !job.begun).collect();
    if jobs().next().is_none() {
        let message = "nothing runs by itself: the settings have no [schedule], and no timer and no crontab of this machine runs jobs";
        return Some(Finding::error("not-installed", "schedule", message).hint(HINT));
    }
    if idle.is_empty() {
        return None;
    }
    let names: Vec<&str> = idle.iter().map(|job| job.job.name()).collect();
    let message = format!(
        "nothing begins {} by itself: no timer and no crontab of this machine does, and no loop did in time",
        names.join(" and ")
    );
    // Without a drill there are bundles all the same; and who can't see the runs does not know whether there were some.
    let harmless = idle.iter().all(|job| job.job == Job::Drill) || status.runs_unseen.is_some();
    let new = if harmless { Finding::warning } else { Finding::error };
    Some(new("not-installed", "schedule", &message).hint(HINT))
}

fn of_drill(of: &InStore, limits: &Limits, status: &Status, subject: &str) -> Option<Finding> {
    // One store's drill proves the bundle in all of them.
    let same = status.series.iter().filter(|other| other.series == of.series);
    let last = same.filter_map(|other| other.drill.as_ref()).max_by_key(|drill| drill.time);
    let hint = "`drill` restores the newest one into a throw-away PostgreSQL";
    match last {
        None => Some(Finding::warning("never-drilled", subject, "no bundle of it was ever restored").hint(hint)),
        Some(drill) if !drill.passed => {
            let message = format!("{} failed its drill of {}", drill.file, drill.time.format("%F %T UTC"));
            Some(Finding::error("drill-failed", subject, message).hint("drill another one, and find out what is wrong"))
        }
        Some(drill) if status.time - drill.time > TimeDelta::days(limits.drill.into()) => {
            let old = age((status.time - drill.time).to_std().unwrap_or_default());
            Some(Finding::warning("drill-old", subject, format!("the last drill was {old} ago")).hint(hint))
        }
        Some(_) => None,
    }
}

fn of_store(store: &StoreState, limits: &Limits) -> Vec<Finding> {
    if let Some(problem) = &store.problem {
        let finding = Finding::error("store-unseen", &store.store, problem);
        return vec![
            finding.hint(
                "nothing is known of what is in it; see to it, or ask as root or as the user that the jobs run as",
            ),
        ];
    }
    let record = |problem: &String| {
        let finding = Finding::warning("record-bad", &store.store, problem);
        finding.hint("find out who wrote it; the next drill of that bundle writes it anew")
    };
    let mut findings: Vec<Finding> = store.records.iter().map(record).collect();
    if let Some(days) = store.days_left().filter(|days| *days < u64::from(limits.room)) {
        let message = format!("it has room for {days} more days of bundles");
        let finding = Finding::warning("room", &store.store, message);
        findings.push(finding.hint("make room, or keep fewer: [retention] of the settings"));
    }
    findings
}

fn of_job(job: &JobState) -> Vec<Finding> {
    let mut findings = Vec::new();
    let name = job.job.name();
    if let Some(last) = job.last.as_ref().filter(|last| !last.state.is_good()) {
        let said = last.findings.first().map_or_else(String::new, |finding| format!(": {}", finding.message));
        let how = last.state.said();
        let message = format!("its last run, of {}, {how}{said}", last.began.format("%F %T UTC"));
        let finding = Finding::warning("last-run", name, message);
        findings.push(finding.hint("put it right, then run it by hand: `schedule run` with its name"));
    }
    if job.missed > 0 {
        let times = if job.missed == 1 { "once".into() } else { format!("{} times", job.missed) };
        let message = format!("it should have run {times} since its last run");
        let hint = "see whether its timer is on: `systemctl list-timers`, or the crontab";
        findings.push(Finding::warning("missed", name, message).hint(hint));
    }
    findings
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::super::{Good, LastDrill};
    use super::*;
    use crate::names::Series;
    use crate::runs::{Run, State};
    use crate::signing::Origin;

    fn at(hours: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).expect("a time") + TimeDelta::hours(hours)
    }

    fn good() -> Status {
        let bundle =
            |hours| Good { file: format!("b{hours}"), created: at(hours), length: 1000, origin: Origin::MadeHere };
        let drill = LastDrill { file: "b-24".into(), time: at(-30), seconds: 4.0, passed: true };
        let series = |store: &str| InStore {
            series: Series::orchestrator(),
            store: store.into(),
            expected: true,
            elsewhere: false,
            outlives: store == "b",
            bundles: vec![bundle(-48), bundle(-24)],
            unknown: Vec::new(),
            bad: 0,
            bad_file: None,
            drill: (store == "a").then(|| drill.clone()),
        };
        let store = |store: &str| StoreState {
            store: store.into(),
            problem: None,
            free: Some(100_000),
            records: Vec::new(),
            daily: 1000,
        };
        Status {
            time: at(0),
            host: "vm".into(),
            cluster: "example".into(),
            state: None,
            runs_unseen: None,
            series: vec![series("a"), series("b")],
            stores: vec![store("a"), store("b")],
            jobs: vec![JobState {
                job: Job::Backup,
                schedule: Some("02:30".into()),
                begun: true,
                next: Some(at(1)),
                missed: 0,
                last: None,
                last_failure: None,
            }],
            unfinished: None,
            left_held: None,
            findings: Vec::new(),
        }
    }

    #[test]
    fn all_that_is_not_as_it_should_be_is_said_and_nothing_else() {
        type Spoil = fn(&mut Status);
        let cases: [(Spoil, &[&str]); 28] = [
            (|_| {}, &[]),
            (|s| s.series[1].bundles.clear(), &["no-bundle", "no-copy-elsewhere"]),
            (|s| s.series[0].bundles.clear(), &["no-bundle"]),
            (|s| s.series[1].outlives = false, &["no-copy-elsewhere"]),
            // What lies elsewhere and can't be looked at may be there still.
            (
                |s| {
                    s.series[1].bundles.clear();
                    s.stores[1].problem = Some("gone".into());
                },
                &["store-unseen"],
            ),
            (|s| s.jobs[0].begun = false, &["not-installed"]),
            (|s| s.jobs[0].schedule = None, &["not-installed"]),
            (|s| s.jobs.clear(), &["not-installed"]),
            (|s| s.state = Some("full".into()), &["state-unwritable"]),
            (|s| s.runs_unseen = Some("damaged".into()), &["runs-unseen"]),
            (|s| s.series[1].elsewhere = true, &["drill-unseen"]),
            (|s| s.time = at(3), &["bundle-old", "bundle-old"]),
            (|s| s.series[0].bundles[1].created = at(5), &["from-the-future"]),
            (|s| s.series[0].bad = 2, &["bundle-bad"]),
            // What nobody knows makes nobody safe, however new it is.
            (
                |s| {
                    s.series[0].unknown = std::mem::take(&mut s.series[0].bundles);
                },
                &["no-bundle", "bundle-unknown"],
            ),
            (|s| s.series[0].unknown = vec![s.series[0].bundles[1].clone()], &["bundle-unknown"]),
            (|s| s.series[1].bundles[1].origin = Origin::Unknown, &["origin-unseen"]),
            (|s| s.series[0].drill = None, &["never-drilled", "never-drilled"]),
            (|s| s.series[0].drill.as_mut().expect("one").passed = false, &["drill-failed", "drill-failed"]),
            (|s| s.series[0].drill.as_mut().expect("one").time = at(-24 * 9), &["drill-old", "drill-old"]),
            (|s| s.stores[0].problem = Some("gone".into()), &["store-unseen"]),
            (|s| s.stores[0].free = Some(6999), &["room"]),
            (|s| s.stores[0].records.push("read x.drill.json".into()), &["record-bad"]),
            (|s| s.stores[0].daily = 0, &[]),
            (|s| s.jobs[0].missed = 3, &["missed"]),
            (|s| s.unfinished = Some("a restore".into()), &["unfinished"]),
            (|s| s.left_held = Some("it is stopped".into()), &["left-held"]),
            (
                |s| {
                    let finding = Finding::error("failed", "backup", "the disk is full");
                    s.jobs[0].last = Some(Run::of_state(Job::Backup, State::Failed, at(-1), finding));
                },
                &["last-run"],
            ),
        ];
        for (spoil, expected) in cases {
            let mut status = good();
            spoil(&mut status);
            let codes: Vec<String> = judge(&status, &Limits::default()).into_iter().map(|one| one.code).collect();
            assert_eq!(codes, expected);
        }
        // What only happens to lie there need not be new; but something should be.
        let mut status = good();
        status.series.iter_mut().for_each(|series| series.expected = false);
        assert_eq!(judge(&status, &Limits::default())[0].code, "nothing-expected");
    }
}
