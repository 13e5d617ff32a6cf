//! A bundle is there under its name only when complete; whatever stops a run leaves nothing that blocks or misleads.

use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use fixtures::Postgres;
use rustix::process::{Pid, Signal, kill_process};
use system_tests::{Workplace, describe};

fn server_with_much() -> Postgres {
    let server = Postgres::start();
    server.load_sample(500);
    server.sql(
        "orchestrator",
        "CREATE TABLE public.much AS SELECT i, repeat(md5(i::text), 8) AS t FROM generate_series(1, 200000) i",
    );
    server
}

/// Waits until a part of a bundle is there that has at least so many bytes.
fn wait_for_bytes(place: &Workplace, least: u64) {
    let begun = Instant::now();
    let long =
        |name: &String| std::fs::metadata(place.path("bundles").join(name)).is_ok_and(|file| file.len() >= least);
    // What is tried beforehand is none.
    while !place.leftovers().iter().filter(|name| !name.contains("_trial")).any(long) {
        assert!(begun.elapsed() < Duration::from_secs(60), "{least} bytes of a bundle did not come");
        fixtures::pause();
    }
}

#[test]
fn a_run_that_is_ended_leaves_nothing_and_the_next_one_works() {
    let server = server_with_much();
    let place = Workplace::default();
    for (signal, code) in [(Signal::TERM, Some(130)), (Signal::INT, Some(130)), (Signal::KILL, None)] {
        let mut run = place.start_slow(&server, &[]);
        wait_for_bytes(&place, 100_000);
        kill_process(Pid::from_raw(run.id() as i32).expect("a process"), signal).expect("a signal");
        assert_eq!(run.wait().expect("it ends").code(), code, "{signal:?}");
        let mut errors = String::new();
        run.stderr.take().expect("a pipe").read_to_string(&mut errors).expect("text");
        assert!(place.bundles().is_empty(), "{signal:?} left a bundle");
        if signal != Signal::KILL {
            assert!(errors.contains("interrupted"), "{signal:?}: {errors}");
            assert_eq!(place.leftovers(), Vec::<String>::new(), "{signal:?}");
        }
    }
    place.make_bundle(&server);
    assert_eq!(place.leftovers(), Vec::<String>::new(), "what a killed run left is removed by the next one");
}

#[test]
fn a_server_that_stops_ends_the_run_with_a_message_and_no_bundle() {
    let server = server_with_much();
    let place = Workplace::default();
    let run = place.start_slow(&server, &[]);
    wait_for_bytes(&place, 1 << 20);
    server.sql("postgres", "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND application_name = 'orchestrator-cli'");
    let output = run.wait_with_output().expect("it ends");
    assert_fails_without_a_trace(&place, &output, "try again");

    let mut server = server;
    let run = place.start_slow(&server, &[]);
    wait_for_bytes(&place, 1 << 20);
    server.kill();
    assert_fails_without_a_trace(&place, &run.wait_with_output().expect("it ends"), "try again");
}

fn assert_fails_without_a_trace(place: &Workplace, output: &Output, word: &str) {
    assert_eq!(output.status.code(), Some(1), "{}", describe(output));
    assert!(String::from_utf8_lossy(&output.stderr).contains(word), "{}", describe(output));
    assert!(place.bundles().is_empty() && place.leftovers().is_empty());
}

#[test]
fn a_pg_dump_that_is_killed_ends_the_run() {
    let server = Postgres::start();
    server.load_sample(100);
    let place = Workplace::default();
    fs::create_dir(place.path("bin")).expect("a directory");
    // Stands in for a pg_dump that the kernel kills for want of memory: it is the real one up to that moment.
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *--version*) exec {real} \"$@\" ;; esac\n{real} \"$@\" | head -c 900\nkill -KILL $$\n",
        real = server.client_bin().join("pg_dump").display()
    );
    let fake = place.write("bin/pg_dump", script);
    fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).expect("a mode");
    symlink(server.client_bin().join("pg_restore"), place.path("bin/pg_restore")).expect("a link");
    let mut run = place.backup(&server, &[]);
    run.env("PATH", format!("{}:{}", place.path("bin").display(), std::env::var("PATH").unwrap_or_default()));
    let output = run.output().expect("the command runs");
    assert_fails_without_a_trace(&place, &output, "signal: 9");
}

/// Runs `command` where `full` is a file system of 1 MiB, and prints what is left on it.
fn with_little_space(place: &Workplace, full: &str, command: &Command) -> Output {
    fs::create_dir_all(place.path(full)).expect("a directory");
    let mut unshare = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        unshare.arg("--map-root-user");
    }
    let script =
        r#"mount -t tmpfs -o size=1m none "$0" || exit 99; "$@"; code=$?; echo "left: $(ls "$0")"; exit $code"#;
    unshare.args(["--mount", "sh", "-c", script]).arg(place.path(full));
    unshare.arg(command.get_program()).args(command.get_args()).current_dir(place.path(""));
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => unshare.env(name, value),
            None => unshare.env_remove(name),
        };
    }
    let output = unshare.output().expect("missing prerequisite: unshare");
    assert_ne!(output.status.code(), Some(99), "missing prerequisite: mount namespaces: {}", describe(&output));
    output
}

