//! `latest` is the newest bundle of this cluster and of no other, or it is said why that can't be told.

use std::fs;
use std::process::Output;

use fixtures::Postgres;
use system_tests::{Workplace, another_second, describe};

/// Two stores, and a server to back up.
struct Stores {
    place: Workplace,
    server: Postgres,
}

impl Stores {
    fn new() -> Self {
        let (place, server) = (Workplace::default(), Postgres::start());
        server.sql("postgres", "CREATE TABLE something ()");
        let stores = Self { place, server };
        stores.settle("");
        stores
    }

    /// Writes settings with both stores.
    fn settle(&self, more: &str) {
        let stores = "[[stores]]\npath = 'one'\n[[stores]]\npath = 'two'\n";
        self.place.write("o.toml", format!("cluster_conf = 'cluster.conf'\nrelease.version = '2.6.3'\n{stores}{more}"));
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut run = self.place.cli(&[arguments, &["--config", "o.toml"]].concat());
        run.envs(self.server.variables()).output().expect("it runs")
    }

    /// Backs up with these arguments, and gives the newest file's name.
    fn back_up(&self, arguments: &[&str]) -> String {
        another_second();
        let output = self.run(&[&["backup"], arguments].concat());
        assert!(matches!(output.status.code(), Some(0 | 3)), "{}", describe(&output));
        self.names().pop().expect("a bundle")
    }

    fn names(&self) -> Vec<String> {
        let entries = ["one", "two"].map(|store| fs::read_dir(self.place.path(store)).into_iter().flatten().flatten());
        let names = entries.into_iter().flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| name.ends_with(".tgz") || name.ends_with(".age")).collect();
        names.sort();
        names
    }

    /// The bundle that `latest` is, with these arguments.
    fn latest(&self, arguments: &[&str]) -> String {
        let output = self.run(&[&["verify", "latest", "--quiet"], arguments].concat());
        assert_eq!(output.status.code(), Some(0), "{}", describe(&output));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        said.split(": ").next().expect("a path").to_owned()
    }

    fn refused(&self, arguments: &[&str], code: i32, words: &[&str]) {
        let output = self.run(&[&["verify", "latest"], arguments].concat());
        let said = describe(&output);
        assert!(
            output.status.code() == Some(code) && words.iter().all(|word| said.contains(word)),
            "{words:?}: {said}"
        );
    }

    /// Forgets all that this machine knows of bundles, as a new machine does.
    fn forget(&self) {
        fs::remove_dir_all(self.place.path("state")).expect("removed");
    }
}

#[test]
fn it_is_the_newest_whole_one_in_whichever_store_it_is() {
    let stores = Stores::new();
    stores.refused(&[], 10, &["list one", "No such file or directory"]);
    let both = stores.back_up(&[]);
    assert_eq!(stores.latest(&[]), format!("one/{both}"));
    let newest = stores.back_up(&["--to", "two"]);
    assert_eq!(stores.latest(&[]), format!("two/{newest}"));
    // Neither one of some databases alone, nor one under another time's name.
    stores.back_up(&["--database", "postgres"]);
    assert_eq!(stores.latest(&[]), format!("two/{newest}"));
    let later = stores.place.path("one/orchestrator_backup_20990101T000000Z.tgz");
    fs::copy(stores.place.path("one").join(&both), &later).expect("a copy");
    assert_eq!(stores.latest(&[]), format!("two/{newest}"));
    fs::remove_file(later).expect("removed");
    // A store that can't be listed may have a newer bundle.
    fs::rename(stores.place.path("two"), stores.place.path("away")).expect("moved");
    stores.refused(&[], 10, &["two may have it, and can't be listed", "list"]);
    fs::rename(stores.place.path("away"), stores.place.path("two")).expect("moved");
    // A bundle that can't be opened is passed over with a word.
    let broken = stores.back_up(&["--to", "one"]);
    fs::write(stores.place.path("one").join(&broken), "short").expect("written");
    let output = stores.run(&["verify", "latest"]);
    let said = describe(&output);
    assert!(output.status.success() && said.contains(&format!("warning one/{broken}")), "{said}");
    assert!(said.contains(&format!("latest: two/{newest}, ")), "{said}");
}

