//! `keep` holds a bundle against every rule, for every machine that sees the store.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use backup_core::Kind;
use backup_core::authenticity::Knowledge;
use backup_core::encryption::Identities;
use backup_core::retention::{Known, Policy, Pruning};
use backup_core::store::Directory;
use chrono::{DateTime, TimeDelta, Utc};
use fixtures::s3::{BUCKET, S3Server};
use fixtures::{Postgres, Sshd};
use serde_json::Value;
use system_tests::{Workplace, another_second, at_home, craft, describe, of_cluster};

/// A store with a bundle for each of the last days, newest first, of which a rule keeps the newest.
async fn store(days: i64) -> (Workplace, Vec<String>) {
    let place = Workplace::default();
    fs::create_dir(place.path("bundles")).expect("a directory");
    let text = "cluster_conf = 'cluster.conf'\n[[stores]]\npath = 'bundles'\n[retention]\nlast = 1\n";
    place.write("o.toml", text);
    let newest: DateTime<Utc> = "2026-11-20T19:15:00Z".parse().expect("a time");
    let mut files = Vec::new();
    for day in 0..days {
        let made = craft(&place.path("bundles"), of_cluster("example"), newest - TimeDelta::days(day), 5000).await;
        place.note_made(&made, true);
        files.push(made.file);
    }
    (place, files)
}

fn run(place: &Workplace, arguments: &[&str]) -> Output {
    place.cli(arguments).output().expect("it runs")
}

fn done(place: &Workplace, arguments: &[&str]) -> String {
    let output = run(place, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", describe(&output));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", describe(output)))
}

fn prune(place: &Workplace, more: &[&str]) -> Output {
    run(place, &[&["prune", "-c", "o.toml", "--yes"], more].concat())
}

fn left(place: &Workplace) -> Vec<String> {
    place.bundles().iter().map(|path| path.file_name().expect("a name").to_string_lossy().into_owned()).collect()
}

fn record(place: &Workplace, file: &str) -> PathBuf {
    place.path(&format!("bundles/{file}.keep.json"))
}

fn bundle(file: &str) -> String {
    format!("bundles/{file}")
}

#[tokio::test]
async fn no_rule_deletes_a_bundle_that_is_kept_until_it_is_released() {
    let (place, files) = store(4).await;
    let kept = bundle(&files[2]);
    let said = done(&place, &["keep", &kept, "--until", "2099-03-31", "--note", "for the audit"]);
    assert_eq!(said, format!("{kept}: kept until 2099-03-31: for the audit\n"));
    let pruned = prune(&place, &[]);
    assert!(pruned.status.success(), "{}", describe(&pruned));
    assert!(describe(&pruned).contains("kept until 2099-03-31: for the audit"), "{}", describe(&pruned));
    assert_eq!(left(&place), [files[2].clone(), files[0].clone()]);
    // Nothing but the record says it, so it holds for a machine that has no state of ours as well.
    let other = json(
        &place
            .cli(&["list", "bundles", "--json"])
            .env("STATE_DIRECTORY", place.path("other"))
            .output()
            .expect("it runs"),
    );
    assert_eq!(other["result"]["bundles"][0]["keep"]["until"], "2099-03-31");
    assert!(done(&place, &["list", "bundles"]).contains("kept until 2099-03-31: for the audit"));
    assert!(done(&place, &["show", &kept]).contains("kept until 2099-03-31: for the audit"));
    let released = json(&run(&place, &["keep", &kept, "--release", "--json"]));
    assert_eq!(
        (&released["result"]["state"], &released["result"]["before"]["note"]),
        (&"released".into(), &"for the audit".into())
    );
    assert!(!record(&place, &files[2]).exists());
    assert!(done(&place, &["keep", &kept, "--release"]).contains("nothing kept it"));
    assert!(!done(&place, &["list", "bundles"]).contains("kept"));
    assert!(prune(&place, &[]).status.success());
    assert_eq!(left(&place), [files[0].clone()]);
}

#[tokio::test]
async fn a_bundle_that_is_kept_after_it_was_judged_is_not_deleted() {
    let (place, files) = store(2).await;
    let bundles = Directory::new(place.path("bundles"));
    let pruning = Pruning {
        policy: Policy { last: 1, ..Policy::default() },
        cluster: "example".into(),
        identities: Identities::default(),
        knowledge: Knowledge::default(),
        only: None,
        known: Known::default(),
    };
    done(&place, &["keep", &bundle(&files[1])]);
    let refused = pruning.remove(&bundles, &files[1], Utc::now()).expect_err("it is kept");
    assert!(refused.kind() == Kind::Refused && refused.chain().join(": ").contains("kept"), "{refused:?}");
    fs::write(record(&place, &files[1]), "nothing").expect("written");
    pruning.remove(&bundles, &files[1], Utc::now()).expect_err("nobody knows until when it is kept");
    assert_eq!(left(&place).len(), 2);
    done(&place, &["keep", &bundle(&files[0]), "--release"]);
    fs::remove_file(record(&place, &files[1])).expect("removed");
    pruning.remove(&bundles, &files[1], Utc::now()).expect("nothing keeps it");
    assert_eq!(left(&place), [files[0].clone()]);
}

#[tokio::test]
async fn a_record_whose_day_is_past_keeps_nothing_and_goes_with_its_bundle() {
    let (place, files) = store(3).await;
    let yesterday = (Utc::now() - TimeDelta::days(1)).date_naive();
    let old = format!("{{\"since\":\"2020-01-01T00:00:00Z\",\"until\":\"{yesterday}\",\"note\":\"old\"}}\n");
    fs::write(record(&place, &files[1]), old).expect("written");
    // A record of a later version says more.
    let later = "{\"since\":\"2020-01-01T00:00:00Z\",\"until\":null,\"note\":null,\"by\":null,\"more\":1}\n";
    fs::write(record(&place, &files[2]), later).expect("written");
    assert!(!done(&place, &["list", "bundles"]).contains("old"));
    assert!(prune(&place, &[]).status.success());
    assert_eq!(left(&place), [files[2].clone(), files[0].clone()]);
    assert!(!record(&place, &files[1]).exists());
}

