//! What `status` calls safe is safe: each thing that makes nobody safe has a finding of its own weight, in text, JSON, page and metrics.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use backup_core::finding::Finding;
use backup_core::runs::{Run, Runs, State};
use backup_core::schedule::Job;
use backup_core::{Context, context::Environment};
use chrono::Utc;
use fixtures::Postgres;
use serde_json::Value;
use system_tests::{Workplace, another_second, describe};

const SCHEDULE: &str = "[schedule]\nbackup = '02:30'\ndrill = ''\n";

fn settings(place: &Workplace, store: &str, more: &str) {
    let bundles = place.path("bundles").display().to_string();
    let store = format!("[[stores]]\npath = '{bundles}'\n{store}\n");
    place.write("o.toml", format!("cluster_conf = 'cluster.conf'\nrelease.version = '2.6.3'\n{store}{more}"));
}

fn run(command: &mut Command) -> Output {
    command.output().expect("it runs")
}

/// Notes that `schedule run` began a good backup just now.
fn came_by_itself(place: &Workplace) {
    let variables = [("STATE_DIRECTORY".to_owned(), place.path("state").display().to_string())].into();
    let runs = Runs::of(&Context::new(Environment { variables, ..Environment::default() })).expect("a place");
    let mut run = Run::of_state(Job::Backup, State::Done, Utc::now(), Finding::info("x", "x", "x"));
    run.scheduled = true;
    runs.put(&run).expect("written");
}

/// What `status` says: its exit code, and the codes of its findings with their words.
fn status(place: &Workplace) -> (Option<i32>, Vec<String>, String) {
    let mut command = place.cli(&["status", "-c", "o.toml", "--json", "--html", "page.html", "--metrics", "o.prom"]);
    let output = run(&mut command);
    let value: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", describe(&output)));
    let text = run(&mut place.cli(&["status", "-c", "o.toml"]));
    let (text, page) = (describe(&text), fs::read_to_string(place.path("page.html")).expect("a page"));
    let metrics = fs::read_to_string(place.path("o.prom")).expect("metrics");
    let mut said = Vec::new();
    for finding in value["result"]["findings"].as_array().expect("findings") {
        let of = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        let word = match (&*of("severity"), &*of("news")) {
            ("info", "") => "note".to_owned(),
            ("info", news) => news.into(),
            (severity, _) => severity.into(),
        };
        let (code, message) = (of("code"), of("message"));
        assert!(text.contains(&word) && text.contains(&message), "{code}: {text}");
        assert!(page.contains(&format!("<b>{word}</b>")), "{code}: {page}");
        assert!(metrics.contains(&format!("code=\"{code}\",severity=\"{word}\"")), "{code}: {metrics}");
        said.push(format!("{word} {code}"));
    }
    (output.status.code(), said, text)
}

