//! The server and its databases, looked at before a backup.

use std::path::PathBuf;

use super::connection::{Connection, ConnectionString, Parameters, connect, connect_first};
use super::{DatabaseFacts, ServerFacts, Sign, Tools, bound, needs};
use crate::context::Context;
use crate::finding::{Finding, Findings, Severity, bytes};
use crate::{Error, Kind, Result};

/// A server that can be captured.
pub struct ReadyPostgres {
    /// The connection's parameters.
    pub parameters: Parameters,
    /// A connection to a database of the server.
    pub connection: Connection,
    /// The server.
    pub server: ServerFacts,
    /// Programs that fit it.
    pub tools: Tools,
    /// Databases to capture.
    pub databases: Vec<DatabaseFacts>,
    /// What they need of another server.
    pub(crate) needs: Vec<Finding>,
}

/// What is wanted of a server.
#[derive(Clone)]
pub(crate) struct Wanted {
    /// How it is reached.
    pub(crate) connection: ConnectionString,
    /// Databases; empty for all that count.
    pub(crate) databases: Vec<String>,
    /// Directory of its programs, if it is said.
    pub(crate) bin_dir: Option<PathBuf>,
    /// Whether roles' passwords are captured.
    pub(crate) role_passwords: bool,
    /// Connections that read rows at once.
    pub(crate) jobs: usize,
}

/// The server and the databases that are wanted, or why there is none.
pub(crate) async fn find(wanted: &Wanted, context: &Context) -> Result<ReadyPostgres> {
    let mut findings = Findings::default();
    let found = look(wanted, context, &mut findings).await;
    match (findings.refusal(), found) {
        (None, Some(found)) => Ok(found),
        (error, _) => Err(error.unwrap_or_else(|| Error::new(Kind::Failed, "look at PostgreSQL"))),
    }
}

/// The same; what is wrong goes to the findings.
pub(crate) async fn look(asked: &Wanted, context: &Context, findings: &mut Findings) -> Option<ReadyPostgres> {
    let wanted = asked.databases.as_slice();
    let parameters = asked.connection.parameters(&context.environment);
    let parameters = findings.keep("postgres-connection", "PostgreSQL", parameters)?;
    // A database that surely exists lets the others be found; the one that was named may be among the missing.
    let first = match parameters.get("dbname") {
        Some(named) => vec![named],
        None => ["postgres", "template1"].into_iter().chain(wanted.iter().map(String::as_str)).collect(),
    };
    let answered = findings.keep("postgres-connection", &parameters.place(), connect_first(&parameters, &first).await);
    let (connection, parameters) = answered?;
    let server = findings.keep("postgres-server", &parameters.place(), super::server(&connection).await)?;
    findings.all.push(Finding::ok("postgres-server", parameters.place(), format!("PostgreSQL {}", server.version)));
    let tools = super::find_tools(asked.bin_dir.as_deref(), &context.environment, server.major()).await;
    let tools = findings.keep("pg-dump", "pg_dump", tools);
    if let Some(tools) = &tools {
        let place = tools.directory.display().to_string();
        findings.all.push(Finding::ok("pg-dump", &place, format!("pg_dump {}", tools.version)));
        findings.all.extend(newer_pg_dump(tools, &server, &place));
        findings.all.extend(super::unsafe_tools(tools, Severity::Info));
    }
    let listed = super::databases(&connection, &server, wanted).await;
    let (mut databases, closed) = findings.keep("database", "PostgreSQL", listed)?;
    findings.all.extend(closed);
    let mut needs = Vec::new();
    let mut left = Vec::new();
    for facts in &mut databases {
        let mut found = Findings::default();
        let looked = look_at_database(facts, (&parameters, &server), wanted.is_empty(), &mut found).await;
        if found.first.is_some()
            && wanted.is_empty()
            && let Some(finding) = super::gone(&parameters, &connection, facts).await
        {
            findings.all.push(finding);
            left.push(facts.oid);
            continue;
        }
        findings.append(found);
        match looked {
            Looked::Empty => left.push(facts.oid),
            Looked::Needs(of_it) => needs.extend(of_it),
        }
    }
    databases.retain(|facts| !left.contains(&facts.oid));
    if databases.is_empty() {
        findings.all.push(Finding::warning("no-database", parameters.place(), "the server has no database to capture"));
    }
    let roles = needs::of_roles(&connection, &server, &databases, asked.role_passwords && server.superuser).await;
    needs.extend(findings.keep("roles", "roles", roles).unwrap_or_default());
    Some(ReadyPostgres { parameters, connection, server, tools: tools?, databases, needs })
}

/// What a look into a database says.
enum Looked {
    /// It is the `postgres` of a server where nobody put anything into it.
    Empty,
    /// What it needs of another server.
    Needs(Vec<Finding>),
}

/// Looks into a database, and notes what must be asked in it.
async fn look_at_database(
    facts: &mut DatabaseFacts,
    (parameters, server): (&Parameters, &ServerFacts),
    may_leave_out: bool,
    findings: &mut Findings,
) -> Looked {
    let name = facts.name.clone();
    let connected = connect(&parameters.with_database(&name)).await;
    let Some(connection) = findings.keep("database", &name, connected) else { return Looked::Needs(Vec::new()) };
    if may_leave_out && name == "postgres" && super::is_untouched(&connection).await.unwrap_or(false) {
        return Looked::Empty;
    }
    let problems = findings.keep("database", &name, super::access_problems(&connection, &name).await);
    let problems = problems.unwrap_or_default();
    if problems.is_empty() {
        let message = format!("may be read, {} on disk", bytes(facts.size));
        findings.all.push(Finding::ok("database", &name, message));
    }
    findings.all.extend(problems);
    let pitfalls = super::pitfalls(&connection, &name, server.number).await;
    let pitfalls = findings.keep("database", &name, pitfalls);
    findings.all.extend(pitfalls.unwrap_or_default());
    let elsewhere = findings.keep("database", &name, super::elsewhere(&connection).await);
    findings.all.extend(elsewhere.iter().flatten().map(|one| super::before_restore(&name, one)));
    let session = findings.keep("database", &name, super::session_of(&connection).await);
    facts.session = session.unwrap_or_default();
    facts.money = findings.keep("database", &name, super::has_money(&connection).await).unwrap_or_default();
    let become_roles = findings.keep("database", &name, super::roles_of_functions(&connection).await);
    facts.become_roles = become_roles.unwrap_or_default();
    let extensions = findings.keep("database", &name, super::extensions(&connection).await);
    let extensions = extensions.unwrap_or_default();
    let bound = findings.keep("database", &name, bound(&connection, &extensions, Sign::Asks).await);
    Looked::Needs(needs::of_database(facts, &extensions, &bound.unwrap_or_default()))
}

/// The version of pg_dump decides what a bundle can be restored into, not the server's.
fn newer_pg_dump(tools: &Tools, server: &ServerFacts, place: &str) -> Option<Finding> {
    let (by, major) = (tools.major, server.major());
    if by <= major {
        return None;
    }
    let newer = format!("pg_dump {by} is newer than the server, {major}");
    // What pg_dump of 17 and newer writes, no older server takes. Of the others' a restore makes what the server knows.
    let finding = match by >= 17 && major < 17 {
        true => Finding::warning("pg-dump-newer", place, format!("{newer}, which takes no restore of the bundle")),
        false => {
            let message = format!("{newer}: restored by hand, with psql, the bundle needs {by} or newer");
            Finding::info("pg-dump-newer", place, message)
        }
    };
    Some(finding.hint(format!("install the package postgresql-client-{major}")))
}
