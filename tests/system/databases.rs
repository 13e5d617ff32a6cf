//! `databases backup`: every component's databases get bundles of their own, by the rule of the platform's manual.

use std::path::Path;
use std::process::{Command, Output};

use fixtures::s3::{BUCKET, KEYS, S3Server};
use fixtures::{Network, Postgres};
use serde_json::Value;
use system_tests::{Cluster, Workplace, another_second, assert_same, describe};

const HOSTS: [&str; 2] = ["10.98.0.31", "10.98.0.32"];

/// A `cluster.conf` whose two machines have all databases, with a bucket or without.
fn conf(bucket: &str) -> String {
    format!(
        "machines: {{ data: {{ hosts: ['{}', '{}'], suitable_tags: ['component-database', 'auditlog-database', 'monitoring'] }} }}\n\
         components: {{ component-database: 2, auditlog-database: 2, monitoring: 2 }}\n\
         chef: {{ continuum: {{ cluster_name: example, database_backups: {{ {bucket} }} }} }}\n",
        HOSTS[0], HOSTS[1]
    )
}

fn in_s3(s3: &S3Server) -> String {
    let (access, secret) = KEYS;
    format!("access_key: '{access}', secret_key: '{secret}', endpoint: '{}', bucket: '{BUCKET}'", s3.url())
}

/// A server with databases of all three components.
fn server() -> Postgres {
    let server = Postgres::start();
    server.load_sample(200);
    server.sql("postgres", "CREATE DATABASE zabbix");
    server.sql("postgres", "CREATE DATABASE auditlog");
    server.sql("zabbix", "CREATE TABLE items AS SELECT generate_series(1, 5) AS i");
    server.sql("auditlog", "CREATE TABLE entries AS SELECT generate_series(1, 7) AS i");
    server
}

/// A work place with settings whose bundles stay in it.
fn place(bucket: &str, more: &str) -> Workplace {
    let place = Workplace::default();
    place.write("cluster.conf", conf(bucket));
    let directory = place.path("own");
    let settings = format!("cluster_conf = 'cluster.conf'\n[databases]\ndirectory = '{}'\n{more}", directory.display());
    place.write("orchestrator.toml", settings);
    place
}

fn back_up(place: &Workplace, server: &Postgres, host: &str, more: &[&str]) -> Command {
    let arguments = ["databases", "backup", "--config", "orchestrator.toml", "--as", host, "--json"];
    let mut command = place.cli(&[&arguments[..], more].concat());
    command.envs(server.variables());
    command
}

/// What became of each component, by the last line of a result.
fn done(output: &Output) -> Vec<Value> {
    let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", describe(output)));
    document["result"]["done"].as_array().unwrap_or_else(|| panic!("{}", describe(output))).clone()
}

fn run(command: &mut Command) -> Vec<Value> {
    let output = command.output().expect("it runs");
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}", describe(&output));
    done(&output)
}

fn states(done: &[Value]) -> Vec<String> {
    done.iter().map(|one| one["fate"]["state"].as_str().expect("a state").to_owned()).collect()
}

fn files(directory: &Path, ending: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(ending)).collect();
    names.sort();
    names
}

