//! Bundles in remotes of rclone: what happens where rclone is missing, fails half-way, is slow, or is ended.

use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use backup_core::bundle::reader::ReadAt;
use backup_core::digest::Sha256Digest;
use backup_core::names::FileName;
use backup_core::store::{Published, Store};
use fixtures::Postgres;
use fixtures::s3::{BUCKET, KEYS, S3Server};
use system_tests::{Remote, StandIn, Workplace, describe};

const DIGEST: Sha256Digest = Sha256Digest([7; 32]);
/// More than the pipe to rclone holds.
const MUCH: usize = 3 << 20;

fn name() -> FileName {
    "orchestrator_backup_20261120T191500Z.tgz".parse().expect("a name")
}

fn much() -> Vec<u8> {
    (0..MUCH).map(|at| (at / 7) as u8).collect()
}

fn published(store: &dyn Store, bytes: &[u8]) -> backup_core::Result<Published> {
    let mut upload = store.begin(&name())?;
    upload.write_all(bytes).map_err(|cause| match cause.downcast::<backup_core::Error>() {
        Ok(error) => error,
        Err(cause) => backup_core::Error::new(backup_core::Kind::Failed, "write").because(cause),
    })?;
    upload.publish(&DIGEST)
}

/// What lies in a directory.
fn files(directory: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut names: Vec<String> = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

#[test]
fn a_run_that_fails_at_any_moment_leaves_a_whole_bundle_or_none() {
    let bytes = much();
    let mut failed = 0;
    for at in 1..=20 {
        let stand_in = StandIn::new(&format!(
            "[ $runs = {at} ] || exec rclone \"$@\"\necho 'Failed to go on: the stand-in fails here' >&2\nexit 5"
        ));
        let remote = Remote::local();
        let directory = remote.path("away");
        let store = remote.store_by(&directory, &stand_in.search_path(), None);
        let outcome = published(&store, &bytes);
        let (left, runs) = (files(&directory), stand_in.runs().len());
        let seen = remote.store(&directory);
        match outcome {
            Ok(published) => {
                let bundle = seen.open(&name()).expect("it is there");
                let mut content = vec![0; MUCH];
                bundle.read_at(0, &mut content).expect("read");
                assert!(content == bytes && bundle.length().expect("a length") == MUCH as u64, "run {at}");
                // The digest's file can be done without; that it is missing is said.
                assert_eq!(left.len(), if published.warnings.is_empty() { 2 } else { 1 }, "run {at}: {left:?}");
                if runs < at {
                    assert!(failed >= 5, "{failed} runs of rclone could fail");
                    return;
                }
            }
            Err(error) => {
                failed += 1;
                let said = error.chain().join(": ");
                assert!(said.contains("the stand-in fails here"), "run {at}: {said}");
                assert!(left.is_empty() || error.is_unsure(), "run {at}: {left:?}, {said}");
            }
        }
    }
    panic!("a bundle takes more runs than there were attempts");
}

#[test]
fn what_rclone_says_when_it_ends_amid_an_upload_is_the_cause() {
    let stand_in = StandIn::new(
        "[ \"$1\" = rcat ] || exec rclone \"$@\"\nhead -c 200000 >/dev/null\necho 'Failed to rcat: no room is left' >&2\nexit 7",
    );
    let remote = Remote::local();
    let error = published(&remote.store_by(&remote.path("away"), &stand_in.search_path(), None), &much());
    let error = error.expect_err("the upload ended");
    assert!(error.chain().join(": ").contains("Failed to rcat: no room is left"), "{error:?}");
    assert!(remote.store(&remote.path("away")).list().expect("listed").is_empty());
}

#[test]
fn a_remote_that_takes_nothing_is_given_up_after_the_time_of_the_settings() {
    let stand_in = StandIn::new("[ \"$1\" = rcat ] || exec rclone \"$@\"\nexec sleep 600");
    let remote = Remote::local();
    let error = published(&remote.store_by(&remote.path("away"), &stand_in.search_path(), Some(1)), &much());
    let error = error.expect_err("nothing is taken");
    assert!(error.chain().join(": ").contains("rclone took nothing for 1 s"), "{error:?}");
}

#[test]
fn a_bundle_is_opened_by_two_runs_and_read_by_few_and_none_is_told_a_secret() {
    let (server, stand_in) = (S3Server::start(), StandIn::new("exec rclone \"$@\""));
    let remote = Remote::s3(&server);
    let store = remote.store_by(&format!("{BUCKET}/x"), &stand_in.search_path(), None);
    store.check(0).expect("it can be written");
    let checked = stand_in.runs();
    assert!(checked.len() <= 10, "{checked:#?}");
    published(&store, &much()).expect("published");
    let sent = stand_in.runs();
    assert!(sent.len() <= 8, "{sent:#?}");
    let bundle = store.open(&name()).expect("opened");
    let read = |from: usize, length: usize| bundle.read_at(from as u64, &mut vec![0; length]).expect("read");
    for at in (MUCH - (200 << 10)..MUCH).step_by(10 << 10).rev() {
        read(at, 100);
    }
    let opened = stand_in.runs();
    assert_eq!(opened.len(), 2, "{opened:#?}");
    (0..MUCH - (300 << 10)).step_by(64 << 10).for_each(|at| read(at, 64 << 10));
    let streamed = stand_in.runs();
    assert_eq!(streamed.len(), 1, "{streamed:#?}");
    for run in [checked, sent, opened, streamed].concat() {
        assert!(!run.contains(KEYS.0) && !run.contains(KEYS.1), "{run}");
    }
}

#[test]
fn an_upload_in_parts_that_is_given_up_leaves_no_parts_at_the_server() {
    let server = S3Server::start();
    let remote = Remote::s3(&server);
    let store = remote.store(&format!("{BUCKET}/x"));
    let mut upload = store.begin(&name()).expect("begun");
    // Parts of rclone have 5 MiB.
    let bytes = vec![7; 12 << 20];
    upload.write_all(&bytes).expect("written");
    let place = server.objects();
    let place = place.parent().expect("a place");
    let is_whole =
        |name: &String| name.contains(".part-") && place.join(name).metadata().is_ok_and(|part| part.len() == 5 << 20);
    // What is still on its way when an upload is given up may stay at any server.
    while server.files().iter().filter(|name| is_whole(name)).count() < 2 {
        fixtures::pause();
    }
    drop(upload);
    assert!(!server.files().iter().any(|file| file.contains("part")), "{:?}", server.files());
    published(&store, &bytes).expect("published");
    assert_eq!(store.list().expect("listed")[0].length, bytes.len() as u64);
}

/// A remote with a bundle, and a place from which it is reached.
struct Site {
    remote: Remote,
    place: Workplace,
    server: Postgres,
}

impl Site {
    fn new(rows: u32) -> Self {
        let (remote, server) = (Remote::local(), Postgres::start());
        server.load_sample(rows);
        server.sql("orchestrator", "CREATE TABLE noise AS SELECT md5(i::text) FROM generate_series(1, 200000) AS i");
        let place = remote.at_home();
        let address = remote.address(&remote.path("away"));
        let settings = "cluster_conf = 'cluster.conf'\nrelease.version = '2.6.3'\n";
        place.write("o.toml", format!("{settings}[[stores]]\naddress = '{address}'\n"));
        Self { remote, place, server }
    }

    fn command(&self, line: &str) -> Command {
        let mut command = self.place.cli(&line.split(' ').collect::<Vec<_>>());
        command.args(["--config", "o.toml"]).envs(self.server.variables());
        command
    }

    fn run(&self, line: &str) -> Output {
        self.command(line).output().expect("it runs")
    }

    fn done(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(matches!(output.status.code(), Some(0 | 3)), "{line}: {}", describe(&output));
        describe(&output)
    }

    fn files(&self) -> Vec<String> {
        files(&self.remote.path("away"))
    }
}

#[test]
fn a_backup_that_is_killed_shows_nowhere_and_what_it_left_is_found_and_deleted() {
    let site = Site::new(1000);
    let mut killed = site.command("backup --limit-rate 1M");
    let mut killed = killed.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
    let away = site.remote.path("away");
    let is_long = |name: &String| {
        name.contains("Z.tgz.") && Path::new(&away).join(name).metadata().is_ok_and(|file| file.len() > 1 << 18)
    };
    while !site.files().iter().any(is_long) {
        assert!(killed.try_wait().expect("a state").is_none(), "it was over too soon");
        fixtures::pause();
    }
    killed.kill().expect("killed");
    assert_eq!(killed.wait().expect("it ends").signal(), Some(9), "it was over too soon");
    let listed = site.run("list");
    assert!(String::from_utf8_lossy(&listed.stdout).starts_with("no bundles"), "{}", describe(&listed));
    let deleted = site.done("cleanup --older-than 0 --yes");
    assert_eq!(deleted.matches("deleted ").count(), 1, "{deleted}");
    site.done("backup");
    let cleaned = site.done("cleanup --older-than 0");
    assert!(cleaned.contains("nothing was left"), "{cleaned}");
    assert_eq!(site.files().len(), 2, "{:?}", site.files());
}

#[test]
fn damage_is_called_damage() {
    let site = Site::new(1000);
    site.done("backup");
    let bundle = site.files().into_iter().find(|name| name.ends_with(".tgz")).expect("a bundle");
    let path = site.remote.path(&format!("away/{bundle}"));
    let address = format!("{}/{bundle}", site.remote.address(&site.remote.path("away")));
    let shown = site.place.cli(&["show", &address]).output().expect("it runs");
    assert!(
        describe(&shown).contains(&format!("rclone copy 'my vault:{path}' . && tar xzf {bundle}")),
        "{}",
        describe(&shown)
    );
    let mut bytes = fs::read(&path).expect("a bundle");
    let half = bytes.len() / 2;
    bytes[half] ^= 1;
    fs::write(&path, bytes).expect("written");
    let verified = site.place.cli(&["verify", &address]).output().expect("it runs");
    assert_eq!(verified.status.code(), Some(12), "{}", describe(&verified));
}

#[test]
fn where_rclone_is_missing_or_knows_no_such_remote_it_is_said_what_to_do() {
    let place = Workplace::default();
    let said = |search: &str, address: &str| {
        let output = place.cli(&["list", address]).env("PATH", search).output().expect("it runs");
        assert!(!output.status.success(), "{}", describe(&output));
        describe(&output)
    };
    let missing = said("/nowhere", "rclone:vault:x");
    assert!(missing.contains("rclone is not installed") && missing.contains("apt-get install rclone"), "{missing}");
    let search = std::env::var("PATH").expect("a search path");
    let unknown = said(&search, "rclone:my vault:x");
    assert!(unknown.contains("didn't find section in config file"), "{unknown}");
    assert!(unknown.contains("rclone lsd 'my vault:'"), "{unknown}");
    let slip = said(&search, "rclone::s3,secret_access_key=hunter2:bucket");
    assert!(!slip.contains("hunter2") && slip.contains("rclone config create"), "{slip}");
}
