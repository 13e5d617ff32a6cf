//! `deploy --dry` draws what a deploy would do, and says what is wrong with `cluster.conf`.

use std::fs;

use backup_core::settings::Known;
use backup_core::{deploy, settings};
use fixtures::Network;
use serde_json::Value;
use system_tests::{Workplace, describe};

/// A cluster of three machines, the components of which stand in the last line.
fn cluster(components: &str) -> String {
    format!(
        "machines: {{\n  central: {{\n    hosts: [127.0.0.11, 127.0.0.12]\n    suitable_tags: [nats-server vault kv-store]\n  }}\n  \
         runtime: {{ hosts: [127.0.0.13], suitable_tags: [instance-manager] }}\n}}\n\
         chef: {{ continuum: {{ cluster_name: example }} }}\ncomponents: {{ {components} }}\n"
    )
}

const SOUND: &str = "nats-server: 1, vault: 1, kv-store: 1, instance-manager: 1";

#[test]
fn it_says_what_the_reference_says_and_writes_the_picture_anew_each_time() {
    let place = Workplace::default();
    place.write("cluster.conf", cluster(SOUND));
    for _ in 0..2 {
        let dry = place.cli(&["deploy", "--dry", "-c", "cluster.conf"]).output().expect("it runs");
        let expected = "Generating dependency tree... done\nDependency graph for dry run written to graph.png.\n";
        assert_eq!((dry.status.code(), String::from_utf8_lossy(&dry.stdout).as_ref()), (Some(0), expected));
        let picture = fs::read(place.path("graph.png")).expect("a picture");
        assert!(picture.starts_with(b"\x89PNG\r\n"));
        // White alone would be as good as nothing: labels and lines take many times more.
        assert!(picture.len() > 20_000, "{} bytes", picture.len());
        place.write("graph.png", "");
    }
}

#[test]
fn the_cluster_conf_of_the_readme_can_be_deployed() {
    let readme = include_str!("../../README.md");
    let (_, sample) = readme.split_once("```\n# cluster.conf\n").expect("a sample");
    let place = Workplace::default();
    let conf = place.write("cluster.conf", sample.split_once("```").expect("its end").0);
    let settings = settings::load(&conf, &Known::default()).expect("a cluster.conf");
    let graph =
        deploy::graph(&settings.backup.cluster, &settings.deploy.components).expect("all that is needed is there");
    assert_eq!((graph.machines.len(), settings.backup.cluster.cluster_name.as_deref()), (3, Some("example")));
}

#[test]
fn every_kind_of_picture_names_every_machine_and_component() {
    let place = Workplace::default();
    place.write("cluster.conf", cluster(SOUND));
    let words =
        ["127.0.0.11", "127.0.0.12", "127.0.0.13", "nats-server", "vault", "kv-store", "instance-manager", "central"];
    for file in ["deploy.svg", "deploy.dot"] {
        let dry = place.cli(&["deploy", "--dry", "-c", "cluster.conf", "--graph", file]).output().expect("it runs");
        assert!(dry.status.success(), "{}", describe(&dry));
        let text = fs::read_to_string(place.path(file)).expect("a picture");
        words.iter().for_each(|word| assert!(text.contains(word), "{file}: {word}"));
    }
    let json = place.cli(&["deploy", "--dry", "-c", "cluster.conf", "--json", "--release", "2.6.3"]).output();
    let json: Value = serde_json::from_slice(&json.expect("it runs").stdout).expect("JSON");
    let result = &json["result"];
    let documented =
        include_str!("../../docs/json.md").lines().find(|line| line.starts_with("| `deploy-graph`")).expect("a row");
    let fields = result.as_object().expect("an object").keys();
    fields.for_each(|field| assert!(documented.contains(&format!("`{field}`")), "{field}"));
    assert_eq!((&result["release"], &result["levels"][0][0]), (&"2.6.3".into(), &"127.0.0.11".into()), "{json}");
    let other = place.cli(&["deploy", "--dry", "-c", "cluster.conf", "--graph", "deploy.jpg"]).output();
    assert_eq!(other.expect("it runs").status.code(), Some(2));
}

