//! Whether a server can take databases.

use super::{Asked, Source, Way, administrative};
use crate::component::Look;
use crate::component::postgres::connection::connect_first;
use crate::component::postgres::{self, Target, server_findings};
use crate::finding::Finding;

/// Looks at the server; returns what reaches it, and its identifier. `own` are databases that an unfinished restore of
/// this user builds.
pub(super) async fn look_at_server<S: Source>(
    asked: &Asked,
    way: &Way,
    source: Option<&S>,
    own: &[String],
    Look { context, findings }: &mut Look<'_>,
) -> Option<(Target, String)> {
    context.phase("check PostgreSQL");
    let parameters = way.connection.parameters(&context.environment);
    let parameters = findings.keep("postgres-connection", "PostgreSQL", parameters)?;
    let restored = source.into_iter().flat_map(|source| asked.chosen(source.databases())).map(|(_, _, name)| name);
    let answered = connect_first(&parameters, administrative(restored)).await;
    let answered = findings.keep("postgres-connection", &parameters.place(), answered);
    let (connection, parameters) = answered?;
    let place = parameters.place();
    let facts = findings.keep("postgres-server", &place, postgres::server(&connection).await)?;
    let of_source = source.and_then(S::server);
    let of_source = of_source.as_deref();
    findings.all.extend(server_findings(&facts, &place, of_source));
    findings.all.extend(source.and_then(|source| source.too_old(&facts, &place)));
    let half_built = findings.keep("postgres-server", &place, postgres::half_built(&connection).await);
    let others = half_built.iter().flatten().filter(|name| !own.contains(name));
    findings.all.extend(others.map(|name| half_built_finding(name)));
    let major = facts.major().max(source.map_or(0, S::archived_by));
    let tools = postgres::find_tools(way.bin_dir.as_deref(), &context.environment, major).await;
    let tools = findings.keep("pg-restore", "pg_restore", tools)?;
    findings.all.extend(S::psql_finding(&tools.version));
    let target = Target::new(parameters, tools, way.jobs);
    let left = findings.keep("postgres-connections", &place, target.connection_findings(&place).await);
    findings.all.extend(left.unwrap_or_default());
    let identifier = findings.keep("postgres-server", &place, target.identifier().await)?;
    Some((target, identifier))
}

/// Journals belong to the user who ran a restore; its databases are seen by all.
fn half_built_finding(name: &str) -> Finding {
    Finding::warning("restore-elsewhere", name, "another restore builds this database, or has left it half-built").hint(
        "see first that nobody else restores into this server, as another user or from another machine; what was left is \
         taken away by `restore --rollback` there, or by DROP DATABASE",
    )
}
