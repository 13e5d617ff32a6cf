//! What a server is, which databases it has, and what of them must be known beside their content.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use tokio_postgres::Row;

use super::connection::Connection;
use super::tables::{EXTENSION_JOINS, NOT_AN_EXTENSIONS, READABLE, USER_SCHEMA};
use super::{OLDEST, query_failed, sql};
use crate::bundle::manifest::postgres::{Extension, Locale, Setting};
use crate::cluster::secret::{HIDDEN, is_secret, may_hold_a_secret};
use crate::finding::Finding;
use crate::{Error, Kind, Result};

/// A server.
#[derive(Debug, Clone)]
pub struct ServerFacts {
    /// Its version as it states it.
    pub version: String,
    /// Its version as a number, such as 150018.
    pub number: u32,
    /// Whether it is a standby.
    pub standby: bool,
    /// Whether we may read every table and role.
    pub superuser: bool,
    /// Libraries that it loads when it starts, without which some objects can't be made; none where we may not ask.
    pub preload: Vec<String>,
}

impl ServerFacts {
    /// The major version.
    pub fn major(&self) -> u32 {
        self.number / 10_000
    }
}

/// A database, as the server's shared catalogs describe it.
#[derive(Debug, Clone)]
pub struct DatabaseFacts {
    /// Its name.
    pub name: String,
    /// Its object identifier.
    pub oid: u32,
    /// Owner, encoding, tablespace, comment.
    pub owner: String,
    /// Encoding.
    pub encoding: String,
    /// Locale.
    pub locale: Locale,
    /// Default tablespace.
    pub tablespace: String,
    /// Most connections, -1 for no limit.
    pub connection_limit: i32,
    /// Privileges.
    pub privileges: Vec<String>,
    /// Comment.
    pub comment: Option<String>,
    /// Size in bytes; 0 where we may not ask.
    pub size: u64,
    /// Settings.
    pub settings: Vec<Setting>,
    /// What its sessions begin with, of the settings that decide what values mean; empty until that has been asked in it.
    pub session: BTreeMap<String, String>,
    /// Whether it has amounts of money.
    pub money: bool,
    /// Roles that its functions become; empty until that has been asked in it.
    pub become_roles: Vec<String>,
}

/// Asks a server what it is.
///
/// # Errors
/// [`Kind::Unsupported`] where it is older than version 12.
pub async fn server(connection: &Connection) -> Result<ServerFacts> {
    let sql = "SELECT pg_catalog.current_setting('server_version'), pg_catalog.current_setting('server_version_num')::int4, \
        pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('is_superuser') = 'on', \
        (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'shared_preload_libraries')";
    let row =
        connection.query_one(sql, &[]).await.map_err(|error| query_failed("ask the server for its version", &error))?;
    let facts = ServerFacts {
        version: row.get(0),
        number: u32::try_from(row.get::<_, i32>(1)).unwrap_or(0),
        standby: row.get(2),
        superuser: row.get(3),
        preload: row.get::<_, Option<&str>>(4).and_then(sql::names).unwrap_or_default(),
    };
    if facts.major() < OLDEST {
        return Err(Error::new(Kind::Unsupported, format!("the PostgreSQL server is version {}", facts.version))
            .hint("this tool captures version 12 and newer; upgrade the server, or dump it with its own pg_dump"));
    }
    Ok(facts)
}

