//! A cluster has one owner: whoever takes it over is obeyed, and whoever had it before refuses to write, wherever it learns of that.

use std::fs;
use std::process::{Command, Output, Stdio};

use backup_core::names::BundleName;
use chrono::Utc;
use serde_json::Value;
use system_tests::{Cluster, describe};

const CONF: &str = "machines: {
  data: { hosts: [10.98.0.1], suitable_tags: [kv-store] }
  central: { hosts: [10.98.0.2], suitable_tags: [vault] }
}
components: { kv-store: 1, vault: 1 }
chef: { continuum: { cluster_name: example } }
";
const HOSTS: [&str; 2] = ["10.98.0.1", "10.98.0.2"];

/// Orchestrators of one cluster. Each has a state directory of its own, and settings that say where its bundles go.
struct Orchestrators {
    cluster: Cluster,
}

/// An orchestrator: the name of its state directory and of its settings.
#[derive(Clone, Copy)]
struct Orchestrator {
    name: &'static str,
    /// The directory of its bundles.
    store: &'static str,
    /// Whether it reaches the machines.
    connected: bool,
}

const A: Orchestrator = Orchestrator { name: "a", store: "shared", connected: true };
const B: Orchestrator = Orchestrator { name: "b", store: "shared", connected: true };

impl Orchestrators {
    fn new() -> Self {
        let cluster = Cluster::restored(CONF, &HOSTS);
        for host in HOSTS {
            fs::write(cluster.network.disk(host).join("agent"), "exit 0\n").expect("an agent");
        }
        let this = Self { cluster };
        // They have always known the machines.
        let known = fs::read(this.cluster.place.path("state/hosts.json")).expect("a record");
        for who in [A, B] {
            fs::create_dir(this.cluster.place.path(who.name)).expect("a directory");
            fs::write(this.cluster.place.path(who.name).join("hosts.json"), &known).expect("a record");
        }
        this
    }

    fn command(&self, who: Orchestrator, arguments: &[&str]) -> Command {
        let own = self.cluster.network.own().display().to_string();
        let settings = format!("{}-{}.toml", who.name, who.store);
        self.cluster.place.write(
            &settings,
            format!(
                "cluster_conf = 'cluster.conf'\nrelease.version = '2.6.3'\n[[stores]]\npath = '{}'\n\
                 [agent]\nsettings = '{own}/etc/orchestrator.json'\ncommand = ['sh', '{own}/agent']\nsudo = false\n\
                 version = ['echo', 'Chef: 14.2']\norchestrator = '10.99.0.1'\n",
                who.store
            ),
        );
        let state = self.cluster.place.path(who.name);
        let arguments = [arguments, &["--config", &settings]].concat();
        let mut run = self.cluster.place.cli(&arguments);
        run.envs(self.cluster.server.variables()).env("STATE_DIRECTORY", &state);
        if who.connected { self.cluster.with_agent(&run) } else { run }
    }

    fn run(&self, who: Orchestrator, arguments: &[&str]) -> Output {
        self.command(who, arguments).stdin(Stdio::null()).output().expect("it runs")
    }

    /// Runs a command that must succeed, and gives what it says.
    fn json(&self, who: Orchestrator, arguments: &[&str]) -> Value {
        let output = self.run(who, &[arguments, &["--json", "--quiet"]].concat());
        assert!(matches!(output.status.code(), Some(0 | 3)), "{}", describe(&output));
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")["result"].take()
    }

    /// Backs up, and gives the bundle once its second is over: the next one in it would have its name.
    fn backup(&self, who: Orchestrator) -> String {
        let made = self.json(who, &["backup"]);
        let name = made["name"].as_str().expect("a name");
        while BundleName::at(Utc::now()).to_string() == name {
            fixtures::pause();
        }
        self.cluster.place.path(&format!("{}/{name}.tgz", who.store)).display().to_string()
    }

    fn restore(&self, who: Orchestrator, bundle: &str) -> Output {
        self.run(who, &["restore", "--allow-old-clients", "--release", "2.6.3", "--yes", "--file", bundle])
    }

