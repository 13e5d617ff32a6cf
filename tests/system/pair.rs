//! A restore from the pair of files that the manual procedure makes: a script of `pg_dump`, and `cluster.conf`.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use fixtures::{Postgres, installations};
use system_tests::{Workplace, describe, last_line, rows_sorted, state};

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
        // It is read and sent in parts, and this is longer than some.
        source.sql(
            "orchestrator",
            "CREATE TABLE long AS SELECT i, repeat('row ', 30) AS t FROM generate_series(1, 30000) i",
        );
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
    // What is live is quite another database.
    assert!(last_line(&output).ends_with(", with 1 warning"), "{}", describe(&output));
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
        stage.source.load_sample_for_all(100);
        stage.target = Postgres::start_version(newest, "");
        stage.target.sql("postgres", "CREATE DATABASE orchestrator");
        stage.make_roles();
        stage.target.sql("postgres", "DROP DATABASE orchestrator");
        fs::write(&stage.script, stage.source.dump("orchestrator", &[])).expect("a script");
        let output = stage.restore(&["--only", "databases"]);
        assert_eq!(output.status.code(), Some(0), "version {}: {}", installation.major, describe(&output));
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
    stage.assert_refused(12, "it reaches beyond its database: DROP DATABASE orchestrator");
    write(&stage.source.dump("orchestrator", &["--clean"]));
    stage.assert_refused(12, "it was made with --clean");
    write(&stage.source.dump("orchestrator", &["--schema-only"]));
    stage.assert_refused(12, "it makes tables and holds no rows of them");
    write(&stage.source.dump("orchestrator", &["--data-only"]));
    stage.assert_refused(12, "it holds rows of tables that it does not make");
    write(b"SELECT 1;\n");
    stage.assert_refused(12, "it is no script that pg_dump wrote");
    fs::remove_file(&stage.script).expect("removed");
    stage.assert_refused(10, "orchestrator.sql");
    write(&sound);
    stage.target.sql("postgres", "ALTER ROLE \"ops team\" RENAME TO others");
    stage.assert_refused(13, "the script needs roles that are not there: ops team");
}

#[test]
fn what_a_script_does_not_say_is_a_warning() {
    let stage = Stage::new();
    // It belongs to somebody, its rows are inserted, and the database that steps aside is quite another one.
    let arguments = ["--inserts", "--no-owner", "--clean", "--if-exists"];
    fs::write(&stage.script, stage.source.dump("orchestrator", &arguments)).expect("a script");
    let output = stage.restore(&[]);
    assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
    for word in [
        "its rows can't be counted",
        "it does not say whom anything belongs to",
        "cluster.conf: it is put nowhere",
        "database orchestrator: its rows are not counted",
    ] {
        assert!(describe(&output).contains(word), "{word}: {}", describe(&output));
    }
    let rows = "SELECT count(*) FROM chef.runs";
    assert_eq!(stage.target.sql("orchestrator", rows), stage.source.sql("orchestrator", rows));
    fs::write(&stage.script, stage.source.dump("orchestrator_archive", &[])).expect("another script");
    let output = stage.restore(&["--dry-run"]);
    assert!(describe(&output).contains("and the script has none of them"), "{}", describe(&output));
}

