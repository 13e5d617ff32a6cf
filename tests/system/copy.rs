//! `copy` brings a bundle to other stores, whole and proved, or not at all.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use fixtures::s3::{BUCKET, Fault, Operation, S3Server, Trouble};
use fixtures::{Postgres, Sshd};
use serde_json::Value;
use system_tests::{Workplace, another_second, at_home, describe, names};

/// A server whose bundles are small.
fn small_server() -> Postgres {
    let server = Postgres::start();
    server.load_sample(300);
    server
}

fn run(place: &Workplace, arguments: &[&str]) -> Output {
    place.cli(arguments).output().expect("it runs")
}

fn copy(place: &Workplace, bundle: &Path, more: &[&str]) -> Output {
    place.cli(&["copy"]).arg(bundle).args(more).output().expect("it runs")
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", describe(output)))
}

fn assert_code(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", describe(output));
}

fn name(bundle: &Path) -> String {
    bundle.file_name().expect("a name").to_string_lossy().into_owned()
}

/// A key in a file, and its recipient.
fn key(place: &Workplace, file: &str) -> String {
    let made = run(place, &["key", "generate", file]);
    String::from_utf8(made.stdout).expect("UTF-8").trim().to_owned()
}

/// An encrypted bundle in `bundles`.
fn encrypted(place: &Workplace, server: &Postgres) -> PathBuf {
    let recipient = key(place, "key");
    assert_code(&place.backup(server, &["--recipient", &recipient]).output().expect("it runs"), 0);
    let found = names(&place.path("bundles")).into_iter().find(|file| file.ends_with(".tgz.age"));
    place.path("bundles").join(found.expect("an encrypted bundle"))
}

/// The files of a directory but the lock.
fn files(place: &Workplace, directory: &str) -> Vec<String> {
    if !place.path(directory).exists() {
        return Vec::new();
    }
    names(&place.path(directory)).into_iter().filter(|file| file != ".orchestrator-cli.lock").collect()
}

#[test]
fn a_copy_is_the_bundle_byte_for_byte_in_every_kind_of_store_and_back() {
    let (server, s3, sshd) = (small_server(), S3Server::start(), Sshd::start());
    let place = at_home(&sshd);
    let bundle = place.make_bundle(&server);
    let (bucket, away) = (format!("s3://{BUCKET}/vault"), sshd.address(&place.path("away")));
    let with_s3 = |bundle: &str, more: &[&str]| {
        let mut command = place.cli(&[&["copy", bundle], more].concat());
        command.envs(s3.environment()).output().expect("it runs")
    };
    let shown = bundle.display().to_string();
    let output = with_s3(&shown, &["disk", &bucket, &away, "--json"]);
    assert_code(&output, 0);
    let file = name(&bundle);
    let result = &json(&output)["result"];
    let at = |place: &str| format!("{place}/{file}");
    assert_eq!(result["published"], serde_json::json!([at("disk"), at(&bucket), at(&away)]));
    assert_eq!((&result["origin"], &result["file"]), (&"made-here".into(), &file.as_str().into()));
    let whole = fs::read(&bundle).expect("read");
    let digest = fs::read(format!("{}.sha256", bundle.display())).expect("a digest");
    for directory in [place.path("disk"), s3.objects().join("vault"), place.path("away")] {
        assert!(fs::read(directory.join(&file)).expect("a copy") == whole, "{}", directory.display());
        assert_eq!(fs::read(directory.join(format!("{file}.sha256"))).expect("a digest"), digest);
    }
    // A copy is a source as well as any bundle.
    for (from, to) in [(at(&bucket), "from-s3"), (at(&away), "from-sftp"), (at("disk"), "from-disk")] {
        assert_code(&with_s3(&from, &[to]), 0);
        assert!(fs::read(place.path(to).join(&file)).expect("a copy") == whole, "{from}");
    }
    let verified = place.cli(&["verify", "--all", "disk", &bucket, &away]).envs(s3.environment()).output();
    assert_code(&verified.expect("it runs"), 0);
}

