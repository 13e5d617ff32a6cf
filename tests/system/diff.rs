//! `diff` says what a restore would lose, first, and nothing where there is nothing.

use fixtures::{Installation, Postgres};
use system_tests::{Workplace, describe};

#[test]
fn a_bundle_is_held_against_what_is_live_and_against_another_bundle() {
    let server = Postgres::start();
    server.load_sample(100);
    let place = Workplace::default();
    std::fs::create_dir(place.path("home")).expect("a directory");
    for (name, content) in [("home/same", "same"), ("home/changed", "before"), ("home/gone", "gone")] {
        place.write(name, content);
    }
    std::fs::hard_link(place.path("home/same"), place.path("home/twin")).expect("a link");
    let home = place.path("home");
    let settings = format!(
        "cluster_conf = 'cluster.conf'\n[release]\nversion = '2.6.3'\n[[files]]\npath = '{}'\n",
        home.display()
    );
    place.write("settings.toml", &settings);
    let backup = |to: &str| {
        let mut backup = place.cli(&["backup", "--config", "settings.toml", "--to", to]);
        let output = backup.envs(server.variables()).output().expect("it runs");
        assert!(output.status.success(), "{}", describe(&output));
        String::from_utf8(output.stdout).expect("UTF-8").lines().next().expect("a path").to_owned()
    };
    let bundle = backup("bundles");
    let compared = |arguments: &[&str]| {
        let mut diff = place.cli(&["diff", &bundle, "--config", "settings.toml"]);
        let output = diff.args(arguments).envs(server.variables()).output().expect("it runs");
        assert!(output.status.success(), "{}", describe(&output));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let live = || compared(&[]);
    let unseen = "no difference, as far as that was compared\nnot compared: what stands in rows (--rows compares it), ";
    assert!(live().starts_with(unseen), "{}", live());
    let text = compared(&["--rows"]);
    assert!(text.starts_with("no difference\ncompared: all rows of "), "{text}");
    server.sql("orchestrator", "UPDATE chef.runs SET log = 'all the same'");
    assert!(live().starts_with(unseen), "{}", live());
    let text = compared(&["--rows"]);
    assert!(!text.contains("no difference") && text.starts_with("Rows that differ\n"), "{text}");
    assert!(text.contains("orchestrator: chef.runs_2025") && text.contains("id, started"), "{text}");

    server.sql(
        "orchestrator",
        "DELETE FROM chef.by_state; CREATE TABLE newer AS SELECT 1 AS a; CREATE EXTENSION pg_trgm",
    );
    server.sql("orchestrator_archive", "INSERT INTO deployments (release) VALUES ('2.7')");
    // What the bundle knows nothing of, no restore of it touches: a database, a tree, a file beside one that is captured.
    server.sql("postgres", "CREATE DATABASE payroll");
    server.sql("payroll", "CREATE TABLE salaries AS SELECT 1 AS a");
    std::fs::create_dir(place.path("homely")).expect("a directory");
    for name in ["homely/file", "home/new"] {
        place.write(name, "new");
    }
    let trees = format!("{}\n[[files]]\npath = '{}'\n", settings, place.path("homely").display());
    place.write("settings.toml", trees);
    place.write("home/changed", "after");
    std::fs::remove_file(place.path("home/gone")).expect("removed");
    let conf = std::fs::read_to_string(place.path("cluster.conf")).expect("a file");
    place.write("cluster.conf", conf.replace("hunter2", "hunter3").replace("example", "other"));
    let text = live();
    let other = backup("others");
    let output = place.cli(&["diff", &bundle, &other]).output().expect("it runs");
    let against = String::from_utf8(output.stdout.clone()).expect("UTF-8");
    assert_eq!(text, against, "{}", describe(&output));
    assert!(!text.contains("hunter"), "{text}");
    let (lost, rest) = text.split_once("Only in the bundle").expect("two parts");
    let (rest, untouched) = rest.split_once("Not touched by a restore of the bundle\n").expect("three parts");
    for word in ["database", "payroll", "homely/file"] {
        assert!(untouched.contains(word) && ![lost, rest].concat().contains(&format!("{word} ")), "{word}: {text}");
    }
    assert!(!text.contains("salaries"), "its tables go without saying: {text}");
    for word in [
        "orchestrator: public.newer",
        "orchestrator_archive: public.deployments",
        "pg_trgm",
        "home/changed",
        "home/new",
        "cluster_name",
        "secret_key",
    ] {
        assert!(lost.contains(word), "{word}: {text}");
    }
    for word in ["chef.by_state_", "home/gone"] {
        assert!(rest.contains(word) && !lost.contains(word), "{word}: {text}");
    }
    assert!(!text.contains("home/same") && !text.contains("home/twin") && !text.contains("machines"), "{text}");
}

/// Makes tables whose rows the cases of the next test change, each case those of a table of its own.
const TABLES: &str = "
    CREATE SCHEMA s;
    CREATE TABLE s.plain (id int PRIMARY KEY, a text, b text);
    INSERT INTO s.plain SELECT i, 'a' || i, E'tab\\there, line\\nthere \\\\ ' || i FROM generate_series(1, 1000) i;
    CREATE TABLE s.values (id int PRIMARY KEY, m money, f float8, r real, b bytea, t timestamptz, n numeric, j jsonb, e text[], i interval);
    INSERT INTO s.values SELECT i, i / 3.0, i / 3.0::float8, i / 7.0, sha256(i::text::bytea), now() + i * interval '1 hour', i / 9.0,
        jsonb_build_object('i', i), ARRAY['a', NULL, i::text], i * interval '1 minute' FROM generate_series(1, 300) i;
    CREATE TABLE s.bag (a text, b int);
    INSERT INTO s.bag SELECT 'x', i % 3 FROM generate_series(1, 300) i;
    CREATE TABLE s.none ();
    INSERT INTO s.none SELECT FROM generate_series(1, 5);
    CREATE TABLE s.uniq (a int NOT NULL, b int NOT NULL, c text, d int GENERATED ALWAYS AS (a + b) STORED);
    CREATE UNIQUE INDEX ON s.uniq (b, a);
    CREATE UNIQUE INDEX ON s.uniq (c);
    INSERT INTO s.uniq SELECT i, i % 10, 'c' || i FROM generate_series(1, 100) i;
    CREATE TABLE s.part (id int, day int, v text, PRIMARY KEY (id, day)) PARTITION BY LIST (day);
    CREATE TABLE s.part_1 PARTITION OF s.part FOR VALUES IN (1);
    CREATE TABLE s.part_2 PARTITION OF s.part FOR VALUES IN (2);
    INSERT INTO s.part SELECT i, 1 + i % 2, 'v' FROM generate_series(1, 100) i;
    CREATE TYPE s.colour AS ENUM ('red', 'green', 'blue');
    CREATE TABLE s.hashed (c s.colour, v int) PARTITION BY HASH (c);
    CREATE TABLE s.hashed_0 PARTITION OF s.hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0);
    CREATE TABLE s.hashed_1 PARTITION OF s.hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1);
    INSERT INTO s.hashed SELECT (enum_range(NULL::s.colour))[1 + i % 3], i FROM generate_series(1, 90) i;
    CREATE TABLE s.shaped (id int PRIMARY KEY, gone text, moved text, kept text);
    INSERT INTO s.shaped SELECT i, 'g', 'm' || i, 'k' || i FROM generate_series(1, 50) i;
    CREATE TABLE s.empty (id int);
    CREATE TABLE s.\"Odd, \"\"name\"\" (\" (\"a, (b)\" int PRIMARY KEY, \"c\"\"\" text);
    INSERT INTO s.\"Odd, \"\"name\"\" (\" VALUES (1, 'x'), (2, NULL), (3, '');";

