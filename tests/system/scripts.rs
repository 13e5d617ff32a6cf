//! Scripts as people have them: each form comes back as what it was dumped from.

use std::fs;
use std::process::{Command, Output};

use fixtures::{Postgres, installations};
use system_tests::{Scripts, Workplace, describe, rows_sorted};

#[test]
fn every_form_of_a_script_is_the_same_database() {
    let stage = Scripts::new(200);
    stage.dump("custom.dump", &["-Fc"]);
    stage.dump("-custom stored.dump", &["-Fc", "-Z0"]);
    stage.dump("directory.dump", &["-Fd", "-j2"]);
    stage.dump("archive.tar", &["-Ft"]);
    stage.dump("created.dump", &["-Fc", "--create", "--clean"]);
    stage.dump("plain.sql", &[]);
    stage.shell("gzip -c plain.sql > one.sql.gz");
    stage.shell("head -c 5000 plain.sql | gzip > several.sql.gz; tail -c +5001 plain.sql | gzip >> several.sql.gz");
    stage.dump("pg_dump.gz", &["-Z6"]);
    stage.write("mark.sql", |text| format!("\u{feff}{text}"));
    stage.write("windows.sql", |text| format!("\u{feff}{}", text.replace('\n', "\r\n")));
    stage.write("newer.sql", |text| {
        let text = text.replacen("SET lock_timeout = 0;\n", "SET lock_timeout = 0;\nSET transaction_timeout = 0;\n", 1);
        let statistics = "\nSELECT * FROM pg_catalog.pg_restore_relation_stats(\n\t'version', '180000'::integer\n);\n";
        let end = text.rfind("--\n-- PostgreSQL database dump complete").expect("its end");
        let by = text.find("-- Dumped by pg_dump version ").expect("its version");
        let newer = format!("{}-- Dumped by pg_dump version 18.1\n", &text[..by]);
        format!("{newer}{}{statistics}{}", &text[by..end], &text[end..])
    });
    let forms = [
        "plain.sql",
        "custom.dump",
        "-custom stored.dump",
        "directory.dump",
        "archive.tar",
        "created.dump",
        "one.sql.gz",
        "several.sql.gz",
        "pg_dump.gz",
        "mark.sql",
        "newer.sql",
        "windows.sql",
    ];
    let dumped = stage.server.dump("orchestrator", &[]);
    for (number, form) in forms.iter().enumerate() {
        let database = format!("form_{number}");
        stage.restored(&format!("./{form}"), &database);
        let restored = stage.server.dump(&database, &[]);
        if *form == "windows.sql" {
            // Bodies of functions and views have their own line ends then, as psql would leave them.
            let count = "SELECT count(*), sum(id), min(name), max(facts::text) FROM cluster.machines";
            assert_eq!(stage.server.sql(&database, count), stage.server.sql("orchestrator", count));
            continue;
        }
        assert!(rows_sorted(&restored) == rows_sorted(&dumped), "{form}: it comes back as something else");
    }
}

/// As `pg_dump` 9.6 wrote it.
const BEFORE_MARCH_2018: &str = r#"--
-- PostgreSQL database dump
--

-- Dumped from database version 9.6.6
-- Dumped by pg_dump version 9.6.6

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SET check_function_bodies = false;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: Chef; Type: SCHEMA; Schema: -; Owner: postgres
--

CREATE SCHEMA "Chef";


ALTER SCHEMA "Chef" OWNER TO postgres;

--
-- Name: plpgsql; Type: EXTENSION; Schema: -; Owner: 
--

CREATE EXTENSION IF NOT EXISTS plpgsql WITH SCHEMA pg_catalog;


--
-- Name: EXTENSION plpgsql; Type: COMMENT; Schema: -; Owner: 
--

COMMENT ON EXTENSION plpgsql IS 'PL/pgSQL procedural language';


SET search_path = "Chef", pg_catalog;

SET default_tablespace = '';

SET default_with_oids = false;

CREATE TABLE run (
    id integer NOT NULL,
    note text
);


ALTER TABLE run OWNER TO postgres;

SET search_path = public, pg_catalog;

CREATE TABLE run (
    id integer NOT NULL,
    note text
);


ALTER TABLE run OWNER TO postgres;

CREATE FUNCTION notes() RETURNS bigint
    LANGUAGE sql
    AS $$ SELECT count(*) FROM public.run $$;


ALTER FUNCTION public.notes() OWNER TO postgres;

CREATE VIEW both_runs AS
 SELECT run.id
   FROM run
UNION ALL
 SELECT run.id
   FROM "Chef".run;


ALTER TABLE both_runs OWNER TO postgres;

SET search_path = "Chef", pg_catalog;

COPY run (id, note) FROM stdin;
1	a
\.


SET search_path = public, pg_catalog;

COPY run (id, note) FROM stdin;
1	a
2	\N
3	\\.
\.


SET search_path = "Chef", pg_catalog;

