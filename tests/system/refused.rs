//! What the server refuses of a sound bundle: what can be made later is said and stops nothing, a constraint that rows break
//! holds for new ones, and nothing else is left out unless somebody named it. It never ends worse than pg_restore does.

use std::path::Path;
use std::process::{Command, Output};

use fixtures::{Postgres, forget_libpq, installations};
use serde_json::Value;
use system_tests::{Workplace, describe, last_line};

/// A value that stands in rows, and must stand in no message.
const SECRET: &str = "hunter2";

/// A database that comes back with warnings.
struct Case {
    database: &'static str,
    /// Makes it; `{dir}` is a directory of the server.
    made_by: &'static str,
    /// Of each warning: its code, a part of its subject, and a part of its hint.
    warned: &'static [(&'static str, &'static str, &'static str)],
    /// Questions whose answers are those of the source.
    same: &'static [&'static str],
    /// Questions, and what is said where pg_restore leaves less.
    answers: &'static [(&'static str, &'static str)],
}

const CASES: [Case; 12] = [
    Case {
        database: "orphan",
        made_by: "CREATE TABLE p (id text PRIMARY KEY); CREATE TABLE c (id int, p text CONSTRAINT c_p REFERENCES p DEFERRABLE); \
            SET session_replication_role = replica; INSERT INTO c VALUES (1, 'hunter2')",
        warned: &[(
            "constraint-not-valid",
            "orphan: foreign key public.c c_p",
            "ALTER TABLE public.c VALIDATE CONSTRAINT c_p;",
        )],
        same: &["SELECT * FROM c"],
        answers: &[("SELECT convalidated, condeferrable FROM pg_constraint WHERE conname = 'c_p'", "f|t")],
    },
    Case {
        database: "orphan in a partition",
        made_by: "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (id int, p int CONSTRAINT c_p REFERENCES p) PARTITION BY LIST (id); \
            CREATE TABLE c1 PARTITION OF c FOR VALUES IN (1); SET session_replication_role = replica; INSERT INTO c VALUES (1, 7)",
        warned: &[(
            "left-for-later",
            "foreign key public.c c_p",
            "ADD CONSTRAINT c_p FOREIGN KEY (p) REFERENCES public.p(id);",
        )],
        same: &["SELECT * FROM c"],
        answers: &[],
    },
    Case {
        database: "orphans; \"names\"",
        made_by: "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE \"c; -- \" (p int CONSTRAINT \"k; \"\" NOT\" REFERENCES p, \
            q int CONSTRAINT fine REFERENCES p); SET session_replication_role = replica; INSERT INTO \"c; -- \" VALUES (1)",
        warned: &[(
            "constraint-not-valid",
            "foreign key public.c; --  k; \" NOT",
            "VALIDATE CONSTRAINT \"k; \"\" NOT\";",
        )],
        same: &["SELECT * FROM \"c; -- \"", "SELECT convalidated FROM pg_constraint WHERE conname = 'fine'"],
        answers: &[("SELECT convalidated FROM pg_constraint WHERE conname ~ 'NOT'", "f")],
    },
    Case {
        database: "check",
        made_by: "CREATE TABLE t (a int, b text); CREATE FUNCTION ok(t) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true'; \
            ALTER TABLE t ADD CONSTRAINT is_ok CHECK (ok(t.*)); INSERT INTO t VALUES (1, 'hunter2'); \
            CREATE OR REPLACE FUNCTION ok(t) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1.a > 1'",
        warned: &[("constraint-not-valid", "check public.t is_ok", "ALTER TABLE public.t VALIDATE CONSTRAINT is_ok;")],
        same: &["SELECT * FROM t"],
        answers: &[("SELECT convalidated FROM pg_constraint WHERE conname = 'is_ok'", "f")],
    },
    Case {
        database: "words",
        made_by: "CREATE TABLE doc (t tsvector); INSERT INTO doc VALUES ('a b'); CREATE MATERIALIZED VIEW words AS \
            SELECT * FROM ts_stat('SELECT t FROM doc'); CREATE INDEX ON words (word); CREATE MATERIALIZED VIEW fine AS SELECT * FROM doc",
        warned: &[(
            "left-for-later",
            "rows of materialized view public.words",
            "REFRESH MATERIALIZED VIEW public.words;",
        )],
        same: &["SELECT * FROM fine", "SELECT count(*) FROM pg_index WHERE indrelid = 'words'::regclass"],
        answers: &[("REFRESH MATERIALIZED VIEW words; SELECT count(*) FROM words", "2")],
    },
    Case {
        database: "away",
        made_by: "CREATE EXTENSION file_fdw; CREATE SERVER away FOREIGN DATA WRAPPER file_fdw; \
            CREATE TABLE m (a int, b int) PARTITION BY LIST (a); CREATE TABLE m1 PARTITION OF m FOR VALUES IN (1); \
            INSERT INTO m SELECT 1, g FROM generate_series(1, 100) g; \
            COPY (SELECT 2, 3) TO '{dir}/away.csv' (FORMAT csv); \
            CREATE FOREIGN TABLE m2 PARTITION OF m FOR VALUES IN (2) SERVER away OPTIONS (filename '{dir}/away.csv', format 'csv'); \
            CREATE MATERIALIZED VIEW all_of_it AS SELECT * FROM m",
        warned: &[
            (
                "left-for-later",
                "rows of materialized view public.all_of_it",
                "REFRESH MATERIALIZED VIEW public.all_of_it;",
            ),
            ("left-for-later", "away: statistics of public.m", "ANALYZE public.m;"),
        ],
        same: &["SELECT sum(b) FROM m1"],
        answers: &[("SELECT count(*) > 0 FROM pg_stats WHERE tablename = 'm1'", "t")],
    },
    Case {
        database: "grants",
        made_by: "CREATE ROLE app; CREATE FUNCTION pg_catalog.gone(int) RETURNS int LANGUAGE sql AS 'SELECT 1'; \
            GRANT EXECUTE ON FUNCTION pg_catalog.gone(int) TO app; CREATE TABLE t (a int); GRANT SELECT ON t TO app",
        warned: &[(
            "left-for-later",
            "privileges on FUNCTION gone(integer) in schema pg_catalog",
            "GRANT ALL ON FUNCTION pg_catalog.gone(integer) TO app;",
        )],
        same: &["SELECT has_table_privilege('app', 't', 'SELECT')"],
        answers: &[],
    },
    Case {
        database: "slow",
        made_by: "CREATE FUNCTION key(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1'; CREATE TABLE t (a text); \
            INSERT INTO t VALUES ('hunter2'); CREATE INDEX by_key ON t (key(a)); COMMENT ON INDEX by_key IS 'it''s; a \"comment\"'; \
            CREATE INDEX by_a ON t (a); \
            CREATE OR REPLACE FUNCTION key(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1::int::text'",
        warned: &[
            ("left-for-later", "index public.by_key", "CREATE INDEX by_key ON public.t USING btree (public.key(a));"),
            (
                "left-for-later",
                "comment on INDEX by_key in schema public",
                "COMMENT ON INDEX public.by_key IS 'it''s; a \"comment\"';",
            ),
        ],
        same: &["SELECT a FROM t", "SELECT count(*) FROM pg_class WHERE relname = 'by_a'"],
        answers: &[],
    },
    Case {
        database: "hashes",
        made_by: "CREATE TYPE e AS ENUM ('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'); CREATE TYPE r AS (e e, i int); \
            CREATE TYPE span AS RANGE (subtype = e); \
            CREATE TABLE arrays (k e[], i int) PARTITION BY HASH (k); CREATE TABLE records (k r) PARTITION BY HASH (k); \
            CREATE TABLE ranges (k span) PARTITION BY HASH (k); \
            DO $$ BEGIN FOR n IN 0..3 LOOP \
                EXECUTE format('CREATE TABLE a%s PARTITION OF arrays FOR VALUES WITH (MODULUS 4, REMAINDER %1$s)', n); \
                EXECUTE format('CREATE TABLE r%s PARTITION OF records FOR VALUES WITH (MODULUS 4, REMAINDER %1$s)', n); \
                EXECUTE format('CREATE TABLE s%s PARTITION OF ranges FOR VALUES WITH (MODULUS 4, REMAINDER %1$s)', n); \
            END LOOP; END $$; \
            INSERT INTO arrays SELECT ARRAY[v], 1 FROM unnest(enum_range(NULL::e)) v; \
            INSERT INTO records SELECT (v, 1)::r FROM unnest(enum_range(NULL::e)) v; \
            INSERT INTO ranges SELECT span(v, NULL) FROM unnest(enum_range(NULL::e)) v",
        warned: &[],
        same: &[
            "SELECT array_agg(k ORDER BY k) FROM arrays",
            "SELECT array_agg(k ORDER BY k) FROM records",
            "SELECT array_agg(k ORDER BY k) FROM ranges",
            "SELECT count(*) FROM arrays WHERE k = '{c}'",
        ],
        answers: &[],
    },
    Case {
        database: "labels",
        made_by: "SET allow_system_table_mods = on; CREATE TABLE t AS SELECT 1 AS a; CREATE PUBLICATION p FOR TABLE t; \
            CREATE STATISTICS s ON a, (a + 1) FROM t; \
            INSERT INTO pg_seclabel VALUES ('t'::regclass, 'pg_class'::regclass, 1, 'nobody', 'it''s'); \
            INSERT INTO pg_shseclabel SELECT oid, 'pg_database'::regclass, 'nobody', 'x; y' FROM pg_database WHERE datname = 'labels'; \
            COMMENT ON DATABASE labels IS 'a; b'",
        warned: &[
            (
                "left-for-later",
                "labels: security label on",
                "SECURITY LABEL FOR nobody ON COLUMN public.t.a IS 'it''s';",
            ),
            ("left-for-later", "labels", "SECURITY LABEL FOR nobody ON DATABASE \"labels\" IS 'x; y';"),
        ],
        same: &[
            "SELECT pubname FROM pg_publication",
            "SELECT stxname FROM pg_statistic_ext",
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'labels'",
        ],
        answers: &[],
    },
    Case {
        database: "no public",
        made_by: "DROP SCHEMA public; DROP EXTENSION plpgsql; CREATE SCHEMA own; CREATE TABLE own.t AS SELECT 1 AS a",
        warned: &[],
        same: &[
            "SELECT string_agg(nspname, ' ' ORDER BY 1) FROM pg_namespace WHERE nspname !~ '^pg_toast'",
            "SELECT count(*) FROM pg_extension",
            "SELECT a FROM own.t",
        ],
        answers: &[],
    },
    Case {
        database: "another public",
        made_by: "ALTER SCHEMA public RENAME TO earlier; CREATE TABLE earlier.t AS SELECT 1 AS a; REVOKE USAGE ON SCHEMA earlier FROM PUBLIC",
        warned: &[],
        same: &[
            "SELECT string_agg(nspname, ' ' ORDER BY 1) FROM pg_namespace WHERE nspname !~ '^pg_toast'",
            "SELECT nspacl FROM pg_namespace WHERE nspname = 'earlier'",
        ],
        answers: &[],
    },
];

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn make(server: &Postgres, database: &str, made_by: &str) {
    server.sql("postgres", &format!("CREATE DATABASE {}", identifier(database)));
    let mut psql = server.command("psql");
    psql.args([
        "-X",
        "-q",
        "-v",
        "ON_ERROR_STOP=1",
        "-c",
        &made_by.replace("{dir}", &server.host().display().to_string()),
    ]);
    let output = psql.env("PGDATABASE", database).output().expect("psql runs");
    assert!(output.status.success(), "{database}: {}", describe(&output));
}

