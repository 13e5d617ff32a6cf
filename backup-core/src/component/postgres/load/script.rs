//! A script in `pg_dump`'s plain format, run in a database under another name.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use super::check::Comparison;
use super::forgiving::{Forgiving, with_added};
use super::statements::{self, Creation};
use super::{Target, drop_database};
use crate::bundle::manifest::postgres::{Database, Table};
use crate::component::postgres::discover::exists;
use crate::component::postgres::plain::{Later, LeftOut, PART, ScriptFile, statement_at};
use crate::component::postgres::{command, know_restrict, query_failed, schema, sql, tables};
use crate::digest::Sha256Digest;
use crate::event::Meter;
use crate::finding::Finding;
use crate::{Cause, Error, ErrorContext, Kind, Result, shell};

/// What the database's comment says between its building and its properties. A note in the database would wake its event
/// triggers.
const BUILT: &str = "orchestrator-cli: built from ";
/// What to make schema public comes to where it is: owner and comment are those of a new one, and its privileges those that
/// `pg_dump` takes it to have.
const PUBLIC_MADE: &[u8] = b"COMMENT ON SCHEMA public IS NULL;\nALTER SCHEMA public OWNER TO CURRENT_USER;\n";

/// A database that a script makes.
pub struct Script {
    /// The server, as [`Target::building`] gives it.
    pub target: Target,
    /// The script.
    pub(crate) file: ScriptFile,
    /// Its digest, by which it was looked through.
    pub sha256: Sha256Digest,
    /// The digest of each part of it, likewise.
    pub parts: Arc<[[u8; 32]]>,
    /// Whether it makes schema public, which is there.
    pub(crate) makes_public: bool,
    /// What of it is not run.
    pub(crate) left_out: Vec<LeftOut>,
    /// What of it can be done later, where the server refuses it.
    pub(crate) later: Arc<[Later]>,
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
    /// Whether all of the script has been run, and nothing was found on the way.
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
    pub async fn build(&self) -> Result<Vec<Finding>> {
        drop_database(&self.target, &self.shadow).await?;
        let creation = self.creation().await?;
        self.target.create_database(&self.shadow, &creation).await?;
        let mut found = self.target.set_settings(&self.shadow, &self.name, &creation).await?;
        let ran = self.run().await;
        found.extend(ran.context(|| format!("run {} in database {}", self.file.path().display(), self.shadow))?);
        // Everybody may read the comment, so it does not hold what was found. Where we are killed before that is in the
        // journal, all is made anew.
        if found.is_empty() {
            self.comment(&sql::literal(&self.mark())).await?;
        }
        Ok(found)
    }

    /// Counts every table's rows, and gathers statistics.
    ///
    /// # Errors
    /// [`Kind::Failed`], naming what is not as the script says.
    pub async fn check(&self) -> Result<Vec<Finding>> {
        let mut expected = self.database.clone();
        self.count_partitioned(&mut expected.tables).await?;
        let (name, shadow, meter) = (&*self.name, &*self.shadow, &*self.meter);
        let work = self.database.size / 2;
        let (target, expected) = (&self.target, &expected);
        Comparison { target, name, shadow, expected, accepted: &[], meter, work }.run().await
    }

    /// Counts tables whose rows were copied into a partitioned one, some perhaps, as a whole, and takes them out of
    /// `tables`: which partition such a row lies in is not said.
    async fn count_partitioned(&self, tables: &mut Vec<Table>) -> Result<()> {
        let failed = |error| query_failed("count the rows", &error);
        let connection = self.target.ask(&self.shadow).await?;
        let roots = "SELECT n.nspname::text, c.relname::text, c.relkind = 'p', rn.nspname::text, r.relname::text \
            FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
            JOIN pg_catalog.pg_class r ON r.oid = pg_catalog.pg_partition_root(c.oid) \
            JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace WHERE c.relkind IN ('r', 'p')";
        let mut root_of: HashMap<(String, String), (bool, String)> = HashMap::new();
        for row in connection.query(roots, &[]).await.map_err(failed)? {
            let root = format!("{}.{}", sql::identifier(row.get(3)), sql::identifier(row.get(4)));
            root_of.insert((row.get(0), row.get(1)), (row.get(2), root));
        }
        let root = |table: &Table| root_of.get(&(table.schema.clone(), table.name.clone()));
        let partitioned = tables.iter().filter_map(root).filter(|(partitioned, _)| *partitioned);
        let mut expected: BTreeMap<String, u64> = partitioned.map(|(_, root)| (root.clone(), 0)).collect();
        tables.retain(|table| match root(table).and_then(|(_, root)| expected.get_mut(root)) {
            Some(rows) => {
                *rows += table.rows;
                false
            }
            None => true,
        });
        for (table, rows) in expected {
            let count = format!("SELECT pg_catalog.count(*) FROM {table}");
            let found = connection.query_one(&count, &[]).await.map_err(failed)?.get::<_, i64>(0);
            if u64::try_from(found) != Ok(rows) {
                let message = format!("compare with the script: table {table} has {found} rows, not {rows}");
                return Err(
                    Error::new(Kind::Failed, message).hint("go back with `restore --rollback`, then restore anew")
                );
            }
        }
        Ok(())
    }

