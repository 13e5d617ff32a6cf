//! Who can put one file into one store stops nothing elsewhere: whatever it is, all commands go on with the others, and name it.

use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Output};

use backup_core::names::BundleName;
use backup_core::ownership::Cluster;
use chrono::{TimeDelta, Utc};
use fixtures::Postgres;
use system_tests::{Workplace, another_second, describe};

/// More than anybody would want in memory; it takes no room.
const HUGE: u64 = 10 << 30;

/// Two stores, and a bundle in both.
struct Stores {
    place: Workplace,
    server: Postgres,
    bundle: String,
}

impl Stores {
    fn new() -> Self {
        let (place, server) = (Workplace::default(), Postgres::start());
        server.sql("postgres", "CREATE TABLE something ()");
        let text = "cluster_conf = 'cluster.conf'\nrelease.version = '2.6.3'\n[[stores]]\npath = 'good'\n[[stores]]\npath = 'bad'\n\
                    [retention]\nlast = 100\n";
        place.write("o.toml", text);
        let mut stores = Self { place, server, bundle: String::new() };
        let made = stores.run(&["backup"]);
        assert!(matches!(made.status.code(), Some(0 | 3)), "{}", describe(&made));
        stores.bundle = stores.names("good").pop().expect("a bundle");
        stores
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut run = self.place.cli(&[arguments, &["--config", "o.toml"]].concat());
        run.envs(self.server.variables()).output().expect("it runs")
    }

    fn names(&self, store: &str) -> Vec<String> {
        let entries = fs::read_dir(self.place.path(store)).expect("a store").flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> =
            names.filter(|name| name.parse::<backup_core::names::FileName>().is_ok()).collect();
        names.sort();
        names
    }
}

/// What is put there, and how.
type Put = fn(&Path);

fn empty(path: &Path) {
    text(path, "");
}

fn junk(path: &Path) {
    text(path, "{\"epoch\": no");
}

fn text(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
}

fn huge(path: &Path) {
    File::create(path).and_then(|file| file.set_len(HUGE)).expect("a sparse file");
}

fn directory(path: &Path) {
    fs::create_dir(path).expect("a directory");
    text(&path.join("inside"), "");
}

fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo runs").success());
}

fn closed(path: &Path) {
    fs::OpenOptions::new().write(true).create_new(true).mode(0o000).open(path).expect("a file");
}

fn of_epoch(path: &Path) {
    let name = path.file_name().expect("a name").to_string_lossy();
    let mut parts = name.trim_end_matches(".json").rsplit('_');
    let (epoch, identity) = (parts.next().expect("an epoch"), parts.next().expect("an identity"));
    let epoch: u64 = epoch.parse().expect("a number");
    let claim = format!(
        "{{\"epoch\":{epoch},\"owner\":\"0a\",\"identity\":\"{identity}\",\"cluster\":\"example\",\"host\":\"far\",\"addresses\":[],\
         \"since\":\"2026-11-20T19:15:00Z\"}}"
    );
    text(path, &claim);
}

