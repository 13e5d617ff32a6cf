//! The schema: one run of `pg_dump`, kept in its own format for `pg_restore -j` and as readable SQL.

use super::command::{Ran, run};
use super::connection::Parameters;
use super::load::{is_mixed, list_file, parts, pieces, use_list};
use super::session;
use super::tools::Tools;
use crate::Result;
use crate::bundle::writer::Writer;

const BEFORE_ROWS: &str = "pre-data.sql";
const AFTER_ROWS: &str = "post-data.sql";
/// What pg_dump warns of where a section's entry needs one of a later section. Scripts and restores have them in order.
const MIXED: &str = "archive items not in correct section order";
/// Where the database's entries go in the bundle, and what the readable scripts are.
const SCRIPTS: [(&str, &[&str]); 3] =
    [("create.sql", &DATABASE_ALONE), (BEFORE_ROWS, &["--section=pre-data"]), (AFTER_ROWS, &["--section=post-data"])];

/// No schema has this name, so that only the database itself, its settings and privileges are left.
const DATABASE_ALONE: [&str; 3] = ["--create", "--section=pre-data", "--schema=no schema, the database alone"];

/// Adds `schema.dump` and the scripts made of it to the bundle, below `directory`; returns what `pg_dump` warns of, such
/// as what it left out.
pub(super) async fn capture(
    tools: &Tools,
    parameters: &Parameters,
    snapshot: &str,
    directory: &str,
    writer: &Writer,
) -> Result<String> {
    let mut command = tools.client("pg_dump", &parameters.with_settings([session::MONEY]));
    command.args(["--format=custom", "--compress=0", "--no-password", "--lock-wait-timeout=60000"]);
    command.args(["--section=pre-data", "--section=post-data", &format!("--snapshot={snapshot}")]);
    let Ran { output: dump, said, .. } = run(command, "dump the schema with pg_dump", None).await?;
    writer.add(&format!("{directory}/schema.dump"), &dump).await?;
    let mixed = mixed(tools, &dump).await?;
    for (name, arguments) in SCRIPTS {
        let script = match mixed.iter().flatten().find(|(of, _)| *of == name) {
            Some((_, list)) => {
                let file = list_file(list)?;
                script(tools, &[&use_list(&file)], &dump).await?
            }
            None => script(tools, arguments, &dump).await?,
        };
        writer.add(&format!("{directory}/{name}"), &to_be_run(name, &script)).await?;
    }
    Ok(said.lines().filter(|line| !line.ends_with(MIXED)).collect::<Vec<_>>().join("\n"))
}

/// What is in the scripts before and after rows, where some of what comes before needs some of what comes after.
async fn mixed(tools: &Tools, dump: &[u8]) -> Result<Option<[(&'static str, Vec<Vec<u8>>); 2]>> {
    let (all, before) = (list(tools, &[], dump).await?, list(tools, &["--section=pre-data"], dump).await?);
    if !is_mixed(&all, &before) {
        return Ok(None);
    }
    let parts = parts(&all, &before, &list(tools, &["--verbose"], dump).await?);
    Ok(Some([(BEFORE_ROWS, [parts.first, parts.then].concat()), (AFTER_ROWS, parts.after)]))
}

/// A dump's table of contents.
async fn list(tools: &Tools, arguments: &[&str], dump: &[u8]) -> Result<Vec<u8>> {
    let mut command = tokio::process::Command::new(tools.program("pg_restore"));
    command.arg("--list").args(arguments).env("LC_ALL", "C");
    Ok(run(command, "list the schema's entries with pg_restore", Some(dump)).await?.output)
}

/// A script that creates the database that `parameters` name as it is, and nothing in it.
pub(super) async fn creation(tools: &Tools, parameters: &Parameters) -> Result<Vec<u8>> {
    let mut command = tools.client("pg_dump", parameters);
    command.args(["--format=custom", "--compress=0", "--no-password", "--lock-wait-timeout=60000"]);
    // Its tables, which might be locked or damaged, are none of our business.
    command.args(["--section=pre-data", "--exclude-schema=*"]);
    let dump = run(command, "dump the database's properties with pg_dump", None).await?.output;
    script(tools, &DATABASE_ALONE, &dump).await
}

/// A script for people: nothing that server, database or role say stops it.
fn to_be_run(name: &str, script: &[u8]) -> Vec<u8> {
    let begin = session::by_hand().into_bytes();
    let mut whole = begin.clone();
    // In the body of a function anything may look like a statement, and those come before rows.
    if name == BEFORE_ROWS {
        whole.extend_from_slice(script);
        return whole;
    }
    for piece in pieces(script) {
        // What views hold is computed as the database's own sessions would.
        if piece.starts_with(b"REFRESH MATERIALIZED VIEW ") {
            whole.extend_from_slice(session::FILLING.as_bytes());
        }
        whole.extend_from_slice(piece);
        if piece.starts_with(b"\\connect ") {
            whole.extend_from_slice(&begin);
        }
    }
    whole
}

/// A dump's entries that `arguments` name, as SQL.
async fn script(tools: &Tools, arguments: &[&str], dump: &[u8]) -> Result<Vec<u8>> {
    let mut command = tokio::process::Command::new(tools.program("pg_restore"));
    command.args(arguments).arg("--file=-").env("LC_ALL", "C");
    Ok(run(command, "write the schema as SQL with pg_restore", Some(dump)).await?.output)
}
