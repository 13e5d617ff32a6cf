//! Looks at stores, the journal of runs and the schedule.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Local, TimeDelta, Utc};
use rustix::fs::statvfs;

use super::{Good, InStore, JobState, LastDrill, Status, StoreState, Told, judge};
use crate::authenticity::Knowledge;
use crate::backup;
use crate::catalog::{self, Cache, Listed};
use crate::cluster::hosts::own_addresses;
use crate::databases::{self, Server};
use crate::encryption::Identities;
use crate::names::BundleName;
use crate::names::Series;
use crate::restore;
use crate::runs::{Run, Runs, State};
use crate::schedule::Job;
use crate::schedule::Schedule;
use crate::signing::Origin;
use crate::store::{Address, blocking};
use crate::{Context, Error, Kind, Result, state};

/// Days whose bundles say how much a day brings.
const DAYS: i64 = 7;

/// Records of drills that are said to be unreadable, at most: those of the newest bundles.
const RECORDS: usize = 3;

/// Looks at everything; `begun` are the jobs that timers or a crontab of this machine begin. What can't be seen is a finding.
///
/// # Errors
/// [`Kind::Interrupted`].
pub async fn look(told: Told<'_>, begun: &[Job], context: &Context) -> Result<Status> {
    let identities = Identities::read(&told.databases.backup.access.identities).unwrap_or_default();
    let servers = Servers::of(told, context);
    let wanted = expected(told, &servers);
    let cluster = told.databases.backup.cluster.cluster_name.clone().unwrap_or_default();
    let now = context.now();
    let (runs, runs_unseen) = match Runs::shown(context) {
        Ok(runs) => (runs, None),
        Err(error) => (Vec::new(), Some(said(&error))),
    };
    // What begins jobs goes by the usual times where the settings say none.
    let usual = || (!begun.is_empty() || runs.iter().any(|run| run.scheduled)).then(Schedule::default);
    let schedule = told.schedule.cloned().or_else(usual);
    let partial = partial(&runs);
    // Where there is no cluster.conf yet, every bundle is worth knowing of.
    let of_cluster = (!told.databases.backup.cluster_conf_bytes.is_empty()).then_some(cluster.as_str());
    let knowledge = Knowledge::of(&told.databases.backup.access.signing, context);
    let known = Known {
        cluster: of_cluster,
        identities: &identities,
        knowledge: &knowledge,
        partial: &partial,
        servers: &servers,
    };
    let looked = wanted.iter().map(|(address, series)| one(address, series, &known, told, context));
    let looked = context.until_cancelled(async { Ok(futures_util::future::join_all(looked).await) }).await?;
    let (mut series, mut stores) = (Vec::new(), Vec::new());
    for (state, found) in looked {
        stores.push(state);
        series.extend(found);
    }
    series.extend(on_their_servers(told, &servers, &runs));
    let unfinished = match restore::unfinished(context) {
        Ok(progress) => progress.map(|_| "a restore is unfinished".to_owned()),
        Err(error) if error.kind() == Kind::Locked => Some("a restore is running".to_owned()),
        Err(error) => Some(format!("whether a restore is unfinished can't be seen: {}", said(&error))),
    };
    let mut status = Status {
        time: now,
        host: context.environment.host.clone(),
        cluster,
        series,
        stores,
        state: state::look(context).err().map(|error| said(&error)),
        runs_unseen,
        jobs: jobs(schedule.as_ref(), begun, &runs, now),
        unfinished,
        left_held: backup::left_held(context).unwrap_or_else(|error| Some(said(&error))),
        findings: Vec::new(),
    };
    status.findings = judge(&status, told.limits);
    Ok(status)
}

/// The servers whose databases are backed up by the clock, and the one of them that this machine is.
struct Servers {
    all: Vec<Server>,
    here: Option<Server>,
}

impl Servers {
    fn of(told: Told<'_>, context: &Context) -> Self {
        let scheduled = told.schedule.is_some_and(|schedule| schedule.of(Job::Databases).is_some());
        let all = if scheduled { databases::servers(told.databases) } else { Vec::new() };
        let here = databases::this_one(&all, &own_addresses(), &context.environment.host).cloned();
        Self { all, here }
    }

    /// How many of them have a series.
    fn with(&self, series: &Series) -> usize {
        self.all.iter().filter(|server| server.all_series().any(|other| other == *series)).count()
    }

    /// Whether another machine than this one makes bundles of a series, so that no journal here has all of them.
    fn others_make(&self, series: &Series) -> bool {
        self.with(series)
            > usize::from(self.here.as_ref().is_some_and(|here| here.all_series().any(|own| own == *series)))
    }
}

