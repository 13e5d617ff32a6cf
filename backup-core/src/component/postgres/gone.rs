//! Databases that went away while a backup ran.

use super::connection::{Connection, Parameters, connect};
use super::discover::DatabaseFacts;
use super::query_failed;
use crate::finding::Finding;
use crate::{Error, Kind, Result};

/// Where a server is asked whose connection ended with the database that it was to. Every server has these.
const OTHERS: [&str; 2] = ["postgres", "template1"];

/// Makes sure that `connection` is in the database that was listed, and not in another one that has its name since.
///
/// # Errors
/// It is another one, or the query fails.
pub(super) async fn check_same(connection: &Connection, facts: &DatabaseFacts) -> Result<()> {
    let sql = "SELECT oid = $1 FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()";
    let failed = |error| query_failed(format!("look for database {}", facts.name), &error);
    let row = connection.query_one(sql, &[&facts.oid]).await.map_err(failed)?;
    if row.try_get(0).map_err(failed)? {
        return Ok(());
    }
    let error = Error::new(Kind::Failed, format!("database {}: another one took its name meanwhile", facts.name));
    Err(error.hint("back up once more"))
}

/// Why a database can't be backed up any more that was listed before: somebody dropped, renamed, replaced or closed it
/// since. None where it is still there, or where nobody can tell: then the failure that led here counts.
pub(crate) async fn gone(parameters: &Parameters, connection: &Connection, facts: &DatabaseFacts) -> Option<Finding> {
    // Whoever connects waits for the end of a DROP DATABASE that has ended our sessions already.
    drop(connect(&parameters.with_database(&facts.name)).await);
    let mut seen = look(connection, facts).await;
    for other in OTHERS {
        if seen.is_err()
            && let Ok(connection) = connect(&parameters.with_database(other)).await
        {
            seen = look(&connection, facts).await;
        }
    }
    let why = match seen.ok()? {
        None => "somebody dropped it meanwhile".to_owned(),
        Some((name, _)) if name != facts.name => format!("somebody renamed it to {name} meanwhile"),
        Some((_, false)) => "somebody closed it to connections meanwhile".to_owned(),
        Some((_, true)) => return None,
    };
    let finding = Finding::warning("database-gone", &facts.name, format!("{why}, so it is not in the backup"));
    Some(finding.hint("back up once more if that was a mistake; --database names databases that must be there"))
}

/// Its name now, and whether it takes connections; none where it is gone.
async fn look(connection: &Connection, facts: &DatabaseFacts) -> Result<Option<(String, bool)>, tokio_postgres::Error> {
    let sql = "SELECT datname::text, datallowconn AND datconnlimit <> -2 FROM pg_catalog.pg_database WHERE oid = $1";
    let row = connection.query_opt(sql, &[&facts.oid]).await?;
    row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
}
