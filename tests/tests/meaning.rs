//! What comes back means what it meant: the same answers under the database's own settings, restored by us, by hand and in
//! a drill.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use fixtures::{Installation, Postgres};
use system_tests::{Workplace, describe, open, state};
use tempfile::TempDir;

/// A database: what its sessions begin with, what makes it, and what is asked of it.
struct Case {
    name: &'static str,
    /// `ALTER DATABASE name SET …`, each.
    settings: &'static [&'static str],
    made: &'static str,
    question: &'static str,
}

const CASES: [Case; 5] = [
    Case {
        name: "prices",
        settings: &["lc_monetary = 'es_CO'"],
        made: "CREATE TABLE p (price money DEFAULT '12,50', many money[], CHECK (price < '1000000,50'));
            CREATE INDEX ON p (price) WHERE price > '10,25';
            INSERT INTO p VALUES (DEFAULT, '{\"1,25\",NULL}'), ('999999,75', NULL);
            CREATE MATERIALIZED VIEW shown AS SELECT price::text AS t, price::numeric AS n FROM p",
        question: "SELECT price::numeric, many, (many[1])::numeric FROM p; SELECT * FROM shown;
            INSERT INTO p DEFAULT VALUES RETURNING price::numeric;
            SELECT pg_get_expr(indpred, indrelid) FROM pg_index WHERE indrelid = 'p'::regclass;
            SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'p'::regclass",
    },
    Case {
        name: "shop",
        settings: &["timezone = 'Asia/Tokyo'"],
        made: "CREATE TABLE orders (at timestamptz, day date, CHECK (at::date = day));
            INSERT INTO orders SELECT t, t::date FROM generate_series('2024-01-01'::timestamptz, '2024-01-08', '7 h') t;
            CREATE MATERIALIZED VIEW daily AS SELECT at::date AS day, count(*) FROM orders GROUP BY 1;
            CREATE UNIQUE INDEX ON daily (day)",
        question: "SELECT * FROM daily ORDER BY 1; SELECT at, day FROM orders ORDER BY 1",
    },
    Case {
        name: "texts",
        settings: &[
            "datestyle = 'SQL, DMY'",
            "intervalstyle = 'sql_standard'",
            "bytea_output = 'escape'",
            "extra_float_digits = 0",
            "xmlbinary = 'hex'",
        ],
        made: "CREATE FUNCTION shown(date, interval, bytea, float8) RETURNS text IMMUTABLE LANGUAGE sql
                AS $$ SELECT concat_ws('|', $1, $2, $3, $4) $$;
            CREATE TABLE t (d date DEFAULT '02/01/2024', i interval, b bytea, f float8, CHECK (d::text ~ '/2024$'),
                all_of_it text GENERATED ALWAYS AS (shown(d, i, b, f)) STORED);
            INSERT INTO t VALUES ('03/04/2024', '-1 2:03:04', '\\x00ff41', 0.1 + 0.2::float8);
            INSERT INTO t VALUES ('13/04/2024', '1-2', 'abc', 1e22);
            CREATE INDEX ON t (shown(d, i, b, f));
            CREATE MATERIALIZED VIEW seen AS SELECT d::text AS d, i::text AS i, b::text AS b, f::text AS f,
                xmlelement(name x, b)::text AS x FROM t",
        question: "SELECT * FROM seen ORDER BY 1; SELECT all_of_it, d = '03/04/2024', i::text FROM t ORDER BY 1;
            SELECT count(*) FROM t WHERE shown(d, i, b, f) = all_of_it; INSERT INTO t DEFAULT VALUES RETURNING d",
    },
    Case {
        name: "words",
        settings: &["default_text_search_config = 'public.plain'", "app.tenant = 'a \"quoted\" one; really'"],
        made: "CREATE TEXT SEARCH CONFIGURATION public.plain (COPY = simple);
            CREATE TABLE doc AS SELECT 'the running cats'::text AS t;
            CREATE MATERIALIZED VIEW found AS SELECT to_tsvector(t) AS v, current_setting('app.tenant') AS tenant FROM public.doc",
        question: "SELECT * FROM found; SELECT v @@ to_tsquery('the') FROM found",
    },
    Case {
        name: "frozen",
        settings: &[
            "default_transaction_read_only = on",
            "default_transaction_isolation = 'serializable'",
            "default_transaction_deferrable = on",
            "statement_timeout = '5ms'",
            "search_path = 'elsewhere'",
            "temp_file_limit = '1MB'",
            "work_mem = '64kB'",
            "role = 'reader'",
            "client_encoding = 'LATIN1'",
            "array_nulls = off",
            "transform_null_equals = on",
        ],
        made: "CREATE TABLE big AS SELECT md5(i::text) AS t FROM generate_series(1, 60000) i; CREATE INDEX ON big (t);
            CREATE TABLE a (t text[] DEFAULT '{NULL,\"NULL\"}', i int[], u text);
            INSERT INTO a VALUES (DEFAULT, '{1,NULL,3}', 'ü');
            CREATE VIEW nobody AS SELECT u FROM a WHERE u = NULL;
            SELECT lo_from_bytea(7, 'large'); CREATE SEQUENCE s START 7; SELECT nextval('s');
            GRANT ALL ON ALL TABLES IN SCHEMA public TO reader; GRANT SELECT ON s TO reader; GRANT SELECT ON LARGE OBJECT 7 TO reader;
            COMMENT ON DATABASE frozen IS 'an archive'; REVOKE ALL ON DATABASE frozen FROM PUBLIC",
        question: "SELECT current_user, count(*) FROM public.big; SELECT count(*) FROM public.nobody;
            SELECT t[1] IS NULL, t[2], i[2] IS NULL, length(u) FROM public.a;
            INSERT INTO public.a DEFAULT VALUES RETURNING t[1] IS NULL, t[2]; SELECT lo_get(7);
            SHOW default_transaction_read_only; SHOW default_transaction_isolation; SHOW client_encoding;
            SELECT datacl, shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()",
    },
];