#[test]
fn a_damaged_bundle_is_published_nowhere() {
    let (server, place) = (small_server(), Workplace::default());
    let plain = place.make_bundle(&server);
    another_second();
    let sealed = encrypted(&place, &server);
    for (bundle, identity) in [(&plain, &[][..]), (&sealed, &["--identity", "key"]), (&sealed, &[])] {
        let whole = fs::read(bundle).expect("read");
        let length = whole.len();
        let ends = [0, 1, 20, 600, length - 700, length - 200, length - 122, length - 100, length - 11, length - 1];
        let within = (1..12).map(|part| length / 12 * part);
        let flipped = ends.into_iter().chain(within).map(|at| {
            let mut bent = whole.clone();
            bent[at] ^= 1;
            (format!("byte {at} of {length}"), bent)
        });
        let others = [
            ("cut by a byte", whole[..length - 1].to_vec()),
            ("cut in half", whole[..length / 2].to_vec()),
            ("longer by a byte", [&whole[..], b"x"].concat()),
            ("longer by itself", [&whole[..], &whole].concat()),
            ("empty", Vec::new()),
        ];
        for (what, bytes) in flipped.chain(others.map(|(what, bytes)| (what.to_owned(), bytes))) {
            fs::write(bundle, &bytes).expect("written");
            let output = copy(&place, bundle, &[&["one", "two"], identity].concat());
            let what = format!("{} with {identity:?}: {what}", bundle.display());
            assert_eq!(output.status.code(), Some(12), "{what}: {}", describe(&output));
            assert!(files(&place, "one").is_empty() && files(&place, "two").is_empty(), "{what}: something is there");
        }
        fs::write(bundle, &whole).expect("written");
    }
}

#[test]
fn bytes_that_change_on_their_way_are_published_nowhere() {
    let (server, s3, place) = (Postgres::start(), S3Server::start(), Workplace::default());
    server.load_sample(20_000);
    let bundle = place.make_bundle(&server);
    let address = format!("s3://{BUCKET}");
    let far = |arguments: &[&str]| place.cli(arguments).envs(s3.environment()).output().expect("it runs");
    assert_code(&far(&["copy", &bundle.display().to_string(), &address]), 0);
    s3.misbehave([Fault { on: Operation::GetObject, times: usize::MAX, trouble: Trouble::WrongBytes }]);
    assert_code(&far(&["copy", &format!("{address}/{}", name(&bundle)), "here"]), 12);
    assert!(files(&place, "here").is_empty());
}

#[test]
fn a_bundle_that_is_there_is_said_and_another_one_is_never_overwritten() {
    let (server, place) = (small_server(), Workplace::default());
    let bundle = place.make_bundle(&server);
    assert_code(&copy(&place, &bundle, &["vault"]), 0);
    let again = copy(&place, &bundle, &["vault"]);
    assert_code(&again, 0);
    let said = format!("vault: has {} already, with the same digest", name(&bundle));
    assert!(describe(&again).contains(&said), "{}", describe(&again));
    // A store that lacks it gets it, and it is the same store however it is written.
    let both = copy(&place, &bundle, &["vault", "./vault", "second", "--json"]);
    assert_code(&both, 0);
    let result = &json(&both)["result"];
    assert_eq!((&result["there"], &result["failed"]), (&serde_json::json!(["vault"]), &serde_json::json!([])));
    assert_eq!(result["published"], serde_json::json!([format!("second/{}", name(&bundle))]));
    // Into its own store nothing is to be copied.
    assert_code(&copy(&place, &bundle, &["bundles"]), 0);
    another_second();
    let other = fs::read(place.make_bundle(&server)).expect("another bundle");
    let truncated = fs::read(&bundle).expect("read")[..1000].to_vec();
    for (what, content) in [("another bundle", other), ("half of it", truncated), ("nothing", Vec::new())] {
        let there = place.path("vault").join(name(&bundle));
        fs::write(&there, &content).expect("written");
        let refused = copy(&place, &bundle, &["vault"]);
        assert_eq!(refused.status.code(), Some(13), "{what}: {}", describe(&refused));
        assert!(describe(&refused).contains("bundles are never overwritten"), "{}", describe(&refused));
        assert!(fs::read(&there).expect("read") == content, "{what} was overwritten");
        // The other destinations have it, so it is a warning there.
        let output = copy(&place, &bundle, &["vault", "second", "--json"]);
        assert_code(&output, 3);
        assert_eq!(json(&output)["result"]["failed"].as_array().map(Vec::len), Some(1));
    }
}

