//! A month of daily runs in simulated time: failures, a failover, wrong clocks and a full disk end with exactly the bundles that the
//! rules promise. Time comes from one injected clock; PostgreSQL is real, the buckets are in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use backup_core::backup::{self, run_and_prune};
use backup_core::context::Environment;
use backup_core::databases::{self, Fate, Server};
use backup_core::runs::{Run, Runs};
use backup_core::schedule::Job;
use backup_core::schedule::{Calendar, Due, due};
use backup_core::settings::{self, Known, Settings};
use backup_core::store::{self, Address, Connector, Memory, Store};
use backup_core::{Context, status};
use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use fixtures::Postgres;
use system_tests::Workplace;

const HOSTS: [&str; 2] = ["10.98.0.31", "10.98.0.32"];
/// What the rules below keep at the end of the month: the last three, the newest of each of the last five days, and of each of the last four
/// weeks, of which the last has but its Monday.
const EXPECTED: [&str; 7] =
    ["2026-10-25", "2026-11-01", "2026-11-05", "2026-11-06", "2026-11-07", "2026-11-08", "2026-11-09"];

/// The same where two servers take turns, and neither knows what the other one has made.
const EXPECTED_OF_TWO: [&str; 12] = [
    "2026-10-18",
    "2026-10-25",
    "2026-10-28",
    "2026-10-29",
    "2026-10-30",
    "2026-10-31",
    "2026-11-01",
    "2026-11-05",
    "2026-11-06",
    "2026-11-07",
    "2026-11-08",
    "2026-11-09",
];

/// The world that the runs meet.
struct World {
    place: Workplace,
    clock: Arc<AtomicI64>,
    stores: BTreeMap<&'static str, Memory>,
    servers: [Postgres; 2],
}

impl World {
    fn new() -> Self {
        let master = Postgres::start();
        for database in ["orchestrator", "zabbix"] {
            master.sql("postgres", &format!("CREATE DATABASE {database}"));
            master.sql(database, "CREATE TABLE t AS SELECT generate_series(1, 100) AS i");
        }
        let standby = master.standby();
        let place = Workplace::default();
        place.write(
            "cluster.conf",
            format!(
                "machines: {{ data: {{ hosts: ['{}', '{}'], suitable_tags: ['monitoring'] }} }}\ncomponents: {{ monitoring: 2 }}\n\
                 chef: {{ continuum: {{ cluster_name: example, database_backups: {{ bucket: 'data' }} }} }}\n",
                HOSTS[0], HOSTS[1]
            ),
        );
        place.write(
            "o.toml",
            format!(
                "cluster_conf = 'cluster.conf'\n[release]\nversion = '2.6.3'\n[postgres]\ndatabases = ['orchestrator']\n\
                 [[stores]]\naddress = 's3://one'\n[[stores]]\naddress = 's3://two'\n\
                 [retention]\nlast = 3\ndaily = 5\nweekly = 4\n[databases]\ndirectory = '{}'\n[schedule]\n",
                place.path("own").display()
            ),
        );
        let stores = ["s3://one", "s3://two", "s3://data"].map(|name| (name, Memory::at(name))).into();
        Self { place, clock: Arc::default(), stores, servers: [master, standby] }
    }

    fn set(&self, time: DateTime<Utc>) {
        self.clock.store(time.timestamp(), Relaxed);
    }

