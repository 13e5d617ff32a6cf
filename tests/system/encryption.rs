//! Encrypted bundles: readable by whoever has an identity, with this tool or with age alone, and by nobody else.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use fixtures::Postgres;
use fixtures::s3::{BUCKET, S3Server};
use system_tests::{Workplace, assert_same, describe};

fn done(command: &mut Command) -> String {
    let output = command.output().expect("it runs");
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}", describe(&output));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// A key in `key`, and its recipient.
fn key(place: &Workplace) -> String {
    done(&mut place.cli(&["key", "generate", "key"])).trim().to_owned()
}

/// An SSH key in `name`, and its public half.
fn ssh_key(place: &Workplace, name: &str, kind: &str, passphrase: &str) -> String {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", kind, "-N", passphrase, "-C", "somebody@example", "-f"])
        .arg(place.path(name))
        .status();
    assert!(made.expect("ssh-keygen runs").success());
    fs::read_to_string(place.path(&format!("{name}.pub"))).expect("a public key").trim().to_owned()
}

/// The only bundle in `bundles`.
fn only_bundle(place: &Workplace) -> PathBuf {
    let mut entries = fs::read_dir(place.path("bundles")).expect("a directory").flatten().map(|entry| entry.path());
    entries.find(|path| path.extension().is_some_and(|ending| ending == "age")).expect("an encrypted bundle")
}

fn bundle_for(place: &Workplace, server: &Postgres, recipients: &[&str]) -> PathBuf {
    let arguments: Vec<&str> = recipients.iter().flat_map(|recipient| ["--recipient", recipient]).collect();
    done(&mut place.backup(server, &arguments));
    only_bundle(place)
}

#[test]
fn every_recipient_reads_the_bundle_and_nobody_else_does() {
    let server = Postgres::start();
    server.load_sample(100);
    let place = Workplace::default();
    let (own, ed25519) = (key(&place), ssh_key(&place, "ed25519", "ed25519", ""));
    ssh_key(&place, "rsa", "rsa", "");
    ssh_key(&place, "other", "ed25519", "");
    ssh_key(&place, "locked", "ed25519", "hunter2");
    let bundle = bundle_for(&place, &server, &[&own, &ed25519, "rsa.pub"]);
    let bundle = bundle.to_str().expect("UTF-8");
    for identity in ["key", "ed25519", "rsa"] {
        let shown = done(&mut place.cli(&["show", bundle, "--identity", identity]));
        assert!(shown.contains("cluster.machines"), "{identity}: {shown}");
    }
    let refused = |arguments: &[&str], code: i32, word: &str| {
        let output = place.cli(&[&["show", bundle], arguments].concat()).output().expect("it runs");
        assert!(output.status.code() == Some(code) && describe(&output).contains(word), "{}", describe(&output));
    };
    refused(&[], 13, "--identity");
    refused(&["--identity", "other"], 13, "not to an identity that is given");
    refused(&["--identity", "locked"], 2, "passphrase");
    refused(&["--identity", "cluster.conf"], 2, "holds no identity");
    refused(&["--identity", "missing"], 10, "missing");
}

#[test]
fn an_identity_that_others_can_read_is_warned_of() {
    let place = Workplace::default();
    key(&place);
    let said = |mode: u32| {
        fs::set_permissions(place.path("key"), fs::Permissions::from_mode(mode)).expect("a mode");
        fs::create_dir_all(place.path("bundles")).expect("a directory");
        describe(&place.cli(&["list", "bundles", "--identity", "key"]).output().expect("it runs"))
    };
    for (mode, open) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true), (0o602, true)] {
        let said = said(mode);
        assert_eq!(said.contains("reads all bundles") && said.contains("chmod go= key"), open, "{mode:o}: {said}");
    }
}

#[test]
fn without_an_identity_nothing_is_deleted_and_that_is_said() {
    let server = Postgres::start();
    let place = Workplace::default();
    let recipient = key(&place);
    let bundle = bundle_for(&place, &server, &[&recipient]);
    place
        .write("settings.toml", "cluster_conf = 'cluster.conf'\n[[stores]]\npath = 'bundles'\n[retention]\nlast = 1\n");
    let prune = |more: &[&str]| {
        let output = place.cli(&[&["prune", "-c", "settings.toml", "--yes"], more].concat()).output().expect("it runs");
        (output.status.code(), describe(&output))
    };
    let (code, text) = prune(&[]);
    assert!(code == Some(3) && text.contains("can't be opened here"), "{text}");
    assert!(bundle.exists());
    assert_eq!(prune(&["--identity", "key"]).0, Some(0));
}

