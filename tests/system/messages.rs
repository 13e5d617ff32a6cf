//! Bad input gets a sentence, a cause and a hint, and the right exit code; secrets never print.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fixtures::{Installation, Postgres};
use system_tests::{Workplace, describe, reachable};

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
    // How old this machine's programs are is no matter of these messages.
    let of_programs = ["(CVE-", "hint: update the package postgresql-client", "hint: nothing mends that version"];
    let said = text.lines().filter(|line| *line != "check" && !of_programs.iter().any(|words| line.contains(words)));
    said.map(|line| format!("{line}\n")).collect()
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

/// Puts PostgreSQL's programs into `bin`: each is the real one, after its arguments were written down in `seen`.
fn watch_programs(place: &Workplace, server: &Postgres) {
    std::fs::create_dir(place.path("bin")).expect("a directory");
    for program in ["pg_dump", "pg_restore", "psql"] {
        let client = server.client_bin().join(program).display().to_string();
        let seen = place.path("seen").display().to_string();
        let script = format!("#!/bin/sh\nprintf '%s ' \"$0\" \"$@\" >>'{seen}'\nexec '{client}' \"$@\"\n");
        let path = place.write(&format!("bin/{program}"), script);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    }
}

#[test]
fn secrets_stand_in_no_argument_list_and_bundles_are_for_their_owner_alone() {
    let server = Postgres::start();
    server.sql("postgres", "CREATE ROLE keeper LOGIN SUPERUSER PASSWORD 'hunter2'; CREATE TABLE t AS SELECT 1 AS i");
    server.sql("postgres", "SELECT lo_from_bytea(700001, 'x')");
    let place = Workplace::default();
    watch_programs(&place, &server);
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

/// Secrets of every kind that a database has; of a role's password the server keeps what nobody may see either.
const SECRETS: [&str; 2] = ["hush-hush", "SCRAM-SHA-256$"];

/// Everything below a directory but bundles and what was written by hand: nothing of it holds a secret.
fn assert_no_secret(directory: &Path, when: &str) {
    for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            assert_no_secret(&path, when);
        } else if !["tgz", "toml"].iter().any(|end| path.extension().is_some_and(|it| it == *end)) {
            let text = String::from_utf8_lossy(&std::fs::read(&path).expect("a file")).into_owned();
            let found = SECRETS.iter().find(|secret| text.contains(**secret));
            assert!(found.is_none(), "{when}: {found:?} stands in {}", path.display());
        }
    }
}

