//! `globals.sql`: the roles that the databases need, and nothing of what the target has already.

use tokio_postgres::Row;

use super::connection::Connection;
use super::discover::{DatabaseFacts, ServerFacts};
use super::{grants, query_failed, session, sql};
use crate::Result;
use crate::finding::Finding;

/// Roles that own something in the databases `$1`, may use something, have settings there, or are named by settings or in `$2`; and
/// all that these are members of, have as members, or become by settings of theirs. Predefined roles exist everywhere and lead to nobody.
const NEEDED: &str = "WITH RECURSIVE become AS (SELECT s.setdatabase, s.setrole, r.oid AS role \
        FROM pg_catalog.pg_db_role_setting s, LATERAL pg_catalog.unnest(s.setconfig) AS c(text) JOIN pg_catalog.pg_roles r \
        ON c.text IN ('role=' || r.rolname::text, 'session_authorization=' || r.rolname::text)), needed(oid) AS (\
        SELECT d.refobjid FROM pg_catalog.pg_shdepend d WHERE d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass \
            AND (d.dbid = ANY($1) OR (d.classid = 'pg_catalog.pg_database'::pg_catalog.regclass AND d.objid = ANY($1))) \
        UNION SELECT datdba FROM pg_catalog.pg_database WHERE oid = ANY($1) \
        UNION SELECT subowner FROM pg_catalog.pg_subscription WHERE subdbid = ANY($1) \
        UNION SELECT setrole FROM pg_catalog.pg_db_role_setting WHERE setdatabase = ANY($1) AND setrole <> 0 \
        UNION SELECT oid FROM pg_catalog.pg_roles WHERE rolname = ANY($2) \
        UNION SELECT role FROM become WHERE setdatabase = ANY($1) \
        UNION SELECT l.oid FROM needed n, LATERAL ( \
            SELECT CASE WHEN m.member = n.oid THEN m.roleid ELSE m.member END FROM pg_catalog.pg_auth_members m \
                WHERE (m.member = n.oid OR m.roleid = n.oid) AND (n.oid = 10 OR n.oid >= 16384) \
            UNION ALL SELECT role FROM become WHERE setdatabase = 0 AND setrole = n.oid) AS l(oid))";

/// The script, and the names of the roles in it.
#[derive(Debug)]
pub(super) struct Globals {
    pub(super) script: String,
    pub(super) roles: Vec<String>,
    lacking: Lacking,
}

/// What of a server's roles a backup does not hold.
#[derive(Debug)]
pub struct Lacking {
    /// Those that may log in and whose password is not in it.
    pub passwords: Vec<String>,
    /// Grants, settings and labels that stand in no database.
    pub others: Vec<Finding>,
}

/// What a backup of `databases` would not hold of the server's roles.
///
/// # Errors
/// A failed query.
pub async fn lacking(
    connection: &Connection,
    server: &ServerFacts,
    databases: &[DatabaseFacts],
    passwords: bool,
) -> Result<Lacking> {
    Ok(globals(connection, databases, server.major(), passwords).await?.lacking)
}