#[test]
fn age_and_tar_alone_unpack_it() {
    let server = Postgres::start();
    server.load_sample(100);
    let place = Workplace::default();
    let recipient = key(&place);
    let bundle = bundle_for(&place, &server, &[&recipient]);
    let mut age = Command::new("age");
    age.args(["-d", "-i"]).arg(place.path("key")).arg(&bundle).stdout(Stdio::piped());
    let mut age = age.spawn().expect("age is installed");
    let tar =
        Command::new("tar").arg("xz").current_dir(place.path("")).stdin(age.stdout.take().expect("a pipe")).status();
    assert!(tar.expect("tar runs").success() && age.wait().expect("it ends").success());
    let directory = bundle.file_name().and_then(|name| name.to_str()?.strip_suffix(".tgz.age")).expect("a name");
    assert_eq!(fs::read(place.path(directory).join("cluster.conf")).ok(), fs::read(place.path("cluster.conf")).ok());
    let mut check = Command::new("sha256sum");
    check.args(["-c", "--quiet"]).arg(format!("{}.sha256", bundle.display())).current_dir(place.path("bundles"));
    done(&mut check);
}

/// A command with the settings that name the identity.
fn read(place: &Workplace, s3: &S3Server, arguments: &[&str]) -> Output {
    let mut command = place.cli(&[arguments, &["--config", "settings.toml"]].concat());
    command.envs(s3.environment()).output().expect("it runs")
}

#[test]
fn an_encrypted_bundle_far_away_is_read_with_few_requests_and_restored() {
    let (server, s3, place) = (Postgres::start(), S3Server::start(), Workplace::default());
    server.load_sample(100);
    // Far more than what may be read of it.
    server
        .sql("orchestrator", "CREATE TABLE public.much AS SELECT md5(i::text) AS t FROM generate_series(1, 300000) i");
    let recipient = key(&place);
    let settings = format!(
        "cluster_conf = 'cluster.conf'\n[encryption]\nrecipients = ['{recipient}']\nidentities = ['key']\n\
         [[stores]]\naddress = 's3://{BUCKET}/x'\n[release]\nversion = '2.6.3'\n"
    );
    place.write("settings.toml", settings);
    let mut backup = place.cli(&["backup", "--config", "settings.toml"]);
    let bundle = done(backup.envs(s3.environment()).envs(server.variables()));
    let bundle = bundle.lines().next().expect("a line");
    assert!(bundle.ends_with(".tgz.age"), "{bundle}");
    for command in [&["show", bundle][..], &["extract", bundle, "cluster.conf", "--to", "out"]] {
        s3.asked();
        let output = read(&place, &s3, command);
        assert!(output.status.success(), "{}", describe(&output));
        let (asked, given) = s3.asked();
        assert!(asked.len() <= 3 && given < 1 << 20, "{command:?}: {asked:?}, {given} bytes");
    }
    let listed = read(&place, &s3, &["list"]);
    assert!(describe(&listed).contains("example") && describe(&listed).contains("encrypted"), "{}", describe(&listed));
    let closed = place.cli(&["list", &format!("s3://{BUCKET}/x")]).envs(s3.environment()).output().expect("it runs");
    assert!(closed.status.success() && describe(&closed).contains("encrypted"), "{}", describe(&closed));
    let verified = read(&place, &s3, &["verify", bundle]);
    assert!(describe(&verified).contains("every byte is as it was written"), "{}", describe(&verified));
    let drill = place
        .cli(&["drill", bundle, "--config", "settings.toml"])
        .envs(s3.environment())
        .env("PATH", server.path())
        .output();
    let drill = drill.expect("it runs");
    assert!(drill.status.success(), "{}", describe(&drill));
    let target = Postgres::start();
    let restore = ["--config", "settings.toml", "--yes", "--only", "databases", "--file", bundle];
    let restore = place.restore(&target, &restore).envs(s3.environment()).output().expect("it runs");
    assert_eq!(restore.status.code(), Some(3), "{}", describe(&restore));
    assert_same(&server, &target, "orchestrator");
}

