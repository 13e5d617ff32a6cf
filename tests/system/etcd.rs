//! What is etcd's own: which servers can't be captured or can't take the data, and whose passwords rule afterwards.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use fixtures::{Alive, Etcd, Postgres};
use system_tests::{Workplace, describe};

/// A machine with an etcd.
struct Stage {
    place: Workplace,
    server: Postgres,
    etcd: Etcd,
}

impl Stage {
    fn new(etcd: Etcd) -> Self {
        let stage = Self { place: Workplace::default(), server: Postgres::start(), etcd };
        stage.settle(&stage.etcd.table_without_user("etcd"));
        stage
    }

    /// Settings with this component.
    fn settle(&self, component: &str) {
        let conf = self.place.path("cluster.conf").display().to_string();
        self.place.write("settings.toml", format!("cluster_conf = '{conf}'\nrelease.version = '2.6.3'\n{component}"));
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.place.cli(arguments);
        command.args(["--config", "settings.toml"]).envs(self.server.variables()).output().expect("it runs")
    }

    fn says(&self, arguments: &[&str], code: i32, words: &[&str]) {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", describe(&output));
        for word in words {
            assert!(describe(&output).contains(word), "{word}: {}", describe(&output));
        }
    }

    fn backup(&self) -> String {
        let output = self.run(&["backup", "--to", "bundles"]);
        assert!([Some(0), Some(3)].contains(&output.status.code()), "{}", describe(&output));
        self.place.bundles().pop().expect("a bundle").display().to_string()
    }

    fn restore<'a>(&self, bundle: &'a str) -> [&'a str; 5] {
        ["restore", "--allow-old-clients", "--yes", "--file", bundle]
    }

    /// The server's table, for whom programs are others: an etcdctl that is this script, where `$etcdctl` is the real one.
    fn table_with(&self, script: &str) -> String {
        let etcdctl = self.place.path("programs/etcdctl");
        fs::create_dir_all(self.place.path("programs")).expect("a directory");
        fs::write(&etcdctl, format!("#!/bin/sh\netcdctl=/usr/bin/etcdctl\n{script}\n")).expect("a script");
        fs::set_permissions(&etcdctl, Permissions::from_mode(0o755)).expect("a mode");
        let programs = self.place.path("programs").display().to_string();
        format!("{}programs = '{programs}'\n", self.etcd.table_without_user("etcd"))
    }
}

#[test]
fn what_would_be_no_backup_is_refused() {
    let stage = Stage::new(Etcd::start());
    // One byte of a value is another one, which etcdctl's own look at a snapshot does not see.
    stage.etcd.ask_all("put key AAAAAAAAAAAAAAAA");
    let damage = r#"$etcdctl "$@" || exit
for last; do :; done
case " $* " in *" snapshot save "*) sed -i s/AAAAAAAAAAAAAAAA/AAAAAAABAAAAAAAA/ "$last" ;; esac"#;
    stage.settle(&stage.table_with(damage));
    stage.says(&["backup", "--to", "bundles"], 12, &["check the snapshot", "its end says SHA-256"]);
    assert_eq!(stage.place.bundles(), Vec::<std::path::PathBuf>::new());
    assert_eq!(stage.etcd.left(), Vec::<String>::new());
    stage.settle(&stage.etcd.table_without_user("etcd"));
    stage.etcd.ask_for_passwords();
    stage.says(&["check"], 13, &["user name is empty", "set user and password_file"]);
    stage.settle(&stage.etcd.table("etcd"));
    stage.says(&["check", "--json"], 3, &["etcd-users"]);
    fs::write(stage.etcd.path("password"), "wrong\n").expect("a password");
    stage.says(&["check"], 13, &["authentication failed", "set user and password_file"]);
    // Whoever may read all keys may not take a snapshot.
    fs::write(stage.etcd.path("password"), Etcd::PASSWORD).expect("a password");
    let reader = "user add reader:sesame-0816\nrole add all\nrole grant-permission all --prefix=true read \nuser grant-role reader all";
    stage.etcd.ask_all(reader);
    stage.settle(&stage.etcd.table("etcd").replace("'root'", "'reader'"));
    stage.says(&["check"], 13, &["permission denied", "a user that has the role root"]);
    stage.settle(&stage.etcd.table("etcd"));
    // One that only listens takes no part in votes, of which there is one server too few.
    stage.etcd.ask_all("member add other --learner --peer-urls=http://localhost:3");
    stage.says(&["check"], 13, &["is one of 2 members"]);
}

