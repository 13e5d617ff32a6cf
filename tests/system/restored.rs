//! What a restore brings back is what there was.

use fixtures::{Postgres, installations};
use system_tests::{Workplace, assert_same, code_but_for_clients, describe, last_line};

const DATABASES: [&str; 2] = ["orchestrator", "orchestrator_archive"];

#[test]
fn every_kind_of_object_comes_back_from_every_older_version() {
    let all = installations();
    let newest = all.last().expect("one installation at least");
    for installation in &all {
        let source = Postgres::start_version(installation, "");
        source.load_sample_for_all(1000);
        // Its text is larger than one script, so it is cut in the middle of the object.
        source.sql("orchestrator", "SELECT lo_from_bytea(800001, decode(repeat('0123456789abcdef', 2500000), 'hex'))");
        let place = Workplace::default();
        let bundle = place.make_bundle(&source);
        let target = Postgres::start_version(newest, "");
        let output = place.restore_all(&target, &bundle, &[]);
        // The role that logs in has no password in the bundle.
        assert_eq!(output.status.code(), Some(3), "version {}: {}", installation.major, describe(&output));
        assert!(last_line(&output).contains(", with 1 warning"), "{}", describe(&output));
        DATABASES.iter().for_each(|database| assert_same(&source, &target, database));
    }
}

