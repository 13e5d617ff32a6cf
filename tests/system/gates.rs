//! Whose bundle it is, what is asked before a swap, and the port that hosts are found on.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use fixtures::{Postgres, Sshd, forget_libpq};
use serde_json::Value;
use system_tests::{Workplace, binary, describe, last_line, open, state};

/// A server that has `orchestrator`, and a bundle of it that says it is of cluster `prod-eu`.
fn stage() -> (Workplace, Postgres, String) {
    let (place, server) = (Workplace::default(), Postgres::start());
    server.sql("postgres", "CREATE DATABASE orchestrator");
    server.sql("orchestrator", "CREATE TABLE precious AS SELECT 'still here' AS what");
    std::fs::create_dir(place.path("prod")).expect("a directory");
    place.write("prod/cluster.conf", "chef: { continuum: { cluster_name: prod-eu } }\n");
    let made = place.cli(&["backup", "-c", "prod/cluster.conf", "--release", "2.6.3", "--to", "bundles"]);
    let made = { made }.envs(server.variables()).output().expect("it runs");
    assert!(made.status.success(), "{}", describe(&made));
    // On the machine that it comes to there is no such file.
    std::fs::remove_file(place.path("prod/cluster.conf")).expect("removed");
    let bundle = place.bundles().pop().expect("a bundle").display().to_string();
    (place, server, bundle)
}

/// The findings of a dry run whose code is one of these, as `severity message`.
fn findings(output: &Output, codes: &[&str]) -> Vec<String> {
    let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", describe(output)));
    let all = document["result"]["findings"].as_array().expect("findings");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let wanted = all.iter().filter(|finding| codes.contains(&finding["code"].as_str().unwrap_or_default()));
    wanted.map(|finding| format!("{} {}", text(&finding["severity"]), text(&finding["message"]))).collect()
}

/// Notes of a machine that has to do with cluster `example`.
fn notes(owns: bool) -> String {
    let identity = "50d858e0985ecc7f60418aaf0cc5ab58";
    let claim = serde_json::json!({
        "epoch": 1, "owner": "0a", "identity": identity, "cluster": "example", "host": "here", "addresses": [],
        "since": "2026-11-22T06:18:36Z",
    });
    let claim = if owns { claim } else { Value::Null };
    let notes = serde_json::json!({
        "identity": identity, "epoch": 1, "claim": claim, "taking": null, "overtaken": null,
    });
    serde_json::json!({ "example": notes }).to_string()
}