    /// What a machine sees: its state, its PostgreSQL, and what all share.
    fn machine(&self, name: &str, postgres: &std::path::Path) -> (Context, Settings) {
        let text = |path: &std::path::Path| path.display().to_string();
        let state = self.place.path(&format!("state-{name}"));
        let variables = [
            ("STATE_DIRECTORY", text(&state)),
            ("PGHOST", text(postgres)),
            ("PGUSER", "postgres".into()),
            ("PATH", self.servers[0].path()),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value)).into();
        let home = Some(self.place.path(""));
        let mut context = Context::new(Environment { variables, home, host: name.into(), ..Environment::default() });
        let (clock, stores) = (self.clock.clone(), self.stores.clone());
        context.clock = Arc::new(move || DateTime::from_timestamp(clock.load(Relaxed), 0).expect("a time"));
        let connector = Connector::new(move |settings, context| match &settings.address {
            Address::S3(address) => Ok(Arc::new(stores[address.to_string().as_str()].clone()) as Arc<dyn Store>),
            _ => store::connect(settings, context),
        });
        let mut settings = settings::load(&self.place.path("o.toml"), &Known { stores: connector, ..Known::default() })
            .expect("settings");
        // Whoever else is on the simulated machine's disk is not meant.
        settings.databases.directory = self.place.path(&format!("own-{name}"));
        (context, settings)
    }

    /// The orchestrator's daily run.
    async fn back_up(&self, postgres: &std::path::Path) -> String {
        let (context, settings) = self.machine("orchestrator", postgres);
        let request = backup::Request { hosts: Some(Vec::new()), ..backup::Request::default() };
        let _ = run_and_prune(&settings.backup, &request, None, false, &context).await;
        let run = Runs::of(&context).expect("a place").last(Job::Backup).expect("runs").expect("a run");
        // That bundles leave unencrypted is said of each.
        let mut codes: Vec<&str> = run.findings.iter().map(|finding| finding.code.as_str()).collect();
        codes.retain(|code| *code != "leaves-unencrypted");
        codes.dedup();
        [&[run.state.said()], &codes[..]].concat().join(", ")
    }

    /// The daily run on a database server; what became of its one component.
    async fn back_up_databases(&self, server: usize) -> Fate {
        let (context, settings) = self.machine(HOSTS[server], self.servers[server].host());
        let all: Vec<Server> = databases::servers(settings.for_databases());
        let this = all.iter().find(|one| one.host == HOSTS[server]).expect("a server");
        // It is two databases, and a lone component has them both.
        let done =
            databases::back_up(Some(this), &all, settings.for_databases(), &databases::Request::default(), &context)
                .await;
        done.expect("it runs").remove(0).fate
    }

    /// The days whose bundles of a component a store has.
    fn days(&self, store: &str, component: &str) -> Vec<String> {
        let listed = self.stores[store].list().expect("a list");
        let of_component = listed.iter().map(|stored| &stored.name.bundle).filter(|name| name.component() == component);
        of_component.map(|name| name.time().format("%F").to_string()).collect()
    }
}

fn day(text: &str) -> DateTime<Utc> {
    Utc.from_utc_datetime(&format!("{text}T02:30:00").parse().expect("a time"))
}

