//! What comes out of a bundle with `tar` and `psql` alone is what went in.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use fixtures::{Installation, Postgres, installations};
use system_tests::{Workplace, describe, open, rows_sorted};

const DATABASES: [&str; 2] = ["orchestrator", "orchestrator_archive"];

/// Follows the bundle's README.txt on `target`; `databases` are the names of their scripts.
fn restore_by_hand(bundle: &Path, into: &Path, target: &Postgres, databases: &[&str]) {
    std::fs::create_dir(into).expect("a directory");
    let tar = Command::new("tar").arg("xzf").arg(bundle).arg("-C").arg(into).output().expect("tar runs");
    assert!(tar.status.success(), "{}", describe(&tar));
    let inside = into.join(bundle.file_stem().expect("a name"));
    let psql = |arguments: &[&str]| {
        let output = target
            .command("psql")
            .args(["-X", "-d", "postgres"])
            .args(arguments)
            .current_dir(&inside)
            .output()
            .expect("psql runs");
        assert!(output.status.success(), "{}", describe(&output));
    };
    psql(&["-v", "ON_ERROR_STOP=1", "-f", "databases/globals.sql"]);
    for database in databases {
        psql(&["-f", &format!("databases/{database}.sql")]);
    }
}

fn comes_back(installation: &Installation) {
    let source = Postgres::start_version(installation, "");
    source.load_sample(3000);
    // Its text is larger than one script, so it is cut in the middle of the object.
    source.sql("orchestrator", "SELECT lo_from_bytea(800001, decode(repeat('0123456789abcdef', 2500000), 'hex'))");
    let place = Workplace::default();
    let bundle = place.make_bundle(&source);
    let target = Postgres::start_version(installation, "");
    restore_by_hand(&bundle, &place.path("by-hand"), &target, &DATABASES);
    for database in DATABASES {
        let (before, after) = (source.dump(database, &["--create"]), target.dump(database, &["--create"]));
        assert!(
            rows_sorted(&before) == rows_sorted(&after),
            "version {}: {database} came back different",
            installation.major
        );
    }
    assert_eq!(
        source.sql("orchestrator", "SELECT name FROM cluster.running ORDER BY 1"),
        target.sql("orchestrator", "SELECT name FROM cluster.running ORDER BY 1")
    );
}

#[test]
fn tar_and_psql_bring_back_what_went_in() {
    // pg_dump writes for servers of its own version and newer ones.
    installations().iter().filter(|installation| installation.major == installation.client_major).for_each(comes_back);
}

/// Rows per table of `pg_dump --section=data`, by the table's name as SQL.
fn rows_of_pg_dump(dump: &[u8]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut tables = BTreeMap::new();
    let mut rest = dump;
    let find = |text: &[u8], what: &[u8]| text.windows(what.len()).position(|window| window == what);
    while let Some(begin) = find(rest, b"\nCOPY ") {
        let end = begin + find(&rest[begin..], b" FROM stdin;\n").expect("a header");
        let header = rest[begin + 6..end].to_vec();
        let data = &rest[end + 13..];
        let length = if data.starts_with(b"\\.\n") { 0 } else { find(data, b"\n\\.\n").expect("an end") + 1 };
        // Partitions that are loaded by way of their topmost table have one header.
        tables.entry(header).or_insert_with(Vec::new).extend(&data[..length]);
        rest = &data[length..];
    }
    tables
}

/// The same from a bundle's chunks, in the order of their parts.
fn rows_of_bundle(bundle: &Path, database: usize) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let bundle = open(bundle);
    let mut chunks: Vec<_> =
        bundle.manifest().entries.iter().filter_map(|entry| Some((entry.chunk.as_ref()?, entry))).collect();
    chunks.retain(|(chunk, _)| chunk.database == database);
    chunks.sort_by_key(|(chunk, _)| (chunk.table, chunk.part));
    let mut tables: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for (chunk, entry) in chunks {
        let content = bundle.content(&entry.path).expect("a sound entry");
        let (preamble, rows) = content.split_at(chunk.preamble as usize);
        let copy = preamble.windows(6).position(|window| window == b"\nCOPY ").expect("a header") + 6;
        let header = preamble[copy..].strip_suffix(b" FROM stdin;\n").expect("a header").to_vec();
        tables.entry(header).or_default().extend(rows.strip_suffix(b"\\.\n").expect("an end"));
    }
    tables
}