#[test]
fn a_bundle_of_another_cluster_is_refused_by_whatever_says_the_machines() {
    let (place, server, bundle) = stage();
    for directory in ["bare", "owner", "knows", "claims", "store"] {
        std::fs::create_dir(place.path(directory)).expect("a directory");
    }
    place.write("owner/ownership.json", notes(true));
    place.write("knows/ownership.json", notes(false));
    let settings = |conf: &str, store: &str| format!("cluster_conf = '{conf}'\n[[stores]]\npath = '{store}'\n");
    place.write("example.toml", settings("cluster.conf", "store"));
    place.write("none.toml", settings("nowhere.conf", "empty"));
    place.write("store.toml", settings("nowhere.conf", "store"));
    place.write("plain.toml", settings("cluster.conf", "empty"));
    place.write("mine.conf", "chef: { continuum: { cluster_name: prod-eu } }\n");
    place.write("mine.toml", settings("mine.conf", "empty"));
    // What a store has of this machine, whose notes are lost.
    let claimed = place.cli(&["ownership", "claim", "--yes", "-c", "example.toml"]);
    let claimed = { claimed }.env("STATE_DIRECTORY", place.path("claims")).output().expect("it runs");
    assert!(claimed.status.success(), "{}", describe(&claimed));

    let refused =
        |place: &str| format!("error it is of cluster prod-eu, and this machine is of cluster example, says {place}");
    let conf = place.path("cluster.conf").display().to_string();
    let root = place.path("root").display().to_string();
    let said = "info it is of cluster prod-eu; nothing here says which cluster this machine is of".to_owned();
    let beside =
        "info the restore goes beside the live state: this machine's cluster, the hosts and their owner are not checked"
            .to_owned();
    let allowed = format!("{}; allowed by --accept-cluster", refused(&conf)).replacen("error", "warning", 1);
    // Settings, state directory, further arguments; what is found.
    let cases: Vec<(&str, &str, Vec<&str>, String)> = vec![
        ("none.toml", "bare", vec![], said.clone()),
        ("mine.toml", "bare", vec![], "info it is of cluster prod-eu, as this machine is, says".into()),
        ("example.toml", "bare", vec![], refused(&conf)),
        ("none.toml", "owner", vec![], refused("this machine's notes")),
        ("none.toml", "knows", vec![], refused("this machine's notes")),
        ("mine.toml", "owner", vec![], refused("this machine's notes")),
        ("mine.toml", "knows", vec![], "info it is of cluster prod-eu, as this machine is, says".into()),
        ("store.toml", "bare", vec![], refused("")),
        ("example.toml", "bare", vec!["--accept-cluster", "prod-eu"], allowed),
        (
            "none.toml",
            "bare",
            vec!["--accept-cluster", "prod"],
            "error --accept-cluster prod: it is of cluster prod-eu".into(),
        ),
        // What is changed decides: databases that live are swapped wherever files go.
        ("example.toml", "bare", vec!["--root", &root], refused(&conf)),
        ("example.toml", "bare", vec!["--root", &root, "--only", "files"], beside.clone()),
        ("example.toml", "bare", vec!["--only", "files"], refused(&conf)),
        ("example.toml", "bare", vec!["--only", "databases"], refused(&conf)),
        ("example.toml", "bare", vec!["--database", "orchestrator=look"], beside),
        ("example.toml", "bare", vec!["--database", "orchestrator=postgres"], refused(&conf)),
    ];
    place.write("o.sql", server.dump("orchestrator", &[]));
    let pair = |conf| vec!["--sql", "o.sql", "--cluster-conf", conf];
    let pairs = [
        ("example.toml", "bare", pair("mine.conf"), refused(&conf)),
        ("plain.toml", "bare", pair("cluster.conf"), "info it is of cluster example, as this machine is, says".into()),
        ("none.toml", "owner", pair("mine.conf"), refused("this machine's notes")),
    ];
    for (settings, state, more, expected) in cases.into_iter().chain(pairs) {
        let mut run = place.restore(&server, &["--dry-run", "--json", "-q", "--release", "2.6.3"]);
        if !more.contains(&"--sql") {
            run.args(["--file", &bundle]);
        }
        run.args(["-c", settings]).args(&more).env("STATE_DIRECTORY", place.path(state));
        let output = run.output().expect("it runs");
        let found = findings(&output, &["cluster", "cluster-differs", "not-checked"]);
        assert!(found.len() == 1 && found[0].starts_with(&expected), "{settings} {state} {more:?}: {found:?}");
        let code = output.status.code();
        assert_eq!(code == Some(13), expected.starts_with("error"), "{settings} {more:?}: {}", describe(&output));
    }
    assert_eq!(server.sql("orchestrator", "SELECT what FROM precious"), "still here");
}

