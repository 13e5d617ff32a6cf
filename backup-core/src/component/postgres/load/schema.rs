//! The schema before and after the rows, by `pg_restore` from memory.

use std::process::Stdio;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::archive::{Turn, id_of, list_file, use_list};
use super::built::Built;
use super::checked::Checked;
use super::failures::refused;
use super::sessions::end_sessions;
use super::{Load, Target};
use crate::component::postgres::connection::Connection;
use crate::component::postgres::{command, query_failed};
use crate::finding::Finding;
use crate::{Error, ErrorContext, Kind, Result};

/// What makes every subscription of the database one that can be dropped without a word to its publisher.
const DISCONNECT_SUBSCRIPTIONS: &str = "SELECT pg_catalog.format('ALTER SUBSCRIPTION %I DISABLE', subname), \
        pg_catalog.format('ALTER SUBSCRIPTION %I SET (slot_name = NONE)', subname) FROM pg_catalog.pg_subscription \
    WHERE subdbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())";

/// How often is looked how many indexes there are.
const PAUSE: Duration = Duration::from_millis(500);

/// What becomes of what an earlier attempt has left of the same entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// It goes first.
    Dropped,
    /// It stays, and is as good as new.
    Kept,
    /// There was none.
    None,
}

impl Load {
    /// Sets sequences and builds indexes and their constraints, several at once.
    ///
    /// # Errors
    /// psql's or pg_restore's words; the indexes without which the restore must not go on.
    pub async fn build_indexes(&self) -> Result<Vec<Finding>> {
        self.end_other_sessions().await?;
        // A crash of the server may have emptied unlogged tables since.
        self.load_missing().await?;
        let sequences = Checked::of_forms(&self.content("sequences.sql")?, &["SET ", "SELECT pg_catalog.setval("]);
        let sequences = sequences.context(|| format!("sequences.sql of database {}", self.name))?;
        self.target.run_script(&self.shadow, "set the sequences with psql", &sequences).await?;
        let connection = self.ask().await?;
        let list = self.entries_after_rows(Turn::Together).await?;
        // What is there stays there: something that is not in the list may hang on it.
        let list = Built::read(&connection).await?.missing(&list);
        if self.build_together(&list, &connection).await? {
            self.must_have(&list, &[]).await?;
            return Ok(Vec::new());
        }
        // What several say at once runs into one another: what is missing is tried once more, one after another.
        let missing = Built::read(&connection).await?.missing(&list);
        self.restore_one_by_one(&missing, &self.reading(), Before::Kept).await
    }

    /// Restores entries several at once; false where the server refused some.
    async fn build_together(&self, list: &[Vec<u8>], connection: &Connection) -> Result<bool> {
        let jobs = format!("--jobs={}", self.target.jobs);
        let arguments = [&*jobs];
        let target = self.reading();
        let mut work = std::pin::pin!(self.restore_listed(list, &arguments, &target));
        let (share, mut done) = (self.share_of_work(), 0);
        let before = built(connection).await?;
        let mut pauses = tokio::time::interval(PAUSE);
        loop {
            tokio::select! {
                built = &mut work => {
                    self.meter.done.fetch_add(share - done, Relaxed);
                    return Ok(built?.0);
                }
                _ = pauses.tick() => {
                    // Whoever only watches must not end it.
                    let built = built(connection).await.unwrap_or(0).saturating_sub(before).min(list.len() as u64);
                    let more = (share * built / list.len().max(1) as u64).saturating_sub(done);
                    self.meter.done.fetch_add(more, Relaxed);
                    done += more;
                }
            }
        }
    }

    /// Adds all else that comes after rows but event triggers: foreign keys, triggers, policies, publications.
    ///
    /// # Errors
    /// pg_restore's words; the objects without which the restore must not go on.
    pub async fn finish_schema(&self) -> Result<Vec<Finding>> {
        self.end_other_sessions().await?;
        let connection = self.ask().await?;
        super::notes::end(&connection).await?;
        disconnect_subscriptions(&connection).await?;
        let alone = self.entries_after_rows(Turn::Alone).await?;
        let mut found = self.restore_one_by_one(&alone, &self.reading(), Before::Dropped).await?;
        // Not as texts of the bundle are read, but as the database's own sessions see them.
        let filled = self.entries_after_rows(Turn::Filled).await?;
        found.extend(self.restore_one_by_one(&filled, &self.target, Before::Dropped).await?);
        Ok(found)
    }

    /// Adds event triggers.
    ///
    /// # Errors
    /// As [`Self::finish_schema`].
    pub async fn add_event_triggers(&self) -> Result<Vec<Finding>> {
        self.end_other_sessions().await?;
        let last = self.entries_after_rows(Turn::Last).await?;
        self.restore_one_by_one(&last, &self.reading(), Before::Dropped).await
    }

