//! Tables whose rows the server refused: tried again once all others are loaded, then without the constraints that the rows
//! break, which are made for new rows alone. What still fails stops the restore, or is left out where the operator said so.

use std::collections::{BTreeMap, VecDeque};
use std::sync::PoisonError;

use super::chunks::{Shared, execute, noted};
use super::failures::run_later;
use super::{Load, notes};
use crate::bundle::manifest::Entry;
use crate::bundle::manifest::postgres::Table;
use crate::component::postgres::connection::Connection;
use crate::component::postgres::query_failed;
use crate::finding::Finding;
use crate::{Error, Kind, Result, shell};

/// What begins the note of a table whose rows are left out: its place in the manifest and the reason follow.
pub(super) const LEFT_OUT: &str = "left out ";
/// What begins the note of a constraint that was made for new rows alone: its name and the statement that checks it follow.
const NOT_VALID: &str = "not valid ";
/// The most characters of a reason that are noted: notes are keys of an index, and a character may take twelve there.
const NOTED: usize = 180;
/// What is refused, before its name.
const ROWS_OF: &str = "rows of table ";
/// What follows the number of rows in a finding that some are left out.
const OF_ITS: &str = " of its ";
/// The most tables that an error names.
const NAMED: usize = 10;

/// A constraint that rows break, as the server names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Violated {
    schema: String,
    /// A table, or a domain.
    of: String,
    is_domain: bool,
    name: String,
}

impl Violated {
    /// The check that an error speaks of.
    pub(super) fn by(error: &tokio_postgres::Error) -> Option<Self> {
        let error = error.as_db_error().filter(|error| error.code().code() == "23514")?;
        let text = |text: Option<&str>| text.map(str::to_owned);
        let of = text(error.table()).or_else(|| text(error.datatype()))?;
        let is_domain = error.table().is_none();
        Some(Self { schema: text(error.schema())?, of, is_domain, name: text(error.constraint())? })
    }

    /// The statements that take it away and make it anew for new rows, and a note of that for each. Those of parents come first:
    /// a table has theirs.
    async fn freed(&self, connection: &Connection) -> Result<Vec<Freed>> {
        let (kind, all, of) = match self.is_domain {
            false => (
                "TABLE",
                "SELECT c.oid, 0 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE n.nspname = $1 AND c.relname = $2 UNION \
                 SELECT i.inhparent, a.level + 1 FROM a JOIN pg_catalog.pg_inherits i ON i.inhrelid = a.oid",
                "k.conrelid",
            ),
            true => (
                "DOMAIN",
                "SELECT t.oid, 0 FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace \
                 WHERE n.nspname = $1 AND t.typname = $2 UNION \
                 SELECT t.typbasetype, a.level + 1 FROM a JOIN pg_catalog.pg_type t ON t.oid = a.oid AND t.typtype = 'd'",
                "k.contypid",
            ),
        };
        let type_name = if self.is_domain { "regtype" } else { "regclass" };
        let sql = format!(
            "WITH RECURSIVE a(oid, level) AS ({all}) SELECT \
                pg_catalog.format('ALTER {kind} %s DROP CONSTRAINT IF EXISTS %I', o.name, k.conname), \
                pg_catalog.format('ALTER {kind} %s ADD CONSTRAINT %I %s', o.name, k.conname, \
                    pg_catalog.pg_get_constraintdef(k.oid) || CASE WHEN k.convalidated THEN ' NOT VALID' ELSE '' END), \
                pg_catalog.format('COMMENT ON CONSTRAINT %I ON {} %s IS %L', k.conname, o.name, \
                    pg_catalog.obj_description(k.oid, 'pg_constraint')), \
                pg_catalog.format('check %s %I', o.name, k.conname), \
                pg_catalog.format('ALTER {kind} %s VALIDATE CONSTRAINT %I;', o.name, k.conname) \
             FROM (SELECT oid, max(level) AS level FROM a GROUP BY oid) a \
             JOIN pg_catalog.pg_constraint k ON {of} = a.oid AND k.contype = 'c' AND k.conname = $3 AND k.conislocal, \
             LATERAL (SELECT {of}::pg_catalog.{type_name}::text AS name) o ORDER BY a.level DESC",
            if self.is_domain { "DOMAIN" } else { "" }
        );
        let rows = connection.query(&sql, &[&self.schema, &self.of, &self.name]).await;
        let rows = rows.map_err(|error| query_failed(format!("look at the check {}", self.name), &error))?;
        rows.iter()
            .map(|row| {
                let said = [row.get::<_, &str>(3), row.get(4)];
                let note = notes::as_ascii(&said)?;
                Ok(Freed {
                    dropped: row.get(0),
                    added: format!("{}; {}", row.get::<_, &str>(1), row.get::<_, &str>(2)),
                    note: format!("{NOT_VALID}{note}"),
                })
            })
            .collect()
    }
}