/// The databases to capture: those of `wanted`, or else every one but the templates that each server has, and an untouched
/// `postgres`. Databases that take no connections are findings.
///
/// # Errors
/// [`Kind::NotFound`] where one of `wanted` does not exist, [`Kind::Unsupported`] where it can't be captured.
pub async fn databases(
    connection: &Connection,
    server: &ServerFacts,
    wanted: &[String],
) -> Result<(Vec<DatabaseFacts>, Vec<Finding>)> {
    let mut all = list(connection, server, wanted).await?;
    let names = all.iter().map(|(facts, _)| facts.name.as_str()).collect::<Vec<_>>().join(", ");
    let mut findings = Vec::new();
    let mut chosen = Vec::new();
    if !wanted.is_empty() {
        for name in wanted {
            match all.iter().position(|(facts, _)| facts.name == *name) {
                Some(index) => chosen.push(all.swap_remove(index).0),
                None if chosen.iter().any(|facts: &DatabaseFacts| facts.name == *name) => {}
                None => {
                    return Err(Error::new(
                        Kind::NotFound,
                        format!("database {name}: the server has no such database"),
                    )
                    .hint(format!("it has {names}")));
                }
            }
        }
        if let Some((facts, why)) = chosen.iter().find_map(|facts| Some((facts, unsupported(facts)?))) {
            let error = Error::new(Kind::Unsupported, format!("capture database {}: {why}", facts.name));
            return Err(error.hint(UNSUPPORTED));
        }
        return Ok((chosen, findings));
    }
    for (facts, connectable) in all {
        if let Some(why) = unsupported(&facts) {
            let message = format!("{why}, so it is not in the backup");
            findings.push(Finding::warning("database-unsupported", &facts.name, message).hint(UNSUPPORTED));
        } else if is_leftover(&facts.name) {
            let message = "a restore has left it, and it is not in the backup";
            let finding = Finding::info("database-aside", &facts.name, message);
            findings.push(finding.hint("`restore cleanup` drops it; --database captures it all the same"));
        } else if connectable {
            chosen.push(facts);
        } else {
            findings.push(
                Finding::warning(
                    "database-closed",
                    &facts.name,
                    "the database takes no connections and is not in the backup",
                )
                .hint("ALTER DATABASE … ALLOW_CONNECTIONS true lets it be captured"),
            );
        }
    }
    Ok((chosen, findings))
}

const UNSUPPORTED: &str =
    "ALTER DATABASE … RENAME TO gives it another name; of encoding MULE_INTERNAL back it up by hand";

/// Why the database can't be captured by anybody's `pg_dump`, or not by way of UTF-8.
fn unsupported(facts: &DatabaseFacts) -> Option<&'static str> {
    match facts.name.contains(['\n', '\r']) {
        true => Some("pg_dump takes no name with a line break in it"),
        false => (facts.encoding == "MULE_INTERNAL").then_some("its encoding can't be read as UTF-8"),
    }
}

/// What a restore puts into the names of what it builds, and of what steps aside.
const INFIXES: [&str; 2] = ["_restore_", "_before_"];

/// Names of databases that a restore builds, or has left half-built.
///
/// # Errors
/// A failed query.
pub(crate) async fn half_built(connection: &Connection) -> Result<Vec<String>> {
    let rows = connection.query("SELECT datname::text FROM pg_catalog.pg_database ORDER BY 1", &[]).await;
    let rows = rows.map_err(|error| query_failed("list the server's databases", &error))?;
    Ok(rows.iter().map(|row| row.get(0)).filter(|name: &String| is_named(name, &INFIXES[..1])).collect())
}

/// What every new database has, and what drops it: a database in which somebody dropped it must not have it again.
const BUILT_IN: [(&str, &str, &str); 2] = [
    ("schema public", "SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'public'", "DROP SCHEMA public"),
    ("extension plpgsql", "SELECT FROM pg_catalog.pg_extension WHERE extname = 'plpgsql'", "DROP EXTENSION plpgsql"),
];

/// What of that the database lacks that `connection` is in.
pub(super) async fn dropped(connection: &Connection) -> Result<Vec<String>> {
    let tests = BUILT_IN.map(|(_, there, _)| format!("NOT EXISTS ({there})")).join(", ");
    let row = connection.query_one(&format!("SELECT {tests}"), &[]).await;
    let row = row.map_err(|error| query_failed("look for what every database has", &error))?;
    let all = BUILT_IN.iter().enumerate();
    Ok(all.filter(|(index, _)| row.get(*index)).map(|(_, (name, ..))| String::from(*name)).collect())
}

/// The statements that drop it from a new database. What is not known here stays.
pub(super) fn drops(dropped: &[String]) -> impl Iterator<Item = &'static str> + '_ {
    let known = |name: &String| BUILT_IN.iter().find(|(known, ..)| known == name).map(|(.., drop)| *drop);
    dropped.iter().filter_map(known)
}

/// Whether the server has a database of this name.
pub(super) async fn exists(connection: &Connection, name: &str) -> Result<bool> {
    let row = connection.query_opt("SELECT FROM pg_catalog.pg_database WHERE datname = $1", &[&name]).await;
    row.map(|row| row.is_some()).map_err(|error| query_failed(format!("look for database {name}"), &error))
}

/// Whether a name is one that a restore gives to what it builds or to what steps aside.
fn is_leftover(name: &str) -> bool {
    is_named(name, &INFIXES)
}

fn is_named(name: &str, infixes: &[&str]) -> bool {
    let time = |text: &str| {
        text.len() == 16
            && text.bytes().enumerate().all(|(at, byte)| match at {
                8 => byte == b'T',
                15 => byte == b'Z',
                _ => byte.is_ascii_digit(),
            })
    };
    infixes.iter().any(|infix| name.rsplit_once(infix).is_some_and(|(_, rest)| time(rest)))
}

