//! `verify --all` reads every bundle of all stores, and one that is bad keeps it from none of the others.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use fixtures::Postgres;
use fixtures::s3::{BUCKET, S3Server};
use serde_json::Value;
use system_tests::{Workplace, another_second, describe};

/// A server whose bundles are small.
fn small_server() -> Postgres {
    let server = Postgres::start();
    server.sql("postgres", "CREATE TABLE t AS SELECT generate_series(1, 100) AS i");
    server
}

fn run(place: &Workplace, arguments: &[&str]) -> Output {
    place.cli(&[&["verify", "--all"], arguments].concat()).output().expect("it runs")
}

fn json(place: &Workplace, arguments: &[&str]) -> Value {
    let output = run(place, &[arguments, &["--json"]].concat());
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", describe(&output)))
}

/// States by file, oldest first.
fn states(document: &Value) -> Vec<String> {
    let bundles = document["result"]["bundles"].as_array().expect("bundles");
    bundles.iter().map(|bundle| bundle["state"].as_str().expect("a state").to_owned()).collect()
}

fn file(bundle: &Path) -> String {
    bundle.file_name().expect("a name").to_string_lossy().into_owned()
}

/// Three bundles, oldest first.
fn three(place: &Workplace, server: &Postgres) -> [PathBuf; 3] {
    [(); 3].map(|()| {
        another_second();
        place.make_bundle(server)
    })
}

fn flip(bundle: &Path) {
    let mut bytes = fs::read(bundle).expect("read");
    let at = bytes.len() / 3;
    bytes[at] ^= 1;
    fs::write(bundle, bytes).expect("written");
}

#[test]
fn every_bundle_has_a_line_and_a_damaged_one_has_its_damage() {
    let (server, place) = (small_server(), Workplace::default());
    let [first, second, third] = three(&place, &server);
    let output = run(&place, &["bundles"]);
    assert!(output.status.success(), "{}", describe(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for bundle in [&first, &second, &third] {
        let line = format!("bundles/{}: every byte is as it was written, by this machine", file(bundle));
        assert!(text.lines().any(|other| other == line), "{text}");
    }
    assert!(text.contains("3 bundles: 3 sound, in "), "{text}");
    flip(&second);
    let output = run(&place, &["bundles"]);
    assert_eq!(output.status.code(), Some(12), "{}", describe(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains(&format!("bundles/{}: DAMAGED", file(&second))), "{text}");
    assert!(
        text.contains("its bytes in the file are not those that its digest was made of") || text.contains("blocks")
    );
    assert!(text.contains("3 bundles: 2 sound, 1 damaged, in "), "{text}");
    let document = json(&place, &["bundles"]);
    assert_eq!(document["kind"], "verify-all");
    assert_eq!(
        (states(&document), &document["result"]["sound"]),
        (["sound", "damaged", "sound"].map(str::to_owned).to_vec(), &false.into())
    );
    assert!(!document["result"]["bundles"][1]["damage"].as_array().expect("damage").is_empty());
    // A file that is no bundle at all is called damaged as well.
    fs::write(&third, "nothing").expect("written");
    assert_eq!(states(&json(&place, &["bundles"])), ["sound", "damaged", "damaged"]);
}

#[test]
fn a_store_that_can_not_be_read_is_named_and_the_others_are_verified() {
    let (server, s3, place) = (small_server(), S3Server::start(), Workplace::default());
    place.make_bundle(&server);
    let far = format!("s3://{BUCKET}/x");
    let mut copy = place.cli(&["backup", "--config", "cluster.conf", "--release", "1", "--to", &far]);
    assert_eq!(copy.envs(s3.environment()).envs(server.variables()).status().expect("it runs").code(), Some(3));
    let settings =
        format!("[[stores]]\npath = 'missing'\n[[stores]]\npath = 'bundles'\n[[stores]]\naddress = '{far}'\n");
    place.write("o.toml", format!("cluster_conf = 'cluster.conf'\n{settings}"));
    let verify = |arguments: &[&str]| {
        let mut command = place.cli(&[&["verify", "--all", "-c", "o.toml"], arguments].concat());
        command.envs(s3.environment()).output().expect("it runs")
    };
    let output = verify(&[]);
    assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
    let text = describe(&output);
    assert!(text.contains("list missing") && text.contains("2 bundles: 2 sound"), "{text}");
    assert!(text.contains(&format!("{far}/orchestrator_backup_")), "{text}");
    // If no store can be read, that is the error.
    assert_eq!(verify(&["missing"]).status.code(), Some(10));
    assert_eq!(verify(&["bundles", &far]).status.code(), Some(0));
}

#[test]
fn a_bundle_that_no_identity_opens_is_said_and_is_no_damage() {
    let (server, place) = (small_server(), Workplace::default());
    let made = place.cli(&["key", "generate", "key"]).output().expect("it runs");
    let recipient = String::from_utf8(made.stdout).expect("UTF-8").trim().to_owned();
    place.make_bundle(&server);
    another_second();
    assert!(place.backup(&server, &["--recipient", &recipient]).status().expect("it runs").success());
    let output = run(&place, &["bundles"]);
    assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
    assert!(describe(&output).contains("not verified: it is encrypted, and no identity is given"));
    assert!(describe(&output).contains("2 bundles: 1 sound, 1 not verified"), "{}", describe(&output));
    assert_eq!(states(&json(&place, &["bundles"])), ["sound", "closed"]);
    assert_eq!(run(&place, &["bundles", "--identity", "key"]).status.code(), Some(0));
    place.cli(&["key", "generate", "other"]).output().expect("it runs");
    assert_eq!(states(&json(&place, &["bundles", "--identity", "other"])), ["sound", "closed"]);
}

#[test]
fn an_age_leaves_older_bundles_out_and_to_verify_nothing_is_a_warning() {
    let (server, place) = (small_server(), Workplace::default());
    let young = place.make_bundle(&server);
    let old = place.path("bundles/orchestrator_backup_20200101T000000Z.tgz");
    fs::copy(&young, &old).expect("a copy");
    flip(&old);
    assert_eq!(run(&place, &["bundles"]).status.code(), Some(12));
    for age in ["24h", "7d", "2w"] {
        assert_eq!(states(&json(&place, &["bundles", "--newer-than", age])), ["sound"], "{age}");
    }
    assert_eq!(states(&json(&place, &["bundles", "--newer-than", "1000y"])), ["damaged", "sound"]);
    fs::remove_file(young).expect("removed");
    let output = run(&place, &["bundles", "--newer-than", "24h"]);
    assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
    assert!(describe(&output).contains("nothing was verified: there is no bundle that is so new"));
    for wrong in [&["--newer-than", "soon"][..], &["--newer-than", "7"]] {
        assert_eq!(run(&place, wrong).status.code(), Some(2));
    }
    // These belong to all bundles, and `verify BUNDLE` takes one.
    for wrong in [&["verify"][..], &["verify", "a.tgz", "b.tgz"], &["verify", "a.tgz", "--newer-than", "1d"]] {
        assert_eq!(place.cli(wrong).output().expect("it runs").status.code(), Some(2), "{wrong:?}");
    }
}
