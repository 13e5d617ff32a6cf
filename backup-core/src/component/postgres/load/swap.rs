//! The swap: all databases take their names in one transaction, and those that had them step aside.

use serde::{Deserialize, Serialize};

use super::Target;
use super::sessions::run_without_sessions;
use super::shadow::is_invalid;
use crate::component::postgres::connection::Connection;
use crate::component::postgres::discover::exists;
use crate::component::postgres::sql;
use crate::{Error, Kind, Result};

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
pub(in super::super) async fn swapped(target: &Target, all: &[Names]) -> Result<bool> {
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
pub(in super::super) async fn swap(target: &Target, all: &[Names]) -> Result<()> {
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
pub(in super::super) async fn swap_back(target: &Target, all: &[Names]) -> Result<()> {
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
pub(in super::super) async fn check_ways_back(target: &Target, all: &[Names]) -> Result<()> {
    let connection = target.administer().await?;
    for names in all {
        check_way_back(&connection, names).await?;
    }
    Ok(())
}

async fn check_way_back(connection: &Connection, names: &Names) -> Result<()> {
    let Some(before) = &names.before else { return Ok(()) };
    let is_sound = exists(connection, before).await? && !is_invalid(connection, before).await?;
    if is_swapped(connection, names).await? && !is_sound {
        let error =
            Error::new(Kind::Refused, format!("bring database {} back: {before} is gone, or half dropped", names.name));
        return Err(error.hint("once it is dropped, what was there before can't be returned to"));
    }
    Ok(())
}

async fn rename(target: &Target, databases: &[&str], renames: &[String]) -> Result<()> {
    let transaction = format!("BEGIN; {}; COMMIT", renames.join("; "));
    run_without_sessions(target, databases, &transaction, "rename the databases".into()).await
}