#[test]
fn a_server_that_would_not_take_the_data_is_refused_before_anything_is_changed() {
    let stage = Stage::new(Etcd::start());
    let bundle = stage.backup();
    stage.etcd.ask_all("put later yes");
    let restore = stage.restore(&bundle);
    stage.settle(&stage.table_with(r#"$etcdctl "$@" | sed 's/"version":"3/"version":"2/'"#));
    stage.says(&restore, 13, &["an older one does not read them"]);
    let elsewhere = stage.etcd.table_without_user("etcd").replace("one-data", "two-data");
    stage.settle(&elsewhere);
    stage.says(&restore, 13, &["no server has its data in", "--data-dir"]);
    stage.says(&["check", "--json"], 3, &["etcd-data-directory"]);
    assert_eq!(stage.etcd.ask("get later".split(' ').collect::<Vec<_>>().as_slice()), "later\nyes");
    assert_eq!(stage.etcd.left(), Vec::<String>::new());
}

#[test]
fn users_come_back_and_their_passwords_rule_whoever_the_settings_name() {
    let stage = Stage::new(Etcd::start());
    stage.etcd.fill();
    stage.etcd.ask_for_passwords();
    stage.settle(&stage.etcd.table("etcd"));
    let in_bundle = stage.etcd.answers();
    let bundle = stage.backup();
    // A machine that was set up anew asks nobody for a password.
    stage.etcd.ask_all("auth disable\nuser delete root");
    stage.etcd.change();
    stage.settle(&stage.etcd.table_without_user("etcd"));
    stage.says(&stage.restore(&bundle), 3, &["user name is empty", "start all clients of etcd at"]);
    assert_eq!(stage.etcd.answers(), in_bundle);
    let asked = |password| stage.etcd.ctl("alice", password, &["get", "/machine/zone"]).output().expect("etcdctl runs");
    assert_eq!(String::from_utf8_lossy(&asked("wonderland").stdout), "/machine/zone\ncentral\n");
    assert!(!asked("").status.success());
    stage.says(&["restore", "--rollback", "--yes", "--file", &bundle], 0, &[]);
    assert_eq!(stage.etcd.ask_all("get later\nuser list"), ["later\nyes", ""]);
}

#[test]
fn a_history_that_is_compacted_to_its_end_is_captured_with_its_hash() {
    let stage = Stage::new(Etcd::start());
    // As a server does that rests: nothing is left of the last two revisions, and no earlier one can be asked for.
    stage.etcd.ask_all("put a value\nput b value\nput c value\ndel c\ncompact --physical 5");
    let output = stage.run(&["backup", "--to", "bundles", "--json"]);
    assert!([Some(0), Some(3)].contains(&output.status.code()), "{}", describe(&output));
    assert!(!describe(&output).contains("etcd-hash"), "{}", describe(&output));
    let bundle = stage.place.bundles().pop().expect("a bundle").display().to_string();
    stage.etcd.ask_all("put a other\ndel b");
    let restored = stage.run(&stage.restore(&bundle));
    assert!([Some(0), Some(3)].contains(&restored.status.code()), "{}", describe(&restored));
    assert!(!describe(&restored).contains("compacted"), "{}", describe(&restored));
    assert_eq!(stage.etcd.ask_all("get a\nget b\nget c"), ["a\nvalue", "b\nvalue", ""]);
}

#[test]
fn certificates_say_who_asks() {
    let stage = Stage::new(Etcd::with_certificates());
    stage.etcd.ask_for_passwords();
    stage.etcd.ask_all("put key value");
    let bundle = stage.backup();
    stage.etcd.ask_all("put key other");
    stage.says(&stage.restore(&bundle), 3, &[]);
    assert_eq!(stage.etcd.ask_all("get key"), ["key\nvalue"]);
    stage.settle(&stage.etcd.table_without_user("etcd").replace("cacert", "# cacert"));
    stage.says(&["check"], 13, &["cacert, cert and key"]);
}