/// A constraint that is taken away while rows are loaded.
struct Freed {
    dropped: String,
    added: String,
    note: String,
}

/// Whether the operator lets the database come back without a table's rows.
pub(super) fn is_accepted(table: &Table, accepted: &[String]) -> bool {
    accepted.iter().any(|name| *name == table.name || *name == shown(table))
}

/// How many rows of a database a restore left out, by what it found.
pub(crate) fn left_out(found: &[Finding], database: &str) -> u64 {
    let of = format!("{database}: {ROWS_OF}");
    let its = found.iter().filter(|finding| finding.code == "left-out" && finding.subject.starts_with(&of));
    its.filter_map(|finding| finding.message.split_once(OF_ITS)?.0.parse::<u64>().ok()).sum()
}

/// As the operator names it.
fn shown(table: &Table) -> String {
    format!("{}.{}", table.schema, table.name)
}

impl Load {
    /// Does with refused tables what can be done.
    ///
    /// # Errors
    /// One that names all that are still refused.
    pub(super) async fn try_again(&self, connection: &Connection, mut refused: BTreeMap<usize, Error>) -> Result<()> {
        if refused.is_empty() {
            return Ok(());
        }
        let shared = self.shared(VecDeque::new());
        let session = shared.begin().await?;
        // What a function reads may be there by now, and is perhaps one of these.
        let mut before = usize::MAX;
        while refused.len() < before {
            before = refused.len();
            for table in refused.keys().copied().collect::<Vec<_>>() {
                let loaded = self.load_each(&shared, &session, table).await;
                keep(&session, &mut refused, (table, loaded)).await?;
            }
        }
        for table in refused.keys().copied().collect::<Vec<_>>() {
            let loaded = self.load_freed(&shared, &session, table).await;
            keep(&session, &mut refused, (table, loaded)).await?;
        }
        let tables = &self.database().tables;
        let (accepted, refused): (BTreeMap<_, _>, BTreeMap<_, _>) =
            refused.into_iter().partition(|(table, _)| is_accepted(&tables[*table], &self.accepted));
        for (table, why) in &accepted {
            self.leave_out(&shared, connection, (*table, why)).await?;
        }
        if refused.is_empty() { Ok(()) } else { Err(self.refusal_of_rows(&refused)) }
    }

    /// A table's chunks that are not there.
    async fn missing_of(&self, connection: &Connection, table: usize) -> Result<Vec<&Entry>> {
        let there = noted(connection).await?;
        Ok(self.of_table(table).filter(|entry| !there.contains_key(&entry.path)).collect())
    }

    fn of_table(&self, table: usize) -> impl Iterator<Item = &Entry> {
        let entries = self.chunks().map(|(_, entry)| entry);
        entries.filter(move |entry| entry.chunk.as_ref().is_some_and(|chunk| chunk.table == table))
    }

    async fn load_each(&self, shared: &Shared, session: &Connection, table: usize) -> Result<()> {
        for entry in self.missing_of(session, table).await? {
            shared.load_chunk(session, entry).await?;
        }
        Ok(())
    }

    /// Loads a table's rows without the checks that they break, in one transaction that makes those anew for new rows.
    async fn load_freed(&self, shared: &Shared, session: &Connection, table: usize) -> Result<()> {
        let mut freed: Vec<Freed> = Vec::new();
        loop {
            let missing = self.missing_of(session, table).await?;
            let Err(error) = load_without(shared, session, &missing, &freed).await else { return Ok(()) };
            let violated = shared.violated.lock().unwrap_or_else(PoisonError::into_inner).take();
            let (Some(violated), true) = (violated, error.is_lasting()) else { return Err(error) };
            execute(session, "ROLLBACK").await?;
            let more = violated.freed(session).await?;
            let known = freed.len();
            for one in more {
                if freed.iter().all(|other| other.note != one.note) {
                    freed.push(one);
                }
            }
            if freed.len() == known {
                return Err(error);
            }
        }
    }

    /// Notes that a table's rows are not to come, and takes away those that did.
    async fn leave_out(&self, shared: &Shared, connection: &Connection, (table, why): (usize, &Error)) -> Result<()> {
        let mut script = String::from("BEGIN; ");
        let mut lost: Vec<&Entry> = self.missing_of(connection, table).await?;
        if let Some(name) = lost.first().map(|entry| shared.relation(entry)).transpose()?.flatten()
            && is_plain(connection, &name).await?
        {
            script.push_str(&format!("TRUNCATE ONLY {name}; "));
            lost = self.of_table(table).collect();
        }
        let rows: u64 = lost.iter().filter_map(|entry| Some(entry.chunk.as_ref()?.rows)).sum();
        let why: String = why.chain().pop().unwrap_or_default().chars().take(NOTED).collect();
        let what = format!("{LEFT_OUT}{table} {}", notes::as_ascii(&why)?);
        let paths: Vec<&str> = lost.iter().map(|entry| entry.path.as_str()).chain([what.as_str()]).collect();
        script.push_str(&notes::forget(&paths));
        for entry in &lost {
            script.push_str(&format!("; {}", notes::insert(&entry.path, "0")));
        }
        script.push_str(&format!("; {}; COMMIT", notes::insert(&what, &rows.to_string())));
        execute(connection, &script).await
    }

