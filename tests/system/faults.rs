//! Whatever breaks under a restore, what is live stays as it was, and the restore can be gone on with.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};

use fixtures::Postgres;
use rustix::process::{Pid, Signal, kill_process};
use system_tests::{Workplace, describe, open};
use tempfile::TempDir;

/// Rows of the table that is loaded at the gate.
const ROWS: usize = 50;

/// A bundle whose rows and whose index wait for files, and a server to restore it into that holds something else.
struct Stage {
    place: Workplace,
    gates: TempDir,
    bundle: PathBuf,
    target: Postgres,
}

impl Stage {
    fn new() -> Self {
        let gates = tempfile::tempdir().expect("a directory");
        fs::set_permissions(gates.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
        let place = Workplace::default();
        let source = Postgres::start();
        source.sql("postgres", "CREATE DATABASE orchestrator");
        let mut stage = Self { place, gates, bundle: PathBuf::new(), target: Postgres::start() };
        ["load", "index"].iter().for_each(|gate| stage.open_gate(gate));
        for gate in ["load", "index"] {
            source.sql(
                "orchestrator",
                &format!(
                    "CREATE FUNCTION {gate}(id int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN \
                     WHILE pg_stat_file('{}', true) IS NULL LOOP PERFORM pg_sleep(0.02); END LOOP; RETURN id; END $$",
                    stage.gates.path().join(gate).display()
                ),
            );
        }
        source.sql(
            "orchestrator",
            &format!(
                "CREATE TABLE gated (id int CHECK (public.load(id) > 0), filler text); \
                 INSERT INTO gated SELECT i, repeat('x', 1000) FROM generate_series(1, {ROWS}) i; \
                 CREATE INDEX ON gated (public.index(id)); \
                 CREATE UNLOGGED TABLE unlogged AS SELECT i FROM generate_series(1, 9) i; \
                 CREATE TABLE other AS SELECT i FROM generate_series(1, 9) i"
            ),
        );
        // Read by one connection, chunks stand in the order of their tables' sizes, and one connection loads them in it.
        let backup = stage.place.backup(&source, &["--jobs", "1"]).output().expect("it runs");
        assert!(backup.status.success(), "{}", describe(&backup));
        stage.bundle = stage.place.bundles().pop().expect("a bundle");
        ["load", "index"].iter().for_each(|gate| stage.close_gate(gate));
        stage.target.sql("postgres", "CREATE DATABASE orchestrator");
        stage.target.sql("orchestrator", "CREATE TABLE precious AS SELECT 'still here' AS what");
        stage
    }

    fn open_gate(&self, gate: &str) {
        fs::write(self.gates.path().join(gate), "").expect("a gate");
    }

    fn close_gate(&self, gate: &str) {
        fs::remove_file(self.gates.path().join(gate)).expect("a gate");
    }

    /// Starts a restore with one connection, which loads the largest table first, and waits until it stands at a gate.
    fn start(&self, until: &str) -> Child {
        let bundle = self.bundle.display().to_string();
        let arguments = ["--release", "2.6.3", "--yes", "--jobs", "1", "--file", &bundle];
        let mut command = self.place.restore(&self.target, &arguments);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        self.target.wait_until(until);
        child
    }

    fn finish(&self, arguments: &[&str]) -> Output {
        self.place.restore(&self.target, arguments).output().expect("it runs")
    }

    /// The restore says that it can be gone on with, and what was live is as it was.
    fn assert_stopped(&self, output: &Output, word: &str) {
        assert_eq!(output.status.code(), Some(14), "{}", describe(output));
        assert!(describe(output).contains(word), "{word}: {}", describe(output));
        assert!(
            describe(output).contains("\nunfinished: `orchestrator-cli restore --resume` goes on"),
            "{}",
            describe(output)
        );
        self.assert_untouched();
    }

    fn assert_untouched(&self) {
        assert_eq!(self.target.sql("orchestrator", "SELECT what FROM precious"), "still here");
    }

    fn assert_resumes(&self, arguments: &[&str]) {
        self.resume(arguments, 0, 9);
    }

    fn resume(&self, arguments: &[&str], code: i32, unlogged: usize) {
        ["load", "index"].iter().for_each(|gate| self.open_gate(gate));
        let output = self.finish(&[&["--resume"], arguments].concat());
        assert_eq!(output.status.code(), Some(code), "{}", describe(&output));
        let counts = "SELECT (SELECT count(*) FROM gated), (SELECT count(*) FROM unlogged), (SELECT count(*) FROM other), \
            (SELECT count(*) FROM pg_indexes WHERE tablename = 'gated'), (SELECT count(*) FROM pg_namespace WHERE nspname ~ '^orch')";
        assert_eq!(self.target.sql("orchestrator", counts), format!("{ROWS}|{unlogged}|9|1|0"));
    }
}

const LOADING: &str = "SELECT count(*) > 0 FROM pg_stat_activity WHERE query ~ '^COPY .*gated'";
const INDEXING: &str = "SELECT count(*) > 0 FROM pg_stat_activity WHERE query ~ '^CREATE INDEX'";
const SWAPPING: &str = "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND classid = 'pg_database'::regclass";

#[test]
fn a_server_that_crashes_while_rows_are_loaded() {
    let mut stage = Stage::new();
    let child = stage.start(LOADING);
    stage.target.crash_and_restart();
    stage.assert_stopped(&child.wait_with_output().expect("it ends"), "load chunk");
    stage.assert_resumes(&[]);
}

#[test]
fn a_server_that_crashes_after_unlogged_rows_are_loaded() {
    let mut stage = Stage::new();
    stage.open_gate("load");
    let child = stage.start(INDEXING);
    stage.target.crash_and_restart();
    stage.assert_stopped(&child.wait_with_output().expect("it ends"), "build indexes");
    stage.assert_resumes(&[]);
}

#[test]
fn a_server_that_crashes_in_the_swap() {
    let mut stage = Stage::new();
    ["load", "index"].iter().for_each(|gate| stage.open_gate(gate));
    let mut holder = stage.target.command("psql");
    let mut holder = holder.args(["-X", "-q", "-d", "postgres"]).stdin(Stdio::piped()).spawn().expect("psql runs");
    let input = holder.stdin.as_mut().expect("a pipe");
    std::io::Write::write_all(input, b"BEGIN; COMMENT ON DATABASE orchestrator IS 'held';\n").expect("sent");
    let child = stage.start(SWAPPING);
    stage.target.crash_and_restart();
    drop(holder.stdin.take());
    holder.wait().expect("it ends");
    stage.assert_stopped(&child.wait_with_output().expect("it ends"), "swap the databases");
    // PostgreSQL empties unlogged tables in a crash; it came after they were compared, so it is told.
    stage.resume(&[], 3, 0);
}

#[test]
fn sessions_that_an_administrator_ends() {
    let stage = Stage::new();
    let child = stage.start(LOADING);
    stage.target.sql(
        "postgres",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'orchestrator-cli%'",
    );
    stage.assert_stopped(&child.wait_with_output().expect("it ends"), "administrator");
    stage.assert_resumes(&[]);
}

#[test]
fn a_signal_that_asks_to_stop() {
    let stage = Stage::new();
    let child = stage.start(LOADING);
    kill_process(Pid::from_raw(child.id() as i32).expect("a process"), Signal::TERM).expect("a signal");
    stage.assert_stopped(&child.wait_with_output().expect("it ends"), "interrupted");
    let again = stage.finish(&["--yes", "--file", &stage.bundle.display().to_string()]);
    stage.assert_stopped(&again, "is unfinished");
    stage.assert_resumes(&[]);
}

#[test]
fn a_chunk_that_is_damaged_after_the_check() {
    let stage = Stage::new();
    let sound = fs::read(&stage.bundle).expect("the bundle");
    let bundle = open(&stage.bundle);
    let chunk = bundle.manifest().entries.iter().rfind(|entry| entry.chunk.is_some()).expect("a chunk");
    let child = stage.start(LOADING);
    flip(&stage.bundle, chunk.offset + chunk.stored - 40);
    stage.open_gate("load");
    stage.assert_stopped(&child.wait_with_output().expect("it ends"), &chunk.path);
    fs::write(&stage.bundle, sound).expect("the bundle");
    stage.assert_resumes(&[]);
}

/// Changes a byte in place, as a dying disk does.
fn flip(path: &Path, at: u64) {
    use std::os::unix::fs::FileExt;
    let file = fs::OpenOptions::new().read(true).write(true).open(path).expect("the file");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("read");
    file.write_all_at(&[byte[0] ^ 1], at).expect("written");
}

#[test]
fn a_bundle_that_vanishes() {
    let stage = Stage::new();
    let mut child = stage.start(LOADING);
    child.kill().expect("a signal");
    child.wait().expect("it ends");
    let elsewhere = stage.place.path("elsewhere.tgz");
    fs::rename(&stage.bundle, &elsewhere).expect("moved");
    stage.assert_stopped(
        &stage.finish(&["--resume"]),
        "say where it is now: `orchestrator-cli restore --resume --file ",
    );
    let other = stage.place.write("other.tgz", "no bundle");
    stage.assert_stopped(&stage.finish(&["--resume", "--file", &other.display().to_string()]), "other.tgz");
    stage.assert_resumes(&["--file", &elsewhere.display().to_string()]);
}

#[test]
fn a_bundle_that_vanishes_for_good_is_rolled_back_without() {
    let stage = Stage::new();
    let mut child = stage.start(LOADING);
    child.kill().expect("a signal");
    child.wait().expect("it ends");
    fs::remove_file(&stage.bundle).expect("removed");
    let output = stage.finish(&["--rollback"]);
    assert!(output.status.success(), "{}", describe(&output));
    stage.assert_untouched();
    assert_eq!(stage.target.sql("postgres", "SELECT count(*) FROM pg_database"), "4");
}

#[test]
fn a_disk_that_fills_up() {
    let target = Postgres::start_with_small_tablespace(16);
    let source = Postgres::start_with_small_tablespace(200);
    source.sql("postgres", "CREATE DATABASE orchestrator TABLESPACE small");
    source.sql("orchestrator", "CREATE TABLE much AS SELECT i, repeat('x', 500) FROM generate_series(1, 60000) i");
    let place = Workplace::default();
    let bundle = place.make_bundle(&source);
    target.sql("postgres", "CREATE DATABASE orchestrator");
    target.sql("orchestrator", "CREATE TABLE precious AS SELECT 'still here' AS what");
    let bundle = bundle.display().to_string();
    let mut restore = place.restore(&target, &["--release", "2.6.3", "--yes", "--file", &bundle]);
    let output = restore.output().expect("it runs");
    assert_eq!(output.status.code(), Some(14), "{}", describe(&output));
    assert!(describe(&output).contains("No space left on device"), "{}", describe(&output));
    assert_eq!(target.sql("orchestrator", "SELECT what FROM precious"), "still here");
    let output = place.restore(&target, &["--rollback"]).output().expect("it runs");
    assert!(output.status.success(), "{}", describe(&output));
    assert_eq!(target.sql("postgres", "SELECT count(*) FROM pg_database WHERE datname ~ 'restore'"), "0");
}
