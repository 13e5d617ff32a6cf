//! What the server refuses of a script, of privileges and of what an operator has accepted: what can be done later is said, and
//! stays so however often a restore is gone on with.

use std::path::Path;
use std::process::{Command, Output};

use fixtures::{Installation, Postgres, forget_libpq, installations};
use system_tests::{Scripts, Workplace, describe, last_line, warnings};

/// A value that stands in rows, and must stand in no message.
const SECRET: &str = "hunter2";

/// Restores a script into a database, for its warnings.
fn restore(stage: &Scripts, script: &str, database: &str) -> Output {
    let arguments =
        ["--sql", script, "--cluster-conf", "cluster.conf", "--yes", "--only", "databases", "--json", "--quiet"];
    let mut restore = stage.place.restore(&stage.server, &arguments);
    restore.args(["--database", database]).output().expect("it runs")
}

const MADE_BY: &str = "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (id int, p int CONSTRAINT c_p REFERENCES p, \
        q int CONSTRAINT fine REFERENCES p); \
    CREATE TABLE t (a int, b text); CREATE FUNCTION ok(t) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true'; \
    ALTER TABLE t ADD CONSTRAINT is_ok CHECK (ok(t.*)); INSERT INTO t VALUES (1, 'hunter2'); \
    CREATE OR REPLACE FUNCTION ok(t) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1.a > 1'; \
    CREATE TABLE parts (id int, p int CONSTRAINT parts_p REFERENCES p) PARTITION BY LIST (id); \
    CREATE TABLE part PARTITION OF parts FOR VALUES IN (1); \
    CREATE FUNCTION key(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1'; \
    CREATE MATERIALIZED VIEW words AS SELECT key(b) AS word FROM t; CREATE INDEX ON words (word); \
    CREATE MATERIALIZED VIEW filled AS SELECT * FROM t; CREATE INDEX by_key ON t (key(b)); \
    COMMENT ON INDEX by_key IS 'it''s; \"so\"'; ALTER TABLE t CLUSTER ON by_key; \
    CREATE OR REPLACE FUNCTION key(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1::int::text'; \
    GRANT SELECT ON t TO app; \
    SET session_replication_role = replica; INSERT INTO c VALUES (1, 7); INSERT INTO parts VALUES (1, 7)";

/// What an editor adds to the end of the script.
const ADDED: &str = "GRANT ALL ON FUNCTION public.gone(integer) TO app;\n\
    SECURITY LABEL FOR nobody ON TABLE public.t IS 'x; $$ it''s';\n\
    CREATE STATISTICS public.s ON a, nothing FROM public.t;\n\
    ALTER DEFAULT PRIVILEGES IN SCHEMA gone GRANT SELECT ON TABLES TO app;\n\
    SET client_min_messages = error;\n\
    CREATE PUBLICATION pub FOR TABLE public.gone;\n\
    SET SESSION AUTHORIZATION app;\n\
    GRANT INSERT ON TABLE public.p TO \"another app\";\n\
    RESET SESSION AUTHORIZATION;\n\
    SET search_path = nowhere, pg_catalog;\n\
    COMMENT ON TABLE t IS 'not found';\n\
    SET search_path = '';\n\
    CREATE VIEW public.last AS SELECT 1 AS a;\n\
    COMMENT ON VIEW public.last IS 'the end';\n";

#[test]
fn what_can_be_done_later_stops_no_script() {
    installations().iter().for_each(left_for_later);
}