    /// Who owns the cluster by the word of a machine.
    fn owner(&self, host: &str) -> Value {
        let path = self.cluster.network.disk(host).join("etc/orchestrator.json.owner");
        serde_json::from_str(&fs::read_to_string(path).expect("a claim")).expect("JSON")
    }

    fn bundles(&self, store: &str) -> usize {
        let entries = fs::read_dir(self.cluster.place.path(store)).into_iter().flatten().flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".tgz")).count()
    }
}

fn refuses(output: &Output, expected: &[&str]) {
    let all = describe(output);
    assert!(output.status.code() == Some(13) && expected.iter().all(|text| all.contains(text)), "{expected:?}: {all}");
}

#[test]
fn an_orchestrator_that_comes_back_refuses_to_write_wherever_it_meets_the_new_owner_first() {
    let all = Orchestrators::new();
    let bundle = all.backup(A);
    let restored = all.restore(B, &bundle);
    assert!(matches!(restored.status.code(), Some(0 | 3)), "{}", describe(&restored));
    assert!(describe(&restored).contains("nobody has claimed it; last heard of"), "{}", describe(&restored));
    let deployed = all.json(B, &["deploy", "--yes"]);
    assert_eq!(deployed["state"], "deployed", "{deployed}");
    let claim = all.json(B, &["ownership", "show"])["owner"].clone();
    assert!(claim["epoch"] == 1 && HOSTS.iter().all(|host| all.owner(host) == claim), "{claim}");

    let since = claim["since"].as_str().expect("a time").replace('T', " ")[..19].to_owned();
    let elsewhere = Orchestrator { store: "elsewhere", ..A };
    let notes = all.cluster.place.path("a/ownership.json");
    // The last one is told by nobody, and has noted what it met before.
    let ways = [
        (Orchestrator { connected: false, ..A }, "says shared"),
        (elsewhere, "says 10.98.0."),
        (Orchestrator { connected: false, ..elsewhere }, "says this machine's notes"),
    ];
    let allowed = ["--allow-unreachable", "10.98.0.1,10.98.0.2"];
    for (who, place) in ways {
        let before = (all.bundles("shared"), all.bundles("elsewhere"));
        let writes =
            [&["backup"][..], &["deploy", "--yes"], &[&["deploy", "--yes", "--only", "vault"], &allowed[..]].concat()];
        for arguments in writes {
            if !place.contains("notes") {
                let _ = fs::remove_file(&notes);
            }
            refuses(&all.run(who, arguments), &["does not own cluster example", "epoch 1", &since, place]);
            assert!(notes.exists(), "{place}: it is noted");
        }
        let restore = ["restore", "--allow-old-clients", "--release", "2.6.3", "--yes", "--file", &bundle];
        refuses(&all.run(who, &[&restore, &allowed[..]].concat()), &["epoch 1", &since]);
        refuses(&all.run(who, &["ownership", "release", "--yes"]), &["epoch 1", &since]);
        assert_eq!((all.bundles("shared"), all.bundles("elsewhere")), before, "{place}");
    }
    assert!(HOSTS.iter().all(|host| all.owner(host) == claim));
    // Who owns it goes on, and a restore from its bundle is a way back.
    let newest = all.backup(B);
    let back = all.restore(A, &newest);
    assert!(back.status.code() == Some(3) && describe(&back).contains("it belongs to"), "{}", describe(&back));
    assert_eq!(all.json(A, &["deploy", "--yes"])["state"], "deployed");
    assert!(HOSTS.iter().all(|host| all.owner(host)["epoch"] == 2));
    refuses(&all.run(B, &["backup"]), &["epoch 2"]);
}

