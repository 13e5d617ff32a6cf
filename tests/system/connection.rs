//! The connection honours what `psql` honours: TLS as `sslmode` asks for it, `.pgpass` with its permission rule.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use fixtures::{Installation, Pooler, Postgres};
use system_tests::{Workplace, describe};

fn openssl(directory: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(directory).output();
    let output = output.expect("missing prerequisite: openssl");
    assert!(output.status.success(), "{}", describe(&output));
}

/// What makes a certificate for `localhost` that an authority signed.
const SIGNED: &[&str] = &[
    "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.crt",
    "req -newkey rsa:2048 -nodes -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout server.key -out server.csr",
    "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -copy_extensions copy -out server.crt",
];
/// What makes one that is its own authority, as in PostgreSQL's manual.
const SELF_SIGNED: &[&str] = &[
    "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout server.key -out server.crt",
];

/// A server on loopback that takes TLS alone, but from the user `bare`, and asks for a password.
fn encrypted_server(place: &Workplace, certificate: &[&str]) -> (Postgres, u16) {
    let directory = place.path("tls");
    fs::create_dir(&directory).expect("a directory");
    certificate.iter().for_each(|command| openssl(&directory, command));
    fs::write(
        directory.join("hba"),
        "local all all trust\nhostnossl all bare 127.0.0.1/32 trust\nhostssl all bare 127.0.0.1/32 reject\nhostssl all all 127.0.0.1/32 scram-sha-256\n",
    )
    .expect("a file");
    fs::set_permissions(directory.join("server.key"), fs::Permissions::from_mode(0o600)).expect("a mode");
    fs::set_permissions(place.path(""), fs::Permissions::from_mode(0o755)).expect("a mode");
    if rustix::process::geteuid().is_root() {
        let owned = Command::new("chown").arg("-R").arg("postgres").arg(&directory).status().expect("chown runs");
        assert!(owned.success());
    }
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
    let shown = directory.display();
    let settings = format!(
        "listen_addresses = '127.0.0.1'\nport = {port}\nssl = on\nssl_cert_file = '{shown}/server.crt'\nssl_key_file = '{shown}/server.key'\nhba_file = '{shown}/hba'"
    );
    let newest = Installation::usual();
    (Postgres::start_version_on(&newest, &settings, port), port)
}

#[test]
fn tls_and_the_password_file_work_as_in_libpq() {
    let place = Workplace::default();
    let (server, port) = encrypted_server(&place, SIGNED);
    server.sql("postgres", "CREATE ROLE ops LOGIN SUPERUSER PASSWORD 'hunter2'");
    server.sql("postgres", "CREATE TABLE t AS SELECT 1 AS a");
    let pgpass = place.write(".pgpass", format!("*:{port}:*:ops:hunter2\n"));
    let mode = |mode| fs::set_permissions(&pgpass, fs::Permissions::from_mode(mode)).expect("a mode");
    let run = |host: &str, ssl: &str| {
        let connection = format!("host={host} hostaddr=127.0.0.1 port={port} user=ops dbname=postgres {ssl}");
        place
            .write("tls.toml", format!("cluster_conf = \"cluster.conf\"\n[postgres]\nconnection = \"{connection}\"\n"));
        let mut run = place.cli(&["backup", "--config", "tls.toml", "--release", "1", "--to", "bundles"]);
        let output = run.env("PATH", server.path()).output();
        let output = output.expect("the command runs");
        place.bundles().iter().for_each(|path| fs::remove_file(path).expect("removed"));
        assert!(!describe(&output).contains("hunter2"), "{}", describe(&output));
        (output.status.success(), describe(&output))
    };
    let root = format!("sslrootcert={}", place.path("tls/ca.crt").display());
    openssl(
        &place.path(""),
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=other -keyout other.key -out other.crt",
    );
    let other = format!("sslrootcert={}", place.path("other.crt").display());
    mode(0o600);
    for (host, ssl, works, word) in [
        ("localhost", format!("sslmode=verify-full {root}"), true, "published"),
        ("elsewhere", format!("sslmode=verify-full {root}"), false, "needs the authority's certificate"),
        ("localhost", format!("sslmode=verify-ca {other}"), false, "needs the authority's certificate"),
        ("elsewhere", format!("sslmode=verify-ca {root}"), true, ""),
        ("localhost", "sslmode=verify-full".to_owned(), false, "root certificate"),
        ("elsewhere", "sslmode=require".to_owned(), true, ""),
        ("localhost", "sslmode=prefer".to_owned(), true, ""),
        ("localhost", "sslmode=disable".to_owned(), false, "no encryption"),
    ] {
        let (worked, text) = run(host, &ssl);
        assert_eq!(worked, works, "{host} {ssl}: {text}");
        assert!(works || text.contains(word), "{host} {ssl}: {text}");
    }
    mode(0o644);
    let (worked, text) = run("localhost", "sslmode=require");
    assert!(!worked && text.contains("can be read by others"), "{text}");
    mode(0o600);
    fs::write(&pgpass, "other:*:*:*:hunter2\n").expect("written");
    let (worked, text) = run("localhost", "sslmode=require");
    assert!(!worked && text.contains("the server asks for a password"), "{text}");
    fs::write(&pgpass, format!("*:{port}:*:ops:wrong\n")).expect("written");
    let (worked, text) = run("localhost", "sslmode=require");
    assert!(
        !worked && text.contains("password authentication failed") && text.contains("check the password"),
        "{text}"
    );
}