ALTER TABLE ONLY run
    ADD CONSTRAINT run_pkey PRIMARY KEY (id);


SET search_path = public, pg_catalog;

ALTER TABLE ONLY run
    ADD CONSTRAINT run_pkey PRIMARY KEY (id);


REVOKE ALL ON SCHEMA public FROM PUBLIC;
REVOKE ALL ON SCHEMA public FROM postgres;
GRANT ALL ON SCHEMA public TO postgres;
GRANT ALL ON SCHEMA public TO PUBLIC;


--
-- PostgreSQL database dump complete
--

"#;

/// What is asked of a script of those days, and the answers.
const OF_MARCH_2018: [(&str, &str); 4] = [
    ("SELECT count(*), count(note) FROM public.run", "3|2"),
    ("SELECT count(*), min(note) FROM \"Chef\".run", "1|a"),
    ("SELECT count(*) FROM both_runs", "4"),
    ("SELECT conname FROM pg_constraint WHERE conrelid = '\"Chef\".run'::regclass AND contype = 'p'", "run_pkey"),
];

#[test]
fn names_that_search_path_completes_are_found() {
    let stage = Scripts::new(10);
    let inserts = |text: &str| {
        let (start, rest) = text.split_once("COPY run (id, note) FROM stdin;\n1\ta\n2").expect("its rows");
        let (_, end) = rest.split_once("\n\\.\n\n").expect("their end");
        format!(
            "{start}INSERT INTO run VALUES (1, 'a');\nINSERT INTO run VALUES (2, NULL);\nINSERT INTO run VALUES (3, '\\.');\n{end}"
        )
    };
    stage.place.write("old.sql", BEFORE_MARCH_2018);
    stage.place.write("inserts.sql", inserts(BEFORE_MARCH_2018));
    let no_owner: String =
        BEFORE_MARCH_2018.lines().filter(|line| !line.contains(" OWNER TO ")).map(|line| format!("{line}\n")).collect();
    stage.place.write("no-owner.sql", no_owner);
    stage.shell("gzip -c old.sql > old.sql.gz; gzip no-owner.sql");
    let warning = |word| (Some(3), word);
    for (form, (code, word)) in [
        ("old.sql", (Some(0), "4 rows, each table's counted")),
        ("old.sql.gz", (Some(0), "4 rows, each table's counted")),
        ("no-owner.sql.gz", warning("it does not say whom anything belongs to")),
        ("inserts.sql", warning("its rows can't be counted")),
    ] {
        let database = form.replace(['.', '-'], "_");
        let output = stage.restore(form, &database);
        assert_eq!(output.status.code(), code, "{form}: {}", describe(&output));
        assert!(describe(&output).contains(word), "{form}: {}", describe(&output));
        for (query, answer) in OF_MARCH_2018 {
            assert_eq!(stage.server.sql(&database, query), answer, "{form}: {query}");
        }
    }
    // What is live has a table of this name, and the script knows it by its schema.
    stage.server.sql("postgres", "CREATE DATABASE live");
    stage.server.sql("live", "CREATE TABLE run (id int)");
    let output = stage.restore("old.sql", "live");
    assert_eq!(output.status.code(), Some(0), "{}", describe(&output));
    // Rows that are missing are seen.
    let lost = BEFORE_MARCH_2018.replace("ALTER TABLE ONLY run\n", "DELETE FROM run;\nALTER TABLE ONLY run\n");
    stage.place.write("lost.sql", lost);
    let output = stage.restore("lost.sql", "lost");
    assert!(describe(&output).contains("run has 0 rows, not "), "{}", describe(&output));
}

#[test]
fn schema_public_is_the_scripts_own() {
    let stage = Scripts::new(10);
    let answers = "SELECT nspowner::regrole, has_schema_privilege('PUBLIC_READER', oid, 'USAGE'), \
        has_schema_privilege('PUBLIC_READER', oid, 'CREATE'), obj_description(oid, 'pg_namespace'), \
        (SELECT count(*) FROM public.t) FROM pg_namespace WHERE nspname = 'public'";
    let answers = answers.replace("PUBLIC_READER", "reader");
    stage.server.sql("postgres", "CREATE ROLE reader");
    let owned = "ALTER SCHEMA public OWNER TO orchestrator";
    let closed = "REVOKE ALL ON SCHEMA public FROM PUBLIC";
    let commented = "COMMENT ON SCHEMA public IS 'ours; not yours'";
    let anew = "DROP SCHEMA public CASCADE; CREATE SCHEMA public";
    for (case, (change, arguments)) in [
        ("SELECT 1", &["-n", "public"][..]),
        (owned, &["-n", "public"]),
        (closed, &["--schema=public"]),
        (commented, &["-n", "public", "-n", "chef"]),
        (anew, &["-n", "public"]),
        ("SELECT 1", &["-n", "public", "--clean", "--if-exists"]),
        (closed, &["-n", "public", "--clean", "--if-exists"]),
        (owned, &["-Fc", "-n", "public"]),
    ]
    .into_iter()
    .enumerate()
    {
        let source = format!("source_{case}");
        stage.server.sql("postgres", &format!("CREATE DATABASE {source}"));
        stage.server.sql(&source, change);
        stage.server.sql(&source, "CREATE TABLE public.t AS SELECT 1 AS i; CREATE SCHEMA chef");
        let mut dump = stage.server.command("pg_dump");
        dump.args(arguments).arg("-f").arg(stage.place.path("public.sql")).arg(&source);
        assert!(dump.status().expect("it runs").success());
        let target = format!("target_{case}");
        let output = stage.restore("public.sql", &target);
        assert_eq!(output.status.code(), Some(0), "{change}, {arguments:?}: {}", describe(&output));
        let [source, target] = [source, target].map(|name| stage.server.sql(&name, &answers));
        assert_eq!(target, source, "{change}, {arguments:?}");
    }
}