#[test]
fn without_a_bucket_a_server_keeps_a_bundle_of_each_component_and_restore_takes_it() {
    let (server, target, place) = (server(), Postgres::start(), place("", ""));
    let done = run(&mut back_up(&place, &server, HOSTS[0], &[]));
    assert_eq!(states(&done), ["made", "made", "made"]);
    let series: Vec<&str> = done.iter().map(|one| one["series"]["component"].as_str().expect("a component")).collect();
    assert_eq!(series, ["component-database", "auditlog-database", "monitoring"]);
    assert!(done.iter().all(|one| one["role"] == "master" && one["series"]["group"] == "data"));
    let made = files(&place.path("own"), ".tgz");
    assert!(
        made[0].starts_with("auditlog-database_backup_2") && made[2].starts_with("monitoring_backup_2"),
        "{made:?}"
    );
    let component = place.path("own").join(&made[1]).display().to_string();
    let shown = place.cli(&["show", &component]).output().expect("it runs");
    assert!(describe(&shown).contains("component-database of data"), "{}", describe(&shown));
    assert!(place.cli(&["verify", &component]).output().expect("it runs").status.success());
    // No host is asked for, no release, and nobody gets the cluster.
    let restored = place.restore(&target, &["--yes", "--file", &component]).output().expect("it runs");
    assert_eq!(restored.status.code(), Some(3), "{}", describe(&restored));
    assert!(!place.path("state/ownership.json").exists() && !place.path("state/hosts.json").exists());
    assert_same(&server, &target, "orchestrator");
    assert_eq!(target.sql("postgres", "SELECT count(*) FROM pg_database WHERE datname IN ('zabbix', 'auditlog')"), "0");
}

#[test]
fn with_a_bucket_the_master_keeps_a_copy_and_a_failover_loses_no_day() {
    let (master, s3) = (server(), S3Server::start());
    let standby = master.standby();
    let (first, second) = (place(&in_s3(&s3), ""), place(&in_s3(&s3), ""));
    let there = || s3.files().into_iter().filter(|name| name.ends_with(".tgz")).count();
    // The master is gone before it could back up today: the standby steps in, and keeps no copy.
    assert_eq!(states(&run(&mut back_up(&second, &standby, HOSTS[1], &[]))), ["made", "made", "made"]);
    assert_eq!((there(), files(&second.path("own"), ".tgz").len()), (3, 0));
    let done = run(&mut back_up(&second, &standby, HOSTS[1], &[]));
    assert_eq!((states(&done), &done[0]["role"]), (vec!["left".into(); 3], &Value::from("standby")));
    assert_eq!(states(&run(&mut back_up(&first, &master, HOSTS[0], &[]))), ["made", "made", "made"]);
    assert_eq!((there(), files(&first.path("own"), ".tgz").len()), (6, 3));
    // Whoever is the master is asked of PostgreSQL each time.
    standby.sql("postgres", "SELECT pg_promote()");
    standby.wait_until("SELECT NOT pg_is_in_recovery()");
    let done = run(&mut back_up(&second, &standby, HOSTS[1], &[]));
    assert_eq!((states(&done), &done[0]["role"]), (vec!["made".into(); 3], &Value::from("master")));
    assert_eq!((there(), files(&second.path("own"), ".tgz").len()), (9, 3));
}

#[test]
fn a_standbys_dump_that_its_masters_changes_cut_off_begins_anew_and_says_why_it_can_not() {
    let master = Postgres::start();
    master.sql("postgres", "CREATE DATABASE busy");
    master.sql("busy", "CREATE TABLE t AS SELECT i, repeat('x', 500) AS s FROM generate_series(1, 150000) i");
    master.sql("busy", "CREATE TABLE changing AS SELECT 1 AS i");
    let standby = master.standby();
    standby.sql("postgres", "ALTER SYSTEM SET max_standby_streaming_delay = 0");
    standby.sql("postgres", "SELECT pg_reload_conf()");
    let place = place("", "[databases.components]\nmonitoring = ['busy']\n");
    let stop = std::sync::atomic::AtomicBool::new(false);
    let output = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                master.sql("busy", "UPDATE changing SET i = i");
                master.sql("busy", "VACUUM changing");
            }
        });
        let output = back_up(&place, &standby, HOSTS[0], &[]).output().expect("it runs");
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        output
    });
    let done = done(&output);
    let monitoring = done.iter().find(|one| one["series"]["component"] == "monitoring").expect("an answer");
    let said = monitoring["fate"].to_string();
    assert!(
        said.contains("ended each of 3 attempts") && said.contains("hot_standby_feedback"),
        "{}",
        describe(&output)
    );
    assert!(String::from_utf8_lossy(&output.stderr).contains("attempt 2 of 3"), "{}", describe(&output));
    assert!(files(&place.path("own"), ".tgz").iter().all(|name| !name.starts_with("monitoring")));
    // The other components have no database here, which is said of each.
    let output = back_up(&place, &standby, HOSTS[0], &[]).output().expect("it runs");
    assert_eq!(states(&self::done(&output)), ["failed", "failed", "made"], "{}", describe(&output));
}

