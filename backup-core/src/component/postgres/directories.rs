//! What a running server needs where it is.

use super::connection::Connection;
use super::query_failed;
use crate::Result;
use crate::component::Staying;

/// What of it exists on this machine: of another machine's server that is nothing, unless something here is called as it is there. Where its data lies, a server says to few.
///
/// # Errors
/// A failed query.
pub(crate) async fn directories(connection: &Connection) -> Result<Vec<Staying>> {
    let sql = "SELECT 'the data of the PostgreSQL server that runs here', setting FROM pg_catalog.pg_settings \
            WHERE name = 'data_directory' \
        UNION ALL SELECT 'the write-ahead log of the PostgreSQL server that runs here', setting || '/pg_wal' \
            FROM pg_catalog.pg_settings WHERE name = 'data_directory' \
        UNION ALL SELECT 'the PostgreSQL tablespace ' || spcname, pg_catalog.pg_tablespace_location(oid) \
            FROM pg_catalog.pg_tablespace \
        UNION ALL SELECT 'the socket of the PostgreSQL server that runs here', pg_catalog.btrim(directory) || \
            '/.s.PGSQL.' || pg_catalog.current_setting('port') \
            FROM pg_catalog.pg_settings, pg_catalog.unnest(pg_catalog.string_to_array(setting, ',')) AS directory \
            WHERE name = 'unix_socket_directories'";
    let rows = connection.query(sql, &[]).await;
    let rows = rows.map_err(|error| query_failed("ask the server for its directories", &error))?;
    let found = rows.iter().map(|row| Staying::new(row.get::<_, &str>(1), row.get::<_, &str>(0)));
    Ok(found.filter(|staying| staying.path.is_absolute() && staying.path.exists()).collect())
}
