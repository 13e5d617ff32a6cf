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

/// What sessions of the connection's database begin with, of the settings that decide what values mean. What the connection's
/// own user has otherwise is left aside; where only the server's configuration could tell what others have, it is left out.
///
/// # Errors
/// A failed query.
pub(crate) async fn session(connection: &Connection) -> Result<BTreeMap<String, String>> {
    // A worker takes the settings of this very session for those that it began with.
    let alone = "SET max_parallel_workers_per_gather = 0";
    let others = "SELECT pg_catalog.lower(pg_catalog.split_part(c.text, '=', 1)) AS name, \
            pg_catalog.substr(c.text, pg_catalog.strpos(c.text, '=') + 1) AS value, s.setdatabase, s.setrole \
        FROM pg_catalog.pg_db_role_setting s, LATERAL pg_catalog.unnest(s.setconfig) AS c(text) WHERE s.setdatabase IN \
            (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()))";
    let sql = format!(
        "WITH others AS ({others}), own AS (SELECT name FROM others WHERE setrole = \
            (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = session_user)) \
         SELECT s.name, CASE WHEN pg_catalog.lower(s.name) NOT IN (SELECT name FROM own) THEN s.reset_val ELSE \
            (SELECT o.value FROM others o WHERE o.setrole = 0 AND o.name = pg_catalog.lower(s.name) \
             ORDER BY o.setdatabase DESC LIMIT 1) END \
         FROM pg_catalog.pg_settings s WHERE s.name = ANY($1)"
    );
    let failed = |error| query_failed("ask for the sessions' settings", &error);
    connection.batch_execute(alone).await.map_err(failed)?;
    let names = MEANING.as_slice();
    let rows = connection.query(&sql, &[&names]).await.map_err(failed)?;
    connection.batch_execute("RESET max_parallel_workers_per_gather").await.map_err(failed)?;
    Ok(rows.iter().filter_map(|row| Some((row.get(0), row.get::<_, Option<String>>(1)?))).collect())
}

/// A session's options without those that decide what values mean: what whoever runs us prefers must not become what the
/// values of a database mean.
pub(super) fn without(options: &str) -> String {
    let decides = |setting: &str| {
        let name = setting.split('=').next().unwrap_or_default().replace('-', "_");
        MEANING.iter().any(|known| known.eq_ignore_ascii_case(&name))
    };
    let mut kept = Vec::new();
    let mut words = words(options).into_iter();
    while let Some(word) = words.next() {
        let (switch, setting) = match (word, word.strip_prefix("-c").or_else(|| word.strip_prefix("--"))) {
            ("-c", _) => (word, words.next().unwrap_or_default()),
            // European dates.
            ("-e", _) => continue,
            (_, Some(setting)) => ("", setting),
            (_, None) => ("", ""),
        };
        match (decides(setting), switch) {
            (true, _) => {}
            (false, "") => kept.push(word),
            (false, switch) => kept.extend([switch, setting]),
        }
    }
    kept.join(" ")
}

/// The words of options, as the server takes them apart: a space after a backslash is part of one.
fn words(options: &str) -> Vec<&str> {
    let mut escaped = false;
    let end = |c: char| {
        let ends = c.is_ascii_whitespace() && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    };
    options.split(end).filter(|word| !word.is_empty()).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_lose_what_decides_the_meaning_of_values_and_nothing_else() {
        for (options, kept) in [
            ("", ""),
            ("-c timezone=America/New_York", ""),
            ("-cTimeZone=UTC -c work_mem=8MB", "-c work_mem=8MB"),
            (r"--datestyle=SQL,\ DMY --work-mem=1MB", "--work-mem=1MB"),
            ("--extra-float-digits=0  -e -c  search_path=a\\ b,timezone=c", r"-c search_path=a\ b,timezone=c"),
            ("-c intervalstyle=iso_8601 -c role=x -B 100", "-c role=x -B 100"),
        ] {
            assert_eq!(without(options), kept, "{options}");
        }
    }
}