#[test]
fn what_a_server_refuses_is_known_in_any_language() {
    let place = Workplace::default();
    // The language of messages, where the server has them in it. `C.UTF-8` is a locale that every machine has.
    let (german, settings) = (Path::new("de"), "lc_messages = 'C.UTF-8'");
    let server = Postgres::start_version_with(&Installation::usual(), settings, &[("LANGUAGE", german)]);
    server.sql("postgres", "CREATE ROLE group_alone; CREATE ROLE ops LOGIN");
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
    let settings = format!("listen_addresses = '127.0.0.1'\nport = {port}");
    let _bare = Postgres::start_version_on(&Installation::usual(), &settings, port);
    let (socket, tcp) = (server.host().display(), format!("host=127.0.0.1 port={port} user=postgres"));
    for (connection, hint) in [
        (format!("host={socket} user=nobody_here"), "the role's name comes from"),
        (format!("host={socket} user=group_alone"), "the role's name comes from"),
        (format!("host={socket} user=ops dbname=none_here"), "name an existing database"),
        (format!("{tcp} sslmode=require"), "sslmode asks for encryption, and the server has ssl = off"),
        (format!("{tcp} target_session_attrs=read-only"), "name the server that is meant"),
    ] {
        place.write("c.toml", format!("cluster_conf = \"cluster.conf\"\n[postgres]\nconnection = \"{connection}\"\n"));
        let mut run = place.cli(&["backup", "--config", "c.toml", "--release", "1", "--to", "bundles"]);
        let output = run.env("PATH", server.path()).output().expect("the command runs");
        assert!(!output.status.success() && describe(&output).contains(hint), "{connection}: {}", describe(&output));
    }
    // PostgreSQL's programs hand messages on as text alone. What every session is told in any language is no news.
    server.sql("postgres", "CREATE DATABASE shop");
    server.sql("postgres", "ALTER DATABASE shop SET default_tablespace = 'gone'");
    if server.major() >= 15 {
        server.sql("postgres", "UPDATE pg_database SET datcollversion = '2.28' WHERE datname = 'shop'");
    }
    server.sql("shop", "CREATE TABLE t AS SELECT 1 AS a");
    place.write("c.toml", "cluster_conf = \"cluster.conf\"\n");
    let mut run = place.cli(&["backup", "--config", "c.toml", "--release", "1", "--to", "bundles"]);
    let output = run.envs(server.variables()).output().expect("the command runs");
    assert!(output.status.success() && !describe(&output).contains('»'), "{}", describe(&output));
}