/// Kills a restore at each mark of a script's build and comparison, and goes on with it.
#[test]
fn whatever_form_it_has_it_is_gone_on_with() {
    let stage = Scripts::new(50);
    stage.dump("custom.dump", &["-Fc"]);
    stage.dump("directory.dump", &["-Fd"]);
    stage.dump("o.sql.gz", &["-Z3"]);
    stage.write("mark.sql", |text| format!("\u{feff}{text}"));
    let target = Postgres::start();
    target.sql("postgres", "CREATE ROLE orchestrator LOGIN; CREATE ROLE \"ops team\"");
    let interrupted = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_interrupted"));
        fixtures::forget_libpq(&mut command);
        command.args(arguments).current_dir(stage.place.path("")).envs(target.variables());
        command.env("STATE_DIRECTORY", stage.place.path("state")).output().expect("it runs")
    };
    let dumped = stage.server.dump("orchestrator", &[]);
    let succeeded = |output: Output, when: &str| assert!(output.status.success(), "{when}: {}", describe(&output));
    for (form, mark) in
        [("custom.dump", "1"), ("custom.dump", "2"), ("directory.dump", "3"), ("o.sql.gz", "2"), ("mark.sql", "1")]
    {
        let when = format!("{form} at mark {mark}");
        let killed = interrupted(&[mark, "restore", form, "cluster.conf"]);
        assert!(!killed.status.success(), "{when}: {}", describe(&killed));
        if form == "custom.dump" {
            // Another file of its name is another one.
            fs::rename(stage.place.path(form), stage.place.path("kept")).expect("moved");
            stage.dump(form, &["-Fc", "--exclude-table=cluster.machines"]);
            let other = interrupted(&["0", "resume"]);
            assert!(describe(&other).contains("is another one than custom.dump"), "{when}: {}", describe(&other));
            fs::rename(stage.place.path("kept"), stage.place.path(form)).expect("moved");
        }
        succeeded(interrupted(&["0", "resume"]), &when);
        assert!(rows_sorted(&target.dump("orchestrator", &[])) == rows_sorted(&dumped), "{when}");
        succeeded(interrupted(&["0", "rollback"]), &when);
        let left = target.sql("postgres", "SELECT count(*) FROM pg_database WHERE datname ~ 'orchestrator'");
        assert_eq!(left, "0", "{when}");
    }
}

#[test]
fn a_database_that_lets_nobody_in_is_refused_with_the_way_out() {
    let stage = Scripts::new(10);
    stage.dump("o.sql", &[]);
    stage.server.sql("postgres", "CREATE DATABASE \"shut it\" ALLOW_CONNECTIONS false");
    let output = stage.restore("o.sql", "shut it");
    assert_eq!(output.status.code(), Some(13), "{}", describe(&output));
    let said = describe(&output);
    assert!(said.contains("it lets nobody in") && !said.contains("damaged"), "{said}");
    let (_, command) = said.split_once("then restore anew: ").expect("a command");
    let mut allow = Command::new("sh");
    allow.args(["-ec", command.lines().next().expect("a line")]).envs(stage.server.variables());
    assert!(allow.output().expect("sh runs").status.success(), "{said}");
    stage.restored("o.sql", "shut it");
}

#[test]
fn rows_that_a_login_writes_are_not_counted() {
    for installation in installations().iter().filter(|installation| installation.major >= 17) {
        let server = Postgres::start_version(installation, "");
        server.sql("postgres", "CREATE DATABASE orchestrator");
        server.sql(
            "orchestrator",
            "CREATE TABLE public.logins (who text); \
             CREATE FUNCTION public.note() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS \
             $$ BEGIN INSERT INTO public.logins VALUES (session_user); END $$; \
             CREATE EVENT TRIGGER note ON login EXECUTE FUNCTION public.note(); ALTER EVENT TRIGGER note ENABLE ALWAYS",
        );
        let stage = Scripts { place: Workplace::default(), server };
        stage.dump("o.sql", &[]);
        stage.restored("o.sql", "again");
    }
}