#[test]
fn a_script_that_is_changed_after_it_was_looked_through_is_not_run() {
    let stage = Stage::new();
    fs::write(stage.place.path("orchestrator.dump"), stage.source.dump("orchestrator", &["-Fc", "-Z0"]))
        .expect("a dump");
    // The plan is made, and the script grows by a statement, or the archive becomes another one, before it is run.
    let grow = |script: &PathBuf| {
        let mut script = fs::OpenOptions::new().append(true).open(script).expect("the script");
        script.write_all(b"CREATE TABLE public.smuggled ();\n").expect("written");
    };
    let replace =
        |script: &PathBuf| fs::write(script, stage.source.dump("orchestrator_archive", &["-Fc"])).expect("another");
    for name in ["orchestrator.sql", "orchestrator.dump"] {
        let mut restore = stage.place.restore(&stage.target, &["--sql", name, "--yes", "--only", "databases"]);
        restore.args(["--cluster-conf", "cluster.conf"]).stderr(Stdio::piped()).stdout(Stdio::null());
        // Whoever locks the catalog of databases keeps the shadow from being made.
        let mut holder = stage.target.command("psql");
        let mut holder = holder.args(["-X", "-q", "-d", "template1"]).stdin(Stdio::piped()).spawn().expect("psql runs");
        let input = holder.stdin.as_mut().expect("a pipe");
        input.write_all(b"BEGIN; LOCK TABLE pg_catalog.pg_database IN EXCLUSIVE MODE;\n").expect("sent");
        stage.target.wait_until(
            "SELECT count(*) > 0 FROM pg_locks WHERE relation = 'pg_database'::regclass AND mode = 'ExclusiveLock'",
        );
        let child = restore.spawn().expect("it runs");
        stage.target.wait_until(
            "SELECT count(*) > 0 FROM pg_stat_activity WHERE query ~ '^CREATE DATABASE' AND wait_event_type = 'Lock'",
        );
        let script = stage.place.path(name);
        if name.ends_with(".sql") {
            grow(&script)
        } else {
            replace(&script)
        }
        drop(holder.stdin.take());
        holder.wait().expect("it ends");
        let said = child.wait_with_output().expect("it ends");
        assert_eq!(said.status.code(), Some(14), "{name}: {}", describe(&said));
        let said = describe(&said);
        assert!(said.contains("the script has changed since it was looked through"), "{name}: {said}");
        let back = stage.place.restore(&stage.target, &["--rollback"]).output().expect("it runs");
        assert!(back.status.success(), "{name}: {}", describe(&back));
    }
}

#[test]
fn a_pair_that_was_moved_is_gone_on_with() {
    let stage = Stage::new();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_interrupted"));
    fixtures::forget_libpq(&mut command);
    command.args(["3", "restore"]).arg(&stage.script).arg(stage.place.path("cluster.conf"));
    let killed = command.arg(stage.place.path("there.conf")).envs(stage.target.variables());
    let killed = killed.env("STATE_DIRECTORY", stage.place.path("state")).output().expect("it runs");
    assert!(!killed.status.success(), "{}", describe(&killed));
    for (from, to) in [("orchestrator.sql", "moved.sql"), ("cluster.conf", "moved.conf")] {
        fs::rename(stage.place.path(from), stage.place.path(to)).expect("moved");
    }
    let resume = |arguments: &[&str]| {
        let all = [&["--resume"], arguments].concat();
        stage.place.restore(&stage.target, &all).output().expect("it runs")
    };
    let lost = resume(&[]);
    assert_eq!(lost.status.code(), Some(14), "{}", describe(&lost));
    assert!(
        describe(&lost)
            .contains("`orchestrator-cli restore --resume --sql orchestrator.sql --cluster-conf cluster.conf`"),
        "{}",
        describe(&lost)
    );
    let found = resume(&["--sql", "moved.sql", "--cluster-conf", "moved.conf"]);
    // As it would have ended undisturbed: the script has none of the live database's tables.
    assert_eq!(found.status.code(), Some(3), "{}", describe(&found));
    assert!(stage.place.path("there.conf").exists());
}

#[test]
fn a_script_that_fails_half_way_leaves_what_is_live() {
    let stage = Stage::new();
    let mut script = fs::read(&stage.script).expect("the script");
    let end = script.windows(26).rposition(|window| window == b"-- PostgreSQL database dum").expect("its end");
    script.splice(end..end, *b"\nSELECT no_such_function();\n");
    fs::write(&stage.script, script).expect("the script");
    let output = stage.restore(&[]);
    assert_eq!(output.status.code(), Some(14), "{}", describe(&output));
    for word in ["function no_such_function() does not exist", "it will fail there again: go back"] {
        assert!(describe(&output).contains(word), "{word}: {}", describe(&output));
    }
    assert_eq!(stage.target.sql("orchestrator", "SELECT what FROM precious").trim(), "still here");
    let back = stage.place.restore(&stage.target, &["--rollback"]).output().expect("it runs");
    assert!(back.status.success(), "{}", describe(&back));
    assert!(!stage.target.sql("postgres", "SELECT datname FROM pg_database").contains("_restore_"));
}
