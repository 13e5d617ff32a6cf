//! What a server must have before databases can be put back, as findings; nothing is changed.

use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use super::Target;
use crate::Result;
use crate::bundle::manifest::postgres::{Database, Server};
use crate::component::postgres::connection::Connection;
use crate::component::postgres::{ServerFacts, Sign, bound, query_failed, sql};
use crate::finding::{Finding, bytes};
use crate::nearest::slip;

/// The first version whose new databases have a schema public that is not everybody's.
const CLOSED_PUBLIC: u32 = 15;
/// Connections that a restore needs beside those that load rows.
const BESIDE: i64 = 3;

/// Whether the server itself can take what `source` gave.
pub fn server_findings(facts: &ServerFacts, place: &str, source: Option<&Server>) -> Vec<Finding> {
    let mut findings = vec![Finding::ok("postgres-server", place, format!("PostgreSQL {}", facts.version))];
    if facts.standby {
        let finding = Finding::error("postgres-standby", place, "the server is a standby, which takes no changes");
        findings.push(finding.hint("name its primary, or promote it"));
    }
    if !facts.superuser {
        let message = "the connection's user is no superuser, and only one can bring back every object and its owner";
        findings.push(Finding::error("postgres-superuser", place, message).hint("run as the user postgres"));
    }
    if let Some(source) = source.filter(|source| facts.major() < source.version_number / 10_000) {
        let message =
            format!("the server is version {}, older than the one that was dumped, {}", facts.version, source.version);
        findings.push(
            Finding::error("postgres-older", place, message)
                .hint("restore into PostgreSQL of that version or a newer one"),
        );
    }
    let preload = source.map_or(&[][..], |source| &source.preload);
    let lacks: Vec<&str> = preload.iter().filter(|name| !facts.preload.contains(name)).map(String::as_str).collect();
    // Whoever may not ask a server what it loads is told that it loads nothing.
    if facts.superuser && !lacks.is_empty() {
        let message = format!("the server that was backed up preloads {}, and this one does not", lacks.join(", "));
        findings.push(Finding::info("postgres-preload", place, message).hint(
            "where something in the databases needs it: add it to shared_preload_libraries and restart PostgreSQL first",
        ));
    }
    findings.extend(source.and_then(|source| closed_public(facts, place, source)));
    findings
}

/// Up to version 14 every new schema public let everybody make tables in it, and a pg_dump of those versions writes nothing of
/// that. From 15 on nobody but the database's owner may.
fn closed_public(facts: &ServerFacts, place: &str, source: &Server) -> Option<Finding> {
    if facts.major() < CLOSED_PUBLIC || source.pg_dump_major() >= CLOSED_PUBLIC {
        return None;
    }
    let message = format!(
        "the bundle is of version {}, where everybody may make tables in schema public unless that was taken back; here \
         nobody but the database's owner may",
        source.version_number / 10_000
    );
    let finding = Finding::info("schema-public", place, message);
    Some(finding.hint("in a database whose roles need it, after the restore: GRANT CREATE ON SCHEMA public TO PUBLIC"))
}

/// What pg_dump of version 17 and newer sets first, older servers do not know, whatever the version of the bundle's server. Of a
/// script that is left out.
pub fn older_than_pg_dump(facts: &ServerFacts, place: &str, source: &Server) -> Option<Finding> {
    let by = source.pg_dump_major();
    if by < 17 || facts.major() >= 17 || facts.major() < source.version_number / 10_000 {
        return None;
    }
    let message =
        format!("the server is version {}, and pg_dump {by} wrote the bundle, for version 17 and newer", facts.version);
    let hint = format!(
        "restore into PostgreSQL 17 or newer; for backups that this server takes, install postgresql-client-{}",
        source.version_number / 10_000
    );
    Some(Finding::error("pg-dump-newer", place, message).hint(hint))
}

impl Target {
    /// The server's own identifier, which tells it from every other one.
    ///
    /// # Errors
    /// A failed query.
    pub async fn identifier(&self) -> Result<String> {
        let sql = "SELECT system_identifier::text FROM pg_catalog.pg_control_system()";
        let row = self.administer().await?.query_one(sql, &[]).await;
        Ok(row.map_err(|error| query_failed("ask the server for its identifier", &error))?.get(0))
    }

    /// Whether there are connections enough.
    ///
    /// # Errors
    /// A failed query.
    pub async fn connection_findings(&self, place: &str) -> Result<Vec<Finding>> {
        let sql = "SELECT pg_catalog.current_setting('max_connections')::int8 - \
            (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity WHERE backend_type = 'client backend')";
        let row = self.administer().await?.query_one(sql, &[]).await;
        let left: i64 = row.map_err(|error| query_failed("count the server's connections", &error))?.get(0);
        let needed = i64::try_from(self.jobs).unwrap_or(i64::MAX).saturating_add(BESIDE);
        if left >= needed {
            return Ok(Vec::new());
        }
        let message = format!("the server has {left} connections left, and the restore needs {needed}");
        Ok(vec![Finding::error("postgres-connections", place, message).hint("load with fewer: --jobs")])
    }