fn left_for_later(installation: &Installation) {
    let stage = Scripts { place: Workplace::default(), server: Postgres::start_version(installation, "") };
    stage.server.sql("postgres", "CREATE ROLE app; CREATE ROLE \"another app\"");
    stage.server.sql("postgres", "CREATE DATABASE orchestrator");
    stage.server.sql("orchestrator", MADE_BY);
    stage.write("o.sql", |text| {
        let (body, end) = text.rsplit_once("--\n-- PostgreSQL database dump complete").expect("an end");
        format!("{body}{ADDED}--\n-- PostgreSQL database dump complete{end}")
    });
    let output = restore(&stage, "o.sql", "other");
    assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
    assert!(!describe(&output).contains(SECRET), "rows are shown: {}", describe(&output));
    let found = warnings(&output);
    // Since version 18 one of a partitioned table can be so, too.
    let (partitioned, validated) = match installation.major {
        ..18 => ("left-for-later", "c_p|f\nfine|t\nis_ok|f"),
        18.. => ("constraint-not-valid", "c_p|f\nfine|t\nis_ok|f\nparts_p|f\nparts_p|f"),
    };
    let expected = [
        (
            "left-for-later",
            "CREATE INDEX by_key ON public.t",
            "database other: CREATE INDEX by_key ON public.t USING btree (public.key(b));",
        ),
        ("left-for-later", "ALTER TABLE public.t CLUSTER ON by_key", "ALTER TABLE public.t CLUSTER ON by_key;"),
        ("left-for-later", "COMMENT ON INDEX public.by_key", "COMMENT ON INDEX public.by_key IS 'it''s; \"so\"';"),
        ("constraint-not-valid", "ADD CONSTRAINT c_p FOREIGN KEY", "ALTER TABLE public.c VALIDATE CONSTRAINT c_p;"),
        ("constraint-not-valid", "ADD CONSTRAINT is_ok CHECK", "ALTER TABLE public.t VALIDATE CONSTRAINT is_ok;"),
        (partitioned, "ADD CONSTRAINT parts_p FOREIGN KEY", "CONSTRAINT parts_p"),
        ("left-for-later", "REFRESH MATERIALIZED VIEW public.words", "REFRESH MATERIALIZED VIEW public.words;"),
        ("left-for-later", "GRANT ALL ON FUNCTION public.gone", "GRANT ALL ON FUNCTION public.gone(integer) TO app;"),
        ("left-for-later", "SECURITY LABEL FOR nobody ON TABLE public.t", "IS 'x; $$ it''s';"),
        ("left-for-later", "CREATE STATISTICS public.s ON a, nothing FROM public.t", "CREATE STATISTICS"),
        ("left-for-later", "ALTER DEFAULT PRIVILEGES IN SCHEMA gone", "GRANT SELECT ON TABLES TO app;"),
        ("left-for-later", "CREATE PUBLICATION pub", "CREATE PUBLICATION pub FOR TABLE public.gone;"),
        (
            "left-for-later",
            "GRANT INSERT ON TABLE public.p TO \"another app\"",
            "SET SESSION AUTHORIZATION app; GRANT INSERT",
        ),
        (
            "left-for-later",
            "COMMENT ON TABLE t",
            "SET search_path = nowhere, pg_catalog; COMMENT ON TABLE t IS 'not found';",
        ),
    ];
    for (code, subject, hint) in expected {
        let is = |found: &&[String; 3]| found[0] == code && found[1].contains(subject) && found[2].contains(hint);
        assert!(found.iter().any(|found| is(&found)), "{code} {subject} {hint} is none of {found:#?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for question in [
        "SELECT * FROM c",
        "SELECT * FROM parts",
        "SELECT * FROM t",
        "SELECT * FROM filled",
        "SELECT relacl FROM pg_class WHERE relname = 't'",
    ] {
        let answers = ["orchestrator", "other"].map(|database| stage.server.sql(database, question));
        assert_eq!(answers[1], answers[0], "{question}");
    }
    let constraints =
        "SELECT conname, convalidated FROM pg_constraint WHERE contype IN ('c', 'f') AND conrelid <> 0 ORDER BY 1";
    assert_eq!(stage.server.sql("other", constraints), validated);
    assert_eq!(stage.server.sql("other", "SELECT obj_description('last'::regclass)"), "the end");
}

#[test]
fn what_a_script_cannot_do_without_is_named_with_its_line_and_no_row() {
    let stage = Scripts { place: Workplace::default(), server: Postgres::start() };
    stage.server.sql("postgres", "CREATE DATABASE orchestrator");
    stage.server.sql(
        "orchestrator",
        "CREATE TABLE t (a text); INSERT INTO t VALUES ('hunter2'), ('hunter3'); CREATE UNIQUE INDEX \"the key\" ON t (a)",
    );
    let row = |text: String| text.replace("hunter3\n", "hunter2\n");
    stage.write("index.sql", row);
    stage.write("copy.sql", |text| text.replace("a text", "a int"));
    stage.write("public.sql", |text| row(text).replace("CREATE TABLE ", "CREATE SCHEMA public;\nCREATE TABLE "));
    stage.write("insert.sql", |text| {
        text.replace(
            "COPY public.t (a) FROM stdin;\nhunter2\nhunter3\n\\.\n",
            "INSERT INTO public.t\nVALUES ('hunter2'::int);\n",
        )
    });
    for (script, statement, begins, why) in [
        (
            "index.sql",
            "CREATE UNIQUE INDEX \"the key\" ON public.t USING btree",
            "CREATE UNIQUE INDEX",
            "could not create unique index",
        ),
        (
            "public.sql",
            "CREATE UNIQUE INDEX \"the key\" ON public.t USING btree",
            "CREATE UNIQUE INDEX",
            "could not create unique index",
        ),
        ("copy.sql", "COPY public.t", "\\.", "invalid input syntax for type integer"),
        ("insert.sql", "INSERT INTO public.t VALUES", "VALUES", "invalid input syntax for type integer"),
    ] {
        let output = stage.restore(script, "other");
        let said = describe(&output);
        assert_eq!(output.status.code(), Some(14), "{script}: {said}");
        let text = std::fs::read_to_string(stage.place.path(script)).expect("a script");
        let line = text.lines().position(|line| line.starts_with(begins)).expect("a line") + 1;
        assert!(said.contains(&format!("refuses line {line} of it ({statement})")), "{script}, line {line}: {said}");
        assert!(said.contains(why) && !said.contains(SECRET), "{script}: {said}");
        assert!(said.contains("restore --rollback") && !last_line(&output).contains("--resume"), "{script}: {said}");
        let mut back = stage.place.restore(&stage.server, &["--rollback", "--yes"]);
        assert!(back.output().expect("it runs").status.success(), "{script}");
    }
}

/// What a function of the database raises: its message is said, and neither detail nor hint, whatever code it chooses.
#[test]
fn of_what_functions_raise_the_message_alone_is_said() {
    let stage = Scripts { place: Workplace::default(), server: Postgres::start() };
    let raise = |name: &str, code: &str| {
        format!(
            "CREATE OR REPLACE FUNCTION {name}(a text) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN \
             RAISE 'the tenant is unknown' USING ERRCODE = '{code}', DETAIL = 'it is ' || a, HINT = 'ask ' || a; END $$; "
        )
    };
    let table = "CREATE FUNCTION ok(a text) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true'; \
        CREATE TABLE t (a text); INSERT INTO t VALUES ('hunter2'); ";
    // While rows are loaded; as a foreign key is made, and so on: by an index, a view, a check.
    let check = "ALTER TABLE t ADD CHECK (ok(a)); ";
    let later = "CREATE INDEX by_ok ON t (ok(a)); CREATE MATERIALIZED VIEW seen AS SELECT ok(a) FROM t; ";
    let codes = ["P0001", "55000", "ZZ001", "22000"];
    for code in codes {
        for (kind, object) in [("rows", check), ("later", later)] {
            let database = format!("{kind}_{code}");
            stage.server.sql("postgres", &format!("CREATE DATABASE \"{database}\""));
            stage.server.sql(&database, &format!("{table}{object}{}", raise("ok", code)));
        }
    }
    let bundle = stage.place.make_bundle_of(&stage.server);
    let target = Postgres::start();
    for (kind, code) in codes.iter().flat_map(|code| [("rows", code), ("later", code)]) {
        let database = format!("{kind}_{code}");
        let dump = stage.server.dump(&database, &[]);
        stage.place.write("o.sql", dump);
        let of_bundle = stage.place.restore_all(&target, &bundle, &["--database", &database]);
        let mut restores = vec![of_bundle];
        if kind == "rows" {
            assert!(stage.place.restore(&target, &["--rollback", "--yes"]).output().expect("it runs").status.success());
        }
        restores.push(stage.restore("o.sql", "other"));
        for output in &restores {
            let said = describe(output);
            assert_eq!(output.status.code(), Some(if kind == "rows" { 14 } else { 3 }), "{database}: {said}");
            assert!(said.contains("the tenant is unknown") && !said.contains(SECRET), "{database}: {said}");
        }
        let journals = std::fs::read_dir(stage.place.path("state/restores")).expect("journals");
        for journal in journals.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_file()) {
            let text = std::fs::read_to_string(&journal).expect("a journal");
            assert!(!text.contains(SECRET), "{database}: {text}");
        }
        if kind == "rows" {
            let mut back = stage.place.restore(&stage.server, &["--rollback", "--yes"]);
            assert!(back.output().expect("it runs").status.success(), "{database}");
        }
    }
}

