//! How schema and rows are built where the server refuses a part, where pg_dump puts an entry late, and where what is computed
//! reads what is not there yet: nothing is lost without a word.

use std::process::Output;

use fixtures::{Installation, Postgres, installations};
use serde_json::Value;
use system_tests::{Workplace, describe};

/// Warnings of a restore, as code, subject and hint.
fn warnings(output: &Output) -> Vec<[String; 3]> {
    let text = String::from_utf8_lossy(&output.stdout);
    let document: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{}", describe(output)));
    let list = document["result"]["warnings"].as_array().expect("a list").clone();
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    list.iter().map(|finding| ["code", "subject", "hint"].map(|key| text(finding, key))).collect()
}

/// A database, what is asked of it before and after, and what is warned of.
struct Case {
    name: &'static str,
    /// The first version of the server that has what it needs.
    since: u32,
    made_by: &'static str,
    questions: &'static [&'static str],
    /// Parts of the warnings' hints, in their order.
    hints: &'static [&'static str],
}

/// Makes the databases, backs them up, restores them over themselves and holds all answers against those before.
fn come_back(cases: &[Case], installation: &Installation) {
    let (place, server) = (Workplace::default(), Postgres::start_version(installation, ""));
    let cases: Vec<&Case> = cases.iter().filter(|case| case.since <= installation.major).collect();
    for case in &cases {
        // Not every encoding has all characters.
        let options =
            if case.name.starts_with("latin") { "ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0" } else { "" };
        server.sql("postgres", &format!("CREATE DATABASE {} {options}", case.name));
        server.sql(case.name, case.made_by);
    }
    let ask = || -> Vec<(String, String)> {
        let all = cases.iter().flat_map(|case| case.questions.iter().map(move |question| (case.name, question)));
        all.map(|(name, question)| (format!("{name}: {question}"), server.sql(name, question))).collect()
    };
    let before = ask();
    let bundle = place.make_bundle_of(&server);
    let output = place.restore_all(&server, &bundle, &["--json", "--quiet"]);
    let expected = if cases.iter().all(|case| case.hints.is_empty()) { 0 } else { 3 };
    assert_eq!(output.status.code(), Some(expected), "{}", describe(&output));
    let found = warnings(&output);
    for case in &cases {
        let its = |found: &&[String; 3]| found[1].starts_with(&format!("{}:", case.name));
        let its: Vec<&[String; 3]> = found.iter().filter(its).collect();
        assert_eq!(its.len(), case.hints.len(), "{}: {its:#?}", case.name);
        for (found, hint) in its.iter().zip(case.hints) {
            assert!(found[2].contains(hint), "{}: {hint} is not in {found:#?}", case.name);
        }
    }
    assert_eq!(ask(), before);
}

/// A check that rows break now, since its function has changed.
macro_rules! refusing {
    ($table:literal) => {
        concat!(
            "CREATE FUNCTION ok(",
            $table,
            ") RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true'; ALTER TABLE ",
            $table,
            " ADD CONSTRAINT is_ok CHECK (ok(",
            $table,
            ".*)); CREATE OR REPLACE FUNCTION ok(",
            $table,
            ") RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1.id > 1'; "
        )
    };
}
const INDEXES: &str = "SELECT indexrelid::regclass, indisunique, indisvalid FROM pg_index WHERE indrelid >= 16384 \
    AND indexrelid::regclass::text NOT LIKE 'pg_toast%' AND indexrelid::regclass::text <> 't_norm' ORDER BY indexrelid::regclass::text";
const CHANGED: &str = "CREATE FUNCTION norm(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN lower($1); END'; \
    CREATE INDEX t_norm ON t (norm(n)); \
    CREATE OR REPLACE FUNCTION norm(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN helper($1); END'; ";
const VALIDATE: &str = "ALTER TABLE public.t VALIDATE CONSTRAINT is_ok;";
const AGAIN: &str = "CREATE INDEX t_norm ON public.t USING btree (public.norm(n));";