#[test]
fn of_two_that_claim_at_once_one_wins() {
    let all = Orchestrators::new();
    let mut newest = all.backup(A);
    for epoch in 1..=3 {
        for who in [A, B] {
            let restored = all.restore(who, &newest);
            assert!(matches!(restored.status.code(), Some(0 | 3)), "{}", describe(&restored));
        }
        let both = [A, B].map(|who| {
            let mut run = all.command(who, &["deploy", "--yes"]);
            run.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs")
        });
        let ended = both.map(|run| run.wait_with_output().expect("it ran"));
        let text = ended.each_ref().map(describe).join("\n");
        let codes = ended.each_ref().map(|output| output.status.code());
        assert!(matches!(codes, [Some(0), Some(13)] | [Some(13), Some(0)]), "{text}");
        let (winner, loser) = if codes[0] == Some(0) { (A, B) } else { (B, A) };
        let claim = all.json(winner, &["ownership", "show"]);
        assert!(claim["owns"] == true && claim["owner"]["epoch"] == epoch, "{claim}");
        assert!(HOSTS.iter().all(|host| all.owner(host) == claim["owner"]), "{text}");
        refuses(&all.run(loser, &["backup"]), &[&format!("epoch {epoch}")]);
        newest = all.backup(winner);
    }
}

#[test]
fn a_cluster_is_given_up_and_taken_on_purpose() {
    let all = Orchestrators::new();
    let released = |who| all.json(who, &["ownership", "show"])["owner"].is_null();
    refuses(&all.run(A, &["ownership", "release", "--yes"]), &["nobody owns it"]);
    assert_eq!(all.json(A, &["ownership", "claim", "--yes"])["claim"]["epoch"], 1);
    // It is its owner already.
    assert_eq!(all.json(A, &["ownership", "claim", "--yes"])["claim"]["epoch"], 1);
    refuses(&all.run(B, &["backup"]), &["epoch 1"]);
    assert_eq!(all.json(B, &["ownership", "claim", "--yes"])["claim"]["epoch"], 2);
    refuses(&all.run(A, &["backup"]), &["epoch 2"]);
    all.backup(B);
    assert_eq!(all.json(B, &["ownership", "release", "--yes"])["state"], "released");
    assert!(released(A) && released(B));
    // Until somebody else takes it.
    all.backup(B);
    refuses(&all.run(A, &["deploy", "--yes"]), &["it was released by", "epoch 3"]);
    assert_eq!(all.json(B, &["deploy", "--yes"])["state"], "deployed");
    assert!(HOSTS.iter().all(|host| all.owner(host)["epoch"] == 4));
    // What was begun before it was given up is not gone on with.
    fs::write(all.cluster.network.disk(HOSTS[1]).join("agent"), "exit 1\n").expect("an agent");
    assert_eq!(all.run(B, &["deploy", "--yes"]).status.code(), Some(14));
    assert_eq!(all.json(B, &["ownership", "release", "--yes"])["claim"]["epoch"], 5);
    refuses(&all.run(B, &["deploy", "--resume"]), &["claimed cluster example with epoch 4", "it was given up"]);
    assert_eq!(all.json(B, &["ownership", "claim", "--yes"])["claim"]["epoch"], 6);
    // A store that can't be asked may hold another claim.
    fs::remove_dir_all(all.cluster.place.path("shared")).expect("removed");
    all.cluster.place.write("shared", "no directory");
    let unasked = all.run(B, &["ownership", "claim", "--yes"]);
    let text = describe(&unasked);
    assert!(unasked.status.code() == Some(1) && text.contains("--without-store shared goes on"), "{text}");
    assert_eq!(all.run(B, &["ownership", "claim", "--yes", "--without-store", "nowhere"]).status.code(), Some(2));
    assert_eq!(all.json(B, &["ownership", "claim", "--yes", "--without-store", "shared"])["claim"]["epoch"], 6);
}

