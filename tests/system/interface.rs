//! What people and programs meet: documented JSON, colours and bars where they are wanted, completions, the manual.

use std::process::{Command, Output};

use fixtures::Postgres;
use serde_json::Value;
use system_tests::{Workplace, binary, code_but_for_clients, describe};

const DOCUMENTED: &str = include_str!("../../docs/json.md");

/// The one document that a run printed.
fn document(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text.lines().count(), 1, "{}", describe(output));
    serde_json::from_str(&text).unwrap_or_else(|cause| panic!("{cause}: {}", describe(output)))
}

/// The fields that docs/json.md lists for a kind of result.
fn documented(kind: &str) -> &'static str {
    DOCUMENTED.lines().find(|line| line.starts_with(&format!("| `{kind}`"))).expect("a documented kind")
}

#[test]
fn every_command_prints_the_json_that_is_documented() {
    let server = Postgres::start();
    server.load_sample(50);
    let place = Workplace::default();
    place.make_bundle(&server);
    let bundle = place.bundles().pop().expect("a bundle").display().to_string();
    let config = ["--config", "cluster.conf", "--release", "1", "--to"];
    let cases: [(&str, Vec<&str>); 10] = [
        ("backup", [&["backup"], &config[..], &["other"]].concat()),
        ("plan", [&["backup", "--dry-run"], &config[..], &["other"]].concat()),
        ("check", [&["check"], &config[..], &["other"]].concat()),
        ("list", vec!["list", "bundles"]),
        ("verify", vec!["verify", &bundle]),
        ("verify-all", vec!["verify", "--all", "bundles"]),
        ("copy", vec!["copy", &bundle, "copies"]),
        ("keep", vec!["keep", &bundle, "--note", "for the audit"]),
        ("extract", vec!["extract", &bundle, "cluster.conf", "--to", "out"]),
        ("show", vec!["show", &bundle]),
    ];
    for (kind, arguments) in cases {
        let mut run = place.cli(&arguments);
        let output = run.arg("--json").envs(server.variables()).output().expect("the command runs");
        assert_eq!(code_but_for_clients(&output), Some(0), "{kind}: {}", describe(&output));
        let document = document(&output);
        assert_eq!((document["version"].as_u64(), document["kind"].as_str()), (Some(1), Some(kind)));
        let fields = document["result"].as_object().expect("an object");
        if kind != "show" {
            fields
                .keys()
                .for_each(|field| assert!(documented(kind).contains(&format!("`{field}`")), "{kind}: {field}"));
        }
        let progress = String::from_utf8_lossy(&output.stderr);
        let is_event = |line: &str| serde_json::from_str::<Value>(line).is_ok_and(|event| event["event"].is_string());
        assert!(progress.lines().all(is_event), "{kind}: {progress}");
    }
    let output = place.cli(&["show", "missing.tgz", "--json"]).output().expect("the command runs");
    let document = document(&output);
    assert_eq!((document["kind"].as_str(), document["error"]["exit_code"].as_u64()), (Some("error"), Some(10)));
}

