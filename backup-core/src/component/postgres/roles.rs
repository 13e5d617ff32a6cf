//! `globals.sql`: the roles that the databases need, and nothing of what the target has already.

use tokio_postgres::Row;

use super::connection::Connection;
use super::{query_failed, sql};
use crate::Result;

/// Roles that own something in the databases `$1`, may use something, have settings there, and all that these are members of or have as
/// members. Predefined roles exist everywhere and lead to nobody.
const NEEDED: &str = "WITH RECURSIVE needed(oid) AS (\
        SELECT d.refobjid FROM pg_catalog.pg_shdepend d WHERE d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass \
            AND (d.dbid = ANY($1) OR (d.classid = 'pg_catalog.pg_database'::pg_catalog.regclass AND d.objid = ANY($1))) \
        UNION SELECT datdba FROM pg_catalog.pg_database WHERE oid = ANY($1) \
        UNION SELECT setrole FROM pg_catalog.pg_db_role_setting WHERE setdatabase = ANY($1) AND setrole <> 0 \
        UNION SELECT CASE WHEN m.member = n.oid THEN m.roleid ELSE m.member END \
            FROM needed n JOIN pg_catalog.pg_auth_members m ON m.member = n.oid OR m.roleid = n.oid \
            WHERE n.oid = 10 OR n.oid >= 16384)";

/// The script, and the names of the roles in it.
#[derive(Debug)]
pub(super) struct Globals {
    pub(super) script: String,
    pub(super) roles: Vec<String>,
}

/// Writes the roles that `databases` need. `passwords` may be asked for by a superuser alone.
pub(super) async fn globals(
    connection: &Connection,
    databases: &[u32],
    major: u32,
    passwords: bool,
) -> Result<Globals> {
    let (source, password) = if passwords { ("pg_authid", "r.rolpassword") } else { ("pg_roles", "NULL::text") };
    let query = format!(
        "{NEEDED} SELECT r.rolname::text, r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin, r.rolreplication, \
            r.rolbypassrls, r.rolconnlimit, r.rolvaliduntil::text, {password}, \
            pg_catalog.shobj_description(r.oid, 'pg_authid'), \
            (SELECT s.setconfig FROM pg_catalog.pg_db_role_setting s WHERE s.setrole = r.oid AND s.setdatabase = 0) \
         FROM pg_catalog.{source} r WHERE r.oid IN (SELECT oid FROM needed) AND r.rolname !~ '^pg_' \
         ORDER BY r.rolname COLLATE \"C\""
    );
    let failed = |error: tokio_postgres::Error| query_failed("read the roles", &error);
    let rows = connection.query(&query, &[&databases]).await.map_err(failed)?;
    let mut script = String::from(
        "-- The roles that the databases need. A role that exists already is left as it is.\n\
         SET client_encoding = 'UTF8';\nSET standard_conforming_strings = on;\n\n",
    );
    rows.iter().for_each(|row| script.push_str(&role(row)));
    let options = if major >= 16 { "m.inherit_option, m.set_option" } else { "true, true" };
    let query = format!(
        "{NEEDED} SELECT DISTINCT g.rolname::text, r.rolname::text, m.admin_option, {options} FROM pg_catalog.pg_auth_members m \
         JOIN pg_catalog.pg_roles g ON g.oid = m.roleid JOIN pg_catalog.pg_roles r ON r.oid = m.member \
         WHERE m.roleid IN (SELECT oid FROM needed) AND m.member IN (SELECT oid FROM needed) ORDER BY 1, 2"
    );
    let members = connection.query(&query, &[&databases]).await.map_err(failed)?;
    members.iter().for_each(|row| script.push_str(&membership(row, major)));
    Ok(Globals { script, roles: rows.iter().map(|row| row.get(0)).collect() })
}

fn role(row: &Row) -> String {
    let name: String = row.get(0);
    let quoted = sql::identifier(&name);
    let words = ["SUPERUSER", "INHERIT", "CREATEROLE", "CREATEDB", "LOGIN", "REPLICATION", "BYPASSRLS"];
    let attributes: Vec<String> = words
        .iter()
        .enumerate()
        .map(|(index, word)| format!("{}{word}", if row.get::<_, bool>(index + 1) { "" } else { "NO" }))
        .collect();
    let mut create =
        format!("    CREATE ROLE {quoted} WITH {} CONNECTION LIMIT {}", attributes.join(" "), row.get::<_, i32>(8));
    if let Some(until) = row.get::<_, Option<String>>(9) {
        create.push_str(&format!(" VALID UNTIL {}", sql::literal(&until)));
    }
    if let Some(password) = row.get::<_, Option<String>>(10) {
        create.push_str(&format!(" PASSWORD {}", sql::literal(&password)));
    }
    create.push_str(";\n");
    if let Some(comment) = row.get::<_, Option<String>>(11) {
        create.push_str(&format!("    COMMENT ON ROLE {quoted} IS {};\n", sql::literal(&comment)));
    }
    for setting in row.get::<_, Option<Vec<String>>>(12).unwrap_or_default() {
        let (key, value) = setting.split_once('=').unwrap_or((&setting, ""));
        create.push_str(&format!(
            "    ALTER ROLE {quoted} SET {} TO {};\n",
            setting_name(key),
            setting_value(key, value)
        ));
    }
    let body = format!(
        "BEGIN\n  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {}) THEN\n{create}  END IF;\nEND\n",
        sql::literal(&name)
    );
    let mut tag = "$role$".to_owned();
    while body.contains(&tag) {
        tag.insert(1, 'x');
    }
    format!("DO {tag}\n{body}{tag};\n\n")
}

/// Settings of extensions have a dot in their names.
fn setting_name(key: &str) -> String {
    key.split('.').map(sql::identifier).collect::<Vec<_>>().join(".")
}

/// The catalog keeps lists of names with each name quoted already; as one literal they would become one name.
fn setting_value(key: &str, value: &str) -> String {
    let lists = ["search_path", "temp_tablespaces", "session_preload_libraries", "local_preload_libraries"];
    if lists.contains(&key.to_ascii_lowercase().as_str()) && !value.is_empty() {
        value.into()
    } else {
        sql::literal(value)
    }
}

fn membership(row: &Row, major: u32) -> String {
    let (group, member): (&str, &str) = (row.get(0), row.get(1));
    let (admin, inherit, set): (bool, bool, bool) = (row.get(2), row.get(3), row.get(4));
    let options = match (major >= 16, admin) {
        (true, _) if !inherit || !set => format!(" WITH ADMIN {admin}, INHERIT {inherit}, SET {set}"),
        (_, true) => " WITH ADMIN OPTION".into(),
        _ => String::new(),
    };
    format!("GRANT {} TO {}{options};\n", sql::identifier(group), sql::identifier(member))
}