#[test]
fn a_way_back_leads_back_for_the_ownership_too() {
    let all = Orchestrators::new();
    let good = |output: Output| assert!(matches!(output.status.code(), Some(0 | 3)), "{}", describe(&output));
    let old = all.backup(A);
    good(all.restore(B, &old));
    assert_eq!(all.json(B, &["deploy", "--yes"])["state"], "deployed");
    // There is nothing to go on with in a restore that was complete.
    assert_eq!(all.run(B, &["restore", "--resume"]).status.code(), Some(10));
    let newest = all.backup(B);
    refuses(&all.run(A, &["backup"]), &["epoch 1"]);
    // A part that is brought back takes nobody's place, and what is rolled back never took it.
    good(all.run(A, &["restore", "--release", "2.6.3", "--yes", "--only", "files", "--file", &newest]));
    refuses(&all.run(A, &["backup"]), &["epoch 1"]);
    good(all.restore(A, &newest));
    good(all.run(A, &["restore", "--rollback", "--yes", "--file", &newest]));
    refuses(&all.run(A, &["backup"]), &["epoch 1"]);
    // Nor does what was made before make up for it, when what was made since has been there.
    good(all.restore(A, &newest));
    refuses(&all.restore(A, &old), &["this was made before another orchestrator took cluster example over"]);
    // Who owned it on its own goes back the same way.
    assert_eq!(all.json(A, &["ownership", "claim", "--yes"])["claim"]["epoch"], 2);
    assert_eq!(all.json(B, &["ownership", "claim", "--yes"])["claim"]["epoch"], 3);
    let newest = all.backup(B);
    good(all.restore(A, &newest));
    // And what was made before it was given up is as good as what comes after.
    assert_eq!(all.json(B, &["ownership", "release", "--yes"])["claim"]["epoch"], 4);
    good(all.restore(A, &newest));
    assert_eq!(all.json(A, &["deploy", "--yes"])["state"], "deployed");
    assert!(HOSTS.iter().all(|host| all.owner(host)["epoch"] == 5));
    refuses(&all.run(B, &["backup"]), &["epoch 5"]);
}

#[test]
fn who_can_not_tell_gives_way_and_another_clusters_claim_is_no_reason_to() {
    let all = Orchestrators::new();
    assert_eq!(all.json(B, &["ownership", "claim", "--yes"])["claim"]["epoch"], 1);
    // Notes that can't be read, or a claim that can't: there is one all the same.
    all.cluster.place.write("a/ownership.json", "{\"example\":");
    refuses(&all.run(A, &["backup"]), &["epoch 1", "says shared"]);
    fs::remove_file(all.cluster.place.path("a/ownership.json")).expect("removed");
    // Neither does another place for the bundle help.
    refuses(&all.run(A, &["backup", "--to", "elsewhere"]), &["epoch 1", "says shared"]);
    fs::remove_file(all.cluster.place.path("a/ownership.json")).expect("it was noted");
    let entries = fs::read_dir(all.cluster.place.path("shared")).expect("a directory").flatten();
    let claim = entries.map(|entry| entry.path()).find(|path| path.extension().is_some_and(|e| e == "json"));
    let claim = claim.expect("a claim");
    fs::write(&claim, "{\"epoch\":1,").expect("cut off");
    // What is no claim is told, and holds up nobody but a deploy, which must know.
    let file = claim.file_name().expect("a name").to_string_lossy().into_owned();
    let warned = all.run(A, &["backup", "--dry-run"]);
    let text = describe(&warned);
    assert!(warned.status.code() == Some(3) && text.contains(&file) && text.contains("it is no claim"), "{text}");
    refuses(&all.run(A, &["deploy", "--yes"]), &[&file, "--without-store shared goes on"]);
    // Its owner knows what it was.
    all.backup(B);
    fs::remove_file(&claim).expect("removed");
    let other = r#"{"epoch":7,"owner":"0a","identity":"0b","cluster":"other","host":"far","addresses":[],"since":"2026-11-20T19:15:00Z"}"#;
    let etc = all.cluster.network.disk(HOSTS[1]).join("etc");
    fs::create_dir_all(&etc).expect("a directory");
    fs::write(etc.join("orchestrator.json.owner"), format!("{other}\n")).expect("a claim");
    let backup = all.run(A, &["backup"]);
    let text = describe(&backup);
    assert!(backup.status.code() == Some(3) && text.contains("it belongs to another cluster, other: far"), "{text}");
    refuses(&all.run(A, &["deploy", "--yes"]), &["it belongs to another cluster, other: far"]);
    let last = other.replace(":7,", ":18446744073709551615,").replace("other", "example");
    fs::write(etc.join("orchestrator.json.owner"), format!("{last}\n")).expect("a claim");
    assert_eq!(all.json(A, &["ownership", "claim", "--yes"])["claim"]["epoch"], 1);
}