/// What `pg_dump -Fc | pg_restore --create` makes of a database; it goes on past errors.
fn by_pg_restore(source: &Postgres, target: &Postgres, database: &str) {
    let mut pg_dump = Command::new(target.client_bin().join("pg_dump"));
    forget_libpq(&mut pg_dump);
    let file = target.host().join("reference.dump");
    let dumped = pg_dump.envs(source.variables()).env("PGDATABASE", database).args(["-Fc", "-f"]).arg(&file).output();
    assert!(dumped.expect("pg_dump runs").status.success());
    target.command("pg_restore").args(["--create", "-d", "postgres"]).arg(&file).output().expect("pg_restore runs");
}

fn outcome(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let document: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{}", describe(output)));
    document["result"].clone()
}

/// Those of a list of findings that are of the restore itself, as code, subject and hint.
fn warnings(list: &Value) -> Vec<(String, String, String)> {
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let list = list.as_array().expect("a list").iter();
    let all = list.map(|finding| (text(finding, "code"), text(finding, "subject"), text(finding, "hint")));
    all.filter(|(code, ..)| ["constraint-not-valid", "left-for-later", "left-out"].contains(&code.as_str())).collect()
}

fn assert_warned(found: &[(String, String, String)]) {
    let expected: Vec<_> = CASES.iter().flat_map(|case| case.warned).collect();
    for (code, subject, hint) in &expected {
        let is = |(a, b, c): &&(String, String, String)| a == code && b.contains(subject) && c.contains(hint);
        assert!(found.iter().any(|found| is(&found)), "{code} {subject} {hint} is none of {found:#?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn what_can_be_made_later_stops_no_restore_and_is_said_by_drills_too() {
    let (place, source) = (Workplace::default(), Postgres::start());
    CASES.iter().for_each(|case| make(&source, case.database, case.made_by));
    let bundle = place.make_bundle_of(&source);
    std::fs::remove_file(source.host().join("away.csv")).expect("the file of the foreign table");
    let (target, reference) = (Postgres::start(), Postgres::start());
    let mut restore = place.restore(&target, &["--release", "2.6.3", "--yes", "--json", "--quiet", "--file"]);
    let output = restore.arg(&bundle).output().expect("it runs");
    assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
    assert!(!describe(&output).contains(SECRET), "rows are shown: {}", describe(&output));
    assert_warned(&warnings(&outcome(&output)["warnings"]));
    reference.sql("postgres", "CREATE ROLE app");
    for case in &CASES {
        by_pg_restore(&source, &reference, case.database);
        for question in case.same {
            let answers = [&source, &target].map(|server| server.sql(case.database, question));
            assert_eq!(answers[1], answers[0], "{}: {question}", case.database);
        }
        for (question, answer) in case.answers {
            assert_eq!(target.sql(case.database, question), *answer, "{}: {question}", case.database);
        }
        // What pg_restore makes, we make.
        let objects = "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname !~ '^pg_|^information_' \
            UNION ALL SELECT conname FROM pg_constraint UNION ALL SELECT evtname FROM pg_event_trigger ORDER BY 1";
        let theirs = reference.sql(case.database, objects);
        let ours = target.sql(case.database, objects);
        let lost: Vec<&str> = theirs.lines().filter(|object| !ours.lines().any(|other| other == *object)).collect();
        assert!(lost.is_empty(), "{}: {lost:?}", case.database);
    }
    let inside = tempfile::tempdir().expect("a directory");
    std::fs::set_permissions(inside.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
    let drill = place
        .cli(&["drill", "--json", "--quiet", "--in"])
        .arg(inside.path())
        .arg(&bundle)
        .env("PATH", target.path())
        .output();
    let drill = drill.expect("it runs");
    assert!(!drill.status.success(), "{}", describe(&drill));
    assert!(!describe(&drill).contains(SECRET), "rows are shown: {}", describe(&drill));
    let text = String::from_utf8_lossy(&drill.stdout);
    for (_, subject, _) in CASES.iter().flat_map(|case| case.warned) {
        let json = serde_json::to_string(subject).expect("JSON");
        assert!(text.contains(json.trim_matches('"')), "{subject}: {text}");
    }
}

/// A database that does not come back unless somebody names what is refused: its object, and what the error says of it.
const REFUSED: [(&str, &str, &str, &[&str]); 5] = [
    (
        "unique",
        "CREATE FUNCTION key(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1'; CREATE TABLE t (a text); \
         INSERT INTO t VALUES ('hunter2'), ('hunter22'); CREATE UNIQUE INDEX uq ON t (key(a)); COMMENT ON INDEX uq IS 'x'; \
         CREATE INDEX other ON t (a); \
         CREATE OR REPLACE FUNCTION key(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ''hunter2''::text'",
        "public.uq",
        &["index public.uq", "could not create unique index", "ON public.t USING btree"],
    ),
    (
        "exclusion",
        "CREATE FUNCTION key(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1'; CREATE TABLE t (a text, \
         CONSTRAINT \"no two\" EXCLUDE USING btree (key(a) WITH =)); INSERT INTO t VALUES ('hunter2'), ('hunter22'); \
         CREATE OR REPLACE FUNCTION key(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ''hunter2''::text'",
        "public.t no two",
        &["constraint public.t no two", "could not create exclusion constraint"],
    ),
    (
        "body",
        "CREATE FUNCTION f(a int, int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT a + $2; END; CREATE TABLE t AS SELECT 1 AS a",
        "public.f(integer, integer)",
        &["function public.f(integer, integer)", "zero-length delimited identifier"],
    ),
    (
        "view",
        "CREATE FUNCTION pg_catalog.mine(int) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE TABLE t AS SELECT 1 AS a; \
         CREATE VIEW v AS SELECT mine(a) FROM t",
        "v",
        &["view public.v", "function mine(integer) does not exist"],
    ),
    (
        "watch",
        "CREATE FUNCTION pg_catalog.noticed() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; CREATE TABLE t AS SELECT 1 AS a; \
         CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION pg_catalog.noticed()",
        "watch",
        &["event trigger watch", "function noticed() does not exist"],
    ),
];

#[test]
fn what_cannot_be_done_without_is_refused_until_it_is_named() {
    let (place, source, target) = (Workplace::default(), Postgres::start(), Postgres::start());
    REFUSED.iter().for_each(|(database, made_by, ..)| make(&source, database, made_by));
    let bundle = place.make_bundle_of(&source);
    for (database, _, object, said) in REFUSED {
        let restore = |arguments: &[&str]| {
            let output = place.restore(&target, arguments).output().expect("it runs");
            assert!(!describe(&output).contains(SECRET), "{database}: rows are shown: {}", describe(&output));
            output
        };
        let from = bundle.display().to_string();
        let begin = ["--release", "2.6.3", "--yes", "--database", database, "--file", &from];
        let output = restore(&begin);
        let text = describe(&output);
        assert_eq!(output.status.code(), Some(14), "{text}");
        assert!(said.iter().all(|part| text.contains(part)), "{said:?}: {text}");
        assert!(text.contains("--rollback") && text.contains("--accept-missing"), "{text}");
        assert!(!last_line(&output).contains("--resume"), "it would fail again: {text}");
        let output = restore(&["--resume", "--accept-missing", object, "--json", "--quiet"]);
        assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
        let left = warnings(&outcome(&output)["warnings"]);
        assert!(left.iter().any(|(code, subject, _)| code == "left-out" && subject.contains(said[0])), "{left:#?}");
        assert_eq!(target.sql(database, "SELECT count(*) FROM t"), source.sql(database, "SELECT count(*) FROM t"));
        assert!(place.rollback(&target, Path::new(&bundle)).output().expect("it runs").status.success());
        if database == "unique" {
            let output = restore(&[&begin[..], &["--accept-missing", "uq"]].concat());
            assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
            assert_eq!(target.sql(database, "SELECT count(*) FROM pg_class WHERE relname = 'other'"), "1");
        }
    }
}

#[test]
fn rows_that_the_server_refuses_are_not_shown_and_nobody_is_told_to_resume() {
    for installation in installations() {
        let [source, target] = [(); 2].map(|()| Postgres::start_version(&installation, ""));
        let place = Workplace::default();
        let made_by = "CREATE FUNCTION ok(text) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true'; CREATE TABLE t (a text CHECK (ok(a))); \
            INSERT INTO t VALUES ('hunter2'); CREATE OR REPLACE FUNCTION ok(text) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1::int > 0'";
        make(&source, "checked", made_by);
        let bundle = place.make_bundle_of(&source);
        let output = place.restore_all(&target, &bundle, &[]);
        let text = describe(&output);
        assert_eq!(output.status.code(), Some(14), "{text}");
        assert!(
            text.contains("rows of table public.t: ")
                && text.contains("invalid input syntax")
                && !text.contains(SECRET),
            "{text}"
        );
        assert!(
            text.contains("restore --rollback") && text.contains("restore --resume --accept-missing public.t"),
            "{text}"
        );
        assert!(!last_line(&output).contains("--resume"), "it would fail again: {text}");
    }
}
