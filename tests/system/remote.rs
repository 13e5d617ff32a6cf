//! Every command takes the address of a bundle, or of a store, where it takes a file or a directory.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use fixtures::s3::{BUCKET, Fault, KEYS, Operation, S3Server, Trouble};
use fixtures::{Postgres, Sshd};
use system_tests::{Workplace, assert_same, describe};

/// The command with what it needs to reach the server.
fn cli(place: &Workplace, s3: &S3Server, arguments: &[&str]) -> Command {
    let mut command = place.cli(arguments);
    command.envs(s3.environment());
    command
}

fn done(command: &mut Command) -> Output {
    let output = command.output().expect("it runs");
    // With a warning, where a bundle leaves the machine unencrypted.
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}", describe(&output));
    output
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

/// Backs up to an address and returns that of the bundle.
fn backed_up(place: &Workplace, server: &Postgres, s3: &S3Server, address: &str) -> String {
    let backup = ["backup", "--config", "cluster.conf", "--release", "2.6.3", "--to", address];
    let output = done(cli(place, s3, &backup).envs(server.variables()));
    text(&output).lines().next().expect("a line").to_owned()
}

#[test]
fn a_bundle_in_s3_is_listed_shown_verified_extracted_compared_and_restored() {
    let (server, s3, place) = (Postgres::start(), S3Server::start(), Workplace::default());
    server.load_sample(3000);
    let store = format!("s3://{BUCKET}/some/where");
    let bundle = backed_up(&place, &server, &s3, &store);
    assert!(bundle.starts_with(&format!("{store}/orchestrator_backup_")), "{bundle}");
    let listed = text(&done(&mut cli(&place, &s3, &["list", &store])));
    assert!(listed.contains("example") && listed.contains("orchestrator"), "{listed}");
    assert!(text(&done(&mut cli(&place, &s3, &["show", &bundle]))).contains("cluster.machines"));
    assert!(text(&done(&mut cli(&place, &s3, &["verify", &bundle]))).contains("every byte is as it was written"));
    done(&mut cli(&place, &s3, &["extract", &bundle, "cluster.conf", "--to", "out"]));
    let directory = bundle.rsplit('/').next().and_then(|name| name.strip_suffix(".tgz")).expect("a name");
    let extracted = fs::read(place.path("out").join(directory).join("cluster.conf")).expect("extracted");
    assert_eq!(extracted, fs::read(place.path("cluster.conf")).expect("a cluster.conf"));
    let diff = cli(&place, &s3, &["diff", &bundle, "--config", "cluster.conf"]).envs(server.variables()).output();
    assert!(diff.expect("it runs").status.success());
    let target = Postgres::start();
    let restore =
        place.restore(&target, &["--release", "2.6.3", "--yes", "--file", &bundle]).envs(s3.environment()).output();
    let restore = restore.expect("it runs");
    // With a warning, for no password is in the bundle.
    assert_eq!(restore.status.code(), Some(3), "{}", describe(&restore));
    assert_same(&server, &target, "orchestrator");
    let drill = cli(&place, &s3, &["drill", &bundle]).env("PATH", server.path()).output().expect("it runs");
    assert!(drill.status.success(), "{}", describe(&drill));
    let listed = text(&done(&mut cli(&place, &s3, &["list", &store])));
    assert!(!listed.contains("never"), "the drill is not listed: {listed}");
    let digest = fs::read_to_string(s3.objects().join(format!("some/where/{directory}.tgz.sha256"))).expect("a digest");
    assert!(digest.ends_with(&format!("  {directory}.tgz\n")), "{digest}");
}

#[test]
fn the_bucket_of_cluster_conf_gets_every_bundle_that_goes_nowhere_else() {
    let (server, s3, place) = (Postgres::start(), S3Server::start(), Workplace::default());
    server.load_sample(10);
    let section = |endpoint: &str, bucket: &str| {
        let (access, secret) = KEYS;
        format!(
            "chef: {{ continuum: {{ cluster_name: example, database_backups: {{ access_key: \"{access}\", secret_key: \
             \"{secret}\", endpoint: \"{endpoint}\", bucket: \"{bucket}\" }} }} }}\n"
        )
    };
    place.write("cluster.conf", section(&s3.url(), BUCKET));
    let settings = "cluster_conf = 'cluster.conf'\n[[stores]]\npath = 'bundles'\n";
    place.write("settings.toml", settings);
    let backup = |settings: &str| {
        let mut command = place.cli(&["backup", "--config", settings, "--release", "2.6.3"]);
        command.envs(server.variables()).output().expect("it runs")
    };
    let output = backup("settings.toml");
    assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
    assert!(!describe(&output).contains(KEYS.1), "the secret key is printed");
    assert_eq!(place.bundles().len(), 1);
    let listed = done(&mut place.cli(&["list", "--config", "cluster.conf", &format!("s3://{BUCKET}")]));
    assert!(text(&listed).contains("example"), "{}", describe(&listed));
    let both = done(&mut place.cli(&["list", "--config", "settings.toml", "--json"]));
    assert_eq!(text(&both).matches("\"name\":").count(), 2, "{}", describe(&both));
    place.write("cluster.conf", section("", ""));
    place.bundles().iter().for_each(|bundle| fs::remove_file(bundle).expect("removed"));
    let output = backup("settings.toml");
    assert!(output.status.success(), "{}", describe(&output));
    assert_eq!(place.bundles().len(), 1);
    assert_eq!(s3.files().iter().filter(|file| file.ends_with(".tgz")).count(), 1);
}

