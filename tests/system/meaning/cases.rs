//! Databases whose settings decide what their values mean: what makes them, and what they answer.

use fixtures::{Installation, Postgres};

/// A database: what its sessions begin with, what makes it, and what is asked of it.
pub struct Case {
    pub name: &'static str,
    /// `ALTER DATABASE name SET …`, each.
    settings: &'static [&'static str],
    made: &'static str,
    question: &'static str,
}

pub const CASES: [Case; 5] = [
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
                {xml}::text AS x FROM t",
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

/// Makes its database.
pub fn make(server: &Postgres, case: &Case) {
    server.sql("postgres", &format!("CREATE DATABASE {}", case.name));
    for setting in case.settings {
        server.sql("postgres", &format!("ALTER DATABASE {} SET {setting}", case.name));
    }
    // Builds of other versions have no xml.
    let xml = if server.major() == Installation::usual().major { "xmlelement(name x, b)" } else { "b" };
    sql(server, case.name, MAKING, &case.made.replace("{xml}", xml));
}

/// How whoever makes a database keeps its settings off.
pub const MAKING: &[&str] = &[
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
pub fn sql(server: &Postgres, database: &str, settings: &[&str], sql: &str) -> String {
    let options: String = settings.iter().map(|setting| format!(" -c {setting}")).collect();
    let mut psql = server.command("psql");
    psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql]);
    let output = psql.env("PGDATABASE", database).env("PGOPTIONS", options).output().expect("psql runs");
    assert!(output.status.success(), "{database}: {output:?}");
    String::from_utf8(output.stdout).expect("UTF-8").trim_end().to_owned()
}

/// What a database says to a case's question where the server says what the source's says; nothing of it stays.
pub fn answer(server: &Postgres, case: &Case) -> String {
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
