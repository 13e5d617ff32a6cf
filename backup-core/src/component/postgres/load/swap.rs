//! The swap: all databases take their names in one transaction, and those that had them step aside.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Target;
use super::shadow::exists;
use crate::component::postgres::connection::Connection;
use crate::component::postgres::{query_failed, sql};
use crate::{Error, Kind, Result};

/// How long sessions get to end.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(50);

/// The names that a database and the one before it go by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// The name that it is to have.
    pub name: String,
    /// The name that it is built under.
    pub shadow: String,
    /// The connection limit that it is to have, -1 for none.
    pub connection_limit: i32,
    /// The one that has the name now, if there is one.
    pub live: Option<Live>,
}

/// A database whose name another one takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// The name that it goes by afterwards.
    pub before: String,
    /// Whether it takes connections.
    pub connectable: bool,
}

/// Whether all have their names.
///
/// # Errors
/// Where that can't be seen.
pub async fn swapped(target: &Target, all: &[Names]) -> Result<bool> {
    let connection = target.administer().await?;
    for names in all {
        if exists(&connection, &names.shadow).await? || !exists(&connection, &names.name).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Gives every database its name, in one transaction. Sessions of those that step aside are ended, and none gets in
/// until it is done; where it fails they get in again.
///
/// # Errors
/// The server's words; nothing has another name then.
pub async fn swap(target: &Target, all: &[Names]) -> Result<()> {
    let connection = target.administer().await?;
    let live: Vec<&str> = all.iter().filter(|names| names.live.is_some()).map(|names| names.name.as_str()).collect();
    let shadows = all.iter().map(|names| names.shadow.as_str());
    let mut renames = String::from("BEGIN;");
    for names in all {
        let [name, shadow] = [&names.name, &names.shadow].map(|name| sql::identifier(name));
        if let Some(Live { before, connectable }) = &names.live {
            let before = sql::identifier(before);
            renames.push_str(&format!(
                "ALTER DATABASE {name} RENAME TO {before}; ALTER DATABASE {before} ALLOW_CONNECTIONS {connectable};"
            ));
        }
        renames.push_str(&format!(
            "ALTER DATABASE {shadow} RENAME TO {name}; ALTER DATABASE {name} CONNECTION LIMIT {};",
            names.connection_limit
        ));
    }
    renames.push_str("COMMIT");
    let done = async {
        allow(&connection, &live, |_| false).await?;
        end_sessions(&connection, &live.iter().copied().chain(shadows).collect::<Vec<_>>()).await?;
        rename(&connection, &renames).await
    };
    let done = done.await;
    if done.is_err() {
        // What the resumed or undone plan does again anyway, so that nobody stands before a closed door until then.
        let _ = let_in(target, all).await;
    }
    done
}

/// Gives every database the name back that it had before the swap, in one transaction, whether or not it took place.
///
/// # Errors
/// The server's words; [`Kind::Refused`] where a database that had stepped aside is gone.
pub async fn swap_back(target: &Target, all: &[Names]) -> Result<()> {
    let connection = target.administer().await?;
    let mut taken = Vec::new();
    for names in all {
        if exists(&connection, &names.shadow).await? || !exists(&connection, &names.name).await? {
            continue;
        }
        match &names.live {
            Some(live) if !exists(&connection, &live.before).await? => {
                return Err(Error::new(
                    Kind::Refused,
                    format!("bring database {} back: {} is gone", names.name, live.before),
                )
                .hint("once `restore cleanup` has dropped it, what was there before can't be returned to"));
            }
            _ => taken.push(names),
        }
    }
    if taken.is_empty() {
        return let_in(target, all).await;
    }
    let live: Vec<&str> = taken.iter().map(|names| names.name.as_str()).collect();
    let before = taken.iter().filter_map(|names| names.live.as_ref()).map(|live| live.before.as_str());
    let mut renames = String::from("BEGIN;");
    for names in &taken {
        let [name, shadow] = [&names.name, &names.shadow].map(|name| sql::identifier(name));
        renames.push_str(&format!(
            "ALTER DATABASE {name} RENAME TO {shadow}; ALTER DATABASE {shadow} ALLOW_CONNECTIONS true;"
        ));
        if let Some(Live { before, connectable }) = &names.live {
            let before = sql::identifier(before);
            renames.push_str(&format!(
                "ALTER DATABASE {before} RENAME TO {name}; ALTER DATABASE {name} ALLOW_CONNECTIONS {connectable};"
            ));
        }
    }
    renames.push_str("COMMIT");
    let all_of_them: Vec<&str> = live.iter().copied().chain(before).collect();
    let done = async {
        allow(&connection, &all_of_them, |_| false).await?;
        end_sessions(&connection, &all_of_them).await?;
        rename(&connection, &renames).await
    };
    done.await
}

/// Lets sessions into the databases that still have their names as they did before.
async fn let_in(target: &Target, all: &[Names]) -> Result<()> {
    let connection = target.administer().await?;
    let mut live = Vec::new();
    for names in all.iter().filter(|names| names.live.is_some()) {
        if exists(&connection, &names.shadow).await? && exists(&connection, &names.name).await? {
            live.push(names.name.as_str());
        }
    }
    let connectable = |name: &str| {
        let names = all.iter().find(|names| names.name == name);
        names.and_then(|names| names.live.as_ref()).is_none_or(|live| live.connectable)
    };
    allow(&connection, &live, connectable).await
}

async fn allow(connection: &Connection, databases: &[&str], connectable: impl Fn(&str) -> bool) -> Result<()> {
    for name in databases {
        let allow = format!("ALTER DATABASE {} ALLOW_CONNECTIONS {}", sql::identifier(name), connectable(name));
        let allowed = connection.batch_execute(&allow).await;
        allowed.map_err(|error| query_failed(format!("hold sessions off database {name}"), &error))?;
    }
    Ok(())
}

async fn rename(connection: &Connection, renames: &str) -> Result<()> {
    let renamed = connection.batch_execute(renames).await;
    if renamed.is_err() {
        let _ = connection.batch_execute("ROLLBACK").await;
    }
    renamed.map_err(|error| {
        query_failed("rename the databases", &error)
            .hint("a session, a prepared transaction or a subscription may hold one of them: see the cause above")
    })
}

/// Ends every session in `databases` and waits until they are gone.
pub(super) async fn end_sessions(connection: &Connection, databases: &[&str]) -> Result<()> {
    let sql = "SELECT pg_catalog.count(pg_catalog.pg_terminate_backend(pid)) FROM pg_catalog.pg_stat_activity \
        WHERE datname = ANY($1) AND pid <> pg_catalog.pg_backend_pid()";
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let row = connection.query_one(sql, &[&databases]).await;
        let left: i64 = row.map_err(|error| query_failed("end the sessions", &error))?.get(0);
        if left == 0 {
            return Ok(());
        }
        if tokio::time::Instant::now() > deadline {
            return Err(Error::new(
                Kind::Failed,
                format!("end the sessions in {}: {left} are still there", databases.join(", ")),
            )
            .hint("SELECT * FROM pg_stat_activity shows them; stop what makes them, then go on with --resume"));
        }
        tokio::time::sleep(PAUSE).await;
    }
}
