//! What is valid on a server and rare: settings of whoever runs us, templates, roles that only a setting names, databases that can't
//! be captured, servers without a database `postgres`.

use fixtures::{Installation, Postgres, installations};
use system_tests::{Workplace, another_second, describe, open};

/// What whoever backs up prefers to see.
const PREFERRED: &str =
    "-c timezone=America/New_York --intervalstyle=iso_8601 -c lc_monetary=C -c datestyle=SQL,\\ DMY -e";

/// Statements for the server, each by itself, and then some for databases.
const SERVER: &[&str] = &[
    "CREATE ROLE app LOGIN",
    "CREATE ROLE zrole",
    "CREATE ROLE lonely",
    "CREATE ROLE \"Of a f'n\"",
    "CREATE ROLE subscriber SUPERUSER",
    "CREATE ROLE stranger",
    "ALTER ROLE app SET role TO zrole",
    "CREATE DATABASE tokyo",
    "ALTER DATABASE tokyo SET timezone = 'Asia/Tokyo'",
    "CREATE DATABASE paris",
    "ALTER DATABASE paris SET bytea_output = 'escape'",
    "CREATE DATABASE parallel",
    "ALTER DATABASE parallel SET force_parallel_mode = on",
    "CREATE DATABASE model",
    "CREATE DATABASE template_gis",
    "CREATE DATABASE subs",
    "CREATE DATABASE poor",
    "CREATE DATABASE noisy",
    "ALTER DATABASE noisy SET client_min_messages = debug5",
    "ALTER DATABASE noisy SET default_tablespace = 'nosuch'",
    "CREATE DATABASE \"two\nlines\"",
    "CREATE DATABASE mule ENCODING 'MULE_INTERNAL' TEMPLATE template0 LOCALE 'C'",
];
const DATABASES: &[(&str, &str)] = &[
    (
        "tokyo",
        "CREATE TABLE x AS SELECT t AS at FROM generate_series('2020-01-01'::timestamptz, '2020-01-02', '3h') t;
         CREATE MATERIALIZED VIEW mv AS SELECT at::date AS d, count(*) FROM x GROUP BY 1",
    ),
    ("model", "CREATE TABLE t AS SELECT 'new' AS a"),
    ("template_gis", "CREATE TABLE t AS SELECT 'gis' AS a; GRANT SELECT ON t TO app"),
    ("parallel", "CREATE TABLE t AS SELECT 1 AS a"),
    ("poor", "CREATE TABLE t AS SELECT 1 AS a; SELECT lo_create(7)"),
    ("noisy", "CREATE TABLE t AS SELECT 1 AS a; CREATE MATERIALIZED VIEW mv AS TABLE t"),
    (
        "subs",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET role TO \"Of a f'n\" AS 'SELECT 1';
         CREATE SUBSCRIPTION sub CONNECTION 'dbname=nowhere' PUBLICATION p WITH (connect = false, slot_name = NONE);
         ALTER SUBSCRIPTION sub OWNER TO subscriber",
    ),
    // From here on sessions begin otherwise.
    ("postgres", "ALTER DATABASE model IS_TEMPLATE true; ALTER DATABASE template_gis IS_TEMPLATE true"),
    ("postgres", "ALTER DATABASE poor SET role = 'lonely'; ALTER DATABASE paris SET timezone = 'Europe/Paris'"),
    ("postgres", "ALTER ROLE postgres SET timezone = 'Asia/Kolkata'; ALTER ROLE postgres SET bytea_output = 'hex'"),
];
const TEMPLATES: &str = "SELECT datname FROM pg_database WHERE datistemplate AND datname !~ '_before_' ORDER BY 1";

