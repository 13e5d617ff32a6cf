//! A restore brings back what the bundle holds, beside what is live until the swap, and can be undone.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use fixtures::{Postgres, forget_libpq};
use rustix::process::{Pid, Signal};
use system_tests::{Workplace, assert_same, describe, last_line, open, state};

const DATABASES: [&str; 2] = ["orchestrator", "orchestrator_archive"];

/// A server with the sample, and a bundle of it.
fn sample(place: &Workplace, rows: u32) -> (Postgres, PathBuf) {
    let source = Postgres::start();
    source.load_sample(rows);
    let bundle = place.make_bundle(&source);
    (source, bundle)
}

/// A server whose database `orchestrator` is another one.
fn target_with_another() -> Postgres {
    let target = Postgres::start();
    target.sql("postgres", "CREATE DATABASE orchestrator");
    target.sql("orchestrator", "CREATE TABLE precious AS SELECT 'still here' AS what");
    target
}

#[test]
fn what_was_live_steps_aside_and_comes_back_and_goes_when_asked() {
    let place = Workplace::default();
    let (source, bundle) = sample(&place, 100);
    let target = target_with_another();
    let before = state(&target);
    for _ in 0..2 {
        let output = place.restore_all(&target, &bundle, &[]);
        assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
        assert_same(&source, &target, "orchestrator");
        let aside = target.sql("postgres", "SELECT datname FROM pg_database WHERE datname ~ '^orchestrator_before_'");
        assert_eq!(target.sql(&aside, "SELECT what FROM precious"), "still here");
        let output = place.restore(&target, &["--rollback", "--yes"]).output().expect("it runs");
        assert_eq!(output.status.code(), Some(13), "yes alone may be meant for another one: {}", describe(&output));
        let output = place.rollback(&target, &bundle).output().expect("it runs");
        assert!(output.status.success(), "{}", describe(&output));
        assert_eq!(state(&target), before);
        let output = place.rollback(&target, &bundle).output().expect("it runs");
        assert_eq!(output.status.code(), Some(10), "it is rolled back already: {}", describe(&output));
    }
    place.restore_all(&target, &bundle, &[]);
    place.restore_all(&target, &bundle, &[]);
    let output = place.rollback(&target, &bundle).output().expect("it runs");
    assert!(output.status.success(), "{}", describe(&output));
    let output = place.rollback(&target, &bundle).output().expect("it runs");
    let hint = "what stepped aside for it stays as …_before_…";
    assert!(describe(&output).contains(hint), "one came before it: {}", describe(&output));
    let output = place.restore(&target, &["cleanup", "--yes"]).output().expect("it runs");
    assert!(output.status.success(), "{}", describe(&output));
    let left =
        target.sql("postgres", "SELECT datname FROM pg_database WHERE datname !~ '^(template|postgres)' ORDER BY 1");
    assert_eq!(left, DATABASES.join("\n"));
    let output = place.restore(&target, &["--rollback", "--yes"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(10), "nothing is left to roll back: {}", describe(&output));
}

#[test]
fn a_database_is_brought_back_beside_under_another_name() {
    let place = Workplace::default();
    let (source, bundle) = sample(&place, 100);
    let target = target_with_another();
    let output = place.restore_all(&target, &bundle, &["--database", "orchestrator=a look"]);
    assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
    assert_eq!(target.sql("orchestrator", "SELECT what FROM precious"), "still here");
    let rows = |server: &Postgres, database| server.sql(database, "SELECT count(*), sum(id) FROM cluster.machines");
    assert_eq!(rows(&target, "a look"), rows(&source, "orchestrator"));
    assert_eq!(target.sql("postgres", "SELECT count(*) FROM pg_database WHERE datname ~ 'archive'"), "0");
}

#[test]
fn a_small_database_comes_back_by_few_sessions() {
    let place = Workplace::default();
    let (_source, bundle) = sample(&place, 10);
    let target = Postgres::start();
    let sessions =
        || target.sql("postgres", "SELECT sum(sessions) FROM pg_stat_database").parse::<u32>().expect("a number");
    let before = sessions();
    let output = place.restore_all(&target, &bundle, &["--database", "orchestrator"]);
    assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
    // Of PostgreSQL's programs, and our own. There were 67 when each question began one.
    let begun = sessions() - before;
    assert!(begun <= 50, "{begun} sessions");
}

#[test]
fn sessions_are_held_off_while_names_are_swapped() {
    let place = Workplace::default();
    let (_source, bundle) = sample(&place, 100);
    let target = target_with_another();
    // Comes back as soon as it is thrown out, as an application's pool does.
    let script = "while :; do psql -X -q -d orchestrator -c 'SELECT pg_sleep(60)'; done";
    let mut clients: Vec<Child> = (0..4)
        .map(|_| {
            let mut client = Command::new("setpriv");
            forget_libpq(&mut client);
            client.args(["--pdeathsig", "KILL", "sh", "-c", script]).envs(target.variables());
            client.process_group(0).stderr(Stdio::null()).spawn().expect("a client")
        })
        .collect();
    target.wait_until("SELECT count(*) = 4 FROM pg_stat_activity WHERE datname = 'orchestrator'");
    let output = place.restore_all(&target, &bundle, &[]);
    for client in &mut clients {
        let group = Pid::from_raw(client.id() as i32).expect("a process");
        rustix::process::kill_process_group(group, Signal::KILL).expect("a signal");
        client.wait().expect("it ends");
    }
    assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
    assert_eq!(target.sql("orchestrator", "SELECT count(*) FROM cluster.machines"), "100");
}

#[test]
fn what_must_not_be_is_refused_before_anything_is_changed() {
    let place = Workplace::default();
    let (source, bundle) = sample(&place, 50);
    let target = target_with_another();
    target.sql("postgres", "CREATE ROLE weak LOGIN");
    let before = state(&target);
    let refuse = |arguments: &[&str], user: &str, code: i32, word: &str| {
        let mut command = place.restore(&target, arguments);
        let output = command.env("PGUSER", user).stdin(Stdio::null()).output().expect("it runs");
        assert_eq!(output.status.code(), Some(code), "{word}: {}", describe(&output));
        assert!(describe(&output).contains(word), "{word}: {}", describe(&output));
        let last = last_line(&output);
        assert!(last.starts_with("refused") && last.ends_with(": nothing was changed"), "{}", describe(&output));
        assert_eq!(state(&target), before, "{word}");
    };
    let file = bundle.to_str().expect("UTF-8");
    refuse(&["--file", file, "--release", "2.6.3"], "postgres", 13, " --yes` goes on without a question");
    refuse(&["--file", file, "--release", "2.6.2", "--yes"], "postgres", 13, "same or a later one");
    refuse(&["--file", file, "--release", "2.6.3", "--yes"], "weak", 13, "no superuser");
    refuse(
        &["--file", file, "--database", "missing", "--yes"],
        "postgres",
        10,
        "it has orchestrator, orchestrator_archive",
    );
    let double = ["--file", file, "--database", "orchestrator=x", "--database", "orchestrator_archive=x", "--yes"];
    refuse(&double, "postgres", 2, "two databases would have this name");
    let contrary = ["--file", file, "--only", "files", "--database", "orchestrator", "--yes"];
    refuse(&contrary, "postgres", 2, "exclude each other");
    refuse(&["--file", "missing.tgz", "--yes"], "postgres", 10, "missing.tgz");
    refuse(&["--yes"], "postgres", 2, "no bundle is named");

    // One byte in the middle of the rows.
    let chunk = open(&bundle);
    let chunk = chunk.manifest().entries.iter().find(|entry| entry.chunk.is_some()).expect("a chunk");
    let mut bytes = std::fs::read(&bundle).expect("the bundle");
    bytes[(chunk.offset + chunk.stored - 40) as usize] ^= 1;
    let damaged = place.write("orchestrator_backup_20200101T000000Z.tgz", &bytes);
    refuse(&["--file", damaged.to_str().expect("UTF-8"), "--yes"], "postgres", 12, &chunk.path);

    let old = place.cli(&["backup", "--config", "cluster.conf", "--release", "2.3.9", "--to", "old"]);
    let output = { old }.envs(source.variables()).output().expect("it runs");
    assert!(output.status.success(), "{}", describe(&output));
    let text = String::from_utf8_lossy(&output.stdout);
    let old = text.lines().next().expect("a path");
    refuse(&["--file", old, "--release", "2.6.3", "--yes"], "postgres", 13, "2.4.0 and later");

    target.sql("orchestrator", "BEGIN; CREATE TABLE x (); PREPARE TRANSACTION 'pending'");
    let output = place.restore_all(&target, &bundle, &["--dry-run"]);
    assert!(describe(&output).contains("prepared transactions"), "{}", describe(&output));
    assert_eq!(last_line(&output), "refused: nothing was changed", "{}", describe(&output));
}

#[test]
fn a_dry_run_prints_the_steps_and_leaves_no_trace() {
    let place = Workplace::default();
    let (_source, bundle) = sample(&place, 50);
    let target = target_with_another();
    target.sql("postgres", "CREATE DATABASE \"other_restore_20261120T191500Z\"");
    let before = state(&target);
    let mut command = place.restore(&target, &["--release", "2.6.3", "--dry-run"]);
    let output = command.arg(&bundle).output().expect("it runs");
    assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
    for word in ["swap the databases", "other_restore_20261120T191500Z: another restore builds this database"] {
        assert!(String::from_utf8_lossy(&output.stdout).contains(word), "{word}: {}", describe(&output));
    }
    assert!(
        last_line(&output)
            .starts_with("nothing was changed; `orchestrator-cli restore --allow-old-clients --release 2.6.3 "),
        "{}",
        describe(&output)
    );
    assert_eq!(state(&target), before);
    assert!(!place.path("state/restores").exists());
}

#[test]
fn files_come_back_with_all_that_the_system_knows_of_them() {
    let server = Postgres::start();
    server.sql("postgres", "CREATE TABLE something ()");
    let place = Workplace::default();
    let script = "mkdir -p home/a/deep && echo one >home/a/deep/file && ln home/a/deep/file home/a/hard && ln -s deep/file home/a/soft \
        && chmod $([ $(id -u) = 0 ] && echo 2750 || echo 750) home/a/deep && chmod 640 home/a/deep/file && truncate -s 1M home/a/holes && echo two >'home/b [*] é' \
        && touch -d 2020-02-02 home/a/deep/file home/a/deep home/a";
    let shell = |script: &str| {
        let output =
            Command::new("bash").args(["-ec", script]).current_dir(place.path("")).output().expect("bash runs");
        assert!(output.status.success(), "{}", describe(&output));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    shell(script);
    let home = place.path("home");
    let settings = format!(
        "cluster_conf = 'cluster.conf'\n[[files]]\npath = '{0}/a'\n[[files]]\npath = '{0}/b [*] é'\n",
        home.display()
    );
    place.write("settings.toml", settings);
    let mut backup = place.cli(&["backup", "--config", "settings.toml", "--release", "2.6.3", "--to", "bundles"]);
    let backup = backup.envs(server.variables()).output().expect("it runs");
    assert!(place.bundles().len() == 1, "{}", describe(&backup));
    let bundle = place.bundles()[0].clone();
    let list = "cd home && find a b* -printf '%M %n %u %g %s %T@ %p %l\\n' | grep -v '_before_' | sort -k7 && cat a/deep/file b*é";
    let before = (shell(list), shell("cat cluster.conf"));

    // Elsewhere, where nothing is yet; nothing of PostgreSQL is needed for it.
    let root = place.path("root");
    let mut elsewhere = place.cli(&["restore", "--only", "files", "--release", "2.6.3", "--yes", "--root"]);
    elsewhere
        .arg(&root)
        .arg("--file")
        .arg(&bundle)
        .env("STATE_DIRECTORY", place.path("state"))
        .env("PGHOST", "/nowhere");
    let output = elsewhere.output().expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{}", describe(&output));
    let below = |path: &Path| root.join(path.strip_prefix("/").expect("absolute"));
    let found = shell(&format!("cd '{}' && {}", below(&place.path("")).display(), list));
    assert_eq!(found, before.0);
    assert_eq!(std::fs::read_to_string(below(&place.path("cluster.conf"))).expect("a file"), before.1);
    let output = place.rollback(&server, &bundle).output().expect("it runs");
    assert!(output.status.success(), "{}", describe(&output));
    assert!(!root.exists(), "a rollback leaves no directory that was made");

    // In their own places.
    shell("echo changed >home/a/deep/file; rm 'home/b [*] é'; echo other >cluster.conf; chmod 644 cluster.conf");
    let output = place.restore_all(&server, &bundle, &["--only", "files"]);
    assert_eq!(output.status.code(), Some(0), "{}", describe(&output));
    assert_eq!((shell(list), shell("cat cluster.conf")), before);
    assert_eq!(
        shell("stat -c %a cluster.conf; cat home/a_before_*/deep/file cluster.conf_before_*"),
        "644\nchanged\nother\n"
    );
    let output = place.restore(&server, &["cleanup", "--yes"]).output().expect("it runs");
    assert!(output.status.success(), "{}", describe(&output));
    assert_eq!(shell("ls -A . home | grep -E 'before|orchestrator-cli' | wc -l"), "0\n");
}

#[test]
fn a_rollback_that_can_not_end_does_not_begin() {
    let place = Workplace::default();
    let (_source, bundle) = sample(&place, 50);
    let target = target_with_another();
    place.restore_all(&target, &bundle, &[]);
    let after = state(&target);
    let aside = target.sql("postgres", "SELECT datname FROM pg_database WHERE datname ~ '^orchestrator_before_'");
    target.sql("postgres", &format!("ALTER DATABASE \"{aside}\" RENAME TO elsewhere"));
    let changed = state(&target);
    let output = place.rollback(&target, &bundle).output().expect("it runs");
    assert!(describe(&output).contains("is gone"), "{}", describe(&output));
    assert_eq!(state(&target), changed);
    // What it missed is there again, and what took its place was dropped by hand.
    target.sql("postgres", &format!("ALTER DATABASE elsewhere RENAME TO \"{aside}\""));
    assert_eq!(state(&target), after);
    target.sql("postgres", "DROP DATABASE orchestrator");
    let output = place.rollback(&target, &bundle).output().expect("it runs");
    assert!(output.status.success(), "{}", describe(&output));
    assert_eq!(target.sql("orchestrator", "SELECT what FROM precious"), "still here");
}

#[test]
fn what_a_restore_has_left_is_in_no_backup() {
    let place = Workplace::default();
    let (_source, bundle) = sample(&place, 20);
    let target = target_with_another();
    place.restore_all(&target, &bundle, &[]);
    let output = place.backup(&target, &[]).output().expect("it runs");
    assert!(output.status.success(), "{}", describe(&output));
    let names = |bundle: &Path| open(bundle).manifest().databases.iter().map(|d| d.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(place.bundles().last().expect("a bundle")), DATABASES);
}

#[test]
fn a_captured_cluster_conf_comes_back_once() {
    let server = Postgres::start();
    server.sql("postgres", "CREATE TABLE something ()");
    let place = Workplace::default();
    let home = place.path("home");
    std::fs::create_dir(&home).expect("a directory");
    std::fs::rename(place.path("cluster.conf"), home.join("cluster.conf")).expect("moved");
    let settings = format!("cluster_conf = 'home/cluster.conf'\n[[files]]\npath = '{}'\n", home.display());
    place.write("settings.toml", settings);
    let mut backup = place.cli(&["backup", "--config", "settings.toml", "--release", "2.6.3", "--to", "bundles"]);
    let backup = backup.envs(server.variables()).output().expect("it runs");
    assert!(backup.status.success(), "{}", describe(&backup));
    let bundle = place.bundles()[0].clone();
    let text = std::fs::read_to_string(home.join("cluster.conf")).expect("a file");
    std::fs::remove_dir_all(&home).expect("removed");
    let output = place.restore_all(&server, &bundle, &["--only", "files"]);
    assert_eq!(output.status.code(), Some(0), "{}", describe(&output));
    assert_eq!(std::fs::read_to_string(home.join("cluster.conf")).expect("a file"), text);
}