/// Places where 1250 is `$ 12,50` and `$ 1.250`, for a server that has `LOCPATH`. Of a locale they have the money alone.
fn locales() -> TempDir {
    let directory = reachable();
    for (name, point, thousands, digits, symbol) in [("es_CO", ",", ".", 2, "$"), ("es_CL", ",", ".", 0, "$")] {
        let path = |suffix: &str| directory.path().join(format!("{name}{suffix}"));
        let source = format!(
            "LC_MONETARY\nint_curr_symbol \"XXX \"\ncurrency_symbol \"{symbol}\"\nmon_decimal_point \"{point}\"\n\
             mon_thousands_sep \"{thousands}\"\nmon_grouping 3;3\npositive_sign \"\"\nnegative_sign \"-\"\n\
             int_frac_digits {digits}\nfrac_digits {digits}\np_cs_precedes 1\np_sep_by_space 1\nn_cs_precedes 1\n\
             n_sep_by_space 1\np_sign_posn 1\nn_sign_posn 1\nEND LC_MONETARY\n"
        );
        fs::write(path(".source"), source).expect("a locale's source");
        let made =
            Command::new("localedef").args(["--no-archive", "-c", "-i"]).args([path(".source"), path("")]).output();
        let made = made.expect("missing prerequisite: localedef (package libc-bin)");
        assert!(path("/LC_MONETARY").is_file(), "{made:?}");
    }
    directory
}

fn reachable() -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
    directory
}

fn server(locales: &Path, settings: &str) -> Postgres {
    let newest = Installation::usual();
    Postgres::start_version_with(&newest, settings, &[("LOCPATH", locales)])
}

fn make(server: &Postgres, case: &Case) {
    server.sql("postgres", &format!("CREATE DATABASE {}", case.name));
    for setting in case.settings {
        server.sql("postgres", &format!("ALTER DATABASE {} SET {setting}", case.name));
    }
    sql(server, case.name, MAKING, case.made);
}

/// How whoever makes a database keeps its settings off.
const MAKING: &[&str] = &[
    "default_transaction_read_only=off",
    "statement_timeout=0",
    "search_path=public",
    "array_nulls=on",
    "role=none",
    "client_encoding=UTF8",
    "transform_null_equals=off",
    "temp_file_limit=-1",
];

