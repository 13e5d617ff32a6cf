//! Jobs that run by themselves: what overlaps, hangs, is killed or was missed is kept and told, and the units are what systemd takes.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use backup_core::finding::Finding;
use backup_core::runs::{Run, Runs, State};
use backup_core::schedule::Job;
use backup_core::{Context, context::Environment};
use chrono::{TimeDelta, Utc};
use fixtures::Postgres;
use system_tests::{RootsPlace, Workplace, another_second, describe};

fn place(more: &str) -> Workplace {
    let place = Workplace::default();
    let bundles = place.path("bundles").display().to_string();
    place.write(
        "o.toml",
        format!("cluster_conf = 'cluster.conf'\n[release]\nversion = '2.6.3'\n[[stores]]\npath = '{bundles}'\n{more}"),
    );
    place
}

fn job(place: &Workplace, server: &Postgres, job: &str) -> Command {
    let mut command = place.cli(&["schedule", "run", job, "--config", "o.toml"]);
    command.envs(server.variables());
    command
}

fn runs(place: &Workplace) -> Runs {
    let variables = [("STATE_DIRECTORY".to_owned(), place.path("state").display().to_string())].into();
    Runs::of(&Context::new(Environment { variables, ..Environment::default() })).expect("a place")
}

fn states(place: &Workplace) -> Vec<State> {
    runs(place).all().expect("runs").iter().map(|run| run.state).collect()
}

fn run(command: &mut Command) -> Output {
    command.output().expect("it runs")
}

/// A process that ends with its test.
struct Guard(std::process::Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server on which a backup waits for a table until the returned session ends.
fn busy() -> (Postgres, std::process::Child) {
    let server = Postgres::start();
    server.sql("postgres", "CREATE TABLE held AS SELECT 1 AS i");
    let mut session = server.command("psql");
    session.args(["-X", "-q", "-d", "postgres"]).stdin(std::process::Stdio::piped());
    let mut session = session.spawn().expect("psql runs");
    let input = session.stdin.as_mut().expect("its input");
    input.write_all(b"BEGIN; LOCK TABLE held;\n").and_then(|()| input.flush()).expect("it is told");
    server.wait_until("SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'held'::regclass AND granted)");
    (server, session)
}

fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !is() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what} did not come true");
        fixtures::pause();
    }
}

#[test]
fn a_run_that_hangs_is_ended_and_one_that_overlaps_or_was_missed_is_kept() {
    let ((server, mut session), place) = (busy(), place("[schedule]\nlimit = '4s'\nrandom_delay = '0s'\n"));
    let old = Run::of_state(Job::Backup, State::Done, Utc::now() - TimeDelta::days(3), Finding::info("x", "x", "x"));
    runs(&place).put(&old).expect("written");
    let hanging = job(&place, &server, "backup")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn();
    let hanging = hanging.expect("it runs");
    wait_until("the run", || states(&place).contains(&State::Running));
    let second = run(&mut job(&place, &server, "backup"));
    assert_eq!(second.status.code(), Some(11), "{}", describe(&second));
    let hung = hanging.wait_with_output().expect("it ends");
    drop(session.stdin.take());
    session.wait().expect("it ends");
    assert_ne!(hung.status.code(), Some(0), "{}", describe(&hung));
    let mut kept = states(&place);
    kept.sort();
    assert_eq!(kept, [State::Done, State::Overlapped, State::Missed, State::Hung], "{}", describe(&hung));
    let status = run(&mut place.cli(&["status", "--config", "o.toml"]));
    assert!(describe(&status).contains("took longer than schedule.limit"), "{}", describe(&status));
    let history = run(&mut place.cli(&["status", "--history"]));
    assert!(describe(&history).contains("it should have run"), "{}", describe(&history));
    assert!(place.bundles().is_empty());
}

