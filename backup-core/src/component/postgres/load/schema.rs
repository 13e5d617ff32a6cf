//! The schema before and after the rows, by `pg_restore` from memory.

use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::AsRawFd;
use std::process::Stdio;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create};
use tokio::io::AsyncReadExt;

use super::sessions::end_sessions;
use super::{Load, Target};
use crate::component::postgres::connection::Connection;
use crate::component::postgres::{command, query_failed};
use crate::{Error, ErrorContext, Kind, Result};

/// Makes every subscription of the database one that can be dropped without a word to its publisher.
const DISCONNECT_SUBSCRIPTIONS: &str = "SELECT pg_catalog.format('ALTER SUBSCRIPTION %1$I DISABLE; \
        ALTER SUBSCRIPTION %1$I SET (slot_name = NONE)', subname) FROM pg_catalog.pg_subscription \
    WHERE subdbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())";

/// How often is looked how many indexes there are.
const PAUSE: Duration = Duration::from_millis(500);

/// When an entry of the schema is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// With others at the same time: indexes, and constraints that are built with one.
    Together,
    /// One after another, once all indexes are there. Several at once would lock partitions and their parents in
    /// different orders, or refresh what may not be read yet.
    Alone,
    /// Once all else is there that can be read: materialized views.
    Filled,
    /// Once the database is compared: event triggers, which would see the restore and might write or forbid something.
    Last,
}

const ALONE: [&str; 12] = [
    "INDEX ATTACH",
    "FK CONSTRAINT",
    "TRIGGER",
    "POLICY",
    "ROW SECURITY",
    "ACL",
    "DEFAULT ACL",
    "COMMENT",
    "SECURITY LABEL",
    "PUBLICATION",
    "SUBSCRIPTION",
    "STATISTICS DATA",
];
const FILLED: &str = "MATERIALIZED VIEW DATA";
const LAST: [&str; 3] = ["EVENT TRIGGER", "COMMENT - EVENT TRIGGER", "SECURITY LABEL - EVENT TRIGGER"];

