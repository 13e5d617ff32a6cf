//! What stands around a database's tables: databases that go away, grants of the server, extensions' own tables, names that
//! look like SQL, and what pg_dump can't write.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use backup_core::component::postgres::OLDEST;
use fixtures::{Postgres, as_root, forget_libpq, oldest_and_newest};
use system_tests::{Workplace, code_but_for_clients, describe, open};

#[test]
fn a_database_that_goes_away_meanwhile_is_a_warning_and_the_others_are_backed_up() {
    for installation in oldest_and_newest(OLDEST) {
        let source = Postgres::start_version(&installation, "");
        for name in ["a", "b_dropped", "c_renamed", "d_closed", "d_replaced", "e_forced", "f"] {
            source.sql("postgres", &format!("CREATE DATABASE {name}"));
            source.sql(name, "CREATE TABLE t AS SELECT 1 AS a");
        }
        // Its rows take for ever, so that half of it is in the bundle when it goes.
        source.sql(
        "e_forced",
        "CREATE TABLE slow AS SELECT 1 AS a; ALTER EXTENSION plpgsql ADD TABLE slow; UPDATE pg_extension SET \
         extconfig = ARRAY['slow'::regclass::oid], extcondition = ARRAY['WHERE pg_sleep(600) IS NULL'] WHERE extname = 'plpgsql'",
    );
        source.sql("a", "BEGIN; LOCK TABLE t; PREPARE TRANSACTION 'hold'");
        let place = Workplace::default();
        let mut run = place.backup(&source, &[]);
        let child = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        source.wait_until("SELECT count(*) > 0 FROM pg_locks WHERE NOT granted");
        source.sql("postgres", "DROP DATABASE b_dropped");
        source.sql("postgres", "ALTER DATABASE c_renamed RENAME TO other");
        source.sql("postgres", "ALTER DATABASE d_closed ALLOW_CONNECTIONS false");
        source.sql("postgres", "ALTER DATABASE d_replaced RENAME TO earlier");
        source.sql("postgres", "CREATE DATABASE d_replaced");
        source.sql("a", "ROLLBACK PREPARED 'hold'");
        source.wait_until(
            "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = 'e_forced' AND wait_event = 'PgSleep'",
        );
        source.sql("postgres", "DROP DATABASE e_forced WITH (FORCE)");
        let output = child.wait_with_output().expect("it ends");
        let text = describe(&output);
        assert_eq!(output.status.code(), Some(3), "{text}");
        for said in [
            "b_dropped: somebody dropped",
            "c_renamed: somebody renamed it to other",
            "d_closed: somebody closed",
            "d_replaced: somebody renamed it to earlier",
            "e_forced: somebody dropped",
        ] {
            assert!(text.contains(said), "{said}: {text}");
        }
        let bundle = place.bundles().pop().expect("a bundle");
        let names: Vec<String> =
            open(&bundle).manifest().databases.iter().map(|database| database.name.clone()).collect();
        assert_eq!(names, ["a", "f"]);
        assert!(place.cli(&["verify"]).arg(&bundle).output().expect("it runs").status.success());
        let target = Postgres::start_version(&installation, "");
        let output = place.restore_all(&target, &bundle, &[]);
        // It says what the backup said.
        assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
        assert_eq!(target.sql("f", "SELECT a FROM t"), "1");
        let named = place.backup(&source, &["--database", "f", "--database", "b_dropped"]).output().expect("it runs");
        assert_eq!(named.status.code(), Some(10), "one that is named must be there: {}", describe(&named));
    }
}

