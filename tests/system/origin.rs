//! Who can put objects into a store leads neither `prune` nor `status`: bundles and records of drills that nothing here knows count for
//! nothing.

use std::fs;
use std::path::{Path, PathBuf};

use backup_core::signing;
use backup_core::signing::Signing;
use chrono::{DateTime, TimeDelta, Utc};
use fixtures::Postgres;
use fixtures::s3::{Fault, Operation, S3Server, Trouble};
use serde_json::Value;
use system_tests::{Crafted, Workplace, another_second, craft, describe, forge_drill, of_cluster};

/// What keeps three bundles.
const RULES: &str = "[retention]\nlast = 3\n";

/// A store of bundles that this machine made, and a drill of its own.
struct Store {
    place: Workplace,
    directory: PathBuf,
    now: DateTime<Utc>,
    /// Six, a day apart, newest first.
    good: Vec<Crafted>,
}

impl Store {
    async fn new() -> Self {
        let place = Workplace::default();
        let directory = place.path("bundles");
        fs::create_dir(&directory).expect("a directory");
        place.write("o.toml", format!("cluster_conf = 'cluster.conf'\n[[stores]]\npath = 'bundles'\n{RULES}"));
        Self::of(place, directory).await
    }

    async fn of(place: Workplace, directory: PathBuf) -> Self {
        let now = Utc::now() - TimeDelta::hours(1);
        let mut good = Vec::new();
        for day in 0..6 {
            good.push(craft(&directory, of_cluster("example"), now - TimeDelta::days(day), 5000).await);
            place.note_made(&good[good.len() - 1], true);
        }
        place.note_drilled(&good[4], now);
        Self { place, directory, now, good }
    }

    async fn junk(&self, after: TimeDelta, cluster: &str) -> Crafted {
        craft(&self.directory, of_cluster(cluster), self.now + after, 5100).await
    }

    fn there(&self, bundle: &Crafted) -> bool {
        bundle.path.exists()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.place.cli(arguments).output().expect("it runs");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", describe(&output)))
    }
}

/// Names of files in a list of JSON.
fn files(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().filter_map(|one| one["file"].as_str()).collect()
}

/// What somebody does who can write into the store and nowhere else.
#[derive(Debug, Clone, Copy)]
enum Attack {
    None,
    NewerJunk,
    JunkOfTomorrow,
    ForgedDrill,
    OtherCluster,
    UnknownKey,
    Copies,
    OldJournal,
}

impl Attack {
    /// Gives how many bundles `status` shows as unknown.
    async fn strike(self, store: &Store) -> usize {
        let minutes = |count: usize| TimeDelta::minutes(i64::try_from(count).expect("a number"));
        match self {
            Self::None => 0,
            Self::NewerJunk => {
                for count in 1..=3 {
                    let junk = store.junk(minutes(count), "example").await;
                    forge_drill(&junk, store.now);
                }
                3
            }
            Self::JunkOfTomorrow => {
                store.junk(TimeDelta::days(1), "example").await;
                1
            }
            Self::ForgedDrill => {
                // Of a good bundle too: who says that it was drilled keeps it, and lets the one go that was.
                forge_drill(&store.good[3], store.now + TimeDelta::minutes(30));
                0
            }
            Self::OtherCluster => {
                for count in 1..=3 {
                    store.junk(minutes(count), "other").await;
                }
                0
            }
            Self::UnknownKey => {
                let key = store.place.path("theirs");
                signing::generate(&key, "elsewhere").expect("a key");
                let signing = Signing { key: Some(key), ..Signing::default() };
                for count in 1..=3 {
                    let junk = store.junk(minutes(count), "example").await;
                    let signature = signing.sign_bundle(&junk.manifest_sha256).expect("signed").expect("a key");
                    fs::write(format!("{}.sig", junk.path.display()), signature).expect("written");
                }
                let ours = signing::generate(&store.place.path("ours"), "vm").expect("a key");
                let path = store.place.path("o.toml");
                let text = fs::read_to_string(&path).expect("settings");
                fs::write(path, format!("{text}[signing.trusted]\nops = '{ours}'\n")).expect("written");
                3
            }
            Self::Copies => {
                for count in 1..=3 {
                    let newer = store.now + minutes(count);
                    let name = backup_core::names::BundleName::at(newer);
                    fs::copy(&store.good[0].path, store.directory.join(format!("{name}.tgz"))).expect("copied");
                }
                0
            }
            Self::OldJournal => {
                // It knows bundles by name and length alone, as earlier versions noted them.
                fs::remove_file(store.place.path("state/runs.json")).expect("removed");
                store.good.iter().for_each(|bundle| store.place.note_made(bundle, false));
                store.place.note_drilled(&store.good[4], store.now);
                store.junk(minutes(1), "example").await;
                1
            }
        }
    }
}