#[test]
fn what_is_valid_and_rare_is_captured_and_comes_back() {
    let source = Postgres::start();
    SERVER.iter().for_each(|statement| drop(source.sql("postgres", statement)));
    DATABASES.iter().for_each(|(database, made)| drop(source.sql(database, made)));
    let place = Workplace::default();
    let backup = place.backup(&source, &["-q"]).env("PGOPTIONS", PREFERRED).output().expect("it runs");
    let said = String::from_utf8(backup.stderr.clone()).expect("UTF-8");
    assert_eq!(backup.status.code(), Some(3), "{}", describe(&backup));
    assert!(said.contains("warning mule: ") && said.contains("lines: pg_dump takes no name"), "{said}");
    assert_eq!(said.matches("warning").count(), 2, "{said}");
    assert!(!said.contains("capture"), "{said}");
    let bundle = place.bundles().pop().expect("a bundle");
    let opened = open(&bundle);
    let session = |database: &str, setting: &str| {
        let found = opened.manifest().databases.iter().find(|one| one.name == database).expect("it is in it");
        found.session.as_ref().and_then(|session| session.get(setting)).cloned()
    };
    for (database, setting, expected) in [
        ("tokyo", "TimeZone", Some("Asia/Tokyo")),
        ("tokyo", "IntervalStyle", Some("postgres")),
        ("tokyo", "DateStyle", Some("ISO, MDY")),
        ("tokyo", "lc_monetary", Some("C.UTF-8")),
        ("parallel", "lc_monetary", Some("C.UTF-8")),
        // The user's own come before the database's, and are not its.
        ("paris", "TimeZone", Some("Europe/Paris")),
        ("paris", "bytea_output", Some("escape")),
        ("model", "bytea_output", None),
    ] {
        assert_eq!(session(database, setting).as_deref(), expected, "{database}: {setting}");
    }
    let roles = &opened.manifest().databases[0].roles;
    assert_eq!(roles, &["Of a f'n", "app", "lonely", "postgres", "subscriber", "zrole"]);

    let target = Postgres::start();
    target.sql("postgres", "CREATE DATABASE model IS_TEMPLATE true");
    target.sql("model", "CREATE TABLE t AS SELECT 'old' AS a");
    let mut restore = place.restore(&target, &["--release", "2.6.3", "--yes", "-q", "--file"]);
    let restored = restore.arg(&bundle).env("PGOPTIONS", PREFERRED).output().expect("it runs");
    let said = describe(&restored);
    assert_eq!(restored.status.code(), Some(3), "{said}");
    assert!(!said.contains("lc_monetary") && !said.contains("TimeZone"), "{said}");
    let days = "SELECT * FROM mv ORDER BY 1";
    assert_eq!(target.sql("tokyo", days), source.sql("tokyo", days));
    assert_eq!(target.sql("postgres", TEMPLATES), "model\ntemplate0\ntemplate1\ntemplate_gis");
    assert_eq!(target.sql("model", "TABLE t"), "new");
    assert_eq!(target.sql("template_gis", "TABLE t"), "gis");
    let owner = "SELECT rolname FROM pg_subscription JOIN pg_roles r ON r.oid = subowner";
    assert_eq!(target.sql("subs", owner), "subscriber");
    let setting = "SELECT setconfig FROM pg_db_role_setting JOIN pg_roles r ON r.oid = setrole WHERE rolname = 'app'";
    assert_eq!(target.sql("postgres", setting), "{role=zrole}");
    let rollback = place.rollback(&target, &bundle).output().expect("it runs");
    assert_eq!(rollback.status.code(), Some(0), "{}", describe(&rollback));
    assert_eq!(target.sql("postgres", TEMPLATES), "model\ntemplate0\ntemplate1");
    assert_eq!(target.sql("model", "TABLE t"), "old");

    // One that is named must be in the backup.
    for name in ["two\nlines", "mule"] {
        let named = place.backup(&source, &["--database", name]).output().expect("it runs");
        assert_ne!(named.status.code(), Some(0), "{}", describe(&named));
        assert!(describe(&named).contains("capture database"), "{}", describe(&named));
    }

    // Neither needs a database of the name postgres.
    target.sql("model", "ALTER DATABASE postgres RENAME TO other");
    another_second();
    let bundle = place.make_bundle(&target);
    target.sql("model", "UPDATE t SET a = 'changed'");
    let output = place.restore_all(&target, &bundle, &[]);
    assert!([Some(0), Some(3)].contains(&output.status.code()), "{}", describe(&output));
    assert_eq!(target.sql("model", "TABLE t"), "old");
}

#[test]
fn settings_of_roles_that_the_server_does_not_take_are_left_out_and_said_beforehand() {
    let oldest = installations().into_iter().next().expect("one");
    if oldest.major >= 14 {
        return;
    }
    let source = Postgres::start_version(&oldest, "");
    for statement in [
        "CREATE ROLE app LOGIN",
        "CREATE ROLE zrole",
        "ALTER ROLE app SET operator_precedence_warning = on",
        "ALTER ROLE app SET work_mem = '7MB'",
        "ALTER ROLE app SET search_path = 'it''s', \"a b\"",
        "ALTER ROLE app SET role = zrole",
        "ALTER ROLE app SET vacuum_cleanup_index_scale_factor = 0.5",
        "CREATE ROLE known SUPERUSER",
        "ALTER ROLE known SET operator_precedence_warning = on",
        "CREATE DATABASE shop",
    ] {
        source.sql("postgres", statement);
    }
    source.sql("shop", "CREATE TABLE t AS SELECT 1 AS a; ALTER TABLE t OWNER TO app; GRANT SELECT ON t TO known");
    let place = Workplace::default();
    let bundle = place.make_bundle_of(&source);
    let target = Postgres::start_version(&Installation::usual(), "");
    target.sql("postgres", "CREATE ROLE known");
    let mut dry = place.restore(&target, &["--release", "2.6.3", "--dry-run", "-q", "--file"]);
    let dry = dry.arg(&bundle).output().expect("it runs");
    let output = place.restore_all(&target, &bundle, &["-q"]);
    for output in [dry, output] {
        let said = describe(&output);
        assert_eq!(output.status.code(), Some(3), "{said}");
        for word in ["role app: ", "ALTER ROLE \"app\" SET \"operator_precedence_warning\" TO 'on'", "cleanup_index"] {
            assert!(said.contains(word), "{word}: {said}");
        }
        assert!(!said.contains("role known"), "it is there already: {said}");
    }
    let kept = "SELECT rolname, setconfig FROM pg_db_role_setting JOIN pg_roles r ON r.oid = setrole";
    let expected = "app|{work_mem=7MB,\"search_path=\\\"it's\\\", \\\"a b\\\"\",role=zrole}";
    assert_eq!(target.sql("postgres", kept), expected);
    assert_eq!(target.sql("shop", "TABLE t"), "1");
}
