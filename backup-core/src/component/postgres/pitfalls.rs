//! What of a database pg_dump writes so that it can't be restored, or not at all, known before anybody needs it; and what
//! else its catalog says that a person should know.

use std::ops::Range;

use super::connection::Connection;
use super::{query_failed, sql};
use crate::Result;
use crate::finding::Finding;

/// Objects that can't come back.
struct Pitfall {
    code: &'static str,
    /// The server's versions that have such objects and write them so, as numbers like 150018.
    versions: Range<u32>,
    /// SQL that gives what they are called.
    objects: &'static str,
    message: &'static str,
    remedy: &'static str,
}

/// A function's own name and what it takes.
macro_rules! procedures {
    ($condition:literal) => {
        concat!(
            "SELECT p.oid::pg_catalog.regprocedure::text FROM pg_catalog.pg_proc p WHERE ",
            $condition,
            " AND p.oid >= 16384 AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.deptype = 'e' \
              AND d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid)"
        )
    };
}

/// What mends a constraint of a partitioned table, once it is restored.
const AGAIN: &str = "nothing is to be done now; after a restore drop it, and those of the partitions, and add it anew";

const PITFALLS: [Pitfall; 6] = [
    // Seen in 15.18, 17.10, 18.4 and 18.6: the server writes a body's reference to an argument without a name as "", where another
    // one has a name. Version 14 brought such bodies.
    Pitfall {
        code: "function-not-restorable",
        versions: 140_000..u32::MAX,
        objects: procedures!(
            "p.prosqlbody IS NOT NULL AND '' = ANY(p.proargnames) \
             AND pg_catalog.pg_get_function_sqlbody(p.oid) ~ '(^|[^\"])\"\"([^\"]|$)'"
        ),
        message: "its SQL body uses an argument without a name beside one that has a name, and pg_dump writes it so that it \
                  can't be restored",
        remedy: "CREATE OR REPLACE it with a name for each argument",
    },
    // Seen in 15.18 and 18.6: pg_dump leaves out the schema pg_catalog, whoever made what is in it.
    Pitfall {
        code: "not-dumped",
        versions: 0..u32::MAX,
        objects: procedures!("p.pronamespace = 11"),
        message: "pg_dump leaves out what stands in the schema pg_catalog, so it is not in the backup",
        remedy: "move it to another schema: ALTER FUNCTION … SET SCHEMA public",
    },
    Pitfall {
        code: "not-dumped",
        versions: 0..u32::MAX,
        objects: "SELECT c.oid::pg_catalog.regclass::text FROM pg_catalog.pg_class c \
            WHERE c.relnamespace = 11 AND c.oid >= 16384 AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND NOT EXISTS ( \
                SELECT FROM pg_catalog.pg_depend d WHERE d.deptype = 'e' \
                AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid)",
        message: "pg_dump leaves out what stands in the schema pg_catalog, so it is not in the backup, nor are its rows",
        remedy: "make it anew in another schema",
    },
    // Seen in 15.18 and 18.6: of a language whose functions it does not dump, pg_dump writes the name alone.
    Pitfall {
        code: "language-not-restorable",
        versions: 0..u32::MAX,
        objects: "SELECT l.lanname::text FROM pg_catalog.pg_language l WHERE l.lanispl AND l.oid >= 16384 \
            AND l.lanname NOT IN (SELECT name FROM pg_catalog.pg_available_extensions) \
            AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.deptype = 'e' \
                AND d.classid = 'pg_catalog.pg_language'::pg_catalog.regclass AND d.objid = l.oid) \
            AND EXISTS (SELECT FROM pg_catalog.pg_proc p WHERE p.oid IN (l.lanplcallfoid, l.laninline, l.lanvalidator) \
                AND (p.pronamespace = 11 OR EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.deptype = 'e' \
                    AND d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid)))",
        message: "it is a language whose functions are of an extension or of the schema pg_catalog, and pg_dump writes it so that \
                  it can't be restored",
        remedy: "make functions for it in another schema, and CREATE OR REPLACE LANGUAGE with them",
    },
    // Seen in 17.10 and 18.4, not in 18.6; version 17 brought them. "cannot attach index … The index definitions do not match."
    Pitfall {
        code: "constraint-not-restorable",
        versions: 170_000..180_006,
        objects: "SELECT pg_catalog.format('%I of %s', k.conname, k.conrelid::pg_catalog.regclass) FROM pg_catalog.pg_constraint k \
            JOIN pg_catalog.pg_class c ON c.oid = k.conrelid WHERE c.relkind = 'p' AND k.contype = 'x' AND k.conparentid = 0",
        message: "it is an exclusion constraint of a partitioned table: a restore brings back that of each partition, and can't \
                  attach them to the whole table's, which stays invalid",
        remedy: AGAIN,
    },
    // Seen in 18.4, not in 18.6; version 18 brought them. The same words.
    Pitfall {
        code: "constraint-not-restorable",
        versions: 180_000..180_006,
        objects: "SELECT pg_catalog.format('%I of %s', k.conname, k.conrelid::pg_catalog.regclass) FROM pg_catalog.pg_constraint k \
            JOIN pg_catalog.pg_class c ON c.oid = k.conrelid WHERE c.relkind = 'p' AND k.contype IN ('p', 'u') \
            AND k.conperiod AND k.conparentid = 0",
        message: "it is a temporal key (WITHOUT OVERLAPS) of a partitioned table: a restore brings back that of each partition, \
                  and can't attach them to the whole table's, which stays invalid",
        remedy: AGAIN,
    },
];