/// Runs SQL in sessions that begin with `settings`.
fn sql(server: &Postgres, database: &str, settings: &[&str], sql: &str) -> String {
    let options: String = settings.iter().map(|setting| format!(" -c {setting}")).collect();
    let mut psql = server.command("psql");
    psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql]);
    let output = psql.env("PGDATABASE", database).env("PGOPTIONS", options).output().expect("psql runs");
    assert!(output.status.success(), "{database}: {output:?}");
    String::from_utf8(output.stdout).expect("UTF-8").trim_end().to_owned()
}

/// What a database says to a case's question where the server says what the source's says; nothing of it stays.
fn answer(server: &Postgres, case: &Case) -> String {
    let servers = [
        "lc_monetary=C.UTF-8",
        "array_nulls=on",
        "timezone=Etc/UTC",
        "datestyle=ISO,MDY",
        "intervalstyle=postgres",
        "bytea_output=hex",
        "transform_null_equals=off",
    ];
    let own = |setting: &&str| {
        let name = setting.split('=').next().unwrap_or_default();
        case.settings.iter().any(|own| own.starts_with(&format!("{name} =")))
    };
    let settings = servers.into_iter().filter(|setting| !own(setting)).chain(["statement_timeout=0"]);
    let question = format!("BEGIN READ WRITE; {}; ROLLBACK", case.question);
    sql(server, case.name, &settings.collect::<Vec<_>>(), &question)
}

