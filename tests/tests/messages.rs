//! Bad input gets a sentence, a cause and a hint, and the right exit code; secrets never print.

use std::os::unix::fs::PermissionsExt;

use fixtures::Postgres;
use system_tests::{Workplace, describe};

/// The message of a run, with what differs between runs replaced.
fn message(place: &Workplace, server: &Postgres, arguments: &[&str]) -> String {
    let mut run = place.cli(arguments);
    let output = run.envs(server.variables()).output().expect("the command runs");
    let text = format!(
        "$ orchestrator-cli {}\n{}{}exit code {:?}\n",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        output.status.code().unwrap_or(-1)
    );
    let text = text
        .replace(&server.host().display().to_string(), "[socket]")
        .replace(&place.path("").display().to_string(), "[here]/");
    text.lines().filter(|line| *line != "check").map(|line| format!("{line}\n")).collect()
}

#[test]
fn bad_input_is_explained() {
    let server = Postgres::start();
    server.sql("postgres", "CREATE ROLE nobody LOGIN; CREATE TABLE hidden (a int)");
    let place = Workplace::default();
    place.write("bad.conf", "machines: {\n  central: { hosts: ['10.0.0.1' }\n}\n");
    place.write("typo.toml", "cluster_conf = \"cluster.conf\"\n\n[postgres]\ndatabses = [\"x\"]\n");
    place.write("nobody.toml", "cluster_conf = \"cluster.conf\"\n\n[postgres]\nconnection = \"user=nobody\"\n");
    place.write("dead.toml", "cluster_conf = \"cluster.conf\"\n\n[postgres]\nconnection = \"host=/nowhere\"\n");
    place.write("not-a-bundle.tgz", "just a text");
    place.write("file", "");
    place.write("empty.conf", "");
    let pipe = std::process::Command::new("mkfifo").arg(place.path("pipe")).status().expect("mkfifo runs");
    assert!(pipe.success());
    let backup = ["backup", "--release", "1", "--to", "bundles", "--config"];
    let with = |more: &[&'static str]| [&backup, more].concat();
    let runs: Vec<Vec<&str>> = vec![
        with(&["missing.conf"]),
        with(&["bad.conf"]),
        with(&["typo.toml"]),
        with(&["dead.toml"]),
        with(&["nobody.toml", "--database", "postgres"]),
        with(&["cluster.conf", "--database", "orchestratr"]),
        with(&["cluster.conf", "--level", "13"]),
        vec!["backup", "--to", "bundles", "--config", "cluster.conf"],
        vec!["backup", "--release", "1", "--config", "cluster.conf", "--to", "file"],
        vec!["backup", "--release", "1", "--config", "cluster.conf", "--to", "gs://bucket/backups"],
        vec!["backup", "--release", "1", "--config", "cluster.conf", "--to", "s3://key:hunter2@bucket/backups"],
        vec!["backup", "--release", "1", "--config", "cluster.conf", "--to", "~/backups"],
        vec!["show", "s3://bucket/backups"],
        vec!["backup", "--release", "", "--config", "cluster.conf", "--to", "bundles"],
        vec!["check", "--release", "1", "--config", "empty.conf", "--to", "bundles", "--database", "postgres"],
        vec!["extract", "not-a-bundle.tgz", "--to", "out"],
        vec!["list", "file"],
        vec!["verify", "not-a-bundle.tgz"],
        vec!["show", "missing.tgz"],
        vec!["show", "not-a-bundle.tgz"],
        vec!["show", "."],
        vec!["show", "pipe"],
        vec!["list", "missing"],
    ];
    let messages: Vec<String> = runs.iter().map(|arguments| message(&place, &server, arguments)).collect();
    insta::with_settings!({ filters => vec![
        (r"version \d+\.\d+ [^\n]*", "version [version]"),
        (r"(PostgreSQL|pg_dump) \d+\.\d+ [^\n]*", "$1 [version]"),
        (r"[\d.]+ [KMGT]iB", "[size]"),
        (r"/usr/lib/postgresql/\d+/bin", "[programs]"),
    ] }, {
        insta::assert_snapshot!(messages.join("\n"));
    });
}

#[test]
fn secrets_never_print() {
    let server = Postgres::start();
    server.load_sample(50);
    server.sql("postgres", "CREATE ROLE keeper LOGIN SUPERUSER PASSWORD 'hunter2'; ALTER DATABASE orchestrator SET app.secret_token = 'hunter2'");
    let place = Workplace::default();
    let url = format!("postgresql://keeper:hunter2@/postgres?host={}", server.host().display());
    place.write("secret.toml", format!("cluster_conf = \"cluster.conf\"\n[postgres]\nconnection = \"{url}\"\n"));
    place.write(
        "broken.toml",
        format!("cluster_conf = \"cluster.conf\"\n[postgres]\nconnection = \"{url}&nonsense=1\"\n"),
    );
    place.write("broken.conf", "chef { secret_key: \"hunter2\" \"hunter2\" }\n");
    // Mistakes that put a part of the password where another thing is expected.
    let more = [
        ("slash.toml", "connection = \"postgresql://keeper:hunter2/x@host/db\""),
        ("space.toml", "connection = \"user=keeper password=my hunter2 host=x\""),
        ("type.toml", "role_passwords = \"hunter2\""),
        ("list.toml", "databases = \"password=hunter2\""),
    ];
    for (name, line) in more {
        place.write(name, format!("cluster_conf = \"cluster.conf\"\n[postgres]\n{line}\n"));
    }
    let configs = ["secret.toml", "broken.toml", "broken.conf"];
    for config in configs.into_iter().chain(more.map(|(name, _)| name)) {
        for extra in [&[][..], &["--json"], &["--dry-run"], &["--dry-run", "--json"]] {
            let mut run = place.cli(&["backup", "--release", "1", "--to", "bundles", "--config", config]);
            let output = run.args(extra).env("PATH", server.path()).output().expect("the command runs");
            assert!(!describe(&output).contains("hunter2"), "{config} {extra:?}: {}", describe(&output));
            if config == "secret.toml" {
                assert!(output.status.success(), "{}", describe(&output));
            }
            // Names have seconds, and a second run within one is refused.
            place.bundles().iter().skip(1).for_each(|path| std::fs::remove_file(path).expect("removed"));
            if place.bundles().len() == 1 && !extra.contains(&"--dry-run") {
                let bundle = place.bundles().pop().expect("a bundle");
                let shown =
                    place.cli(&["show", "--json", "--entries"]).arg(&bundle).output().expect("the command runs");
                assert!(!describe(&shown).contains("hunter2"), "the manifest holds a secret");
                std::fs::remove_file(&bundle).expect("removed");
            }
        }
    }
}

#[test]
fn secrets_stand_in_no_argument_list_and_bundles_are_for_their_owner_alone() {
    let server = Postgres::start();
    server.sql("postgres", "CREATE ROLE keeper LOGIN SUPERUSER PASSWORD 'hunter2'; CREATE TABLE t AS SELECT 1 AS i");
    server.sql("postgres", "SELECT lo_from_bytea(700001, 'x')");
    let place = Workplace::default();
    // Each program is the real one, after its arguments were written down.
    std::fs::create_dir(place.path("bin")).expect("a directory");
    for program in ["pg_dump", "pg_restore"] {
        let real = server.client_bin().join(program).display().to_string();
        let seen = place.path("seen").display().to_string();
        let script = format!("#!/bin/sh\nprintf '%s ' \"$0\" \"$@\" >>'{seen}'\nexec '{real}' \"$@\"\n");
        let path = place.write(&format!("bin/{program}"), script);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    }
    let url = format!("postgresql://keeper:hunter2@/postgres?host={}", server.host().display());
    let bin = place.path("bin");
    place.write(
        "o.toml",
        format!("cluster_conf = \"cluster.conf\"\n[postgres]\nconnection = \"{url}\"\nbin_dir = {bin:?}\n"),
    );
    let output = place.cli(&["backup", "--config", "o.toml", "--release", "1", "--to", "bundles"]).output();
    let output = output.expect("the command runs");
    assert!(output.status.success(), "{}", describe(&output));
    let seen = std::fs::read_to_string(place.path("seen")).expect("arguments");
    assert!(seen.contains("--format=custom") && !seen.contains("hunter2"), "{seen}");
    for entry in std::fs::read_dir(place.path("bundles")).expect("a directory").flatten() {
        let mode = entry.metadata().expect("there").permissions().mode() & 0o7777;
        assert_eq!(mode, 0o600, "{}", entry.path().display());
    }
}