#[test]
fn a_run_that_is_killed_or_interrupted_is_told_by_who_began_it() {
    let ((server, mut session), place) = (busy(), place(""));
    for (signal, expected) in [("KILL", State::CutOff), ("TERM", State::Interrupted)] {
        let begun = job(&place, &server, "backup")
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn();
        let begun = begun.expect("it runs");
        wait_until("the run", || states(&place).last() == Some(&State::Running));
        // The run itself is killed; its supervisor is asked to end.
        let text = fs::read_to_string(place.path("state/runs.json")).expect("the journal");
        let kept: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let last = kept.as_array().and_then(|runs| runs.last()).expect("a run");
        let target = if signal == "KILL" { last["process"]["id"].to_string() } else { begun.id().to_string() };
        assert!(Command::new("kill").args(["-s", signal, &target]).status().expect("kill runs").success());
        let ended = begun.wait_with_output().expect("it ends");
        assert_ne!(ended.status.code(), Some(0), "{}", describe(&ended));
        assert_eq!(states(&place).last(), Some(&expected), "{}", describe(&ended));
    }
    drop(session.stdin.take());
    session.wait().expect("it ends");
    assert!(place.leftovers().is_empty() && place.bundles().is_empty());
}

/// A server that answers each request with the next status, and gives what it was asked.
fn web(statuses: &'static [u16]) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (url, (sender, receiver)) = (format!("http://{}", listener.local_addr().expect("an address")), channel());
    std::thread::spawn(move || {
        for (stream, status) in listener.incoming().flatten().zip(statuses) {
            let mut reader = BufReader::new(stream);
            let (mut asked, mut length) = (String::new(), 0);
            while !asked.ends_with("\r\n\r\n") {
                let mut line = String::new();
                if reader.read_line(&mut line).expect("a request") == 0 {
                    break;
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().expect("a length");
                }
                asked.push_str(&line);
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).expect("a body");
            let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            reader.get_mut().write_all(answer.as_bytes()).expect("an answer");
            let line = asked.lines().next().unwrap_or_default();
            if sender.send(format!("{status} {line}\n{}", String::from_utf8_lossy(&body))).is_err() {
                return;
            }
        }
    });
    (url, receiver)
}

fn sendmail(place: &Workplace, code: u8) -> String {
    let letters = place.path("letters");
    let script = format!("#!/bin/sh\necho \"$@\" >> '{0}'\ncat >> '{0}'\nexit {code}\n", letters.display());
    let path = place.write("sendmail", script);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
    path.display().to_string()
}