#[tokio::test]
async fn who_can_write_into_a_store_leads_neither_prune_nor_status() {
    use Attack::{Copies, ForgedDrill, JunkOfTomorrow, NewerJunk, None, OldJournal, OtherCluster, UnknownKey};
    for attack in [None, NewerJunk, JunkOfTomorrow, ForgedDrill, OtherCluster, UnknownKey, Copies, OldJournal] {
        let store = Store::new().await;
        let unknown = attack.strike(&store).await;
        let status = store.json(&["status", "-c", "o.toml", "--json"]);
        let series = &status["result"]["series"][0];
        let counted = files(&series["bundles"]);
        let good: Vec<&str> = store.good.iter().rev().map(|bundle| &*bundle.file).collect();
        match attack {
            // They are the good one, as often as somebody likes.
            Copies => assert!(good.iter().all(|file| counted.contains(file)), "{counted:?}"),
            _ => assert_eq!(counted, good, "{attack:?}"),
        }
        assert_eq!(series["unknown"].as_array().expect("a list").len(), unknown, "{attack:?}");
        assert_eq!(series["drill"]["file"], store.good[4].file.as_str(), "{attack:?}");
        let said = status.to_string();
        assert_eq!(said.contains("bundle-unknown"), unknown > 0, "{attack:?}: {said}");
        let pruned = store.json(&["prune", "-c", "o.toml", "--yes", "--json"]);
        assert!(pruned["kind"] == "prune", "{attack:?}: {pruned}");
        // As if nobody had been there: the last three stay, and the one that was drilled here.
        let left: Vec<usize> = (0..6).filter(|at| store.there(&store.good[*at])).collect();
        assert_eq!(left, [0, 1, 2, 4], "{attack:?}: {pruned}");
        let why: String = pruned["result"]["stores"][0]["decisions"].to_string();
        assert_eq!(why.contains("nothing here knows who made it"), unknown > 0, "{attack:?}: {why}");
    }
}

/// The same in a bucket, whose bundles a cache on this machine knows by name and length.
#[test]
fn a_bundle_that_was_written_over_lets_no_other_go() {
    // It has a runtime of its own, which none may be around.
    let s3 = S3Server::start();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(a_bundle_is_written_over(&s3));
}

async fn a_bundle_is_written_over(s3: &S3Server) {
    let place = Workplace::default();
    place.write("o.toml", format!("cluster_conf = 'cluster.conf'\n[[stores]]\naddress = 's3://vault'\n{RULES}"));
    let store = Store::of(place, s3.objects()).await;
    let run = |arguments: &[&str]| store.place.cli(arguments).envs(s3.environment()).output().expect("it runs");
    let listed = run(&["list", "-c", "o.toml", "--json"]);
    assert!(listed.status.success(), "{}", describe(&listed));
    // Another bundle of the same name and length: what else it holds shows only to who opens it.
    let newest = &store.good[0];
    let aside = tempfile_beside(&newest.path);
    fs::rename(&newest.path, &aside).expect("moved");
    // Digests compress differently well: by as much as one is too long, the next one holds less. A little is added each time, or
    // the same few sizes could come again for ever.
    let (mut size, mut same) = (5000, false);
    for number in 0..1000 {
        let other = craft(&store.directory, of_cluster(&format!("ex{number:05}")), newest.created, size).await;
        assert_eq!(other.file, newest.file);
        same = other.length == newest.length;
        if same {
            break;
        }
        size = (size + number % 5 + newest.length as usize).saturating_sub(other.length as usize);
    }
    assert!(same, "no bundle is as long as another one");
    let pruned = run(&["prune", "-c", "o.toml", "--yes"]);
    let text = describe(&pruned);
    assert!(pruned.status.code() == Some(3) && text.contains("not the bundle any more"), "{text}");
    assert!(store.good.iter().all(|bundle| store.there(bundle)), "{text}");
    fs::rename(&aside, &newest.path).expect("moved back");
    let pruned = run(&["prune", "-c", "o.toml", "--yes"]);
    assert!(pruned.status.success() && !store.there(&store.good[5]), "{}", describe(&pruned));
}

fn tempfile_beside(path: &Path) -> PathBuf {
    path.parent().and_then(Path::parent).expect("a directory").join("aside")
}