#[test]
fn a_destination_that_fails_keeps_the_bundle_from_no_other_one() {
    let (server, s3, place) = (small_server(), S3Server::start(), Workplace::default());
    let bundle = place.make_bundle(&server);
    let shown = bundle.display().to_string();
    let address = format!("s3://{BUCKET}/x");
    let far = |more: &[&str]| {
        place.cli(&[&["copy", &shown], more].concat()).envs(s3.environment()).output().expect("it runs")
    };
    s3.misbehave([Fault {
        on: Operation::UploadPart,
        times: usize::MAX,
        trouble: Trouble::Status(403, "AccessDenied", None),
    }]);
    place.write("file", "x");
    let output = far(&["file", "one", &address, "no/such/path", "two", "--json"]);
    assert_code(&output, 3);
    let result = &json(&output)["result"];
    let published = ["one", "two"].map(|to| format!("{to}/{}", name(&bundle)));
    assert_eq!(result["published"], serde_json::json!(published));
    assert_eq!(result["failed"].as_array().map(Vec::len), Some(3), "{result}");
    assert!(!s3.files().iter().any(|file| file.ends_with(".tgz")), "{:?}", s3.files());
    // If none gets it, the copy has failed.
    assert_code(&far(&["no/such/path"]), 1);
    assert_code(&far(&[&address, "file"]), 1);
    // A store that somebody writes into is locked, and no other one is.
    let lock = fs::File::options().write(true).open(place.path("one/.orchestrator-cli.lock")).expect("a lock");
    lock.lock().expect("locked");
    another_second();
    let second = place.make_bundle(&server);
    assert_code(&copy(&place, &second, &["one"]), 11);
    assert_code(&copy(&place, &second, &["one", "two"]), 3);
    drop(lock);
    assert_code(&copy(&place, &second, &["one", "two"]), 0);
}

#[test]
fn an_encrypted_bundle_is_proved_inside_or_by_the_digest_beside_it() {
    let (server, place) = (small_server(), Workplace::default());
    let bundle = encrypted(&place, &server);
    let whole = fs::read(&bundle).expect("read");
    let with = copy(&place, &bundle, &["with", "--identity", "key"]);
    assert_code(&with, 0);
    assert!(describe(&with).contains("every byte is as it was written, by this machine"), "{}", describe(&with));
    let without = copy(&place, &bundle, &["without"]);
    assert_code(&without, 0);
    assert!(describe(&without).contains("compared with the digest in .sha256 alone"), "{}", describe(&without));
    // An identity that does not fit proves no more than none.
    key(&place, "other");
    assert_code(&copy(&place, &bundle, &["other-key", "--identity", "other"]), 0);
    for to in ["with", "without", "other-key"] {
        assert!(fs::read(place.path(to).join(name(&bundle))).expect("a copy") == whole, "{to}");
        assert_code(&run(&place, &["verify", &format!("{to}/{}", name(&bundle)), "--identity", "key"]), 0);
        for more in [&[][..], &["--identity", "key"]] {
            assert_code(&copy(&place, &bundle, &[&[to], more].concat()), 0);
        }
    }
    // Without a digest nothing proves it.
    fs::remove_file(format!("{}.sha256", bundle.display())).expect("removed");
    let refused = copy(&place, &bundle, &["unproved"]);
    assert_code(&refused, 13);
    assert!(describe(&refused).contains("--identity"), "{}", describe(&refused));
    assert!(files(&place, "unproved").is_empty());
    assert_code(&copy(&place, &bundle, &["unproved", "--identity", "key"]), 0);
}

