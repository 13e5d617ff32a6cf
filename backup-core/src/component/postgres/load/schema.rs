//! The schema before and after the rows, by `pg_restore` from memory.

use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::AsRawFd;
use std::process::Stdio;

use rustix::fs::{MemfdFlags, memfd_create};

use super::Load;
use crate::component::postgres::connection::Connection;
use crate::component::postgres::{command, query_failed};
use crate::{ErrorContext, Result};

/// Makes every subscription of the database one that can be dropped without a word to its publisher.
const DISCONNECT_SUBSCRIPTIONS: &str = "SELECT pg_catalog.format('ALTER SUBSCRIPTION %1$I DISABLE; \
        ALTER SUBSCRIPTION %1$I SET (slot_name = NONE)', subname) FROM pg_catalog.pg_subscription \
    WHERE subdbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())";

/// Kinds of entries that are added one after another once all indexes are there. Several at once would lock partitions
/// and their parents in different orders, refresh what may not be read yet, or have event triggers see the restore.
const IN_TURN: [&str; 14] = [
    "INDEX ATTACH",
    "FK CONSTRAINT",
    "TRIGGER",
    "EVENT TRIGGER",
    "MATERIALIZED VIEW DATA",
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

impl Load {
    /// Sets sequences and builds indexes and their constraints, several at once.
    ///
    /// # Errors
    /// psql's or pg_restore's words.
    pub async fn build_indexes(&self) -> Result<()> {
        // A crash of the server may have emptied unlogged tables since.
        self.load_missing().await?;
        let sequences = self.content("sequences.sql")?;
        self.target.run_script(&self.shadow, "set the sequences with psql", &sequences).await?;
        self.restore_after_rows(false, &[&format!("--jobs={}", self.target.jobs)]).await
    }

    /// Adds all else that comes after rows: foreign keys, triggers, policies, publications.
    ///
    /// # Errors
    /// pg_restore's words.
    pub async fn finish_schema(&self) -> Result<()> {
        let connection = self.connect().await?;
        super::notes::end(&connection).await?;
        disconnect_subscriptions(&connection).await?;
        self.restore_after_rows(true, &[]).await
    }

    /// Restores those entries of the section post-data that are, or are not, to be added in turn; what an earlier
    /// attempt has left of them goes first.
    async fn restore_after_rows(&self, in_turn: bool, arguments: &[&str]) -> Result<()> {
        let doing = "list the schema's entries with pg_restore";
        let mut list = self.target.tools.client("pg_restore", &self.target.parameters);
        list.args(["--list", "--section=post-data"]);
        let listed = command::run(list, doing, Some(&self.content("schema.dump")?)).await?.output;
        let chosen: Vec<&[u8]> =
            listed.split_inclusive(|byte| *byte == b'\n').filter(|line| is_in_turn(line) == Some(in_turn)).collect();
        if chosen.is_empty() {
            return Ok(());
        }
        // Left open for pg_restore, as no file on disk is to be written.
        let list = memory(MemfdFlags::empty(), &chosen.concat()).context(|| doing.into())?;
        let use_list = format!("--use-list=/proc/self/fd/{}", list.as_raw_fd());
        let fixed = ["--section=post-data", "--clean", "--if-exists", &use_list];
        self.pg_restore(&[&fixed, arguments].concat()).await
    }

    /// Restores what comes before rows.
    pub(super) async fn begin_schema(&self) -> Result<()> {
        self.pg_restore(&["--section=pre-data"]).await
    }

    async fn pg_restore(&self, arguments: &[&str]) -> Result<()> {
        let doing = "restore the schema with pg_restore";
        let dump = memory(MemfdFlags::CLOEXEC, &self.content("schema.dump")?).context(|| doing.into())?;
        let mut pg_restore = self.target.tools.client("pg_restore", &self.target.parameters);
        // A plain name that looks like a connection string would be taken for one.
        let quoted = self.shadow.replace('\\', "\\\\").replace('\'', "\\'");
        pg_restore.args(["--exit-on-error", "--no-password", &format!("--dbname=dbname='{quoted}'")]);
        pg_restore.args(arguments).arg("/dev/stdin");
        let running = command::start(pg_restore, doing, Stdio::from(dump))?;
        running.finish().await.context(|| format!("database {}", self.shadow))
    }
}

/// Something that each process of pg_restore can open and seek in, as in a file, and that is not on disk.
fn memory(flags: MemfdFlags, content: &[u8]) -> std::io::Result<File> {
    let mut file = File::from(memfd_create("schema", flags)?);
    file.write_all(content)?;
    file.rewind()?;
    Ok(file)
}

/// Whether a line of pg_restore's list names an entry that is to be added in turn; none for comments.
fn is_in_turn(line: &[u8]) -> Option<bool> {
    // `3423; 2606 16430 CONSTRAINT chef runs_pkey orchestrator`
    let line = String::from_utf8_lossy(line);
    let (number, rest) = line.split_once("; ")?;
    number.parse::<u64>().ok()?;
    let kind = rest.splitn(3, ' ').nth(2)?;
    Some(IN_TURN.iter().any(|other| kind.strip_prefix(other).is_some_and(|rest| rest.starts_with(' '))))
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
    fn what_locks_much_or_fires_comes_in_turn() {
        let of = |line: &str| is_in_turn(line.as_bytes());
        assert_eq!(of("; Archive created at 2026-11-20\n"), None);
        assert_eq!(of("3423; 2606 16430 CONSTRAINT chef runs_pkey orchestrator\n"), Some(false));
        assert_eq!(of("3423; 1259 16430 INDEX public by_name orchestrator\n"), Some(false));
        assert_eq!(of("3423; 0 0 INDEX ATTACH public by_name orchestrator\n"), Some(true));
        assert_eq!(of("3423; 2606 16430 FK CONSTRAINT chef runs machine_fkey orchestrator\n"), Some(true));
        assert_eq!(of("3424; 6106 1 PUBLICATION TABLE public changes gaps postgres\n"), Some(true));
    }
}
