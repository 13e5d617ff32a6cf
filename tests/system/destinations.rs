//! Where bundles go: slips in paths, disks that are not mounted, names that were changed.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use fixtures::Postgres;
use system_tests::{Workplace, another_second, code_but_for_clients, describe};

fn run(command: &mut Command) -> Output {
    command.output().expect("it runs")
}

fn assert_says(output: &Output, code: i32, words: &[&str]) {
    let all = describe(output);
    assert_eq!(output.status.code(), Some(code), "{all}");
    assert!(words.iter().all(|word| all.contains(word)), "{words:?}: {all}");
}

/// Runs `command` with an empty file system of its own at `mount`, or with another directory bound there, which nobody else sees.
fn mounted(place: &Workplace, what: &str, mount: &Path, command: &Command) -> Output {
    let mut unshare = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        unshare.arg("--map-root-user");
    }
    let script = format!("mount {what} \"$0\" || exit 99; exec \"$@\"");
    unshare.args(["--mount", "sh", "-c", &script]).arg(mount);
    unshare.arg(command.get_program()).args(command.get_args()).current_dir(place.path(""));
    unshare.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = run(&mut unshare);
    assert_ne!(output.status.code(), Some(99), "missing prerequisite: mount namespaces: {}", describe(&output));
    output
}

