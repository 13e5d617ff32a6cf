//! Extensions that can be made only in a database of a certain name, which a restore, building under another one, never has.

use super::connection::Connection;
use super::query_failed;
use crate::Result;
use crate::bundle::manifest::postgres::Extension;

/// One that is known for it, wherever its script may not be read: it wants the database that `cron.database_name` names.
const KNOWN: &str = "pg_cron";

/// What in an extension's script gives it away.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sign {
    /// It asks for the database's name while it runs.
    Asks,
    /// The name stands anywhere in it, in the body of a function perhaps.
    Names,
}

/// Those of `extensions` that may be made only in a database of a certain name, by what their scripts on the server say.
///
/// # Errors
/// A failed query.
pub(crate) async fn bound(connection: &Connection, extensions: &[Extension], sign: Sign) -> Result<Vec<String>> {
    let names: Vec<&str> = extensions.iter().map(|extension| extension.name.as_str()).collect();
    let failed = |error| query_failed("look into the extensions' scripts", &error);
    let may = "SELECT pg_catalog.has_function_privilege('pg_catalog.pg_read_binary_file(text)', 'EXECUTE') \
        AND pg_catalog.has_function_privilege('pg_catalog.pg_ls_dir(text)', 'EXECUTE') \
        AND pg_catalog.has_function_privilege('pg_catalog.pg_config()', 'EXECUTE')";
    let mut found: Vec<String> = names.iter().filter(|name| **name == KNOWN).map(|name| (*name).into()).collect();
    if names.is_empty() || !connection.query_one(may, &[]).await.map_err(failed)?.get::<_, bool>(0) {
        return Ok(found);
    }
    let sign = match sign {
        Sign::Asks => r"(^|\n)\s*DO\s[^;]*?\$.*?current_(database|catalog)",
        Sign::Names => "current_(database|catalog)",
    };
    // `name--1.0.sql` makes it, `name--1.0--1.1.sql` does not. The server tests conditions in any order but for those of a CASE:
    // it would read all extensions' scripts, of which some may be going away.
    let sql = "SELECT DISTINCT e.name FROM pg_catalog.unnest($1::pg_catalog.text[]) AS e(name), \
        (SELECT setting || '/extension' AS path FROM pg_catalog.pg_config() WHERE name = 'SHAREDIR') AS directory, \
        LATERAL pg_catalog.pg_ls_dir(directory.path) AS f(file) \
        WHERE CASE WHEN pg_catalog.starts_with(f.file, e.name || '--') AND f.file ~ '\\.sql$' \
            AND pg_catalog.strpos(pg_catalog.substr(f.file, pg_catalog.length(e.name) + 3), '--') = 0 \
            THEN pg_catalog.encode(pg_catalog.pg_read_binary_file(directory.path || '/' || f.file), 'escape') ~* $2 END";
    let rows = connection.query(sql, &[&names, &sign]).await.map_err(failed)?;
    found.extend(rows.iter().map(|row| row.get(0)));
    found.sort();
    found.dedup();
    Ok(found)
}