#[test]
fn every_channel_tells_a_failure_and_one_that_fails_fails_no_backup() {
    let server = Postgres::start();
    server.sql("postgres", "CREATE TABLE t ()");
    // The first answer is tried again.
    let (pinged, pings) = web(&[503, 200, 200, 200, 200]);
    let (posted, posts) = web(&[200, 200]);
    let place = place("");
    let settings = fs::read_to_string(place.path("o.toml")).expect("the settings");
    let notify = |ping: &str, webhook: &str, sendmail: &str| {
        let metrics = place.path("o.prom").display().to_string();
        format!(
            "{settings}[notify]\nping = '{ping}/hunter2'\nwebhook = '{webhook}/hunter2'\nmail = ['ops@example.com']\n\
             sendmail = '{sendmail}'\nmetrics = '{metrics}'\n"
        )
    };
    place.write("o.toml", notify(&pinged, &posted, &sendmail(&place, 0)));
    let old = Run::of_state(Job::Backup, State::Done, Utc::now() - TimeDelta::days(3), Finding::info("x", "x", "x"));
    runs(&place).put(&old).expect("written");
    let good = run(&mut job(&place, &server, "backup"));
    assert_eq!(good.status.code(), Some(0), "{}", describe(&good));
    let bad = run(job(&place, &server, "backup").env("PGHOST", "/nowhere"));
    assert_eq!(bad.status.code(), Some(1), "{}", describe(&bad));
    let next = |from: &Receiver<String>| from.recv_timeout(Duration::from_secs(20)).expect("a request");
    let asked: Vec<String> = (0..5).map(|_| next(&pings)).collect();
    let lines: Vec<&str> = asked.iter().map(|asked| asked.lines().next().expect("a line")).collect();
    assert_eq!(
        lines,
        [
            "503 GET /hunter2/start HTTP/1.1",
            "200 GET /hunter2/start HTTP/1.1",
            "200 GET /hunter2 HTTP/1.1",
            "200 GET /hunter2/start HTTP/1.1",
            "200 POST /hunter2/fail HTTP/1.1",
        ]
    );
    assert!(asked[4].contains("/nowhere"), "{}", asked[4]);
    assert!(next(&posts).contains("it should have run"));
    let post = next(&posts);
    let post: serde_json::Value = serde_json::from_str(post.split_once('\n').expect("a body").1).expect("JSON");
    assert_eq!((&post["run"]["state"], &post["cluster"]), (&"failed".into(), &"example".into()));
    let letters = fs::read_to_string(place.path("letters")).expect("letters");
    assert!(letters.contains("Subject: example: backup failed") && letters.contains("/nowhere"), "{letters}");
    let metrics = fs::read_to_string(place.path("o.prom")).expect("metrics");
    assert!(metrics.contains("orchestrator_run_good{cluster=\"example\",job=\"backup\"} 0"), "{metrics}");
    // Nobody hears it, and there is a bundle all the same.
    place.write("o.toml", notify("http://127.0.0.1:1", "http://127.0.0.1:1", &sendmail(&place, 75)));
    let unheard = run(&mut job(&place, &server, "backup"));
    assert_eq!(unheard.status.code(), Some(0), "{}", describe(&unheard));
    assert_eq!(place.bundles().len(), 2);
    let history = run(&mut place.cli(&["status", "--history", "--json"]));
    let kept = fs::read_to_string(place.path("state/runs.json")).expect("the journal");
    let all =
        [describe(&good), describe(&bad), describe(&unheard), describe(&history), kept, letters, metrics].concat();
    assert!(
        describe(&unheard).contains("webhook") && describe(&unheard).contains("ended with"),
        "{}",
        describe(&unheard)
    );
    assert!(!all.contains("hunter2"), "{all}");
}

#[test]
fn a_backup_of_some_databases_makes_nobody_safe_and_a_slip_is_no_failed_drill() {
    let server = Postgres::start();
    server.sql("postgres", "CREATE TABLE t ()");
    let place = place("");
    let failed = run(job(&place, &server, "backup").env("PGHOST", "/nowhere"));
    assert_eq!(failed.status.code(), Some(1), "{}", describe(&failed));
    let mut some = place.cli(&["backup", "--config", "o.toml", "--database", "postgres"]);
    let some = run(some.envs(server.variables()));
    assert!(some.status.success() && place.bundles().len() == 1, "{}", describe(&some));
    let slip = run(&mut place.cli(&["drill", "bundles/orchestrator_backup_20200101T000000Z.tgz"]));
    assert_eq!(slip.status.code(), Some(10), "{}", describe(&slip));
    let codes = || {
        let status = run(&mut place.cli(&["status", "--config", "o.toml", "--json"]));
        let value: serde_json::Value = serde_json::from_slice(&status.stdout).expect("JSON");
        let findings = value["result"]["findings"].as_array().expect("findings").clone();
        let codes = findings.iter().filter(|one| one["severity"] != "info").map(|one| one["code"].clone());
        let mut codes: Vec<String> = codes.map(|code| code.as_str().expect("a code").to_owned()).collect();
        codes.sort();
        codes
    };
    // Nothing begins drills, and the store is the machine's own.
    assert_eq!(codes(), ["last-run", "no-bundle", "not-installed"]);
    another_second();
    assert!(run(&mut job(&place, &server, "backup")).status.success());
    assert_eq!(codes(), ["never-drilled", "no-copy-elsewhere", "not-installed"]);
    let mut typo = place.cli(&["backup", "--config", "o.toml", "--database", "postgrse"]);
    let typo = run(typo.envs(server.variables()));
    assert!(!typo.status.success(), "{}", describe(&typo));
    assert_eq!(codes(), ["never-drilled", "no-copy-elsewhere", "not-installed"]);
    assert!(describe(&run(&mut place.cli(&["list", "bundles"]))).contains("some databases alone"));
}