    /// What was done about refused rows, as the database's notes have it.
    pub(super) async fn row_findings(&self) -> Result<Vec<Finding>> {
        let Some(notes) = notes::read(&*self.ask().await?).await? else { return Ok(Vec::new()) };
        let mut notes: Vec<(String, u64)> = notes.into_iter().collect();
        notes.sort();
        Ok(notes.iter().filter_map(|(what, rows)| self.row_finding(what, *rows)).collect())
    }

    fn row_finding(&self, what: &str, rows: u64) -> Option<Finding> {
        if let Some(note) = what.strip_prefix(NOT_VALID) {
            let [check, validate]: [String; 2] = serde_json::from_str(note).ok()?;
            let message = "rows break it, so it is NOT VALID: it holds for new rows alone";
            let finding = Finding::warning("constraint-not-valid", format!("{}: {check}", self.name), message);
            return Some(finding.hint(run_later(&self.name, &validate)));
        }
        let (table, why) = what.strip_prefix(LEFT_OUT)?.split_once(' ')?;
        let (place, why): (usize, String) = (table.parse().ok()?, serde_json::from_str(why).ok()?);
        let table: &Table = self.database().tables.get(place)?;
        let subject = format!("{}: {ROWS_OF}{}", self.name, shown(table));
        let message = format!("{rows}{OF_ITS}{} rows are left out, as --accept-missing allows: {why}", table.rows);
        let mut scripts = self.of_table(place).map(|entry| entry.path.as_str());
        let (first, more) = (scripts.next().unwrap_or_default(), scripts.count());
        let more = if more > 0 { format!(" and the {more} after it") } else { String::new() };
        let hint = format!(
            "mend what refuses them, then run with psql in database {}: {first}{more} of the bundle",
            self.name
        );
        Some(Finding::warning("left-out", subject, message).hint(hint))
    }

    fn refusal_of_rows(&self, refused: &BTreeMap<usize, Error>) -> Error {
        let tables = &self.database().tables;
        let mut causes: Vec<String> = refused
            .iter()
            .take(NAMED)
            .map(|(table, why)| {
                let chain = why.chain();
                format!("{ROWS_OF}{}: {}", shown(&tables[*table]), chain.last().map_or("", String::as_str))
            })
            .collect();
        if refused.len() > NAMED {
            causes.push(format!("and of {} more", refused.len() - NAMED));
        }
        let flags: String =
            refused.keys().map(|table| format!(" --accept-missing {}", shell::word(&shown(&tables[*table])))).collect();
        let error = Error::new(Kind::Failed, format!("the server refuses rows of database {}", self.name));
        error.because(causes.join("\n")).lasting().hint(format!(
            "it will fail again: `restore --rollback` returns to what was there; mend it in the source and back up anew; or go on \
             without all rows of what is named: `restore --resume{flags}`"
        ))
    }
}

/// Takes a table off the refused ones if it was loaded.
///
/// # Errors
/// What may pass.
async fn keep(
    session: &Connection,
    refused: &mut BTreeMap<usize, Error>,
    (table, loaded): (usize, Result<()>),
) -> Result<()> {
    match loaded {
        Ok(()) => refused.remove(&table),
        Err(error) if error.is_lasting() && !session.is_closed() => {
            execute(session, "ROLLBACK").await?;
            refused.insert(table, error)
        }
        Err(error) => return Err(error),
    };
    Ok(())
}

async fn load_without(shared: &Shared, session: &Connection, chunks: &[&Entry], freed: &[Freed]) -> Result<()> {
    if freed.is_empty() {
        // Known to fail; its words say what it breaks.
        for entry in chunks {
            shared.load_chunk(session, entry).await?;
        }
        return Ok(());
    }
    execute(session, "BEGIN").await?;
    for one in freed {
        execute(session, &one.dropped).await?;
    }
    for entry in chunks {
        shared.load_inside(session, entry).await?;
    }
    for one in freed {
        execute(session, &one.added).await?;
        let note = format!("{}; {}", notes::forget(&[&one.note]), notes::insert(&one.note, "0"));
        execute(session, &note).await?;
    }
    execute(session, "COMMIT").await
}

/// Whether a name, which is SQL, is a table's that holds its rows itself.
async fn is_plain(connection: &Connection, name: &str) -> Result<bool> {
    let sql = "SELECT relkind = 'r' FROM pg_catalog.pg_class WHERE oid = pg_catalog.to_regclass($1)";
    let row = connection.query_opt(sql, &[&name]).await;
    Ok(row.map_err(|error| query_failed(format!("look at table {name}"), &error))?.is_some_and(|row| row.get(0)))
}
