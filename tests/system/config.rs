//! First settings: what `config init` writes works as it stands, and `config check` says all that is wrong without asking anybody.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};

use fixtures::Postgres;
use serde_json::Value;
use system_tests::{Workplace, as_user, binary, code_but_for_clients, describe};

const DOCUMENTED: &str = include_str!("../../docs/json.md");

fn result(output: &Output) -> Value {
    let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", describe(output)));
    document["result"].clone()
}

/// Codes of findings that are warnings or errors.
fn bad(findings: &Value) -> Vec<String> {
    let all = findings.as_array().expect("findings").iter();
    all.filter(|one| one["severity"] != "info").map(|one| one["code"].as_str().unwrap_or_default().to_owned()).collect()
}

fn run(place: &Workplace, arguments: &[&str]) -> Output {
    place.cli(arguments).stdin(Stdio::null()).output().expect("the command runs")
}

const INIT: [&str; 10] =
    ["config", "init", "--output", "o.toml", "--cluster-conf", "cluster.conf", "--release", "2.6.3", "--to", "bundles"];

#[test]
fn settings_of_init_are_checked_backed_up_by_and_drilled_with_nothing_edited() {
    let server = Postgres::start();
    server.load_sample(50);
    let place = Workplace::default();
    let mut init = place.cli(&INIT);
    init.args(["--yes", "--json"]).envs(server.variables()).env("PGPASSWORD", "hunter2").stdin(Stdio::null());
    let output = init.output().expect("it runs");
    // Its only store is on this machine.
    assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
    let written = result(&output);
    let documented = DOCUMENTED.lines().find(|line| line.starts_with("| `config-init` |")).expect("its fields");
    for field in written.as_object().expect("an object").keys() {
        assert!(documented.contains(&format!("`{field}`")), "{field}");
    }
    assert_eq!(bad(&written["findings"]), ["stores-here"], "{}", describe(&output));
    let path = place.path("o.toml");
    let text = fs::read_to_string(&path).expect("settings");
    assert_eq!(written["text"].as_str(), Some(&*text));
    assert!(!text.contains("hunter2") && text.contains("daily = 7") && text.contains("backup = \"02:30\""), "{text}");
    assert_eq!(path.metadata().expect("it").permissions().mode() & 0o777, 0o644);

    let checked = run(&place, &["config", "check", "-c", "o.toml", "--json"]);
    assert_eq!((checked.status.code(), bad(&result(&checked)["findings"])), (Some(3), vec!["stores-here".to_owned()]));
    // Each next command runs as it is printed, without the environment that init had.
    let next: Vec<String> = written["next"]
        .as_array()
        .expect("commands")
        .iter()
        .map(|one| one.as_str().expect("a command").to_owned())
        .collect();
    let words = |command: &str| command.split(' ').skip(1).map(str::to_owned).collect::<Vec<_>>();
    let names: Vec<String> = next.iter().map(|command| words(command.trim_start_matches("sudo "))[0].clone()).collect();
    assert_eq!(names, ["check", "backup", "drill", "schedule"]);
    for command in &next[..3] {
        let words = words(command);
        let mut run = place.cli(&words.iter().map(String::as_str).collect::<Vec<_>>());
        let output = run.env("PATH", server.path()).output().expect("it runs");
        assert_eq!(code_but_for_clients(&output), Some(0), "{command}: {}", describe(&output));
    }
    assert_eq!(place.bundles().len(), 1);
}