/// Roles that functions of the connection's database become while they run.
///
/// # Errors
/// A failed query.
pub(crate) async fn roles_of_functions(connection: &Connection) -> Result<Vec<String>> {
    let sql = "SELECT DISTINCT pg_catalog.substr(c.text, pg_catalog.strpos(c.text, '=') + 1) \
        FROM pg_catalog.pg_proc p, LATERAL pg_catalog.unnest(p.proconfig) AS c(text) \
        WHERE p.oid >= 16384 AND pg_catalog.split_part(c.text, '=', 1) IN ('role', 'session_authorization')";
    let rows = connection.query(sql, &[]).await.map_err(|error| query_failed("look for roles of functions", &error))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Writes the roles that `databases` need. `passwords` may be asked for by a superuser alone.
pub(super) async fn globals(
    connection: &Connection,
    databases: &[DatabaseFacts],
    major: u32,
    passwords: bool,
) -> Result<Globals> {
    let become_roles: Vec<&str> = databases.iter().flat_map(|facts| &facts.become_roles).map(String::as_str).collect();
    let databases: Vec<u32> = databases.iter().map(|facts| facts.oid).collect();
    let (source, password) = if passwords { ("pg_authid", "r.rolpassword") } else { ("pg_roles", "NULL::text") };
    let query = format!(
        "{NEEDED} SELECT r.rolname::text, r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin, r.rolreplication, \
            r.rolbypassrls, r.rolconnlimit, r.rolvaliduntil::text, {password}, \
            pg_catalog.shobj_description(r.oid, 'pg_authid'), \
            (SELECT s.setconfig FROM pg_catalog.pg_db_role_setting s WHERE s.setrole = r.oid AND s.setdatabase = 0), \
            r.oid <> 10 \
         FROM pg_catalog.{source} r WHERE r.oid IN (SELECT oid FROM needed) AND r.rolname !~ '^pg_' \
         ORDER BY r.rolname COLLATE \"C\""
    );
    let failed = |error: tokio_postgres::Error| query_failed("read the roles", &error);
    let rows = connection.query(&query, &[&databases, &become_roles]).await.map_err(failed)?;
    let mut script = String::from(
        "-- The roles that the databases need. A role that exists already is left as it is, and so is who is a member\n\
         -- of it, unless the member is made here.\n",
    );
    script.push_str(&session::by_hand());
    script.push_str("SET client_encoding = 'UTF8';\nCREATE TEMPORARY TABLE created_roles (name text);\n\n");
    script.push_str(&tablespaces(connection).await?);
    rows.iter().for_each(|row| script.push_str(&role(row)));
    let options =
        if major >= 16 { "bool_or(m.inherit_option), bool_or(m.set_option)" } else { "NULL::bool, NULL::bool" };
    // One grant may be made by several roles; who made it is not kept, so the pair has what any of them gave.
    let query = format!(
        "{NEEDED} SELECT g.rolname::text, r.rolname::text, bool_or(m.admin_option), {options} FROM pg_catalog.pg_auth_members m \
         JOIN pg_catalog.pg_roles g ON g.oid = m.roleid JOIN pg_catalog.pg_roles r ON r.oid = m.member \
         WHERE m.roleid IN (SELECT oid FROM needed) AND m.member IN (SELECT oid FROM needed) \
         GROUP BY 1, 2 ORDER BY 1, 2"
    );
    let members = connection.query(&query, &[&databases, &become_roles]).await.map_err(failed)?;
    members.iter().for_each(|row| script.push_str(&membership(row)));
    // They may name any other role.
    rows.iter().for_each(|row| script.push_str(&settings(row)));
    // Every server has its first superuser, number 10, and a way in for it.
    let needs = |row: &&Row| row.get(5) && row.get::<_, Option<&str>>(10).is_none() && row.get(13);
    let open = rows.iter().filter(needs);
    let passwords = open.map(|row| row.get(0)).collect();
    let roles: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let mut others = grants::left_out(connection).await?;
    for grant in grants::list(connection, major).await? {
        match grant.script().filter(|_| grant.role.as_ref().is_some_and(|role| roles.contains(role))) {
            Some((condition, statement)) => script.push_str(&only_where(&condition, &statement)),
            None => others.push(grant.need()),
        }
    }
    Ok(Globals { script, roles, lacking: Lacking { passwords, others } })
}

/// The server's own tablespaces, as comments: where they lie on another machine is for a person to say.
async fn tablespaces(connection: &Connection) -> Result<String> {
    let query = "SELECT spcname::text, pg_catalog.pg_get_userbyid(spcowner)::text, pg_catalog.pg_tablespace_location(oid) \
        FROM pg_catalog.pg_tablespace WHERE spcname !~ '^pg_' ORDER BY spcname COLLATE \"C\"";
    let rows = connection.query(query, &[]).await.map_err(|error| query_failed("list the tablespaces", &error))?;
    if rows.is_empty() {
        return Ok(String::new());
    }
    let mut script = String::from(
        "-- The source has these tablespaces, and what lies in one needs it. Create them first, wherever this machine has\n\
         -- room; without them delete TABLESPACE from create.sql and the lines with default_tablespace from pre-data.sql.\n",
    );
    for row in &rows {
        let [name, owner, location] = [0, 1, 2].map(|index| row.get::<_, &str>(index).replace(['\n', '\r'], " "));
        let (name, owner) = (sql::identifier(&name), sql::identifier(&owner));
        script
            .push_str(&format!("--   CREATE TABLESPACE {name} OWNER {owner} LOCATION {};\n", sql::literal(&location)));
    }
    script.push('\n');
    Ok(script)
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
    create.push_str(&format!("    INSERT INTO pg_temp.created_roles VALUES ({});\n", sql::literal(&name)));
    only_where(
        &format!("NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {})", sql::literal(&name)),
        &create,
    )
}

/// What its sessions begin with, where it is made here.
fn settings(row: &Row) -> String {
    let name: &str = row.get(0);
    let setting = |setting: &String| {
        let (key, value) = setting.split_once('=').unwrap_or((setting, ""));
        let (name, value) = (setting_name(key), setting_value(key, value));
        format!("    ALTER ROLE {} SET {name} TO {value};\n", sql::identifier(row.get(0)))
    };
    let all: String = row.get::<_, Option<Vec<String>>>(12).iter().flatten().map(setting).collect();
    let made = format!("EXISTS (SELECT FROM pg_temp.created_roles WHERE name = {})", sql::literal(name));
    if all.is_empty() { all } else { only_where(&made, &all) }
}

/// A block that runs `statements` where `condition` holds.
fn only_where(condition: &str, statements: &str) -> String {
    let body = format!("BEGIN\n  IF {condition} THEN\n{statements}  END IF;\nEND\n");
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

/// Settings whose values are lists of names, those that `pg_dump` knows.
const LISTS: [&str; 6] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// The catalog keeps a list as text with each name quoted already; as one literal it would become one name. Any user
/// can write the text, so nothing of it is taken over as SQL.
fn setting_value(key: &str, value: &str) -> String {
    match LISTS.contains(&key.to_ascii_lowercase().as_str()).then(|| sql::names(value)).flatten() {
        Some(names) => names.iter().map(|name| sql::literal(name)).collect::<Vec<_>>().join(", "),
        None => sql::literal(value),
    }
}

fn membership(row: &Row) -> String {
    let (group, member): (&str, &str) = (row.get(0), row.get(1));
    let (admin, inherit, set): (bool, Option<bool>, Option<bool>) = (row.get(2), row.get(3), row.get(4));
    // Before version 16 the other two options did not exist.
    let options = match (inherit.zip(set), admin) {
        (Some((inherit, set)), _) => format!(" WITH ADMIN {admin}, INHERIT {inherit}, SET {set}"),
        (None, true) => " WITH ADMIN OPTION".into(),
        (None, false) => String::new(),
    };
    let grant = format!("    GRANT {} TO {}{options};\n", sql::identifier(group), sql::identifier(member));
    let (group, member) = (sql::literal(group), sql::literal(member));
    only_where(&format!("EXISTS (SELECT FROM pg_temp.created_roles WHERE name IN ({group}, {member}))"), &grant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_list_is_taken_over_as_sql() {
        for (value, expected) in [
            (r#""$user", public"#, "'$user', 'public'"),
            (r#""""#, "''"),
            ("x;ALTER/**/ROLE/**/a/**/SUPERUSER", "'x;ALTER/**/ROLE/**/a/**/SUPERUSER'"),
            (r#""a""b, c",d"#, r#"'a"b, c', 'd'"#),
            (r#""never ends"#, r#"'"never ends'"#),
            ("", "''"),
        ] {
            assert_eq!(setting_value("search_path", value), expected);
        }
        assert_eq!(setting_value("work_mem", "a, b"), "'a, b'");
    }
}
