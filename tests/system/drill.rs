//! A drill proves a bundle by restoring it, says so in the list, and leaves nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use fixtures::{Installation, Postgres, forget_libpq};
use system_tests::{Workplace, describe};
use tempfile::TempDir;

/// A directory that the server's user can reach, on disk as an operator's: other tests' drills are in memory.
fn on_disk() -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
    directory
}

fn drill(place: &Workplace, server: &Postgres, bundle: &Path, inside: &Path, arguments: &[&str]) -> Command {
    let mut command = place.cli(&["drill"]);
    command.arg(bundle).arg("--in").arg(inside).args(arguments).env("PATH", server.path());
    // A live server that must not be met.
    command.env("PGHOST", "/nowhere").env("PGDATABASE", "nowhere");
    command
}

fn list(place: &Workplace) -> String {
    let output = place.cli(&["list", "bundles"]).output().expect("it runs");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn left(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path()).collect()
}

/// Servers that run below a directory; what is about to become one, under another program's name, is none yet.
fn servers(directory: &Path) -> String {
    let mut pgrep = Command::new("pgrep");
    forget_libpq(&mut pgrep);
    let output: Output =
        pgrep.args(["-f", &format!("^[^ ]*/postgres .*{}", directory.display())]).output().expect("pgrep runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_good_bundle_is_proved_and_listed_so_and_nothing_is_left() {
    let server = Postgres::start_with_small_tablespace(50);
    server.load_sample(200);
    server.sql("postgres", "CREATE DATABASE elsewhere TABLESPACE small");
    server.sql("elsewhere", "CREATE TABLE something AS SELECT 1 AS a");
    server.sql("postgres", "CREATE TABLE not_untouched AS SELECT 1 AS a");
    let (place, inside) = (Workplace::default(), on_disk());
    let bundle = place.make_bundle(&server);
    assert!(list(&place).contains("never"), "{}", list(&place));
    let settings = "cluster_conf = 'missing'\n[[drill.assert]]\ndatabase = 'orchestrator'\n\
        sql = 'SELECT count(*) = 200 FROM cluster.machines'\n";
    place.write("settings.toml", settings);
    let output = drill(&place, &server, &bundle, inside.path(), &["--config", "settings.toml"]).output();
    let output = output.expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{}", describe(&output));
    assert!(describe(&output).contains("; made here; test server removed"), "{}", describe(&output));
    assert!(list(&place).contains(" ago") && !list(&place).contains("FAILED"), "{}", list(&place));
    assert_eq!((left(inside.path()), servers(inside.path())), (vec![], String::new()));

    // Another bundle of this name is another bundle.
    let record = format!("{}.drill.json", bundle.display());
    let text = fs::read_to_string(&record).expect("a record");
    let digest = text.find("\"manifest_sha256\":\"").expect("a digest") + 19;
    let other = if text.as_bytes()[digest] == b'0' { "1" } else { "0" };
    fs::write(&record, format!("{}{other}{}", &text[..digest], &text[digest + 1..])).expect("written");
    assert!(list(&place).contains("never"), "{}", list(&place));
}

#[test]
fn what_the_operator_asks_must_be_true() {
    let server = Postgres::start();
    server.load_sample(50);
    server.sql("orchestrator", "CREATE TABLE named AS SELECT 1 AS i");
    let (place, inside) = (Workplace::default(), on_disk());
    let bundle = place.make_bundle(&server);
    let settings = "cluster_conf = 'missing'\n[[drill.assert]]\ndatabase = 'orchestrator'\nsql = 'SELECT 1 = 2'\n\
        [[drill.assert]]\ndatabase = 'orchestrator'\nsql = 'SELECT nonsense'\n\
        [[drill.assert]]\ndatabase = 'orchestrator'\nsql = 'SELECT count(*) = 1 FROM named'\n";
    place.write("settings.toml", settings);
    let output = drill(&place, &server, &bundle, inside.path(), &["--config", "settings.toml"]).output();
    let output = output.expect("it runs");
    assert_eq!(output.status.code(), Some(1), "{}", describe(&output));
    for word in [
        "SELECT 1 = 2: it is not true",
        "column \"nonsense\" does not exist",
        "drill FAILED: do not rely on this bundle",
    ] {
        assert!(describe(&output).contains(word), "{word}: {}", describe(&output));
    }
    assert!(!describe(&output).contains("named"), "{}", describe(&output));
    assert!(list(&place).contains("FAILED"), "{}", list(&place));
    assert_eq!((left(inside.path()), servers(inside.path())), (vec![], String::new()));
}

/// A server that preloads one library by name and a copy of another one by path; the copy is returned.
fn server_that_preloads() -> (Postgres, TempDir, PathBuf) {
    let newest = Installation::usual();
    let directory = on_disk();
    let copy = directory.path().join("watcher.so");
    let probe = Postgres::start();
    let libraries = probe.sql("postgres", "SELECT setting FROM pg_config WHERE name = 'PKGLIBDIR'");
    fs::copy(Path::new(&libraries).join("auto_explain.so"), &copy).expect("a library");
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("a mode");
    let settings = format!("shared_preload_libraries = 'pg_stat_statements, \"{}\"'", copy.display());
    (Postgres::start_version(&newest, &settings), directory, copy)
}

#[test]
fn libraries_that_the_source_preloads_are_preloaded_and_a_missing_one_is_said() {
    let (server, _directory, copy) = server_that_preloads();
    server.load_sample(20);
    server.sql("orchestrator", "CREATE EXTENSION pg_stat_statements");
    // Only where the library is preloaded can it be filled.
    server
        .sql("orchestrator", "CREATE MATERIALIZED VIEW seen AS SELECT count(*) >= 0 AS filled FROM pg_stat_statements");
    let (place, inside) = (Workplace::default(), on_disk());
    let bundle = place.make_bundle(&server);
    let settings =
        "cluster_conf = 'missing'\n[[drill.assert]]\ndatabase = 'orchestrator'\nsql = 'SELECT filled FROM seen'\n";
    place.write("settings.toml", settings);
    let drilled = || {
        let output = drill(&place, &server, &bundle, inside.path(), &["--config", "settings.toml"]).output();
        let output = output.expect("it runs");
        (output.status.code(), describe(&output))
    };
    let (code, said) = drilled();
    assert!(code == Some(0) && !said.contains("not proved"), "{said}");
    fs::remove_file(&copy).expect("removed");
    let (code, said) = drilled();
    assert!(code == Some(3) && said.contains(": drill passed: "), "{said}");
    assert!(said.contains(&format!("not proved library {}", copy.display())), "{said}");
    assert_eq!((left(inside.path()), servers(inside.path())), (vec![], String::new()));
}

#[test]
fn an_extension_of_another_version_is_not_proved_and_is_no_failure() {
    let server = Postgres::start();
    server.load_sample(20);
    // As a server of an older version has it.
    server.sql("orchestrator", "CREATE EXTENSION citext VERSION '1.4'");
    server.sql("orchestrator", "CREATE TABLE names AS SELECT 'Ada'::citext AS name");
    let (place, inside) = (Workplace::default(), on_disk());
    let bundle = place.make_bundle(&server);
    let output = drill(&place, &server, &bundle, inside.path(), &["--json"]).output().expect("it runs");
    let drilled: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let drilled = &drilled["result"];
    assert_eq!((output.status.code(), &drilled["passed"]), (Some(0), &true.into()), "{drilled}");
    assert_eq!(drilled["unproved"][0]["code"], "extension-version", "{drilled}");
    assert!(!list(&place).contains("FAILED"), "{}", list(&place));
}

#[test]
fn a_damaged_bundle_is_refused_before_a_server_is_made() {
    let server = Postgres::start();
    server.load_sample(50);
    let (place, inside) = (Workplace::default(), on_disk());
    let bundle = place.make_bundle(&server);
    let mut bytes = fs::read(&bundle).expect("the bundle");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&bundle, bytes).expect("written");
    let output = drill(&place, &server, &bundle, inside.path(), &[]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(12), "{}", describe(&output));
}

#[test]
fn a_drill_that_is_killed_leaves_no_server_and_the_next_one_tidies_up() {
    let server = Postgres::start();
    server.load_sample(50);
    let (place, inside) = (Workplace::default(), on_disk());
    let bundle = place.make_bundle(&server);
    let mut killed = drill(&place, &server, &bundle, inside.path(), &[]);
    let mut killed = killed.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
    let begun = Instant::now();
    while servers(inside.path()).is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(60), "no server came");
        fixtures::pause();
    }
    killed.kill().expect("a signal");
    killed.wait().expect("it ends");
    while !servers(inside.path()).is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the server stayed");
        fixtures::pause();
    }
    assert!(!left(inside.path()).is_empty());
    let output = drill(&place, &server, &bundle, inside.path(), &[]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{}", describe(&output));
    assert_eq!(left(inside.path()), Vec::<PathBuf>::new());
}