#[test]
fn a_database_dropped_while_several_connections_read_it_costs_no_other_one() {
    for (installation, connected_to) in oldest_and_newest(OLDEST).iter().zip(["postgres", "e_forced"]) {
        let source = Postgres::start_version(installation, "");
        for name in ["a", "e_forced", "f"] {
            source.sql("postgres", &format!("CREATE DATABASE {name}"));
            source.sql(name, "CREATE TABLE t AS SELECT 1 AS a; SELECT lo_create(1)");
        }
        // Of each of the big ones a chunk is handed over; the row of the last one never comes.
        source.sql(
            "e_forced",
            "CREATE TABLE one AS SELECT (SELECT string_agg(md5((i * 31 + j)::text), '') FROM generate_series(1, 31) j) AS a \
             FROM generate_series(1, 17500) i; CREATE TABLE two AS TABLE one",
        );
        source.sql(
            "e_forced",
            "CREATE TABLE slow AS SELECT 1 AS a; ALTER EXTENSION plpgsql ADD TABLE slow; UPDATE pg_extension SET \
             extconfig = ARRAY['slow'::regclass::oid], extcondition = ARRAY['WHERE pg_sleep(600) IS NULL'] WHERE extname = 'plpgsql'",
        );
        let place = Workplace::default();
        let mut run =
            place.cli(&["backup", "--config", "cluster.conf", "--release", "2.6.3", "--to", "-", "--jobs", "5"]);
        run.envs(source.variables()).env("PGDATABASE", connected_to);
        let mut child = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        // The bundle is read to the middle of a chunk, so that whoever hands that over waits, and others wait behind.
        let mut stream = child.stdout.take().expect("a pipe");
        let mut begun = vec![0; 500_000];
        stream.read_exact(&mut begun).expect("a bundle's beginning");
        source.wait_until(
            "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = 'e_forced' AND wait_event = 'PgSleep'",
        );
        source.sql("postgres", "DROP DATABASE e_forced WITH (FORCE)");
        source.wait_until("SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = 'f'");
        stream.read_to_end(&mut begun).expect("the rest");
        let bundle = place.write("streamed.tgz", begun);
        let output = child.wait_with_output().expect("it ends");
        let text = describe(&output);
        assert_eq!(output.status.code(), Some(3), "{}: {text}", installation.major);
        assert!(text.contains("e_forced: somebody dropped it"), "{text}");
        let manifest = open(&bundle).manifest().clone();
        let names: Vec<&str> = manifest.databases.iter().map(|database| database.name.as_str()).collect();
        assert_eq!(names, ["a", "f"]);
        let verified = place.cli(&["verify"]).arg(&bundle).output().expect("it runs");
        assert!(verified.status.success(), "{}", describe(&verified));
        let target = Postgres::start_version(installation, "");
        let output = place.restore_all(&target, &bundle, &[]);
        assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
        assert_eq!(target.sql("f", "SELECT count(*), (SELECT count(*) FROM pg_largeobject_metadata) FROM t"), "1|1");
        assert_eq!(target.sql("postgres", "SELECT count(*) FROM pg_database WHERE datname ~ 'forced'"), "0");
    }
}

