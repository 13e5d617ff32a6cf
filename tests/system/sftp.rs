//! Bundles on another machine by SFTP, and a clear answer where it can't be reached or trusted.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use backup_core::store::Store;
use fixtures::{Postgres, SFTP_SERVERS, Sshd};
use system_tests::{Reached, Workplace, assert_same, at_home, binary, describe};

fn list(place: &Workplace, address: &str) -> Output {
    place.cli(&["list", address]).env_remove("SSH_AUTH_SOCK").output().expect("it runs")
}

fn assert_refused(output: &Output, code: i32, words: &[&str]) {
    let all = describe(output);
    assert_eq!(output.status.code(), Some(code), "{all}");
    assert!(words.iter().all(|word| all.contains(word)), "{words:?}: {all}");
}

#[test]
fn a_bundle_goes_there_and_comes_back() {
    let (server, sshd) = (Postgres::start(), Sshd::start());
    server.load_sample(3000);
    let place = at_home(&sshd);
    let address = sshd.address(&place.path("away"));
    let backup = place
        .cli(&["backup", "--config", "cluster.conf", "--release", "2.6.3", "--to", &address])
        .envs(server.variables())
        .output();
    let backup = backup.expect("it runs");
    // With a warning: it left the machine unencrypted.
    assert_eq!(backup.status.code(), Some(3), "{}", describe(&backup));
    let bundle = String::from_utf8_lossy(&backup.stdout).lines().next().expect("a line").to_owned();
    assert!(bundle.starts_with(&address), "{bundle}");
    assert!(describe(&list(&place, &address)).contains("example"));
    let verified = place.cli(&["verify", &bundle]).output().expect("it runs");
    assert!(verified.status.success(), "{}", describe(&verified));
    let target = Postgres::start();
    let restored =
        place.restore(&target, &["--release", "2.6.3", "--yes", "--file", &bundle]).output().expect("it runs");
    assert_eq!(restored.status.code(), Some(3), "{}", describe(&restored));
    assert_same(&server, &target, "orchestrator");
    let left = fs::read_dir(place.path("away")).expect("a directory").flatten();
    let parts = left.filter(|entry| entry.file_name().to_string_lossy().ends_with(".part")).count();
    assert_eq!(parts, 0);
}

#[test]
fn what_a_server_forbids_is_found_before_anything_is_sent_and_leaves_one_trial_file_at_most() {
    let server = Postgres::start();
    server.sql("postgres", "CREATE TABLE t ()");
    // What is forbidden; how `check` and `backup` end; what they say; how many trial files stay.
    let cases = [
        ("rename,posix-rename", 13, 1, "rename a file in", 0),
        ("remove", 3, 3, "the server removes nothing", 1),
        // As the sample of credentials that can put and not delete has it.
        ("remove,rmdir,setstat,fsetstat,symlink,hardlink,posix-rename", 3, 3, "the server removes nothing", 1),
        ("rename,posix-rename,remove", 13, 1, "rename a file in", 1),
        ("fsync", 3, 3, "can't bring a bundle onto its disk", 0),
        ("write", 13, 1, "write to", 0),
        ("opendir", 13, 1, "list sftp://", 0),
        ("readdir", 13, 1, "list sftp://", 0),
    ];
    for (forbidden, check, backup, words, stay) in cases {
        let sshd = Sshd::forbidding(forbidden);
        let place = at_home(&sshd);
        fs::create_dir(place.path("away")).expect("a directory");
        let address = sshd.address(&place.path("away"));
        let run = |command: &str| {
            let mut command = place.cli(&[command, "--config", "cluster.conf", "--release", "2.6.3", "--to", &address]);
            command.envs(server.variables()).output().expect("it runs")
        };
        for (command, code) in [("check", check), ("check", check), ("backup", backup)] {
            let output = run(command);
            let all = describe(&output);
            assert_eq!(output.status.code(), Some(code), "{forbidden}: {command}: {all}");
            assert_eq!(all.matches(words).count(), 1, "{forbidden}: {command}: {all}");
        }
        let names = fs::read_dir(place.path("away")).expect("a directory").flatten();
        let names: Vec<String> = names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        let trials = names.iter().filter(|name| name.contains("trial")).count();
        let bundle = names.iter().find(|name| name.ends_with(".tgz"));
        assert_eq!((trials, bundle.is_some()), (stay, backup == 3), "{forbidden}: {names:?}");
        if let Some(bundle) = bundle {
            let verified = place.cli(&["verify"]).arg(format!("{address}/{bundle}")).output().expect("it runs");
            assert!(verified.status.success(), "{forbidden}: {}", describe(&verified));
        }
    }
}