    /// Gives the database what the one before it has: owner, privileges, comment, settings.
    ///
    /// # Errors
    /// psql's words.
    pub async fn set_properties(&self) -> Result<Vec<Finding>> {
        self.comment("NULL").await?;
        self.target.set_properties(&self.shadow, &self.name, &self.creation().await?).await
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
        match self.target.creation_of(&self.name).await? {
            Some(script) => statements::creation(&script),
            None => {
                let (name, encoding) = (sql::identifier(&self.name), sql::literal(&self.database.encoding));
                let mut script = format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING {encoding};\n");
                if !self.target.existing_roles(std::slice::from_ref(&self.name)).await?.is_empty() {
                    script.push_str(&format!("ALTER DATABASE {name} OWNER TO {name};\n"));
                }
                statements::creation(script.as_bytes())
            }
        }
    }

    /// What a server of version `major` is not to run.
    fn left_out(&self, major: u32) -> Vec<(u64, u64)> {
        let known = |part: &&LeftOut| part.since.is_none_or(|since| major < since);
        self.left_out.iter().filter(known).map(|part| (part.from, part.to)).collect()
    }

    /// The server's major version.
    async fn major(&self) -> Result<u32> {
        let version = "SELECT pg_catalog.current_setting('server_version_num')::int4 / 10000";
        let row = self.target.administer().await?.query_one(version, &[]).await;
        let row = row.map_err(|error| query_failed("ask the server for its version", &error))?;
        Ok(u32::try_from(row.get::<_, i32>(0)).unwrap_or(0))
    }

    /// Runs the script, and gives what of it is left for later.
    async fn run(&self) -> Result<Vec<Finding>> {
        let doing = || format!("read {}", self.file.path().display());
        let psql = self.target.psql(&self.target.parameters.with_database(&self.shadow));
        let left_out = self.left_out(self.major().await?);
        let file = self.file.clone();
        let opened = tokio::task::spawn_blocking(move || file.open()).await;
        let mut text = opened.map_err(|cause| Error::new(Kind::Failed, doing()).because(cause))??;
        let mut running = command::start(psql, "run it with psql", Stdio::piped())?;
        // No script holds its own digest.
        let key = hex::encode(&self.sha256.0[..16]);
        let mut before = Vec::new();
        if know_restrict(&self.target.tools.version) {
            // No other command of psql was found in it; should we have read it wrongly, psql takes none, and it can't lift that.
            before.extend(format!("\\restrict {key}\n").bytes());
        }
        before.extend_from_slice(if self.makes_public { PUBLIC_MADE } else { b"" });
        if let Some(input) = &mut running.input {
            // What it has to say of its end comes with its status.
            let _ = input.write_all(&before).await;
        }
        let forgiving = Forgiving { all: &self.later, key: &key };
        let mut added = forgiving.added().peekable();
        let (mut parts, mut at) = (self.parts.iter(), 0);
        loop {
            let (read, back) = tokio::task::spawn_blocking(move || (read_part(&mut *text), text))
                .await
                .map_err(|cause| Error::new(Kind::Failed, doing()).because(cause))?;
            let mut part = read.context(doing)?;
            text = back;
            let expected = parts.next();
            if part.is_empty() && expected.is_none() {
                break;
            }
            // Before it is run: whoever may write to it could make it do anything.
            if expected.is_none_or(|expected| Sha256::digest(&part)[..] != expected[..]) {
                let error = Error::new(Kind::Refused, "the script has changed since it was looked through");
                return Err(error.hint("go back with `restore --rollback`, then restore anew"));
            }
            blank(&mut part, at, &left_out);
            let size = part.len() as u64;
            let text = with_added(part, at, &mut added);
            at += size;
            let Some(input) = running.input.as_mut() else { break };
            if input.write_all(&text).await.is_err() {
                break;
            }
            self.meter.done.fetch_add(size, Relaxed);
            self.meter.read.fetch_add(size, Relaxed);
        }
        // Of a statement that the script ends with.
        let rest: Vec<u8> = added.flat_map(|(_, text)| text).collect();
        if let Some(input) = running.input.as_mut() {
            let _ = input.write_all(&rest).await;
        }
        match running.finish_said().await {
            Ok(said) => Ok(forgiving.findings(&said, &self.name)),
            Err(error) => Err(self.explain(error, memchr::memchr_iter(b'\n', &before).count()).await),
        }
    }

