//! Whatever state a restore is in, the tool says so truly, and there is a way on.

use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;

use backup_core::Context;
use backup_core::component::control_plane::Origin;
use backup_core::context::Environment;
use backup_core::restore::Settings;
use backup_core::restore::{self, Request};
use chrono::DateTime;
use fixtures::{Postgres, forget_libpq};
use system_tests::{Workplace, describe, last_line};

/// A bundle, and a server that has another database of the same name.
struct Stage {
    place: Workplace,
    bundle: PathBuf,
    target: Postgres,
}

impl Stage {
    fn new() -> Self {
        let (place, source) = (Workplace::default(), Postgres::start());
        source.load_sample(20);
        let bundle = place.make_bundle(&source);
        let target = Postgres::start();
        target.sql("postgres", "CREATE DATABASE orchestrator");
        Self { place, bundle, target }
    }

    fn run(&self, server: &Postgres, arguments: &[&str]) -> Output {
        self.place.restore(server, arguments).output().expect("it runs")
    }

    fn restore(&self, server: &Postgres) {
        let output = self.place.restore_all(server, &self.bundle, &["--only", "databases"]);
        assert!(last_line(&output).starts_with("restored in "), "{}", describe(&output));
    }

    /// Begins a restore that kills itself at a mark.
    fn kill_at(&self, mark: usize) {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_interrupted"));
        forget_libpq(&mut command);
        command.arg(mark.to_string()).arg("restore").arg(&self.bundle).envs(self.target.variables());
        let killed = command.env("STATE_DIRECTORY", self.place.path("state")).output().expect("it runs");
        assert!(!killed.status.success(), "{}", describe(&killed));
    }

    /// The code that a run ended with, and its last line.
    fn assert_ends(&self, output: &Output, code: i32, line: &str) {
        assert_eq!(output.status.code(), Some(code), "{}", describe(output));
        assert!(last_line(output).starts_with(line), "{line}: {}", describe(output));
    }
}

#[test]
fn a_half_dropped_database_stops_no_way_on() {
    let stage = Stage::new();
    let shadow = "UPDATE pg_database SET datconnlimit = -2 WHERE datname ~ '^orchestrator_restore_'";
    stage.kill_at(5);
    stage.target.sql("postgres", shadow);
    let back = stage.run(&stage.target, &["--rollback"]);
    assert!(back.status.success(), "{}", describe(&back));
    assert!(!stage.target.sql("postgres", "SELECT datname FROM pg_database").contains("_restore_"));
    stage.restore(&stage.target);
    stage.target.sql("postgres", "UPDATE pg_database SET datconnlimit = -2 WHERE datname ~ '^orchestrator_before_'");
    // What is half gone is nothing to return to.
    let bundle = stage.bundle.display().to_string();
    let back = stage.run(&stage.target, &["--rollback", "--yes", "--file", &bundle]);
    stage.assert_ends(&back, 13, "refused: nothing was changed");
    assert_eq!(stage.target.sql("orchestrator", "SELECT count(*) FROM cluster.machines"), "20");
    let cleaned = stage.run(&stage.target, &["cleanup", "--yes"]);
    assert!(cleaned.status.success(), "{}", describe(&cleaned));
    assert!(!stage.target.sql("postgres", "SELECT datname FROM pg_database").contains("_before_"));
}

#[test]
fn what_fails_after_a_complete_restore_leaves_it_complete() {
    let stage = Stage::new();
    stage.restore(&stage.target);
    let bundle = stage.bundle.display().to_string();
    let other = Postgres::start();
    // A complete restore is not gone on with, on whatever server.
    for (arguments, code) in [(&["--rollback", "--yes", "--file", &bundle][..], 13), (&["--resume"], 10)] {
        stage.assert_ends(&stage.run(&other, arguments), code, "refused: nothing was changed");
    }
    let mut gone = stage.place.restore(&other, &["cleanup", "--yes"]);
    let gone = gone.env("PGHOST", "/nowhere").output().expect("it runs");
    stage.assert_ends(&gone, 1, "failed: nothing was changed");
}

#[test]
fn what_is_unfinished_is_told_from_the_journal() {
    let stage = Stage::new();
    stage.kill_at(5);
    let bundle = stage.bundle.display().to_string();
    let resumable = "unfinished: `orchestrator-cli restore --resume` goes on";
    for arguments in [&["cleanup", "--yes"][..], &["--dry-run", &bundle], &["--yes", &bundle]] {
        stage.assert_ends(&stage.run(&stage.target, arguments), 14, resumable);
    }
    let said = describe(&stage.run(&stage.target, &["--dry-run", &bundle]));
    assert!(!said.contains("another restore builds"), "{said}");
}

