//! What happens around the rows while they are captured: roles, locks, standbys, what `pg_dump` leaves out.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use fixtures::{Postgres, installations};
use system_tests::{Workplace, code_but_for_clients, describe, open};

/// Waits until the server says yes.
fn wait_until(server: &Postgres, condition: &str) {
    let begun = Instant::now();
    while server.sql("postgres", &format!("SELECT {condition}")) != "t" {
        assert!(begun.elapsed() < Duration::from_secs(60), "it never came to be: {condition}");
        fixtures::pause();
    }
}

/// Stops the child however the test ends.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Two tables: `small` is read last, and `much` takes a while.
fn server_with_much() -> Postgres {
    let server = Postgres::start();
    server.sql(
        "postgres",
        "CREATE TABLE much AS SELECT i, repeat(md5(i::text), 8) AS t FROM generate_series(1, 200000) i; \
        CREATE TABLE small AS SELECT i FROM generate_series(1, 1000) i",
    );
    server
}

const READING: &str =
    "EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'orchestrator-cli' AND query LIKE 'COPY%')";

/// Whether process `parent` has a child that runs `program`.
fn has_child(parent: u32, program: &str) -> bool {
    let statuses = std::fs::read_dir("/proc").expect("/proc").flatten();
    let statuses = statuses.filter_map(|process| std::fs::read_to_string(process.path().join("status")).ok());
    let (name, parent) = (format!("Name:\t{program}\n"), format!("\nPPid:\t{parent}\n"));
    { statuses }.any(|status| status.starts_with(&name) && status.contains(&parent))
}

#[test]
fn a_snapshot_that_ends_early_ends_the_run() {
    let server = server_with_much();
    let place = Workplace::default();
    let run = place.start_slow(&server, &[]);
    wait_until(&server, READING);
    while has_child(run.id(), "pg_dump") {
        fixtures::pause();
    }
    // Its owner holds the locks that keep `small` from being emptied under the readers' eyes.
    let owner = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
        WHERE application_name = 'orchestrator-cli' AND state = 'idle in transaction' AND datname = 'postgres'";
    assert_ne!(server.sql("postgres", owner), "0");
    server.sql("postgres", "TRUNCATE small");
    let output = run.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1), "{}", describe(&output));
    assert!(describe(&output).contains("keep the snapshot to the end"), "{}", describe(&output));
    assert!(place.bundles().is_empty() && place.leftovers().is_empty());
}

#[test]
fn a_table_that_others_wait_to_lock_is_captured_all_the_same() {
    let server = server_with_much();
    let place = Workplace::default();
    let run = place.start_slow(&server, &[]);
    wait_until(&server, READING);
    // It locks every table too, and would wait behind whoever waits already.
    while has_child(run.id(), "pg_dump") {
        fixtures::pause();
    }
    let drop =
        server.command("psql").args(["-X", "-d", "postgres", "-c", "DROP TABLE small"]).stdout(Stdio::null()).spawn();
    let _drop = Ended(drop.expect("psql runs"));
    wait_until(&server, "EXISTS (SELECT FROM pg_locks WHERE NOT granted)");
    let output = run.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", describe(&output));
    let bundle = open(&place.bundles().pop().expect("a bundle"));
    let rows: Vec<u64> = bundle.manifest().databases[0].tables.iter().map(|table| table.rows).collect();
    assert_eq!(rows, [200_000, 1000]);
}

