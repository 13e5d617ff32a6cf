//! The schema before and after the rows, by `pg_restore` from memory.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::AsRawFd;
use std::process::Stdio;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create};

use super::sessions::end_sessions;
use super::{Load, Target};
use crate::component::postgres::connection::Connection;
use crate::component::postgres::{command, query_failed, sql};
use crate::finding::Finding;
use crate::{Error, ErrorContext, Kind, Result};

/// What makes every subscription of the database one that can be dropped without a word to its publisher.
const DISCONNECT_SUBSCRIPTIONS: &str = "SELECT pg_catalog.format('ALTER SUBSCRIPTION %I DISABLE', subname), \
        pg_catalog.format('ALTER SUBSCRIPTION %I SET (slot_name = NONE)', subname) FROM pg_catalog.pg_subscription \
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
    /// psql's or pg_restore's words; the indexes without which the restore must not go on.
    pub async fn build_indexes(&self) -> Result<Vec<Finding>> {
        self.end_other_sessions().await?;
        // A crash of the server may have emptied unlogged tables since.
        self.load_missing().await?;
        let sequences = self.content("sequences.sql")?;
        self.target.run_script(&self.shadow, "set the sequences with psql", &sequences).await?;
        let list = self.entries_after_rows(Turn::Together).await?;
        let connection = self.connect().await?;
        if self.build_together(&list, &connection).await? {
            return Ok(Vec::new());
        }
        // What several say at once runs into one another: what is missing is tried once more, one after another.
        let there = there(&connection).await?;
        let missing: Vec<_> =
            list.into_iter().filter(|line| !described(line).is_some_and(|it| there.contains(it))).collect();
        self.restore_one_by_one(&missing, &self.reading()).await
    }

    /// Restores entries several at once; false where the server refused some.
    async fn build_together(&self, list: &[Vec<u8>], connection: &Connection) -> Result<bool> {
        let jobs = format!("--jobs={}", self.target.jobs);
        let arguments = [&*jobs];
        let target = self.reading();
        let mut work = std::pin::pin!(self.restore_after_rows(list, &arguments, &target));
        let (share, mut done) = (self.share_of_work(), 0);
        let mut pauses = tokio::time::interval(PAUSE);
        loop {
            tokio::select! {
                built = &mut work => {
                    self.meter.done.fetch_add(share - done, Relaxed);
                    return Ok(built?.0);
                }
                _ = pauses.tick() => {
                    // Whoever only watches must not end it.
                    let built = built(connection).await.unwrap_or(0).min(list.len() as u64);
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
    /// pg_restore's words; the objects without which the restore must not go on.
    pub async fn finish_schema(&self) -> Result<Vec<Finding>> {
        self.end_other_sessions().await?;
        let connection = self.connect().await?;
        super::notes::end(&connection).await?;
        disconnect_subscriptions(&connection).await?;
        let alone = self.entries_after_rows(Turn::Alone).await?;
        let mut found = self.restore_one_by_one(&alone, &self.reading()).await?;
        // Not as texts of the bundle are read, but as the database's own sessions see them.
        let filled = self.entries_after_rows(Turn::Filled).await?;
        found.extend(self.restore_one_by_one(&filled, &self.target).await?);
        Ok(found)
    }

    /// Adds event triggers.
    ///
    /// # Errors
    /// As [`Self::finish_schema`].
    pub async fn add_event_triggers(&self) -> Result<Vec<Finding>> {
        self.end_other_sessions().await?;
        self.restore_one_by_one(&self.entries_after_rows(Turn::Last).await?, &self.reading()).await
    }

    /// The lines of pg_restore's list that speak of entries of the section post-data whose turn it is.
    async fn entries_after_rows(&self, turn: Turn) -> Result<Vec<Vec<u8>>> {
        let mut list = self.target.tools.client("pg_restore", &self.target.parameters);
        list.args(["--list", "--section=post-data"]);
        let doing = "list the schema's entries with pg_restore";
        let listed = command::output(list, doing, Stdio::from(self.dump()?)).await?;
        let lines = listed.split_inclusive(|byte| *byte == b'\n');
        Ok(lines.filter(|line| turn_of(line) == Some(turn)).map(<[u8]>::to_vec).collect())
    }

    /// The target for sessions that read what the bundle holds.
    fn reading(&self) -> Target {
        self.target.reading(self.database())
    }

    /// Restores entries of a list, and says what became of those that the server refused.
    async fn restore_one_by_one(&self, list: &[Vec<u8>], target: &Target) -> Result<Vec<Finding>> {
        match self.restore_after_rows(list, &["--verbose"], target).await? {
            (true, _) => Ok(Vec::new()),
            (false, said) => self.judge(&said).await,
        }
    }

    /// Restores the entries of a list; what an earlier attempt has left of them goes first. Gives whether the server took
    /// all of them, and what pg_restore said.
    async fn restore_after_rows(
        &self,
        list: &[Vec<u8>],
        arguments: &[&str],
        target: &Target,
    ) -> Result<(bool, String)> {
        if list.is_empty() {
            return Ok((true, String::new()));
        }
        let file = list_file(list)?;
        let use_list = use_list(&file);
        let fixed = ["--section=post-data", "--clean", "--if-exists", &use_list];
        self.pg_restore(&[&fixed, arguments].concat(), target).await
    }

    /// Restores what comes before rows.
    pub(super) async fn begin_schema(&self) -> Result<Vec<Finding>> {
        match self.pg_restore(&["--section=pre-data", "--verbose"], &self.reading()).await? {
            (true, _) => Ok(Vec::new()),
            (false, said) => self.judge(&said).await,
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

    /// The schema's archive in memory, however large it is.
    pub(super) fn dump(&self) -> Result<File> {
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

/// A list of entries, left open for pg_restore, as no file on disk is to be written.
pub(super) fn list_file(lines: &[Vec<u8>]) -> Result<File> {
    let write = || {
        let mut file = memory(MemfdFlags::empty())?;
        file.write_all(&lines.concat())?;
        file.rewind()?;
        Ok::<_, std::io::Error>(file)
    };
    write().context(|| "write the list of the schema's entries".into())
}

/// The argument by which pg_restore finds it.
pub(super) fn use_list(file: &File) -> String {
    format!("--use-list=/proc/self/fd/{}", file.as_raw_fd())
}

/// The indexes that are whole and the constraints that are built with one, as pg_restore's list describes them.
async fn there(connection: &Connection) -> Result<HashSet<Vec<u8>>> {
    let [index, constraint] = [
        "'INDEX ' || n.nspname || ' ' || c.relname || ' ' || pg_catalog.pg_get_userbyid(c.relowner)",
        "'CONSTRAINT ' || n.nspname || ' ' || t.relname || ' ' || k.conname || ' ' || pg_catalog.pg_get_userbyid(c.relowner)",
    ]
    .map(sql::bytes);
    let sql = format!(
        "SELECT CASE WHEN k.oid IS NULL THEN {index} ELSE {constraint} END \
         FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_class t ON t.oid = i.indrelid \
         LEFT JOIN pg_catalog.pg_constraint k ON k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x') \
         WHERE i.indisvalid OR c.relkind = 'I'"
    );
    let rows = connection.query(&sql, &[]).await.map_err(|error| query_failed("list the indexes", &error))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// What a line of pg_restore's list says of an entry, after its numbers.
fn described(line: &[u8]) -> Option<&[u8]> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.splitn(4, |byte| *byte == b' ').nth(3)
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
        for statement in [0, 1] {
            connection.batch_execute(row.get(statement)).await.map_err(failed)?;
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
        assert_eq!(described(b"3423; 1259 16430 INDEX public by name o\n"), Some(&b"INDEX public by name o"[..]));
    }
}