#[test]
fn what_a_killed_trial_has_left_is_in_nobodys_way() {
    for kind in &SFTP_SERVERS {
        let (sshd, place) = (Sshd::of(kind), tempfile::tempdir().expect("a directory"));
        let store = Reached::directly(&sshd).store(place.path());
        for left in [".orchestrator_backup_trial.part", ".orchestrator_backup_trial-renamed.part"] {
            fs::write(place.path().join(left), "left").expect("written");
        }
        let findings = store.check(1).expect("it can be written");
        assert!(findings.iter().all(|finding| finding.code == "destination"), "{}: {findings:?}", kind.name);
        assert_eq!(fs::read_dir(place.path()).expect("a directory").count(), 0, "{}", kind.name);
    }
}

#[test]
fn a_server_that_neither_removes_nor_writes_over_anything_keeps_bundles() {
    let (sshd, place) = (Sshd::keeping_all(), tempfile::tempdir().expect("a directory"));
    let store = Reached::directly(&sshd).store(place.path());
    for round in 0..3 {
        let findings = store.check(1).expect("it can be written");
        let warned = findings.iter().any(|finding| finding.code == "removes-nothing");
        assert!(warned, "{round}: {findings:?}");
        assert_eq!(fs::read_dir(place.path()).expect("a directory").count(), 1, "{round}");
    }
}

#[test]
fn at_most_the_last_directory_is_made() {
    let (server, sshd) = (Postgres::start(), Sshd::start());
    server.sql("postgres", "CREATE TABLE t ()");
    let place = at_home(&sshd);
    let run = |command: &str, to: &str| {
        let to = sshd.address(&place.path(to));
        let mut command = place.cli(&[command, "--config", "cluster.conf", "--release", "2.6.3", "--to", &to]);
        command.envs(server.variables()).output().expect("it runs")
    };
    for (command, code) in [("check", 13), ("backup", 1)] {
        assert_refused(&run(command, "far/away"), code, &["far does not exist", "mkdir -p '"]);
    }
    assert!(!place.path("far").exists());
    assert_refused(&run("backup", "near"), 3, &["it does not exist and will be made"]);
    assert!(place.path("near").is_dir());
}

#[test]
fn a_home_directory_is_named_with_a_tilde() {
    let sshd = Sshd::start();
    let place = at_home(&sshd);
    let answer = list(&place, &format!("sftp://127.0.0.1:{}/~/.surely-missing", sshd.port()));
    assert_refused(&answer, 10, &["~/.surely-missing", "o such file"]);
}

