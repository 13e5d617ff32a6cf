//! How schema and rows are built where the server refuses a part, or where pg_dump puts an entry late: nothing is lost without a
//! word.

use fixtures::{Installation, Postgres, installations};
use system_tests::{Workplace, describe, warnings};

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
