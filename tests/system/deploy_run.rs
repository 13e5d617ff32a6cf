//! A deploy tells every agent of its orchestrator and runs it, whatever becomes of machines and of the deploy itself.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;

use serde_json::Value;
use system_tests::{Cluster, describe};

/// Level 1: kv-store and nats-server; level 2: vault and package-manager; level 3: instance-manager.
const CONF: &str = "machines: {
  data: { hosts: [10.98.0.1, 10.98.0.2], suitable_tags: [kv-store] }
  bus: { hosts: [10.98.0.3], suitable_tags: [nats-server] }
  central: { hosts: [10.98.0.4], suitable_tags: [vault] }
  packages: { hosts: [10.98.0.5], suitable_tags: [package-manager] }
  runtime: { hosts: [10.98.0.6, 10.98.0.7, 10.98.0.8], suitable_tags: [instance-manager] }
}
components: { kv-store: 2, nats-server: 1, vault: 1, package-manager: 1, instance-manager: 3 }
chef: { continuum: { cluster_name: example } }
";
const HOSTS: [&str; 8] =
    ["10.98.0.1", "10.98.0.2", "10.98.0.3", "10.98.0.4", "10.98.0.5", "10.98.0.6", "10.98.0.7", "10.98.0.8"];
const SETTINGS: &str = r#"{"orchestrator":"10.99.0.1","release":"2.6.3","cluster":"example"}"#;

/// A restored cluster whose agents note that they ran.
fn cluster() -> Cluster {
    let cluster = Cluster::restored(CONF, &HOSTS);
    let own = cluster.network.own().display().to_string();
    cluster.place.write(
        "settings.toml",
        format!(
            "cluster_conf = 'cluster.conf'\nrelease.version = '2.6.3'\n[[stores]]\npath = 'bundles'\n\
             [agent]\nsettings = '{own}/etc/orchestrator.json'\ncommand = ['sh', '{own}/agent']\nsudo = false\n\
             orchestrator = '10.99.0.1'\nlimit = 300\n"
        ),
    );
    HOSTS.iter().for_each(|host| agent(&cluster, host, ""));
    cluster
}

/// The agent of a host: it notes that it runs, and does more.
fn agent(cluster: &Cluster, host: &str, more: &str) {
    let (own, order) = (cluster.network.own(), cluster.place.path("order"));
    let script =
        format!("echo {host} >> {}\necho run >> {}/runs\necho hello\n{more}\n", order.display(), own.display());
    fs::write(cluster.network.disk(host).join("agent"), script).expect("an agent");
}

fn deploy(cluster: &Cluster, more: &[&str]) -> (Option<i32>, BTreeMap<String, (String, String)>, String) {
    let arguments = [&["deploy", "-c", "settings.toml", "--yes", "--json", "--quiet"], more].concat();
    let output = cluster.run(&arguments);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", describe(&output)));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let machines = document["result"]["machines"].as_array().cloned().unwrap_or_default();
    let fates = machines.iter().map(|fate| (text(&fate["host"]), (text(&fate["state"]), text(&fate["reason"]))));
    (output.status.code(), fates.collect(), describe(&output))
}

fn told(cluster: &Cluster, host: &str) -> String {
    fs::read_to_string(cluster.network.disk(host).join("etc/orchestrator.json")).unwrap_or_default()
}

fn runs(cluster: &Cluster, host: &str) -> usize {
    fs::read_to_string(cluster.network.disk(host).join("runs")).unwrap_or_default().lines().count()
}

#[test]
fn every_agent_learns_of_its_orchestrator_and_runs_after_those_that_it_needs() {
    let cluster = cluster();
    let before = cluster.place.bundles().len();
    let (code, fates, all) = deploy(&cluster, &[]);
    assert_eq!(code, Some(0), "{all}");
    assert!(
        HOSTS.iter().all(|host| fates[*host].0 == "deployed" && told(&cluster, host) == format!("{SETTINGS}\n")),
        "{all}"
    );
    assert_eq!(cluster.place.bundles().len(), before + 1, "the databases are backed up first");
    let order = fs::read_to_string(cluster.place.path("order")).expect("the order");
    let at = |host: &str| order.lines().position(|line| line == host).expect("it ran");
    for (first, then) in [(1, 4), (2, 4), (3, 5), (4, 6), (5, 6), (4, 8), (5, 7)] {
        assert!(at(HOSTS[first - 1]) < at(HOSTS[then - 1]), "{first} before {then}: {order}");
    }
    // What is as it should be is left alone, and nothing is left of a deploy that could be resumed.
    let inode =
        |host: &str| fs::metadata(cluster.network.disk(host).join("etc/orchestrator.json")).expect("a file").ino();
    let written: Vec<u64> = HOSTS.iter().map(|host| inode(host)).collect();
    assert_eq!(deploy(&cluster, &["--resume"]).0, Some(10));
    assert_eq!(deploy(&cluster, &["--only", "vault,10.98.0.8"]).0, Some(0));
    assert_eq!(HOSTS.map(|host| runs(&cluster, host)), [1, 1, 1, 2, 1, 1, 1, 2]);
    assert_eq!(HOSTS.iter().map(|host| inode(host)).collect::<Vec<_>>(), written);
    // An address means itself, and not those that it is a part of; nothing never means all.
    for (query, code) in [("nowhere", 10), ("", 10)] {
        assert_eq!(deploy(&cluster, &["--only", query]).0, Some(code), "{query:?}");
    }
    // Nobody can be asked.
    let asked = cluster.run(&["deploy", "-c", "settings.toml"]);
    assert_eq!(asked.status.code(), Some(13), "{}", describe(&asked));
}