#[test]
fn each_thing_that_makes_nobody_safe_is_said_with_its_weight() {
    let server = Postgres::start();
    server.sql("postgres", "CREATE TABLE t ()");
    let place = Workplace::default();
    settings(&place, "elsewhere = true", SCHEDULE);
    let backup = run(place.cli(&["backup", "-c", "o.toml"]).envs(server.variables()));
    assert!(backup.status.success(), "{}", describe(&backup));
    // Made by hand: nobody makes one tomorrow, whatever the settings say.
    let (code, said, _) = status(&place);
    assert_eq!((code, said), (Some(13), vec!["error not-installed".into(), "warning never-drilled".to_owned()]));
    came_by_itself(&place);
    let never_drilled = || vec!["warning never-drilled".to_owned()];
    assert_eq!(status(&place).1, never_drilled());
    // The store dies with the machine.
    settings(&place, "", SCHEDULE);
    let (code, said, text) = status(&place);
    assert_eq!((code, said), (Some(13), vec!["error no-copy-elsewhere".into(), "warning never-drilled".to_owned()]));
    assert!(text.contains("NOT SAFE") && text.contains("elsewhere = true"), "{text}");
    settings(&place, "elsewhere = true", SCHEDULE);
    // A journal that can't be read, and a state directory that nothing can be kept in, hide what ran.
    let journal = place.path("state/runs.json");
    let kept = fs::read(&journal).expect("the journal");
    fs::write(&journal, "{").expect("written");
    let (code, said, text) = status(&place);
    assert!(
        said.contains(&"warning runs-unseen".to_owned()) && said.contains(&"warning not-installed".to_owned()),
        "{said:?}"
    );
    assert!(code == Some(3) && text.contains("unknown"), "{text}");
    fs::write(&journal, kept).expect("written");
    fs::rename(place.path("state"), place.path("aside")).expect("moved");
    place.write("state", "a file, as root may write anywhere else");
    let (_, said, _) = status(&place);
    assert!(said.contains(&"warning state-unwritable".to_owned()), "{said:?}");
    let check = run(place.cli(&["check", "-c", "o.toml"]).envs(server.variables()));
    assert!(
        check.status.code() == Some(3) && describe(&check).contains("no run and no restore is noted"),
        "{}",
        describe(&check)
    );
    fs::remove_file(place.path("state")).expect("removed");
    fs::rename(place.path("aside"), place.path("state")).expect("moved");
    // Who types it begins nothing for tomorrow; a timer says that it is one.
    fs::rename(&journal, place.path("runs-aside")).expect("moved");
    for (by, counts) in [(&[][..], false), (&["--by-timer"], true)] {
        another_second();
        let output = run(place.cli(&["schedule", "run", "backup", "-c", "o.toml"]).args(by).envs(server.variables()));
        assert!(output.status.success(), "{}", describe(&output));
        let idle = status(&place).1.iter().any(|said| said.ends_with("not-installed"));
        assert_eq!(idle, !counts, "{by:?}");
    }
    fs::rename(place.path("runs-aside"), &journal).expect("moved");
    // Without [schedule], what `schedule run` did in time shows that something runs it; without that, nothing does.
    settings(&place, "elsewhere = true", "");
    assert!(!status(&place).1.contains(&"error not-installed".to_owned()));
    fs::remove_file(&journal).expect("removed");
    assert!(status(&place).1.contains(&"error not-installed".to_owned()));
    // Good news are called ok, others are not.
    let checked = describe(&check);
    assert!(
        checked.contains("ok      postgres: may be read")
            && checked.contains("note    database_backups in cluster.conf"),
        "{checked}"
    );
    assert!(Path::new(&place.path("bundles")).is_dir());
}

#[test]
fn where_no_cluster_conf_is_yet_status_shows_what_there_is_and_what_is_unfinished() {
    let server = Postgres::start();
    server.sql("postgres", "CREATE TABLE t ()");
    let place = Workplace::default();
    settings(&place, "elsewhere = true", SCHEDULE);
    let made = run(place.cli(&["backup", "-c", "o.toml"]).envs(server.variables()));
    assert!(made.status.success(), "{}", describe(&made));
    came_by_itself(&place);
    let conf = fs::read(place.path("cluster.conf")).expect("a cluster.conf");
    for wrong in [None, Some(&b"chef {"[..])] {
        match wrong {
            None => fs::remove_file(place.path("cluster.conf")).expect("removed"),
            Some(text) => fs::write(place.path("cluster.conf"), text).expect("written"),
        }
        let (code, said, text) = status(&place);
        assert_eq!((code, &*said[0]), (Some(13), "error no-cluster-conf"), "{text}");
        // The bundles that can bring it back are there to be seen.
        assert!(text.contains("bundles") && !said.contains(&"error no-bundle".to_owned()), "{text}");
    }
    fs::remove_file(place.path("cluster.conf")).expect("removed");
    // The restore that is to bring it back was cut off.
    let bundle = place.bundles().pop().expect("a bundle");
    let mut restore = Command::new(env!("CARGO_BIN_EXE_interrupted"));
    restore.args(["3", "restore"]).arg(&bundle).current_dir(place.path("")).env("STATE_DIRECTORY", place.path("state"));
    let killed = run(restore.env("HOME", place.path("")).envs(server.variables()));
    assert!(!killed.status.success(), "{}", describe(&killed));
    let (_, said, text) = status(&place);
    assert!(said.contains(&"warning unfinished".to_owned()) && text.contains("restore --resume"), "{text}");
    // By the cluster.conf's own name, too; settings that are a slip are an error as ever.
    let bare = run(&mut place.cli(&["status", "-c", "cluster.conf"]));
    assert!(
        bare.status.code() == Some(13) && describe(&bare).contains("a restore brings a lost cluster.conf back"),
        "{}",
        describe(&bare)
    );
    let slip = run(&mut place.cli(&["status", "-c", "p.toml"]));
    assert_eq!(slip.status.code(), Some(10), "{}", describe(&slip));
    fs::write(place.path("cluster.conf"), conf).expect("written");
}