#[test]
fn it_is_of_this_cluster_and_what_can_not_be_told_is_refused() {
    let stores = Stores::new();
    let own = stores.back_up(&[]);
    let conf = fs::read_to_string(stores.place.path("cluster.conf")).expect("a cluster.conf");
    stores.place.write("cluster.conf", conf.replace("example", "another"));
    let other = stores.back_up(&[]);
    assert_eq!(stores.latest(&[]), format!("one/{other}"));
    assert_eq!(stores.latest(&["--cluster", "example"]), format!("one/{own}"));
    // A new machine has no cluster.conf.
    fs::remove_file(stores.place.path("cluster.conf")).expect("removed");
    stores.refused(&[], 13, &["several clusters: another, example", "--cluster NAME"]);
    stores.refused(&["--cluster", "third"], 10, &["of cluster third"]);
    stores.place.write("cluster.conf", conf);
    let output = stores.run(&["verify", &format!("one/{own}"), "--cluster", "example"]);
    assert_eq!(output.status.code(), Some(2), "{}", describe(&output));
    stores.refused(
        &["--component", "zabbix"],
        10,
        &["no store of the settings has a good bundle of component zabbix", "`"],
    );
    // A machine that knows its own bundles takes no newer one that anybody may have put there; one that knows none takes the newest.
    let known = stores.back_up(&[]);
    another_second();
    let mut elsewhere = stores.place.cli(&["backup", "--config", "o.toml"]);
    elsewhere.env("STATE_DIRECTORY", stores.place.path("other-machine")).envs(stores.server.variables());
    let output = elsewhere.output().expect("it runs");
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}", describe(&output));
    let unknown = stores.names().pop().expect("a bundle");
    stores.refused(&[], 13, &["nothing here knows who made", &unknown, &known]);
    stores.forget();
    assert_eq!(stores.latest(&[]), format!("one/{unknown}"));
}

#[test]
fn one_that_nobody_here_opens_may_be_it() {
    let stores = Stores::new();
    stores.back_up(&[]);
    let made = stores.place.cli(&["key", "generate", "key"]).output().expect("it runs");
    let recipient = String::from_utf8_lossy(&made.stdout).lines().next_back().expect("a recipient").trim().to_owned();
    let closed = stores.back_up(&["--recipient", &recipient]);
    // This machine knows the bundle by its name and length.
    stores.refused(&[], 13, &[&closed, "no identity here opens it"]);
    stores.forget();
    stores.refused(&[], 13, &[&closed, "no identity here opens it", "--identity FILE"]);
    assert_eq!(stores.latest(&["--identity", "key"]), format!("one/{closed}"));
}

#[test]
fn every_command_that_names_a_bundle_takes_it() {
    let stores = Stores::new();
    let name = stores.back_up(&[]);
    let target = Postgres::start();
    for arguments in [
        &["show", "latest"][..],
        &["extract", "latest", "--to", "out"],
        &["diff", "latest"],
        &["drill", "latest"],
        &["restore", "latest", "--dry-run", "--allow-old-clients"],
        &["restore", "--latest", "--yes", "--allow-old-clients"],
    ] {
        let mut run = stores.place.cli(&[arguments, &["--config", "o.toml"]].concat());
        let server = if arguments[0] == "restore" { &target } else { &stores.server };
        let output = run.envs(server.variables()).output().expect("it runs");
        assert!(matches!(output.status.code(), Some(0 | 3)), "{arguments:?}: {}", describe(&output));
        assert!(describe(&output).contains(&name), "{arguments:?}: {}", describe(&output));
    }
    let listed = describe(&stores.run(&["list"]));
    let words = ["STORE", "AGE", "DRILLED", " one ", " two ", "restored here", " ago"];
    assert!(words.iter().all(|word| listed.contains(word)), "{listed}");
    let listed = describe(&stores.run(&["list", "--json"]));
    assert!(listed.contains("\"restored\":\"20"), "{listed}");
}