#[test]
fn init_writes_over_nothing_without_force_and_prints_where_that_is_asked() {
    let place = Workplace::default();
    place.write("o.toml", "mine");
    let alone = [&INIT[..], &["--connection", "host=/nowhere", "--yes"]].concat();
    let refused = run(&place, &alone);
    assert_eq!(refused.status.code(), Some(13), "{}", describe(&refused));
    assert!(describe(&refused).contains("--yes --force` writes over it"), "{}", describe(&refused));
    assert_eq!(fs::read_to_string(place.path("o.toml")).expect("it"), "mine");
    let forced = run(&place, &[&alone[..], &["--force"]].concat());
    assert_eq!(forced.status.code(), Some(3), "{}", describe(&forced));
    let text = fs::read_to_string(place.path("o.toml")).expect("it");
    let words: Vec<&str> = alone.iter().map(|word| if *word == "o.toml" { "-" } else { word }).collect();
    let printed = run(&place, &words);
    assert_eq!(String::from_utf8_lossy(&printed.stdout), text, "{}", describe(&printed));
    for (more, code, said) in [
        (["--output", "settings"], 2, "the name of settings ends in .toml"),
        (["--connection", "password=hunter2"], 2, "--connection holds a password"),
        (["--to", "gs://bucket"], 2, "no kind of store"),
        (["--backup-at", "25:00"], 2, "25 is no hour"),
        (["--keep", "hourly=3"], 2, "no rule of what is kept"),
        (["--recipient", "hunter2"], 2, "no recipient"),
        (["--cluster-conf", "missing.conf"], 10, "missing.conf: there is no such file"),
    ] {
        let mut words: Vec<&str> = vec!["config", "init", "--yes"];
        let usual = [
            ["--output", "new.toml"],
            ["--cluster-conf", "cluster.conf"],
            ["--release", "1"],
            ["--to", "bundles"],
            ["--connection", "host=/nowhere"],
        ];
        words.extend(usual.iter().filter(|[flag, _]| *flag != more[0] || *flag == "--to").flatten());
        words.extend(more);
        let output = run(&place, &words);
        assert_eq!(output.status.code(), Some(code), "{more:?}: {}", describe(&output));
        assert!(describe(&output).contains(said), "{more:?}: {}", describe(&output));
        assert!(!place.path("new.toml").exists(), "{more:?}");
    }
}

#[test]
fn init_without_a_terminal_names_the_flags_that_it_needs() {
    let place = Workplace::default();
    let output = run(&place, &["config", "init", "--output", "o.toml", "--connection", "host=/nowhere"]);
    let said = describe(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("missing: --release, --to"), "{said}");
    let hint = "config init --output o.toml --connection host=/nowhere --release 2.6.3 --to /mnt/backups";
    assert!(said.contains(hint), "{said}");
    assert!(!place.path("o.toml").exists());
}

#[test]
fn init_says_before_it_asks_that_a_file_can_not_be_written() {
    let place = Workplace::default();
    let init = place.cli(&["config", "init", "--output", "/usr/o.toml", "--connection", "host=/nowhere"]);
    let output = as_user("nobody", &init).stdin(Stdio::null()).output().expect("it runs");
    let said = describe(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("Permission denied") && !said.contains("missing:"), "{said}");
    assert!(said.contains("sudo ") && said.contains("config init --output /usr/o.toml"), "{said}");
}

#[test]
fn init_asks_on_a_terminal_and_asks_again_after_an_answer_that_can_not_be() {
    let server = Postgres::start();
    server.load_sample(10);
    let place = Workplace::default();
    let command = format!("stty cols 120; {} config init -o o.toml", binary().display());
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &command, "/dev/null"]).current_dir(place.path(""));
    script.envs(server.variables()).env("HOME", place.path("")).env("STATE_DIRECTORY", place.path("state"));
    script.env("TERM", "xterm").env("NO_COLOR", "1").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut running = script.spawn().expect("missing prerequisite: script (package bsdutils)");
    let answers = "missing.conf\ncluster.conf\n\n2.6.3\ngs://x\nbundles, s3://bucket/prefix\nno\nhourly=3\nlast=3\n25:00\n03:00\nno\n";
    running.stdin.take().expect("a pipe").write_all(answers.as_bytes()).expect("answers");
    let output = running.wait_with_output().expect("it ends");
    let shown = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    for said in [
        "databases orchestrator",
        "Where is cluster.conf?",
        "there is no such file",
        "no kind of store",
        "no rule of",
        "25 is no hour",
        "next",
        " backup -c ",
    ] {
        assert!(shown.contains(said), "{said}: {shown}");
    }
    let text = fs::read_to_string(place.path("o.toml")).expect("settings");
    let stores =
        format!("path = \"{}\"\n\n[[stores]]\naddress = \"s3://bucket/prefix\"\n", place.path("bundles").display());
    for said in [&*stores, "version = \"2.6.3\"\n", "[retention]\nlast = 3\n", "backup = \"03:00\"\ndrill = \"\"\n"] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert!(!text.contains("[encryption]"), "{text}");
}

