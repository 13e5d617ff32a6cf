//! Queries, whose answers nobody takes for sound: roles and databases may have names that are not UTF-8. Of a name that was
//! given in a database of encoding `SQL_ASCII` no other one checks or changes a byte.

use tokio_postgres::types::{FromSql, ToSql};
use tokio_postgres::{Error, Row};

use super::Connection;

/// What a query is given.
type Values<'v> = &'v [&'v (dyn ToSql + Sync)];

impl Connection {
    /// All rows of a query.
    ///
    /// # Errors
    /// The server's, or that a text is not UTF-8, so that no [`Row::get`] panics for what the server sent.
    pub async fn query(&self, sql: &str, values: Values<'_>) -> Result<Vec<Row>, Error> {
        let rows = self.client.query(sql, values).await?;
        rows.iter().try_for_each(check)?;
        Ok(rows)
    }

    /// The one row of a query.
    ///
    /// # Errors
    /// As [`Connection::query`], and where there is another number of rows.
    pub async fn query_one(&self, sql: &str, values: Values<'_>) -> Result<Row, Error> {
        let row = self.client.query_one(sql, values).await?;
        check(&row).map(|()| row)
    }

    /// The row of a query, if there is one.
    ///
    /// # Errors
    /// As [`Connection::query`], and where there are several rows.
    pub async fn query_opt(&self, sql: &str, values: Values<'_>) -> Result<Option<Row>, Error> {
        let row = self.client.query_opt(sql, values).await?;
        row.iter().try_for_each(check)?;
        Ok(row)
    }
}

fn check(row: &Row) -> Result<(), Error> {
    for (index, column) in row.columns().iter().enumerate() {
        if <&str as FromSql>::accepts(column.type_()) {
            row.try_get::<_, Option<&str>>(index)?;
        } else if <Vec<&str> as FromSql>::accepts(column.type_()) {
            row.try_get::<_, Option<Vec<Option<&str>>>>(index)?;
        }
    }
    Ok(())
}

/// Whether that is what is wrong.
pub(crate) fn is_no_text(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(|cause| cause.is::<std::str::Utf8Error>())
}
