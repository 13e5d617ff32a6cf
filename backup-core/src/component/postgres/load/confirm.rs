//! A last look at a database under its own name.

use std::path::Path;

use super::Target;
use crate::Result;
use crate::bundle::manifest::postgres::{Database, Table};
use crate::component::postgres::connection::Connection;
use crate::component::postgres::{discover, query_failed, session, sql};
use crate::finding::Finding;

/// The code of a finding that an extension has another version: the newest that the server has, as wherever one is made.
pub(crate) const EXTENSION_VERSION: &str = "extension-version";

impl Target {
    /// Holds database `name` against what the manifest says of it: owner, connection limit, extensions.
    ///
    /// # Errors
    /// Where it can't be connected to.
    pub async fn confirm(&self, name: &str, expected: &Database) -> Result<Vec<Finding>> {
        let connection = self.ask(name).await?;
        let sql = "SELECT pg_catalog.pg_get_userbyid(datdba)::text, datconnlimit FROM pg_catalog.pg_database \
            WHERE datname = pg_catalog.current_database()";
        let row = connection.query_one(sql, &[]).await;
        let row = row.map_err(|error| query_failed(format!("look at database {name}"), &error))?;
        let (owner, limit): (String, i32) = (row.get(0), row.get(1));
        let mut findings = Vec::new();
        let mut differs = |code: &str, what: &str, found: &str, expected: &str| {
            if found != expected {
                findings.push(Finding::warning(code, name, format!("its {what} is {found}, and was {expected}")));
            }
        };
        differs("database-differs", "owner", &owner, &expected.owner);
        let limits = [limit, expected.connection_limit].map(|limit| limit.to_string());
        differs("database-differs", "connection limit", &limits[0], &limits[1]);
        let found = discover::extensions(&connection).await?;
        for extension in &expected.extensions {
            let what = format!("extension {}", extension.name);
            match found.iter().find(|other| other.name == extension.name) {
                Some(found) => differs(EXTENSION_VERSION, &what, &found.version, &extension.version),
                None => differs("database-differs", &what, "missing", &extension.version),
            }
        }
        findings.extend(emptied(&connection, name, expected).await?);
        Ok(findings)
    }

    /// Whether a query says true of a database.
    ///
    /// # Errors
    /// Where it fails, or gives anything but one truth value.
    pub async fn holds(&self, database: &str, query: &str) -> Result<bool> {
        let connection = self.connect(database).await?;
        // Whoever asks does so as in psql.
        let reset = connection.batch_execute(&format!("RESET search_path; {}", session::AS_USERS)).await;
        reset.map_err(|error| query_failed("ask the assertion", &error))?;
        let row = connection.query_one(query, &[]).await;
        let row = row.map_err(|error| query_failed("ask the assertion", &error))?;
        let said = row.try_get::<_, Option<bool>>(0);
        Ok(said.map_err(|error| query_failed("ask the assertion for true or false", &error))?.unwrap_or(false))
    }

    /// Makes a tablespace.
    ///
    /// # Errors
    /// The server's words.
    pub async fn create_tablespace(&self, name: &str, directory: &Path) -> Result<()> {
        let location = sql::literal(&directory.display().to_string());
        let connection = self.administer().await?;
        let created =
            connection.batch_execute(&format!("CREATE TABLESPACE {} LOCATION {location}", sql::identifier(name))).await;
        created.map_err(|error| query_failed(format!("create tablespace {name}"), &error))
    }
}

/// Unlogged tables that a crash of the server has emptied after they were compared.
async fn emptied(connection: &Connection, name: &str, expected: &Database) -> Result<Vec<Finding>> {
    let [schema, table] = ["n.nspname::text", "c.relname::text"].map(sql::bytes);
    let query = format!(
        "SELECT {schema}, {table} FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind = 'r' AND c.relpersistence = 'u' AND pg_catalog.pg_relation_size(c.oid) = 0"
    );
    let rows = connection.query(&query, &[]).await;
    let rows = rows.map_err(|error| query_failed(format!("look at database {name}"), &error))?;
    let empty: Vec<(String, String)> = rows.iter().map(|row| (sql::text(row.get(0)), sql::text(row.get(1)))).collect();
    let emptied = expected.tables.iter().filter(|table| {
        table.rows > 0 && empty.iter().any(|(schema, name)| *schema == table.schema && *name == table.name)
    });
    let finding = |table: &Table| {
        let subject = format!("{name}: {}.{}", table.schema, table.name);
        Finding::warning("unlogged-emptied", subject, "the server crashed meanwhile, which empties unlogged tables")
            .hint("restore anew if its rows matter")
    };
    Ok(emptied.map(finding).collect())
}