#[test]
fn a_bundle_that_leaves_the_machine_in_the_clear_is_warned_of() {
    let (server, s3, place) = (Postgres::start(), S3Server::start(), Workplace::default());
    let recipient = key(&place);
    let check = |arguments: &[&str]| {
        let address = format!("s3://{BUCKET}");
        let fixed = ["check", "--config", "cluster.conf", "--release", "1", "--to", &address];
        let mut command = place.cli(&[&fixed, arguments].concat());
        command.envs(s3.environment()).envs(server.variables()).output().expect("it runs")
    };
    assert!(describe(&check(&[])).contains("unencrypted"));
    let sealed = check(&["--recipient", &recipient]);
    assert!(!describe(&sealed).contains("unencrypted"), "{}", describe(&sealed));
    assert!(describe(&sealed).contains(&recipient), "who can read it is not said: {}", describe(&sealed));
}

#[test]
fn an_identity_is_for_its_owner_alone_and_never_overwritten() {
    use std::os::unix::fs::PermissionsExt;
    let place = Workplace::default();
    key(&place);
    let file: &Path = &place.path("key");
    assert_eq!(fs::metadata(file).expect("a file").permissions().mode() & 0o777, 0o600);
    let before = fs::read(file).expect("read");
    let again = place.cli(&["key", "generate", "key"]).output().expect("it runs");
    assert_eq!(again.status.code(), Some(13), "{}", describe(&again));
    assert_eq!(fs::read(file).expect("read"), before);
    let secret = String::from_utf8(before).expect("UTF-8");
    let secret = secret.lines().find(|line| line.starts_with("AGE-SECRET-KEY-")).expect("an identity");
    let wrong = place.cli(&["backup", "--recipient", secret, "--to", "bundles", "--config", "cluster.conf"]).output();
    let wrong = wrong.expect("it runs");
    assert!(wrong.status.code() == Some(2) && !describe(&wrong).contains(secret), "{}", describe(&wrong));
}

#[test]
fn damage_is_called_damage_and_named_by_entry() {
    let server = Postgres::start();
    server.load_sample(20_000);
    let place = Workplace::default();
    let recipient = key(&place);
    let bundle = bundle_for(&place, &server, &[&recipient]);
    let whole = fs::read(&bundle).expect("read");
    let verify = |bytes: &[u8]| {
        fs::write(&bundle, bytes).expect("written");
        place.cli(&["verify", "--identity", "key"]).arg(&bundle).output().expect("it runs")
    };
    for at in [whole.len() / 2, whole.len() / 3, whole.len() - 10, whole.len() - 70_000] {
        let mut bent = whole.clone();
        bent[at] ^= 1;
        let output = verify(&bent);
        assert_eq!(output.status.code(), Some(12), "byte {at}: {}", describe(&output));
    }
    let mut twice = whole.clone();
    [whole.len() / 2, whole.len() / 3].iter().for_each(|at| twice[*at] ^= 1);
    let output = verify(&twice);
    let named = String::from_utf8_lossy(&output.stdout).matches("databases/").count();
    assert!(named >= 2 && describe(&output).contains("DAMAGED"), "{}", describe(&output));
    for cut in [0, 10, 1000, whole.len() / 2, whole.len() - 1] {
        let output = verify(&whole[..cut]);
        assert_eq!(output.status.code(), Some(12), "cut at {cut}: {}", describe(&output));
    }
    assert_eq!(verify(&whole).status.code(), Some(0));
}

#[test]
fn an_identity_in_place_of_its_file_is_not_repeated() {
    let place = Workplace::default();
    key(&place);
    let secret = fs::read_to_string(place.path("key")).expect("read");
    let secret = secret.lines().find(|line| line.starts_with("AGE-SECRET-KEY-")).expect("an identity");
    place.write("bundle.tgz", "age-encryption.org/v1\n");
    for arguments in [&["show", "bundle.tgz", "--identity", secret][..], &["list", ".", "--identity", secret, "--json"]]
    {
        let output = place.cli(arguments).output().expect("it runs");
        assert!(!describe(&output).contains(secret), "{}", describe(&output));
    }
}