#[test]
fn what_is_built_stays_however_much_else_the_server_refuses() {
    const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, n text); INSERT INTO t VALUES (1, 'a'), (2, 'b'); ";
    let made = |parts: &[&str]| -> &'static str { parts.concat().leak() };
    // A view that groups by a key comes after the rows, with all that hangs on it.
    let view = "CREATE MATERIALIZED VIEW mv AS SELECT t.id, t.n, count(*) FROM t GROUP BY t.id; \
        CREATE UNIQUE INDEX mv_id ON mv (id); CREATE INDEX mv_n ON mv (n); ";
    let cases = [
        Case {
            name: "beside_check",
            since: 13,
            made_by: made(&[TABLE, view, refusing!("t")]),
            questions: &[INDEXES, "SELECT * FROM mv ORDER BY 1"],
            hints: &[VALIDATE],
        },
        Case {
            name: "beside_index",
            since: 13,
            made_by: made(&[TABLE, view, CHANGED, "COMMENT ON INDEX mv_id IS 'its key'"]),
            questions: &[
                INDEXES,
                "REFRESH MATERIALIZED VIEW CONCURRENTLY mv",
                "SELECT obj_description('mv_id'::regclass)",
            ],
            hints: &[AGAIN],
        },
        Case {
            name: "of_function",
            since: 14,
            made_by: made(&[
                TABLE,
                "CREATE FUNCTION f(i int) RETURNS text IMMUTABLE BEGIN ATOMIC SELECT n FROM t WHERE id = i GROUP BY t.id; END; \
                 CREATE TABLE w (id int, x text); INSERT INTO w VALUES (1, 'n1'); CREATE INDEX w_f ON w (f(id)); \
                 CREATE INDEX w_x ON w (x) WHERE f(id) <> ''; ",
                refusing!("t"),
            ]),
            questions: &[INDEXES, "SELECT f(1)", "SELECT pg_get_functiondef('f'::regproc)"],
            hints: &[VALIDATE],
        },
        Case {
            name: "of_views",
            since: 13,
            made_by: made(&[
                TABLE,
                view,
                "CREATE VIEW over AS SELECT h.id, h.n, count(*) FROM t h GROUP BY h.id; \
                 CREATE MATERIALIZED VIEW second AS SELECT id, n FROM over; CREATE UNIQUE INDEX second_id ON second (id); \
                 CREATE STATISTICS kept ON id, n FROM mv; \
                 CREATE RULE told AS ON INSERT TO over DO INSTEAD NOTHING; GRANT SELECT ON over TO PUBLIC; ",
                CHANGED,
            ]),
            questions: &[
                INDEXES,
                "SELECT * FROM second ORDER BY 1",
                "SELECT stxname FROM pg_statistic_ext",
                "SELECT rulename FROM pg_rules WHERE tablename = 'over'",
                "SELECT relacl FROM pg_class WHERE relname = 'over'",
            ],
            hints: &[AGAIN],
        },
        Case {
            name: "latin",
            since: 13,
            made_by: made(&[
                TABLE,
                view,
                "CREATE INDEX \"ä ö\" ON mv (count); ALTER TABLE t ADD CONSTRAINT \"ü\" UNIQUE (n); ",
                CHANGED,
            ]),
            questions: &[
                "SELECT count(*), bool_and(indisvalid) FROM pg_index WHERE indrelid IN ('t'::regclass, 'mv'::regclass) \
                AND indexrelid::regclass::text <> 't_norm'",
            ],
            hints: &[AGAIN],
        },
        Case {
            name: "of_partitions",
            since: 13,
            made_by: made(&[
                TABLE,
                view,
                "CREATE TABLE p (id int PRIMARY KEY, n text) PARTITION BY RANGE (id); \
                 CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (1) TO (9); INSERT INTO p VALUES (1, 'a'); \
                 CREATE INDEX \"p n\" ON p (n); CREATE INDEX \"strange ä postgres\" ON t (n); \
                 ALTER TABLE t CLUSTER ON \"strange ä postgres\"; CREATE DOMAIN d AS int; \
                 ALTER DOMAIN d ADD CONSTRAINT \"small one\" CHECK (VALUE < 9) NOT VALID; ",
                CHANGED,
            ]),
            questions: &[
                INDEXES,
                "SELECT conname, convalidated FROM pg_constraint WHERE contypid <> 0 OR contype = 'p' ORDER BY 1",
            ],
            hints: &[AGAIN],
        },
    ];
    installations().iter().for_each(|installation| come_back(&cases, installation));
}