/// What was done, and what is to be said of it: for each table its key, and how many rows changed, are only in the bundle,
/// are only in the other.
type Case = (&'static str, &'static [(&'static str, &'static str, [u64; 3])]);

const CASES: [Case; 17] = [
    ("SELECT", &[]),
    ("UPDATE s.plain SET a = a; VACUUM FULL s.plain; CREATE INDEX by_a ON s.plain (a DESC); CLUSTER s.plain USING by_a", &[]),
    ("UPDATE s.plain SET a = 'gone'", &[("s.plain", "id", [1000, 0, 0])]),
    ("UPDATE s.plain SET a = CASE id WHEN 1 THEN 'a2' ELSE 'a1' END WHERE id IN (1, 2)", &[("s.plain", "id", [2, 0, 0])]),
    ("DELETE FROM s.plain WHERE id <= 10; UPDATE s.plain SET id = -id WHERE id = 11; UPDATE s.plain SET b = '' WHERE id = 12",
        &[("s.plain", "id", [1, 11, 1])]),
    ("TRUNCATE s.plain", &[("s.plain", "id", [0, 1000, 0])]),
    ("UPDATE s.values SET m = m + '0.01'::money WHERE id = 1; UPDATE s.values SET f = f + 1e-13 WHERE id = 2;
        UPDATE s.values SET b = b || '\\x00' WHERE id = 3; UPDATE s.values SET t = t + interval '1 us' WHERE id = 4;
        UPDATE s.values SET e = ARRAY['a', 'NULL', '5'] WHERE id = 5; UPDATE s.values SET n = n WHERE id = 6;
        UPDATE s.values SET r = r * 2 WHERE id = 7", &[("s.values", "id", [6, 0, 0])]),
    ("DELETE FROM s.bag WHERE ctid IN (SELECT ctid FROM s.bag WHERE b = 1 LIMIT 7); INSERT INTO s.bag VALUES ('x', 2), ('y', 1)",
        &[("s.bag", "", [0, 7, 2])]),
    ("DELETE FROM s.none WHERE ctid = '(0,1)'; INSERT INTO s.none DEFAULT VALUES; INSERT INTO s.none DEFAULT VALUES",
        &[("s.none", "", [0, 0, 1])]),
    ("UPDATE s.uniq SET c = 'z' WHERE a = 5; UPDATE s.uniq SET b = 1 WHERE a = 6", &[("s.uniq", "b, a", [1, 1, 1])]),
    ("UPDATE s.part SET day = 3 - day WHERE id IN (1, 2, 3)", &[("s.part_1", "id, day", [0, 1, 2]), ("s.part_2", "id, day", [0, 2, 1])]),
    ("ALTER TABLE s.hashed DETACH PARTITION s.hashed_0; ALTER TABLE s.hashed DETACH PARTITION s.hashed_1;
        CREATE TABLE s.aside AS SELECT * FROM s.hashed_0; TRUNCATE s.hashed_0; INSERT INTO s.hashed_0 SELECT * FROM s.hashed_1;
        TRUNCATE s.hashed_1; INSERT INTO s.hashed_1 SELECT * FROM s.aside; DROP TABLE s.aside", &[]),
    ("DELETE FROM s.hashed WHERE v = 1; INSERT INTO s.hashed VALUES ('blue', 100)", &[("s.hashed", "", [0, 1, 1])]),
    ("ALTER TABLE s.shaped DROP COLUMN gone; ALTER TABLE s.shaped RENAME COLUMN moved TO old;
        ALTER TABLE s.shaped ADD COLUMN moved text; UPDATE s.shaped SET moved = old; ALTER TABLE s.shaped DROP COLUMN old;
        ALTER TABLE s.shaped ADD COLUMN added int DEFAULT 7; UPDATE s.shaped SET kept = 'other' WHERE id = 3",
        &[("s.shaped", "id", [1, 0, 0])]),
    ("INSERT INTO s.empty VALUES (1), (1), (2)", &[("s.empty", "", [0, 0, 3])]),
    ("UPDATE s.\"Odd, \"\"name\"\" (\" SET \"c\"\"\" = '' WHERE \"c\"\"\" IS NULL", &[("s.Odd, \"name\" (", "a, (b)", [1, 0, 0])]),
    ("ALTER DATABASE live SET timezone = 'Asia/Tokyo'; ALTER DATABASE live SET bytea_output = 'escape'", &[]),
];

/// What `diff --rows --json` has to say of rows.
fn differing(diff: &mut std::process::Command) -> serde_json::Value {
    let output = diff.output().expect("it runs");
    assert!(output.status.success(), "{}", describe(&output));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let mut result = serde_json::from_str::<serde_json::Value>(&text).expect("JSON")["result"].take();
    // What their rows' places say is said by what they hold.
    assert!(!result["differences"].to_string().contains("s.hashed_"), "{text}");
    result["rows"].take()
}

#[test]
fn rows_are_compared_whatever_their_order_and_those_that_differ_are_counted_by_key() {
    let server = Postgres::start();
    server.sql("postgres", "CREATE DATABASE kept");
    server.sql("kept", TABLES);
    server.sql("postgres", "CREATE DATABASE live TEMPLATE kept");
    let place = Workplace::default();
    place.write(
        "settings.toml",
        "cluster_conf = 'cluster.conf'\n[postgres]\ndatabases = ['live']\n[release]\nversion = '1'\n",
    );
    let backup = |to: &str| {
        let mut backup = place.cli(&["backup", "--config", "settings.toml", "--to", to]);
        let output = backup.envs(server.variables()).output().expect("it runs");
        assert!(output.status.success(), "{}", describe(&output));
        String::from_utf8(output.stdout).expect("UTF-8").lines().next().expect("a path").to_owned()
    };
    let bundle = backup("bundles");
    for (index, (change, expected)) in CASES.iter().enumerate() {
        for change in change.split(';') {
            server.sql("live", change);
        }
        let mut live = place.cli(&["diff", &bundle, "--config", "settings.toml", "--rows", "--json"]);
        let mut found = vec![differing(live.envs(server.variables()))];
        if index % 4 == 2 {
            let other = backup(&format!("others_{index}"));
            found.push(differing(&mut place.cli(&["diff", &bundle, &other, "--rows", "--json"])));
        }
        for rows in found {
            let tables = rows["tables"].as_array().expect("tables");
            let number = |table: &serde_json::Value, name: &str| table[name].as_u64().expect("a number");
            let shown: Vec<(String, String, [u64; 3])> = tables
                .iter()
                .map(|table| {
                    let key: Vec<&str> =
                        table["key"].as_array().expect("a key").iter().flat_map(|it| it.as_str()).collect();
                    let counts = ["changed", "only_in_bundle", "only_in_other"].map(|name| number(table, name));
                    (table["table"].as_str().expect("a name").to_owned(), key.join(", "), counts)
                })
                .collect();
            let shown: Vec<_> =
                shown.iter().map(|(table, key, counts)| (table.as_str(), key.as_str(), *counts)).collect();
            assert_eq!(shown, *expected, "{change}: {rows}");
            assert_eq!(rows["databases"][0]["database"], "live", "{rows}");
            assert!(rows["databases"][0]["tables"].as_u64() >= Some(12), "{rows}");
            if change.contains("s.shaped") {
                assert_eq!(tables[0]["columns_only_in_bundle"], serde_json::json!(["gone"]), "{rows}");
                assert_eq!(tables[0]["columns_only_in_other"], serde_json::json!(["added"]), "{rows}");
            }
        }
        server.sql("postgres", "DROP DATABASE live");
        server.sql("postgres", "CREATE DATABASE live TEMPLATE kept");
    }
}

/// Settings, whether the same value is another text by them, and what is said then.
const SETTINGS: [(&str, &str); 6] = [
    ("timezone = 'Asia/Tokyo'", "times are written by TimeZone = Etc/UTC in the bundle, by Asia/Tokyo in the other"),
    ("bytea_output = 'escape'", "bytes are written by bytea_output = hex in the bundle, by escape in the other"),
    ("datestyle = 'SQL, DMY'", ""),
    ("lc_monetary = 'C'", ""),
    ("intervalstyle = 'iso_8601'", ""),
    ("extra_float_digits = 0", ""),
];

#[test]
fn rows_of_two_bundles_are_compared_only_where_both_write_the_same_value_alike() {
    let server = Postgres::start_version(&Installation::usual(), "timezone = 'Etc/UTC'\n");
    server.sql("postgres", "CREATE DATABASE live");
    server.sql(
        "live",
        "CREATE TABLE t AS SELECT now() AS at, 12.5::money AS m, 0.1::float8 + 0.2 AS f, '\\x00ff41'::bytea AS b, '1 day 2 h'::interval AS i",
    );
    let place = Workplace::default();
    place.write("settings.toml", "cluster_conf = 'cluster.conf'\nrelease.version = '1'\n");
    let backup = |to: &str| {
        let mut backup = place.cli(&["backup", "--config", "settings.toml", "--to", to]);
        let output = backup.envs(server.variables()).output().expect("it runs");
        assert!(output.status.success(), "{}", describe(&output));
        String::from_utf8(output.stdout).expect("UTF-8").lines().next().expect("a path").to_owned()
    };
    let bundle = backup("bundles");
    for (index, (setting, problem)) in SETTINGS.into_iter().enumerate() {
        server.sql("postgres", &format!("ALTER DATABASE live SET {setting}"));
        let other = backup(&format!("others_{index}"));
        let rows = differing(&mut place.cli(&["diff", &bundle, &other, "--rows", "--json"]));
        assert_eq!(rows["tables"], serde_json::json!([]), "{setting}: {rows}");
        let said = rows["databases"][0]["problem"].as_str().unwrap_or_default();
        assert!(said.starts_with(problem) && said.is_empty() == problem.is_empty(), "{setting}: {rows}");
        let text = place.cli(&["diff", &bundle, &other, "--rows"]).output().expect("it runs");
        let text = String::from_utf8_lossy(&text.stdout).into_owned();
        assert_eq!(text.contains("no difference\n"), problem.is_empty(), "{setting}: {text}");
        assert_eq!(text.contains("not compared: rows of database live: "), !problem.is_empty(), "{setting}: {text}");
        // What is live is written as the bundle is.
        let mut live = place.cli(&["diff", &bundle, "--config", "settings.toml", "--rows", "--json"]);
        let rows = differing(live.envs(server.variables()));
        assert_eq!(
            (&rows["tables"], &rows["databases"][0]["problem"]),
            (&serde_json::json!([]), &serde_json::Value::Null)
        );
        server.sql("postgres", "ALTER DATABASE live RESET ALL");
    }
}

#[test]
fn rows_of_every_encoding_are_compared_from_encrypted_bundles_too_and_damage_is_never_a_difference() {
    let server = Postgres::start();
    let create = |name: &str, encoding: &str| {
        let same = "LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0";
        server.sql("postgres", &format!("CREATE DATABASE {name} ENCODING '{encoding}' {same}"));
    };
    create("latin", "LATIN1");
    create("bytes", "SQL_ASCII");
    create("other", "LATIN1");
    server.sql("postgres", "ALTER DATABASE latin SET client_encoding = 'UTF8'");
    server.sql("latin", "CREATE TABLE \"Größe\" (\"é\" text PRIMARY KEY, b bytea); INSERT INTO \"Größe\" VALUES ('ÿ\\ \t é', '\\x00ff0a'), ('ü', '')");
    // `~` stands for a byte that no UTF-8 text has.
    let raw = |sql: &str| {
        server.sql("bytes", &format!("DO $$ BEGIN EXECUTE replace($sql${sql}$sql$, '~', E'\\377'); END $$"))
    };
    raw("CREATE SCHEMA \"s~\"");
    raw("CREATE TABLE \"s~\".\"t~\" (\"a ~\" int PRIMARY KEY, t text)");
    raw("INSERT INTO \"s~\".\"t~\" SELECT i, 'row ~ \\' || i FROM generate_series(1, 100) i");
    server.sql("other", "CREATE TABLE t AS SELECT 'é' AS t");
    let place = Workplace::default();
    let key = place.cli(&["key", "generate", "key"]).output().expect("it runs");
    let key = String::from_utf8(key.stdout).expect("UTF-8");
    let recipient = key.split_whitespace().find(|word| word.starts_with("age1")).expect("a recipient");
    let plain = place.make_bundle(&server);
    system_tests::another_second();
    let output = place.backup(&server, &["--recipient", recipient, "--to", "sealed"]).output().expect("it runs");
    assert!(output.status.success(), "{}", describe(&output));
    let sealed = std::fs::read_dir(place.path("sealed")).expect("a directory").flatten().map(|entry| entry.path());
    let sealed = sealed.into_iter().find(|path| path.extension().is_some_and(|end| end == "age")).expect("a bundle");
    let diff = |bundle: &std::path::Path| {
        let mut diff = place.cli(&["diff", "--config", "settings.toml", "--identity", "key", "--rows", "--json"]);
        diff.arg(bundle).envs(server.variables());
        diff
    };
    place.write("settings.toml", "cluster_conf = 'cluster.conf'\n");
    let rows = differing(&mut diff(&sealed));
    assert_eq!(
        (rows["tables"].as_array().map(Vec::len), rows["databases"].as_array().map(Vec::len)),
        (Some(0), Some(3)),
        "{rows}"
    );

    server.sql("latin", "UPDATE \"Größe\" SET b = '\\x01'");
    raw("UPDATE \"s~\".\"t~\" SET t = t || '~' WHERE \"a ~\" < 4");
    raw("DELETE FROM \"s~\".\"t~\" WHERE \"a ~\" = 4");
    server.sql("postgres", "DROP DATABASE other");
    create("other", "UTF8");
    server.sql("other", "CREATE TABLE t AS SELECT 'é' AS t");
    for bundle in [&sealed, &plain] {
        let rows = differing(&mut diff(bundle));
        let table = |index: usize| {
            let table = &rows["tables"][index];
            format!(
                "{} {} {} {} {}",
                table["table"], table["key"], table["changed"], table["only_in_bundle"], table["only_in_other"]
            )
        };
        assert_eq!(table(0), r#""s\\xff.t\\xff" ["a \\xff"] 3 1 0"#, "{rows}");
        assert_eq!(table(1), r#""public.Größe" ["\\xe9"] 2 0 0"#, "{rows}");
        let problem = rows["databases"][2]["problem"].as_str().unwrap_or_default();
        assert!(problem.contains("LATIN1 in the bundle, UTF8 in the other"), "{rows}");
    }

    let shown = place.cli(&["show", "--entries", "--json"]).arg(&plain).output().expect("it runs");
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    let entries = shown["result"]["entries"].as_array().expect("entries");
    let mut bytes = std::fs::read(&plain).expect("a bundle");
    let chunk = entries.iter().find(|entry| !entry["chunk"].is_null()).expect("a chunk");
    let end = chunk["offset"].as_u64().expect("a number") + chunk["stored"].as_u64().expect("a number");
    bytes[usize::try_from(end).expect("small") - 20] ^= 1;
    std::fs::write(&plain, bytes).expect("written");
    let output = diff(&plain).output().expect("it runs");
    assert_eq!(output.status.code(), Some(12), "{}", describe(&output));
    assert!(describe(&output).contains(chunk["path"].as_str().expect("a path")), "{}", describe(&output));
}