/// The stores that are looked at, and the series that each should have.
fn expected(told: Told<'_>, servers: &Servers) -> Vec<(Address, BTreeSet<Series>)> {
    let mut wanted: Vec<(Address, BTreeSet<Series>)> = Vec::new();
    let mut want = |address: &Address, series: Vec<Series>| match wanted.iter_mut().find(|(other, _)| other == address)
    {
        Some((_, there)) => there.extend(series),
        None => wanted.push((address.clone(), series.into_iter().collect())),
    };
    let whole = told.schedule.is_none_or(|schedule| schedule.of(Job::Backup).is_some());
    let own = if whole { vec![Series::orchestrator()] } else { Vec::new() };
    for store in &told.databases.backup.stores {
        want(&store.address, own.clone());
    }
    if let Some(bucket) = told.databases.own.bucket.as_ref().filter(|_| !servers.all.is_empty()) {
        want(bucket, servers.all.iter().flat_map(Server::all_series).collect());
    }
    if let Some(here) = &servers.here {
        let directory = Address::Directory(told.databases.own.directory.clone());
        // Where a bucket has them all, whether there must be a copy is the master's matter.
        want(&directory, if told.databases.own.bucket.is_some() { Vec::new() } else { here.all_series().collect() });
    }
    wanted
}

/// The series that lie on other machines alone, as far as the runs from here know of them.
fn on_their_servers(told: Told<'_>, servers: &Servers, runs: &[Run]) -> Vec<InStore> {
    if servers.here.is_some() || told.databases.own.bucket.is_some() {
        return Vec::new();
    }
    let unseen = |series: Series| InStore {
        store: "the servers' own disks".into(),
        expected: true,
        elsewhere: true,
        // Each server has its own.
        outlives: servers.with(&series) > 1,
        series,
        bundles: Vec::new(),
        unknown: Vec::new(),
        bad: 0,
        bad_file: None,
        drill: None,
    };
    let all = servers.all.iter().flat_map(Server::all_series);
    let mut found: BTreeMap<Series, InStore> = all.map(|series| (series.clone(), unseen(series))).collect();
    for part in runs.iter().filter(|run| run.job == Job::Databases).flat_map(|run| &run.parts) {
        let name = part.bundle.as_ref().and_then(|name| name.parse::<BundleName>().ok());
        if let (Some(there), Some(name)) = (found.get_mut(&part.series), name) {
            there.bundles.push(Good {
                file: format!("{name}.tgz"),
                created: name.time(),
                length: part.length.unwrap_or(0),
                origin: Origin::MadeHere,
            });
        }
    }
    found.into_values().collect()
}

/// What is known of bundles before they are looked at.
struct Known<'k> {
    /// None where nothing says whose they should be.
    cluster: Option<&'k str>,
    identities: &'k Identities,
    knowledge: &'k Knowledge,
    /// Names of bundles that have some databases alone; an encrypted one does not say so itself.
    partial: &'k BTreeSet<&'k str>,
    servers: &'k Servers,
}

fn partial(runs: &[Run]) -> BTreeSet<&str> {
    let partial = runs.iter().filter(|run| run.partial).flat_map(|run| &run.parts);
    partial.filter_map(|part| part.bundle.as_deref()).collect()
}

async fn one(
    address: &Address,
    expected: &BTreeSet<Series>,
    known: &Known<'_>,
    told: Told<'_>,
    context: &Context,
) -> (StoreState, Vec<InStore>) {
    let store = told.databases.backup.access.store(address.clone(), context);
    let (identities, knowledge) = (known.identities.clone(), known.knowledge.clone());
    let cache = Cache::of(address, context);
    let listed = blocking(move || catalog::list(&*store?, &identities, &knowledge, cache)).await;
    let (listed, problem) = match listed {
        Ok(listed) => (listed, None),
        // A directory that no backup has made yet is an empty one.
        Err(error) if error.kind() == Kind::NotFound && matches!(address, Address::Directory(_)) => (Vec::new(), None),
        Err(error) => (Vec::new(), Some(said(&error))),
    };
    let place = address.to_string();
    let free = match address {
        Address::Directory(path) => path.ancestors().find(|path| path.exists()).and_then(|path| statvfs(path).ok()),
        _ => None,
    };
    let since = context.now() - TimeDelta::days(DAYS);
    let recent: u64 = listed.iter().filter(|one| one.created > since).map(|one| one.length).sum();
    let free = free.map(|stat| stat.f_bavail * stat.f_frsize);
    let records = listed.iter().rev().filter_map(|one| one.record_problem.clone()).take(RECORDS).collect();
    let state = StoreState { store: place.clone(), problem, free, records, daily: recent / DAYS.unsigned_abs() };
    let mut found = by_series(&listed, expected, known, &place);
    let outlives = told.databases.backup.access.settings(address.clone()).outlives_this_machine(&context.environment);
    found.iter_mut().for_each(|one| one.outlives |= outlives);
    (state, found)
}

