//! Captures databases into a bundle, each under one snapshot.

use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::connection::{Connection, Parameters};
use super::discover::{self, DatabaseFacts, ServerFacts};
use super::elsewhere::elsewhere;
use super::gone::{check_same, gone};
use super::rows::{self, Written};
use super::tools::Tools;
use super::{large_objects, pitfalls, roles, schema, scripts, sequences, snapshot, tables};
use crate::bundle::manifest::postgres::{Database, Table};
use crate::bundle::writer::Writer;
use crate::context::Context;
use crate::event::Meter;
use crate::finding::Finding;
use crate::{ErrorContext, Result};

/// What is captured, and with what.
pub(super) struct Capture<'c> {
    /// The connection's parameters; their database is replaced.
    pub(super) parameters: &'c Parameters,
    /// The server.
    pub(super) server: &'c ServerFacts,
    /// The programs that fit it.
    pub(super) tools: &'c Tools,
    /// The databases.
    pub(super) databases: &'c [DatabaseFacts],
    /// Whether somebody named them, so that none may be missing.
    pub(super) named: bool,
    /// Connections that read rows at once.
    pub(super) jobs: usize,
    /// Whether roles' passwords go into `globals.sql`.
    pub(super) role_passwords: bool,
}

/// Characters that stand as they are in a directory's name.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'-');

/// The directory below `databases/` of a database. Different names have different directories, and none has the
/// name of `globals.sql`.
pub(crate) fn directory(database: &str) -> String {
    match database {
        "globals" => "%67lobals".into(),
        other => utf8_percent_encode(other, PLAIN).to_string(),
    }
}

/// What was captured.
#[derive(Default)]
pub(super) struct Captured {
    /// The databases.
    pub(super) databases: Vec<Database>,
    /// What `pg_dump` warned of, and which databases went away meanwhile.
    pub(super) findings: Vec<Finding>,
    /// Beginnings of the paths below which half of a database may lie that went away.
    pub(super) halves: Vec<String>,
}

/// Captures roles and databases; `connection` is one to any database of the server.
///
/// # Errors
/// The first failure; nothing is retried, and nothing is left out without a finding.
pub(super) async fn capture(
    what: &Capture<'_>,
    connection: &Connection,
    writer: &Writer,
    meter: &Arc<Meter>,
    context: &Context,
) -> Result<Captured> {
    context.phase("capture roles");
    let globals = roles::globals(connection, what.databases, what.server.major(), what.role_passwords).await?;
    writer.add("databases/globals.sql", globals.script.as_bytes()).await?;
    let mut all = Captured::default();
    for facts in what.databases {
        context.phase(format!("capture database {}", facts.name));
        let captured = match database(what, facts, all.databases.len(), writer, meter).await {
            Err(error) if !what.named => match gone(what.parameters, connection, facts).await {
                Some(finding) => {
                    all.findings.push(finding);
                    all.halves.push(format!("databases/{}/", directory(&facts.name)));
                    continue;
                }
                None => Err(error),
            },
            captured => captured,
        };
        let (mut database, said) = captured.context(|| format!("capture database {}", facts.name))?;
        database.roles.clone_from(&globals.roles);
        all.databases.push(database);
        if !said.is_empty() {
            let hint =
                "restore the database on a spare server to see what is missing, or run the backup as a superuser";
            all.findings.push(Finding::warning("pg-dump-warning", &facts.name, said).hint(hint));
        }
    }
    Ok(all)
}

/// Captures one database; returns what `pg_dump` said beside it.
async fn database(
    what: &Capture<'_>,
    facts: &DatabaseFacts,
    index: usize,
    writer: &Writer,
    meter: &Arc<Meter>,
) -> Result<(Database, String)> {
    let parameters = what.parameters.with_database(&facts.name);
    let snapshot = snapshot::take(what.tools, &parameters).await?;
    check_same(&snapshot.connection, facts).await?;
    let name = directory(&facts.name);
    let inside = format!("databases/{name}");
    let extensions = discover::extensions(&snapshot.connection).await?;
    let large_objects = large_objects::count(&snapshot.connection).await?;
    let dropped = discover::dropped(&snapshot.connection).await?;
    let elsewhere = elsewhere(&snapshot.connection).await?;
    let (values, sequences) = sequences::script(&snapshot, &facts.encoding).await?;
    writer.add(&format!("{inside}/sequences.sql"), &values).await?;
    let source = rows::Source {
        parameters: &parameters,
        snapshot: &snapshot,
        major: what.server.major(),
        encoding: &facts.encoding,
        jobs: what.jobs,
    };
    let place = rows::Place { database: index, directory: &inside };
    let (said, lo_scripts, chunks) = tokio::try_join!(
        schema::capture(what.tools, &parameters, &snapshot.id, &inside, writer),
        async {
            if large_objects == 0 {
                return Ok(0);
            }
            large_objects::capture(what.tools, &parameters, &snapshot.id, &inside, writer).await
        },
        rows::capture(source, place, writer, meter),
    )?;
    // Had it ended, its locks would have gone with it, and a table that was emptied since would look empty.
    snapshot.check_alive().await?;
    // One after another, rows that others refer to must come before those.
    let levels = tables::levels(&snapshot.connection).await?;
    let level = |chunk: &&Written| levels.of(&snapshot.tables[chunk.table]);
    let mut order: Vec<&Written> = chunks.iter().collect();
    order.sort_by_key(level);
    let drops: Vec<&str> = discover::drops(&dropped).collect();
    let script = scripts::database(&name, &drops, lo_scripts, order.into_iter());
    writer.add(&format!("{inside}.sql"), script.as_bytes()).await?;
    let database = Database {
        name: facts.name.clone(),
        directory: name,
        owner: facts.owner.clone(),
        encoding: facts.encoding.clone(),
        locale: facts.locale.clone(),
        tablespace: facts.tablespace.clone(),
        connection_limit: facts.connection_limit,
        privileges: facts.privileges.clone(),
        comment: facts.comment.clone(),
        settings: facts.settings.clone(),
        session: Some(facts.session.clone()),
        money: facts.money,
        extensions,
        size: facts.size,
        roles: Vec::new(),
        snapshot: snapshot.taken.clone(),
        tables: counted(&snapshot.tables, &chunks),
        sequences,
        large_objects,
        dropped,
        elsewhere,
    };
    Ok((database, pitfalls::without_greetings(&said, snapshot.connection.greetings())))
}

/// Every table with the rows of its chunks.
fn counted(tables: &[tables::TableFacts], chunks: &[Written]) -> Vec<Table> {
    let mut counted: Vec<Table> =
        tables.iter().map(|table| Table { schema: table.schema.clone(), name: table.name.clone(), rows: 0 }).collect();
    for chunk in chunks {
        counted[chunk.table].rows += chunk.rows;
    }
    counted
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn different_names_have_different_plain_directories() {
        let names = ["orchestrator", "a/b", "a b", "..", "a%2Fb", "näme", "line\nbreak", "\"q\""];
        let directories: HashSet<String> = names.iter().map(|name| directory(name)).collect();
        assert_eq!(directories.len(), names.len());
        assert!(directories.iter().all(|name| crate::bundle::path::refuse(name.as_bytes()).is_none()));
        assert_eq!(directory("orchestrator_archive"), "orchestrator_archive");
        assert_eq!(directory("globals"), "%67lobals");
    }
}
