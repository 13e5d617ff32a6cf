//! What somebody names by mistake is named for what it is, with the command that leads out.

use std::fs;
use std::path::Path;
use std::process::Command;

use system_tests::{Scripts, describe, state};

#[test]
fn what_is_not_read_is_named_with_the_way_out() {
    let stage = Scripts::new(10);
    let place = &stage.place;
    stage.dump("orchestrator.sql", &[]);
    stage.dump("custom.dump", &["-Fc"]);
    stage.dump("directory.dump", &["-Fd"]);
    stage.dump("created.sql", &["--create"]);
    let utf16 = |name: &str, mark: &str| {
        let text = fs::read_to_string(place.path("orchestrator.sql")).expect("a script");
        let text: Vec<u8> = format!("{mark}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect();
        place.write(name, text);
    };
    utf16("powershell.sql", "\u{feff}");
    utf16("bare.sql", "");
    for (name, start) in [
        ("o.sql.xz", &b"\xfd7zXZ\0"[..]),
        ("o.sql.bz2", b"BZh9"),
        ("o.zst", b"\x28\xb5\x2f\xfd"),
        ("o's dump.zip", b"PK\x03\x04"),
        ("o.sql.lz4", b"\x04\x22\x4d\x18"),
        ("o.sql.age", b"age-encryption.org/v1\n"),
        ("future.dump", b"PGDMP\x01\x63\x00"),
        ("of-16-with-zstd.dump", b"PGDMP\x01\x0f\x00\x04\x08\x01\x03"),
        ("inserts.txt", b"INSERT INTO t VALUES (1);\n"),
        ("empty.sql", b""),
        ("copy.sql", b"--\n-- PostgreSQL database dump\n--\n-- Dumped from database version 15.1\n-- Dumped by pg_dump version 15.1\n\\copy t from 'hunter2'\n"),
    ] {
        place.write(name, [start, b"and more"].concat());
    }
    stage.shell(
        "gzip -c custom.dump > custom.dump.gz; tar -cf things.tar orchestrator.sql; tar -czf things.tar.gz orchestrator.sql
         gzip -c orchestrator.sql > orchestrator.sql.gz; head -c 9000 orchestrator.sql.gz > torn.sql.gz
         head -c 9000 custom.dump > torn.dump; gzip -c o.sql.xz > twice.gz; mkdir cut.dump; touch cut.dump/1.dat.gz
         cp directory.dump/toc.dat cut.dump/1.dat",
    );
    // A pg_restore that was built without what compressed the archive.
    fs::create_dir(place.path("bin")).expect("a directory");
    let cannot = "cannot restore from compressed archive (this build does not support compression with zstd)";
    place.write("bin/pg_restore", format!("#!/bin/sh\necho 'pg_restore: error: {cannot}' >&2\nexit 1\n"));
    let pg_dump = stage.server.client_bin().join("pg_dump").display().to_string();
    stage.shell(&format!("chmod +x bin/pg_restore; ln -s '{pg_dump}' bin/pg_dump"));
    place.write("lacking.toml", "[postgres]\nbin_dir = \"bin\"\n");
    let mut all = stage.server.command("pg_dumpall");
    assert!(all.arg("-f").arg(place.path("all.sql")).status().expect("it runs").success());
    let before = state(&stage.server);
    let mut messages = Vec::new();
    for script in [
        "powershell.sql",
        "bare.sql",
        "o.sql.xz",
        "o.sql.bz2",
        "o.zst",
        "o's dump.zip",
        "o.sql.lz4",
        "o.sql.age",
        "twice.gz",
        "custom.dump.gz",
        "things.tar",
        "things.tar.gz",
        "torn.sql.gz",
        "torn.dump",
        "cut.dump",
        "future.dump",
        "of-16-with-zstd.dump",
        "all.sql",
        "created.sql",
        "copy.sql",
        "inserts.txt",
        "empty.sql",
        "orchestrator",
        "missing.sql",
    ] {
        messages.push(stage.message(&["restore", "--yes", "--sql", script, "--cluster-conf", "cluster.conf", "-q"]));
    }
    let pair = ["restore", "--yes", "--sql", "custom.dump", "--cluster-conf", "cluster.conf", "-q"];
    messages.push(stage.message(&[&pair[..], &["--config", "lacking.toml"]].concat()));
    for bundle in [
        "orchestrator.sql",
        "orchestrator.sql.gz",
        "custom.dump",
        "directory.dump",
        "powershell.sql",
        "all.sql",
        "o.sql.xz",
    ] {
        messages.push(stage.message(&["show", bundle]));
    }
    messages.push(stage.message(&["restore", "--yes", "--file", "custom.dump", "-q"]));
    messages.push(stage.message(&["verify", "orchestrator.sql"]));
    assert!(state(&stage.server) == before, "something has changed");
    insta::with_settings!({ filters => vec![(r"\d+\.\d+ \([^)]*\)", "[version]"), (r"/usr/lib/postgresql/\d+/bin", "[programs]")] }, {
        insta::assert_snapshot!(messages.join("\n"));
    });
    // The way out is a command that can be run as it stands, and leads out.
    for script in ["powershell.sql", "bare.sql", "custom.dump.gz"] {
        let said = stage.message(&["restore", "--yes", "--sql", script, "--cluster-conf", "cluster.conf", "-q"]);
        let (_, command) = said.lines().find_map(|line| line.split_once("name what comes out: ")).expect("a command");
        stage.shell(&command.replace("[here]/", ""));
        let (_, made) = command.split_once(" > [here]/").expect("a file");
        stage.restored(made, &script.replace('.', "_"));
    }
}

#[test]
fn a_bundle_that_is_not_quite_there_is_found() {
    let stage = Scripts::new(10);
    let bundle = stage.place.make_bundle(&stage.server);
    let name = bundle.file_name().expect("a name").to_string_lossy().into_owned();
    let short = name.trim_end_matches(".tgz");
    let shown = |path: String| stage.message(&["show", &path]).replace(short, "[name]");
    let mut messages = vec![shown(format!("bundles/{short}")), shown(format!("bundles/{name}.sha256"))];
    let pair = ["restore", "--yes", "-q", "--cluster-conf", "cluster.conf", "--sql"];
    let path = format!("bundles/{name}");
    messages.push(stage.message(&[&pair[..], &[&path]].concat()).replace(short, "[name]"));
    fs::rename(&bundle, stage.place.path("elsewhere")).expect("moved");
    messages.push(shown(format!("bundles/{name}")));
    messages.push(shown(format!("bundles/{name}.sha256")));
    insta::assert_snapshot!(messages.join("\n"));
}

#[test]
fn a_file_of_another_user_is_named_with_its_owner() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let stage = Scripts::new(10);
    let bundle = stage.place.make_bundle(&stage.server);
    let name = bundle.file_name().expect("a name").to_string_lossy().into_owned();
    let open = |path: &Path, mode: u32| {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
    };
    open(&stage.place.path(""), 0o755);
    open(&stage.place.path("bundles"), 0o755);
    let show = || {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "nobody", "--clear-groups"]).arg(system_tests::binary()).arg("show").arg(&bundle);
        let output = command.env("STATE_DIRECTORY", "/nowhere").output().expect("setpriv runs");
        describe(&output).replace(&name, "[name]").replace(&stage.place.path("").display().to_string(), "[here]/")
    };
    let hint = "it belongs to root, and you are nobody: sudo chown nobody [here]/bundles/[name]";
    assert!(show().contains(hint), "{}", show());
    open(&stage.place.path("bundles"), 0o700);
    assert!(show().contains("[here]/bundles belongs to root and does not let nobody in"), "{}", show());
}