    /// What of `database` the server lacks: extensions, tablespace, locale. An extension may have no version.
    ///
    /// # Errors
    /// A failed query.
    pub async fn requirement_findings(&self, database: &Database) -> Result<Vec<Finding>> {
        let connection = self.administer().await?;
        let mut findings = extension_findings(&connection, database).await?;
        findings.extend(locale_findings(&connection, database).await?);
        for name in bound(&connection, &database.extensions, Sign::Names).await? {
            findings.extend(self.bound_finding(&database.name, &name).await?);
        }
        Ok(findings)
    }

    /// Why an extension can't be made in a database of any name; tried where nobody's has that name, and taken back.
    async fn bound_finding(&self, database: &str, name: &str) -> Result<Option<Finding>> {
        let connection = self.connect("template1").await?;
        // A schema of its own, for one that wants none in particular.
        let create = format!(
            "BEGIN; CREATE SCHEMA orchestrator_cli_restore; SET LOCAL search_path = orchestrator_cli_restore; \
             CREATE EXTENSION {} CASCADE; ROLLBACK",
            sql::identifier(name)
        );
        let refusal = match connection.batch_execute(&create).await {
            Ok(()) => return Ok(None),
            Err(error) => error,
        };
        // What is there already says nothing; what is not there at all is said elsewhere.
        let silent = [
            SqlState::DUPLICATE_OBJECT,
            SqlState::UNDEFINED_FILE,
            SqlState::FEATURE_NOT_SUPPORTED,
            SqlState::INSUFFICIENT_PRIVILEGE,
            SqlState::READ_ONLY_SQL_TRANSACTION,
        ];
        let answer = refusal.as_db_error().filter(|error| !silent.contains(error.code()));
        Ok(answer.map(|answer| {
            let subject = format!("{database}: extension {name}");
            let message = format!("it can't be made in a database of another name: {}", answer.message());
            Finding::error("extension-bound", subject, message).hint(
                "a restore builds under another name: restore this database by hand, as README.txt in the bundle says, and \
                 the others with --database",
            )
        }))
    }

    /// Those of `names`, which `subject` needs, that are no tablespaces of the server.
    ///
    /// # Errors
    /// A failed query.
    pub async fn tablespace_findings(&self, subject: &str, names: &[String]) -> Result<Vec<Finding>> {
        let sql = "SELECT wanted FROM unnest($1::text[]) AS wanted WHERE wanted NOT IN (SELECT spcname FROM pg_catalog.pg_tablespace)";
        let rows = self.administer().await?.query(sql, &[&names]).await;
        let rows = rows.map_err(|error| query_failed("look for the tablespaces", &error))?;
        let finding = |name: &str| {
            let finding = Finding::error("tablespace-missing", subject, format!("the server has no tablespace {name}"));
            finding.hint(
                "create it first, wherever this machine has room; databases/globals.sql in a bundle shows how it was",
            )
        };
        Ok(rows.iter().map(|row| finding(row.get(0))).collect())
    }

    /// The database that the server has, where a name that it has not is a slip for that one's.
    ///
    /// # Errors
    /// A failed query.
    pub async fn slip(&self, name: &str) -> Result<Option<String>> {
        let rows = self.administer().await?.query("SELECT datname::text FROM pg_catalog.pg_database", &[]).await;
        let rows = rows.map_err(|error| query_failed("list the server's databases", &error))?;
        let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        Ok(slip(name, names.iter().map(String::as_str)).map(Into::into))
    }

    /// The connection limit of database `name`, where there is such a database, and what stands against its stepping
    /// aside.
    ///
    /// # Errors
    /// A failed query.
    pub async fn occupant(&self, name: &str) -> Result<(Option<i32>, Vec<Finding>)> {
        let failed = |error| query_failed(format!("look at database {name}"), &error);
        let connection = self.administer().await?;
        let sql = "SELECT pg_catalog.pg_database_size(d.oid), \
            (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid), \
            (SELECT pg_catalog.count(*) FROM pg_catalog.pg_prepared_xacts p WHERE p.database = d.datname), \
            (SELECT pg_catalog.count(*) FROM pg_catalog.pg_subscription s WHERE s.subdbid = d.oid AND s.subenabled), \
            (SELECT pg_catalog.count(*) FROM pg_catalog.pg_replication_slots r WHERE r.database = d.datname), \
            d.datconnlimit FROM pg_catalog.pg_database d WHERE d.datname = $1";
        let Some(row) = connection.query_opt(sql, &[&name]).await.map_err(failed)? else {
            let message = "the server has no database of this name";
            return Ok((None, vec![Finding::info("database-new", name, message)]));
        };
        Ok((Some(row.get(5)), occupant_findings(name, &row)))
    }

