//! A restore tells every state of the cluster's hosts apart, with and without the right to send pings, and asks those that let it in.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Output, Stdio};

use fixtures::{Network, Postgres, QUIET};
use system_tests::{Cluster, Workplace, describe, inside, open};

const GOOD: &str = "10.98.0.1";
const CHANGED: &str = "10.98.0.2";
const DOWN: &str = "10.98.0.3";
const NEW: &str = "10.98.0.4";
const LOST: &str = "10.96.0.7";

fn cluster(hosts: &[String]) -> String {
    let list = hosts.iter().map(|host| format!("'{host}'")).collect::<Vec<_>>().join(", ");
    format!("machines: {{ central: {{ hosts: [{list}] }} }}\nchef: {{ continuum: {{ cluster_name: example }} }}\n")
}

/// Severity, code and message of every finding about a host.
fn findings(output: &Output) -> BTreeMap<String, (String, String, String)> {
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let findings = document["result"]["findings"].as_array().expect("findings");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let entry = |finding: &serde_json::Value| {
        let what = (text(&finding["severity"]), text(&finding["code"]), text(&finding["message"]));
        (text(&finding["subject"]), what)
    };
    findings.iter().map(entry).filter(|(subject, _)| subject.starts_with("10.")).collect()
}

#[test]
fn every_state_of_a_host_is_told_apart() {
    let mut network = Network::default();
    for address in [GOOD, CHANGED, DOWN] {
        network.host(address);
    }
    let server = Postgres::start();
    server.sql("postgres", "CREATE TABLE something ()");
    let place = Workplace::default();
    place.write("cluster.conf", cluster(&[GOOD, CHANGED, DOWN, NEW, LOST, QUIET].map(Into::into)));
    let backup = inside(&network, &place.backup(&server, &[]), true).output().expect("it runs");
    assert!(backup.status.success(), "{}", describe(&backup));
    let bundle = place.bundles().pop().expect("a bundle");
    let recorded = open(&bundle);
    let recorded: Vec<(&str, bool, usize)> =
        (recorded.manifest().hosts.iter()).map(|host| (host.host.as_str(), host.reachable, host.keys.len())).collect();
    let expected =
        [(GOOD, true, 1), (CHANGED, true, 1), (DOWN, true, 1), (NEW, false, 0), (LOST, false, 0), (QUIET, true, 1)];
    assert_eq!(recorded, expected);

    network.host(CHANGED);
    network.take_down(DOWN);
    network.host(NEW);
    let run = |pings: bool, more: &[&str]| {
        let mut restore = place.restore(&server, &["--dry-run", "--json", "--quiet", "--release", "2.6.3", "--file"]);
        restore.arg(&bundle).args(more);
        inside(&network, &restore, pings).output().expect("it runs")
    };
    for (pings, how) in [(true, "answers ping in "), (false, "answers by TCP, ")] {
        let output = run(pings, &[]);
        assert_eq!(output.status.code(), Some(13), "{}", describe(&output));
        let found = findings(&output);
        for (host, code) in [
            (GOOD, "host"),
            (CHANGED, "host-key-changed"),
            (DOWN, "host-unreachable"),
            (NEW, "host-key-unknown"),
            (LOST, "host-unreachable"),
            (QUIET, "host"),
        ] {
            let severity = if code == "host" { "info" } else { "error" };
            assert_eq!((found[host].0.as_str(), found[host].1.as_str()), (severity, code), "{host}: {found:?}");
        }
        assert!(found[GOOD].2.starts_with(how), "{found:?}");
        assert!(found[QUIET].2.starts_with("answers by TCP, "), "{found:?}");
        assert!(found[LOST].2.ends_with("the host did not answer the backup either"), "{found:?}");
    }
    let keys = format!("{CHANGED},{NEW}");
    let flags = ["--accept-host-key", &keys, "--allow-unreachable", DOWN];
    let output = run(true, &flags);
    assert_eq!(output.status.code(), Some(13), "one is left: {}", describe(&output));
    let output = run(true, &[&flags[..], &["--allow-unreachable", LOST]].concat());
    assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
}

