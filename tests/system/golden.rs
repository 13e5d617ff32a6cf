//! What is stored and what machines read stays as it was: snapshots that the version before a change has made.

use std::path::Path;

use fixtures::Postgres;
use serde_json::Value;
use system_tests::{Workplace, describe};

/// What differs from run to run and from machine to machine.
const CHANGING: [(&str, &str); 8] = [
    (r"_(restore|before)_2\d{7}T\d{6}Z", "_${1}_[time]"),
    (r#""(addresses|missing)":( ?)\[[^\]]*\]"#, r#""$1":$2["[$1]"]"#),
    (r#""(server)":( ?)"\d+""#, r#""$1":$2"[identifier]""#),
    (r#""file":( ?)"[^"]*/golden/"#, r#""file":$1"[golden]/"#),
    (r#""(created|finished|time)":"[^"]*""#, r#""$1":"[time]""#),
    (r#""((?:stored_)?sha256)":"[0-9a-f]{64}""#, r#""$1":"[digest]""#),
    (
        r#""(offset|length|stored|bytes|size|jobs|mode|preamble|version_number|ssh_port)":( ?)\d+"#,
        r#""$1":$2"[number]""#,
    ),
    (r#""(version|pg_dump|tool|host|user|group|wal|TimeZone)":"[^"]*""#, r#""$1":"[$1]""#),
];

/// Of the findings those that say nothing of the machine.
const OF_THE_MACHINE: [&str; 4] = ["address", "clients-unsafe", "postgres-server", "space"];

#[test]
fn a_dry_run_of_a_golden_bundle_says_what_it_always_said() {
    let (place, server) = (Workplace::default(), Postgres::start());
    for bundle in ["orchestrator_backup_20261121T023102Z", "holes/orchestrator_backup_20261129T022141Z"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("golden/{bundle}.tgz"));
        let mut run =
            place.restore(&server, &["--dry-run", "--json", "-q", "--release", "2.6.3", "--jobs", "2", "--file"]);
        let output = run.arg(&path).output().expect("it runs");
        let document: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", describe(&output)));
        let result = &document["result"];
        let findings = result["findings"].as_array().expect("findings").iter();
        let findings = findings.filter(|one| !OF_THE_MACHINE.iter().any(|code| one["code"] == **code));
        let findings: Vec<String> =
            findings.map(|one| format!("{} {}", one["severity"], one["code"]).replace('"', "")).collect();
        let said = serde_json::json!({ "findings": findings, "plan": result["plan"], "steps": result["steps"] });
        let name = bundle.replace('/', "_");
        insta::with_settings!({ filters => CHANGING.to_vec() }, {
            insta::assert_snapshot!(format!("dry_run_{name}"), serde_json::to_string_pretty(&said).expect("JSON"));
        });
    }
}

#[test]
fn the_manifest_of_a_fixed_run_has_the_fields_that_it_always_had() {
    let (place, server) = (Workplace::default(), Postgres::start());
    server.sql("postgres", "CREATE ROLE shop_owner LOGIN");
    server.sql("postgres", "CREATE DATABASE shop OWNER shop_owner");
    server.sql(
        "shop",
        "CREATE TABLE t (id int PRIMARY KEY, text text); INSERT INTO t SELECT n, 'row ' || n FROM generate_series(1, 9) n; \
         CREATE SEQUENCE s START 7; SELECT lo_from_bytea(4711, 'a large object'); COMMENT ON DATABASE shop IS 'a shop'",
    );
    std::fs::create_dir(place.path("tree")).expect("a directory");
    place.write("tree/file", "content");
    place.write(
        "settings.toml",
        format!(
            "cluster_conf = 'cluster.conf'\nrelease.version = '2.6.3'\n[[files]]\npath = '{}'\n",
            place.path("tree").display()
        ),
    );
    place.write("cluster.conf", "chef: { continuum: { cluster_name: example } }\n");
    let mut run = place.cli(&["backup", "--config", "settings.toml", "--to", "bundles"]);
    let output = run.envs(server.variables()).output().expect("it runs");
    let bundle = place.bundles().pop().unwrap_or_else(|| panic!("{}", describe(&output)));
    let shown = std::process::Command::new("sh")
        .args(["-c", r#"tar -xzOf "$0" --wildcards '*/manifest.json'"#])
        .arg(&bundle)
        .output()
        .expect("tar runs");
    let own = bundle.file_stem().expect("a name").to_string_lossy().into_owned();
    let text =
        String::from_utf8(shown.stdout).expect("UTF-8").replace(&place.path("").display().to_string(), "[place]/");
    // One line of JSON, shown as some.
    let text = text.replace(r#","entries""#, "\n,\"entries\"").replace(r#"{"path""#, "\n{\"path\"");
    let text = text.replace(r#","databases""#, "\n,\"databases\"").replace(&own, "[now]");
    // Entries are written as they come.
    let (before, mut entries) = text
        .split_once(r#""entries":["#)
        .map(|(before, entries)| {
            (before, entries.trim_end_matches("]}").lines().map(|line| line.trim_end_matches(',')).collect::<Vec<_>>())
        })
        .expect("entries");
    entries.sort_unstable();
    let text = format!("{before}\"entries\":[{}]}}", entries.join("\n"));
    insta::with_settings!({ filters => CHANGING.to_vec() }, {
        insta::assert_snapshot!("manifest", text);
    });
}
