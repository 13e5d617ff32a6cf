//! `diff` says what a restore would lose, first, and nothing where there is nothing.

use fixtures::Postgres;
use system_tests::{Workplace, describe};

#[test]
fn a_bundle_is_held_against_what_is_live_and_against_another_bundle() {
    let server = Postgres::start();
    server.load_sample(100);
    let place = Workplace::default();
    std::fs::create_dir(place.path("home")).expect("a directory");
    for (name, content) in [("home/same", "same"), ("home/changed", "before"), ("home/gone", "gone")] {
        place.write(name, content);
    }
    std::fs::hard_link(place.path("home/same"), place.path("home/twin")).expect("a link");
    let home = place.path("home");
    let settings = format!(
        "cluster_conf = 'cluster.conf'\n[release]\nversion = '2.6.3'\n[[files]]\npath = '{}'\n",
        home.display()
    );
    place.write("settings.toml", settings);
    let backup = |to: &str| {
        let mut backup = place.cli(&["backup", "--config", "settings.toml", "--to", to]);
        let output = backup.envs(server.variables()).output().expect("it runs");
        assert!(output.status.success(), "{}", describe(&output));
        String::from_utf8(output.stdout).expect("UTF-8").lines().next().expect("a path").to_owned()
    };
    let bundle = backup("bundles");
    let live = || {
        let mut diff = place.cli(&["diff", &bundle, "--config", "settings.toml"]);
        let output = diff.envs(server.variables()).output().expect("it runs");
        assert!(output.status.success(), "{}", describe(&output));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    assert!(live().starts_with("no difference\nnot compared: "), "{}", live());

    server.sql(
        "orchestrator",
        "DELETE FROM chef.by_state; CREATE TABLE newer AS SELECT 1 AS a; CREATE EXTENSION pg_trgm",
    );
    server.sql("orchestrator_archive", "INSERT INTO deployments (release) VALUES ('2.7')");
    place.write("home/changed", "after");
    std::fs::remove_file(place.path("home/gone")).expect("removed");
    let conf = std::fs::read_to_string(place.path("cluster.conf")).expect("a file");
    place.write("cluster.conf", conf.replace("hunter2", "hunter3").replace("example", "other"));
    let text = live();
    let other = backup("others");
    let output = place.cli(&["diff", &bundle, &other]).output().expect("it runs");
    let against = String::from_utf8(output.stdout.clone()).expect("UTF-8");
    assert_eq!(text, against, "{}", describe(&output));
    assert!(!text.contains("hunter"), "{text}");
    let (lost, rest) = text.split_once("Only in the bundle").expect("two parts");
    for word in [
        "orchestrator: public.newer",
        "orchestrator_archive: public.deployments",
        "pg_trgm",
        "home/changed",
        "cluster_name",
        "secret_key",
    ] {
        assert!(lost.contains(word), "{word}: {text}");
    }
    for word in ["chef.by_state_", "home/gone"] {
        assert!(rest.contains(word) && !lost.contains(word), "{word}: {text}");
    }
    assert!(!text.contains("home/same") && !text.contains("home/twin") && !text.contains("machines"), "{text}");
}