#[test]
fn a_limit_of_the_rate_holds_for_what_goes_to_a_store_and_comes_from_it() {
    let server = Postgres::start();
    server.load_sample(2000);
    let place = Workplace::default();
    let bundle = place.make_bundle(&server);
    let length = std::fs::metadata(&bundle).expect("a bundle").len();
    // Half of it a second.
    let rate = (length / 2).to_string();
    let slow = |command: &mut Command| {
        let begun = Instant::now();
        let output = command.output().expect("it runs");
        assert!(output.status.success(), "{}", describe(&output));
        assert!(begun.elapsed() > Duration::from_millis(1500), "{:?}", begun.elapsed());
    };
    another_second();
    slow(&mut place.backup(&server, &["--limit-rate", &rate]));
    slow(place.cli(&["verify", "--limit-rate", &rate]).arg(&bundle));
    let settings = "cluster_conf = 'cluster.conf'\n[[stores]]\npath = 'bundles'\n";
    place.write("settings.toml", format!("{settings}limit_rate = '{rate}'\n"));
    slow(place.cli(&["verify", "--config", "settings.toml"]).arg(&bundle));
    place.write("settings.toml", format!("{settings}limit_rate = '20MB'\n"));
    let output = place.cli(&["list", "--config", "settings.toml"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(2), "{}", describe(&output));
    assert!(describe(&output).contains("write bytes a second, such as 500K, 20M or 1G"), "{}", describe(&output));
}

#[test]
fn a_slip_in_a_path_makes_no_directories_and_a_file_is_no_store() {
    let server = Postgres::start();
    server.sql("postgres", "CREATE TABLE t ()");
    let place = Workplace::default();
    fs::create_dir(place.path("old.tgz")).expect("a directory");
    place.write("file", "x");
    let path = |name: &str| place.path(name).display().to_string();
    let cases: [(&str, i32, &[&str]); 9] = [
        ("new", 0, &["note    new: it does not exist and will be made"]),
        (&path("absolute"), 0, &["it does not exist and will be made"]),
        ("far/away", 1, &["far does not exist, and of a path at most the last directory is made", "mkdir -p 'far'"]),
        (&path("a b/c/d"), 1, &["a b/c does not exist", "/a b/c'"]),
        ("monday.tgz", 2, &["a store is a directory", "hint: name the directory"]),
        ("monday.tgz.age", 2, &["a store is a directory"]),
        ("backups/monday.tar.gz/", 2, &["a store is a directory"]),
        ("file", 1, &["file is not a directory"]),
        // Bundles that went there by a slip are found.
        ("old.tgz", 0, &["old.tgz/orchestrator_backup_"]),
    ];
    for (to, code, words) in cases {
        let mut backup = place.cli(&["backup", "--config", "cluster.conf", "--release", "2.6.3", "--to", to]);
        let output = run(backup.envs(server.variables()));
        assert_says(&output, code, words);
        let check = run(place
            .cli(&["check", "--config", "cluster.conf", "--release", "2.6.3", "--to", to])
            .envs(server.variables()));
        let expected = if code == 1 { 13 } else { code };
        assert_eq!(code_but_for_clients(&check), Some(expected), "{to}: {}", describe(&check));
    }
    assert!(!place.path("far").exists() && !place.path("a b").exists() && !place.path("backups").exists());
    assert_says(&run(&mut place.cli(&["list", "old.tgz"])), 0, &["orchestrator_backup_"]);
    place.write("o.toml", "cluster_conf = 'cluster.conf'\n[[stores]]\npath = 'bundles.tgz'\n");
    assert_says(&run(&mut place.cli(&["check", "--config", "o.toml"])), 2, &["a store is a directory"]);
    // What is tried beforehand leaves nothing.
    let left = fs::read_dir(place.path("new")).expect("a directory").flatten();
    assert!(!left.map(|entry| entry.file_name()).any(|name| name.to_string_lossy().contains("trial")));
}

#[test]
fn nothing_is_written_or_believed_where_the_disk_is_not_mounted() {
    let server = Postgres::start();
    server.sql("postgres", "CREATE TABLE t ()");
    let place = Workplace::default();
    let disk = place.path("disk");
    fs::create_dir_all(disk.join("bundles")).expect("directories");
    fs::create_dir(place.path("bound")).expect("a directory");
    let settings = |more: &str| {
        let disk = disk.display();
        format!(
            "cluster_conf = 'cluster.conf'\nrelease.version = '2.6.3'\n[[stores]]\npath = '{disk}/bundles'\nrequire_mount = '{disk}'\n{more}"
        )
    };
    place.write("o.toml", settings(""));
    place.write("both.toml", settings("[[stores]]\npath = 'bundles'\n"));
    let cli = |arguments: &[&str]| {
        let mut command = place.cli(arguments);
        command.envs(server.variables());
        command
    };
    let words: &[&str] = &["no file system is mounted at", "hint: mount it: mount '"];
    assert_says(&run(&mut cli(&["check", "-c", "o.toml"])), 13, words);
    assert_says(&run(&mut cli(&["backup", "-c", "o.toml"])), 1, words);
    assert_says(&run(&mut cli(&["list", "-c", "o.toml"])), 1, words);
    assert_says(
        &run(&mut cli(&["status", "-c", "o.toml"])),
        13,
        &["no file system is mounted at", "nothing is known of"],
    );
    // An address of the command line is the same store.
    let to = disk.join("bundles").display().to_string();
    assert_says(&run(&mut cli(&["backup", "-c", "o.toml", "--to", &to])), 1, words);
    assert_says(&run(&mut cli(&["backup", "-c", "both.toml"])), 3, &["no file system is mounted at"]);
    assert_eq!(fs::read_dir(disk.join("bundles")).expect("a directory").count(), 0);
    another_second();
    // The second disk is another one than bundles were put on before, which is worth a warning.
    for (what, code) in [("-t tmpfs none", 0), ("--bind bound", 3)] {
        let output = mounted(&place, what, &disk, &cli(&["backup", "-c", "o.toml"]));
        assert_says(&output, code, &["disk/bundles/orchestrator_backup_"]);
        another_second();
    }
    assert_eq!(fs::read_dir(disk.join("bundles")).expect("a directory").count(), 0);
    assert!(place.path("bound/bundles").is_dir());
    for bad in ["require_mount = 'relative'", "require_mount = '/elsewhere'"] {
        place.write("bad.toml", format!("cluster_conf = 'cluster.conf'\n[[stores]]\npath = '/srv/bundles'\n{bad}\n"));
        assert_says(&run(&mut cli(&["check", "-c", "bad.toml"])), 2, &["does not lie below its require_mount"]);
    }
}

#[test]
fn a_disk_that_went_away_is_noticed_by_what_every_backup_leaves_on_it() {
    let server = Postgres::start();
    server.sql("postgres", "CREATE TABLE t ()");
    let place = Workplace::default();
    let store = place.path("bundles");
    let settings = "cluster_conf = 'cluster.conf'\nrelease.version = '2.6.3'\n[[stores]]\npath = '{}'\n";
    place.write("o.toml", settings.replace("{}", &store.display().to_string()));
    let backup = || {
        let mut command = place.cli(&["backup", "-c", "o.toml"]);
        command.envs(server.variables());
        command
    };
    assert_says(&run(&mut backup()), 0, &[]);
    another_second();
    assert_says(
        &mounted(&place, "-t tmpfs none", &store, &backup()),
        3,
        &["bundles were written here before, but none of them is here now"],
    );
    another_second();
    assert_says(&run(&mut backup()), 0, &[]);
}

#[test]
fn a_renamed_bundle_is_noted_wherever_it_is_met_and_others_are_counted() {
    let server = Postgres::start();
    server.sql("postgres", "CREATE TABLE t ()");
    let place = Workplace::default();
    let bundle = place.make_bundle(&server);
    let own = bundle.file_stem().expect("a name").to_string_lossy().into_owned();
    let later = place.path("bundles/orchestrator_backup_20991231T000000Z.tgz");
    fs::rename(&bundle, &later).expect("renamed");
    let note = format!("renamed: the bundle in it is {own}");
    for arguments in [&["show"][..], &["verify"], &["restore", "--release", "2.6.3", "--dry-run", "--file"]] {
        let output = run(place.cli(arguments).arg(&later).envs(server.variables()));
        assert!(describe(&output).contains(&note), "{arguments:?}: {}", describe(&output));
        assert_eq!(describe(&output).matches(&note).count(), 1, "{}", describe(&output));
    }
    let listed = run(&mut place.cli(&["list", "bundles"]));
    assert_says(&listed, 0, &[&format!("renamed: it is {own}")]);
    assert!(!describe(&listed).contains("under a name"), "{}", describe(&listed));
    // Its new name makes it no younger.
    let json: serde_json::Value =
        serde_json::from_slice(&run(&mut place.cli(&["list", "bundles", "--json"])).stdout).expect("JSON");
    assert!(!json["result"]["bundles"][0]["created"].to_string().contains("2099"), "{json}");
    // A name that was given back needs no word; nor does what is no bundle.
    fs::rename(&later, &bundle).expect("renamed");
    let shown = run(place.cli(&["show"]).arg(&bundle));
    assert!(!describe(&shown).contains("renamed"), "{}", describe(&shown));
    for name in ["monday.tgz", "orchestrator_backup (1).tgz", "old"] {
        fs::copy(&bundle, place.path("bundles").join(name)).expect("a copy");
    }
    place.write("bundles/notes.txt", "x");
    let other =
        Command::new("tar").args(["czf", "bundles/other.tgz", "cluster.conf"]).current_dir(place.path("")).status();
    assert!(other.expect("tar runs").success());
    let listed = run(&mut place.cli(&["list", "bundles"]));
    assert_says(&listed, 0, &["3 files are bundles under names that no bundle has, such as monday.tgz", &own]);
    let json: serde_json::Value =
        serde_json::from_slice(&run(&mut place.cli(&["list", "bundles", "--json"])).stdout).expect("JSON");
    let others = json["result"]["others"].as_array().expect("others");
    assert!(others.len() == 3 && others.iter().all(|one| one["name"] == own.as_str()), "{json}");
}

#[test]
fn a_cluster_conf_in_latin_1_is_kept_as_it_is_and_slips_in_it_have_lines() {
    let server = Postgres::start();
    server.sql("postgres", "CREATE TABLE t ()");
    let place = Workplace::default();
    let name = b"chef: {\n continuum: {\n  cluster_name: example } }\n";
    let latin = [&b"# f\xfcr Z\xfcrich\n"[..], name].concat();
    let cases: [(&[u8], i32, &[&str]); 6] = [
        (&latin, 3, &["cluster.conf, line 1: it is not UTF-8 there", "iconv -f ISO-8859-1"]),
        (b"", 3, &["nothing stands in it"]),
        (
            b"chef: {\n continuum: {\n  cluster-name: example } }\n",
            3,
            &["line 3: nothing reads the key cluster-name; did you mean cluster_name?"],
        ),
        (b"machines: { a: { hosts: [] } }\n", 3, &["the cluster has no name"]),
        (b"chef: {\n continuum: {\n  cluster_name: 'Z\xfcrich' } }\n", 2, &["line 3", "is not UTF-8"]),
        (name, 0, &[]),
    ];
    for (conf, code, words) in cases {
        place.write("cluster.conf", conf);
        let backup = run(&mut place.backup(&server, &[]));
        assert_says(&backup, code, words);
        if code != 2 {
            let bundle = place.bundles().pop().expect("a bundle");
            let to = place.path("look");
            let extracted = run(place.cli(&["extract"]).arg(&bundle).args(["cluster.conf", "--to"]).arg(&to));
            assert!(extracted.status.success(), "{}", describe(&extracted));
            let directory = to.join(bundle.file_stem().expect("a name"));
            let kept = [directory.join("cluster.conf"), to.join("cluster.conf")]
                .into_iter()
                .find_map(|path| fs::read(path).ok());
            assert_eq!(kept.as_deref(), Some(conf), "{}", conf.escape_ascii());
            let dry = run(place.restore(&server, &["--release", "2.6.3", "--dry-run", "--file"]).arg(&bundle));
            assert!(matches!(dry.status.code(), Some(0 | 3)), "{}", describe(&dry));
        }
        another_second();
    }
}