#[test]
fn init_writes_who_can_read_bundles_and_a_drill_opens_them() {
    let server = Postgres::start();
    server.load_sample(10);
    let place = Workplace::default();
    let generated = run(&place, &["key", "generate", "orchestrator.key"]);
    let recipient = String::from_utf8(generated.stdout).expect("UTF-8");
    // The identity lies where it is looked for, and opens what is for its recipient.
    let mut init = place.cli(&INIT);
    init.args(["--recipient", recipient.trim(), "--keep-all", "--yes"]).envs(server.variables());
    let output = init.stdin(Stdio::null()).output().expect("it runs");
    assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
    let text = fs::read_to_string(place.path("o.toml")).expect("settings");
    assert!(
        text.contains(recipient.trim())
            && text.contains("orchestrator.key")
            && !text.contains("SECRET")
            && !text.contains("[retention]"),
        "{text}"
    );
    for command in ["backup", "drill"] {
        let mut run = place.cli(&[command, "-c", "o.toml"]);
        let output = run.env("PATH", server.path()).output().expect("it runs");
        assert_eq!(code_but_for_clients(&output), Some(0), "{command}: {}", describe(&output));
    }
}

#[test]
fn check_of_settings_says_all_that_is_wrong_at_once() {
    let place = Workplace::default();
    place.write("broken.conf", "machines: {\n");
    let wrong = "cluster_conf = 'broken.conf'\n[backup]\nlevel = 'hunter2'\n[hosts]\nssh_port = 70000\n[retention]\n\
        [[component]]\nkind = 'redis'\naddress = 7712\n[notify]\nping = 'hunter2'\n[[files]]\npath = 'relative'\n";
    place.write("o.toml", wrong);
    let output = run(&place, &["config", "check", "-c", "o.toml"]);
    let said = describe(&output);
    assert_eq!(output.status.code(), Some(13), "{said}");
    for expected in [
        "line 3, column 9: backup.level: found a text, expected a whole number",
        "line 5, column 12: hosts.ssh_port: found 70000",
        "retention: no rule keeps anything",
        "line 9, column 11: component.address: found a whole number, expected a text",
        "notify.ping: no URL",
        "files: relative is not an absolute path",
        "broken.conf: the text can't be understood: line 1, column 11",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert!(!said.contains("hunter2") && !said.contains("7712"), "{said}");
    let document = run(&place, &["config", "check", "-c", "o.toml", "--json"]);
    assert_eq!(bad(&result(&document)["findings"]), vec!["settings"; 7], "{}", describe(&document));
    assert_eq!(run(&place, &["config", "check", "-c", "missing.toml"]).status.code(), Some(10));
    place.write("no.toml", "cluster_conf = \n");
    assert_eq!(run(&place, &["config", "check", "-c", "no.toml"]).status.code(), Some(2));
}

#[test]
fn check_of_settings_says_what_is_doubtful_and_asks_nobody() {
    let place = Workplace::default();
    let doubtful = "cluster_conf = 'cluster.conf'\n[postgres]\nconnection = 'host=192.0.2.1 password=hunter2'\nbin_dir = '/missing'\n\
        [[stores]]\npath = 'missing/bundles'\n[encryption]\nidentities = ['missing.key']\n[notify]\nmetrics = '/missing/o.prom'\n";
    let path = place.write("o.toml", doubtful);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("a mode");
    let output = run(&place, &["config", "check", "-c", "o.toml", "--json"]);
    assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
    let mut codes = bad(&result(&output)["findings"]);
    codes.sort();
    let expected =
        ["no-directory", "no-directory", "no-identity", "no-release", "no-such-file", "password-open", "stores-here"];
    assert_eq!(codes, expected, "{}", describe(&output));
    assert!(!describe(&output).contains("hunter2"), "{}", describe(&output));
    // A server and a store that nobody can reach are no matter of it.
    place.write("o.toml", "cluster_conf = 'cluster.conf'\nrelease.version = '1'\npostgres.connection = 'host=192.0.2.1'\n[[stores]]\naddress = 's3://b'\ns3.endpoint = 'http://192.0.2.1:1'\n");
    let output = run(&place, &["config", "check", "-c", "o.toml"]);
    assert_eq!(output.status.code(), Some(0), "{}", describe(&output));
}
