//! What decides the meaning of values and is not in them: settings of sessions, and which of them matter to a database.

use std::collections::BTreeMap;

use super::connection::Connection;
use super::query_failed;
use super::tables::USER_SCHEMA;
use crate::Result;

/// Settings that decide what values mean: how they are read and written, and what is computed of them.
const MEANING: [&str; 11] = [
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "bytea_output",
    "default_text_search_config",
    "extra_float_digits",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "timezone_abbreviations",
    "xmlbinary",
];

/// What sessions of the connection's database begin with, of the settings that decide what values mean; but those that the
/// connection's own user has otherwise.
///
/// # Errors
/// A failed query.
pub(crate) async fn session(connection: &Connection) -> Result<BTreeMap<String, String>> {
    let sql = "SELECT s.name, s.reset_val FROM pg_catalog.pg_settings s WHERE s.name = ANY($1) AND s.reset_val IS NOT NULL \
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_db_role_setting r JOIN pg_catalog.pg_roles u ON u.oid = r.setrole, \
            LATERAL pg_catalog.unnest(r.setconfig) AS c(text) WHERE u.rolname = session_user \
            AND pg_catalog.lower(pg_catalog.split_part(c.text, '=', 1)) = pg_catalog.lower(s.name))";
    let names = MEANING.as_slice();
    let rows = connection.query(sql, &[&names]).await;
    let rows = rows.map_err(|error| query_failed("ask for the sessions' settings", &error))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Whether anything in the connection's database is an amount of money, or made of some.
///
/// # Errors
/// A failed query.
pub(crate) async fn has_money(connection: &Connection) -> Result<bool> {
    let sql = format!(
        "WITH RECURSIVE money(oid) AS (SELECT 'pg_catalog.money'::pg_catalog.regtype::pg_catalog.oid UNION \
            SELECT t.oid FROM money m, LATERAL (\
                SELECT t.oid FROM pg_catalog.pg_type t WHERE m.oid IN (t.typelem, t.typbasetype) \
                UNION ALL SELECT r.rngtypid FROM pg_catalog.pg_range r WHERE r.rngsubtype = m.oid \
                UNION ALL SELECT c.reltype FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
                    WHERE a.atttypid = m.oid AND a.attnum > 0 AND NOT a.attisdropped) t) \
         SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
            JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
            WHERE a.atttypid IN (SELECT oid FROM money) AND a.attnum > 0 AND NOT a.attisdropped AND {USER_SCHEMA})"
    );
    let row = connection.query_one(&sql, &[]).await;
    Ok(row.map_err(|error| query_failed("look for amounts of money", &error))?.get(0))
}
