//! A restore from the pair of files that the manual procedure makes: a script of `pg_dump`, and `cluster.conf`.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use fixtures::{Postgres, installations};
use system_tests::{Workplace, describe, rows_sorted, state};

/// A source with the sample, the pair made of it, and a server that has a database of the same name.
struct Stage {
    place: Workplace,
    source: Postgres,
    script: PathBuf,
    target: Postgres,
}

impl Stage {
    fn new() -> Self {
        let source = Postgres::start();
        source.load_sample(1000);
        let place = Workplace::default();
        let script = place.write("orchestrator.sql", source.dump("orchestrator", &[]));
        place.write("settings.toml", "cluster_conf = 'home/cluster.conf'\n");
        let target = Postgres::start();
        target.sql("postgres", "CREATE DATABASE orchestrator CONNECTION LIMIT 7");
        target.sql("orchestrator", "CREATE TABLE precious AS SELECT 'still here' AS what");
        let stage = Self { place, source, script, target };
        stage.make_roles();
        stage
    }

    /// As a new orchestrator has them.
    fn make_roles(&self) {
        let roles = "SELECT format('CREATE ROLE %I;', rolname) FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> current_user";
        self.target.sql("postgres", &self.source.sql("postgres", roles));
        self.target.sql("postgres", "ALTER DATABASE orchestrator OWNER TO orchestrator");
    }

    fn restore(&self, arguments: &[&str]) -> Output {
        let mut command = self.place.restore(&self.target, &["--sql", "orchestrator.sql", "--yes"]);
        command.args(["--cluster-conf", "cluster.conf"]).args(arguments).output().expect("it runs")
    }

    /// Restores, which must be refused for a reason and change nothing.
    fn assert_refused(&self, code: i32, reason: &str) {
        let before = state(&self.target);
        let output = self.restore(&[]);
        assert_eq!(output.status.code(), Some(code), "{reason}: {}", describe(&output));
        let said = describe(&output);
        assert!(said.contains(reason) && said.ends_with("refused: nothing was changed\n"), "{reason}: {said}");
        assert!(state(&self.target) == before, "{reason}: something has changed");
    }
}

#[test]
fn a_pair_comes_back_as_the_database_was() {
    let stage = Stage::new();
    let output = stage.restore(&["--config", "settings.toml"]);
    // Nothing says which release it is of.
    assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
    let dump = |server: &Postgres| server.dump("orchestrator", &[]);
    let (before, after) = (dump(&stage.source), dump(&stage.target));
    assert!(rows_sorted(&before) == rows_sorted(&after), "{}", describe(&output));
    let owner = "SELECT pg_get_userbyid(datdba), datconnlimit, shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'orchestrator'";
    assert_eq!(stage.target.sql("postgres", owner).trim(), "orchestrator|7|");
    let conf = |name: &str| fs::read(stage.place.path(name)).expect("a cluster.conf");
    assert_eq!(conf("home/cluster.conf"), conf("cluster.conf"));
    let mut back = stage.place.restore(&stage.target, &["--rollback", "--yes", "--sql", "orchestrator.sql"]);
    let back = back.output().expect("it runs");
    assert!(back.status.success(), "{}", describe(&back));
    assert_eq!(stage.target.sql("orchestrator", "SELECT what FROM precious").trim(), "still here");
    assert!(!stage.place.path("home").exists(), "its directory was made for it");
}

#[test]
fn scripts_of_every_version_make_a_database_where_there_is_none() {
    let all = installations();
    let newest = all.last().expect("one installation at least");
    for installation in &all {
        let mut stage = Stage::new();
        stage.source = Postgres::start_version(installation, "");
        stage.source.load_sample(100);
        stage.target = Postgres::start_version(newest, "");
        stage.target.sql("postgres", "CREATE DATABASE orchestrator");
        stage.make_roles();
        stage.target.sql("postgres", "DROP DATABASE orchestrator");
        fs::write(&stage.script, stage.source.dump("orchestrator", &[])).expect("a script");
        let output = stage.restore(&[]);
        assert_eq!(output.status.code(), Some(3), "version {}: {}", installation.major, describe(&output));
        let rows = "SELECT count(*) FROM chef.runs";
        assert_eq!(stage.target.sql("orchestrator", rows), stage.source.sql("orchestrator", rows));
    }
}

#[test]
fn what_is_no_sound_script_of_one_database_is_refused() {
    let stage = Stage::new();
    let sound = fs::read(&stage.script).expect("the script");
    let write = |content: &[u8]| fs::write(&stage.script, content).expect("the script");
    write(&sound[..sound.len() / 2]);
    stage.assert_refused(12, "its end is missing");
    write(&stage.source.dump("orchestrator", &["--create", "--clean"]));
    stage.assert_refused(12, "it reaches beyond its database: DROP DATABASE orchestrator;");
    write(&stage.source.dump("orchestrator", &["--format=custom"]));
    stage.assert_refused(12, "it is pg_dump's own format and no plain script");
    write(b"SELECT 1;\n");
    stage.assert_refused(12, "it is no script that pg_dump wrote");
    fs::remove_file(&stage.script).expect("removed");
    stage.assert_refused(10, "orchestrator.sql");
    write(&sound);
    stage.target.sql("postgres", "ALTER ROLE \"ops team\" RENAME TO others");
    stage.assert_refused(13, "the script needs roles that are not there: ops team");
}

#[test]
fn a_script_that_fails_half_way_leaves_what_is_live() {
    let stage = Stage::new();
    let mut script = fs::read(&stage.script).expect("the script");
    let end = script.windows(8).rposition(|window| window == b"\n\\unrest").unwrap_or(script.len());
    script.splice(end..end, *b"\nSELECT no_such_function();\n");
    fs::write(&stage.script, script).expect("the script");
    let output = stage.restore(&[]);
    assert_eq!(output.status.code(), Some(14), "{}", describe(&output));
    assert!(describe(&output).contains("function no_such_function() does not exist"), "{}", describe(&output));
    assert_eq!(stage.target.sql("orchestrator", "SELECT what FROM precious").trim(), "still here");
    let back = stage.place.restore(&stage.target, &["--rollback"]).output().expect("it runs");
    assert!(back.status.success(), "{}", describe(&back));
    assert!(!stage.target.sql("postgres", "SELECT datname FROM pg_database").contains("_restore_"));
}