#[test]
fn one_bad_file_in_one_store_stops_nothing_elsewhere() {
    let stores = Stores::new();
    let identity = Cluster::named("example").identity;
    let claim = |epoch: u64| format!("orchestrator_claim_{identity}_{epoch:010}.json");
    // One of the same name with another identity, too.
    let other = format!("orchestrator_claim_0b_{:010}.json", 9_999_999_999u64);
    let tomorrow = format!("{}.tgz", BundleName::at(Utc::now() + TimeDelta::days(1)));
    let record = format!("{}.drill.json", stores.bundle);
    let claims: &[&str] = &["backup", "check", "prune"];
    let records: &[&str] = &["list", "status"];
    // What is put there, under which name, and which commands name it.
    let kinds: [(Put, &str, &[&str]); 19] = [
        (empty, &claim(9_999_999_999), claims),
        (of_epoch, &claim(9_999_999_999), claims),
        (of_epoch, &other, claims),
        (junk, &claim(1), claims),
        (huge, &claim(1), claims),
        (directory, &claim(1), claims),
        (pipe, &claim(1), claims),
        (closed, &claim(9_999_999_999), claims),
        (junk, &record, records),
        (huge, &record, records),
        (directory, &record, &[]),
        (pipe, &record, &[]),
        (junk, &tomorrow, records),
        (empty, &tomorrow, records),
        (huge, &tomorrow, records),
        (directory, &tomorrow, &[]),
        (junk, "orchestrator_backup_\u{1b}]0;x\u{7}\u{202e}.tgz", &[]),
        (junk, "orchestrator_backup_20261399T999999Z.tgz", &[]),
        (directory, ".orchestrator_backup_x.part", &[]),
    ];
    let good = format!("good/{}", stores.bundle);
    let commands: [(&str, &[&str]); 7] = [
        ("backup", &["backup"]),
        ("list", &["list"]),
        ("status", &["status"]),
        ("prune", &["prune", "--dry-run"]),
        ("check", &["check"]),
        ("drill", &["drill"]),
        ("restore", &["restore", "--dry-run", "--file", &good]),
    ];
    for (put, file, named) in kinds {
        let path = stores.place.path("bad").join(file);
        let there = fs::read(&path).ok();
        let _ = fs::remove_file(&path);
        put(&path);
        for (name, arguments) in &commands {
            if *name == "backup" {
                another_second();
            }
            let before = stores.names("good").len();
            let output = stores.run(arguments);
            let said = describe(&output);
            let what = format!("{name} beside {file:?}: {said}");
            // Status says more than that: nothing begins jobs here.
            let expected: &[i32] = if *name == "status" { &[13] } else { &[0, 3] };
            assert!(output.status.code().is_some_and(|code| expected.contains(&code)), "{what}");
            assert!(stores.names("good").len() == before + usize::from(*name == "backup"), "{what}");
            assert!(!said.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{what}");
            if matches!(*name, "list" | "prune") {
                assert!(said.contains(&stores.bundle), "{what}");
            }
            if named.contains(name) {
                assert!(said.contains(file), "it is not named: {what}");
            }
        }
        match path.is_dir() {
            true => fs::remove_dir_all(&path).expect("removed"),
            false => drop(fs::remove_file(&path)),
        }
        if let Some(there) = there {
            fs::write(&path, there).expect("put back");
        }
    }
}

#[test]
fn a_claim_that_may_be_true_refuses_until_somebody_says_that_it_is_not() {
    let stores = Stores::new();
    let identity = Cluster::named("example").identity;
    let claim = stores.place.path("bad").join(format!("orchestrator_claim_{identity}_{:010}.json", 7));
    // Junk above it hides nothing.
    for epoch in [8, 900, 9_999_999_999u64] {
        junk(&stores.place.path("bad").join(format!("orchestrator_claim_{identity}_{epoch:010}.json")));
    }
    of_epoch(&claim);
    let refused = |output: Output| {
        let said = describe(&output);
        assert!(output.status.code() == Some(13) && said.contains("epoch 7"), "{said}");
    };
    let made = |arguments: &[&str], bad: usize| {
        another_second();
        let before = ["good", "bad"].map(|store| stores.names(store).len());
        let output = stores.run(arguments);
        assert!(matches!(output.status.code(), Some(0 | 3)), "{}", describe(&output));
        assert_eq!(["good", "bad"].map(|store| stores.names(store).len()), [before[0] + 1, before[1] + bad]);
    };
    refused(stores.run(&["backup"]));
    // It is noted, and still of that store alone.
    made(&["backup", "--without-store", "bad"], 0);
    refused(stores.run(&["backup"]));
    for (arguments, code) in
        [(&["--without-store", "nowhere"][..], 2), (&["--without-store", "good", "--without-store", "bad"], 2)]
    {
        let output = stores.run(&[&["backup"], arguments].concat());
        assert_eq!(output.status.code(), Some(code), "{}", describe(&output));
    }
    let taken = stores.run(&["ownership", "claim", "--yes", "--without-store", "bad"]);
    assert!(
        matches!(taken.status.code(), Some(0 | 3)) && describe(&taken).contains("(epoch 8)"),
        "{}",
        describe(&taken)
    );
    made(&["backup"], 1);
}
