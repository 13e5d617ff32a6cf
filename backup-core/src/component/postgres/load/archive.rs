//! The schema's archive in memory, and pg_restore's list of what is in it.

use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::AsRawFd;
use std::process::Stdio;

use rustix::fs::{MemfdFlags, memfd_create};

use super::Load;
use super::early::{Parts, is_mixed, parts};
use crate::component::postgres::command;
use crate::memory::look;
use crate::{Error, ErrorContext, Kind, Result};

/// When an entry of the schema is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// With others at the same time: indexes, constraints that are built with one, and what pg_dump has put between them, such as a
    /// view that needs a key.
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
    /// The lines of pg_restore's list that speak of entries of the section post-data whose turn it is.
    pub(super) async fn entries_after_rows(&self, turn: Turn) -> Result<Vec<Vec<u8>>> {
        let listed = self.list(&["--section=post-data"]).await?;
        let lines = listed.split_inclusive(|byte| *byte == b'\n');
        Ok(lines.filter(|line| turn_of(line) == Some(turn)).map(<[u8]>::to_vec).collect())
    }

    /// The archive in parts, where some of pre-data needs some of post-data.
    pub(super) async fn mixed(&self) -> Result<Option<Parts>> {
        let (all, before) = (self.list(&[]).await?, self.list(&["--section=pre-data"]).await?);
        if !is_mixed(&all, &before) {
            return Ok(None);
        }
        let verbose = self.list(&["--verbose"]).await?;
        Ok(Some(parts(&all, &before, &verbose)))
    }

    async fn list(&self, arguments: &[&str]) -> Result<Vec<u8>> {
        let mut list = self.target.tools.client("pg_restore", &self.target.parameters);
        list.arg("--list").args(arguments);
        command::output(list, "list the schema's entries with pg_restore", Stdio::from(self.dump()?)).await
    }

    /// The schema's archive in memory, where there is room for it. The reader gives no more than the manifest says.
    pub(super) fn dump(&self) -> Result<File> {
        let path = format!("databases/{}/schema.dump", self.database().directory);
        let entry = self.bundle.manifest().entries.iter().find(|entry| entry.path == path);
        let entry = entry.ok_or_else(|| Error::new(Kind::NotFound, format!("entry {path}: not in this bundle")))?;
        let doing = || format!("read {path}");
        look(doing, entry.size)?;
        let mut file = memory(MemfdFlags::CLOEXEC).context(doing)?;
        let mut reader = self.bundle.read(entry)?;
        while let Some(part) = reader.next()? {
            file.write_all(part).context(doing)?;
        }
        file.rewind().context(doing)?;
        Ok(file)
    }
}

/// Something that each process of pg_restore can open and seek in, as in a file, and that is not on disk.
fn memory(flags: MemfdFlags) -> std::io::Result<File> {
    Ok(File::from(memfd_create("schema", flags)?))
}

/// A list of entries, left open for pg_restore, as no file on disk is to be written.
pub(in super::super) fn list_file(lines: &[Vec<u8>]) -> Result<File> {
    let write = || {
        let mut file = memory(MemfdFlags::empty())?;
        file.write_all(&lines.concat())?;
        file.rewind()?;
        Ok::<_, std::io::Error>(file)
    };
    write().context(|| "write the list of the schema's entries".into())
}

/// The argument by which pg_restore finds it.
pub(in super::super) fn use_list(file: &File) -> String {
    format!("--use-list=/proc/self/fd/{}", file.as_raw_fd())
}

/// What a line of pg_restore's list says of an entry, after its numbers.
pub(super) fn described(line: &[u8]) -> Option<&[u8]> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.splitn(4, |byte| *byte == b' ').nth(3)
}

/// The number of the entry that a line of pg_restore's list speaks of; none for comments.
pub(super) fn id_of(line: &[u8]) -> Option<u64> {
    std::str::from_utf8(line.split(|byte| *byte == b';').next()?).ok()?.parse().ok()
}

/// Whether the entry of a line is of one of these kinds.
pub(super) fn is_of(line: &[u8], kinds: &[&str]) -> bool {
    let is = |kind: &&str| described(line)?.strip_prefix(kind.as_bytes()).map(|rest| rest.starts_with(b" "));
    kinds.iter().any(|kind| is(kind) == Some(true))
}

/// Whose turn a line of pg_restore's list speaks of; none for comments.
fn turn_of(line: &[u8]) -> Option<Turn> {
    // `3423; 2606 16430 CONSTRAINT chef runs_pkey orchestrator`
    id_of(line)?;
    Some(match () {
        () if is_of(line, &LAST) => Turn::Last,
        () if is_of(line, &[FILLED]) => Turn::Filled,
        () if is_of(line, &ALONE) => Turn::Alone,
        () => Turn::Together,
    })
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