#[test]
fn a_machine_that_fails_stops_what_depends_on_it_and_no_neighbour() {
    let mut cluster = cluster();
    let settings = fs::read_to_string(cluster.place.path("settings.toml")).expect("settings");
    cluster.place.write("settings.toml", settings.replace("limit = 300", "limit = 20"));
    // One is down, one has another key, one fails, one is cut off, one hangs.
    cluster.network.take_down(HOSTS[0]);
    cluster.network.host(HOSTS[5]);
    let (code, _, all) = deploy(&cluster, &[]);
    assert!(code == Some(13) && all.contains("--allow-unreachable") && runs(&cluster, HOSTS[2]) == 0, "{all}");
    agent(&cluster, HOSTS[2], "echo 'no bus today' >&2; exit 3");
    agent(&cluster, HOSTS[6], "kill -9 $(ps -o ppid= -p $PPID)");
    let pid = cluster.network.own().join("pid");
    agent(&cluster, HOSTS[7], &format!("echo $$ > {}; exec sleep 600", pid.display()));
    let accepted = ["--allow-unreachable", HOSTS[0], "--accept-host-key", HOSTS[5]];
    let (code, fates, all) = deploy(&cluster, &accepted);
    assert_eq!(code, Some(14), "{all}");
    let expected = [
        ("failed", "it does not answer"),
        ("deployed", ""),
        ("failed", "the agent ended with exit code 3"),
        // The other kv-store stands.
        ("deployed", ""),
        ("held", "package-manager needs nats-server, which is not deployed on 10.98.0.3"),
        ("held", "instance-manager needs"),
        ("held", "instance-manager needs"),
        ("held", "instance-manager needs"),
    ];
    for (host, (state, reason)) in HOSTS.iter().zip(expected) {
        let fate = &fates[*host];
        assert!(fate.0 == state && fate.1.contains(reason), "{host}: {fate:?}");
    }
    assert!(fates[HOSTS[2]].1.contains("no bus today"), "{fates:?}");
    // Another one of all machines would take its place, and says so before it begins.
    let asked = cluster.run(&[&["deploy", "-c", "settings.toml"][..], &accepted].concat());
    let all = describe(&asked);
    assert!(asked.status.code() == Some(13) && all.contains("is unfinished, and can't be gone on with"), "{all}");
    // The rest of them: the bus is mended, others fail in their turn.
    agent(&cluster, HOSTS[2], "");
    let (code, fates, all) = deploy(&cluster, &["--resume"]);
    assert_eq!(code, Some(14), "{all}");
    for (host, reason) in [(0, "it does not answer"), (6, "or was cut off: exit status: 255"), (7, "longer than 20 s")]
    {
        let fate = &fates[HOSTS[host]];
        assert!(fate.0 == "failed" && fate.1.contains(reason), "{}: {fate:?}", HOSTS[host]);
    }
    assert_eq!(fates[HOSTS[5]].0, "deployed", "{fates:?}");
    for host in [6, 7] {
        agent(&cluster, HOSTS[host], "");
    }
    // No second agent runs beside one that hangs.
    let (_, fates, _) = deploy(&cluster, &["--resume"]);
    assert!(fates[HOSTS[7]].1.contains("still runs there"), "{fates:?}");
    let pid = fs::read_to_string(cluster.network.disk(HOSTS[7]).join("pid")).expect("its process");
    assert!(std::process::Command::new("kill").arg(pid.trim()).status().expect("kill runs").success());
    cluster.network.host(HOSTS[0]);
    // It came back with a new key, as one that was made anew would: that is not taken for granted.
    let (_, fates, _) = deploy(&cluster, &["--resume"]);
    assert!(fates[HOSTS[0]].1.contains("SSH host key changed: expected "), "{fates:?}");
    assert!(HOSTS[1..].iter().all(|host| fates[*host].0 == "deployed"), "{fates:?}");
    let (code, fates, all) = deploy(&cluster, &["--resume", "--accept-host-key", HOSTS[0]]);
    assert!(code == Some(0) && fates.values().all(|fate| fate.0 == "deployed"), "{all}");
    assert_eq!(runs(&cluster, HOSTS[1]), 1, "what is done is not done again");
}