/// The databases, and whether they take connections; the templates that every server has only where `wanted` names them. A limit of -2 marks
/// what an interrupted DROP DATABASE has left.
async fn list(connection: &Connection, server: &ServerFacts, wanted: &[String]) -> Result<Vec<(DatabaseFacts, bool)>> {
    let major = server.major();
    let provider = if major >= 15 { "d.datlocprovider::text" } else { "'c'" };
    let locale = match major {
        17.. => "d.datlocale",
        15 | 16 => "d.daticulocale",
        _ => "NULL::text",
    };
    let version = if major >= 15 { "d.datcollversion" } else { "NULL::text" };
    let sql = format!(
        "SELECT d.datname::text, d.oid, pg_catalog.pg_get_userbyid(d.datdba)::text, pg_catalog.pg_encoding_to_char(d.encoding)::text, \
            {provider}, d.datcollate::text, d.datctype::text, {locale}, {version}, t.spcname::text, d.datconnlimit, d.datacl::text[], \
            pg_catalog.shobj_description(d.oid, 'pg_database'), d.datallowconn AND d.datconnlimit <> -2, \
            CASE WHEN pg_catalog.has_database_privilege(d.oid, 'CONNECT') THEN pg_catalog.pg_database_size(d.oid) ELSE 0 END \
         FROM pg_catalog.pg_database d JOIN pg_catalog.pg_tablespace t ON t.oid = d.dattablespace \
         WHERE d.datname NOT IN ('template0', 'template1') OR d.datname = ANY($1) ORDER BY d.datname COLLATE \"C\""
    );
    let failed = |error: tokio_postgres::Error| query_failed("list the server's databases", &error);
    let rows = connection.query(&sql, &[&wanted]).await.map_err(failed)?;
    let mut settings = all_settings(connection).await?;
    Ok(rows.iter().map(|row| (facts(row, &mut settings), row.get(13))).collect())
}

fn facts(row: &Row, settings: &mut BTreeMap<u32, Vec<Setting>>) -> DatabaseFacts {
    let oid = row.get(1);
    let provider = match row.get::<_, &str>(4) {
        "i" => "icu",
        "b" => "builtin",
        _ => "libc",
    };
    DatabaseFacts {
        name: row.get(0),
        oid,
        owner: row.get(2),
        encoding: row.get(3),
        locale: Locale {
            provider: provider.into(),
            collate: row.get(5),
            ctype: row.get(6),
            name: row.get(7),
            version: row.get(8),
        },
        tablespace: row.get(9),
        connection_limit: row.get(10),
        privileges: row.get::<_, Option<Vec<String>>>(11).unwrap_or_default(),
        comment: row.get(12),
        size: u64::try_from(row.get::<_, i64>(14)).unwrap_or(0),
        settings: settings.remove(&oid).unwrap_or_default(),
        session: BTreeMap::new(),
        money: false,
        become_roles: Vec::new(),
    }
}

async fn all_settings(connection: &Connection) -> Result<BTreeMap<u32, Vec<Setting>>> {
    let sql = "SELECT s.setdatabase, r.rolname::text, pg_catalog.unnest(s.setconfig) \
        FROM pg_catalog.pg_db_role_setting s LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole WHERE s.setdatabase <> 0";
    let rows =
        connection.query(sql, &[]).await.map_err(|error| query_failed("read the databases' settings", &error))?;
    let mut settings: BTreeMap<u32, Vec<Setting>> = BTreeMap::new();
    for row in rows {
        let text: &str = row.get(2);
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let value = if is_secret(name) || may_hold_a_secret(value) { HIDDEN } else { value };
        let setting = Setting { role: row.get(1), name: name.into(), value: value.into() };
        settings.entry(row.get(0)).or_default().push(setting);
    }
    Ok(settings)
}