    /// Names the statement at which psql stopped; `before` are the lines that it read before the script's.
    async fn explain(&self, error: Error, before: usize) -> Error {
        // Not where the server went away, or its disk is full.
        let Some((line, why)) = stopped_at(&error).filter(|_| !error.came_of(Cause::DiskFull)) else { return error };
        let line = line.saturating_sub(before as u64);
        let file = self.file.clone();
        let found = tokio::task::spawn_blocking(move || statement_at(&file, line)).await;
        let named = found.ok().and_then(Result::ok).flatten().map(|statement| format!(" ({statement})"));
        let message = format!("the server refuses line {line} of it{}", named.unwrap_or_default());
        let named = Error::new(error.kind(), message).because(why);
        let named = if error.is_lasting() { named.lasting() } else { named };
        named.hint(
            "it will fail there again: go back with `restore --rollback`, then restore a script that runs, or the same one \
             once what it needs is there",
        )
    }
}

/// The line at which psql stopped in its script, and the server's words.
fn stopped_at(error: &Error) -> Option<(u64, String)> {
    let said = error.chain().pop()?;
    let at = said.rfind("psql:<stdin>:")?;
    let (line, why) = said[at + "psql:<stdin>:".len()..].split_once(": ")?;
    why.starts_with("ERROR: ").then(|| Some((line.parse().ok()?, why.to_owned())))?
}

impl Target {
    /// A script that makes database `name` as it is, and nothing in it; none where there is no such database.
    ///
    /// # Errors
    /// pg_dump's words.
    pub async fn creation_of(&self, name: &str) -> Result<Option<Vec<u8>>> {
        if !exists(&*self.administer().await?, name).await? {
            return Ok(None);
        }
        self.refuse_closed(name).await?;
        let creation = schema::creation(&self.tools, &self.parameters.with_database(name)).await;
        creation.map(Some).map_err(|error| {
            let hint =
                format!("where it is damaged: ALTER DATABASE {} RENAME TO …, then restore anew", sql::identifier(name));
            Error::new(Kind::Failed, format!("read how database {name} is made")).because(error).hint(hint)
        })
    }

    /// Refuses a database that lets nobody in: what it is made with can't be read.
    async fn refuse_closed(&self, name: &str) -> Result<()> {
        let open = "SELECT datallowconn FROM pg_catalog.pg_database WHERE datname = $1";
        let row = self.administer().await?.query_opt(open, &[&name]).await;
        let row = row.map_err(|error| query_failed(format!("look at database {name}"), &error))?;
        if row.is_none_or(|row| row.get(0)) {
            return Ok(());
        }
        let allow = format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", sql::identifier(name));
        let message =
            format!("database {name}: it lets nobody in, so its owner, encoding and settings can't be taken over");
        let hint = format!(
            "let connections in, then restore anew: psql -d {} -c {}",
            self.administrative(),
            shell::word(&allow)
        );
        Err(Error::new(Kind::Refused, message).hint(hint))
    }

    /// Schemas and names of the tables in database `name`.
    ///
    /// # Errors
    /// Where it can't be connected to.
    pub async fn tables_of(&self, name: &str) -> Result<Vec<(String, String)>> {
        let tables = tables::list(&self.connect(name).await?).await?;
        Ok(tables.into_iter().map(|table| (table.schema, table.name)).collect())
    }
}

/// Puts blanks in the place of `ranges` of a text, in a part of it that begins at a byte.
fn blank(part: &mut [u8], at: u64, ranges: &[(u64, u64)]) {
    for (from, to) in ranges {
        let place = |byte: u64| usize::try_from(byte.saturating_sub(at)).unwrap_or(usize::MAX).min(part.len());
        let (from, to) = (place(*from), place(*to));
        part[from..to].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
    }
}

fn read_part(text: &mut dyn Read) -> std::io::Result<Vec<u8>> {
    let mut part = Vec::with_capacity(PART);
    text.take(PART as u64).read_to_end(&mut part)?;
    Ok(part)
}
