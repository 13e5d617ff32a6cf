//! What is Redis's own: which servers can't take the data, and say why before anything is changed.

use fixtures::{Alive, Postgres, Redis};
use system_tests::{Workplace, describe};

#[test]
fn a_server_that_would_not_read_the_data_is_refused_before_anything_is_changed() {
    let (place, server, redis) = (Workplace::default(), Postgres::start(), Redis::start());
    let conf = place.path("cluster.conf").display().to_string();
    place.write(
        "settings.toml",
        format!("cluster_conf = '{conf}'\nrelease.version = '2.6.3'\n{}", redis.table("redis")),
    );
    let run = |arguments: &[&str]| {
        let mut command = place.cli(arguments);
        command.args(["--config", "settings.toml"]).envs(server.variables()).output().expect("it runs")
    };
    redis.fill();
    let output = run(&["backup", "--to", "bundles"]);
    assert!(output.status.success() || output.status.code() == Some(3), "{}", describe(&output));
    let bundle = place.bundles().pop().expect("a bundle").display().to_string();
    redis.change();
    let refused = |code: &str| {
        let output = run(&["restore", "--allow-old-clients", "--yes", "--json", "--file", &bundle]);
        assert!([Some(10), Some(13)].contains(&output.status.code()), "{}", describe(&output));
        assert!(describe(&output).contains(code), "{}", describe(&output));
    };
    redis.ask_all("CONFIG SET appendonly yes");
    refused("redis-appendonly");
    redis.ask_all("CONFIG SET appendonly no\nREPLICAOF 127.0.0.1 1");
    refused("redis-replica");
    redis.ask_all("REPLICAOF NO ONE");
    place.write("settings.toml", format!("cluster_conf = '{conf}'\nrelease.version = '2.6.3'\n"));
    refused(r#"add [[component]] with kind = \"redis\""#);
    assert_eq!(redis.ask_all("GET later\nDBSIZE"), ["yes", "1"]);
}

#[test]
fn a_server_that_starts_with_other_data_loses_nothing_and_is_rolled_back_once_it_is_corrected() {
    let (place, server, redis) = (Workplace::default(), Postgres::start(), Redis::start());
    let conf = place.path("cluster.conf").display().to_string();
    place.write(
        "settings.toml",
        format!("cluster_conf = '{conf}'\nrelease.version = '2.6.3'\n{}", redis.table("redis")),
    );
    let run = |arguments: &[&str]| {
        let mut command = place.cli(arguments);
        command.args(["--config", "settings.toml"]).envs(server.variables()).output().expect("it runs")
    };
    redis.fill();
    let output = run(&["backup", "--to", "bundles"]);
    assert!([Some(0), Some(3)].contains(&output.status.code()), "{}", describe(&output));
    let bundle = place.bundles().pop().expect("a bundle").display().to_string();
    redis.change();
    // What only its next start reads.
    let (path, text) = (redis.path("conf"), std::fs::read_to_string(redis.path("conf")).expect("a configuration"));
    std::fs::write(&path, format!("{text}appendonly yes\n")).expect("a configuration");
    let output = run(&["restore", "--allow-old-clients", "--yes", "--file", &bundle]);
    assert_eq!(output.status.code(), Some(14), "{}", describe(&output));
    assert!(describe(&output).contains("it reads appendonly files when it starts"), "{}", describe(&output));
    let back = || run(&["restore", "--rollback", "--yes", "--file", &bundle]);
    assert_eq!(back().status.code(), Some(14));
    redis.end_without_saving();
    std::fs::write(&path, text).expect("a configuration");
    let output = back();
    assert_eq!(output.status.code(), Some(0), "{}", describe(&output));
    assert_eq!(redis.ask_all("GET later\nDBSIZE"), ["yes", "1"]);
}