    /// Whether some database's name ends in `ending`.
    ///
    /// # Errors
    /// A failed query.
    pub async fn has_name_with_ending(&self, ending: &str) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_database WHERE pg_catalog.right(datname::text, \
            pg_catalog.length($1)) = $1)";
        let row = self.administer().await?.query_one(sql, &[&ending]).await;
        Ok(row.map_err(|error| query_failed("look at the databases' names", &error))?.get(0))
    }

    /// Where the server keeps its data, if it may be told.
    ///
    /// # Errors
    /// A failed query.
    pub async fn data_directory(&self) -> Result<String> {
        let row = self.administer().await?.query_one("SELECT pg_catalog.current_setting('data_directory')", &[]).await;
        Ok(row.map_err(|error| query_failed("ask the server for its data directory", &error))?.get(0))
    }
}

fn occupant_findings(name: &str, row: &Row) -> Vec<Finding> {
    let [size, sessions, prepared, subscriptions, slots] = [0, 1, 2, 3, 4].map(|index| row.get::<_, i64>(index));
    let message = format!(
        "exists, {}, sessions: {sessions}; it steps aside in the swap, and its sessions are ended then",
        bytes(u64::try_from(size).unwrap_or(0))
    );
    let mut findings = vec![Finding::info("database-exists", name, message)];
    if prepared > 0 {
        let message = format!("it has {prepared} prepared transactions, and can't step aside with them");
        findings.push(
            Finding::error("prepared-transactions", name, message)
                .hint("SELECT gid FROM pg_prepared_xacts lists them; COMMIT PREPARED or ROLLBACK PREPARED each"),
        );
    }
    if subscriptions > 0 {
        let message = format!("it has {subscriptions} active subscriptions, which would go on writing to it");
        findings.push(
            Finding::error("active-subscriptions", name, message)
                .hint("in that database, ALTER SUBSCRIPTION … DISABLE each before the restore"),
        );
    }
    if slots > 0 {
        let message = format!("it has {slots} logical replication slots, which stay with it when it steps aside");
        findings.push(
            Finding::warning("replication-slots", name, message)
                .hint("their consumers must be set up anew; an active one must be dropped before `restore cleanup`"),
        );
    }
    findings
}

async fn extension_findings(connection: &Connection, database: &Database) -> Result<Vec<Finding>> {
    let names: Vec<&str> = database.extensions.iter().map(|extension| extension.name.as_str()).collect();
    let sql = "SELECT name::text, default_version FROM pg_catalog.pg_available_extensions WHERE name = ANY($1)";
    let rows = connection.query(sql, &[&names]).await;
    let rows = rows.map_err(|error| query_failed("look for the extensions", &error))?;
    let mut findings = Vec::new();
    for extension in &database.extensions {
        let subject = format!("{}: extension {}", database.name, extension.name);
        match rows.iter().find(|row| row.get::<_, &str>(0) == extension.name).map(|row| row.get::<_, Option<&str>>(1)) {
            None => findings.push(
                Finding::error("extension-missing", subject, "the server does not have it")
                    .hint("install the package that holds it for this version of PostgreSQL"),
            ),
            Some(version) if version != Some(&extension.version) && !extension.version.is_empty() => {
                let message =
                    format!("version {} takes the place of {}", version.unwrap_or("unknown"), extension.version);
                findings.push(Finding::info("extension-version", subject, message));
            }
            Some(_) => {}
        }
    }
    Ok(findings)
}

/// The locales that the server found on its system when it was made stand in the catalog of collations.
async fn locale_findings(connection: &Connection, database: &Database) -> Result<Vec<Finding>> {
    let (provider, name) = match (database.locale.provider.as_str(), &database.locale.name) {
        ("libc", _) => ("c", &database.locale.collate),
        ("icu", _) => ("i", &database.locale.collate),
        _ => return Ok(Vec::new()),
    };
    let plain = "pg_catalog.lower(pg_catalog.replace({}, '-', ''))";
    let sql = format!(
        "SELECT $2 = 'i' AND EXISTS (SELECT FROM pg_catalog.pg_collation WHERE collprovider = 'i') \
            OR $2 = 'c' AND ($1 IN ('C', 'POSIX') OR EXISTS (SELECT FROM pg_catalog.pg_collation \
                WHERE collprovider = 'c' AND {} = {}) OR EXISTS (SELECT FROM pg_catalog.pg_database WHERE datcollate = $1))",
        plain.replace("{}", "collcollate"),
        plain.replace("{}", "$1::text")
    );
    let row = connection.query_one(&sql, &[&name, &provider]).await;
    if row.map_err(|error| query_failed("look for the locale", &error))?.get(0) {
        return Ok(Vec::new());
    }
    let message = format!("the server does not know the locale {name} ({})", database.locale.provider);
    Ok(vec![Finding::error("locale-missing", &database.name, message).hint(
        "install it on the system (`locale-gen` on Debian and Ubuntu), restart PostgreSQL, then: SELECT \
         pg_import_system_collations('pg_catalog')",
    )])
}