/// What comes before rows by its kind, and needs what comes after them.
#[test]
fn what_needs_something_late_is_made_after_it() {
    const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, n text); INSERT INTO t VALUES (1, 'a'), (2, 'b'); ";
    let made = |parts: &[&str]| -> &'static str { parts.concat().leak() };
    let view = "CREATE MATERIALIZED VIEW mv AS SELECT t.id, t.n, count(*) FROM t GROUP BY t.id; CREATE UNIQUE INDEX mv_id ON mv (id); ";
    let function = "CREATE FUNCTION af(i int) RETURNS bigint BEGIN ATOMIC \
        SELECT count(*) FROM (SELECT t.id, t.n FROM t GROUP BY t.id) s WHERE id = i; END; ";
    let cases = [
        Case {
            name: "set_of",
            since: 13,
            made_by: made(&[
                TABLE,
                view,
                "CREATE FUNCTION busy(m bigint) RETURNS SETOF mv LANGUAGE sql STABLE AS 'SELECT * FROM public.mv WHERE count >= m'; \
                 COMMENT ON FUNCTION busy IS 'it''s busy'; REVOKE ALL ON FUNCTION busy FROM PUBLIC",
            ]),
            questions: &[
                INDEXES,
                "SELECT * FROM busy(1) ORDER BY 1",
                "SELECT obj_description('busy'::regproc), proacl FROM pg_proc WHERE proname = 'busy'",
            ],
            hints: &[],
        },
        Case {
            name: "set_of_view_and_rows_of_it",
            since: 13,
            made_by: made(&[
                TABLE,
                "CREATE VIEW v AS SELECT t.id, t.n, count(*) FROM t GROUP BY t.id; \
                 CREATE FUNCTION busy() RETURNS SETOF v LANGUAGE sql STABLE AS 'SELECT * FROM public.v'; \
                 CREATE VIEW over AS SELECT * FROM busy() WHERE id > 1; \
                 CREATE TABLE keeps (id serial PRIMARY KEY, v v); INSERT INTO keeps (v) SELECT v FROM v ORDER BY id; \
                 CREATE INDEX ON keeps (((v).n))",
            ]),
            questions: &[
                INDEXES,
                "SELECT * FROM over",
                "SELECT * FROM keeps ORDER BY id",
                "SELECT last_value FROM keeps_id_seq",
            ],
            hints: &[],
        },
        Case {
            name: "by_default",
            since: 14,
            made_by: made(&[
                TABLE,
                function,
                "CREATE TABLE d (a bigint DEFAULT af(1), b text); INSERT INTO d (b) VALUES ('x'); \
                 CREATE TABLE child (c int) INHERITS (d); INSERT INTO child (c) VALUES (7); CREATE UNIQUE INDEX ON d (b); ",
                refusing!("t"),
            ]),
            questions: &[
                INDEXES,
                "SELECT * FROM d ORDER BY b",
                "SELECT * FROM child",
                "SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef",
            ],
            hints: &[VALIDATE],
        },
        Case {
            name: "by_check",
            since: 14,
            made_by: made(&[
                TABLE,
                function,
                "CREATE TABLE d (a int CHECK (af(a) > 0)); INSERT INTO d VALUES (1); CREATE DOMAIN known AS int CHECK (af(VALUE) = 1); \
                 CREATE TABLE \"a domain's\" (a known); INSERT INTO \"a domain's\" VALUES (2)",
            ]),
            questions: &[
                "SELECT * FROM d",
                "SELECT * FROM \"a domain's\"",
                "SELECT conname, convalidated FROM pg_constraint WHERE contype = 'c' AND oid >= 16384 ORDER BY 1",
            ],
            hints: &[],
        },
    ];
    installations().iter().for_each(|installation| come_back(&cases, installation));
}