#[test]
fn a_restore_writes_no_secret_anywhere() {
    let server = Postgres::start();
    for sql in [
        "CREATE ROLE keeper LOGIN SUPERUSER PASSWORD 'hush-hush'",
        "CREATE ROLE app LOGIN PASSWORD 'hush-hush'",
        "CREATE DATABASE odd OWNER app",
        "CREATE DATABASE broken",
        "ALTER DATABASE odd SET app.secret_token = 'hush-hush'",
        "ALTER DATABASE odd SET app.dsn = 'host=x password=hush-hush'",
        "ALTER ROLE app IN DATABASE odd SET app.api_key = 'hush-hush'",
        "ALTER DATABASE odd SET auto_explain.password = 'hush-hush'",
    ] {
        server.sql("postgres", sql);
    }
    server.sql(
        "odd",
        "CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER away FOREIGN DATA WRAPPER nothing; \
         CREATE USER MAPPING FOR app SERVER away OPTIONS (password 'hush-hush'); \
         CREATE SUBSCRIPTION odd_one CONNECTION 'host=/nowhere password=hush-hush' PUBLICATION p WITH (connect = false, slot_name = NONE); \
         CREATE TABLE p (t text PRIMARY KEY); CREATE TABLE c (t text REFERENCES p); CREATE FUNCTION f() RETURNS text LANGUAGE sql AS \
         $$ SELECT 'hush-hush' $$; SET session_replication_role = replica; INSERT INTO c VALUES ('hush-hush')",
    );
    server.sql(
        "broken",
        "CREATE FUNCTION ok(text) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true'; CREATE TABLE t (a text CHECK (ok(a))); \
         INSERT INTO t VALUES ('hush-hush'); CREATE OR REPLACE FUNCTION ok(text) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1::int > 0'",
    );
    let place = Workplace::default();
    watch_programs(&place, &server);
    let target = Postgres::start_version(&Installation::usual(), "shared_preload_libraries = 'auto_explain'\n");
    target.sql("postgres", "CREATE ROLE keeper LOGIN SUPERUSER PASSWORD 'hush-hush'");
    for (name, server) in [("source", &server), ("target", &target)] {
        let url = format!("postgresql://keeper:hush-hush@/postgres?host={}", server.host().display());
        let bin = place.path("bin");
        place.write(
            &format!("{name}.toml"),
            format!(
                "cluster_conf = 'cluster.conf'\nrelease.version = '2.6.3'\n[[stores]]\npath = 'bundles'\n\
                 [postgres]\nconnection = '{url}'\nbin_dir = {bin:?}\nrole_passwords = true\n"
            ),
        );
    }
    // Its server runs as another user, who can't look into this place.
    place.write("drill.toml", "cluster_conf = 'cluster.conf'\n");
    let inside = reachable();
    let run = |arguments: &[&str], settings: &str, codes: &[i32]| {
        let output = place.cli(arguments).args(["--config", settings]).output().expect("it runs");
        let said = describe(&output);
        assert!(output.status.code().is_some_and(|code| codes.contains(&code)), "{arguments:?}: {said}");
        assert!(SECRETS.iter().all(|secret| !said.contains(secret)), "{arguments:?}: {said}");
        [place.path(""), inside.path().into()].iter().for_each(|place| assert_no_secret(place, &arguments.join(" ")));
        said
    };
    run(&["backup"], "source.toml", &[0, 3]);
    let bundle = place.bundles().pop().expect("a bundle").display().to_string();
    run(&["show", &bundle, "--json", "--entries"], "source.toml", &[0]);
    run(&["diff", &bundle, "--rows", "--json"], "source.toml", &[0]);
    let drilled = run(&["drill", &bundle, "--in", &inside.path().display().to_string()], "drill.toml", &[1, 3]);
    assert!(drilled.contains("invalid input syntax"), "{drilled}");
    let restore = ["restore", "--only", "databases", "--yes", "--file", &bundle];
    let with = |more: &[&'static str]| [&restore[..], more].concat();
    for more in [&["--dry-run"][..], &["--dry-run", "--json"]] {
        run(&with(more), "target.toml", &[0, 3]);
    }
    let refused = run(&with(&[]), "target.toml", &[14]);
    assert!(refused.contains("invalid input syntax"), "{refused}");
    run(&["restore", "--resume", "--json"], "target.toml", &[14]);
    run(&["status", "--json"], "target.toml", &[0, 13]);
    run(&["restore", "--rollback", "--yes", "--file", &bundle], "target.toml", &[0]);
    let restored = run(&with(&["--database", "odd", "--json"]), "target.toml", &[3]);
    assert!(restored.contains("constraint-not-valid") && restored.contains("(hidden)"), "{restored}");
    // What is hidden came back all the same.
    let asked = "SELECT current_setting('app.secret_token'), umoptions FROM pg_user_mapping; SELECT f()";
    assert_eq!(target.sql("odd", asked), "hush-hush|{password=hush-hush}\nhush-hush");
    let seen = std::fs::read_to_string(place.path("seen")).expect("arguments");
    assert!(["psql", "pg_restore", "pg_dump"].iter().all(|name| seen.contains(&format!("bin/{name}"))), "{seen}");
    run(&["restore", "cleanup", "--yes"], "target.toml", &[0]);
}