#[tokio::test]
async fn a_month_of_daily_runs_ends_with_exactly_the_bundles_that_the_rules_promise() {
    let mut world = World::new();
    let daily: Calendar = "02:30".parse().expect("a time");
    // Monday, 2026-10-12, is the first of four weeks and a day.
    let (mut now, end) = (day("2026-10-12"), day("2026-11-09"));
    let mut ran = Vec::new();
    let mut last = now - TimeDelta::days(1);
    let mut master = 0;
    while now <= end {
        let date = now.format("%F").to_string();
        // The machine is off for two days, and makes up for them once.
        if ["2026-10-20", "2026-10-21"].contains(&date.as_str()) {
            now += TimeDelta::days(1);
            continue;
        }
        world.set(now);
        assert!(matches!(due(&daily, last, (Duration::ZERO, ""), now, &Utc), Due::Now(_)), "{date}");
        let mut postgres = world.servers[0].host().to_owned();
        match date.as_str() {
            // PostgreSQL is down.
            "2026-10-15" => postgres = "/nowhere".into(),
            // The clock is years ahead for one run.
            "2026-10-23" => world.set(day("2031-01-01")),
            // The second store's disk is full for two days, then all are.
            "2026-10-28" | "2026-10-29" => world.stores["s3://two"].make_room(Some(1000)),
            "2026-10-30" => world.stores.values().for_each(|store| store.make_room(Some(1000))),
            _ => {}
        }
        let state = world.back_up(&postgres).await;
        ran.push(format!("{date} {state}"));
        if date != "2026-10-28" {
            world.stores.values().for_each(|store| store.make_room(None));
        }
        // Nothing is deleted for as long as a bundle is from the future: somebody moves it away two days later.
        if date == "2026-10-25" {
            for store in world.stores.values() {
                let future = store.list().expect("a list").pop().expect("a bundle");
                assert_eq!(future.name.bundle.time(), day("2031-01-01"));
                store.remove(&future.name).expect("removed");
            }
        }
        world.set(now);
        // The master dies between the two servers' runs, and takes its disk along.
        if date == "2026-11-02" {
            assert!(matches!(world.back_up_databases(1).await, Fate::Made(_)), "the standby found no bundle of today");
            world.servers[0].kill();
            world.servers[1].sql("postgres", "SELECT pg_promote()");
            world.servers[1].wait_until("SELECT NOT pg_is_in_recovery()");
            world.servers.swap(0, 1);
            master = 1;
        } else if master == 0 {
            assert!(matches!(world.back_up_databases(0).await, Fate::Made(_)), "{date}");
            world.set(now + TimeDelta::minutes(5));
            assert!(matches!(world.back_up_databases(1).await, Fate::Left { .. }), "{date}");
        } else {
            world.servers.swap(0, 1);
            assert!(matches!(world.back_up_databases(1).await, Fate::Made(_)), "{date}");
            world.servers.swap(0, 1);
        }
        // The clock is set back by an hour: nothing runs a second time.
        if date == "2026-11-04" {
            last = now;
            let earlier = now - TimeDelta::hours(1);
            assert!(
                matches!(due(&daily, last, (Duration::ZERO, ""), earlier, &Utc), Due::At(next) if next == now + TimeDelta::days(1))
            );
        }
        last = now;
        now += TimeDelta::days(1);
    }
    insta::assert_snapshot!(ran.join("\n"));
    for store in ["s3://one", "s3://two", "s3://data"] {
        assert_eq!(world.days(store, "orchestrator"), EXPECTED, "{store}");
    }
    // No day was without a bundle of the databases, and the rules hold for them too. The new master's journal does not have what the old
    // one made: those let nothing go, one another neither.
    assert_eq!(world.days("s3://data", "monitoring"), EXPECTED_OF_TWO);
    let (context, settings) = world.machine("orchestrator", world.servers[0].host());
    world.set(end + TimeDelta::hours(6));
    let seen = status::look(settings.for_status(), &Job::ALL, &context).await.expect("a status");
    let codes: Vec<&str> = seen.findings.iter().map(|finding| finding.code.as_str()).collect();
    assert_eq!(codes, ["never-drilled"; 3]);
    world.set(end + TimeDelta::hours(27));
    let seen = status::look(settings.for_status(), &Job::ALL, &context).await.expect("a status");
    assert!(seen.findings.iter().any(|finding| finding.code == "bundle-old"));
    let kept: Vec<Run> = Runs::of(&context).expect("a place").all().expect("runs");
    assert_eq!(kept.len(), ran.len());
}

#[tokio::test]
async fn after_a_failed_backup_nothing_is_deleted() {
    let world = World::new();
    for (number, postgres) in [(12, true), (13, true), (14, true), (15, false)] {
        world.set(day(&format!("2026-10-{number}")));
        let place = if postgres { world.servers[0].host().to_owned() } else { "/nowhere".into() };
        world.back_up(&place).await;
    }
    let (context, _) = world.machine("orchestrator", world.servers[0].host());
    let failed = Runs::failed(&context).expect("runs");
    assert_eq!((failed.len(), failed[0].1), (1, day("2026-10-15")));
    assert_eq!(world.days("s3://one", "orchestrator").len(), 3);
}