/// Looks for them in the database that `connection` is in; `version` is the server's, as a number.
///
/// # Errors
/// A failed query.
pub async fn pitfalls(connection: &Connection, database: &str, version: u32) -> Result<Vec<Finding>> {
    let doing = || format!("look into database {database}");
    let mut findings = Vec::new();
    for pitfall in PITFALLS.iter().filter(|pitfall| pitfall.versions.contains(&version)) {
        let query = format!("SELECT {} FROM ({}) o(name) ORDER BY 1", sql::bytes("o.name"), pitfall.objects);
        let rows = connection.query(&query, &[]).await.map_err(|error| query_failed(doing(), &error))?;
        findings.extend(rows.iter().map(|row| {
            let subject = format!("{database}: {}", sql::text(row.get(0)));
            Finding::warning(pitfall.code, subject, pitfall.message).hint(pitfall.remedy)
        }));
    }
    if version >= 150_000 {
        findings.extend(stale_collation(connection, database).await?);
    }
    if version >= 170_000 {
        findings.extend(login_triggers(connection, database).await?);
    }
    Ok(findings)
}

/// Whether the system sorts texts in another way than when the database was made, as after an upgrade of its C library or ICU.
async fn stale_collation(connection: &Connection, database: &str) -> Result<Option<Finding>> {
    let sql = "SELECT d.datcollversion, pg_catalog.pg_database_collation_actual_version(d.oid) FROM pg_catalog.pg_database d \
        WHERE d.datname = pg_catalog.current_database() AND d.datcollversion IS DISTINCT FROM \
            pg_catalog.pg_database_collation_actual_version(d.oid) AND d.datcollversion IS NOT NULL";
    let row = connection.query_opt(sql, &[]).await;
    let row = row.map_err(|error| query_failed(format!("look at the collation of {database}"), &error))?;
    Ok(row.map(|row| {
        let actual = row.get::<_, Option<&str>>(1).unwrap_or("none");
        let message = format!(
            "its collation was of version {} and is {actual} now, as after an upgrade of the system: the backup is sound, but \
             indexes of texts in the live database may be out of order",
            row.get::<_, &str>(0)
        );
        let name = sql::identifier(database);
        let hint = format!("REINDEX DATABASE {name}; then ALTER DATABASE {name} REFRESH COLLATION VERSION");
        Finding::info("collation-version", database, message).hint(hint)
    }))
}

/// Triggers on login that our sessions fire, since the user may not hold them off.
async fn login_triggers(connection: &Connection, database: &str) -> Result<Option<Finding>> {
    let sql = "SELECT pg_catalog.string_agg(e.evtname::text, ', ' ORDER BY e.evtname), pg_catalog.quote_ident(session_user) \
        FROM pg_catalog.pg_event_trigger e WHERE e.evtevent = 'login' AND e.evtenabled IN ('O', 'A') \
            AND pg_catalog.current_setting('event_triggers') = 'on' HAVING pg_catalog.count(*) > 0";
    let row = connection.query_opt(sql, &[]).await;
    let row = row.map_err(|error| query_failed(format!("look at the triggers on login of {database}"), &error))?;
    Ok(row.map(|row| {
        let (names, user) = (row.get::<_, &str>(0), row.get::<_, &str>(1));
        let message =
            format!("each session of a backup fires its triggers on login: {names}; {user} may not hold them off");
        let hint = format!("as a superuser: GRANT SET ON PARAMETER event_triggers TO {user}");
        Finding::info("login-triggers", database, message).hint(hint)
    }))
}

/// What pg_dump said, without what the server tells every session: that the collation is of another version, that a setting of the
/// database is none. Our own session has `greetings` of the same words, in whatever language.
pub(super) fn without_greetings(said: &str, greetings: &[String]) -> String {
    let left = greetings.iter().fold(format!("{said}\n"), |left, greeting| left.replace(greeting.as_str(), ""));
    left.trim().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_every_connection_is_told_is_left_out() {
        let greetings = [
            "WARNUNG:  Datenbank »a« hat eine andere Version\nDETAIL:  Die Datenbank\nHINT:  Bauen Sie\n",
            "WARNING:  permission denied to set role \"a\"\n",
        ]
        .map(String::from);
        let own = "WARNING:  invalid value for parameter \"x\": \"y\"\npg_dump: warning: another\nHINT:  its own";
        let said = format!("{0}{own}\n{1}{0}", greetings[0], greetings[1]);
        assert_eq!(without_greetings(said.trim_end(), &greetings), own);
        assert_eq!(without_greetings(own, &[]), own);
    }
}