#[test]
fn what_comes_next_goes_by_whose_the_data_is_and_by_the_cluster_conf_that_the_settings_read() {
    let (place, server, bundle) = stage();
    place.write("example.toml", "cluster_conf = 'cluster.conf'\n");
    place.write("mine.conf", "chef: { continuum: { cluster_name: prod-eu } }\n# old\n");
    place.write("mine.toml", "cluster_conf = 'mine.conf'\n");
    place.write("same.toml", format!("cluster_conf = '{}'\n", place.path("prod/cluster.conf").display()));
    let conf = place.path("prod/cluster.conf").display().to_string();
    let (own, mine) = (place.path("cluster.conf"), place.path("mine.conf"));
    let copy = |to: &Path| format!("cp --backup=numbered {conf} {}", to.display());
    let deploy = "see `orchestrator-cli deploy --dry --release 2.6.3 -c mine.toml`";
    let same = "see `orchestrator-cli deploy --dry --release 2.6.3 -c same.toml`";
    let foreign = format!(
        "Do not deploy yet: the data is another cluster's, and the settings may name this machine's own cluster.conf. \
         Only if this machine is to run that cluster, let them name that cluster's, which is at {conf} now; \
         `orchestrator-cli deploy --dry -c {conf}` shows its machines."
    );
    let accept = ["--accept-cluster", "prod-eu"];
    for (settings, more, code, next, copied) in [
        ("example.toml", &accept[..], 3, &*foreign, Some(copy(&own))),
        ("mine.toml", &[], 3, deploy, Some(copy(&mine))),
        ("mine.toml", &accept, 3, deploy, Some(copy(&mine))),
        ("same.toml", &[], 0, same, None),
    ] {
        let mut run = place.restore(&server, &["--yes", "-q", "--release", "2.6.3", "-c", settings, "--file", &bundle]);
        let output = run.args(more).output().expect("it runs");
        let said = describe(&output);
        assert_eq!(output.status.code(), Some(code), "{settings} {more:?}: {said}");
        assert!(said.contains(next), "{settings} {more:?}: {said}");
        assert_eq!(said.contains("so that the agents"), !said.contains("Do not deploy"), "{settings} {more:?}: {said}");
        let command = said.lines().find_map(|line| line.split_once(": cp ")).map(|(_, rest)| format!("cp {rest}"));
        assert_eq!(command, copied, "{settings} {more:?}: {said}");
        if let Some(command) = command.filter(|_| settings == "mine.toml") {
            assert!(Command::new("sh").args(["-c", &command]).status().expect("it runs").success(), "{command}");
            assert!(!std::fs::read_to_string(&mine).expect("a file").contains("old"));
        }
        let back = place.restore(&server, &["--rollback", "--yes", "-c", settings, "--file", &bundle]).output();
        assert!(back.as_ref().is_ok_and(|output| output.status.success()), "{back:?}");
        // Nothing is left of the restore that the hint of one before it could mean.
        let again = place.restore(&server, &["--rollback", "-c", settings]).output().expect("it runs");
        assert!(describe(&again).contains("is rolled back already\nrefused"), "{}", describe(&again));
    }
    // Below another directory nothing is where settings would read it.
    let root = place.path("root").display().to_string();
    let mut run = place.restore(&server, &["--dry-run", "--json", "-q", "-c", "mine.toml", "--file", &bundle]);
    let output = run.args(["--root", &root]).output().expect("it runs");
    assert!(findings(&output, &["cluster-conf-elsewhere"]).is_empty(), "{}", describe(&output));
}

/// Runs a command on a terminal that answers.
fn answered(place: &Workplace, server: &Postgres, arguments: &[&str], answer: &str) -> Output {
    let mut script = Command::new("script");
    let command = [&[binary().to_str().expect("UTF-8")], arguments].concat().join(" ");
    script.args(["--quiet", "--return", "--command", &command, "/dev/null"]).current_dir(place.path(""));
    forget_libpq(&mut script);
    script.envs(server.variables()).env("NO_COLOR", "1").env("STATE_DIRECTORY", place.path("state"));
    let mut run = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("missing prerequisite: script");
    run.stdin.take().expect("a pipe").write_all(answer.as_bytes()).expect("an answer");
    run.wait_with_output().expect("it ends")
}