#[test]
fn what_is_wrong_is_an_error_with_its_line_in_the_words_of_the_reference() {
    let cases = [
        (
            "instance-manager: 1",
            "error: failed to generate the dependency graph\n  because: cluster.conf, line 9: machine with instance-manager tag \
             cannot be deployed without a machine with vault tag\n  hint: add vault to `components`; where the release does without it, \
             write into [deploy.components] of the settings: instance-manager = [\"!vault\"]\n",
        ),
        (
            "nats-server: 3",
            "error: failed to generate the dependency graph\n  because: cluster.conf, line 9: components.nats-server: 2 machines are \
             suitable, and 3 are wanted\n  hint: add nats-server to the suitable_tags of a zone that has machines left, or want fewer\n",
        ),
        (
            "nats-sever: 1",
            "error: failed to generate the dependency graph\n  because: cluster.conf, line 9: no component has the tag \
             nats-sever\n  hint: did you mean nats-server? Others belong into [deploy.components] of the settings\n",
        ),
    ];
    for (components, expected) in cases {
        let place = Workplace::default();
        place.write("cluster.conf", cluster(components));
        let dry = place.cli(&["deploy", "--dry", "-c", "cluster.conf"]).output().expect("it runs");
        let expected = &*format!("{expected}refused: no machine was told anything\n");
        assert_eq!((dry.status.code(), String::from_utf8_lossy(&dry.stderr).as_ref()), (Some(13), expected));
        assert!(dry.stdout.is_empty() && !place.path("graph.png").exists());
    }
    // Several are several errors, as anywhere.
    let place = Workplace::default();
    place.write("cluster.conf", cluster("nats-sever: 1, vault: 9"));
    let dry = place.cli(&["deploy", "--dry", "-c", "cluster.conf"]).output().expect("it runs");
    let all = describe(&dry);
    assert!(all.matches("error: failed to generate the dependency graph\n  because: ").count() == 2, "{all}");
    assert!(all.ends_with("refused, 2 errors: no machine was told anything\n"), "{all}");
    // What the hint says helps, for a release that had no vault yet.
    let place = Workplace::default();
    place.write("cluster.conf", cluster("instance-manager: 1"));
    place.write("o.toml", "cluster_conf = 'cluster.conf'\n[deploy.components]\ninstance-manager = [\"!vault\"]\n");
    let dry = place.cli(&["deploy", "--dry", "-c", "o.toml"]).output().expect("it runs");
    assert!(dry.status.success() && place.path("graph.png").exists(), "{}", describe(&dry));
    // A cluster.conf that names no machine, and one that names an option of ssh.
    for (machines, expected) in
        [("", "it names no machines"), ("a: { hosts: ['-oProxyCommand=x'] }", "no name or address")]
    {
        let place = Workplace::default();
        place.write("cluster.conf", format!("machines: {{ {machines} }}\n"));
        let dry = place.cli(&["deploy", "--dry", "-c", "cluster.conf"]).output().expect("it runs");
        let all = describe(&dry);
        assert!(dry.status.code() == Some(13) && all.contains(expected), "{all}");
    }
    let place = Workplace::default();
    place.write("cluster.conf", cluster(SOUND));
    place.write(
        "settings.toml",
        "cluster_conf = 'cluster.conf'\n[deploy.components]\nnats-server = ['vault']\nkv-store = ['nats-server']\n",
    );
    let dry = place.cli(&["deploy", "--dry", "-c", "settings.toml"]).output().expect("it runs");
    let all = describe(&dry);
    assert!(all.contains("components need one another: kv-store, nats-server, vault"), "{all}");
}

#[test]
fn a_machine_that_does_not_answer_is_drawn_and_warned_of() {
    let (mut network, place) = (Network::default(), Workplace::default());
    network.host("10.98.0.11");
    network.host("10.98.0.12");
    let conf =
        cluster(SOUND).replace("127.0.0.11, 127.0.0.12", "10.98.0.11, 10.99.0.3").replace("127.0.0.13", "10.98.0.12");
    place.write("cluster.conf", conf);
    let mut command = network.command(system_tests::binary(), true);
    command.args(["deploy", "--dry", "-c", "cluster.conf", "--graph", "graph.svg"]).current_dir(place.path(""));
    let dry = command.output().expect("it runs");
    let all = describe(&dry);
    assert_eq!(dry.status.code(), Some(3), "{all}");
    assert!(all.contains("10.99.0.3: does not answer"), "{all}");
    let picture = fs::read_to_string(place.path("graph.svg")).expect("a picture");
    assert!(
        picture.contains("× 10.99.0.3") && !picture.contains("× 10.98.0.11"),
        "the one that is down alone is marked"
    );
}