fn said(error: &Error) -> String {
    error.chain().join(": ")
}

/// The bundles of this cluster, by series; also of series that are expected and have none.
fn by_series(listed: &[Listed], expected: &BTreeSet<Series>, known: &Known<'_>, store: &str) -> Vec<InStore> {
    let empty = |series: &Series| InStore {
        series: series.clone(),
        store: store.into(),
        expected: expected.contains(series),
        elsewhere: false,
        outlives: known.servers.with(series) > 1,
        bundles: Vec::new(),
        unknown: Vec::new(),
        bad: 0,
        bad_file: None,
        drill: None,
    };
    let mut found: BTreeMap<Series, InStore> = expected.iter().map(|series| (series.clone(), empty(series))).collect();
    for bundle in listed {
        let of = bundle.facts.cluster.as_deref().unwrap_or_default();
        let other = bundle.opened && known.cluster.is_some_and(|cluster| of != cluster);
        // What has some databases alone is no bundle that one could go back to.
        if other || bundle.facts.partial || known.partial.contains(bundle.name.as_str()) {
            continue;
        }
        let series = series_of(bundle, expected);
        let there = found.entry(series.clone()).or_insert_with(|| empty(&series));
        if bundle.problem.is_some() {
            there.bad += 1;
            there.bad_file = Some(bundle.file.clone());
            continue;
        }
        let origin = bundle.origin.clone();
        let good = Good { file: bundle.file.clone(), created: bundle.created, length: bundle.length, origin };
        // Of other machines' bundles no journal is here.
        let not_ours = !series.is_orchestrators() && !expected.contains(&series);
        // Nor is one where ours can't be read, which is said.
        let unseen = known.knowledge.unseen().is_some();
        let may_be = (not_ours || unseen || known.servers.others_make(&series)) && !known.knowledge.signing().required;
        match bundle.counts || may_be {
            true => there.bundles.push(good),
            false => there.unknown.push(good),
        }
        if let Some(drill) = bundle.drill.as_ref().filter(|_| bundle.drill_known && (bundle.counts || may_be)) {
            let this = LastDrill {
                file: bundle.file.clone(),
                time: drill.time,
                seconds: drill.seconds,
                passed: drill.passed(),
            };
            if there.drill.as_ref().is_none_or(|other| other.time < this.time) {
                there.drill = Some(this);
            }
        }
    }
    // A file that was renamed stands where its new name belongs.
    for there in found.values_mut() {
        there.bundles.sort_by_key(|bundle| bundle.created);
        there.unknown.sort_by_key(|bundle| bundle.created);
    }
    found.into_values().collect()
}

/// What a bundle is one of. An encrypted one does not say its group; where only one is expected, it is of that.
fn series_of(bundle: &Listed, expected: &BTreeSet<Series>) -> Series {
    let mut same = expected.iter().filter(|series| series.component == bundle.component);
    match (bundle.opened, same.next(), same.next()) {
        (false, Some(only), None) => only.clone(),
        _ => bundle.series(),
    }
}

fn jobs(schedule: Option<&Schedule>, begun: &[Job], runs: &[Run], now: DateTime<Utc>) -> Vec<JobState> {
    let state = |job: Job| {
        let of_job = || runs.iter().rev().filter(move |run| run.job == job && !run.partial);
        let calendar = schedule.and_then(|schedule| schedule.of(job));
        // What could not begin says nothing of the one that ran.
        let last = of_job().find(|run| run.state != State::Overlapped);
        let next = calendar.and_then(|calendar| calendar.next_after(&now.with_timezone(&Local)));
        let missed = schedule.zip(last).map_or(0, |(schedule, last)| schedule.missed(job, last.began, now).len());
        let by_clock = runs.iter().rev().find(|run| run.job == job && run.scheduled);
        let by_clock =
            schedule.zip(by_clock).is_some_and(|(schedule, run)| schedule.missed(job, run.began, now).is_empty());
        JobState {
            job,
            begun: calendar.is_some() && (begun.contains(&job) || by_clock),
            schedule: calendar.map(ToString::to_string),
            next: next.map(|next| next.with_timezone(&Utc)),
            missed,
            last: last.cloned(),
            last_failure: of_job().find(|run| !run.state.is_good()).cloned(),
        }
    };
    let states = Job::ALL.map(state).into_iter();
    states.filter(|state| state.schedule.is_some() || state.last.is_some()).collect()
}
