//! Scripts of a bundle are data: whoever wrote into one, and into any member of it, runs nothing as who restores or drills it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use backup_core::bundle::manifest::postgres::Chunk;
use fixtures::Postgres;
use system_tests::{Workplace, describe, open, reachable, repack};

/// A server with something in every member of a bundle that goes through psql, or did.
fn source() -> Postgres {
    let server = Postgres::start();
    server.sql("postgres", "CREATE ROLE keeper LOGIN; ALTER ROLE keeper SET work_mem TO '5MB'");
    server.sql("postgres", "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0 OWNER keeper");
    server.sql("postgres", "COMMENT ON DATABASE latin IS 'it''s'; ALTER DATABASE latin SET work_mem TO '6MB'");
    server.sql("postgres", "GRANT TEMPORARY ON DATABASE latin TO keeper");
    // Rows that the driver can't send, since their table's name is not ASCII in another encoding than UTF-8.
    server.sql("latin", "CREATE TABLE \"z\u{e4}hler\" (a int, b text); INSERT INTO \"z\u{e4}hler\" SELECT g, 'x' FROM generate_series(1, 9) g");
    server.sql("latin", "CREATE TABLE plain (a serial); INSERT INTO plain DEFAULT VALUES");
    server.sql("latin", "SELECT lo_from_bytea(7001, 'abc'); COMMENT ON LARGE OBJECT 7001 IS 'it''s one'");
    server
}

/// What is written into a member: at its beginning, and where its last statement or its rows end.
fn tricks(marker: &Path) -> Vec<(&'static str, String)> {
    let touch = format!("touch {}", marker.display());
    vec![
        ("a command", format!("\\! {touch}\n")),
        ("a fence that ends in a program", format!("\\unrestrict `{touch}`\n")),
        ("output to a program", format!("SELECT 1 \\g |{touch}\n")),
        ("a number before a quote", format!("SELECT 1E'\\', '\n\\! {touch}\n';\n")),
        ("other quotes", format!("SET standard_conforming_strings = off;\nSELECT '\\' || '\n\\! {touch}\n';\n")),
    ]
}

/// Puts a trick into a member, once before and once after what it has.
fn bend(content: &mut Vec<u8>, chunk: &mut Option<Chunk>, trick: &str) {
    content.splice(0..0, trick.bytes());
    content.extend(trick.bytes());
    if let Some(chunk) = chunk {
        chunk.preamble += trick.len() as u64;
    }
}

fn restore(place: &Workplace, target: &Postgres, bundle: &Path, arguments: &[&str]) -> Output {
    let mut command = place.restore(target, &["--yes", "--jobs", "2"]);
    command.args(arguments).arg("--file").arg(bundle).output().expect("it runs")
}

#[test]
fn nothing_written_into_a_member_runs_as_who_restores_or_drills() {
    let (source, target, place) = (source(), Postgres::start(), Workplace::default());
    let made = place.make_bundle(&source);
    let members: Vec<String> = open(&made).manifest().entries.iter().map(|entry| entry.path.clone()).collect();
    // Whatever is added later is looked at, too; these are for people alone.
    let by_hand = |path: &str| {
        path.ends_with("/pre-data.sql") || path.ends_with("/post-data.sql") || path == "databases/latin.sql"
    };
    let members: Vec<&String> = members.iter().filter(|path| path.ends_with(".sql") && !by_hand(path)).collect();
    for member in ["databases/globals.sql", "/create.sql", "/sequences.sql", "/large-objects/", "/data/"] {
        assert!(members.iter().any(|path| path.contains(member)), "{member}: {members:?}");
    }
    fs::create_dir(place.path("sent")).expect("a directory");
    let (sent, marker) = (place.path("sent").join(made.file_name().expect("a name")), place.path("marker"));
    let (inside, tricks) = (reachable(), tricks(&marker));
    for (number, member) in members.iter().enumerate() {
        // Two tricks a member are enough here: what is refused in what way, the parsers' own tests say.
        for (what, trick) in [&tricks[0], &tricks[1 + number % (tricks.len() - 1)]] {
            repack(&made, &sent, |path, content, chunk| {
                if path == **member {
                    bend(content, chunk, trick);
                }
            });
            let dry = restore(&place, &target, &sent, &["--dry-run"]);
            let mut said = vec![describe(&dry)];
            let restored = restore(&place, &target, &sent, &[]);
            said.push(describe(&restored));
            let mut drill = place.cli(&["drill"]);
            drill.arg(&sent).arg("--in").arg(inside.path()).env("PATH", target.path());
            let drilled = drill.output().expect("it runs");
            said.push(describe(&drilled));
            // Refused or stopped, and not gone on with; but for what is not sent to anybody: fences, and what stands around the rows of a chunk.
            let is_sent = !member.contains("/data/") && !trick.starts_with("\\unrestrict");
            for output in [&restored, &drilled].into_iter().filter(|_| is_sent) {
                assert!(!matches!(output.status.code(), Some(0 | 3)), "{member}, {what}: {}", describe(output));
            }
            assert!(!marker.exists(), "{member}, {what}: it ran\n{}", said.join("\n"));
            let back = place.rollback(&target, &sent).output().expect("it runs");
            assert!(matches!(back.status.code(), Some(0 | 10)), "{member}, {what}: {}", describe(&back));
        }
    }
}