#[test]
fn chunks_hold_the_same_bytes_as_pg_dump_table_by_table() {
    for installation in installations() {
        let source = Postgres::start_version(&installation, "");
        source.load_sample(3000);
        // Big enough for several ranges, with gaps, and dead and moved rows on its pages.
        source.sql(
            "orchestrator",
            "CREATE TABLE public.big AS SELECT i, repeat(md5(i::text), 8) AS t FROM generate_series(1, 280000) i; \
            DELETE FROM public.big WHERE i % 7 = 0; UPDATE public.big SET t = 'moved' WHERE i % 11 = 0",
        );
        let place = Workplace::default();
        let bundle = place.make_bundle(&source);
        for (index, database) in DATABASES.iter().enumerate() {
            let mut expected = rows_of_pg_dump(&source.dump(database, &["--section=data"]));
            expected.retain(|_, rows| !rows.is_empty());
            let actual = rows_of_bundle(&bundle, index);
            let names = |tables: &BTreeMap<Vec<u8>, Vec<u8>>| -> Vec<String> {
                // pg_dump leaves two spaces where a table has no columns.
                tables.keys().map(|name| String::from_utf8_lossy(name).trim_end().to_owned()).collect()
            };
            assert_eq!(names(&expected), names(&actual), "version {}", installation.major);
            for ((name, expected), actual) in expected.iter().zip(actual.values()) {
                assert!(
                    expected == actual,
                    "version {}: {} differs",
                    installation.major,
                    String::from_utf8_lossy(name)
                );
            }
        }
    }
}

#[test]
fn databases_of_other_encodings_come_back() {
    let source = Postgres::start();
    let same = "LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0";
    let latin = "a \"quoted\" base";
    source.sql("postgres", &format!("CREATE DATABASE \"a \"\"quoted\"\" base\" ENCODING 'LATIN1' {same}"));
    source.sql("postgres", &format!("CREATE DATABASE bytes ENCODING 'SQL_ASCII' {same}"));
    source.sql(latin, "CREATE TABLE \"Größe\" (\"é\" text DEFAULT 'ü', b bytea); INSERT INTO \"Größe\" VALUES ('ÿ\\ \t é', '\\x00ff0a')");
    // Every byte but zero, in an encoding that says nothing about them.
    let all: String = (1..=255).map(|byte| format!("\\{byte:03o}")).collect();
    source.sql(
        "bytes",
        &format!(
            "CREATE TABLE raw AS SELECT convert_from('{all}'::bytea, 'SQL_ASCII') AS t, lo_from_bytea(7, '{all}')"
        ),
    );
    let place = Workplace::default();
    let bundle = place.make_bundle(&source);
    let target = Postgres::start();
    restore_by_hand(&bundle, &place.path("by-hand"), &target, &["bytes", "a%20%22quoted%22%20base"]);
    for database in [latin, "bytes"] {
        let (before, after) = (source.dump(database, &["--create"]), target.dump(database, &["--create"]));
        assert!(before == after, "{database} came back different");
    }
}

#[test]
fn names_that_are_not_utf_8_come_back() {
    for installation in installations() {
        let source = Postgres::start_version(&installation, "");
        source.sql(
            "postgres",
            "CREATE DATABASE bytes ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
        );
        // `~` stands for a byte that no UTF-8 text has, `^` for one that needs another after it.
        let raw = |sql: &str| {
            let bytes = format!("replace(replace($sql${sql}$sql$, '~', E'\\377'), '^', E'\\303')");
            source.sql("bytes", &format!("DO $$ BEGIN EXECUTE {bytes}; END $$"));
        };
        for sql in [
            "CREATE SCHEMA \"sch~ma\"",
            "CREATE SEQUENCE \"sch~ma\".\"se'\\^\" START 7",
            "CREATE TABLE \"sch~ma\".\"t^\" (\"a ~\" int PRIMARY KEY, t text DEFAULT '~')",
            "INSERT INTO \"sch~ma\".\"t^\" SELECT i, 'row ~ \\' || i FROM generate_series(1, 1000) i",
            "COMMENT ON TABLE \"sch~ma\".\"t^\" IS '~'",
            "CREATE TABLE \"sch~ma\".\"none~\" ()",
            "INSERT INTO \"sch~ma\".\"none~\" DEFAULT VALUES",
            "CREATE TABLE columns (\"~\" text)",
            "INSERT INTO columns VALUES ('~'), (E'\\n'), ('.')",
            "CREATE TABLE plain AS SELECT 1 AS a",
        ] {
            raw(sql);
        }
        let place = Workplace::default();
        source.sql("bytes", "CREATE ROLE poor LOGIN");
        let mut check = place.cli(&["check", "--config", "cluster.conf", "--release", "2.6.3", "--to", "."]);
        let check = check.envs(source.variables()).env("PGUSER", "poor").output().expect("it runs");
        assert!(describe(&check).contains("bytes: \"sch\\xffma\".\"t\\xc3\""), "{}", describe(&check));
        let bundle = place.make_bundle(&source);
        assert_eq!(rows_of_bundle(&bundle, 0), {
            let mut rows = rows_of_pg_dump(&source.dump("bytes", &["--section=data"]));
            // pg_dump leaves two spaces where a table has no columns.
            rows.retain(|_, rows| !rows.is_empty());
            rows.into_iter().map(|(name, rows)| (name.trim_ascii_end().to_vec(), rows)).collect()
        });
        let opened = open(&bundle);
        let tables = opened.manifest().databases[0].tables.iter();
        let counted: Vec<_> = tables.map(|table| format!("{}.{} {}", table.schema, table.name, table.rows)).collect();
        let expected = ["public.columns 3", "public.plain 1", "sch\\xffma.none\\xff 1", "sch\\xffma.t\\xc3 1000"];
        assert_eq!(counted, expected);
        if installation.major == installation.client_major {
            let target = Postgres::start_version(&installation, "");
            restore_by_hand(&bundle, &place.path("by-hand"), &target, &["bytes"]);
            assert!(
                source.dump("bytes", &["--create"]) == target.dump("bytes", &["--create"]),
                "it came back different"
            );
        }
    }
}