#[test]
fn a_thousand_hosts_are_looked_at_whatever_becomes_of_the_packets() {
    let network = Network::default();
    let server = Postgres::start();
    server.sql("postgres", "CREATE TABLE something ()");
    let place = Workplace::default();
    let hosts: Vec<String> =
        (0..1000).map(|number| format!("10.96.{}.{}", 1 + number / 250, 1 + number % 250)).collect();
    place.write("cluster.conf", cluster(&hosts));
    let backup = inside(&network, &place.backup(&server, &[]), true).output().expect("it runs");
    assert!(backup.status.success(), "{}", describe(&backup));
    let bundle = open(&place.bundles().pop().expect("a bundle"));
    let recorded = &bundle.manifest().hosts;
    assert!(recorded.iter().zip(&hosts).all(|(found, host)| found.host == *host && !found.reachable));
    assert_eq!(recorded.len(), hosts.len());
}

#[test]
fn a_host_that_dies_during_the_restore_is_told_of_at_its_end() {
    let mut network = Network::default();
    network.host(GOOD);
    network.host(DOWN);
    let server = Postgres::start();
    server.sql("postgres", "CREATE DATABASE orchestrator");
    server.sql("orchestrator", "CREATE TABLE something AS SELECT 1 AS a");
    let place = Workplace::default();
    place.write("cluster.conf", cluster(&[GOOD, DOWN].map(Into::into)));
    let backup = inside(&network, &place.backup(&server, &[]), true).output().expect("it runs");
    assert!(backup.status.success(), "{}", describe(&backup));
    // Renames wait for this lock, and the restore with them, until the host is down.
    let mut holder = server.command("psql");
    holder.args(["-X", "-q", "-d", "postgres"]).stdin(Stdio::piped());
    let mut holder = holder.spawn().expect("psql runs");
    let input = holder.stdin.as_mut().expect("a pipe");
    input.write_all(b"BEGIN; LOCK TABLE pg_database IN EXCLUSIVE MODE;\n").expect("sent");
    input.flush().expect("sent");
    let bundle = place.bundles().pop().expect("a bundle");
    let restore = place.restore(&server, &["--release", "2.6.3", "--yes", "--file", &bundle.display().to_string()]);
    let mut restore = inside(&network, &restore, true);
    let restore = restore.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    server.wait_until("SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND relation = 'pg_database'::regclass");
    network.take_down(DOWN);
    drop(holder.stdin.take());
    holder.wait().expect("it ends");
    let output = restore.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
    assert!(describe(&output).contains("10.98.0.3: it answered before the restore"), "{}", describe(&output));
}

#[test]
fn a_restore_asks_the_machines_that_let_it_in_for_the_way_back_and_their_agents() {
    let conf = "machines: { a: { hosts: [10.98.0.1, 10.98.0.2] } }\nchef: { continuum: { cluster_name: example } }\n";
    let cluster = Cluster::known(conf, &["10.98.0.1", "10.98.0.2"]);
    let own = cluster.network.own().display().to_string();
    let settings = |ports: &str| {
        let text = format!(
            "cluster_conf = 'cluster.conf'\nrelease.version = '2.6.3'\n[[stores]]\npath = 'bundles'\n\
             [agent]\nsettings = '{own}/o.json'\nversion = ['cat', '{own}/version']\nsudo = false\nports = [{ports}]\n"
        );
        cluster.place.write("settings.toml", text);
    };
    let agent = |host: &str, version: &str| {
        std::fs::write(cluster.network.disk(host).join("version"), version).expect("a version");
    };
    settings("");
    agent("10.98.0.1", "Chef: 14.2\nand more\n");
    let backup = cluster.run(&["backup", "-c", "settings.toml"]);
    assert!(backup.status.success(), "{}", describe(&backup));
    let bundle = cluster.place.bundles().pop().expect("a bundle");
    let agents: Vec<_> = open(&bundle).manifest().hosts.iter().map(|host| host.agent.clone()).collect();
    assert_eq!(agents, [Some("Chef: 14.2".into()), None]);
    settings("9");
    agent("10.98.0.1", "Chef: \u{1b}[31m15.0");
    let restore = ["restore", "-c", "settings.toml", "--yes", "--json", "--file", &bundle.display().to_string()];
    let restored = cluster.run(&restore);
    let all = describe(&restored);
    assert_eq!(restored.status.code(), Some(3), "{all}");
    for expected in
        ["agent changed: expected Chef: 14.2, got Chef: [31m15.0", "the host can't reach port 9 of this machine"]
    {
        assert!(all.contains(expected), "{expected}: {all}");
    }
    assert_eq!(all.matches("\"agent-differs\"").count(), 2, "once as it was found, and in the result: {all}");
}