#[test]
fn the_question_says_what_is_at_stake_and_no_is_an_answer() {
    let (place, server, bundle) = stage();
    let mut psql = server.command("psql");
    psql.args(["-X", "-d", "orchestrator", "-c", "SELECT pg_sleep(600)"]).env("PGAPPNAME", "payroll");
    let mut session = psql.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("psql runs");
    server.wait_until("SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'payroll'");
    let before = state(&server);
    let restore = ["restore", "-q", "--release", "2.6.3", "--file", &bundle];
    let output = answered(&place, &server, &restore, "no\n");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(130), "{said}");
    let name = Path::new(&bundle).file_stem().expect("a name").display().to_string();
    for words in [
        &*format!("{name}, of cluster prod-eu, "),
        "old (20",
        &format!("is restored into PostgreSQL at {}:5432 and this machine, ", server.host().display()),
        "These sessions end: payroll of postgres from this server in orchestrator.",
        "orchestrator steps aside. Go on? (yes/no)",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(said.trim_end().ends_with("stopped; nothing was changed"), "{said}");
    assert!(!said.contains("error"), "{said}");
    assert_eq!(state(&server), before);
    assert!(session.try_wait().expect("a state").is_none(), "nobody was sent away");

    let output = answered(&place, &server, &restore, "yes\n");
    assert!(output.status.success(), "{}", describe(&output));
    assert!(!session.wait().expect("it ends").success(), "who was in it was sent away");
    let restored = state(&server);

    // The way back asks the same: what happens, and whose sessions end.
    let mut psql = server.command("psql");
    psql.args(["-X", "-d", "orchestrator", "-c", "SELECT pg_sleep(600)"]).env("PGAPPNAME", "ledger");
    let mut session = psql.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("psql runs");
    server.wait_until("SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'ledger'");
    let output = answered(&place, &server, &["restore", "--rollback"], "no\n");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let dry = place.restore(&server, &["--rollback", "--dry-run"]).output().expect("it runs");
    assert_eq!((output.status.code(), dry.status.code()), (Some(130), Some(0)), "{said}{}", describe(&dry));
    for words in [
        "drop database orchestrator, and rename orchestrator_before_",
        "hese sessions end: ledger of postgres from this server in orchestrator",
        &format!("remove {}", place.path("prod/cluster.conf").display()),
    ] {
        assert!(said.contains(words), "{words}: {said}");
        assert!(describe(&dry).contains(words), "{words}: {}", describe(&dry));
    }
    assert!(said.contains("All that was written to orchestrator, ") && said.contains("Go on? (yes/no)"), "{said}");
    let cleanup = place.restore(&server, &["cleanup", "--dry-run"]).output().expect("it runs");
    assert!(describe(&cleanup).contains("would drop orchestrator_before_"), "{}", describe(&cleanup));
    assert!(session.try_wait().expect("a state").is_none(), "nobody was sent away");
    assert_eq!(state(&server), restored);
    session.kill().expect("a signal");
    session.wait().expect("it ends");
    for arguments in [&["restore", "--rollback"][..], &["restore", "cleanup"], &["restore", "cleanup", "--forget"]] {
        let output = answered(&place, &server, arguments, "no\n");
        let asked = arguments.last() != Some(&"--forget");
        assert_eq!(output.status.code(), Some(if asked { 130 } else { 10 }), "{arguments:?}: {}", describe(&output));
        assert_eq!(state(&server), restored, "{arguments:?}");
    }
}

#[test]
fn the_port_of_the_hosts_goes_with_the_bundle() {
    let (place, server, sshd) = (Workplace::default(), Postgres::start(), Sshd::start());
    server.sql("postgres", "CREATE TABLE something ()");
    let conf = "machines: { m: { hosts: ['127.0.0.1'] } }\nchef: { continuum: { cluster_name: example } }\n";
    place.write("cluster.conf", conf);
    let port = sshd.port().to_string();
    let backup = place.backup(&server, &["--ssh-port", &port]).output().expect("it runs");
    assert!(backup.status.success(), "{}", describe(&backup));
    let bundle = place.bundles().pop().expect("a bundle");
    assert_eq!(open(&bundle).manifest().source.ssh_port, Some(sshd.port()));
    place.write("other.toml", "cluster_conf = 'cluster.conf'\nhosts.ssh_port = 1\n");
    let restore = |more: &[&str]| {
        let mut run = place.restore(&server, &["--dry-run", "--json", "-q", "--release", "2.6.3", "--file"]);
        run.arg(&bundle).args(more).output().expect("it runs")
    };
    let open = format!("SSH is open on port {port}");
    let cases = [
        (&[][..], &*open),
        (&["-c", "other.toml"], "SSH is refused on port 1"),
        (&["-c", "other.toml", "--ssh-port", &port], &open),
        (&["--ssh-port", "1"], "SSH is refused on port 1"),
    ];
    for (more, expected) in cases {
        let output = restore(more);
        let found = findings(&output, &["host", "host-key-unseen"]);
        assert!(found.len() == 1 && found[0].contains(expected), "{more:?}: {}", describe(&output));
        assert_eq!(output.status.code() == Some(13), expected.contains("refused"), "{more:?}: {found:?}");
    }
    // Whoever comes after the restore finds them there.
    let restored = place.restore_all(&server, &bundle, &[]);
    assert!(last_line(&restored).starts_with("restored in "), "{}", describe(&restored));
    let nodes = place.cli(&["nodes", "-c", "cluster.conf"]).output().expect("it runs");
    assert!(describe(&nodes).contains("as before"), "{}", describe(&nodes));
}