impl Load {
    /// Sets sequences and builds indexes and their constraints, several at once.
    ///
    /// # Errors
    /// psql's or pg_restore's words.
    pub async fn build_indexes(&self) -> Result<()> {
        self.end_other_sessions().await?;
        // A crash of the server may have emptied unlogged tables since.
        self.load_missing().await?;
        let sequences = self.content("sequences.sql")?;
        self.target.run_script(&self.shadow, "set the sequences with psql", &sequences).await?;
        let list = self.entries_after_rows(Turn::Together).await?;
        let connection = self.connect().await?;
        let jobs = format!("--jobs={}", self.target.jobs);
        let arguments = [&*jobs];
        let mut work = std::pin::pin!(self.restore_after_rows(&list, &arguments));
        let (share, mut done) = (self.share_of_work(), 0);
        let mut pauses = tokio::time::interval(PAUSE);
        loop {
            tokio::select! {
                built = &mut work => {
                    self.meter.done.fetch_add(share - done, Relaxed);
                    return built;
                }
                _ = pauses.tick() => {
                    // Whoever only watches must not end it.
                    let built = built(&connection).await.unwrap_or(0).min(list.len() as u64);
                    // An attempt before this one may have built some, which go first.
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
    /// pg_restore's words.
    pub async fn finish_schema(&self) -> Result<()> {
        self.end_other_sessions().await?;
        let connection = self.connect().await?;
        super::notes::end(&connection).await?;
        disconnect_subscriptions(&connection).await?;
        self.restore_after_rows(&self.entries_after_rows(Turn::Alone).await?, &[]).await?;
        // Not as texts of the bundle are read, but as the database's own sessions see them.
        let list = self.entries_after_rows(Turn::Filled).await?;
        self.restore_list(&list, &[], &self.target).await
    }

    /// Adds event triggers.
    ///
    /// # Errors
    /// pg_restore's words.
    pub async fn add_event_triggers(&self) -> Result<()> {
        self.end_other_sessions().await?;
        self.restore_after_rows(&self.entries_after_rows(Turn::Last).await?, &[]).await
    }

    /// The lines of pg_restore's list that speak of entries of the section post-data whose turn it is.
    async fn entries_after_rows(&self, turn: Turn) -> Result<Vec<Vec<u8>>> {
        let doing = "list the schema's entries with pg_restore";
        let mut list = self.target.tools.client("pg_restore", &self.target.parameters);
        list.args(["--list", "--section=post-data"]);
        let mut running = command::start(list, doing, Stdio::from(self.dump()?))?;
        let mut listed = Vec::new();
        running.output.read_to_end(&mut listed).await.context(|| doing.into())?;
        running.finish().await?;
        let lines = listed.split_inclusive(|byte| *byte == b'\n');
        Ok(lines.filter(|line| turn_of(line) == Some(turn)).map(<[u8]>::to_vec).collect())
    }

    /// Restores the entries of a list; what an earlier attempt has left of them goes first.
    async fn restore_after_rows(&self, list: &[Vec<u8>], arguments: &[&str]) -> Result<()> {
        self.restore_list(list, arguments, &self.target.reading(self.database())).await
    }

    async fn restore_list(&self, list: &[Vec<u8>], arguments: &[&str], target: &Target) -> Result<()> {
        if list.is_empty() {
            return Ok(());
        }
        // Left open for pg_restore, as no file on disk is to be written.
        let doing = || "write the list of the schema's entries".into();
        let file = memory(MemfdFlags::empty()).context(doing)?;
        write_whole(&file, &list.concat()).context(doing)?;
        let use_list = format!("--use-list=/proc/self/fd/{}", file.as_raw_fd());
        let fixed = ["--section=post-data", "--clean", "--if-exists", &use_list];
        self.pg_restore(&[&fixed, arguments].concat(), target).await
    }

    /// Restores what comes before rows.
    pub(super) async fn begin_schema(&self) -> Result<()> {
        self.pg_restore(&["--section=pre-data"], &self.target.reading(self.database())).await
    }

    async fn pg_restore(&self, arguments: &[&str], target: &Target) -> Result<()> {
        let doing = "restore the schema with pg_restore";
        let mut pg_restore = target.tools.client("pg_restore", &target.parameters);
        // A plain name that looks like a connection string would be taken for one.
        let quoted = self.shadow.replace('\\', "\\\\").replace('\'', "\\'");
        pg_restore.args(["--exit-on-error", "--no-password", &format!("--dbname=dbname='{quoted}'")]);
        pg_restore.args(arguments).arg("/dev/stdin");
        let running = command::start(pg_restore, doing, Stdio::from(self.dump()?))?;
        running.finish().await.context(|| format!("database {}", self.shadow))
    }

    /// The schema's archive in memory, however large it is.
    fn dump(&self) -> Result<File> {
        let path = format!("databases/{}/schema.dump", self.database().directory);
        let entry = self.bundle.manifest().entries.iter().find(|entry| entry.path == path);
        let entry = entry.ok_or_else(|| Error::new(Kind::NotFound, format!("entry {path}: not in this bundle")))?;
        let doing = || format!("read {path}");
        let mut file = memory(MemfdFlags::CLOEXEC).context(doing)?;
        let mut reader = self.bundle.read(entry)?;
        while let Some(part) = reader.next()? {
            file.write_all(part).context(doing)?;
        }
        file.rewind().context(doing)?;
        Ok(file)
    }

    /// Ends whatever a killed run has left at work in the database.
    async fn end_other_sessions(&self) -> Result<()> {
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

/// Something that each process of pg_restore can open and seek in, as in a file, and that is not on disk.
fn memory(flags: MemfdFlags) -> std::io::Result<File> {
    Ok(File::from(memfd_create("schema", flags)?))
}

fn write_whole(mut file: &File, content: &[u8]) -> std::io::Result<()> {
    file.write_all(content)?;
    file.rewind()
}

/// Whose turn a line of pg_restore's list speaks of; none for comments.
fn turn_of(line: &[u8]) -> Option<Turn> {
    // `3423; 2606 16430 CONSTRAINT chef runs_pkey orchestrator`
    let line = String::from_utf8_lossy(line);
    let (number, rest) = line.split_once("; ")?;
    number.parse::<u64>().ok()?;
    let kind = rest.splitn(3, ' ').nth(2)?;
    let is_one_of =
        |kinds: &[&str]| kinds.iter().any(|other| kind.strip_prefix(other).is_some_and(|rest| rest.starts_with(' ')));
    Some(match kind {
        _ if is_one_of(&LAST) => Turn::Last,
        _ if is_one_of(&[FILLED]) => Turn::Filled,
        _ if is_one_of(&ALONE) => Turn::Alone,
        _ => Turn::Together,
    })
}

pub(super) async fn disconnect_subscriptions(connection: &Connection) -> Result<()> {
    let failed = |error| query_failed("disconnect the subscriptions", &error);
    for row in connection.query(DISCONNECT_SUBSCRIPTIONS, &[]).await.map_err(failed)? {
        for statement in row.get::<_, String>(0).split("; ") {
            connection.batch_execute(statement).await.map_err(failed)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_has_its_turn() {
        let of = |line: &str| turn_of(line.as_bytes());
        assert_eq!(of("; Archive created at 2026-11-20\n"), None);
        assert_eq!(of("3423; 2606 16430 CONSTRAINT chef runs_pkey orchestrator\n"), Some(Turn::Together));
        assert_eq!(of("3423; 1259 16430 INDEX public by_name orchestrator\n"), Some(Turn::Together));
        assert_eq!(of("3423; 0 0 INDEX ATTACH public by_name orchestrator\n"), Some(Turn::Alone));
        assert_eq!(of("3423; 2606 16430 FK CONSTRAINT chef runs machine_fkey orchestrator\n"), Some(Turn::Alone));
        assert_eq!(of("3424; 6106 1 PUBLICATION TABLE public changes gaps postgres\n"), Some(Turn::Alone));
        assert_eq!(of("3424; 0 0 COMMENT public INDEX by_name postgres\n"), Some(Turn::Alone));
        assert_eq!(of("3424; 0 16430 MATERIALIZED VIEW DATA public seen postgres\n"), Some(Turn::Filled));
        assert_eq!(of("3425; 3466 1 EVENT TRIGGER - watch postgres\n"), Some(Turn::Last));
        assert_eq!(of("3425; 0 0 COMMENT - EVENT TRIGGER watch postgres\n"), Some(Turn::Last));
    }
}