#[test]
fn signature_and_drill_go_with_the_bundle() {
    let (server, place) = (small_server(), Workplace::default());
    let made = run(&place, &["key", "generate", "--signing", "signing.key"]);
    let public = String::from_utf8(made.stdout).expect("UTF-8").trim().to_owned();
    let signing = format!("[signing]\nkey = 'signing.key'\n[signing.trusted]\nops = '{public}'\n");
    place.write(
        "o.toml",
        format!("cluster_conf = 'cluster.conf'\nrelease.version = '1'\n[[stores]]\npath = 'bundles'\n{signing}"),
    );
    let mut backup = place.cli(&["backup", "-c", "o.toml"]);
    assert_code(&backup.envs(server.variables()).output().expect("it runs"), 0);
    let bundle = place.bundles().pop().expect("a bundle");
    let copied = copy(&place, &bundle, &["vault", "-c", "o.toml"]);
    assert!(describe(&copied).contains("every byte is as it was written, signed by ops"), "{}", describe(&copied));
    let file = name(&bundle);
    let beside = |suffix: &str| fs::read(place.path("vault").join(format!("{file}{suffix}"))).ok();
    assert!(beside(".sig").is_some() && beside(".drill.json").is_none());
    // What came to lie beside it later goes along with the next copy; what is there stays.
    for suffix in [".drill.json", ".drill.json.sig"] {
        fs::write(format!("{}{suffix}", bundle.display()), suffix).expect("written");
    }
    assert_code(&copy(&place, &bundle, &["vault", "-c", "o.toml"]), 0);
    assert_eq!(beside(".drill.json.sig").as_deref(), Some(&b".drill.json.sig"[..]));
    fs::write(format!("{}.drill.json", bundle.display()), "another one").expect("written");
    assert_code(&copy(&place, &bundle, &["vault", "new", "-c", "o.toml"]), 0);
    assert_eq!(beside(".drill.json").as_deref(), Some(&b".drill.json"[..]));
    assert_eq!(fs::read(place.path("new").join(format!("{file}.drill.json"))).expect("a record"), b"another one");
}

#[test]
fn a_bundle_under_another_name_gets_its_own_name_back() {
    let (server, place) = (small_server(), Workplace::default());
    let bundle = place.make_bundle(&server);
    let renamed = place.path("monday.tgz");
    fs::rename(&bundle, &renamed).expect("renamed");
    let output = copy(&place, &renamed, &["vault"]);
    assert_code(&output, 0);
    assert!(describe(&output).contains("the file was renamed"), "{}", describe(&output));
    assert!(place.path("vault").join(name(&bundle)).is_file());
}

#[test]
fn a_digest_beside_a_sound_bundle_that_is_another_ones_is_a_warning() {
    let (server, place) = (small_server(), Workplace::default());
    let bundle = place.make_bundle(&server);
    let beside = format!("{}.sha256", bundle.display());
    let right = fs::read_to_string(&beside).expect("a digest");
    fs::write(&beside, format!("{}{}", "0".repeat(64), &right[64..])).expect("written");
    let output = copy(&place, &bundle, &["vault"]);
    assert_code(&output, 3);
    assert!(describe(&output).contains("the digest beside it is another one"), "{}", describe(&output));
    let own = fs::read_to_string(place.path("vault").join(format!("{}.sha256", name(&bundle)))).expect("a digest");
    assert_eq!(own, right);
}