#[test]
fn a_full_disk_ends_the_run_unless_another_destination_is_left() {
    let server = server_with_much();
    let place = Workplace::default();
    let output = with_little_space(&place, "bundles", &place.backup(&server, &[]));
    assert_eq!(output.status.code(), Some(1), "{}", describe(&output));
    assert!(describe(&output).contains("No space left on device"), "{}", describe(&output));
    assert!(describe(&output).contains("left: \n"), "{}", describe(&output));

    let output = with_little_space(&place, "full", &place.backup(&server, &["--to", "full"]));
    assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
    assert!(describe(&output).contains("the other destinations have the bundle"), "{}", describe(&output));
    assert!(describe(&output).contains("left: \n"), "{}", describe(&output));
    let bundle = place.bundles().pop().expect("the other one has it");
    let verified = place.cli(&["verify"]).arg(bundle).output().expect("the command runs");
    assert!(verified.status.success(), "{}", describe(&verified));
}

#[test]
fn a_stream_that_can_not_be_written_fails() {
    let server = Postgres::start();
    server.load_sample(100);
    let place = Workplace::default();
    let mut run = place.cli(&["backup", "--config", "cluster.conf", "--release", "1", "--to", "-"]);
    run.envs(server.variables()).stdout(OpenOptions::new().write(true).open("/dev/full").expect("/dev/full"));
    let output = run.output().expect("the command runs");
    assert_fails_without_a_trace(&place, &output, "No space left on device");

    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    run.stdout(writer);
    let output = run.output().expect("the command runs");
    assert_fails_without_a_trace(&place, &output, "Broken pipe");
}

#[test]
fn a_second_run_says_that_the_first_one_runs() {
    let server = server_with_much();
    let place = Workplace::default();
    let mut first = place.start_slow(&server, &[]);
    wait_for_bytes(&place, 0);
    let second = place.backup(&server, &[]).output().expect("the command runs");
    assert_eq!(second.status.code(), Some(11), "{}", describe(&second));
    assert!(String::from_utf8_lossy(&second.stderr).contains("another backup is writing"), "{}", describe(&second));
    assert!(first.wait().expect("it ends").success(), "the first run is not disturbed");
    assert_eq!(place.bundles().len(), 1);
}

#[test]
fn a_writer_that_hangs_leaves_nothing_when_the_run_is_ended() {
    let server = server_with_much();
    let place = Workplace::default();
    let mut run = place.start_slow(&server, &["--to", "-"]);
    // Nobody reads the pipe, so it is full after 64 KiB.
    wait_for_bytes(&place, 1000);
    kill_process(Pid::from_raw(run.id() as i32).expect("a process"), Signal::TERM).expect("a signal");
    assert_eq!(run.wait().expect("it ends").code(), Some(130));
    assert!(place.bundles().is_empty());
    assert_eq!(place.leftovers(), Vec::<String>::new());
}

#[test]
fn one_dead_destination_of_several_does_not_hold_up_the_others() {
    let server = Postgres::start();
    server.load_sample(50);
    let place = Workplace::default();
    place.write("file", "not a directory");
    for (json, word) in [(false, "the other destinations have the bundle"), (true, "\"failed\":[\"file: ")] {
        let mut run = place.backup(&server, &["--to", "file", "--to", "./bundles/"]);
        let output = if json { run.arg("--json") } else { &mut run }.output().expect("the command runs");
        assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
        assert!(describe(&output).contains(word), "{}", describe(&output));
        let lines = String::from_utf8_lossy(&output.stdout).lines().count();
        assert!(!json || lines == 1, "one document: {}", describe(&output));
        assert_eq!(place.bundles().len(), 1);
        place.bundles().iter().for_each(|bundle| fs::remove_file(bundle).expect("removed"));
    }
}

#[test]
fn links_in_a_destination_are_not_followed() {
    let server = Postgres::start();
    server.load_sample(50);
    let place = Workplace::default();
    fs::create_dir(place.path("bundles")).expect("a directory");
    let precious = place.write("precious", "keep me");
    symlink(&precious, place.path("bundles/.orchestrator-cli.lock")).expect("a link");
    let output = place.backup(&server, &[]).output().expect("the command runs");
    assert_eq!(output.status.code(), Some(1), "{}", describe(&output));
    fs::remove_file(place.path("bundles/.orchestrator-cli.lock")).expect("removed");
    // The digest's name is known as soon as the part has its own.
    let run = place.start_slow(&server, &[]);
    wait_for_bytes(&place, 0);
    let part = place.leftovers().into_iter().find(|name| !name.contains("_trial")).expect("a part");
    let name = part.trim_start_matches('.').split('.').next().expect("a name").to_owned();
    symlink(&precious, place.path(&format!("bundles/{name}.tgz.sha256"))).expect("a link");
    let output = run.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", describe(&output));
    assert_eq!(fs::read_to_string(&precious).expect("a file"), "keep me");
    let mut sum = Command::new("sha256sum");
    sum.args(["--check", "--quiet"]).arg(format!("{name}.tgz.sha256")).current_dir(place.path("bundles"));
    assert!(sum.status().expect("sha256sum runs").success());
}

#[test]
fn a_stream_is_the_same_bundle() {
    let server = Postgres::start();
    server.load_sample(100);
    let place = Workplace::default();
    let mut run = place.cli(&["backup", "--config", "cluster.conf", "--release", "1", "--to", "-"]);
    let output = run.envs(server.variables()).output().expect("the command runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let path = place.write("streamed.tgz", &output.stdout);
    let verified = place.cli(&["verify"]).arg(path).output().expect("the command runs");
    assert!(verified.status.success(), "{}", describe(&verified));
}