#[test]
fn killed_at_any_mark_it_is_resumed_to_the_same_end() {
    let cluster = cluster();
    let interrupted = std::path::Path::new(env!("CARGO_BIN_EXE_interrupted"));
    // Two levels, and two machines at once, are enough.
    let few = "machines: { a: { hosts: [10.98.0.1, 10.98.0.3], suitable_tags: [kv-store, nats-server] }\n\
        b: { hosts: [10.98.0.4], suitable_tags: [vault] } }\ncomponents: { kv-store: 1, nats-server: 1, vault: 1 }\n\
        chef: { continuum: { cluster_name: example } }\n";
    cluster.place.write("cluster.conf", few);
    let hosts = [HOSTS[0], HOSTS[2], HOSTS[3]];
    let marks = 2 * (2 + hosts.len());
    for mark in 1..=marks {
        for host in hosts {
            let _ = fs::remove_dir_all(cluster.network.disk(host).join("etc"));
        }
        // Nobody has ever claimed the cluster.
        let _ = fs::remove_file(cluster.place.path("state/ownership.json"));
        for claim in
            walk(&cluster.place.path("bundles")).iter().filter(|path| path.extension().is_some_and(|e| e == "json"))
        {
            fs::remove_file(claim).expect("a claim");
        }
        let run = |mark: usize, what: &str| {
            let mark = mark.to_string();
            let mut run = cluster.program(interrupted, &[&mark, what, "settings.toml"]);
            run.stdin(Stdio::null()).output().expect("it runs")
        };
        let killed = run(mark, "deploy");
        assert!(!killed.status.success(), "mark {mark}: {}", describe(&killed));
        // After its last mark nothing is left to do.
        let resumed = run(0, "resume-deploy");
        assert_eq!(resumed.status.success(), mark < marks, "mark {mark}: {}", describe(&resumed));
        assert!(hosts.iter().all(|host| told(&cluster, host) == format!("{SETTINGS}\n")), "mark {mark}");
        let owner = |host: &&str| fs::read_to_string(cluster.network.disk(host).join("etc/orchestrator.json.owner"));
        let claims = hosts.each_ref().map(|host| owner(host).expect("a claim"));
        assert!(
            claims[0].starts_with("{\"epoch\":1,") && claims.iter().all(|one| *one == claims[0]),
            "mark {mark}: {claims:?}"
        );
    }
}

#[test]
fn what_would_stop_the_deploy_on_a_machine_is_found_before_anything_is_done() {
    let cluster = cluster();
    let settings = fs::read_to_string(cluster.place.path("settings.toml")).expect("settings");
    let settings = settings.replace("10.99.0.1", HOSTS[0]);
    let with = |more: &str| cluster.place.write("settings.toml", format!("{settings}{more}\n"));
    let before = cluster.place.bundles().len();
    let cases = [
        ("[hosts]\nssh_user = 'stranger'", "log in to 10.98.0.3: "),
        // Nobody listens at the first port; the first machine's sshd, which stands for something here, does at the second.
        ("ports = [9, 22]", "the host can't reach port 9 of this machine"),
    ];
    for (more, expected) in cases {
        with(more);
        let refused = cluster.run(&["deploy", "-c", "settings.toml", "--yes", "--only", HOSTS[2]]);
        let all = describe(&refused);
        assert!(
            refused.status.code() == Some(13) && all.contains(expected) && !all.contains("port 22 "),
            "{more}: {all}"
        );
        assert_eq!((runs(&cluster, HOSTS[2]), cluster.place.bundles().len()), (0, before));
    }
    with("ports = [9]");
    let (code, _, all) = deploy(&cluster, &["--only", HOSTS[2], "--allow-unreachable", HOSTS[2]]);
    assert!(code == Some(0) && runs(&cluster, HOSTS[2]) == 1, "{all}");
}

#[test]
fn a_host_that_talks_without_end_fills_no_disk_and_disturbs_no_terminal() {
    let cluster = cluster();
    agent(&cluster, HOSTS[2], "head -c 40000000 /dev/zero; printf '\\033[2J\\033]0;owned\\007'; exit 1");
    let mut run = cluster.place.cli(&["deploy", "-c", "settings.toml", "--yes", "--only", "nats-server"]);
    // As on a terminal, where nothing that is not plain text is taken out.
    run.envs(cluster.server.variables()).env_remove("NO_COLOR").env("CLICOLOR_FORCE", "1");
    let output = cluster.with_agent(&run).stdin(Stdio::null()).output().expect("it runs");
    let all = describe(&output);
    let disturbed = ["\u{1b}[2J", "\u{1b}]0;", "\0"].iter().any(|sequence| all.contains(sequence));
    assert!(output.status.code() == Some(14) && all.contains('\u{1b}') && !disturbed, "{all:?}");
    assert!(all.contains("10.98.0.3: the agent ended with exit code 1") && all.contains("on 0 of 1 machine;"), "{all}");
    let logs = walk(&cluster.place.path("state/deploys"));
    let log = logs.iter().find(|path| path.ends_with("10.98.0.3.log")).expect("a log");
    let metadata = fs::metadata(log).expect("a log");
    assert!(metadata.len() < 17 << 20 && metadata.mode() & 0o777 == 0o600, "{metadata:?}");
}

fn walk(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory").flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}