#[test]
fn a_dry_run_says_what_would_be_copied_and_writes_nothing() {
    let (server, place) = (small_server(), Workplace::default());
    let bundle = place.make_bundle(&server);
    assert_code(&copy(&place, &bundle, &["vault"]), 0);
    let shown = bundle.display().to_string();
    let output = run(&place, &["copy", &shown, "vault", "new", "--dry-run"]);
    assert_code(&output, 0);
    let text = describe(&output);
    assert!(text.contains(&format!("new: would get {}", name(&bundle))) && text.contains("vault: has"), "{text}");
    assert!(
        text.contains(&format!("nothing was written; `orchestrator-cli copy {shown} vault new` does it")),
        "{text}"
    );
    assert!(!place.path("new").exists());
    let document = json(&run(&place, &["copy", &shown, "vault", "new", "--dry-run", "--json"]));
    assert_eq!(document["result"]["would_copy"], serde_json::json!(["new"]));
    assert_code(&run(&place, &["copy", &shown, "no/such/path", "--dry-run"]), 1);
    assert_code(&run(&place, &["copy", &shown]), 2);
    assert_code(&run(&place, &["copy", "bundles/missing.tgz", "vault"]), 10);
}

/// A copy that takes its time.
fn slow(place: &Workplace, s3: &S3Server, bundle: &Path, to: &str) -> Child {
    let mut command: Command = place.cli(&["copy"]);
    command.arg(bundle).args([to, "--limit-rate", "2M"]).envs(s3.environment());
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs")
}

#[test]
fn a_copy_that_is_interrupted_or_killed_shows_nowhere() {
    let server = Postgres::start();
    server.load_sample(100);
    server
        .sql("orchestrator", "CREATE TABLE public.much AS SELECT md5(i::text) AS t FROM generate_series(1, 800000) i");
    let (s3, sshd) = (S3Server::start(), Sshd::start());
    let place = at_home(&sshd);
    let bundle = place.make_bundle(&server);
    let long = |directory: PathBuf| {
        move || {
            let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
            entries.into_iter().any(|entry| entry.metadata().is_ok_and(|metadata| metadata.len() > 1 << 20))
        }
    };
    let away = place.path("away");
    let stores: [(String, Box<dyn Fn() -> bool>); 3] = [
        ("disk".into(), Box::new(long(place.path("disk")))),
        (sshd.address(&away), Box::new(long(away))),
        (format!("s3://{BUCKET}/x"), Box::new(long(s3.objects().parent().expect("a place").to_owned()))),
    ];
    for (to, has_begun) in &stores {
        for signal in [rustix::process::Signal::TERM, rustix::process::Signal::KILL] {
            let mut child = slow(&place, &s3, &bundle, to);
            while !has_begun() {
                assert!(child.try_wait().expect("a state").is_none(), "{to}: it was over too soon");
                fixtures::pause();
            }
            let pid = rustix::process::Pid::from_child(&child);
            rustix::process::kill_process(pid, signal).expect("a signal");
            let ended = child.wait().expect("it ends");
            let killed = signal == rustix::process::Signal::KILL;
            assert_eq!(
                (ended.code(), ended.signal()),
                if killed { (None, Some(9)) } else { (Some(130), None) },
                "{to}"
            );
            let listed = place.cli(&["list", to]).envs(s3.environment()).output().expect("it runs");
            assert!(String::from_utf8_lossy(&listed.stdout).starts_with("no bundles"), "{to}: {}", describe(&listed));
            if !killed {
                assert!(!has_begun(), "{to}: what was interrupted left something");
            }
        }
        let far = |arguments: &[&str]| place.cli(arguments).envs(s3.environment()).output().expect("it runs");
        let again = || far(&["copy", &bundle.display().to_string(), to]);
        if to.starts_with("sftp") {
            // There is no lock that tells whether somebody writes still.
            let refused = again();
            assert_code(&refused, 13);
            assert!(
                describe(&refused).contains("--older-than 0 --yes` deletes what was left"),
                "{}",
                describe(&refused)
            );
            assert_code(&far(&["cleanup", to, "--older-than", "0", "--yes"]), 0);
        }
        // What was killed is in nobody's way.
        assert_code(&again(), 0);
    }
}