#[test]
fn what_roles_may_do_with_the_server_comes_back_or_is_said_to_be_missing() {
    for installation in oldest_and_newest(15) {
        let [source, target] = [(), ()].map(|()| {
            let server =
                Postgres::start_version(&installation, "allow_in_place_tablespaces = on\nallow_system_table_mods = on");
            server.sql("postgres", "CREATE TABLESPACE \"fast; one\" LOCATION ''");
            server
        });
        for statement in [
            "CREATE DATABASE shop",
            "CREATE ROLE app",
            "CREATE ROLE stranger",
            "ALTER ROLE ALL SET work_mem = '5MB'",
            "GRANT SET ON PARAMETER log_min_duration_statement TO app",
            "GRANT ALTER SYSTEM ON PARAMETER work_mem TO app WITH GRANT OPTION",
            "GRANT SET ON PARAMETER my.own TO app",
            "GRANT SET ON PARAMETER log_statement TO stranger",
            "GRANT SET ON PARAMETER deadlock_timeout TO PUBLIC",
            "GRANT CREATE ON TABLESPACE \"fast; one\" TO app",
            "GRANT CREATE ON TABLESPACE pg_default TO app",
            "GRANT pg_monitor TO app",
            "ALTER ROLE app SET search_path = 'a; b', public",
            "ALTER ROLE app IN DATABASE shop SET work_mem = '7MB'",
            "COMMENT ON ROLE app IS 'the; app'",
            "INSERT INTO pg_shseclabel VALUES ('app'::regrole, 'pg_authid'::regclass, 'nobody', 'x')",
        ] {
            source.sql("postgres", statement);
        }
        source.sql("shop", "CREATE TABLE t AS SELECT 1 AS a; GRANT SELECT ON t TO app");
        let place = Workplace::default();
        let bundle = place.make_bundle(&source);
        let needs = open(&bundle).manifest().needs.clone();
        for (subject, hint) in [
            ("parameter log_statement", "GRANT SET ON PARAMETER \"log_statement\" TO \"stranger\";"),
            ("parameter deadlock_timeout", "GRANT SET ON PARAMETER \"deadlock_timeout\" TO PUBLIC;"),
            ("setting work_mem", ""),
            ("role app", ""),
        ] {
            let is = |need: &&backup_core::finding::Finding| {
                need.subject == subject
                    && need.code != "needs-password"
                    && need.hint.as_deref().unwrap_or_default() == hint
            };
            assert!(needs.iter().any(|need| is(&need)), "{subject}: {needs:#?}");
        }
        let output = place.restore_all(&target, &bundle, &[]);
        assert!(output.status.success(), "{}", describe(&output));
        for question in [
            "SELECT has_parameter_privilege('app', 'log_min_duration_statement', 'SET')",
            "SELECT has_parameter_privilege('app', 'work_mem', 'ALTER SYSTEM WITH GRANT OPTION')",
            "SELECT has_parameter_privilege('app', 'my.own', 'SET')",
            "SELECT has_tablespace_privilege('app', 'fast; one', 'CREATE')",
            "SELECT has_tablespace_privilege('app', 'pg_default', 'CREATE')",
            "SELECT pg_has_role('app', 'pg_monitor', 'USAGE')",
            "SELECT setconfig FROM pg_db_role_setting WHERE setrole = 'app'::regrole AND setdatabase = 0",
            "SELECT setconfig FROM pg_db_role_setting WHERE setrole = 'app'::regrole AND setdatabase <> 0",
            "SELECT shobj_description('app'::regrole, 'pg_authid')",
        ] {
            let answers = [&source, &target].map(|server| server.sql("shop", question));
            assert_eq!(answers[1], answers[0], "{question}");
            assert_ne!(answers[1], "f", "{question}");
        }
    }
}

/// An extension in the server's own directory, for as long as the test runs.
struct Extension(Vec<PathBuf>);

impl Extension {
    fn install(server: &Postgres, place: &Workplace, name: &str, script: &str) -> Self {
        let directory = server.sql("postgres", "SELECT setting FROM pg_config WHERE name = 'SHAREDIR'");
        let directory = Path::new(&directory).join("extension");
        let files = [
            (format!("{name}.control"), "default_version = '1'\nrelocatable = false\nschema = public\n".to_owned()),
            (format!("{name}--1.sql"), script.to_owned()),
        ];
        let installed = Self(files.iter().map(|(file, _)| directory.join(file)).collect());
        for (file, content) in &files {
            let from = place.write(file, content);
            let mut install = as_root("install");
            assert!(install.args(["-m", "644"]).arg(from).arg(&directory).status().expect("install runs").success());
        }
        installed
    }
}

impl Drop for Extension {
    fn drop(&mut self) {
        let _ = as_root("rm").arg("-f").args(&self.0).status();
    }
}