#[test]
fn the_rules_of_the_settings_hold_for_each_component_after_its_own_backup_alone() {
    let (server, place) = (server(), place("", "[retention]\nlast = 1\n"));
    run(&mut back_up(&place, &server, HOSTS[0], &["--no-prune"]));
    let old = files(&place.path("own"), ".tgz");
    server.sql("postgres", "DROP DATABASE zabbix");
    another_second();
    let output = back_up(&place, &server, HOSTS[0], &[]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1), "{}", describe(&output));
    let done = done(&output);
    assert_eq!(states(&done), ["made", "made", "failed"]);
    let pruned: Vec<&str> = done
        .iter()
        .flat_map(|one| one["pruned"].as_array().expect("a list"))
        .map(|one| one["file"].as_str().expect("a file"))
        .collect();
    assert_eq!(pruned, [&*old[1], &*old[0]]);
    // What could not be backed up keeps all that it has.
    let left = files(&place.path("own"), ".tgz");
    assert!(left.contains(&old[2]) && left.len() == 3, "{left:?}");
}

#[test]
fn from_the_orchestrator_every_machine_is_asked_over_ssh_and_needs_no_settings_of_its_own() {
    let cluster = Cluster::known(&conf(""), &HOSTS);
    let servers = [server(), server()];
    for (host, server) in HOSTS.iter().zip(&servers) {
        std::fs::write(cluster.network.disk(host).join("server"), server.host().display().to_string()).expect("a file");
        let own = format!("[databases]\ndirectory = '{}/backups'\n", cluster.network.own().display());
        std::fs::write(cluster.network.disk(host).join("own.toml"), own).expect("a file");
    }
    let settings = |network: &Network| {
        let own = network.own().display().to_string();
        let script = format!(
            "PATH='{}' HOME='{own}' STATE_DIRECTORY='{own}/state' PGUSER=postgres PGHOST=$(cat '{own}/server') exec '{}' \"$@\" --config '{own}/own.toml'",
            servers[0].path(),
            system_tests::binary().display()
        );
        format!(
            "cluster_conf = 'cluster.conf'\n[databases]\ndirectory = '{own}/elsewhere'\nuser = ''\ncommand = ['sh', '-c', {}, 'sh']\n",
            serde_json::to_string(&script).expect("JSON")
        )
    };
    cluster.place.write("orchestrator.toml", settings(&cluster.network));
    let output = cluster.run(&["databases", "backup", "--config", "orchestrator.toml", "--all"]);
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}", describe(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("component-database_backup_"), "{}", describe(&output));
    for host in HOSTS {
        // Where they lie is the machine's own business.
        assert!(!cluster.network.disk(host).join("elsewhere").exists(), "{host}: {}", describe(&output));
        let made = files(&cluster.network.disk(host).join("backups"), ".tgz");
        assert_eq!(made.len(), 3, "{host}: {}", describe(&output));
    }
    // One machine that is down is said of each of its components, and holds nobody up.
    let mut cluster = cluster;
    cluster.network.take_down(HOSTS[0]);
    another_second();
    let output = cluster.run(&["databases", "backup", "--config", "orchestrator.toml", "--all", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{}", describe(&output));
    let states = states(&self::done(&output));
    assert_eq!(states, ["failed", "failed", "failed", "made", "made", "made"], "{}", describe(&output));
}
