//! `-q` hides progress, and never a warning or why a command ended as it did; with `--json` as well as without.

use std::collections::BTreeSet;
use std::fs;

use fixtures::Postgres;
use serde_json::Value;
use system_tests::{Workplace, describe};

/// Commands that have something to say, and how each of them ends.
const COMMANDS: [(&[&str], i32); 10] = [
    (&["check"], 13),
    (&["backup", "--to", "bundles", "--to", "far/away"], 1),
    (&["list", "bundles", "far/away"], 3),
    (&["show", "bundles/none.tgz"], 10),
    (&["verify", "damaged.tgz"], 12),
    (&["extract", "sound.tgz", "nothing", "--to", "out"], 10),
    (&["restore", "--yes", "--file", "sound.tgz"], 13),
    (&["status"], 13),
    (&["prune", "--yes"], 10),
    (&["nodes"], 3),
];

const SETTINGS: &str = "cluster_conf = 'cluster.conf'
release.version = '2.6.3'
[[files]]
path = '/nowhere/at/all'
[[stores]]
path = 'bundles'
[[stores]]
path = 'far/away'
[retention]
last = 1
";

#[test]
fn quiet_hides_no_warning_and_no_reason() {
    let (server, place) = (Postgres::start(), Workplace::default());
    server.load_sample(10);
    place.write("o.toml", SETTINGS);
    let mut bytes = fs::read(place.make_bundle_of(&server)).expect("a bundle");
    place.write("sound.tgz", &bytes);
    // A restore warns of this, and is refused for another reason: the bundle is another cluster's from now on.
    server.sql("postgres", "CREATE DATABASE \"orchestrator_restore_20260101T000000Z\"");
    place.write("cluster.conf", "chef: { continuum: { cluster_name: other } }\n");
    bytes[5000] ^= 1;
    place.write("damaged.tgz", bytes);
    for (arguments, code) in COMMANDS {
        let run = |flags: &[&str]| {
            let mut command = place.cli(&[arguments, flags].concat());
            if !["list", "show", "verify", "extract"].contains(&arguments[0]) {
                command.args(["--config", "o.toml"]);
            }
            let output = command.envs(server.variables()).output().expect("it runs");
            assert_eq!(output.status.code(), Some(code), "{arguments:?} {flags:?}: {}", describe(&output));
            output
        };
        let (plain, quiet) = (describe(&run(&[])), describe(&run(&["--quiet"])));
        let is_wrong = |line: &str| line.starts_with("warning") || line.starts_with("error");
        assert!(plain.lines().any(is_wrong), "{arguments:?} says nothing: {plain}");
        for said in plain.lines().filter_map(|line| ["warning", "error"].iter().find_map(|w| line.strip_prefix(w))) {
            let said = said.trim_start_matches([':', ' ']);
            assert!(quiet.contains(said), "{arguments:?} hides {said:?}: {quiet}");
        }
        let (loud, quiet) = (run(&["--json"]), run(&["--json", "--quiet"]));
        assert_eq!(wrong(&loud.stdout), wrong(&quiet.stdout), "{arguments:?}: {}", describe(&quiet));
        assert_eq!(wrong(&loud.stderr), wrong(&quiet.stderr), "{arguments:?}: {}", describe(&quiet));
        let is_progress = |line: &str| line.contains("\"event\":\"progress\"") || line.contains("\"event\":\"phase\"");
        assert!(!describe(&quiet).lines().any(is_progress), "{arguments:?}: {}", describe(&quiet));
    }
}

/// Codes of warnings and errors in lines of JSON.
fn wrong(text: &[u8]) -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    for line in text.split(|byte| *byte == b'\n') {
        if let Ok(value) = serde_json::from_slice(line) {
            collect(&value, &mut codes);
        }
    }
    codes
}

fn collect(value: &Value, codes: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            let text = |key: &str| fields.get(key).and_then(Value::as_str);
            if let (Some(code), Some("warning" | "error")) = (text("code"), text("severity")) {
                codes.insert(code.into());
            }
            fields.values().for_each(|field| collect(field, codes));
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, codes)),
        _ => {}
    }
}
