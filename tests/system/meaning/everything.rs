//! A database with objects of every kind: what makes it, and what it answers.

use std::path::Path;

use fixtures::Postgres;
use system_tests::describe;

/// Its materialized views.
pub const FILLED: [&str; 3] = ["app.daily", "app.weekly", "app.found"];

/// Makes it.
pub fn make(server: &Postgres) {
    run(server, "postgres", "made.sql");
}

/// What it answers. Nothing of it stays.
pub fn answer(server: &Postgres) -> String {
    run(server, "everything", "asked.sql")
}

fn run(server: &Postgres, database: &str, script: &str) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("system/meaning").join(script);
    let mut psql = server.command("psql");
    let output = psql.args(["-X", "-q", "-A", "-d", database, "-f"]).arg(script).output().expect("psql runs");
    assert!(output.status.success(), "{}", describe(&output));
    String::from_utf8(output.stdout).expect("UTF-8")
}