    /// The target for sessions that read what the bundle holds.
    fn reading(&self) -> Target {
        self.target.reading(self.database())
    }

    /// Restores entries of a list, and says what became of those that the server refused.
    async fn restore_one_by_one(&self, list: &[Vec<u8>], target: &Target, before: Before) -> Result<Vec<Finding>> {
        let arguments: &[&str] = match before {
            Before::Dropped => &["--verbose", "--clean", "--if-exists"],
            Before::Kept | Before::None => &["--verbose"],
        };
        let (whole, said) = self.restore_listed(list, arguments, target).await?;
        if whole {
            self.must_have(list, &[]).await?;
            return Ok(Vec::new());
        }
        let found = self.judge(&said, before).await?;
        self.must_have(list, &refused(&said)).await?;
        Ok(found)
    }

    /// Makes sure that all indexes and constraints of a list are there, but those that the server `refused`.
    async fn must_have(&self, list: &[Vec<u8>], refused: &[u64]) -> Result<()> {
        let built = Built::read(&*self.ask().await?).await?;
        let lost = built.lost(list).find(|line| id_of(line).is_some_and(|id| !refused.contains(&id)));
        lost.map_or(Ok(()), |line| {
            let message = format!("restore the schema with pg_restore: {}", String::from_utf8_lossy(line).trim());
            let error = Error::new(Kind::Failed, message).because("nobody refused it, and it is not there");
            Err(error.hint("go on, which tries it again: `restore --resume`"))
        })
    }

    /// Restores the entries of a list, in its order. Gives whether the server took all of them, and what pg_restore said.
    async fn restore_listed(&self, list: &[Vec<u8>], arguments: &[&str], target: &Target) -> Result<(bool, String)> {
        if list.is_empty() {
            return Ok((true, String::new()));
        }
        let file = list_file(list)?;
        let use_list = use_list(&file);
        self.pg_restore(&[&[&*use_list], arguments].concat(), target).await
    }

    /// Restores what comes before rows.
    pub(super) async fn begin_schema(&self) -> Result<Vec<Finding>> {
        if let Some(parts) = self.mixed().await? {
            let mut found = self.restore_one_by_one(&parts.first, &self.reading(), Before::None).await?;
            found.extend(self.restore_one_by_one(&parts.then, &self.reading(), Before::None).await?);
            return Ok(found);
        }
        match self.pg_restore(&["--section=pre-data", "--verbose"], &self.reading()).await? {
            (true, _) => Ok(Vec::new()),
            (false, said) => self.judge(&said, Before::None).await,
        }
    }

    async fn pg_restore(&self, arguments: &[&str], target: &Target) -> Result<(bool, String)> {
        let doing = "restore the schema with pg_restore";
        let mut pg_restore = target.tools.client("pg_restore", &target.parameters);
        // A plain name that looks like a connection string would be taken for one.
        let quoted = self.shadow.replace('\\', "\\\\").replace('\'', "\\'");
        pg_restore.args(["--no-password", &format!("--dbname=dbname='{quoted}'")]);
        pg_restore.args(arguments).arg("/dev/stdin");
        let running = command::start(pg_restore, doing, Stdio::from(self.dump()?))?;
        running.finish_all().await.context(|| format!("database {}", self.shadow))
    }

    /// Ends whatever a killed run has left at work in the database.
    async fn end_other_sessions(&self) -> Result<()> {
        self.target.kept.close(&[&self.shadow]);
        let connection = self.target.administer().await?;
        end_sessions(&connection, &[&self.shadow]).await
    }
}

/// How many indexes of tables of users are whole.
async fn built(connection: &Connection) -> Result<u64> {
    let sql = "SELECT pg_catalog.count(*) FROM pg_catalog.pg_index WHERE indisvalid AND indexrelid >= 16384 \
        AND indrelid NOT IN (SELECT oid FROM pg_catalog.pg_class WHERE relkind = 't')";
    let row = connection.query_one(sql, &[]).await;
    let count: i64 = row.map_err(|error| query_failed("count the indexes", &error))?.get(0);
    Ok(u64::try_from(count).unwrap_or(0))
}

pub(super) async fn disconnect_subscriptions(connection: &Connection) -> Result<()> {
    let failed = |error| query_failed("disconnect the subscriptions", &error);
    for row in connection.query(DISCONNECT_SUBSCRIPTIONS, &[]).await.map_err(failed)? {
        for statement in [0, 1] {
            connection.batch_execute(row.get(statement)).await.map_err(failed)?;
        }
    }
    Ok(())
}