#[test]
fn a_store_that_vanished_is_warned_of_and_a_drill_of_nothing_fails() {
    let server = Postgres::start();
    server.sql("postgres", "CREATE TABLE t ()");
    let place = place("");
    assert!(run(&mut job(&place, &server, "backup")).status.success());
    fs::rename(place.path("bundles"), place.path("elsewhere")).expect("moved");
    let drilled = run(&mut place.cli(&["drill", "--config", "o.toml"]));
    let text = describe(&drilled);
    assert!(drilled.status.code() == Some(1) && text.contains("there is no good bundle"), "{text}");
    another_second();
    let made = run(place.cli(&["backup", "--config", "o.toml"]).envs(server.variables()));
    let text = describe(&made);
    assert!(made.status.code() == Some(3) && text.contains("although bundles were written here before"), "{text}");
    assert_eq!(states(&place), [State::Done, State::Failed, State::Warned]);
}

#[test]
fn what_root_does_by_hand_holds_up_no_job_of_another_user() {
    let server = Postgres::start();
    server.sql("postgres", "CREATE TABLE t ()");
    let place = place("");
    let all = place.path(".");
    fs::set_permissions(&all, fs::Permissions::from_mode(0o755)).expect("a mode");
    // Whoever runs PostgreSQL here is not root.
    let user = fixtures::server_user();
    let mut give = fixtures::as_root("install");
    give.args(["-d", "-o", &user]).args([place.path("bundles"), place.path("users")]);
    assert!(run(&mut give).status.success());
    let backup = job(&place, &server, "backup");
    let own = RootsPlace::default();
    let done = |mut by: Command, state: PathBuf| {
        by.arg(backup.get_program()).args(backup.get_args()).current_dir(&all);
        by.envs(backup.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let done = run(by.env("STATE_DIRECTORY", state));
        assert!(done.status.success(), "{}", describe(&done));
    };
    // The jobs' state is theirs, and root has its own.
    done(fixtures::as_root("env"), own.path("state"));
    another_second();
    let mut by_user = fixtures::as_root("setpriv");
    by_user.args(["--reuid", &user, "--regid", &user, "--clear-groups"]);
    done(by_user, place.path("users"));
    assert_eq!(place.bundles().len(), 2);
}

#[test]
fn units_are_written_for_every_job_and_are_what_systemd_takes() {
    let place = place("[schedule]\ndatabases = 'Mon..Fri 03:15'\ndrill = '30 4 * * 0'\n");
    let there = place.path("units").display().to_string();
    fs::create_dir(&there).expect("a directory");
    let install =
        run(&mut place.cli(&["schedule", "install", "--config", "o.toml", "--directory", &there, "--user", "root"]));
    assert!(install.status.success(), "{}", describe(&install));
    let names = || {
        let mut names: Vec<String> = fs::read_dir(&there)
            .expect("it")
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names().len(), 6);
    let service = fs::read_to_string(Path::new(&there).join("orchestrator-cli-databases.service")).expect("a unit");
    // As the user postgres it would take the live server's memory away.
    assert!(!service.contains("RemoveIPC"));
    for (job, calendar) in [
        ("backup", "*-*-* 02:30:00"),
        ("databases", "Mon,Tue,Wed,Thu,Fri *-*-* 03:15:00"),
        ("drill", "Sun *-*-* 04:30:00"),
    ] {
        let unit = Path::new(&there).join(format!("orchestrator-cli-{job}"));
        let timer = fs::read_to_string(unit.with_extension("timer")).expect("a unit");
        assert!(timer.contains(&format!("OnCalendar={calendar}\n")), "{timer}");
        let analyze = |arguments: &[&str]| {
            run(Command::new("systemd-analyze").args(arguments).env("SYSTEMD_LOG_LEVEL", "warning"))
        };
        let calendar = analyze(&["calendar", calendar]);
        assert!(calendar.status.success(), "{}", describe(&calendar));
        let service = unit.with_extension("service").display().to_string();
        // A drill makes namespaces, for what it starts may do less still.
        let threshold = if job == "drill" { "--threshold=33" } else { "--threshold=20" };
        let exposure = analyze(&["security", "--offline=true", threshold, "--no-pager", &service]);
        assert!(exposure.status.success(), "{}", describe(&exposure));
        let verified = analyze(&["verify", "--man=no", &service, &unit.with_extension("timer").display().to_string()]);
        assert!(verified.status.success(), "{}", describe(&verified));
    }
    // Nobody else's file is touched.
    let foreign = Path::new(&there).join("orchestrator-cli-drill.timer");
    fs::write(&foreign, "[Timer]\n").expect("written");
    let refused = run(&mut place.cli(&["schedule", "install", "--config", "o.toml", "--directory", &there]));
    assert_eq!(refused.status.code(), Some(13), "{}", describe(&refused));
    let removed = run(&mut place.cli(&["schedule", "remove", "--directory", &there]));
    assert!(removed.status.success(), "{}", describe(&removed));
    assert_eq!(names(), ["orchestrator-cli-drill.timer"]);
}

#[test]
fn without_systemd_cron_asks_what_is_due_and_a_loop_does_it_in_a_container() {
    let server = Postgres::start();
    server.sql("postgres", "CREATE TABLE t ()");
    let place = place("[schedule]\nbackup = '* * * * *'\ndrill = ''\nrandom_delay = '0s'\n");
    let there = place.path("cron").display().to_string();
    fs::create_dir(&there).expect("a directory");
    let install = run(&mut place.cli(&["schedule", "install", "--config", "o.toml", "--cron", "--directory", &there]));
    assert!(install.status.success(), "{}", describe(&install));
    let crontab = fs::read_to_string(Path::new(&there).join("orchestrator-cli")).expect("a crontab");
    let line = crontab.lines().last().expect("a line");
    assert!(
        line.starts_with("*/5 * * * * orchestrator-cli /") && line.contains(" schedule run --due --config /"),
        "{line}"
    );
    let due = || run(place.cli(&["schedule", "run", "--due", "--config", "o.toml"]).envs(server.variables()));
    // What was never run is due at its next time; one that was missed is made up for once.
    let nothing = due();
    assert!(nothing.status.success() && place.bundles().is_empty(), "{}", describe(&nothing));
    let old = Run::of_state(Job::Backup, State::Done, Utc::now() - TimeDelta::hours(3), Finding::info("x", "x", "x"));
    runs(&place).put(&old).expect("written");
    let made = due();
    assert!(made.status.success() && place.bundles().len() == 1, "{}", describe(&made));
    let old = Run::of_state(Job::Backup, State::Done, Utc::now() - TimeDelta::hours(2), Finding::info("x", "x", "x"));
    fs::remove_file(place.path("state/runs.json")).expect("removed");
    runs(&place).put(&old).expect("written");
    another_second();
    let mut running = place.cli(&["schedule", "run", "--config", "o.toml"]);
    let mut running = Guard(running.envs(server.variables()).spawn().expect("it runs"));
    wait_until("a bundle", || place.bundles().len() >= 2);
    wait_until("its end", || states(&place).last().is_some_and(|state| *state != State::Running));
    assert!(
        Command::new("kill").args(["-s", "TERM", &running.0.id().to_string()]).status().expect("kill runs").success()
    );
    assert!(running.0.wait().expect("it ends").success());
}
