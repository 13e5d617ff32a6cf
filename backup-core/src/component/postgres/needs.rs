//! What a restore needs of another server that no bundle holds.

use super::connection::Connection;
use super::{DatabaseFacts, ServerFacts};
use crate::Result;
use crate::bundle::manifest::postgres::Extension;
use crate::finding::Finding;

/// The extension that every server has.
const BUILT_IN: &str = "plpgsql";

/// What of one database: extensions, and a tablespace; `bound` are those that want a database of a certain name.
pub(super) fn of_database(facts: &DatabaseFacts, extensions: &[Extension], bound: &[String]) -> Vec<Finding> {
    let mut needs: Vec<Finding> = extensions
        .iter()
        .filter(|extension| extension.name != BUILT_IN)
        .map(|extension| {
            let subject = format!("{}: extension {}", facts.name, extension.name);
            let message = format!("a restore needs its package on the server, version {}", extension.version);
            Finding::info("needs-extension", subject, message)
        })
        .collect();
    needs.extend(bound.iter().map(|name| {
        let subject = format!("{}: extension {name}", facts.name);
        let message = "it may want a database of this very name, and a restore builds under another one first: it is \
            refused then, and the database is restored by hand";
        Finding::info("needs-database-name", subject, message).hint("README.txt in the bundle says how; try it once")
    }));
    if !facts.tablespace.starts_with("pg_") {
        let message = format!("a restore needs the tablespace {} on the server", facts.tablespace);
        needs.push(Finding::info("needs-tablespace", &facts.name, message));
    }
    needs
}

/// What of the roles: passwords, unless they are captured, and what is granted to none of a bundle's.
pub(super) async fn of_roles(
    connection: &Connection,
    server: &ServerFacts,
    databases: &[DatabaseFacts],
    passwords: bool,
) -> Result<Vec<Finding>> {
    let lacking = super::lacking(connection, server, databases, passwords).await?;
    let need = |name: &String| {
        let message = "a restore needs its password, if it logs in with one";
        Finding::info("needs-password", format!("role {name}"), message)
            .hint("postgres.role_passwords in the settings captures it")
    };
    Ok(lacking.passwords.iter().map(need).chain(lacking.others).collect())
}
