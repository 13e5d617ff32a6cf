//! Extensions that can be made only in the database whose name they know: told at the backup and before a restore.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use fixtures::{Installation, Postgres, installations};
use system_tests::{Workplace, describe, state};
use tempfile::TempDir;

/// As `pg_cron` has it.
const RULE: &str = "DO $$ BEGIN IF current_database() <> 'jobs' THEN \
    RAISE EXCEPTION 'can only create extension in database jobs'; END IF; END $$;\nCREATE TABLE job (id int);\n";
/// Looks at the name and does not mind.
const LOOKS: &str = "CREATE FUNCTION here() RETURNS name LANGUAGE sql AS 'SELECT pg_catalog.current_database()';\n";

/// Debian's newest PostgreSQL once more, with further extensions: their names and scripts.
fn with_extensions(extensions: &[(&str, &str)]) -> (TempDir, Installation) {
    let debians = installations().into_iter().rfind(|one| one.server.starts_with("/usr/lib/postgresql"));
    let debians = debians.expect("missing prerequisite: a PostgreSQL server (package postgresql)");
    let root = tempfile::tempdir().expect("a directory");
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
    let [library, share] = ["lib", "share"].map(|part| format!("{part}/postgresql/{}", debians.major));
    let usr = Path::new("/usr");
    let link_all = |directory: &str| {
        fs::create_dir_all(root.path().join(directory)).expect("a directory");
        for entry in fs::read_dir(usr.join(directory)).expect("a directory").flatten() {
            symlink(entry.path(), root.path().join(directory).join(entry.file_name())).expect("a link");
        }
    };
    link_all(&library);
    link_all(&share);
    // A program finds all else by where it is itself.
    let bin = root.path().join(&library).join("bin");
    fs::remove_file(&bin).expect("a link");
    link_all(&format!("{library}/bin"));
    for program in ["postgres", "initdb"] {
        fs::remove_file(bin.join(program)).expect("a link");
        fs::copy(debians.server.join(program), bin.join(program)).expect("a copy");
    }
    fs::remove_file(root.path().join(&share).join("extension")).expect("a link");
    link_all(&format!("{share}/extension"));
    for (name, script) in extensions {
        let path = |suffix: &str| root.path().join(&share).join(format!("extension/{name}{suffix}"));
        fs::write(path(".control"), "default_version = '1.0'\n").expect("a file");
        fs::write(path("--1.0.sql"), script).expect("a file");
    }
    (root, Installation { server: bin, ..debians })
}

#[test]
fn an_extension_that_wants_one_database_is_told_before_a_restore_begins() {
    let (root, installation) = with_extensions(&[("night_jobs", RULE), ("looks", LOOKS)]);
    // What can't be read of an extension that no database has is no matter: a package that is being replaced, for instance.
    let scripts = root.path().join(format!("share/postgresql/{}/extension", installation.major));
    fs::create_dir(scripts.join("stranger--1.0.sql")).expect("a directory");
    let server = Postgres::start_version(&installation, "");
    for database in ["jobs", "other"] {
        server.sql("postgres", &format!("CREATE DATABASE {database}"));
        server.sql(database, "CREATE EXTENSION looks; CREATE TABLE t AS SELECT 1 AS a");
    }
    server.sql("jobs", "CREATE EXTENSION night_jobs");
    let place = Workplace::default();
    let backup = place.backup(&server, &[]).output().expect("it runs");
    let said = describe(&backup);
    assert_eq!(backup.status.code(), Some(0), "{said}");
    let needed = "jobs: extension night_jobs: it may want a database of this very name";
    assert!(said.contains(needed) && !said.contains("looks: it may"), "{said}");
    let bundle = place.bundles().remove(0);
    let before = state(&server);
    let refused = place.restore_all(&server, &bundle, &[]);
    let said = describe(&refused);
    assert_eq!(refused.status.code(), Some(13), "{said}");
    let why = "jobs: extension night_jobs: it can't be made in a database of another name: can only create extension in \
        database jobs";
    assert!(said.contains(why) && !said.contains("extension looks: it can't"), "{said}");
    assert!(state(&server) == before, "something has changed");

    // As the hint says: this one by hand, the other by a restore.
    let restored = place.restore_all(&server, &bundle, &["--database", "other"]);
    assert_eq!(restored.status.code(), Some(0), "{}", describe(&restored));
    server.sql("postgres", "DROP DATABASE jobs");
    let tar = Command::new("tar").arg("xzf").arg(&bundle).arg("-C").arg(place.path("")).status().expect("tar runs");
    assert!(tar.success());
    let name = bundle.file_stem().expect("a name").to_string_lossy().into_owned();
    let script = place.path(&format!("{name}/databases/jobs.sql"));
    let by_hand = server.command("psql").args(["-X", "-d", "postgres", "-f"]).arg(script).output().expect("psql runs");
    assert!(by_hand.status.success(), "{by_hand:?}");
    assert_eq!(server.sql("jobs", "SELECT count(*) FROM job; SELECT a FROM t"), "0\n1");
}
