//! A script in `pg_dump`'s plain format, run in a database under another name.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use super::check::Comparison;
use super::statements::{self, Creation};
use super::{Target, drop_database};
use crate::bundle::manifest::{Database, Sha256Digest, Table};
use crate::component::postgres::discover::exists;
use crate::component::postgres::{command, query_failed, schema, sql};
use crate::event::Meter;
use crate::{Error, ErrorContext, Kind, Result, store};

/// Bytes that are read and sent at once.
const PART: usize = 256 << 10;
/// What the database's comment says between its building and its properties. A note in the database would wake its event
/// triggers.
const BUILT: &str = "orchestrator-cli: built from ";

/// A database that a script makes.
pub struct Script {
    /// The server.
    pub target: Target,
    /// The script.
    pub path: PathBuf,
    /// Its digest, by which it was looked through.
    pub sha256: Sha256Digest,
    /// What it holds.
    pub database: Database,
    /// The name that the database is to have. One that has it now lends its encoding, locale and properties.
    pub name: String,
    /// The name that it is built under.
    pub shadow: String,
    /// How far the work is, in bytes of the script: once for running it, and half as much for the comparison.
    pub meter: Arc<Meter>,
}

impl Script {
    /// Whether all of the script has been run.
    ///
    /// # Errors
    /// Where that can't be seen.
    pub async fn is_built(&self) -> Result<bool> {
        let comment =
            "SELECT pg_catalog.shobj_description(oid, 'pg_database') FROM pg_catalog.pg_database WHERE datname = $1";
        let row = self.target.administer().await?.query_opt(comment, &[&self.shadow]).await;
        let row = row.map_err(|error| query_failed(format!("look for database {}", self.shadow), &error))?;
        Ok(row.and_then(|row| row.get::<_, Option<String>>(0)).is_some_and(|comment| comment == self.mark()))
    }

    /// Makes the database anew and runs the script in it.
    ///
    /// # Errors
    /// The server's or psql's words; [`Kind::Refused`] where the script has changed since it was looked through.
    pub async fn build(&self) -> Result<()> {
        drop_database(&self.target, &self.shadow).await?;
        self.target.create_database(&self.shadow, &self.creation().await?).await?;
        self.run().await.context(|| format!("run {} in database {}", self.path.display(), self.shadow))?;
        self.comment(&sql::literal(&self.mark())).await
    }

    /// Counts every table's rows, and gathers statistics.
    ///
    /// # Errors
    /// [`Kind::Failed`], naming what is not as the script says.
    pub async fn check(&self) -> Result<()> {
        let mut expected = self.database.clone();
        let connection = self.target.connect(&self.shadow).await?;
        // Rows copied into a partitioned table lie in its partitions.
        let partitioned = "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c \
            JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'p'";
        let failed = |error| query_failed("count the rows", &error);
        for row in connection.query(partitioned, &[]).await.map_err(failed)? {
            let (schema, name): (String, String) = (row.get(0), row.get(1));
            let is_it = |table: &Table| table.schema == schema && table.name == name;
            let rows: u64 = expected.tables.iter().filter(|table| is_it(table)).map(|table| table.rows).sum();
            if !expected.tables.iter().any(is_it) {
                continue;
            }
            expected.tables.retain(|table| !is_it(table));
            let table = format!("{}.{}", sql::identifier(&schema), sql::identifier(&name));
            let count = format!("SELECT pg_catalog.count(*) FROM {table}");
            let found = connection.query_one(&count, &[]).await.map_err(failed)?.get::<_, i64>(0);
            if u64::try_from(found) != Ok(rows) {
                let message = format!("compare with the script: table {table} has {found} rows, not {rows}");
                return Err(Error::new(Kind::Failed, message));
            }
        }
        let (target, shadow, meter) = (&self.target, &*self.shadow, &*self.meter);
        Comparison { target, shadow, expected: &expected, meter, work: self.database.size / 2 }.run().await
    }

    /// Gives the database what the one before it has: owner, privileges, comment, settings.
    ///
    /// # Errors
    /// psql's words.
    pub async fn set_properties(&self) -> Result<()> {
        self.comment("NULL").await?;
        self.target.set_properties(&self.shadow, &self.creation().await?).await
    }

    fn mark(&self) -> String {
        format!("{BUILT}{}", self.sha256)
    }

    /// Comments the database with a text, which is SQL.
    async fn comment(&self, text: &str) -> Result<()> {
        let comment = format!("COMMENT ON DATABASE {} IS {text}", sql::identifier(&self.shadow));
        let commented = self.target.administer().await?.batch_execute(&comment).await;
        commented.map_err(|error| query_failed(format!("comment on database {}", self.shadow), &error))
    }

    /// How the live database is made; where there is none, one that the role of its name owns, if there is such a role.
    async fn creation(&self) -> Result<Creation> {
        let connection = self.target.administer().await?;
        if exists(&connection, &self.name).await? {
            let parameters = self.target.parameters.with_database(&self.name);
            return statements::creation(&schema::creation(&self.target.tools, &parameters).await?);
        }
        let (name, encoding) = (sql::identifier(&self.name), sql::literal(&self.database.encoding));
        let mut script = format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING {encoding};\n");
        if !self.target.existing_roles(std::slice::from_ref(&self.name)).await?.is_empty() {
            script.push_str(&format!("ALTER DATABASE {name} OWNER TO {name};\n"));
        }
        statements::creation(script.as_bytes())
    }

    async fn run(&self) -> Result<()> {
        let doing = || format!("read {}", self.path.display());
        let psql = self.target.psql(&self.target.parameters.with_database(&self.shadow));
        let mut file = store::open_file(&self.path)?;
        let mut running = command::start(psql, "run it with psql", Stdio::piped())?;
        let mut hash = Sha256::new();
        loop {
            let (read, back) = tokio::task::spawn_blocking(move || (read_part(&mut file), file))
                .await
                .map_err(|cause| Error::new(Kind::Failed, doing()).because(cause))?;
            let part = read.context(doing)?;
            file = back;
            let Some(input) = running.input.as_mut().filter(|_| !part.is_empty()) else { break };
            hash.update(&part);
            // What it has to say of its end comes with its status.
            if input.write_all(&part).await.is_err() {
                break;
            }
            self.meter.done.fetch_add(part.len() as u64, Relaxed);
            self.meter.read.fetch_add(part.len() as u64, Relaxed);
        }
        running.finish().await?;
        if hash.finalize()[..] != self.sha256.0 {
            let error = Error::new(Kind::Refused, "the script has changed since it was looked through");
            return Err(error.hint("go back with `restore --rollback`, then restore anew"));
        }
        Ok(())
    }
}

fn read_part(file: &mut File) -> std::io::Result<Vec<u8>> {
    let mut part = Vec::with_capacity(PART);
    file.take(PART as u64).read_to_end(&mut part)?;
    Ok(part)
}