#[test]
fn a_row_of_hundreds_of_megabytes_comes_through() {
    let source = Postgres::start();
    source.sql("postgres", "CREATE TABLE wide AS SELECT 1 AS id, repeat(E'0123456789\t\\\n', 25000000) AS t");
    let place = Workplace::default();
    let bundle = place.make_bundle(&source);
    let expected = source.command("psql").args(["-X", "-d", "postgres", "-c", "COPY wide TO STDOUT"]).output();
    let expected = expected.expect("psql runs").stdout;
    assert!(expected.len() > 300_000_000, "{} bytes", expected.len());
    let extract = place.cli(&["extract", "--to", "out"]).arg(&bundle).arg("**/data/*").output().expect("it runs");
    assert!(extract.status.success(), "{}", describe(&extract));
    let inside = place.path("out").join(bundle.file_stem().expect("a name"));
    let chunk = std::fs::read(inside.join("databases/postgres/data/000001.sql")).expect("the chunk");
    let rows = chunk.strip_suffix(b"\\.\n").expect("an end");
    assert!(rows.ends_with(&expected), "the row differs");
}

#[test]
fn of_an_extensions_tables_the_configured_rows_are_captured() {
    for installation in installations() {
        let source = Postgres::start_version(&installation, "");
        // Stands in for an extension's script, which alone may call pg_extension_config_dump.
        source.sql(
            "postgres",
            "CREATE TABLE settings AS SELECT i AS id, i > 5 AS own FROM generate_series(1, 9) i; \
            CREATE TABLE whole AS SELECT 1 AS a; CREATE TABLE internal AS SELECT 1 AS a; CREATE SEQUENCE numbers; \
            ALTER EXTENSION plpgsql ADD TABLE settings; ALTER EXTENSION plpgsql ADD TABLE internal; \
            ALTER EXTENSION plpgsql ADD TABLE whole; ALTER EXTENSION plpgsql ADD SEQUENCE numbers; \
            SELECT setval('numbers', 42); \
            UPDATE pg_extension SET extconfig = ARRAY['settings', 'whole', 'numbers']::regclass[]::oid[], \
                extcondition = ARRAY['WHERE own', '', ''] WHERE extname = 'plpgsql'",
        );
        let place = Workplace::default();
        let bundle = place.make_bundle(&source);
        let rows = rows_of_bundle(&bundle, 0);
        assert_eq!(rows, rows_of_pg_dump(&source.dump("postgres", &["--section=data"])));
        assert_eq!(
            rows.keys().map(|name| name.escape_ascii().to_string()).collect::<Vec<_>>(),
            ["public.settings (id, own)", "public.whole (a)"]
        );
        let bundle = open(&bundle);
        let sequences = bundle.content("databases/postgres/sequences.sql").expect("the sequences");
        assert!(String::from_utf8_lossy(&sequences).contains("'public.numbers', 42"), "{}", sequences.escape_ascii());
    }
}

#[test]
fn thousands_of_tables_fit_into_the_default_lock_table() {
    let source = Postgres::start();
    source.sql(
        "postgres",
        "DO $$ BEGIN FOR i IN 1..3000 LOOP EXECUTE format('CREATE TABLE t%s AS SELECT %s AS a', i, i); END LOOP; END $$",
    );
    let place = Workplace::default();
    let bundle = place.make_bundle(&source);
    let bundle = open(&bundle);
    let tables = &bundle.manifest().databases[0].tables;
    assert_eq!((tables.len(), tables.iter().map(|table| table.rows).sum::<u64>()), (3000, 3000));
}
