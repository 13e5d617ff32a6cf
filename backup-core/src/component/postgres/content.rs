//! What a live database holds, counted.

use super::connection::{Parameters, connect};
use super::psql::Psql;
use super::tools::Tools;
use super::{discover, tables};
use crate::Result;
use crate::bundle::manifest::postgres::{Extension, Table};

/// A database's extensions, and its tables with their rows.
pub(crate) struct Content {
    pub(crate) extensions: Vec<Extension>,
    pub(crate) tables: Vec<Table>,
}

/// Counts what a database holds of what a backup would capture.
pub(crate) async fn content(tools: &Tools, parameters: &Parameters) -> Result<Content> {
    let connection = connect(parameters).await?;
    let psql = Psql::new(tools, parameters, String::from("SELECT WHERE false"));
    let mut counted = Vec::new();
    for table in tables::list(&connection).await? {
        let rows = tables::count(&connection, &psql, &table).await?;
        counted.push(Table { schema: table.schema, name: table.name, rows });
    }
    Ok(Content { extensions: discover::extensions(&connection).await?, tables: counted })
}
