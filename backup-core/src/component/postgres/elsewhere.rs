//! Materialized views whose rows are not of their database alone. A restore fills them while it builds the database under another
//! name and the one before it is still live: what they ask of another database, or of their own's name, may be wrong.

use super::connection::Connection;
use super::{query_failed, sql};
use crate::Result;
use crate::bundle::manifest::postgres::{Database, Elsewhere};
use crate::finding::Finding;

/// The code of the finding that one must be filled once more.
const REFRESH_LATER: &str = "refresh-later";
/// The code of the finding that something is to be made, or filled, once what it lacks is there.
pub(super) const LEFT_FOR_LATER: &str = "left-for-later";

/// Those that are filled, and what each reads beside its database; one that reads another comes after it.
///
/// # Errors
/// A failed query.
pub(crate) async fn elsewhere(connection: &Connection) -> Result<Vec<Elsewhere>> {
    let sql = format!(
        "WITH RECURSIVE reads(view, class, oid) AS ( \
            SELECT c.oid, 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid, c.oid FROM pg_catalog.pg_class c \
            WHERE c.relkind = 'm' AND c.relispopulated \
            UNION SELECT r.view, d.class, d.oid FROM reads r, LATERAL ( \
                SELECT d.refclassid, d.refobjid FROM pg_catalog.pg_rewrite w JOIN pg_catalog.pg_depend d ON d.objid = w.oid \
                    AND d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass \
                WHERE w.ev_class = r.oid AND r.class = 'pg_catalog.pg_class'::pg_catalog.regclass \
                UNION ALL SELECT d.refclassid, d.refobjid FROM pg_catalog.pg_depend d WHERE d.objid = r.oid \
                    AND d.classid = r.class AND r.class <> 'pg_catalog.pg_class'::pg_catalog.regclass \
                UNION ALL SELECT r.class, i.inhrelid FROM pg_catalog.pg_inherits i \
                WHERE i.inhparent = r.oid AND r.class = 'pg_catalog.pg_class'::pg_catalog.regclass) AS d(class, oid) \
            WHERE d.class IN ('pg_catalog.pg_class'::pg_catalog.regclass, 'pg_catalog.pg_proc'::pg_catalog.regclass, \
                'pg_catalog.pg_operator'::pg_catalog.regclass)), \
         said(view, oid, what) AS ( \
            SELECT r.view, r.oid, CASE WHEN c.relkind = 'f' THEN 'foreign table ' || c.oid::pg_catalog.regclass \
                WHEN c.relkind IN ('v', 'm') AND pg_catalog.pg_get_viewdef(c.oid) ~* '\\mcurrent_(database|catalog)\\M' \
                    THEN 'the name of its database' END \
            FROM reads r JOIN pg_catalog.pg_class c ON c.oid = r.oid AND r.class = 'pg_catalog.pg_class'::pg_catalog.regclass \
            UNION ALL SELECT r.view, r.oid, CASE WHEN e.extname = 'dblink' THEN 'another database, by dblink' \
                WHEN e.oid IS NULL AND t.text ~* '\\mdblink' THEN 'another database, by dblink in function ' || p.proname \
                WHEN e.oid IS NULL AND t.text ~* '\\mcurrent_(database|catalog)\\M' \
                    THEN 'the name of its database, in function ' || p.proname END \
            FROM reads r JOIN pg_catalog.pg_proc p ON p.oid = r.oid AND r.class = 'pg_catalog.pg_proc'::pg_catalog.regclass \
            LEFT JOIN pg_catalog.pg_depend d ON d.classid = r.class AND d.objid = p.oid AND d.deptype = 'e' \
            LEFT JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid, \
            LATERAL (SELECT CASE WHEN p.oid >= 16384 AND p.prokind IN ('f', 'p') \
                THEN pg_catalog.pg_get_functiondef(p.oid) END AS text) t) \
         SELECT {}, {} FROM said s WHERE s.what IS NOT NULL GROUP BY s.view \
         ORDER BY (SELECT pg_catalog.count(*) FROM reads r WHERE r.view = s.view), 1",
        sql::bytes("s.view::pg_catalog.regclass::text"),
        sql::bytes("pg_catalog.string_agg(DISTINCT s.what, ', ')")
    );
    let rows = connection.query(&sql, &[]).await;
    let rows = rows.map_err(|error| query_failed("look what materialized views read", &error))?;
    Ok(rows.iter().map(|row| Elsewhere { view: sql::text(row.get(0)), reads: sql::text(row.get(1)) }).collect())
}

/// That a view must be filled once more after a restore of `database`.
pub(crate) fn before_restore(database: &str, one: &Elsewhere) -> Finding {
    let message = format!("it reads {}: a restore can't fill it rightly before the databases are swapped", one.reads);
    let finding = Finding::info(REFRESH_LATER, subject(database, one), message);
    finding.hint(format!("after a restore, run in database {database}: {}", refresh(one)))
}

/// The same, once it is restored.
pub(super) fn after_restore(database: &str, one: &Elsewhere) -> Finding {
    let message = format!("it reads {}, and was filled before the swap: its rows may be wrong", one.reads);
    let finding = Finding::warning(REFRESH_LATER, subject(database, one), message);
    finding.hint(format!("once all databases are restored, run in database {database}: {}", refresh(one)))
}

/// Whether a finding of a restore is about a view that reads elsewhere: that it must be filled once more, or could not be filled.
pub(crate) fn is_of_elsewhere(finding: &Finding, databases: &[Database]) -> bool {
    let fills = |one: &Elsewhere| finding.hint.as_ref().is_some_and(|hint| hint.ends_with(&refresh(one)));
    let views = || databases.iter().flat_map(|database| &database.elsewhere);
    finding.code == REFRESH_LATER || (finding.code == LEFT_FOR_LATER && views().any(fills))
}

fn subject(database: &str, one: &Elsewhere) -> String {
    format!("{database}: materialized view {}", one.view)
}

fn refresh(one: &Elsewhere) -> String {
    format!("REFRESH MATERIALIZED VIEW {};", one.view)
}
