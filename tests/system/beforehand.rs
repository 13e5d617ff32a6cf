//! What is said before a restore, or instead of one, and what it brings back of `cluster.conf`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use system_tests::{Stage, another_second, as_root, describe, modes};

#[test]
fn rules_and_passwords_that_name_databases_one_by_one_are_met_before_anything_is_built() {
    let stage = Stage::new();
    let (server, state) = (&stage.server, stage.place.path("state"));
    server.sql("postgres", "CREATE ROLE boss SUPERUSER LOGIN PASSWORD 'pw'");
    stage.place.write("a", "captured");
    stage.settings(&stage.place.path("a"), "");
    fs::create_dir(stage.place.path("bundles")).expect("a directory");
    let (_, bundle) = stage.back_up(&stage.place.path("bundles"), &state);
    let hba = server.host().join("data/pg_hba.conf");
    let passwords = stage.place.write("pgpass", "*:*:postgres:boss:pw\n*:*:template1:boss:pw\n*:*:one:boss:pw\n");
    fs::set_permissions(&passwords, fs::Permissions::from_mode(0o600)).expect("a mode");
    let reload = |rules: &str, refused: &str| {
        as_root(&stage, &format!("printf '{rules}' > {}", hba.display()));
        server.sql("postgres", "SELECT pg_reload_conf()");
        // The rules hold once whoever may not come in is told so.
        let tried = || server.command("psql").args(["-X", "-w", "-d", "no_such"]).output().expect("psql runs");
        while !describe(&tried()).contains(refused) {
            fixtures::pause();
        }
    };
    let restore = |user: &str, more: &[&str]| {
        let mut restore = stage
            .command(&["restore", "--only", "databases", "--yes", "--file", bundle.to_str().expect("UTF-8")], &state);
        let output = restore.args(more).env("PGUSER", user).env("PGPASSFILE", &passwords).output().expect("it runs");
        (output.status.code(), describe(&output))
    };
    reload("local postgres,template1,one,boss all trust\n", "no pg_hba.conf entry");
    for (user, more) in [("postgres", &["--dry-run"][..]), ("postgres", &[]), ("boss", &["--database", "one=two"])] {
        let (code, said) = restore(user, more);
        assert_eq!(code, Some(13), "{user}: {said}");
        assert!(said.contains("no pg_hba.conf entry") && said.contains("nothing was changed"), "{user}: {said}");
    }
    let (_, said) = restore("postgres", &["--dry-run"]);
    let line = said.lines().find_map(|line| line.split_once("every database: ")).unwrap_or_else(|| panic!("{said}")).1;
    assert!(line.contains("'local all postgres trust'"), "{line}");
    as_root(&stage, line);
    reload("local all postgres trust\nlocal all all scram-sha-256\n", "does not exist");
    let (code, said) = restore("boss", &["--dry-run"]);
    assert_eq!(code, Some(13), "{said}");
    assert!(said.contains("*:*:*:boss:PASSWORD"), "{said}");
    fs::write(&passwords, "*:*:*:boss:pw\n").expect("written");
    let (code, said) = restore("boss", &[]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(server.sql("postgres", "SELECT count(*) FROM pg_database WHERE datname ~ '_restore_'"), "0");
}

#[test]
fn there_is_nothing_to_resume_once_a_restore_has_ended() {
    let stage = Stage::new();
    let state = stage.place.path("state");
    stage.place.write("a", "captured");
    stage.settings(&stage.place.path("a"), "");
    fs::create_dir(stage.place.path("bundles")).expect("a directory");
    let (_, bundle) = stage.back_up(&stage.place.path("bundles"), &state);
    let resume = || {
        let output = stage.run(&["restore", "--resume", "--yes"], &state);
        (output.status.code(), describe(&output))
    };
    let (none, _) = resume();
    assert!(stage.restore_files(&bundle, &state).status.success());
    assert!(!stage.restore_files(Path::new("bundles/not-there.tgz"), &state).status.success());
    let (code, said) = resume();
    assert_eq!((code, none), (Some(10), Some(10)), "{said}");
    assert!(said.contains("nothing is unfinished: the last restore, of orchestrator_backup_"), "{said}");

    // A store on a full disk is not a matter of rights.
    let script = "mkdir small; mount -t tmpfs -o size=64k tmpfs small; cat /dev/zero > small/fill 2>/dev/null || true; exec \"$0\" \"$@\"";
    let backup = stage.command(&["backup", "--database", "one", "--to", "small"], &state);
    let mut full = fixtures::as_root("unshare");
    full.args(["--mount", "sh", "-c", script]).arg(backup.get_program()).args(backup.get_args());
    full.current_dir(stage.place.path("")).envs(stage.server.variables()).env("STATE_DIRECTORY", &state);
    let said = describe(&full.output().expect("unshare runs"));
    assert!(said.contains("make room") && !said.contains("write permission"), "{said}");
}

#[test]
fn what_a_script_would_lose_is_said_beforehand() {
    let stage = Stage::new();
    let server = &stage.server;
    server.sql(
        "one",
        "SELECT lo_from_bytea(0, 'large'); SELECT lo_from_bytea(0, 'more'); CREATE TABLE w AS SELECT E'a\nb' AS w",
    );
    stage.place.write("settings.toml", "cluster_conf = 'cluster.conf'\n");
    as_root(
        &stage,
        "pg_dump one > whole.sql; pg_dump --no-blobs one > without.sql; pg_dump -n public one > public.sql
         pg_dump --inserts one > inserts.sql; sed 's/$/\\r/' inserts.sql > crlf.sql; sed 's/$/\\r/' whole.sql > rows-crlf.sql",
    );
    let (gone, crlf) = ("it has 2 large objects, and the script has none", "its lines end in CR LF");
    for (script, said_of) in [
        ("whole.sql", &[][..]),
        ("without.sql", &[gone]),
        ("public.sql", &[gone]),
        ("inserts.sql", &[]),
        ("crlf.sql", &[crlf]),
        ("rows-crlf.sql", &[]),
    ] {
        let arguments = [
            "restore",
            "--sql",
            script,
            "--cluster-conf",
            "cluster.conf",
            "--database",
            "one",
            "--only",
            "databases",
            "--dry-run",
        ];
        let said = describe(&stage.run(&arguments, &stage.place.path("state")));
        for warning in [gone, crlf] {
            assert_eq!(said.contains(warning), said_of.contains(&warning), "{script}: {said}");
        }
        if said_of.contains(&crlf) {
            let line = said
                .split_once("made without: ")
                .and_then(|(_, rest)| rest.split_once(", and restore that"))
                .expect("a hint")
                .0;
            as_root(&stage, &format!("{line}; cmp crlf.sql.lf inserts.sql"));
        }
    }
}

#[test]
fn cluster_conf_comes_back_with_its_mode_its_owner_and_its_directory() {
    let stage = Stage::new();
    let state = stage.place.path("state");
    as_root(
        &stage,
        "mkdir -p bundles etc/chef etc/one; cp cluster.conf etc/chef/; ln -s ../chef/cluster.conf etc/one/cluster.conf
         chmod 640 etc/chef/cluster.conf; chmod 2750 etc/chef; chown nobody:daemon etc/chef; chown daemon:nogroup etc/chef/cluster.conf",
    );
    let text =
        format!("cluster_conf = '{}'\nrelease.version = '2.6.3'\n", stage.place.path("etc/one/cluster.conf").display());
    stage.place.write("settings.toml", text);
    let (output, bundle) = stage.back_up(&stage.place.path("bundles"), &state);
    assert!(output.status.success(), "{}", describe(&output));
    let before = modes(&stage, "etc/chef");
    // A fresh machine, with or without what was there, and an account that it has not.
    let link = stage.place.path("etc/one/cluster.conf");
    for (lost, told) in [("etc", true), ("etc/chef", false), ("etc/one/cluster.conf", true)] {
        as_root(&stage, &format!("mv {lost} lost"));
        let output = stage.restore_files(&bundle, &state);
        let said = describe(&output);
        assert!([Some(0), Some(3)].contains(&output.status.code()), "{lost}: {said}");
        let found = modes(&stage, "etc/chef");
        let found: Vec<&str> = found.lines().filter(|line| !line.contains("_before_")).collect();
        assert_eq!(found, before.lines().collect::<Vec<_>>(), "{lost}: {said}");
        let hint =
            said.lines().find_map(|line| line.split_once("hint: after the restore: ")).map(|(_, hint)| hint.to_owned());
        assert_eq!(hint.is_some(), told, "{lost}: {said}");
        if let Some(hint) = hint {
            as_root(&stage, &hint);
        }
        assert_eq!(link.canonicalize().ok(), stage.place.path("etc/chef/cluster.conf").canonicalize().ok(), "{lost}");
        as_root(&stage, "rm -rf lost etc/chef/*_before_*");
        another_second();
    }
}