/// Privileges of a role that somebody took out of the catalog: pg_dump writes them for a role that nobody has.
#[test]
fn one_privilege_that_cannot_be_given_costs_no_other() {
    installations().iter().for_each(given_but_one);
}

fn given_but_one(installation: &Installation) {
    let [source, target] = [(); 2].map(|()| Postgres::start_version(installation, ""));
    let place = Workplace::default();
    source.sql("postgres", "CREATE ROLE app; CREATE ROLE ghost; CREATE ROLE \"z; o\"");
    source.sql("postgres", "CREATE DATABASE granted");
    source.sql(
        "granted",
        "CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 1 AS a; CREATE FUNCTION s.f() RETURNS int LANGUAGE sql AS 'SELECT 1'; \
         REVOKE ALL ON FUNCTION s.f() FROM PUBLIC; GRANT USAGE ON SCHEMA s TO app, ghost, \"z; o\"; \
         GRANT SELECT ON s.t TO app WITH GRANT OPTION; GRANT INSERT ON s.t TO ghost; \
         SET SESSION AUTHORIZATION app; GRANT SELECT ON s.t TO \"z; o\"; RESET SESSION AUTHORIZATION; \
         GRANT UPDATE (a) ON s.t TO app, ghost, \"z; o\"; GRANT EXECUTE ON FUNCTION s.f() TO app, ghost, \"z; o\"; \
         ALTER DEFAULT PRIVILEGES IN SCHEMA s GRANT SELECT ON TABLES TO app, ghost, \"z; o\"; \
         GRANT CONNECT ON DATABASE granted TO app, ghost, \"z; o\"; \
         DELETE FROM pg_authid WHERE rolname = 'ghost'",
    );
    let bundle = place.make_bundle_of(&source);
    let output = place.restore_all(&target, &bundle, &["--json", "--quiet"]);
    assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
    let found = warnings(&output).into_iter().filter(|[code, ..]| code == "left-for-later").collect::<Vec<_>>();
    for (subject, hint) in [
        ("privileges on SCHEMA s", "GRANT USAGE ON SCHEMA s TO "),
        ("privileges on TABLE t in schema s", "GRANT INSERT ON TABLE s.t TO "),
        ("privileges on COLUMN t.a in schema s", "GRANT UPDATE(a) ON TABLE s.t TO "),
        ("privileges on FUNCTION f() in schema s", "GRANT ALL ON FUNCTION s.f() TO "),
        (
            "default privileges s.DEFAULT PRIVILEGES FOR TABLES",
            "ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA s GRANT SELECT ON TABLES ",
        ),
        ("granted", "GRANT CONNECT ON DATABASE \"granted\" TO "),
    ] {
        let is = |[_, about, how]: &&[String; 3]| about.ends_with(subject) && how.contains(hint);
        let [_, _, how] = found.iter().find(is).unwrap_or_else(|| panic!("{subject}, {hint}: {found:#?}"));
        // That statement alone.
        assert_eq!(how.matches(" TO ").count(), 1, "{how}");
    }
    assert_eq!(found.len(), 6, "{found:#?}");
    let all = "SELECT nspacl FROM pg_namespace WHERE nspname = 's'; SELECT relacl FROM pg_class WHERE relname = 't'; \
        SELECT attacl FROM pg_attribute WHERE attname = 'a' AND attacl IS NOT NULL; \
        SELECT proacl FROM pg_proc WHERE proname = 'f'; SELECT defaclacl FROM pg_default_acl; \
        SELECT datacl FROM pg_database WHERE datname = 'granted'";
    for question in all.split("; ") {
        let text = |server: &Postgres| server.sql("granted", &question.replacen("acl FROM", "acl::text FROM", 1));
        let items = |text: String| {
            let inner = text.trim_matches(['{', '}']).split(',').map(str::to_owned);
            // Whose role has a number for its name, nobody has it.
            let known = inner.filter(|item| !item.starts_with(|first: char| first.is_ascii_digit()));
            known.collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(items(text(&target)), items(text(&source)), "{question}");
    }
}

/// The command of the tests of crashes.
fn interrupted(place: &Workplace, server: &Postgres, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_interrupted"));
    forget_libpq(&mut command);
    command.args(arguments).envs(server.variables()).env("STATE_DIRECTORY", place.path("state"));
    command.output().expect("it runs")
}

#[test]
fn what_was_accepted_once_is_known_whenever_it_is_gone_on_with() {
    let (place, source, target) = (Workplace::default(), Postgres::start(), Postgres::start());
    source.sql("postgres", "CREATE DATABASE twice");
    source.sql(
        "twice",
        "CREATE FUNCTION key(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1'; CREATE TABLE t (a text); \
         INSERT INTO t VALUES ('hunter2'), ('hunter22'); CREATE UNIQUE INDEX uq ON t (key(a)); CREATE UNIQUE INDEX uq2 ON t (key(a)); \
         CREATE OR REPLACE FUNCTION key(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ''hunter2''::text'",
    );
    let bundle = place.make_bundle_of(&source);
    let resume = |arguments: &[&str]| {
        let mut resume = place.restore(&target, &["--resume", "--json", "--quiet"]);
        resume.args(arguments).output().expect("it runs")
    };
    let begin = |accepted: &[&str]| {
        let output = place.restore_all(&target, &bundle, &[&["--database", "twice"], accepted].concat());
        assert_eq!(output.status.code(), Some(14), "{}", describe(&output));
    };
    let ends_well = |when: &str| {
        let output = resume(&[]);
        assert_eq!(output.status.code(), Some(3), "{when}: {}", describe(&output));
        let left: Vec<_> = warnings(&output).into_iter().filter(|[code, ..]| code == "left-out").collect();
        assert_eq!(left.len(), 2, "{when}: {left:#?}");
        assert!(place.rollback(&target, Path::new(&bundle)).output().expect("it runs").status.success(), "{when}");
    };
    for mark in ["1", "2", "5"] {
        begin(&[]);
        let killed = interrupted(&place, &target, &[mark, "resume", "uq", "public.uq2"]);
        assert!(!killed.status.success() && killed.status.code().is_none(), "{mark}: {}", describe(&killed));
        ends_well(&format!("killed at mark {mark}"));
    }
    // One after another, the first already when it began.
    begin(&["--accept-missing", "uq"]);
    let output = resume(&["--accept-missing", "nothing of that name"]);
    assert_eq!(output.status.code(), Some(14), "{}", describe(&output));
    // The server is away, so nothing at all is done.
    let mut away = place.restore(&target, &["--resume", "--accept-missing", "uq2"]);
    let output = away.env("PGPORT", "1").output().expect("it runs");
    assert_eq!(output.status.code(), Some(14), "{}", describe(&output));
    ends_well("while the server was away");
}
