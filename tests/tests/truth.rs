//! A bundle is there under its name only when complete; whatever stops a run leaves nothing that blocks or misleads.

use std::io::Read;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use fixtures::Postgres;
use rustix::process::{Pid, Signal, kill_process};
use system_tests::{Workplace, describe};

fn server_with_much() -> Postgres {
    let server = Postgres::start();
    server.load_sample(500);
    server.sql(
        "orchestrator",
        "CREATE TABLE public.much AS SELECT i, repeat(md5(i::text), 8) AS t FROM generate_series(1, 700000) i",
    );
    server
}

/// A backup that takes its time.
fn start(place: &Workplace, server: &Postgres) -> Child {
    let mut run = place.backup(server, &["--level", "12"]);
    run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command runs")
}

/// Waits until a part of a bundle is there that has at least so many bytes.
fn wait_for_bytes(place: &Workplace, least: u64) {
    let begun = Instant::now();
    let long =
        |name: &String| std::fs::metadata(place.path("bundles").join(name)).is_ok_and(|file| file.len() >= least);
    while !place.leftovers().iter().any(long) {
        assert!(begun.elapsed() < Duration::from_secs(60), "{least} bytes of a bundle did not come");
        std::thread::yield_now();
    }
}

#[test]
fn a_run_that_is_ended_leaves_nothing_and_the_next_one_works() {
    let server = server_with_much();
    let place = Workplace::default();
    for (signal, code) in [(Signal::TERM, Some(130)), (Signal::INT, Some(130)), (Signal::KILL, None)] {
        let mut run = start(&place, &server);
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
    let run = start(&place, &server);
    wait_for_bytes(&place, 1 << 20);
    server.sql("postgres", "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND application_name = 'orchestrator-cli'");
    let output = run.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1), "{}", describe(&output));
    assert!(String::from_utf8_lossy(&output.stderr).contains("run the backup again"), "{}", describe(&output));
    assert!(place.bundles().is_empty() && place.leftovers().is_empty());
}

#[test]
fn a_second_run_says_that_the_first_one_runs() {
    let server = server_with_much();
    let place = Workplace::default();
    let mut first = start(&place, &server);
    wait_for_bytes(&place, 0);
    let second = place.backup(&server, &[]).output().expect("the command runs");
    assert_eq!(second.status.code(), Some(11), "{}", describe(&second));
    assert!(String::from_utf8_lossy(&second.stderr).contains("another backup is writing"), "{}", describe(&second));
    assert!(first.wait().expect("it ends").success(), "the first run is not disturbed");
    assert_eq!(place.bundles().len(), 1);
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
