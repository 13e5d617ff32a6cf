//! Names and texts of the server that are not UTF-8: whoever gave them did so in a database of another encoding, and no other
//! one checks them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use fixtures::Postgres;
use system_tests::{Workplace, describe};

fn psql(server: &Postgres, database: &str, statement: &[u8]) {
    let mut psql = server.command("psql");
    psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-c"]).arg(OsStr::from_bytes(statement));
    let output = psql.env("PGDATABASE", database).env("PGCLIENTENCODING", "SQL_ASCII").output().expect("psql runs");
    assert!(output.status.success(), "{}", describe(&output));
}

/// What is made in a database of encoding SQL_ASCII, and what takes it away.
const ODD: [(&[u8], &[u8]); 6] = [
    (
        b"CREATE ROLE \"m\xfcller\"; GRANT SELECT ON t TO \"m\xfcller\"",
        b"DROP OWNED BY \"m\xfcller\"; DROP ROLE \"m\xfcller\"",
    ),
    (b"CREATE DATABASE \"m\xfcll\"", b"DROP DATABASE \"m\xfcll\""),
    (b"ALTER DATABASE shop SET my.own = 'm\xfcll'", b"ALTER DATABASE shop RESET my.own"),
    (b"COMMENT ON DATABASE shop IS 'm\xfcll'", b"COMMENT ON DATABASE shop IS NULL"),
    (b"ALTER ROLE ALL SET \"m\xfcll.own\" = 'x'", b"ALTER ROLE ALL RESET ALL"),
    (
        b"CREATE ROLE \"m\xfcller\"; ALTER DATABASE shop OWNER TO \"m\xfcller\"",
        b"ALTER DATABASE shop OWNER TO postgres; DROP ROLE \"m\xfcller\"",
    ),
];

#[test]
fn what_is_not_utf8_is_an_error_that_says_so_and_never_a_panic() {
    let encodings = [
        "SELECT",
        "DROP DATABASE postgres; CREATE DATABASE postgres TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'; \
         ALTER DATABASE template1 IS_TEMPLATE false",
    ];
    for make in encodings {
        let (place, server) = (Workplace::default(), Postgres::start());
        make.split("; ").for_each(|statement| psql(&server, "template1", statement.as_bytes()));
        if make != "SELECT" {
            psql(&server, "postgres", b"DROP DATABASE template1");
            psql(&server, "postgres", b"CREATE DATABASE template1 TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'");
        }
        for (database, encoding) in [("shop", "UTF8"), ("raw", "SQL_ASCII")] {
            let create = format!("CREATE DATABASE {database} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'");
            psql(&server, "postgres", create.as_bytes());
            psql(&server, database, b"CREATE TABLE t AS SELECT 1 AS a");
        }
        place.write(
            "settings.toml",
            "cluster_conf = \"cluster.conf\"\n[release]\nversion = \"2.6.3\"\n[[stores]]\npath = \"bundles\"\n",
        );
        let bundle = place.make_bundle(&server).display().to_string();
        for (make, take_away) in ODD {
            psql(&server, "raw", make);
            let shown = make.escape_ascii();
            for (arguments, must_fail) in [
                (&["check", "--config", "cluster.conf", "--release", "2.6.3", "--to", "bundles"][..], true),
                (&["backup", "--config", "cluster.conf", "--release", "2.6.3", "--to", "elsewhere"], true),
                (&["restore", "--release", "2.6.3", "--dry-run", "--file", &bundle], false),
                (&["diff", &bundle, "--config", "settings.toml"], true),
                (&["status", "--config", "settings.toml"], false),
            ] {
                let output = place.cli(arguments).envs(server.variables()).output().expect("it runs");
                let text = describe(&output);
                assert_ne!(output.status.code(), Some(101), "{shown} {arguments:?}: {text}");
                let says = text.contains("not UTF-8: rename it, or set it anew");
                assert!(says || !must_fail, "{shown} {arguments:?}: {text}");
                assert!(!says || !output.status.success(), "{shown} {arguments:?}: {text}");
            }
            psql(&server, "raw", take_away);
            assert!(!place.path("elsewhere").exists());
        }
        let output = place.backup(&server, &[]).output().expect("it runs");
        assert!(output.status.success(), "{}", describe(&output));
    }
}