#[test]
fn an_extensions_own_tables_are_loaded_in_the_order_of_their_foreign_keys() {
    for installation in oldest_and_newest(OLDEST) {
        let (place, source) = (Workplace::default(), Postgres::start_version(&installation, ""));
        let name = format!("orchestrator_test_{}", std::process::id());
        let script = "CREATE TABLE z_kind (id int PRIMARY KEY); CREATE TABLE m_thing (id int PRIMARY KEY, kind int REFERENCES z_kind); \
        CREATE TABLE a_part (thing int REFERENCES m_thing, kind int REFERENCES z_kind); CREATE TABLE alone (a int); \
        SELECT pg_extension_config_dump('z_kind', ''); SELECT pg_extension_config_dump('m_thing', ''); \
        SELECT pg_extension_config_dump('a_part', ''); SELECT pg_extension_config_dump('alone', '');";
        let _extension = Extension::install(&source, &place, &name, script);
        source.sql("postgres", "CREATE DATABASE linked");
        source.sql(
            "linked",
            &format!(
                "CREATE EXTENSION {name}; INSERT INTO z_kind SELECT generate_series(1, 50000); \
             INSERT INTO m_thing SELECT i, i FROM generate_series(1, 50000) i; \
             INSERT INTO a_part SELECT i, i FROM generate_series(1, 50000) i; INSERT INTO alone VALUES (1)"
            ),
        );
        let bundle = place.make_bundle(&source);
        let sums = "SELECT (SELECT sum(id) FROM z_kind), (SELECT sum(kind) FROM m_thing), (SELECT sum(kind) FROM a_part), (SELECT a FROM alone)";
        let target = Postgres::start_version(&installation, "");
        let output = place.restore_all(&target, &bundle, &[]);
        assert!(output.status.success(), "{}", describe(&output));
        assert_eq!(target.sql("linked", sums), source.sql("linked", sums));
        // Others are drilled without the extension, and their bundles are of a newer pg_dump.
        if installation.client_major != installation.major {
            continue;
        }
        let inside = tempfile::tempdir().expect("a directory");
        std::fs::set_permissions(inside.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
        let mut drill = place.cli(&["drill", "--in"]);
        let output = drill.arg(inside.path()).arg(&bundle).env("PATH", target.path()).output().expect("it runs");
        assert!(output.status.success(), "{}", describe(&output));
        let by_hand = Postgres::start_version(&installation, "");
        let extract = place.cli(&["extract", "--to", "out"]).arg(&bundle).output().expect("it runs");
        assert!(extract.status.success(), "{}", describe(&extract));
        let script = place.path("out").join(bundle.file_stem().expect("a name")).join("databases/linked.sql");
        let output =
            by_hand.command("psql").args(["-X", "-d", "postgres", "-f"]).arg(script).output().expect("it runs");
        assert!(output.status.success() && output.stderr.is_empty(), "{}", describe(&output));
        assert_eq!(by_hand.sql("linked", sums), source.sql("linked", sums));
    }
}

#[test]
fn subscriptions_of_any_name_are_restored_and_taken_away() {
    for installation in oldest_and_newest(OLDEST) {
        let (place, source, target) = (
            Workplace::default(),
            Postgres::start_version(&installation, ""),
            Postgres::start_version(&installation, ""),
        );
        let names = ["a; b", "quoted\"; x", "it's; -- ", "plain"];
        for (number, name) in names.iter().enumerate() {
            let quoted = name.replace('"', "\"\"");
            source.sql(
            "postgres",
            &format!(
                "CREATE SUBSCRIPTION \"{quoted}\" CONNECTION 'host=/nowhere' PUBLICATION p WITH (connect = false, slot_name = 's{number}')"
            ),
        );
        }
        let bundle = place.make_bundle(&source);
        let listed = "SELECT string_agg(subname, '|' ORDER BY subname) FROM pg_subscription";
        for _ in 0..2 {
            let output = place.restore_all(&target, &bundle, &[]);
            assert!([Some(0), Some(3)].contains(&output.status.code()), "{}", describe(&output));
            assert_eq!(
                target.sql(
                    "postgres",
                    &format!("{listed} WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = 'postgres')")
                ),
                source.sql("postgres", listed)
            );
        }
        let output = place.restore(&target, &["cleanup", "--yes"]).output().expect("it runs");
        assert!(output.status.success(), "{}", describe(&output));
        assert_eq!(target.sql("template1", "SELECT count(*) FROM pg_subscription"), names.len().to_string());
    }
}

#[test]
fn what_pg_dump_can_not_write_is_found_at_backup() {
    for installation in oldest_and_newest(14) {
        let source = Postgres::start_version(&installation, "");
        source.sql("postgres", "CREATE DATABASE shop");
        source.sql(
            "shop",
            "CREATE FUNCTION bad(a int, int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT a + $2; END; \
         CREATE FUNCTION worse(int, b int) RETURNS int LANGUAGE sql RETURN $1 + b; \
         CREATE PROCEDURE worst(a int, int) LANGUAGE sql BEGIN ATOMIC SELECT a + $2; END; \
         CREATE FUNCTION nameless(int, int) RETURNS int LANGUAGE sql RETURN $1 + $2; \
         CREATE FUNCTION named(a int, b int) RETURNS int LANGUAGE sql RETURN a + b; \
         CREATE FUNCTION unused(a int, int) RETURNS text LANGUAGE sql RETURN 'x' || a; \
         CREATE FUNCTION text(a int, int) RETURNS int LANGUAGE sql AS 'SELECT a + $2'; \
         CREATE FUNCTION pg_catalog.hidden(int) RETURNS int LANGUAGE sql AS 'SELECT 1'; \
         SET allow_system_table_mods = on; CREATE TABLE pg_catalog.lost AS SELECT 1 AS a",
        );
        let place = Workplace::default();
        for command in ["check", "backup"] {
            let mut run = place.cli(&[command, "--config", "cluster.conf", "--release", "1", "--to", "bundles"]);
            let output = run.envs(source.variables()).output().expect("it runs");
            assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
        }
        let bundle = place.bundles().pop().expect("a bundle");
        let manifest = open(&bundle).manifest().clone();
        let found: Vec<(&str, &str)> =
            manifest.warnings.iter().map(|finding| (finding.code.as_str(), finding.subject.as_str())).collect();
        let not_restorable = [
            "shop: public.bad(integer,integer)",
            "shop: public.worse(integer,integer)",
            "shop: public.worst(integer,integer)",
        ];
        let expected = not_restorable.map(|subject| ("function-not-restorable", subject));
        let lost = [("not-dumped", "shop: hidden(integer)"), ("not-dumped", "shop: lost")];
        assert_eq!(found, [&expected[..], &lost].concat());
        assert!(manifest.warnings.iter().all(|finding| finding.hint.is_some()));
    }
}

#[test]
fn a_stale_collation_is_said_once_and_fails_no_backup() {
    for installation in oldest_and_newest(15) {
        let source = Postgres::start_version(&installation, "");
        source.sql("postgres", "CREATE DATABASE shop");
        source.sql("shop", "CREATE TABLE t AS SELECT 'a' AS a");
        source.sql("postgres", "UPDATE pg_database SET datcollversion = '2.28' WHERE datname = 'shop'");
        let mut psql = Command::new(source.client_bin().join("psql"));
        forget_libpq(&mut psql);
        let told =
            psql.envs(source.variables()).args(["-X", "-d", "shop", "-c", "SELECT 1"]).output().expect("psql runs");
        assert!(String::from_utf8_lossy(&told.stderr).contains("collation version"), "{}", describe(&told));
        let place = Workplace::default();
        let config = ["--config", "cluster.conf", "--release", "1", "--to", "bundles"];
        let check = place.cli(&["check"]).args(config).envs(source.variables()).output().expect("it runs");
        assert_eq!(code_but_for_clients(&check), Some(0), "{}", describe(&check));
        assert!(describe(&check).contains("ALTER DATABASE \"shop\" REFRESH COLLATION VERSION"), "{}", describe(&check));
        let backup = place.backup(&source, &[]).output().expect("it runs");
        assert_eq!(backup.status.code(), Some(0), "{}", describe(&backup));
    }
}
