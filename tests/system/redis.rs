//! What is Redis's own: which servers can't take the data, and say why before anything is changed.

use std::process::Output;

use fixtures::{Alive, Postgres, Redis};
use system_tests::{Workplace, describe};

/// A live server, and a bundle of it that is older than what is live.
struct Stage {
    place: Workplace,
    server: Postgres,
    redis: Redis,
    bundle: String,
}

impl Stage {
    fn new() -> Self {
        let (place, server, redis) = (Workplace::default(), Postgres::start(), Redis::start());
        let mut stage = Self { place, server, redis, bundle: String::new() };
        stage.settle(&stage.redis.table("redis"));
        stage.redis.fill();
        let output = stage.run(&["backup", "--to", "bundles"]);
        assert!([Some(0), Some(3)].contains(&output.status.code()), "{}", describe(&output));
        stage.bundle = stage.place.bundles().pop().expect("a bundle").display().to_string();
        stage.redis.change();
        stage
    }

    /// Settings with these components.
    fn settle(&self, components: &str) {
        let conf = self.place.path("cluster.conf").display().to_string();
        let settings = format!("cluster_conf = '{conf}'\nrelease.version = '2.6.3'\n{components}");
        self.place.write("settings.toml", settings);
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.place.cli(arguments);
        command.args(["--config", "settings.toml"]).envs(self.server.variables()).output().expect("it runs")
    }
}

#[test]
fn a_server_that_would_not_read_the_data_is_refused_before_anything_is_changed() {
    let stage = Stage::new();
    let redis = &stage.redis;
    let refused = |code: i32, word: &str| {
        let output = stage.run(&["restore", "--allow-old-clients", "--yes", "--json", "--file", &stage.bundle]);
        assert_eq!(output.status.code(), Some(code), "{}", describe(&output));
        assert!(describe(&output).contains(word), "{}", describe(&output));
    };
    redis.ask_all("CONFIG SET appendonly yes");
    refused(13, "redis-appendonly");
    redis.ask_all("CONFIG SET appendonly no\nREPLICAOF 127.0.0.1 1");
    refused(13, "redis-replica");
    redis.ask_all("REPLICAOF NO ONE");
    stage.settle("");
    refused(10, r#"add [[component]] with kind = \"redis\""#);
    assert_eq!(redis.ask_all("GET later\nDBSIZE"), "yes\n1");
}

#[test]
fn a_server_that_starts_with_other_data_loses_nothing_and_is_rolled_back_once_it_is_corrected() {
    let stage = Stage::new();
    let redis = &stage.redis;
    // What only its next start reads.
    let (path, text) = (redis.path("conf"), std::fs::read_to_string(redis.path("conf")).expect("a configuration"));
    std::fs::write(&path, format!("{text}appendonly yes\n")).expect("a configuration");
    let output = stage.run(&["restore", "--allow-old-clients", "--yes", "--file", &stage.bundle]);
    assert_eq!(output.status.code(), Some(14), "{}", describe(&output));
    assert!(describe(&output).contains("it reads appendonly files when it starts"), "{}", describe(&output));
    let back = || stage.run(&["restore", "--rollback", "--yes", "--file", &stage.bundle]);
    assert_eq!(back().status.code(), Some(14));
    redis.end_without_saving();
    std::fs::write(&path, text).expect("a configuration");
    let output = back();
    assert_eq!(output.status.code(), Some(0), "{}", describe(&output));
    assert_eq!(redis.ask_all("GET later\nDBSIZE"), "yes\n1");
}