#[test]
fn a_bundle_of_all_members_comes_back_as_it_was() {
    let (source, target, place) = (source(), Postgres::start(), Workplace::default());
    let made = place.make_bundle(&source);
    fs::create_dir(place.path("sent")).expect("a directory");
    let sent: PathBuf = place.path("sent").join(made.file_name().expect("a name"));
    repack(&made, &sent, |_, _, _| {});
    let output = restore(&place, &target, &sent, &[]);
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}", describe(&output));
    let asked = "SELECT count(*) || (SELECT last_value::text FROM plain_a_seq) || (SELECT description FROM pg_description \
        WHERE objoid = 7001) || current_setting('work_mem') FROM \"z\u{e4}hler\"";
    assert_eq!(target.sql("latin", asked), source.sql("latin", asked));
    let role = "SELECT rolname || rolconfig::text FROM pg_roles WHERE rolname = 'keeper'";
    assert_eq!(target.sql("postgres", role), source.sql("postgres", role));
}

#[test]
fn a_powerful_role_is_made_only_where_it_is_named() {
    let (source, target, home) = (Postgres::start(), Postgres::start(), Workplace::default());
    // A machine that has no journal of the bundle's making.
    let place = Workplace::default();
    source.sql("postgres", "CREATE ROLE chief SUPERUSER LOGIN; CREATE ROLE watcher LOGIN; GRANT pg_monitor TO watcher");
    source.sql("postgres", "CREATE ROLE plain LOGIN CREATEDB; GRANT chief TO plain");
    source.sql("postgres", "CREATE DATABASE it OWNER watcher");
    source.sql("it", "CREATE TABLE t (a int); ALTER TABLE t OWNER TO chief; GRANT SELECT ON t TO plain");
    let made = home.make_bundle(&source);
    let roles = || {
        target
            .sql("postgres", "SELECT string_agg(rolname, ' ') FROM pg_roles WHERE rolname ~ '^(chief|plain|watcher)$'")
    };
    let flags = ["--allow-superuser", "chief", "--allow-superuser", "plain", "--allow-superuser", "watcher"];
    for arguments in [&["--dry-run"][..], &[], &["--allow-superuser", "chief"]] {
        let output = restore(&place, &target, &made, arguments);
        let said = describe(&output);
        assert!(!output.status.success(), "{said}");
        assert!(said.contains(&flags.join(" ")) || arguments.contains(&"chief"), "{said}");
        for role in [
            "role chief: will be made and could do more than databases' owners: SUPERUSER",
            "member of pg_monitor",
            "member of chief",
        ] {
            assert!(said.contains(role), "{said}");
        }
        assert_eq!(roles(), "");
    }
    let inside = reachable();
    let mut drill = place.cli(&["drill"]);
    let drill = drill.arg(&made).arg("--in").arg(inside.path()).env("PATH", target.path()).output().expect("it runs");
    assert!(drill.status.success(), "{}", describe(&drill));
    let output = restore(&place, &target, &made, &flags);
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}", describe(&output));
    assert_eq!(roles(), "chief plain watcher");
    assert!(describe(&output).contains("role chief: will be made") && describe(&output).contains("allowed by"));
    // They are there now.
    let output = restore(&place, &target, &made, &[]);
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}", describe(&output));
    // Who made it need not be asked.
    let output = restore(&home, &Postgres::start(), &made, &[]);
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}", describe(&output));
}