#[test]
fn restores_into_several_servers_are_kept_apart() {
    let stage = Stage::new();
    let other = Postgres::start();
    other.sql("postgres", "CREATE DATABASE orchestrator");
    stage.restore(&other);
    stage.restore(&stage.target);
    let before = "SELECT count(*) FROM pg_database WHERE datname ~ '_before_'";
    let forgotten = stage.run(&stage.target, &["cleanup", "--forget", "--yes"]);
    assert!(forgotten.status.success(), "{}", describe(&forgotten));
    assert_eq!(describe(&forgotten).matches("forgotten: ").count(), 1, "{}", describe(&forgotten));
    // The one whose server answers is still there.
    let bundle = stage.bundle.display().to_string();
    let back = stage.run(&stage.target, &["--rollback", "--yes", "--file", &bundle]);
    assert!(back.status.success(), "{}", describe(&back));
    let none = stage.run(&stage.target, &["cleanup", "--forget", "--yes"]);
    stage.assert_ends(&none, 10, "refused: nothing was changed");
    stage.restore(&other);
    stage.restore(&stage.target);
    let elsewhere = other.sql("postgres", before);
    let cleaned = stage.run(&stage.target, &["cleanup", "--yes"]);
    assert!(cleaned.status.success(), "{}", describe(&cleaned));
    assert!(describe(&cleaned).contains("was into another server"), "{}", describe(&cleaned));
    assert_eq!((stage.target.sql("postgres", before), other.sql("postgres", before)), ("0".into(), elsewhere));
    // It was not the last one, and does not become it.
    let back = stage.run(&other, &["--rollback", "--yes", "--file", &bundle]);
    stage.assert_ends(&back, 10, "refused: nothing was changed");
}

#[test]
fn what_is_lost_beside_its_place_is_written_again() {
    let stage = Stage::new();
    stage.place.write("cluster.conf", "live\n");
    let mut command = stage.place.restore(&stage.target, &["--release", "2.6.3", "--dry-run", "--file"]);
    let planned = command.arg(&stage.bundle).arg("--json").output().expect("it runs");
    let planned: serde_json::Value = serde_json::from_slice(&planned.stdout).expect("JSON");
    let steps = planned["result"]["steps"].as_array().expect("steps");
    // Right after the swap of the databases; files come last.
    stage.kill_at(2 * (steps.len() - 1));
    let staging = std::fs::read_dir(stage.place.path("")).expect("a directory").flatten();
    let staging =
        staging.map(|entry| entry.path()).filter(|path| path.to_string_lossy().contains("/.orchestrator-cli_"));
    let staging: Vec<_> = staging.collect();
    assert_eq!(staging.len(), 1, "{staging:?}");
    std::fs::remove_dir_all(&staging[0]).expect("removed");
    let resumed = stage.run(&stage.target, &["--resume"]);
    assert!(last_line(&resumed).starts_with("restored in "), "{}", describe(&resumed));
    let conf = std::fs::read_to_string(stage.place.path("cluster.conf")).expect("a cluster.conf");
    assert!(conf.starts_with("chef: "), "{conf}");
}

#[test]
fn what_an_unfinished_restore_needs_is_not_deleted() {
    let stage = Stage::new();
    stage.kill_at(5);
    let settings = "cluster_conf = 'cluster.conf'\n[[stores]]\npath = 'bundles'\n[retention]\nlast = 1\n";
    stage.place.write("settings.toml", settings);
    let run = |arguments: &[&str]| {
        let mut run = stage.place.cli(&[arguments, &["--config", "settings.toml"]].concat());
        run.envs(stage.target.variables()).output().expect("it runs")
    };
    let backup = run(&["backup", "--release", "2.6.3"]);
    assert!(stage.place.bundles().len() == 2 && stage.bundle.exists(), "{}", describe(&backup));
    // The new one is smaller, and well.
    let newest = stage.place.bundles().pop().expect("a bundle");
    let newest = newest.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
    let planned = || describe(&run(&["prune", "--dry-run", "--accept", &newest]));
    assert!(planned().contains("an unfinished restore needs it"), "{}", planned());
    let resumed = stage.run(&stage.target, &["--resume"]);
    assert!(last_line(&resumed).starts_with("restored in "), "{}", describe(&resumed));
    assert!(planned().contains("delete  no rule keeps it"), "{}", planned());
}

#[tokio::test]
async fn restores_of_one_moment_set_aside_what_is_there_under_names_of_their_own() {
    let stage = Stage::new();
    let state = ("STATE_DIRECTORY", stage.place.path("state").display().to_string());
    let variables = stage.target.variables().into_iter().chain([state]);
    let variables = variables.map(|(name, value)| (name.to_owned(), value)).collect();
    let environment = Environment { variables, host: "here".into(), ..Environment::default() };
    let clock = Arc::new(|| DateTime::from_timestamp(1_800_000_000, 0).expect("a time"));
    let context = Context { clock, ..Context::new(environment) };
    for _ in 0..3 {
        let release = Some(Origin::Given("2.6.3".into()));
        let request = Request {
            file: stage.bundle.clone(),
            root: stage.place.path("root"),
            release,
            allow_old_clients: true,
            ..Request::default()
        };
        let prepared = restore::prepare(&request, &Settings::default(), &context).await.expect("no other one");
        prepared.apply(&context).await.expect("a restore");
    }
    let aside =
        "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE datname LIKE 'orchestrator\\_b%'";
    assert_eq!(
        stage.target.sql("postgres", aside),
        "orchestrator_before_20270115T080000Z orchestrator_before_20270115T080001Z orchestrator_before_20270115T080002Z"
    );
    let conf = stage.place.path("root").join(stage.place.path("cluster.conf").strip_prefix("/").expect("absolute"));
    let beside = std::fs::read_dir(conf.parent().expect("a directory")).expect("entries").flatten();
    let mut names: Vec<String> = beside.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    assert_eq!(names, ["cluster.conf", "cluster.conf_before_20270115T080001Z", "cluster.conf_before_20270115T080002Z"]);
}
