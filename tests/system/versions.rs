//! What a version of PostgreSQL has alone: clients newer than their server, triggers on login, dumps that can't be read back.

use std::process::Output;

use fixtures::{Installation, Postgres, installations};
use system_tests::{Workplace, code_but_for_clients, describe, last_line, open, reachable, state};

/// The installations that others than the usual one come from: none on processors that have no other versions.
fn of(major: u32) -> Option<Installation> {
    installations().into_iter().find(|installation| installation.major == major)
}

const ODD: &str = "CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz DEFAULT '2024-01-01', price numeric); \
    INSERT INTO orders (price) SELECT i FROM generate_series(1, 100) i; CREATE VIEW dear AS SELECT * FROM orders WHERE price > 50; \
    CREATE MATERIALIZED VIEW sums AS SELECT sum(price) FROM dear; GRANT SELECT ON dear TO reader; SELECT lo_from_bytea(7, 'x')";
const ASKED: &str = "SELECT * FROM sums; SELECT count(*) FROM dear; SELECT lo_get(7); INSERT INTO orders (price) VALUES (1) RETURNING id; \
    SELECT has_table_privilege('reader', 'dear', 'SELECT')";

#[test]
fn a_client_that_is_newer_than_its_server_makes_bundles_that_go_back_or_says_that_they_do_not() {
    let (Some(oldest), Some(newest)) = (of(13), of(18)) else { return };
    let server = Postgres::start_version(&oldest, "");
    ["CREATE ROLE reader", "CREATE DATABASE shop"].iter().for_each(|made| drop(server.sql("postgres", made)));
    server.sql("shop", ODD);
    let place = Workplace::default();
    let settings = |name: &str, client: &Installation| {
        let text = format!(
            "cluster_conf = 'cluster.conf'\n[release]\nversion = '2.6.3'\n[postgres]\nbin_dir = '{}'\n",
            client.client.display()
        );
        place.write(name, text);
    };
    settings("15.toml", &oldest);
    settings("18.toml", &newest);
    let run = |arguments: &[&str]| place.cli(arguments).envs(server.variables()).output().expect("it runs");
    let backup = |settings: &str, to: &str| {
        let output = run(&["backup", "--config", settings, "--to", to]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (text.lines().next().unwrap_or_default().to_owned(), output)
    };
    // The client of 15 writes what 13 takes.
    let (by_15, output) = backup("15.toml", "by_15");
    assert_eq!(output.status.code(), Some(0), "{}", describe(&output));
    let check = run(&["check", "--config", "15.toml", "--to", "by_15"]);
    assert!(describe(&check).contains("is newer than the server, 13: restored by hand"), "{}", describe(&check));
    // That of 18 does not, and says so at the backup, not when the bundle is needed.
    let (by_18, output) = backup("18.toml", "by_18");
    assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
    assert!(
        describe(&output).contains("is newer than the server, 13, which takes no restore"),
        "{}",
        describe(&output)
    );
    let inside = reachable();
    let within = inside.path().display().to_string();
    for (settings, bundle) in [("15.toml", &by_15), ("18.toml", &by_18)] {
        let output = run(&["drill", bundle, "--config", settings, "--in", &within]);
        assert_eq!(output.status.code(), Some(0), "{}", describe(&output));
        assert!(describe(&output).contains("the backup is of PostgreSQL 13"), "{}", describe(&output));
    }
    let restore = |settings: &str, bundle: &str, more: &str| {
        run(&[
            "restore",
            "--config",
            settings,
            "--release",
            "2.6.3",
            "--only",
            "databases",
            "--yes",
            more,
            "--file",
            bundle,
        ])
    };
    let before = state(&server);
    for more in ["--dry-run", "--quiet"] {
        let output = restore("18.toml", &by_18, more);
        assert_eq!(output.status.code(), Some(13), "{}", describe(&output));
        assert!(
            describe(&output).contains("pg_dump 18 wrote the bundle, for version 17 and newer"),
            "{}",
            describe(&output)
        );
        assert!(last_line(&output).ends_with("nothing was changed"), "{}", describe(&output));
    }
    assert!(state(&server) == before, "a refused restore changed something");
    let expected = server.sql("shop", ASKED);
    let assert_restored = |output: Output| {
        assert!([Some(0), Some(3)].contains(&output.status.code()), "{}", describe(&output));
        assert_eq!(server.sql("shop", ASKED), expected);
    };
    assert_restored(restore("15.toml", &by_15, "--quiet"));
    // A machine that has the newest client alone.
    assert_restored(restore("18.toml", &by_15, "--quiet"));
}

/// Sessions of the test that no trigger sees.
fn unseen(server: &Postgres, database: &str, sql: &str) -> String {
    let mut psql = server.command("psql");
    psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", sql]);
    let output = psql.env("PGOPTIONS", "-c event_triggers=off").output().expect("psql runs");
    assert!(output.status.success(), "{}", describe(&output));
    String::from_utf8(output.stdout).expect("UTF-8").trim_end().to_owned()
}

#[test]
fn triggers_on_login_see_nothing_of_us_and_come_back_as_they_were() {
    let Some(newest) = of(18) else { return };
    let server = Postgres::start_version(&newest, "");
    // One that writes, one that is silent, one that lets nobody in, and one that fires for replicas alone.
    let databases = [
        ("written", "INSERT INTO public.logins VALUES (session_user)", "ENABLE ALWAYS"),
        ("silent", "INSERT INTO public.logins VALUES (session_user)", "DISABLE"),
        ("locked", "RAISE EXCEPTION 'nobody gets in'", "ENABLE"),
        ("replicas", "INSERT INTO public.logins VALUES (session_user)", "ENABLE REPLICA"),
    ];
    for (name, does, enabled) in databases {
        server.sql("postgres", &format!("CREATE DATABASE {name}"));
        server.sql(
            name,
            &format!(
                "CREATE TABLE public.logins AS SELECT 'first'::text AS who; CREATE FUNCTION public.note() RETURNS event_trigger \
                 LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN {does}; END $$; \
                 CREATE EVENT TRIGGER note ON login EXECUTE FUNCTION public.note(); ALTER EVENT TRIGGER note {enabled}"
            ),
        );
    }
    let asked = "SELECT evtenabled FROM pg_event_trigger; SELECT who FROM logins";
    let all = |server: &Postgres| databases.map(|(name, ..)| unseen(server, name, asked));
    let before = all(&server);
    assert_eq!(before, ["A\nfirst", "D\nfirst", "O\nfirst", "R\nfirst"]);
    let place = Workplace::default();
    place.write("o.toml", "cluster_conf = 'cluster.conf'\nrelease.version = '2.6.3'\n[[stores]]\npath = 'bundles'\n");
    let run = |arguments: &[&str], codes: &[i32]| {
        let mut command = place.cli(arguments);
        let output = command.args(["--config", "o.toml"]).envs(server.variables()).output().expect("it runs");
        let code = code_but_for_clients(&output);
        assert!(code.is_some_and(|code| codes.contains(&code)), "{arguments:?}: {}", describe(&output));
        assert_eq!(all(&server), before, "{arguments:?}");
    };
    run(&["check"], &[0]);
    run(&["backup"], &[0]);
    let bundle = place.bundles().pop().expect("a bundle").display().to_string();
    run(&["diff", &bundle], &[0]);
    run(&["diff", &bundle, "--rows"], &[0]);
    let inside = reachable();
    run(&["drill", &bundle, "--in", &inside.path().display().to_string()], &[0]);
    run(&["status"], &[13]);
    run(&["restore", "--file", &bundle, "--only", "databases", "--dry-run"], &[0]);
    run(&["restore", "--file", &bundle, "--only", "databases", "--yes"], &[0]);
    let aside = unseen(&server, "postgres", "SELECT count(*) FROM pg_database WHERE datname ~ '_before_'");
    assert_eq!(aside, "4");
    run(&["restore", "--file", &bundle, "--rollback", "--yes"], &[0]);
    run(&["restore", "--file", &bundle, "--only", "databases", "--yes"], &[0]);
    run(&["restore", "cleanup", "--yes"], &[0]);
    // They see whoever else comes.
    assert_eq!(server.sql("written", "SELECT count(*) FROM logins"), "2");
    assert_eq!(server.sql("silent", "SELECT count(*) FROM logins"), "1");
    let mut psql = server.command("psql");
    let refused = psql.args(["-X", "-d", "locked", "-c", "SELECT 1"]).output().expect("psql runs");
    assert!(describe(&refused).contains("nobody gets in"), "{}", describe(&refused));
}

#[test]
fn who_may_not_hold_triggers_on_login_off_is_told_so() {
    let Some(newest) = of(18) else { return };
    let server = Postgres::start_version(&newest, "");
    server.sql(
        "postgres",
        "CREATE ROLE weak LOGIN; GRANT pg_read_all_data TO weak; CREATE TABLE logins (who text); \
         CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS \
         $$ BEGIN INSERT INTO public.logins VALUES (session_user); END $$; CREATE EVENT TRIGGER note ON login EXECUTE FUNCTION note()",
    );
    let place = Workplace::default();
    let logins = || unseen(&server, "postgres", "SELECT count(*) FROM logins WHERE who = 'weak'");
    let check = || {
        let mut check = place.cli(&["check", "--config", "cluster.conf", "--release", "2.6.3", "--to", "."]);
        let output = check.envs(server.variables()).env("PGUSER", "weak").output().expect("it runs");
        assert_eq!(code_but_for_clients(&output), Some(0), "{}", describe(&output));
        describe(&output)
    };
    let grant = "GRANT SET ON PARAMETER event_triggers TO weak";
    let said = check();
    assert!(said.contains("fires its triggers on login: note; weak may not") && said.contains(grant), "{said}");
    assert_ne!(logins(), "0");
    unseen(&server, "postgres", grant);
    unseen(&server, "postgres", "TRUNCATE logins");
    let said = check();
    assert!(!said.contains("triggers on login"), "{said}");
    assert_eq!(logins(), "0");
}

/// Objects, and for each what is said of it at a backup of version 18.6: a code, or nothing where it comes back.
const PITFALLS: [(&str, &str, &str); 10] = [
    (
        "public.bad(integer,integer)",
        "CREATE FUNCTION bad(a int, int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT a + $2; END",
        "function-not-restorable",
    ),
    (
        "public.worse(integer,integer)",
        "CREATE FUNCTION worse(int, b int) RETURNS int LANGUAGE sql RETURN $1 + b",
        "function-not-restorable",
    ),
    (
        "public.nameless(integer,integer)",
        "CREATE FUNCTION nameless(int, int) RETURNS int LANGUAGE sql RETURN $1 + $2",
        "",
    ),
    ("hidden(integer)", "CREATE FUNCTION pg_catalog.hidden(int) RETURNS int LANGUAGE sql AS 'SELECT 1'", "not-dumped"),
    ("lost", "SET allow_system_table_mods = on; CREATE TABLE pg_catalog.lost AS SELECT 1 AS a", "not-dumped"),
    (
        "plother",
        "CREATE LANGUAGE plother HANDLER plpgsql_call_handler INLINE plpgsql_inline_handler",
        "language-not-restorable",
    ),
    (
        "plown",
        "CREATE FUNCTION own() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler'; \
        CREATE LANGUAGE plown HANDLER own; CREATE FUNCTION by_own() RETURNS int LANGUAGE plown AS 'BEGIN RETURN 7; END'",
        "",
    ),
    (
        "excluded_k_excl of public.excluded",
        "CREATE TABLE excluded (k int4range, EXCLUDE USING gist (k WITH =)) PARTITION BY LIST (k); \
        CREATE TABLE excluded_1 PARTITION OF excluded FOR VALUES IN ('[1,2)')",
        "",
    ),
    (
        "keyed_pkey of public.keyed",
        "CREATE TABLE keyed (k int4range, during daterange, PRIMARY KEY (k, during WITHOUT OVERLAPS)) PARTITION BY LIST (k); \
        CREATE TABLE keyed_1 PARTITION OF keyed FOR VALUES IN ('[1,2)')",
        "",
    ),
    (
        "once_k_during_key of public.once",
        "CREATE TABLE once (k int4range, during daterange, UNIQUE (k, during WITHOUT OVERLAPS)) PARTITION BY LIST (k); \
        CREATE TABLE once_1 PARTITION OF once FOR VALUES IN ('[1,2)')",
        "",
    ),
];

#[test]
fn what_pg_dump_18_can_not_write_is_said_and_nothing_else_and_is_what_does_not_come_back() {
    let Some(newest) = of(18) else { return };
    let [source, target] = [(); 2].map(|()| Postgres::start_version(&newest, ""));
    source.sql("postgres", "CREATE DATABASE shop");
    PITFALLS.iter().for_each(|(_, made, _)| drop(source.sql("shop", made)));
    let place = Workplace::default();
    let bundle = place.make_bundle_of(&source);
    let warnings = open(&bundle).manifest().warnings.clone();
    let said = |subject: &str| {
        let found = warnings.iter().find(|found| found.subject == format!("shop: {subject}"));
        assert!(found.is_none_or(|found| found.hint.is_some()), "{found:?}");
        found.map_or("", |found| found.code.as_str())
    };
    for (subject, _, code) in PITFALLS {
        assert_eq!(said(subject), code, "{subject}: {warnings:#?}");
    }
    assert_eq!(warnings.len(), 5, "{warnings:#?}");
    let output = place.restore_all(&target, &bundle, &["--only", "databases"]);
    assert_eq!(output.status.code(), Some(14), "{}", describe(&output));
    let missing = ["public.bad(integer, integer)", "public.worse(integer, integer)", "plother"];
    let mut resume = place.restore(&target, &["--resume"]);
    for object in missing {
        resume.args(["--accept-missing", object]);
    }
    let output = resume.output().expect("it runs");
    assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
    let whole = "SELECT conname, conrelid::regclass::text, conparentid = 0 AS top, indisvalid FROM pg_constraint \
        JOIN pg_index ON indexrelid = conindid WHERE contype IN ('p', 'u', 'x') AND conrelid >= 16384 ORDER BY 1; \
        SELECT proname FROM pg_proc WHERE oid >= 16384 AND proname IN ('bad', 'worse', 'nameless', 'hidden') ORDER BY 1; \
        SELECT lanname FROM pg_language WHERE oid >= 16384 ORDER BY 1; SELECT by_own(); SELECT to_regclass('pg_catalog.lost')";
    let source = source.sql("shop", whole);
    let left = source.replace("bad\nhidden\nnameless\nworse\nplother", "nameless").replace("7\nlost", "7");
    assert_eq!(target.sql("shop", whole), left);
    assert!(source.contains("keyed_pkey|keyed|t|t"), "{source}");
}
