//! What units let a job do: root's do their work with the capabilities that stand there, and no program that a job starts gets any.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use system_tests::{Stage, as_root, describe, names};

/// The capabilities of a job of root, as `setpriv` takes them.
fn bounding_set(stage: &Stage, job: &str) -> String {
    let unit = fs::read_to_string(stage.place.path(&format!("units/orchestrator-cli-{job}.service"))).expect("a unit");
    let line = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).expect("capabilities");
    let words = line.split_whitespace().map(|word| word.strip_prefix("CAP_").expect("a capability").to_lowercase());
    words.fold("-all".to_owned(), |set, word| format!("{set},+{word}"))
}

/// Runs the command as root with these alone.
fn limited(stage: &Stage, set: &str, arguments: &[&str]) -> Output {
    let command = stage.command(arguments, &stage.place.path("state"));
    let mut limited = fixtures::as_root("setpriv");
    limited.args(["--bounding-set", set, "env"]);
    limited
        .args(command.get_envs().filter_map(|(name, value)| Some(format!("{}={}", name.display(), value?.display()))));
    limited.arg(command.get_program()).args(command.get_args()).current_dir(stage.place.path(""));
    limited.output().expect("setpriv runs")
}

#[test]
fn roots_jobs_do_their_work_with_the_capabilities_of_their_units() {
    let stage = Stage::new();
    as_root(
        &stage,
        "mkdir tree units bundles; echo secret > tree/closed; chmod 600 tree/closed; chmod 700 tree; chown -R nobody tree",
    );
    stage.settings(&stage.place.path("tree"), "[schedule]\n");
    let units = stage.place.path("units").display().to_string();
    let state = stage.place.path("state");
    let written = stage.run(&["schedule", "install", "--user", "root", "--directory", &units], &state);
    assert!(written.status.success(), "{}", describe(&written));
    let backup = bounding_set(&stage, "backup");
    assert!(!backup.contains("override") && !backup.contains("setuid"), "{backup}");
    let output = limited(&stage, &backup, &["backup", "--database", "one", "--to", "bundles"]);
    assert_eq!(output.status.code(), Some(0), "{}", describe(&output));
    let bundle = names(&stage.place.path("bundles")).into_iter().find(|name| name.ends_with("tgz")).expect("a bundle");
    let bundle = format!("bundles/{bundle}");
    let shown = describe(&stage.run(&["show", "--entries", &bundle], &state));
    assert!(shown.contains("tree/closed"), "{shown}");
    let output = limited(&stage, &bounding_set(&stage, "drill"), &["drill", &bundle]);
    assert!([Some(0), Some(3)].contains(&output.status.code()), "{}", describe(&output));
    assert!(!describe(&output).contains("gives it no namespaces"), "{}", describe(&output));
    // Of another user they have a state and a cache that are nobody else's.
    let written = stage.run(&["schedule", "install", "--user", "nobody", "--directory", &units], &state);
    assert!(written.status.success(), "{}", describe(&written));
    let unit = fs::read_to_string(stage.place.path("units/orchestrator-cli-drill.service")).expect("a unit");
    for line in [
        "CapabilityBoundingSet=CAP_NET_RAW",
        "StateDirectory=orchestrator-cli/users/nobody",
        "StateDirectoryMode=0700",
        "CacheDirectory=orchestrator-cli-nobody",
    ] {
        assert!(unit.lines().any(|other| other == line), "{line}: {unit}");
    }
}

#[test]
fn no_program_that_a_job_starts_may_send_pings() {
    let stage = Stage::new();
    let (caps, sendmail) = (stage.place.path("mail/caps"), stage.place.path("sendmail"));
    stage
        .place
        .write("sendmail", format!("#!/bin/sh\ngrep Cap /proc/self/status > '{}'\ncat > /dev/null\n", caps.display()));
    fs::set_permissions(&sendmail, fs::Permissions::from_mode(0o755)).expect("a mode");
    stage.settings(
        &stage.place.path("cluster.conf"),
        &format!("[notify]\nmail = ['ops@example.com']\nsendmail = '{}'\n", sendmail.display()),
    );
    as_root(
        &stage,
        "mkdir mail state bundles; chown nobody mail state bundles; chmod 755 .; chmod 644 settings.toml cluster.conf",
    );
    let mut command = stage.command(&["schedule", "run", "backup"], &stage.place.path("state"));
    command.env("PGHOST", "/nowhere");
    let mut job = fixtures::as_root("setpriv");
    job.args(["--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]);
    job.args(["--inh-caps", "+net_raw", "--ambient-caps", "+net_raw", "env"]);
    job.args(command.get_envs().filter_map(|(name, value)| Some(format!("{}={}", name.display(), value?.display()))));
    job.arg(command.get_program()).args(command.get_args()).current_dir(stage.place.path(""));
    let output = job.output().expect("setpriv runs");
    let caps = fs::read_to_string(&caps).unwrap_or_else(|_| panic!("no letter: {}", describe(&output)));
    for set in ["CapPrm", "CapEff", "CapAmb"] {
        let line = caps.lines().find(|line| line.starts_with(set)).expect("a set");
        assert_eq!(line.split_whitespace().nth(1), Some("0000000000000000"), "{caps}");
    }
}