/// What a run prints on a terminal, standard output and error together.
fn on_a_terminal(place: &Workplace, server: &Postgres, arguments: &str, color: bool) -> String {
    let command = format!("stty cols 120; {} {arguments}", binary().display());
    let mut script = Command::new("script");
    script.args(["--quiet", "--command", &command, "/dev/null"]).current_dir(place.path(""));
    script.envs(server.variables()).env("HOME", place.path("")).env("TERM", "xterm").env_remove("NO_COLOR");
    if !color {
        script.env("NO_COLOR", "1");
    }
    let output = script.output().expect("missing prerequisite: script (package bsdutils)");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_terminal_gets_a_bar_and_colours_only_where_they_are_wanted() {
    let server = Postgres::start();
    server.sql(
        "postgres",
        "CREATE TABLE much AS SELECT i, repeat(md5(i::text), 8) AS t FROM generate_series(1, 100000) i",
    );
    let place = Workplace::default();
    let backup = "backup --config cluster.conf --release 1 --to terminal --limit-rate 2M";
    let shown = on_a_terminal(&place, &server, backup, true);
    assert!(shown.contains("MiB/s") && shown.contains("rows in a bundle of"), "{shown:?}");
    let (_, after) = shown.rsplit_once("sha256").expect("the result's last line");
    assert!(!after.contains('\u{1b}'), "something is drawn over the result: {after:?}");
    let piped = place.backup(&server, &[]).output().expect("the command runs");
    assert!(!describe(&piped).contains(['\r', '\u{1b}']), "plain lines elsewhere: {}", describe(&piped));
    let error = |color| on_a_terminal(&place, &server, "list missing", color);
    assert!(error(true).contains("\u{1b}["), "{:?}", error(true));
    assert!(!error(false).contains('\u{1b}') && error(false).contains("error"), "{:?}", error(false));
}

#[test]
fn a_result_that_can_not_be_printed_is_an_error() {
    let place = Workplace::default();
    std::fs::create_dir(place.path("bundles")).expect("a directory");
    for arguments in [&["list", "bundles"][..], &["list", "bundles", "--json"], &["completions", "bash"], &["man"]] {
        let mut run = place.cli(arguments);
        run.stdout(std::fs::File::options().write(true).open("/dev/full").expect("/dev/full"));
        let output = run.output().expect("the command runs");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", describe(&output));
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = place.cli(arguments).stdout(writer).output().expect("the command runs");
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}: {}", describe(&output));
    }
}

#[test]
fn completions_and_the_manual_name_every_command() {
    let place = Workplace::default();
    let commands = ["backup", "deploy", "copy", "keep", "list", "nodes", "show", "ssh", "verify", "extract", "check"];
    let printed = |arguments: &[&str]| {
        let output = place.cli(arguments).output().expect("the command runs");
        assert!(output.status.success(), "{}", describe(&output));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    for arguments in [&["completions", "bash"][..], &["completions", "zsh"], &["completions", "fish"], &["man"]] {
        let text = printed(arguments);
        assert!(commands.iter().all(|command| text.contains(command)), "{arguments:?}: {text}");
    }
    for command in commands {
        let help = printed(&[command, "--help"]);
        assert!(help.contains("\n  orchestrator-cli "), "{command}: {help}");
    }
}

#[test]
fn a_directory_gets_a_page_of_the_manual_for_every_command() {
    let place = Workplace::default();
    let missing = place.cli(&["man", "pages"]).output().expect("the command runs");
    assert!(describe(&missing).contains("hint: the directory must exist: `mkdir -p pages`"), "{}", describe(&missing));
    std::fs::create_dir(place.path("pages")).expect("a directory");
    let output = place.cli(&["man", "pages", "--json"]).output().expect("the command runs");
    assert!(output.status.success(), "{}", describe(&output));
    let document = document(&output);
    let mut said: Vec<&str> =
        document["result"]["pages"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    said.sort_unstable();
    let mut there: Vec<String> = std::fs::read_dir(place.path("pages"))
        .expect("a directory")
        .map(|entry| format!("pages/{}", entry.expect("an entry").file_name().display()))
        .collect();
    there.sort_unstable();
    assert_eq!(said, there);
    for (page, word) in [
        ("", "Exit codes"),
        ("-restore", "orchestrator\\-cli restore \\-\\-rollback"),
        ("-restore-cleanup", "stepped aside"),
        ("-schedule-install", "crontab"),
        ("-databases-backup", "masters"),
    ] {
        let text = std::fs::read_to_string(place.path(&format!("pages/orchestrator-cli{page}.1"))).expect(page);
        assert!(text.contains(word), "{page}: {text}");
    }
    // Nobody types what only this program says to another of its kind.
    let text = std::fs::read_to_string(place.path("pages/orchestrator-cli-databases-backup.1")).expect("a page");
    assert!(!text.contains("errand"), "{text}");
}