#[tokio::test]
async fn a_record_that_can_not_be_read_keeps_the_bundle_with_a_warning() {
    let (place, files) = store(3).await;
    for content in
        [&b"nothing"[..], b"{}", b"", b"{\"since\":\"2020-01-01T00:00:00Z\",\"until\":\"never\"}", &[b' '; 2 << 20]]
    {
        fs::write(record(&place, &files[2]), content).expect("written");
        let pruned = prune(&place, &[]);
        assert_eq!(pruned.status.code(), Some(3), "{}", describe(&pruned));
        assert!(describe(&pruned).contains("the record that says until when can't be read"), "{}", describe(&pruned));
        assert!(left(&place).contains(&files[2]));
        let listed = run(&place, &["list", "bundles"]);
        assert_eq!(listed.status.code(), Some(3), "{}", describe(&listed));
        assert!(describe(&listed).contains("can't be read"), "{}", describe(&listed));
        assert!(describe(&run(&place, &["show", &bundle(&files[2])])).contains("can't be read"));
    }
    assert!(!left(&place).contains(&files[1]), "the others go");
    // Another record takes its place, or none.
    let again = run(&place, &["keep", &bundle(&files[2])]);
    assert_eq!(again.status.code(), Some(3), "{}", describe(&again));
    assert!(prune(&place, &[]).status.success());
    fs::write(record(&place, &files[2]), "nothing").expect("written");
    assert_eq!(run(&place, &["keep", &bundle(&files[2]), "--release"]).status.code(), Some(3));
    assert!(prune(&place, &[]).status.success());
    assert_eq!(left(&place), [files[0].clone()]);
}

#[tokio::test]
async fn a_day_that_is_past_and_what_is_no_bundle_are_refused() {
    let (place, files) = store(1).await;
    let kept = bundle(&files[0]);
    let yesterday = (Utc::now() - TimeDelta::days(1)).date_naive().to_string();
    let long = "x".repeat(501);
    let wrong: [&[&str]; 6] = [
        &[&kept, "--until", &yesterday],
        &[&kept, "--until", "soon"],
        &[&kept, "--note", "two\nlines"],
        &[&kept, "--note", &long],
        &[&kept, "--release", "--note", "x"],
        &["cluster.conf"],
    ];
    for arguments in wrong {
        let output = run(&place, &[&["keep"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", describe(&output));
    }
    assert!(!record(&place, &files[0]).exists());
    let missing = bundle("orchestrator_backup_20200101T000000Z.tgz");
    for more in [&[][..], &["--release"]] {
        let output = run(&place, &[&["keep", &missing], more].concat());
        assert_eq!(output.status.code(), Some(10), "{}", describe(&output));
    }
    let today = Utc::now().date_naive() + TimeDelta::days(1);
    done(&place, &["keep", &kept, "--until", &today.to_string()]);
    let document = json(&run(&place, &["keep", &kept, "--json"]));
    assert_eq!((&document["kind"], &document["result"]["state"]), (&"keep".into(), &"kept".into()));
    assert_eq!(document["result"]["before"]["until"], today.to_string());
    assert!(document["result"]["keep"]["by"].is_string() || document["result"]["keep"]["by"].is_null());
}

#[test]
fn every_store_keeps_a_bundle_and_a_backup_deletes_no_kept_one() {
    let (server, s3, sshd) = (Postgres::start(), S3Server::start(), Sshd::start());
    server.sql("postgres", "CREATE TABLE t ()");
    let place = at_home(&sshd);
    let stores = ["bundles".to_owned(), format!("s3://{BUCKET}/x"), sshd.address(&place.path("away"))];
    let key = |store: &String| if store.contains("://") { "address" } else { "path" };
    let table: String = stores.iter().map(|store| format!("[[stores]]\n{} = '{store}'\n", key(store))).collect();
    place.write(
        "o.toml",
        format!("cluster_conf = 'cluster.conf'\nrelease.version = '1'\n{table}[retention]\nlast = 1\n"),
    );
    let far = |arguments: &[&str]| {
        let mut command = place.cli(&[arguments, &["-c", "o.toml"]].concat());
        let output = command.envs(s3.environment()).envs(server.variables()).output().expect("it runs");
        assert!(matches!(output.status.code(), Some(0 | 3)), "{arguments:?}: {}", describe(&output));
        describe(&output)
    };
    far(&["backup"]);
    let first = left(&place).pop().expect("a bundle");
    for store in &stores {
        let said = far(&["keep", &format!("{store}/{first}"), "--note", "before the move"]);
        assert!(said.contains(&format!("{store}/{first}: kept: before the move")), "{said}");
    }
    another_second();
    far(&["backup"]);
    far(&["prune", "--yes"]);
    assert_eq!(far(&["list"]).matches("kept: before the move").count(), 3);
    // A copy is kept for itself.
    far(&["copy", &format!("bundles/{first}"), "vault"]);
    assert!(!place.path(&format!("vault/{first}.keep.json")).exists());
    for store in &stores {
        far(&["keep", &format!("{store}/{first}"), "--release"]);
    }
    another_second();
    let deleted = far(&["backup"]);
    assert_eq!(deleted.matches(&format!("deleted {first} in ")).count(), 3, "{deleted}");
    assert_eq!(far(&["list"]).matches(&first).count(), 0);
    assert!(!s3.files().iter().any(|file| file.contains(".keep.json")));
}