/// Whether the database that `connection` is in holds nothing that a user made.
pub(crate) async fn is_untouched(connection: &Connection) -> Result<bool> {
    // 16384 is the first object identifier that is given out after initdb.
    let catalogs = [
        "pg_class WHERE relnamespace <> 99 AND",
        "pg_namespace WHERE nspname !~ '^pg_(toast_)?temp_' AND",
        "pg_proc WHERE",
        "pg_type WHERE",
        "pg_operator WHERE",
        "pg_cast WHERE",
        "pg_collation WHERE",
        "pg_ts_config WHERE",
        "pg_extension WHERE",
        "pg_foreign_data_wrapper WHERE",
        "pg_publication WHERE",
        "pg_event_trigger WHERE",
        "pg_default_acl WHERE",
        "pg_largeobject_metadata WHERE",
    ];
    let none = catalogs.map(|catalog| format!("NOT EXISTS (SELECT FROM pg_catalog.{catalog} oid >= 16384)"));
    let sql = format!(
        "SELECT {} AND NOT EXISTS (SELECT FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid \
            WHERE d.datname = pg_catalog.current_database())
         AND NOT EXISTS (SELECT FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase \
            WHERE d.datname = pg_catalog.current_database())",
        none.join(" AND ")
    );
    let row =
        connection.query_one(&sql, &[]).await.map_err(|error| query_failed("look into database postgres", &error))?;
    Ok(row.get(0))
}

pub(crate) async fn extensions(connection: &Connection) -> Result<Vec<Extension>> {
    let schema = sql::bytes("n.nspname::text");
    let sql = format!(
        "SELECT e.extname::text, e.extversion, {schema} FROM pg_catalog.pg_extension e \
         JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace ORDER BY e.extname COLLATE \"C\""
    );
    let rows = connection.query(&sql, &[]).await.map_err(|error| query_failed("list the extensions", &error))?;
    Ok(rows
        .iter()
        .map(|row| Extension { name: row.get(0), version: row.get(1), schema: sql::text(row.get(2)) })
        .collect())
}

/// Tables and sequences of the database that `connection` is in, which a backup would fail to read.
///
/// # Errors
/// A failed query.
pub async fn access_problems(connection: &Connection, database: &str) -> Result<Vec<Finding>> {
    let qualified = sql::bytes("s.qualified");
    let unreadable = format!(
        "SELECT {qualified}, NOT s.readable FROM (\
            SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) AS qualified, \
                pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT') AS readable, \
                c.relkind = 'r' AND pg_catalog.row_security_active(c.oid) AS secured \
            FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
            {EXTENSION_JOINS} WHERE c.relkind IN ('r', 'p', 'S') AND {READABLE} AND {USER_SCHEMA} AND {NOT_AN_EXTENSIONS}) s \
         WHERE NOT s.readable OR s.secured ORDER BY s.qualified COLLATE \"C\""
    );
    let rows = connection
        .query(&unreadable, &[])
        .await
        .map_err(|error| query_failed(format!("look into database {database}"), &error))?;
    let closed = closed_large_objects(connection).await?;
    let finding = |row: &Row| {
        let subject = format!("{database}: {}", sql::text(row.get(0)));
        if row.get(1) {
            Finding::error("no-permission", subject, "the connection's user may not read it")
                .hint("run as a superuser, or GRANT pg_read_all_data to the user")
        } else {
            Finding::error("row-security", subject, "row security would hide rows from the connection's user")
                .hint("run as a superuser or as a role with BYPASSRLS")
        }
    };
    let mut problems: Vec<Finding> = rows.iter().map(finding).collect();
    if closed > 0 {
        let message = format!("the connection's user may not read {closed} of its large objects");
        let hint = "run as a superuser, or as their owner, or GRANT SELECT ON LARGE OBJECT to the user";
        problems.push(Finding::error("no-permission", database, message).hint(hint));
    }
    Ok(problems)
}

/// How many large objects the connection's user may not read.
async fn closed_large_objects(connection: &Connection) -> Result<i64> {
    let sql = "SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata l \
        WHERE NOT pg_catalog.pg_has_role(l.lomowner, 'USAGE') AND NOT EXISTS ( \
            SELECT FROM pg_catalog.aclexplode(l.lomacl) a WHERE a.privilege_type = 'SELECT' \
            AND CASE WHEN a.grantee = 0 THEN true ELSE pg_catalog.pg_has_role(a.grantee, 'USAGE') END)";
    let row =
        connection.query_one(sql, &[]).await.map_err(|error| query_failed("look at the large objects", &error))?;
    Ok(row.get(0))
}

/// When a snapshot was taken and where the write-ahead log stood.
pub(super) async fn position(connection: &Connection) -> Result<(DateTime<Utc>, Option<String>)> {
    let sql = "SELECT pg_catalog.clock_timestamp(), \
        CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_lsn() END::text";
    let row = connection
        .query_one(sql, &[])
        .await
        .map_err(|error| query_failed("ask the server for its position", &error))?;
    Ok((row.get(0), row.get(1)))
}