/// One whose bundle has some 15 MiB.
fn server_with_much() -> Postgres {
    let server = Postgres::start();
    server.load_sample(100);
    server
        .sql("orchestrator", "CREATE TABLE public.much AS SELECT md5(i::text) AS t FROM generate_series(1, 800000) i");
    server
}

#[test]
fn to_show_or_to_extract_a_little_takes_few_requests_and_few_bytes() {
    let (server, s3, place) = (server_with_much(), S3Server::start(), Workplace::default());
    let bundle = backed_up(&place, &server, &s3, &format!("s3://{BUCKET}"));
    for command in [&["show"][..], &["extract", "--to", "out", "cluster.conf"]] {
        s3.asked();
        let mut arguments = command.to_vec();
        arguments.insert(1, &bundle);
        done(&mut cli(&place, &s3, &arguments));
        let (asked, given) = s3.asked();
        assert!(asked.len() <= 3 && given < 1 << 20, "{command:?}: {asked:?}, {given} bytes");
        assert!(asked.iter().all(|operation| *operation == Operation::GetObject), "{asked:?}");
    }
}

#[test]
fn a_backup_that_is_killed_shows_nowhere_and_what_it_left_is_found_and_deleted() {
    let server = server_with_much();
    let (s3, sshd, place) = (S3Server::start(), Sshd::start(), Workplace::default());
    let settings = |address: &str| {
        format!(
            "cluster_conf = 'cluster.conf'\n[release]\nversion = '1'\n[[stores]]\naddress = '{address}'\n\
             {}",
            if address.starts_with("sftp") {
                format!(
                    "sftp.identity_file = '{}'\nsftp.known_hosts = '{}'\n",
                    sshd.identity().display(),
                    sshd.known_hosts().display()
                )
            } else {
                String::new()
            }
        )
    };
    let far = place.path("far");
    let parts: [(String, &dyn Fn() -> bool); 2] = [
        (format!("s3://{BUCKET}/x"), &|| is_long(s3.objects().parent().expect("a place"))),
        (sshd.address(&far), &|| is_long(&far)),
    ];
    for (address, has_begun) in parts {
        place.write("settings.toml", settings(&address));
        let run = |arguments: &[&str]| {
            let mut command = cli(&place, &s3, arguments);
            command.args(["--config", "settings.toml"]).envs(server.variables());
            command
        };
        let mut killed = run(&["backup", "--limit-rate", "4M"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it runs");
        while !has_begun() {
            assert!(killed.try_wait().expect("a state").is_none(), "{address}: it was over too soon");
            fixtures::pause();
        }
        killed.kill().expect("killed");
        assert_eq!(killed.wait().expect("it ends").signal(), Some(9), "{address}: it was over too soon");
        assert!(text(&done(&mut run(&["list"]))).starts_with("no bundles") || !far.exists(), "{address}");
        done(&mut run(&["backup"]));
        assert_eq!(text(&done(&mut run(&["list"]))).lines().count(), 2, "{address}");
        let asked = run(&["cleanup", "--older-than", "0"]).output().expect("it runs");
        assert_eq!(asked.status.code(), Some(13), "{address}: {}", describe(&asked));
        let deleted = text(&done(&mut run(&["cleanup", "--older-than", "0", "--yes"])));
        assert_eq!(deleted.matches("deleted ").count(), 1, "{address}: {deleted}");
        assert!(text(&done(&mut run(&["cleanup", "--older-than", "0"]))).starts_with("nothing was left"));
        assert_eq!(text(&done(&mut run(&["list"]))).lines().count(), 2, "{address}");
    }
    assert!(!s3.files().iter().any(|file| file.contains(".part-")), "{:?}", s3.files());
}

/// Whether more than a MiB of something lies in a directory.
fn is_long(directory: &Path) -> bool {
    let Ok(entries) = fs::read_dir(directory) else { return false };
    entries.flatten().any(|entry| entry.metadata().is_ok_and(|metadata| metadata.len() > 1 << 20))
}

#[test]
fn bytes_that_changed_on_their_way_are_called_damage() {
    let (server, s3, place) = (Postgres::start(), S3Server::start(), Workplace::default());
    server.load_sample(20_000);
    let bundle = backed_up(&place, &server, &s3, &format!("s3://{BUCKET}"));
    s3.misbehave([Fault { on: Operation::GetObject, times: usize::MAX, trouble: Trouble::WrongBytes }]);
    let output = cli(&place, &s3, &["verify", &bundle]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(12), "{}", describe(&output));
}

#[test]
fn one_store_that_fails_does_not_hold_up_the_others() {
    let (server, s3, place) = (Postgres::start(), S3Server::start(), Workplace::default());
    server.load_sample(20_000);
    let bucket = format!("s3://{BUCKET}");
    let refuse = |on| Fault { on, times: usize::MAX, trouble: Trouble::Status(403, "AccessDenied", None) };
    for on in [Operation::CreateUpload, Operation::UploadPart, Operation::CompleteUpload] {
        s3.misbehave([refuse(on)]);
        let _ = fs::remove_dir_all(place.path("bundles"));
        let both = place.backup(&server, &["--to", &bucket]).envs(s3.environment()).output().expect("it runs");
        let all = describe(&both);
        assert!(
            both.status.code() == Some(3) && all.contains(&bucket) && all.contains("s3:PutObject"),
            "{on:?}: {all}"
        );
        assert_eq!(place.bundles().len(), 1, "{on:?}: {all}");
        let mut alone = cli(&place, &s3, &["backup", "--config", "cluster.conf", "--release", "1", "--to", &bucket]);
        let alone = alone.envs(server.variables()).output().expect("it runs");
        let all = describe(&alone);
        assert!(
            alone.status.code() == Some(1) && all.contains("let these credentials do s3:PutObject"),
            "{on:?}: {all}"
        );
    }
}

#[test]
fn a_bundle_that_was_listed_before_is_not_opened_again() {
    let (server, s3, place) = (Postgres::start(), S3Server::start(), Workplace::default());
    server.load_sample(10);
    let store = format!("s3://{BUCKET}");
    backed_up(&place, &server, &s3, &store);
    let listed = |expected: bool| {
        s3.asked();
        let text = text(&done(&mut cli(&place, &s3, &["list", &store, "--json"])));
        assert_eq!(s3.asked().0.contains(&Operation::GetObject), expected, "{text}");
        text
    };
    assert_eq!(listed(true), listed(false));
    // What is kept is for its owner alone, and a cache that is damaged is none.
    let cache = fs::read_dir(place.path(".cache/orchestrator-cli/catalog")).expect("a cache").flatten().next();
    let cache = cache.expect("a file").path();
    assert_eq!(fs::metadata(&cache).expect("a file").permissions().mode() & 0o777, 0o600);
    fs::write(&cache, "torn").expect("written");
    assert!(listed(true).contains("example"));
}

#[test]
fn a_server_whom_nobody_trusts_is_refused_until_its_authority_is_named() {
    let (s3, place) = (S3Server::with_tls(), Workplace::default());
    let address = format!("s3://{BUCKET}");
    let refused = cli(&place, &s3, &["list", &address]).output().expect("it runs");
    let all = describe(&refused);
    assert!(refused.status.code() == Some(1) && all.contains("AWS_CA_BUNDLE"), "{all}");
    let mut trusting = cli(&place, &s3, &["list", &address]);
    done(trusting.env("AWS_CA_BUNDLE", s3.authority()));
    let settings = format!(
        "cluster_conf = 'cluster.conf'\n[[stores]]\naddress = '{address}'\ns3.ca_file = '{}'\n",
        s3.authority().display()
    );
    place.write("settings.toml", settings);
    done(&mut cli(&place, &s3, &["list", "--config", "settings.toml"]));
    // A file that holds no certificate is an error, and never a reason to trust less, or more.
    let wrong = cli(&place, &s3, &["list", &address]).env("AWS_CA_BUNDLE", place.path("cluster.conf")).output();
    assert_eq!(wrong.expect("it runs").status.code(), Some(2));
}

#[test]
fn a_proxy_of_the_environment_is_used() {
    let (s3, place) = (S3Server::start(), Workplace::default());
    let address = format!("s3://{BUCKET}");
    // Whoever asks a proxy for a server gives it the whole URL, which this one understands.
    let mut behind = cli(&place, &s3, &["list", &address]);
    behind.env("AWS_ENDPOINT_URL", "http://far-away.invalid").env("HTTP_PROXY", s3.url());
    done(&mut behind);
}
