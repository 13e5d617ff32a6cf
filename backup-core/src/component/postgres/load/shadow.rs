//! The database under its other name: made, and taken away again.

use super::sessions::run_without_sessions;
use super::statements::{self, Creation, fitting};
use super::{Load, Target, notes};
use crate::component::postgres::connection::Connection;
use crate::component::postgres::discover::{drops, exists, server};
use crate::component::postgres::{query_failed, sql};
use crate::finding::Finding;
use crate::{Error, Kind, Result};

impl Load {
    /// What was found when the database was made, if it is there with all that comes before rows.
    ///
    /// # Errors
    /// Where that can't be seen.
    pub async fn is_created(&self) -> Result<Option<Vec<Finding>>> {
        let administration = self.target.administer().await?;
        if !exists(&administration, &self.shadow).await? || is_invalid(&administration, &self.shadow).await? {
            return Ok(None);
        }
        notes::found(&*self.ask().await?).await
    }

    /// Makes the database anew, with all that comes before rows.
    ///
    /// # Errors
    /// The server's or pg_restore's words.
    pub async fn create(&self) -> Result<Vec<Finding>> {
        drop_database(&self.target, &self.shadow).await?;
        let creation = statements::creation(&self.content("create.sql")?)?;
        self.target.create_database(&self.shadow, &creation).await?;
        let mut found = self.target.set_settings(&self.shadow, &self.name, &creation).await?;
        for drop in drops(&self.database().dropped) {
            let dropped = self.ask().await?.batch_execute(drop).await;
            dropped.map_err(|error| query_failed(format!("{drop} in database {}", self.shadow), &error))?;
        }
        found.extend(self.begin_schema().await?);
        notes::begin(&*self.ask().await?, &found).await?;
        Ok(found)
    }
}

impl Target {
    /// Creates an empty database that nobody but superusers gets into before the swap.
    pub(super) async fn create_database(&self, name: &str, creation: &Creation) -> Result<()> {
        let connection = self.administer().await?;
        let options = String::from_utf8(fitting(&creation.options, server(&connection).await?.major()))
            .map_err(|_| Error::new(Kind::Unsupported, "create.sql has options that are not UTF-8"))?;
        let create = format!("CREATE DATABASE {}{options} CONNECTION LIMIT = 0", sql::identifier(name));
        let created = connection.batch_execute(&create).await;
        created.map_err(|error| query_failed(format!("create database {name}"), &error))
    }
}

/// Drops a database, if it is there, whoever is connected to it and whatever it subscribes to.
///
/// # Errors
/// The server's words.
pub async fn drop_database(target: &Target, name: &str) -> Result<()> {
    let administration = target.administer().await?;
    if !exists(&administration, name).await? {
        return Ok(());
    }
    let failed = |error| query_failed(format!("drop database {name}"), &error);
    let quoted = sql::identifier(name);
    let drop = format!("DROP DATABASE {quoted}");
    if is_invalid(&administration, name).await? {
        return run_without_sessions(target, &[name], &drop, format!("drop database {name}")).await;
    }
    if holds_subscriptions(&administration, name).await? {
        // Not as the role that the database makes its sessions: only a superuser may drop every subscription.
        let connection = target.freed().connect(name).await?;
        super::schema::disconnect_subscriptions(&connection).await?;
        let names = "SELECT pg_catalog.quote_ident(subname) FROM pg_catalog.pg_subscription WHERE subdbid = \
            (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())";
        for row in connection.query(names, &[]).await.map_err(failed)? {
            let drop = format!("DROP SUBSCRIPTION {}", row.get::<_, &str>(0));
            connection.batch_execute(&drop).await.map_err(failed)?;
        }
    }
    administration.batch_execute(&format!("ALTER DATABASE {quoted} IS_TEMPLATE false")).await.map_err(failed)?;
    run_without_sessions(target, &[name], &drop, format!("drop database {name}")).await
}

/// Whether an interrupted DROP DATABASE has left it, so that nothing can be done but to drop it again.
pub(super) async fn is_invalid(connection: &Connection, name: &str) -> Result<bool> {
    let sql = "SELECT FROM pg_catalog.pg_database WHERE datname = $1 AND datconnlimit = -2";
    let row = connection.query_opt(sql, &[&name]).await;
    row.map(|row| row.is_some()).map_err(|error| query_failed(format!("look at database {name}"), &error))
}

async fn holds_subscriptions(connection: &Connection, name: &str) -> Result<bool> {
    let sql = "SELECT FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid \
        WHERE d.datname = $1 LIMIT 1";
    let row = connection.query_opt(sql, &[&name]).await;
    row.map(|row| row.is_some()).map_err(|error| query_failed(format!("look for subscriptions of {name}"), &error))
}