#[test]
fn a_host_that_is_not_known_or_another_one_is_refused() {
    let sshd = Sshd::start();
    let place = at_home(&sshd);
    let address = sshd.address(Path::new("/tmp"));
    let known = fs::read_to_string(sshd.known_hosts()).expect("known hosts");
    let with = |text: &str| {
        place.write(".ssh/known_hosts", text);
        list(&place, &address)
    };
    assert_refused(&with(""), 13, &["not known", "SHA256:", "ssh-keyscan -p"]);
    let other = Sshd::start();
    let others = fs::read_to_string(other.known_hosts()).expect("known hosts");
    let changed = others.replace(&other.port().to_string(), &sshd.port().to_string());
    assert_refused(&with(&changed), 13, &["SSH host key changed", "SHA256:", "ssh-keygen -R"]);
    let revoked = known.split_once(' ').map(|(_, key)| format!("@revoked * {key}{known}")).expect("a line");
    assert_refused(&with(&revoked), 13, &["revoked"]);
    // Keys of other kinds, and what can't be read, hide nothing.
    let noise = "# a comment\n@weird line\n|1|x|y sk-ssh-ed25519@openssh.com AAAA\n";
    assert!(with(&format!("{noise}{known}")).status.success());
    // Root believes what root alone can have written.
    let file = place.path(".ssh/known_hosts");
    let given = fixtures::as_root("chown").arg("nobody").arg(&file).status().expect("chown runs");
    assert!(given.success());
    let mut root = fixtures::as_root("env");
    root.arg(format!("HOME={}", place.path("").display())).arg(binary()).args(["list", &address]);
    let listed = root.env_remove("SSH_AUTH_SOCK").output().expect("it runs");
    assert_refused(&listed, 13, &["read the known hosts", "belongs to"]);
}

#[test]
fn a_user_who_is_not_let_in_is_told_what_was_tried() {
    let sshd = Sshd::start();
    let place = at_home(&sshd);
    let address = sshd.address(Path::new("/tmp"));
    let keygen = |arguments: &[&str]| {
        let _ = fs::remove_file(place.path(".ssh/id_ed25519"));
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519"])
            .args(arguments)
            .arg("-f")
            .arg(place.path(".ssh/id_ed25519"))
            .status();
        assert!(made.expect("ssh-keygen runs").success());
    };
    keygen(&["-N", ""]);
    assert_refused(&list(&place, &address), 1, &["log in as", "id_ed25519", "authorized_keys"]);
    keygen(&["-N", "hunter2"]);
    assert_refused(&list(&place, &address), 1, &["id_ed25519", "ssh-add"]);
    fs::remove_file(place.path(".ssh/id_ed25519")).expect("removed");
    assert_refused(&list(&place, &address), 1, &["there is no key"]);
}

#[test]
fn an_agent_is_asked_and_settings_name_a_key() {
    let sshd = Sshd::start();
    let place = at_home(&sshd);
    let address = sshd.address(&place.path(""));
    fs::remove_file(place.path(".ssh/id_ed25519")).expect("removed");
    let script = "eval $(ssh-agent) > /dev/null; ssh-add -q \"$1\"; \"$2\" list \"$3\"; code=$?; ssh-agent -k > /dev/null; exit $code";
    let mut agent = Command::new("bash");
    agent.args(["-c", script, "bash"]).arg(sshd.identity()).arg(system_tests::binary()).arg(&address);
    let answer = agent.env("HOME", place.path("")).output().expect("it runs");
    assert!(answer.status.success(), "{}", describe(&answer));
    let settings = format!(
        "cluster_conf = 'cluster.conf'\n[[stores]]\naddress = '{address}'\nsftp.identity_file = '{}'\nsftp.known_hosts = '{}'\n",
        sshd.identity().display(),
        sshd.known_hosts().display()
    );
    place.write("settings.toml", settings);
    fs::remove_file(place.path(".ssh/known_hosts")).expect("removed");
    let answer =
        place.cli(&["list", "--config", "settings.toml"]).env_remove("SSH_AUTH_SOCK").output().expect("it runs");
    assert!(answer.status.success(), "{}", describe(&answer));
}

#[test]
fn a_machine_that_does_not_answer_is_named() {
    let sshd = Sshd::start();
    let place = at_home(&sshd);
    let address = sshd.address(Path::new("/tmp"));
    drop(sshd);
    assert_refused(&list(&place, &address), 1, &["127.0.0.1", "refused", "machine is up"]);
    assert_refused(&list(&place, "sftp://no-such-host.invalid/x"), 1, &["no-such-host.invalid", "correct the name"]);
}