#[tokio::test]
async fn a_machine_that_knows_nothing_deletes_nothing_and_is_not_safe() {
    let store = Store::new().await;
    fs::remove_dir_all(store.place.path("state")).expect("removed");
    let pruned = store.json(&["prune", "-c", "o.toml", "--yes", "--json"]);
    assert!(store.good.iter().all(|bundle| store.there(bundle)), "{pruned}");
    assert!(pruned.to_string().contains("no bundle here is known"), "{pruned}");
    let status = store.json(&["status", "-c", "o.toml", "--json"]);
    let codes = status["result"]["findings"].to_string();
    assert!(codes.contains("\"no-bundle\"") && codes.contains("\"bundle-unknown\""), "{codes}");
    // The first one of its own displaces those that it does not know, one by one.
    let own = craft(&store.directory, of_cluster("example"), Utc::now(), 5000).await;
    store.place.note_made(&own, true);
    store.json(&["prune", "-c", "o.toml", "--yes", "--json"]);
    assert!(store.good.iter().all(|bundle| store.there(bundle)));
    for minutes in 1..3 {
        let one = craft(&store.directory, of_cluster("example"), Utc::now() - TimeDelta::minutes(minutes), 5000).await;
        store.place.note_made(&one, true);
    }
    let pruned = store.json(&["prune", "-c", "o.toml", "--yes", "--json"]);
    // The newest of them may be the last one of a machine that is lost.
    let left: Vec<_> = store.good.iter().filter(|bundle| store.there(bundle)).map(|bundle| &bundle.path).collect();
    let newest: Vec<_> = store.good.iter().map(|bundle| &bundle.path).max().into_iter().collect();
    assert_eq!(left, newest, "{pruned}");
}

#[tokio::test]
async fn nothing_goes_before_what_stays_was_read_in_full() {
    let store = Store::new().await;
    let text = fs::read_to_string(store.place.path("o.toml")).expect("settings");
    store.place.write("o.toml", format!("{text}verified_within = 8\n"));
    // What goes was read, and what stays was not.
    store.place.note_verified(&store.good[5]);
    let pruned = store.json(&["prune", "-c", "o.toml", "--yes", "--json"]);
    assert!(pruned.to_string().contains("not-verified"), "{pruned}");
    assert!(store.good.iter().all(|bundle| store.there(bundle)), "{pruned}");
    let bundle = store.good[0].path.display().to_string();
    let verified = store.place.cli(&["verify", &bundle]).output().expect("it runs");
    assert!(verified.status.success(), "{}", describe(&verified));
    store.json(&["prune", "-c", "o.toml", "--yes", "--json"]);
    assert!(!store.there(&store.good[5]));
}

#[tokio::test]
async fn each_command_says_who_made_a_bundle() {
    let store = Store::new().await;
    let junk = store.junk(TimeDelta::minutes(1), "example").await;
    let verify = |bundle: &Crafted| {
        let path = bundle.path.display().to_string();
        describe(&store.place.cli(&["verify", &path]).output().expect("it runs"))
    };
    assert!(verify(&store.good[0]).contains("every byte is as it was written, by this machine"));
    let text = verify(&junk);
    assert!(text.contains("as its own manifest says; nothing here knows who made it"), "{text}");
    assert!(!text.contains("as it was written") && text.contains("key generate --signing"), "{text}");
    let listed = store.json(&["list", "-c", "o.toml", "--json"]);
    let origin_of = |bundle: &Crafted| {
        let all = listed["result"]["bundles"].as_array().expect("bundles");
        all.iter().find(|one| one["file"] == bundle.file.as_str()).expect("it")["origin"].clone()
    };
    assert_eq!((origin_of(&store.good[0]), origin_of(&junk)), ("made-here".into(), "unknown".into()));
    let text = describe(&store.place.cli(&["list", "-c", "o.toml"]).output().expect("it runs"));
    assert!(text.contains("ORIGIN") && text.contains("made here") && text.contains("unknown"), "{text}");
}

/// A credential that may put and not delete: backups work, and what may not be deleted is said.
#[test]
fn what_may_not_be_deleted_is_said_and_backups_go_on() {
    let server = Postgres::start();
    server.sql("postgres", "CREATE TABLE t ()");
    let s3 = S3Server::start();
    s3.misbehave([Fault {
        on: Operation::DeleteObject,
        times: usize::MAX,
        trouble: Trouble::Status(403, "AccessDenied", None),
    }]);
    let place = Workplace::default();
    let rules = "[retention]\nlast = 1\n";
    place.write(
        "o.toml",
        format!(
            "cluster_conf = 'cluster.conf'\nrelease.version = '2.6.3'\n[[stores]]\naddress = 's3://vault'\n{rules}"
        ),
    );
    let backup = || {
        another_second();
        let mut command = place.cli(&["backup", "-c", "o.toml", "--json"]);
        let output = command.envs(server.variables()).envs(s3.environment()).output().expect("it runs");
        let value: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", describe(&output)));
        (output.status.code(), value)
    };
    let (_, first) = backup();
    assert_eq!(first["kind"], "backup", "{first}");
    let (code, second) = backup();
    let warnings = second["result"]["warnings"].to_string();
    assert!(code == Some(3) && warnings.contains("not-deleted") && warnings.contains("s3:DeleteObject"), "{warnings}");
    let bundles = || s3.files().iter().filter(|file| file.ends_with(".tgz")).count();
    assert_eq!(bundles(), 2);
    let mut prune = place.cli(&["prune", "-c", "o.toml", "--yes"]);
    let output = prune.envs(s3.environment()).output().expect("it runs");
    assert!(output.status.code() == Some(3) && describe(&output).contains("s3:DeleteObject"), "{}", describe(&output));
    assert_eq!(bundles(), 2);
}
