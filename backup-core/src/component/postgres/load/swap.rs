//! The swap: all databases take their names in one transaction, and those that had them step aside.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Target;
use super::shadow::exists;
use crate::component::postgres::connection::Connection;
use crate::component::postgres::{query_failed, sql};
use crate::{Error, Kind, Result};

/// How often sessions are ended while a statement waits for their end.
const PAUSE: Duration = Duration::from_millis(50);
const END_SESSIONS: &str = "SELECT pg_catalog.count(pg_catalog.pg_terminate_backend(pid)) FROM pg_catalog.pg_stat_activity \
    WHERE datname = ANY($1) AND pid <> pg_catalog.pg_backend_pid()";
/// How long a statement may wait for a lock that somebody else has.
const PATIENCE: &str = "SET lock_timeout = '10s'";

/// The names that a database and the one before it go by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// The name that it is to have.
    pub name: String,
    /// The name that it is built under.
    pub shadow: String,
    /// The connection limit that it is to have, -1 for none.
    pub connection_limit: i32,
    /// The name that the database goes by afterwards which has the name now, if there is one.
    pub before: Option<String>,
}

/// Whether all have their names.
///
/// # Errors
/// Where that can't be seen.
pub async fn swapped(target: &Target, all: &[Names]) -> Result<bool> {
    let connection = target.administer().await?;
    for names in all {
        if !is_swapped(&connection, names).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn is_swapped(connection: &Connection, names: &Names) -> Result<bool> {
    Ok(!exists(connection, &names.shadow).await? && exists(connection, &names.name).await?)
}

/// Gives every database its name, in one transaction. Sessions of those that step aside are ended.
///
/// # Errors
/// The server's words; nothing has another name then.
pub async fn swap(target: &Target, all: &[Names]) -> Result<()> {
    let mut renames = Vec::new();
    let mut databases = Vec::new();
    for names in all {
        databases.extend([names.name.as_str(), names.shadow.as_str()]);
        let [name, shadow] = [&names.name, &names.shadow].map(|name| sql::identifier(name));
        if let Some(before) = &names.before {
            renames.push(format!("ALTER DATABASE {name} RENAME TO {}", sql::identifier(before)));
        }
        renames.push(format!("ALTER DATABASE {shadow} RENAME TO {name}"));
        renames.push(format!("ALTER DATABASE {name} CONNECTION LIMIT {}", names.connection_limit));
    }
    rename(target, &databases, &renames).await
}

/// Gives every database the name back that it had before the swap, in one transaction, whether or not it took place.
///
/// # Errors
/// The server's words; [`Kind::Refused`] where a database that had stepped aside is gone.
pub async fn swap_back(target: &Target, all: &[Names]) -> Result<()> {
    let connection = target.administer().await?;
    let mut renames = Vec::new();
    let mut databases = Vec::new();
    for names in all {
        check_way_back(&connection, names).await?;
        let [name, shadow] = [&names.name, &names.shadow].map(|name| sql::identifier(name));
        if is_swapped(&connection, names).await? {
            databases.push(names.name.as_str());
            renames.push(format!("ALTER DATABASE {name} RENAME TO {shadow}"));
        }
        // It has stepped aside, whatever has become of what took its place.
        if let Some(before) = &names.before
            && exists(&connection, before).await?
        {
            databases.push(before);
            renames.push(format!("ALTER DATABASE {} RENAME TO {name}", sql::identifier(before)));
        }
    }
    if renames.is_empty() { Ok(()) } else { rename(target, &databases, &renames).await }
}

/// Makes sure that what had the names before can have them back.
///
/// # Errors
/// [`Kind::Refused`] where a database that had stepped aside is gone.
pub async fn check_ways_back(target: &Target, all: &[Names]) -> Result<()> {
    let connection = target.administer().await?;
    for names in all {
        check_way_back(&connection, names).await?;
    }
    Ok(())
}

async fn check_way_back(connection: &Connection, names: &Names) -> Result<()> {
    let Some(before) = &names.before else { return Ok(()) };
    if is_swapped(connection, names).await? && !exists(connection, before).await? {
        let error = Error::new(Kind::Refused, format!("bring database {} back: {before} is gone", names.name));
        return Err(error.hint("once it is dropped, what was there before can't be returned to"));
    }
    Ok(())
}

async fn rename(target: &Target, databases: &[&str], renames: &[String]) -> Result<()> {
    let transaction = format!("BEGIN; {}; COMMIT", renames.join("; "));
    run_without_sessions(target, databases, &transaction, "rename the databases".into()).await
}

/// Ends every session in `databases` and waits until they are gone.
pub(super) async fn end_sessions(connection: &Connection, databases: &[&str]) -> Result<()> {
    loop {
        let ended = connection.query_one(END_SESSIONS, &[&databases]).await;
        let ended =
            ended.map_err(|error| query_failed(format!("end the sessions in {}", databases.join(", ")), &error))?;
        if ended.get::<_, i64>(0) == 0 {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Runs a statement that wants `databases` for itself, and ends their sessions until it is done.
///
/// The statement locks a database first and then waits some seconds for its sessions to end; from the lock on the server
/// lets no new one in. So they are ended while it waits, and nothing has to be closed that a crash would leave closed.
pub(super) async fn run_without_sessions(
    target: &Target,
    databases: &[&str],
    statement: &str,
    doing: String,
) -> Result<()> {
    let (connection, other) = tokio::try_join!(target.administer(), target.administer())?;
    // While it waits for its lock, logins to a live database wait behind it.
    let patience = connection.batch_execute(PATIENCE).await;
    patience.map_err(|error| query_failed(doing.clone(), &error))?;
    let mut statement = std::pin::pin!(connection.batch_execute(statement));
    let mut pauses = tokio::time::interval(PAUSE);
    loop {
        tokio::select! {
            done = &mut statement => {
                return done.map_err(|error| {
                    query_failed(doing, &error).hint(
                        "something holds a database: a transaction elsewhere (pg_locks shows it), a prepared one, a slot; \
                         when it is gone, run the same command with --resume, or --rollback",
                    )
                });
            }
            _ = pauses.tick() => {
                let ended = other.query(END_SESSIONS, &[&databases]).await;
                ended.map_err(|error| query_failed(format!("end the sessions in {}", databases.join(", ")), &error))?;
            }
        }
    }
}