#[test]
fn names_and_encodings_of_every_kind_come_back() {
    let source = Postgres::start();
    let same = "LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0";
    source.sql("postgres", "CREATE ROLE \"role DATABASE x\"");
    source.sql("postgres", &format!("CREATE DATABASE \"a \"\"quoted\"\" base = b\" ENCODING 'LATIN1' {same}"));
    source.sql("postgres", &format!("CREATE DATABASE bytes ENCODING 'SQL_ASCII' {same}"));
    let (latin, long) = ("a \"quoted\" base = b", "ö".repeat(31));
    source.sql("postgres", &format!("CREATE DATABASE \"{long}\""));
    for sql in
        ["OWNER TO \"role DATABASE x\"", "SET search_path = 'x; y', z", "CONNECTION LIMIT 17", "IS_TEMPLATE true"]
    {
        source.sql("postgres", &format!("ALTER DATABASE \"{long}\" {sql}"));
    }
    source.sql("postgres", &format!("COMMENT ON DATABASE \"{long}\" IS E'it''s;\nALTER DATABASE x \\\\'"));
    source.sql("postgres", &format!("REVOKE ALL ON DATABASE \"{long}\" FROM PUBLIC"));
    source.sql(&long, "CREATE TABLE public.t AS SELECT 1 AS a");
    source.sql(latin, "CREATE TABLE \"Größe\" (\"é\" text DEFAULT 'ü', b bytea); INSERT INTO \"Größe\" VALUES ('ÿ\\ \t é', '\\x00ff0a')");
    let all: String = (1..=255).map(|byte| format!("\\{byte:03o}")).collect();
    let raw = format!("convert_from('{all}'::bytea, 'SQL_ASCII')");
    source.sql("bytes", &format!("CREATE TABLE raw AS SELECT {raw} AS t, lo_from_bytea(7, '{all}')"));
    source.sql(
        "bytes",
        "DO $$ BEGIN EXECUTE format('CREATE TABLE %I AS SELECT i FROM generate_series(1, 9) i', E'\\303'); END $$",
    );
    let place = Workplace::default();
    let mut backup = place.backup(&source, &["--database", latin, "--database", "bytes"]);
    let output = backup.args(["--database", &long]).output().expect("it runs");
    assert!(output.status.success(), "{}", describe(&output));
    let target = Postgres::start();
    target.sql("postgres", &format!("CREATE DATABASE \"{long}\""));
    let output = place.restore_all(&target, &place.bundles()[0], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", describe(&output));
    for database in [latin, "bytes", &long] {
        let (before, after) = (source.dump(database, &["--create"]), target.dump(database, &["--create"]));
        assert!(before == after, "{database} came back different");
    }
}

#[test]
fn what_a_bundle_lacks_is_told_when_it_is_made_and_ever_after() {
    let server = Postgres::start();
    server.sql("postgres", "CREATE ROLE app LOGIN");
    server.sql("postgres", "CREATE DATABASE orchestrator OWNER app");
    server.sql("orchestrator", "CREATE EXTENSION pg_trgm; CREATE TABLE words AS SELECT 'word' AS word");
    server.sql("orchestrator", "CREATE INDEX ON words USING gin (word gin_trgm_ops)");
    let place = Workplace::default();
    let certificate = place.write("cert.pem", "a certificate");
    place.write(
        "cluster.conf",
        format!("chef {{ continuum {{ cluster_name: x, tls: \"{}\" }} }}", certificate.display()),
    );
    let check = ["check", "--config", "cluster.conf", "--release", "2.6.3", "--to", "."];
    let check = place.cli(&check).envs(server.variables()).output().expect("it runs");
    let backup = place.backup(&server, &[]).output().expect("it runs");
    let bundle = place.bundles()[0].display().to_string();
    let [verify, show] = ["verify", "show"].map(|command| place.cli(&[command, &bundle]).output().expect("it runs"));
    for output in [check, backup, verify, show] {
        assert_eq!(code_but_for_clients(&output), Some(0), "{}", describe(&output));
        for word in ["role app: ", "extension pg_trgm: ", &certificate.display().to_string()] {
            assert!(describe(&output).contains(word), "{word}: {}", describe(&output));
        }
    }
    let target = Postgres::start();
    let output = place.restore_all(&target, &place.bundles()[0], &["--only", "databases"]);
    assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
    assert_same(&server, &target, "orchestrator");
}

#[test]
fn tables_of_some_size_are_written_once() {
    // Since version 14 rows that are written as frozen are marked so at once for those who read them.
    let all = installations();
    let newest = || Postgres::start_version(all.last().expect("one installation at least"), "");
    let source = newest();
    source.sql("postgres", "CREATE DATABASE orchestrator");
    let rows = "SELECT i, repeat('row ', 30) AS t FROM generate_series(1, 20000) i";
    for table in ["one", "two", "three"] {
        source.sql("orchestrator", &format!("CREATE TABLE {table} AS {rows}"));
    }
    // Rows of these find their partition anew.
    source.sql(
        "orchestrator",
        &format!(
            "CREATE TYPE e AS ENUM ('a', 'b', 'c', 'd'); CREATE TABLE p (k e, i int, t text) PARTITION BY HASH (k); \
             CREATE TABLE p0 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 0); \
             CREATE TABLE p1 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 1); \
             INSERT INTO p SELECT enum.k, rows.* FROM ({rows}) rows, unnest(enum_range(NULL::e)) AS enum(k)"
        ),
    );
    let place = Workplace::default();
    let bundle = place.make_bundle(&source);
    let target = newest();
    let output = place.restore_all(&target, &bundle, &["--jobs", "1"]);
    assert_eq!(output.status.code(), Some(0), "{}", describe(&output));
    assert_same(&source, &target, "orchestrator");
    let frozen = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relpages > 100 AND relallvisible > relpages * 0.9 \
        AND relnamespace = 'public'::regnamespace ORDER BY 1";
    assert_eq!(target.sql("orchestrator", frozen), "one\nthree\ntwo");
}

#[test]
fn event_triggers_do_not_see_the_restore() {
    let source = Postgres::start();
    source.sql("postgres", "CREATE DATABASE orchestrator CONNECTION LIMIT 9");
    source.sql(
        "orchestrator",
        "CREATE TABLE log AS SELECT 'first' AS tag; CREATE MATERIALIZED VIEW seen AS SELECT 1 AS one; \
         CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.log VALUES (tg_tag); END $$; \
         CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION note(); COMMENT ON EVENT TRIGGER watch IS 'all'; \
         DELETE FROM log WHERE tag <> 'first'",
    );
    let place = Workplace::default();
    let bundle = place.make_bundle(&source);
    let target = Postgres::start();
    let output = place.restore_all(&target, &bundle, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", describe(&output));
    assert_same(&source, &target, "orchestrator");
}