/// Rows that break a check, or whose checks read what is loaded later.
#[test]
fn rows_that_are_refused_at_first_come_back() {
    let changed = |name: &str, takes: &str, is: &str| -> String {
        let function = |body: &str| {
            format!(
                "CREATE OR REPLACE FUNCTION {name}({takes}) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT {body}'; "
            )
        };
        format!("{}|{}", function("true"), function(is))
    };
    let around = |change: String, between: &str| -> &'static str {
        let (first, last) = change.split_once('|').expect("two");
        format!("{first}{between}; {last}").leak()
    };
    const CHECKS: &str = "SELECT conrelid::regclass, contypid::regtype, conname, conislocal, coninhcount, \
        replace(pg_get_constraintdef(oid), ' NOT VALID', ''), obj_description(oid) FROM pg_constraint \
        WHERE contype = 'c' AND oid >= 16384 ORDER BY 1, 2, 3";
    let cases = [
        Case {
            name: "inline",
            since: 13,
            made_by: around(
                changed("ok", "int", "$1 > 3"),
                "CREATE TABLE t (a int CONSTRAINT is_ok CHECK (ok(a))); INSERT INTO t VALUES (1), (5); CREATE TABLE u AS SELECT 1 AS x; \
                 COMMENT ON CONSTRAINT is_ok ON t IS 'it''s ok'; CREATE INDEX ON t (a)",
            ),
            questions: &[CHECKS, "SELECT * FROM t ORDER BY a", "SELECT * FROM u"],
            hints: &["run in database inline: ALTER TABLE public.t VALIDATE CONSTRAINT is_ok;"],
        },
        Case {
            name: "inherited",
            since: 13,
            made_by: around(
                changed("ok", "int", "$1 > 3"),
                "CREATE TABLE p (a int CONSTRAINT \"is it\" CHECK (ok(a))); CREATE TABLE c (b int) INHERITS (p); INSERT INTO c VALUES (1, 2); \
                 CREATE TABLE own (a int CONSTRAINT \"is it\" CHECK (ok(a)), CONSTRAINT two CHECK (ok(a))) INHERITS (p); INSERT INTO own VALUES (2); \
                 CREATE TABLE q (a int, CONSTRAINT of_all CHECK (ok(a))) PARTITION BY LIST (a); \
                 CREATE TABLE q1 PARTITION OF q FOR VALUES IN (1); CREATE TABLE q9 PARTITION OF q FOR VALUES IN (9); INSERT INTO q VALUES (1), (9)",
            ),
            questions: &[CHECKS, "SELECT * FROM c", "SELECT * FROM own", "SELECT * FROM q ORDER BY a"],
            hints: &[
                "ALTER TABLE public.own VALIDATE CONSTRAINT \"is it\";",
                "ALTER TABLE public.own VALIDATE CONSTRAINT two;",
                "ALTER TABLE public.p VALIDATE CONSTRAINT \"is it\";",
                "ALTER TABLE public.q VALIDATE CONSTRAINT of_all;",
            ],
        },
        Case {
            name: "of_domain",
            since: 13,
            made_by: around(
                changed("ok", "int", "$1 > 3"),
                "CREATE DOMAIN d AS int CONSTRAINT big CHECK (ok(VALUE)); CREATE DOMAIN e AS d; \
                 CREATE TABLE t (a e, b d[]); INSERT INTO t VALUES (1, '{2}'), (9, NULL); CREATE TABLE u (a d); INSERT INTO u VALUES (1)",
            ),
            questions: &[CHECKS, "SELECT * FROM t ORDER BY a", "SELECT * FROM u"],
            hints: &["ALTER DOMAIN public.d VALIDATE CONSTRAINT big;"],
        },
        Case {
            name: "own_name",
            since: 13,
            made_by: "CREATE TABLE t (a int, db name DEFAULT current_database(), CONSTRAINT here CHECK (db = current_database())); \
                INSERT INTO t VALUES (1), (2)",
            questions: &[CHECKS, "SELECT * FROM t ORDER BY a", "ALTER TABLE t VALIDATE CONSTRAINT here"],
            hints: &["ALTER TABLE public.t VALIDATE CONSTRAINT here;"],
        },
        Case {
            name: "of_others",
            since: 13,
            made_by: "CREATE FUNCTION has(int) RETURNS bool LANGUAGE plpgsql STABLE AS $$ BEGIN \
                    IF NOT EXISTS (SELECT FROM public.zzz WHERE id = $1) THEN RAISE 'no such one'; END IF; RETURN true; END $$; \
                CREATE FUNCTION also(int) RETURNS bool LANGUAGE plpgsql STABLE AS $$ BEGIN \
                    RETURN EXISTS (SELECT FROM public.aaa WHERE z = $1); END $$; \
                CREATE FUNCTION first(int) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN \
                    IF NOT EXISTS (SELECT FROM public.zzz WHERE id = $1) THEN RAISE 'none'; END IF; \
                    RETURN (SELECT pad FROM public.zzz WHERE id = $1); END $$; \
                CREATE TABLE zzz (id int PRIMARY KEY, pad text); INSERT INTO zzz SELECT g, repeat('x', 100) FROM generate_series(1, 20000) g; \
                CREATE TABLE aaa (z int CHECK (has(z))); INSERT INTO aaa VALUES (20000); \
                CREATE TABLE aa (z int CHECK (also(z)), g text GENERATED ALWAYS AS (first(z)) STORED); INSERT INTO aa VALUES (20000)",
            questions: &[
                "SELECT conname, convalidated FROM pg_constraint WHERE contype = 'c' AND oid >= 16384 ORDER BY 1",
                "SELECT * FROM aaa",
                "SELECT * FROM aa",
            ],
            hints: &[],
        },
    ];
    installations().iter().for_each(|installation| come_back(&cases, installation));
}