/// Runs a script in the database postgres, as README.txt says of globals.sql.
fn run_script(target: &Postgres, script: &Path) {
    let mut psql = target.command("psql");
    let psql = psql.args(["-X", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-f"]).arg(script).output();
    let psql = psql.expect("psql runs");
    assert!(psql.status.success(), "{}", describe(&psql));
}

#[test]
fn roles_come_back_and_those_that_exist_are_left_alone() {
    for installation in installations() {
        let source = Postgres::start_version(&installation, "");
        source.sql(
            "postgres",
            r#"CREATE ROLE owner LOGIN PASSWORD 'hunter2' CONNECTION LIMIT 3 VALID UNTIL '2030-01-01 00:00:00+00';
            COMMENT ON ROLE owner IS E'it''s\nthe owner';
            CREATE ROLE "odd ""name""" NOINHERIT; GRANT "odd ""name""" TO owner WITH ADMIN OPTION;
            CREATE ROLE there; GRANT there TO "odd ""name""";
            ALTER ROLE owner SET search_path = '';
            ALTER ROLE "odd ""name""" SET search_path = "$user", public, "a, b";
            ALTER ROLE owner SET app.note = 'a, ''b''';
            ALTER ROLE owner SET work_mem = '8MB';
            CREATE ROLE villain; GRANT villain TO owner;
            CREATE TABLE t AS SELECT 1 AS a; ALTER TABLE t OWNER TO owner"#,
        );
        // Any user may set this; a restore by a superuser must not run it.
        let injection = "SELECT set_config('search_path', 'x;ALTER/**/ROLE/**/villain/**/SUPERUSER', false); \
            ALTER ROLE villain SET search_path FROM CURRENT";
        let injected = source.sql("postgres", &format!("{injection}; SELECT 'done'"));
        assert!(injected.ends_with("done"));
        let place = Workplace::default();
        let bundle = place.make_bundle(&source);
        let bundle = open(&bundle);
        let script = bundle.content("databases/globals.sql").expect("the script");
        assert!(!script.windows(7).any(|window| window == b"hunter2"), "passwords are not asked for");

        let target = Postgres::start_version(&installation, "");
        target.sql("postgres", "CREATE ROLE bystander; CREATE ROLE there CONNECTION LIMIT 7");
        run_script(&target, &place.write("globals.sql", script));
        let roles = "SELECT rolname, rolsuper, rolinherit, rolcanlogin, rolconnlimit, rolvaliduntil, rolconfig, \
            shobj_description(oid, 'pg_authid'), (SELECT array_agg((m.roleid::regrole, m.admin_option)::text ORDER BY 1) \
            FROM pg_auth_members m WHERE m.member = r.oid) FROM pg_roles r WHERE rolname IN ('owner', 'odd \"name\"') ORDER BY 1";
        assert_eq!(source.sql("postgres", roles), target.sql("postgres", roles), "version {}", installation.major);
        assert_eq!(target.sql("postgres", "SELECT rolsuper FROM pg_roles WHERE rolname = 'villain'"), "f");
        let there = "SELECT rolconnlimit FROM pg_roles WHERE rolname = 'there'";
        assert_eq!(target.sql("postgres", there), "7", "a role that exists is left as it is");
    }
}

#[test]
fn memberships_of_roles_that_exist_are_left_alone() {
    let source = Postgres::start();
    source.sql(
        "postgres",
        "CREATE ROLE a; CREATE ROLE b; GRANT a TO b; CREATE TABLE t AS SELECT 1 AS i; ALTER TABLE t OWNER TO b",
    );
    let place = Workplace::default();
    let bundle = place.make_bundle(&source);
    let bundle = open(&bundle);
    let script = place.write("globals.sql", bundle.content("databases/globals.sql").expect("the script"));
    let target = Postgres::start();
    target.sql("postgres", "CREATE ROLE a; CREATE ROLE b");
    run_script(&target, &script);
    assert_eq!(target.sql("postgres", "SELECT count(*) FROM pg_auth_members WHERE roleid = 'a'::regrole"), "0");
}

#[test]
fn passwords_come_along_when_asked_for() {
    let source = Postgres::start();
    source.sql(
        "postgres",
        "CREATE ROLE owner LOGIN PASSWORD 'hunter2'; CREATE TABLE t AS SELECT 1 AS i; ALTER TABLE t OWNER TO owner",
    );
    let place = Workplace::default();
    place.write("o.toml", "cluster_conf = \"cluster.conf\"\n[postgres]\nrole_passwords = true\n");
    let mut run = place.cli(&["backup", "--config", "o.toml", "--release", "1", "--to", "bundles"]);
    let output = run.envs(source.variables()).output().expect("the command runs");
    assert!(output.status.success(), "{}", describe(&output));
    let script = open(&place.bundles().pop().expect("a bundle")).content("databases/globals.sql").expect("the script");
    assert!(String::from_utf8_lossy(&script).contains("PASSWORD 'SCRAM-SHA-256$"), "{}", script.escape_ascii());
}

#[test]
fn what_pg_dump_leaves_out_is_a_warning() {
    let source = Postgres::start();
    source.sql(
        "postgres",
        "CREATE TABLE t AS SELECT 1 AS i; CREATE ROLE reader LOGIN; GRANT pg_read_all_data TO reader; \
        CREATE SUBSCRIPTION s CONNECTION 'host=/nowhere' PUBLICATION p WITH (connect = false)",
    );
    let place = Workplace::default();
    let output = place.backup(&source, &[]).env("PGUSER", "reader").output().expect("the command runs");
    assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
    assert!(describe(&output).contains("subscriptions not dumped"), "{}", describe(&output));
}

#[test]
fn check_finds_the_large_objects_that_a_backup_would_fail_on() {
    let source = Postgres::start();
    source.sql(
        "postgres",
        "CREATE TABLE t AS SELECT 1 AS i; CREATE ROLE reader LOGIN; GRANT pg_read_all_data TO reader; SELECT lo_from_bytea(700001, 'x')",
    );
    let place = Workplace::default();
    let config = ["--config", "cluster.conf", "--release", "1", "--to", "bundles"];
    let check = |expected: Option<i32>| {
        for command in ["check", "backup"] {
            let mut run = place.cli(&[command]);
            let output = run.args(config).envs(source.variables()).env("PGUSER", "reader").output();
            let output = output.expect("the command runs");
            assert_eq!(code_but_for_clients(&output), expected, "{command}: {}", describe(&output));
        }
    };
    check(Some(13));
    source.sql("postgres", "GRANT SELECT ON LARGE OBJECT 700001 TO reader");
    check(Some(0));
}

#[test]
fn templates_are_captured_and_half_dropped_databases_are_named() {
    let source = Postgres::start();
    source.sql("postgres", "CREATE DATABASE model IS_TEMPLATE true");
    source.sql("postgres", "CREATE DATABASE half");
    source.sql("postgres", "UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'half'");
    source.sql("model", "CREATE TABLE t AS SELECT 1 AS i");
    source.sql("postgres", "CREATE TABLE t AS SELECT 1 AS i");
    let place = Workplace::default();
    let output = place.backup(&source, &[]).output().expect("the command runs");
    assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
    assert!(
        describe(&output).contains("half") && describe(&output).contains("capture database model"),
        "{}",
        describe(&output)
    );
    let named = ["backup", "--config", "cluster.conf", "--release", "1", "--database", "model", "--to", "named"];
    let output = place.cli(&named).envs(source.variables()).output().expect("the command runs");
    assert!(output.status.success(), "{}", describe(&output));
}

#[test]
fn a_standby_is_captured_without_what_it_does_not_have() {
    let primary = Postgres::start();
    primary.load_sample(100);
    let standby = primary.standby();
    wait_until(&standby, "EXISTS (SELECT FROM pg_database WHERE datname = 'orchestrator')");
    let place = Workplace::default();
    let bundle = place.make_bundle(&standby);
    let bundle = open(&bundle);
    assert!(bundle.manifest().source.postgres.as_ref().is_some_and(|server| server.standby));
    let tables: Vec<&str> = bundle.manifest().databases[0].tables.iter().map(|table| table.name.as_str()).collect();
    assert!(tables.contains(&"machines") && !tables.contains(&"unlogged"), "{tables:?}");
}