#[test]
fn a_connection_is_named_as_for_psql() {
    let place = Workplace::default();
    let (server, port) = encrypted_server(&place, SELF_SIGNED);
    server.sql("postgres", "CREATE ROLE ops LOGIN SUPERUSER PASSWORD 'hunter2'; CREATE TABLE t AS SELECT 1 AS a");
    server.sql("postgres", "CREATE ROLE bare LOGIN SUPERUSER");
    let services = place.write("services", format!("[main]\nhost=127.0.0.1\nport={port}\nuser=ops\n"));
    let services = services.display().to_string();
    let port = port.to_string();
    let uri = format!("postgresql://ops:hunter2@127.0.0.1:{port}/postgres?sslmode=require");
    let own = format!(
        "host=localhost hostaddr=127.0.0.1 port={port} user=ops password=hunter2 sslmode=verify-full sslrootcert={}",
        place.path("tls/server.crt").display()
    );
    type Case<'c> = (&'c str, String, Vec<(&'c str, &'c str)>);
    let cases: [Case; 7] = [
        ("its own authority", own, vec![]),
        ("URI", uri, vec![]),
        (
            "service",
            String::new(),
            vec![("PGSERVICE", "main"), ("PGSERVICEFILE", &services), ("PGPASSWORD", "hunter2")],
        ),
        ("service in the string", "service=main".into(), vec![("PGSERVICEFILE", &services), ("PGPASSWORD", "hunter2")]),
        (
            "environment",
            String::new(),
            vec![("PGHOST", "127.0.0.1"), ("PGPORT", &port), ("PGUSER", "ops"), ("PGPASSWORD", "hunter2")],
        ),
        ("address alone", format!("hostaddr=127.0.0.1 port={port} user=ops password=hunter2"), vec![]),
        ("no encryption where the server wants none", format!("host=127.0.0.1 port={port} user=bare"), vec![]),
    ];
    for (what, connection, variables) in cases {
        place.write("c.toml", format!("cluster_conf = \"cluster.conf\"\n[postgres]\nconnection = \"{connection}\"\n"));
        let mut run = place.cli(&["backup", "--config", "c.toml", "--release", "1", "--to", "bundles"]);
        let output = run.envs(variables).env("PATH", server.path()).output().expect("the command runs");
        assert!(output.status.success(), "{what}: {}", describe(&output));
        place.bundles().iter().for_each(|path| fs::remove_file(path).expect("removed"));
    }
}

#[test]
fn a_pooler_that_takes_no_settings_is_named_before_anything_is_done() {
    let (place, server) = (Workplace::default(), Postgres::start());
    server.sql("postgres", "CREATE DATABASE shop");
    server.sql("shop", "CREATE TABLE t AS SELECT 1 AS a");
    place.write("diff.toml", "cluster_conf = \"cluster.conf\"\n");
    let bundle = place.make_bundle(&server);
    let (before, bundle) = (server.sql("postgres", "SELECT max(oid) FROM pg_database"), bundle.display().to_string());
    for (mode, drops_options, commands) in [("session", false, 2), ("session", true, 2), ("transaction", true, 5)] {
        let pooler = Pooler::start(&server, mode, drops_options);
        for (arguments, code) in [
            (&["check", "--config", "cluster.conf", "--release", "2.6.3", "--to", "pooled"][..], 13),
            (&["backup", "--config", "cluster.conf", "--release", "2.6.3", "--to", "pooled"], 1),
            (&["restore", "--release", "2.6.3", "--yes", "--file", &bundle], 1),
            (&["restore", "--release", "2.6.3", "--dry-run", "--file", &bundle], 1),
            (&["diff", &bundle, "--config", "diff.toml"], 1),
        ]
        .into_iter()
        .take(commands)
        {
            let output = place.cli(arguments).envs(server.variables()).env("PGHOST", pooler.host()).output();
            let output = output.expect("it runs");
            let text = describe(&output);
            assert_eq!(output.status.code(), Some(code), "{mode} {drops_options} {arguments:?}: {text}");
            for said in ["connect to PostgreSQL at", "a pooler such as PgBouncer", "connect to the server itself"] {
                assert!(text.contains(said), "{mode} {drops_options} {arguments:?}: {text}");
            }
        }
        assert!(!place.path("pooled").exists());
    }
    assert_eq!(server.sql("postgres", "SELECT max(oid) FROM pg_database"), before);
}
