//! `prune` deletes what no rule keeps, and nothing that it can't be sure of.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use backup_core::bundle::manifest::Source;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use system_tests::{Workplace, craft, describe, of_cluster};

/// Makes a bundle of a cluster that holds `size` bytes, as this machine's journal knows it, and gives its file's name.
async fn bundle(place: &Workplace, cluster: &str, days: i64, size: usize) -> String {
    bundle_from(place, of_cluster(cluster), days, size).await
}

async fn bundle_from(place: &Workplace, source: Source, days: i64, size: usize) -> String {
    let newest: DateTime<Utc> = "2026-11-20T19:15:00Z".parse().expect("a time");
    let made = craft(&place.path("bundles"), source, newest - TimeDelta::days(days), size).await;
    place.note_made(&made, true);
    made.file
}

/// A store, and settings that keep a bundle of each of the last three days and two weeks.
fn workplace() -> Workplace {
    let place = Workplace::default();
    fs::create_dir(place.path("bundles")).expect("a directory");
    settings(&place, "daily = 3\nweekly = 2");
    place
}

fn settings(place: &Workplace, rules: &str) -> PathBuf {
    let text = format!("cluster_conf = 'cluster.conf'\n[[stores]]\npath = 'bundles'\n[retention]\n{rules}\n");
    place.write("settings.toml", text)
}

fn prune(place: &Workplace, more: &[&str]) -> Output {
    place.cli(&[&["prune", "--config", "settings.toml"], more].concat()).output().expect("it runs")
}

fn names(place: &Workplace) -> Vec<String> {
    place.bundles().iter().map(|path| path.file_name().expect("a name").to_string_lossy().into_owned()).collect()
}

#[tokio::test]
async fn what_no_rule_keeps_is_shown_and_then_deleted_with_what_lies_beside_it() {
    let place = workplace();
    let mut files = Vec::new();
    for days in 0..20 {
        files.push(bundle(&place, "example", days, 5000).await);
    }
    fs::write(place.path("bundles").join(format!("{}.sha256", files[19])), "a digest").expect("written");
    let before = names(&place);
    let shown = prune(&place, &["--dry-run"]);
    let text = describe(&shown);
    assert!(shown.status.success() && text.contains("delete  no rule keeps it"), "{text}");
    // Nobody can be asked.
    assert_eq!(prune(&place, &[]).status.code(), Some(13));
    assert_eq!(names(&place), before);
    let pruned = prune(&place, &["--yes", "--json"]);
    let document: Value = serde_json::from_slice(&pruned.stdout).unwrap_or_else(|_| panic!("{}", describe(&pruned)));
    assert_eq!(document["result"]["deleted"].as_array().expect("names").len(), 16, "{document}");
    // The 20th is a Friday; the newest of the week before is that of Sunday the 15th.
    let mut kept: Vec<&String> = [0, 1, 2, 5].iter().map(|days| &files[*days]).collect();
    kept.sort();
    assert_eq!(names(&place).iter().collect::<Vec<_>>(), kept);
    assert!(!place.path("bundles").join(format!("{}.sha256", files[19])).exists());
    assert!(describe(&prune(&place, &["--yes"])).contains("of week 2026-W46"));
}

#[tokio::test]
async fn what_is_not_surely_ours_stays_and_nothing_goes_while_the_newest_is_doubtful() {
    let place = workplace();
    settings(&place, "last = 1");
    let newest = bundle(&place, "example", 0, 5000).await;
    let old = bundle(&place, "example", 9, 5000).await;
    let other = bundle(&place, "other", 8, 5000).await;
    let damaged = bundle(&place, "example", 7, 5000).await;
    let path = place.path("bundles").join(&damaged);
    let bytes = fs::read(&path).expect("a file");
    fs::write(&path, &bytes[..bytes.len() - 100]).expect("cut off");
    place.write("bundles/notes.tgz", "mine");
    let all = names(&place);
    // Half as long as those before it, or from the future.
    let small = bundle(&place, "example", -1, 10).await;
    let withheld = prune(&place, &["--yes"]);
    let text = describe(&withheld);
    assert!(withheld.status.code() == Some(3) && text.contains(&format!("--accept {small}")), "{text}");
    assert_eq!(names(&place).len(), all.len() + 1);
    fs::remove_file(place.path("bundles").join(small)).expect("removed");
    let future = bundle(&place, "example", -36500, 5000).await;
    let withheld = prune(&place, &["--yes"]);
    assert!(
        withheld.status.code() == Some(3) && describe(&withheld).contains("from the future"),
        "{}",
        describe(&withheld)
    );
    fs::remove_file(place.path("bundles").join(future)).expect("removed");
    assert_eq!(names(&place), all);
    let pruned = prune(&place, &["--yes"]);
    assert!(pruned.status.success(), "{}", describe(&pruned));
    let left = names(&place);
    assert!(
        !left.contains(&old) && [newest, other, damaged, "notes.tgz".into()].iter().all(|file| left.contains(file))
    );
}

#[tokio::test]
async fn a_bundle_of_some_databases_takes_the_place_of_no_other_and_goes_by_hand_alone() {
    let place = workplace();
    settings(&place, "last = 1");
    let some = Source { partial: true, ..of_cluster("example") };
    let before = bundle(&place, "example", 2, 5000).await;
    let whole = bundle(&place, "example", 1, 5000).await;
    let partial = bundle_from(&place, some, 0, 10).await;
    let pruned = prune(&place, &["--yes"]);
    assert!(pruned.status.success(), "{}", describe(&pruned));
    assert!(!names(&place).contains(&before) && names(&place) == [whole, partial], "{:?}", names(&place));
}

#[test]
fn rules_that_keep_nothing_are_refused() {
    let place = workplace();
    settings(&place, "");
    assert_eq!(prune(&place, &["--yes"]).status.code(), Some(2));
    place.write("settings.toml", "cluster_conf = 'cluster.conf'\n[[stores]]\npath = 'bundles'\n");
    let text = describe(&prune(&place, &["--yes"]));
    assert!(text.contains("nothing says what is kept") && text.contains("[retention]"), "{text}");
}