/// Restores a bundle with `tar` and `psql` alone, as its README.txt says.
fn restore_by_hand(place: &Workplace, server: &Postgres, bundle: &Path, databases: &[&str]) {
    let tar = Command::new("tar").arg("xzf").arg(bundle).arg("-C").arg(place.path("")).output().expect("tar runs");
    assert!(tar.status.success(), "{tar:?}");
    let name = bundle.file_stem().expect("a name").to_string_lossy().into_owned();
    for script in ["globals"].iter().chain(databases) {
        let mut psql = server.command("psql");
        psql.args(["-X", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-f"]);
        let run = psql.arg(place.path(&format!("{name}/databases/{script}.sql"))).output().expect("psql runs");
        assert!(run.status.success(), "{script}: {run:?}");
    }
}

#[test]
fn answers_are_the_same_however_a_database_comes_back() {
    let locales = locales();
    let source = server(locales.path(), "");
    source.sql("postgres", "CREATE ROLE reader");
    CASES.iter().for_each(|case| make(&source, case));
    // Its sessions have the configuration from now on.
    sql(&source, "words", &[], "REFRESH MATERIALIZED VIEW found");
    let place = Workplace::default();
    let bundle = place.make_bundle(&source);
    let expected: Vec<String> = CASES.iter().map(|case| answer(&source, case)).collect();
    // What views hold, in a server that says nothing of all this.
    let (inside, mut settings) = (reachable(), String::from("cluster_conf = 'cluster.conf'\n"));
    for (database, view) in [("prices", "shown"), ("shop", "daily"), ("texts", "seen"), ("words", "found")] {
        let digest = format!("SELECT md5(string_agg(v::text, '|' ORDER BY v::text COLLATE \"C\")) FROM {view} v");
        // How a value of the view itself is written is the session's.
        let fixed = "datestyle=ISO,MDY";
        let expected = sql(&source, database, &[fixed, "timezone=UTC"], &digest);
        settings.push_str(&format!(
            "[[drill.assert]]\ndatabase = '{database}'\nsql = \"\"\"SELECT ({digest}) = '{expected}'\"\"\"\n"
        ));
    }
    place.write("drill.toml", settings);
    let mut drill = place.cli(&["drill", "--config", "drill.toml", "--in"]);
    drill.arg(inside.path()).arg(&bundle).env("PATH", source.path()).env("LOCPATH", locales.path());
    let drill = drill.output().expect("it runs");
    assert_eq!(drill.status.code(), Some(0), "{}", describe(&drill));
    // One that has all of it otherwise, and that nobody may write to unless he says so.
    let other = "default_transaction_read_only = on\nlc_monetary = 'es_CL'\narray_nulls = off\n\
        timezone = 'America/Lima'\ndatestyle = 'German'\nintervalstyle = 'iso_8601'\nbytea_output = 'escape'\n\
        transform_null_equals = on\n";
    let [target, by_hand] = [(); 2].map(|()| server(locales.path(), other));
    // The user's own come before the database's, too.
    for setting in ["timezone = 'Asia/Kolkata'", "lc_monetary = 'es_CO'"] {
        sql(&target, "postgres", MAKING, &format!("ALTER ROLE postgres SET {setting}"));
    }
    let output = place.restore_all(&target, &bundle, &[]);
    assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
    sql(&target, "postgres", MAKING, "ALTER ROLE postgres RESET ALL");
    restore_by_hand(&place, &by_hand, &bundle, &CASES.map(|case| case.name));
    for (case, expected) in CASES.iter().zip(&expected) {
        for (how, server) in [("restored", &target), ("by hand", &by_hand)] {
            assert_eq!(answer(server, case), *expected, "{}, {how}", case.name);
        }
    }
}

/// A server whose own settings say what the database does not.
#[test]
fn what_the_server_says_of_values_is_told_and_the_values_stay() {
    let locales = locales();
    let says = "lc_monetary = 'es_CO'\ntimezone = 'Asia/Tokyo'\ndatestyle = 'SQL, DMY'\narray_nulls = off\n\
        default_transaction_read_only = on\ndefault_transaction_deferrable = on\n";
    let source = server(locales.path(), says);
    sql(&source, "postgres", MAKING, "CREATE DATABASE shop");
    sql(
        &source,
        "shop",
        MAKING,
        "CREATE TABLE orders (at timestamptz, day date, price money, many text[], CHECK (at::date = day));
         INSERT INTO orders SELECT t, t::date, '12,50', '{NULL,a}' FROM generate_series('2024-01-01'::timestamptz, '2024-01-08', '7 h') t;
         CREATE MATERIALIZED VIEW daily AS SELECT at::date::text AS day, sum(price)::text, count(many[2]) FROM orders GROUP BY 1",
    );
    // A locale of the source's that readers of the first format would take for their own.
    let place = Workplace::default();
    let bundle = place.make_bundle(&source);
    assert_eq!(open(&bundle).footer().format, 2);
    // One that has neither the locale nor any of the settings.
    let target = Postgres::start();
    let output = place.restore_all(&target, &bundle, &[]);
    let said = describe(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    let asked =
        "SELECT sum(price::numeric), count(*) FILTER (WHERE many[1] IS NULL), count(DISTINCT at::date) FROM orders;
        SELECT day, count FROM daily ORDER BY 1";
    let days = "SELECT day, count FROM daily ORDER BY 1";
    assert_eq!(target.sql("shop", days), source.sql("shop", days));
    let tokyo = &["timezone=Asia/Tokyo", "datestyle=SQL,DMY"];
    assert_eq!(sql(&target, "shop", tokyo, asked), source.sql("shop", asked));
    for word in ["TimeZone = Asia/Tokyo", "lc_monetary = es_CO", "ALTER DATABASE \"shop\" SET TimeZone = 'Asia/Tokyo'"]
    {
        assert!(said.contains(word), "{word}: {said}");
    }
    let inside = reachable();
    place.write(
        "drill.toml",
        "cluster_conf = 'cluster.conf'\n[[drill.assert]]\ndatabase = 'shop'\n\
         sql = \"SELECT sum(price::numeric) = 12.5 * count(*) FROM orders\"\n[[drill.assert]]\ndatabase = 'shop'\n\
         sql = \"SELECT count(*) = 8 FROM daily WHERE day ~ '^0./01/2024$'\"\n",
    );
    let mut drill = place.cli(&["drill", "--config", "drill.toml", "--in"]);
    let drill = drill.arg(inside.path()).arg(&bundle).env("PATH", source.path()).output().expect("it runs");
    assert_eq!(drill.status.code(), Some(0), "{}", describe(&drill));
}

#[test]
fn settings_that_the_server_does_not_take_are_left_out_and_said_beforehand() {
    let locales = locales();
    let library = Path::new("/usr/lib/postgresql").join(Installation::usual().major.to_string());
    let copy = locales.path().join("only_here.so");
    fs::copy(library.join("lib/refint.so"), &copy).expect("a library");
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("a mode");
    let source = server(locales.path(), &format!("dynamic_library_path = '$libdir:{}'\n", locales.path().display()));
    source.sql("postgres", "CREATE ROLE app");
    source.sql("postgres", "CREATE DATABASE odd");
    source.sql("odd", "CREATE TABLE p AS SELECT 1250::int4::money AS price");
    for setting in [
        "DATABASE odd SET lc_monetary = 'es_CO'",
        "DATABASE odd SET session_preload_libraries = 'only_here'",
        "DATABASE odd SET auto_explain.nothing_of_it = 'x'",
        "DATABASE odd SET auto_explain.password = 'hunter2'",
        "DATABASE odd SET timezone = 'Asia/Tokyo'",
        "ROLE app IN DATABASE odd SET work_mem = '7MB'",
        "ROLE app IN DATABASE odd SET lc_time = 'es_CO'",
    ] {
        source.sql("postgres", &format!("ALTER {setting}"));
    }
    let place = Workplace::default();
    let bundle = place.make_bundle(&source);
    let newest = Installation::usual();
    let target = Postgres::start_version(&newest, "shared_preload_libraries = 'auto_explain'\n");
    let before = state(&target);
    let mut dry = place.restore(&target, &["--release", "2.6.3", "--dry-run", "--file"]);
    let dry = dry.arg(&bundle).output().expect("it runs");
    assert!(state(&target) == before, "a dry run changed something");
    let output = place.restore_all(&target, &bundle, &[]);
    for output in [dry, output] {
        let said = describe(&output);
        assert_eq!(output.status.code(), Some(3), "{said}");
        for word in [
            "lc_monetary",
            "only_here",
            "auto_explain.nothing_of_it",
            "auto_explain.password",
            "lc_time",
            "ALTER DATABASE \"odd\" SET",
        ] {
            assert!(said.contains(word), "{word}: {said}");
        }
    }
    assert!(
        !describe(
            &place
                .restore(&target, &["--release", "2.6.3", "--dry-run", "--file"])
                .arg(&bundle)
                .output()
                .expect("it runs")
        )
        .contains("hunter2")
    );
    assert_eq!(target.sql("odd", "SELECT price::numeric FROM p; SHOW timezone"), "1250.00\nAsia/Tokyo");
    let kept = "SELECT coalesce(rolname, '-'), setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = setdatabase \
        LEFT JOIN pg_roles r ON r.oid = setrole WHERE datname = 'odd' ORDER BY 1";
    assert_eq!(target.sql("postgres", kept), "-|{TimeZone=Asia/Tokyo}\napp|{work_mem=7MB}");
}

#[test]
fn amounts_in_bundles_of_earlier_versions_are_read_as_they_were_written() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/money");
    let bundle = fs::read_dir(golden).expect("a directory").flatten().next().expect("a bundle").path();
    let (locales, place) = (locales(), Workplace::default());
    let lacking = Postgres::start();
    let output = place.restore_all(&lacking, &bundle, &["--only", "databases"]);
    let said = describe(&output);
    assert_eq!(output.status.code(), Some(13), "{said}");
    assert!(said.contains("error   told: ") && said.contains("locale es_CO"), "{said}");
    assert!(said.contains("warning untold: ") && said.contains("lc_monetary"), "{said}");
    let target = server(locales.path(), "lc_monetary = 'es_CO'\n");
    let output = place.restore_all(&target, &bundle, &["--only", "databases"]);
    assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
    for database in ["told", "untold"] {
        let amounts = "INSERT INTO p DEFAULT VALUES; SELECT price::numeric FROM p";
        assert_eq!(target.sql(database, amounts), "12.50\n999999.75\n12.50", "{database}");
    }
}
