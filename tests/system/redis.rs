//! A Redis server comes back as it was, by what it answers, and everything about it can be undone.

use std::path::{Path, PathBuf};
use std::process::Output;

use fixtures::{Postgres, Redis};
use system_tests::{Workplace, describe};

/// Data of each kind, and what they answer.
const DATA: &str = "SET text hello\nHSET machine zone central cores 8\nRPUSH queue one two three\nSADD tags a b c\n\
    ZADD ranks 1 first 2 second\nXADD log 1-1 event started\nSET short-lived x EX 100000\nPFADD visitors a b c";
const QUESTIONS: &str = "GET text\nHGETALL machine\nLRANGE queue 0 -1\nSCARD tags\nZRANGE ranks 0 -1 WITHSCORES\n\
    XRANGE log - +\nGET short-lived\nPFCOUNT visitors\nDBSIZE";

struct Stage {
    place: Workplace,
    server: Postgres,
    redis: Redis,
}

impl Stage {
    fn new() -> Self {
        let (place, server, redis) = (Workplace::default(), Postgres::start(), Redis::start());
        server.sql("postgres", "CREATE TABLE not_untouched AS SELECT 1 AS a");
        let conf = place.path("cluster.conf").display().to_string();
        let stores = format!(
            "cluster_conf = '{conf}'\nrelease.version = '2.6.3'\n[[stores]]\naddress = '{}'\n",
            place.path("bundles").display()
        );
        place.write("settings.toml", format!("{stores}{}", redis.table()));
        Self { place, server, redis }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.place.cli(arguments);
        command.args(["--config", "settings.toml"]).envs(self.server.variables()).output().expect("it runs")
    }

    fn backup(&self) -> PathBuf {
        let output = self.run(&["backup"]);
        assert_eq!(output.status.code(), Some(0), "{}", describe(&output));
        self.place.bundles().pop().expect("a bundle")
    }

    fn restore(&self, bundle: &Path, arguments: &[&str]) -> Output {
        let bundle = bundle.display().to_string();
        let words = [&["restore", "--allow-old-clients", "--yes", "--file", &bundle], arguments].concat();
        self.run(&words)
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

#[test]
fn what_it_answers_comes_back_and_can_be_undone_and_dropped() {
    let stage = Stage::new();
    stage.redis.ask_all(DATA);
    let before = stage.redis.ask_all(QUESTIONS);
    let bundle = stage.backup();
    stage.redis.ask_all("FLUSHALL\nSET later yes\nSAVE");

    let output = stage.restore(&bundle, &[]);
    assert!([0, 2, 3].contains(&code(&output)), "{}", describe(&output));
    assert!(describe(&output).contains("8 keys, as the server counts them"), "{}", describe(&output));
    assert_eq!(stage.redis.ask_all(QUESTIONS), before);
    assert_eq!(stage.redis.ask(&["EXISTS", "later"]), "0");
    assert!(stage.redis.ask(&["TTL", "short-lived"]).parse::<i64>().expect("seconds") > 0);

    let bundle = bundle.display().to_string();
    let output = stage.run(&["restore", "--rollback", "--yes", "--file", &bundle]);
    assert_eq!(code(&output), 0, "{}", describe(&output));
    assert_eq!(stage.redis.ask_all("GET later\nDBSIZE"), ["yes", "1"]);

    let output = stage.restore(Path::new(&bundle), &[]);
    assert!([0, 2, 3].contains(&code(&output)), "{}", describe(&output));
    let output = stage.run(&["restore", "cleanup", "--yes"]);
    assert_eq!(code(&output), 0, "{}", describe(&output));
    assert_eq!(stage.redis.ask_all(QUESTIONS), before);
    let left = std::fs::read_dir(stage.redis.path("")).expect("a directory").flatten();
    let left: Vec<String> = left.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    assert!(!left.iter().any(|name| name.contains("_before_") || name.contains("_restore_")), "{left:?}");
}

#[test]
fn a_drill_proves_it_without_the_live_server() {
    let stage = Stage::new();
    stage.redis.ask_all(DATA);
    let bundle = stage.backup().display().to_string();
    let inside = system_tests::reachable();
    let inside = inside.path().display().to_string();
    let output = stage.run(&["drill", &bundle, "--in", &inside, "--json"]);
    assert_eq!(code(&output), 0, "{}", describe(&output));
    assert!(
        describe(&output).contains(r#""components":[{"id":"redis","items":{"count":8,"unit":"key"}}]"#),
        "{}",
        describe(&output)
    );
}

#[test]
fn what_can_not_take_the_data_is_refused_before_anything_is_changed() {
    let stage = Stage::new();
    stage.redis.ask_all(DATA);
    let bundle = stage.backup();
    stage.redis.ask_all("FLUSHALL\nSET later yes");
    for (words, code_of_finding) in
        [("CONFIG SET appendonly yes", "redis-appendonly"), ("REPLICAOF 127.0.0.1 1", "redis-replica")]
    {
        stage.redis.ask_all(words);
        let output = stage.restore(&bundle, &["--json"]);
        assert_eq!(code(&output), 5, "{}", describe(&output));
        assert!(describe(&output).contains(code_of_finding), "{}", describe(&output));
        stage.redis.ask_all("REPLICAOF NO ONE\nCONFIG SET appendonly no");
    }
    stage.place.write("settings.toml", format!("cluster_conf = '{}'\n", stage.place.path("cluster.conf").display()));
    let output = stage.restore(&bundle, &[]);
    assert_eq!(code(&output), 5, "{}", describe(&output));
    assert!(describe(&output).contains("add [[component]] with kind = \"redis\""), "{}", describe(&output));
    assert_eq!(stage.redis.ask_all("GET later\nDBSIZE"), ["yes", "1"]);
}

#[test]
fn its_password_is_nowhere() {
    let stage = Stage::new();
    stage.redis.ask_all(DATA);
    let bundle = stage.backup();
    let outputs = [stage.run(&["check"]), stage.run(&["check", "--json"]), stage.restore(&bundle, &["--json"])];
    for output in outputs {
        assert!(!describe(&output).contains(Redis::PASSWORD), "{}", describe(&output));
    }
    let shown = std::process::Command::new("sh")
        .args(["-c", r#"tar -xzOf "$0"; cat "$1"/restores/*.journal"#])
        .arg(&bundle)
        .arg(stage.place.path("state"))
        .output()
        .expect("tar runs");
    let text = String::from_utf8_lossy(&shown.stdout);
    assert!(text.contains("\"kind\":\"redis\"") && !text.contains(Redis::PASSWORD));
}
