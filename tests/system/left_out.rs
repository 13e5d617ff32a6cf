//! What a restore leaves out or fills too early, because the operator says so or because it reads elsewhere: each is named, with
//! the statement that mends it.

use fixtures::Postgres;
use system_tests::{Workplace, describe, warnings};

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