#[test]
fn settings_and_cluster_conf_are_told_apart_whatever_their_names() {
    let stage = Scripts::new(10);
    let place = &stage.place;
    stage.dump("o.sql", &[]);
    fs::copy(place.path("cluster.conf"), place.path("cluster.toml")).expect("a copy");
    place.write("machines.toml", "machines: {\n  central: { hosts: [\"10.0.0.1\"] }\n}\n");
    place.write("o.conf", "cluster_conf = \"cluster.conf\"\n[[stores]]\npath = \"bundles\"\n");
    place.write("typed.conf", "cluster_conf = \"cluster.conf\"\n[postgres]\ndatabses = []\n");
    place.write("keys.conf", "[postgres]\nconnection = \"password=hunter2\"\n");
    place.write("leads.toml", "cluster_conf = \"o.toml\"\n");
    place.write("o.toml", "cluster_conf = \"cluster.conf\"\n");
    let backup = |config| ["backup", "--release", "1", "--to", "bundles", "--config", config];
    let mut messages: Vec<String> =
        ["cluster.toml", "machines.toml", "o.conf", "typed.conf", "keys.conf", "leads.toml"]
            .map(|config| stage.message(&backup(config)))
            .into();
    let pair = ["restore", "--yes", "-q", "--sql", "o.sql", "--cluster-conf"];
    for more in
        [&["o.toml"][..], &["cluster.conf", "--config", "o.conf"], &["cluster.conf", "--config", "cluster.toml"]]
    {
        messages.push(stage.message(&[&pair, more].concat()));
    }
    assert!(!messages.concat().contains("hunter2"));
    insta::assert_snapshot!(messages.join("\n"));
    let conf = fs::read_to_string(place.path("o.conf")).expect("settings");
    assert!(conf.starts_with("cluster_conf ="), "settings were overwritten");
}