#[test]
fn rows_that_no_server_takes_are_left_out_where_the_operator_says_so() {
    let (place, server) = (Workplace::default(), Postgres::start());
    server.sql("postgres", "CREATE DATABASE refusing");
    server.sql("postgres", "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
    server.sql(
        "latin",
        "CREATE FUNCTION ok(text) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true'; \
         CREATE TABLE t (a text CHECK (ok(a))); INSERT INTO t VALUES ('hunter2'), ('3'); CREATE TABLE u AS SELECT 1 AS a; \
         CREATE OR REPLACE FUNCTION ok(text) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1::int > 0'",
    );
    server.sql(
        "refusing",
        "CREATE FUNCTION helper(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower($1)'; \
         CREATE FUNCTION norm(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN helper($1); END'; \
         CREATE TABLE a (t text PRIMARY KEY, n text GENERATED ALWAYS AS (norm(t)) STORED); INSERT INTO a VALUES ('hunter2'); \
         CREATE TABLE \"B b\" (t text, n text CHECK (norm(t) = n)); INSERT INTO \"B b\" VALUES ('X', 'x'), ('Y', 'y'); \
         CREATE TABLE kept (x int, a text REFERENCES a); INSERT INTO kept VALUES (1, 'hunter2'); \
         CREATE FUNCTION pk(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 % 2'; \
         CREATE TABLE p (a int) PARTITION BY LIST (pk(a)); CREATE TABLE p0 PARTITION OF p FOR VALUES IN (0); \
         CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); INSERT INTO p VALUES (1), (2), (3); \
         CREATE OR REPLACE FUNCTION pk(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT ($1 + 1) % 2'",
    );
    let bundle = place.make_bundle_of(&server);
    let output = place.restore_all(&server, &bundle, &["--database", "latin", "--accept-missing", "t"]);
    let said = describe(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("2 of its 2 rows are left out") && !said.contains("hunter2"), "{said}");
    assert!(said.contains("database latin: 1 row, each table's counted"), "{said}");
    assert_eq!(server.sql("latin", "SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM u)"), "0|1");
    let output = place.restore_all(&server, &bundle, &["--database", "refusing"]);
    let said = describe(&output);
    assert_eq!(output.status.code(), Some(14), "{said}");
    let flags =
        "--accept-missing 'public.B b' --accept-missing public.a --accept-missing public.p0 --accept-missing public.p1";
    assert!(said.contains(flags) && !said.contains("hunter2"), "{said}");
    for table in ["rows of table public.a:", "rows of table public.B b:", "rows of table public.p1:"] {
        assert!(said.contains(table), "{table}: {said}");
    }
    let mut drill = place.cli(&["drill", "--quiet", "--config", "cluster.conf"]);
    let drilled = drill.arg(&bundle).envs(server.variables()).output().expect("it runs");
    assert!(!drilled.status.success() && describe(&drilled).contains("--accept-missing"), "{}", describe(&drilled));
    let accepted: Vec<&str> =
        flags.split("--accept-missing ").map(|name| name.trim().trim_matches('\'')).skip(1).collect();
    let mut resume = place.restore(&server, &["--resume", "--json", "--quiet", "--yes"]);
    // The last one is not named.
    accepted[..3].iter().for_each(|name| {
        resume.args(["--accept-missing", name]);
    });
    let output = resume.output().expect("it runs");
    assert_eq!(output.status.code(), Some(14), "{}", describe(&output));
    let mut resume = place.restore(&server, &["--resume", "--json", "--quiet", "--accept-missing", "p1"]);
    let output = resume.output().expect("it runs");
    assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
    let found = warnings(&output);
    let left: Vec<&str> = found.iter().filter(|found| found[0] == "left-out").map(|found| found[1].as_str()).collect();
    let expected = ["B b", "a", "p0", "p1"].map(|table| format!("refusing: rows of table public.{table}"));
    let mut sorted = left.clone();
    sorted.sort();
    assert_eq!(sorted, expected, "{found:#?}");
    assert!(
        found.iter().any(|found| found[2].contains("ALTER TABLE public.kept VALIDATE CONSTRAINT kept_a_fkey;")),
        "{found:#?}"
    );
    let counts = "SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM \"B b\"), (SELECT count(*) FROM p), (SELECT x FROM kept)";
    assert_eq!(server.sql("refusing", counts), "0|0|0|1");
}

/// Materialized views that read more than their database are filled too early, which is said before and after, and mended as it is
/// said.
#[test]
fn a_view_that_reads_elsewhere_is_to_be_filled_again() {
    let (place, server) = (Workplace::default(), Postgres::start());
    for name in ["archive", "reading"] {
        server.sql("postgres", &format!("CREATE DATABASE {name}"));
    }
    server.sql("archive", "CREATE TABLE runs AS SELECT g FROM generate_series(1, 500) g");
    let variables = server.variables();
    let of = |name: &str| {
        variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| value.clone()).expect("a value")
    };
    let (host, port, user) = (of("PGHOST"), of("PGPORT"), of("PGUSER"));
    let link = format!("host={host} port={port} dbname=archive user={user}");
    server.sql(
        "reading",
        &format!(
            "CREATE EXTENSION postgres_fdw; CREATE EXTENSION dblink; \
             CREATE SERVER arch FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '{host}', port '{port}', dbname 'archive'); \
             CREATE USER MAPPING FOR PUBLIC SERVER arch OPTIONS (user '{user}'); CREATE FOREIGN TABLE runs (g int) SERVER arch; \
             CREATE TABLE t (a int, db name DEFAULT current_database()); INSERT INTO t VALUES (1), (2); \
             CREATE MATERIALIZED VIEW plain AS SELECT count(*) FROM t; \
             CREATE VIEW between AS SELECT g FROM runs WHERE g > 1; \
             CREATE MATERIALIZED VIEW far AS SELECT count(*) AS n FROM between; \
             CREATE MATERIALIZED VIEW after AS SELECT n + 1 AS n FROM far; \
             CREATE MATERIALIZED VIEW linked AS SELECT n FROM dblink('{link}', 'SELECT count(*) FROM runs') x(n bigint); \
             CREATE FUNCTION named() RETURNS text LANGUAGE plpgsql STABLE AS 'BEGIN RETURN current_catalog; END'; \
             CREATE MATERIALIZED VIEW here AS SELECT current_database() AS here, count(*) FILTER (WHERE db = current_database()) AS mine FROM t; \
             CREATE MATERIALIZED VIEW by_function AS SELECT named() AS here; \
             CREATE MATERIALIZED VIEW empty AS SELECT current_database() AS here WITH NO DATA"
        ),
    );
    let views = ["after", "by_function", "far", "here", "linked"];
    let answers = |server: &Postgres| views.map(|view| server.sql("reading", &format!("SELECT * FROM {view}")));
    let before = answers(&server);
    let bundle = place.make_bundle_of(&server);
    let names = |text: &str| views.map(|view| text.contains(&format!("REFRESH MATERIALIZED VIEW public.{view};")));
    let dry = place.restore_all(&server, &bundle, &["--dry-run"]);
    assert!(dry.status.success() || dry.status.code() == Some(3), "{}", describe(&dry));
    assert_eq!(names(&describe(&dry)), [true; 5], "{}", describe(&dry));
    let check = place.cli(&["check", "--config", "cluster.conf"]).envs(server.variables()).output().expect("it runs");
    assert_eq!(names(&describe(&check)), [true; 5], "{}", describe(&check));
    let mut drill = place.cli(&["drill", "--quiet", "--config", "cluster.conf"]);
    let drilled = drill.arg(&bundle).envs(server.variables()).output().expect("it runs");
    assert!(drilled.status.success(), "{}", describe(&drilled));
    assert_eq!(names(&describe(&drilled)), [true; 5], "{}", describe(&drilled));
    server.sql("archive", "DELETE FROM runs WHERE g > 3");
    let output = place.restore_all(&server, &bundle, &["--json", "--quiet"]);
    assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
    let found = warnings(&output);
    let found: Vec<_> = found.iter().filter(|found| found[0] == "refresh-later").collect();
    assert_eq!(found.len(), views.len(), "{found:#?}");
    assert_ne!(answers(&server), before);
    // In the order in which they are said.
    for [_, _, hint] in found {
        let (_, statement) = hint.split_once("database reading: ").expect("a statement");
        server.sql("reading", statement);
    }
    assert_eq!(answers(&server), before);
}
