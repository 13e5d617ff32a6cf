//! Entries of the schema that the server refused, and what becomes of each: some can be made later without loss, a constraint
//! is made for new rows alone, and without the others the restore goes on only where the operator said so.

use std::fs::File;
use std::process::Stdio;

use super::Load;
use super::archive::{list_file, use_list};
use super::checked::Checked;
use super::schema::Before;
use super::simple;
use super::statements::{self, not_valid};
use crate::component::postgres::elsewhere::LEFT_FOR_LATER;
use crate::component::postgres::{command, sql, words};
use crate::finding::Finding;
use crate::{Error, ErrorContext, Kind, Result, shell};

/// What can be made later and changes no row and no answer until then but its own.
const LATER: [&str; 11] = [
    "ACL",
    "COMMENT",
    "DEFAULT ACL",
    "INDEX ATTACH",
    "MATERIALIZED VIEW DATA",
    "PUBLICATION",
    "PUBLICATION TABLE",
    "PUBLICATION TABLES IN SCHEMA",
    "SECURITY LABEL",
    "STATISTICS",
    OF_ROWS,
];
/// Constraints that can be made for new rows alone.
const NOT_VALID: [&str; 2] = ["CHECK CONSTRAINT", "FK CONSTRAINT"];
/// Kinds of several statements that need not all be run.
const IN_PARTS: [&str; 3] = ["ACL", "DEFAULT ACL", "SECURITY LABEL"];
/// What rows lie in or are made of: without it nothing is left to restore.
const NEEDED: [&str; 8] = ["DEFAULT", "DOMAIN", "EXTENSION", "SCHEMA", "SEQUENCE", "TABLE", "TABLE ATTACH", "TYPE"];
/// Beside what can be made later and constraints, kinds whose statements are shown. Those of others may hold a password or a token.
const SHOWN: [&str; 2] = ["CONSTRAINT", "INDEX"];
/// Its statement holds values of rows.
const OF_ROWS: &str = "STATISTICS DATA";
/// The most entries that an error names.
const NAMED: usize = 10;

/// An entry that pg_restore could not restore.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// Its number in the archive.
    id: u64,
    /// The server's words, without rows.
    why: String,
}

/// The entries that failed, by what one verbose pg_restore said that worked alone; and what it said of no entry.
fn failures(said: &str) -> (Vec<Failure>, String) {
    let mut parts: Vec<(Option<u64>, String)> = vec![(None, String::new())];
    for line in said.split_inclusive('\n') {
        let id =
            line.strip_prefix("pg_restore: from TOC entry ").and_then(|rest| rest.split_once("; ")?.0.parse().ok());
        match (id, parts.last_mut()) {
            (Some(_), _) => parts.push((id, String::new())),
            // It goes on with another entry.
            (None, Some((Some(_), _)))
                if line.starts_with("pg_restore: ") && !line.starts_with("pg_restore: error: ") =>
            {
                parts.push((None, String::new()));
            }
            (None, Some((_, text))) => text.push_str(line),
            (None, None) => {}
        }
    }
    let (mut failures, mut rest): (Vec<Failure>, String) = (Vec::new(), String::new());
    for (id, text) in parts {
        let text = words::of_program(&text);
        // What comes after the first one follows from it.
        let first = text.trim_start().strip_prefix("pg_restore: error: ").unwrap_or(&text);
        let first = first.split("pg_restore: error: ").next().unwrap_or_default();
        let why = first.strip_prefix("could not execute query: ").unwrap_or(first).trim();
        match id {
            Some(id) if failures.iter().any(|failure| failure.id == id) => {}
            Some(id) => failures.push(Failure { id, why: why.into() }),
            // It names an entry once only: what comes without one is of the last that was named.
            None if !failures.is_empty() => {}
            None => rest.extend(text.split_inclusive('\n').filter(|line| line.starts_with("pg_restore: error: "))),
        }
    }
    (failures, rest)
}

/// The numbers of the entries that failed.
pub(super) fn refused(said: &str) -> Vec<u64> {
    failures(said).0.into_iter().filter(|failure| !failure.is_there_already()).map(|failure| failure.id).collect()
}

impl Failure {
    /// Whether it failed for an earlier attempt that made the same.
    fn is_there_already(&self) -> bool {
        ["already exists", "already exists with same argument types"].iter().any(|end| self.why.ends_with(end))
    }
}

/// An entry as SQL.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    /// What it is, such as `FK CONSTRAINT`.
    kind: String,
    /// Its schema and what pg_dump calls it: `public.runs runs_pkey`, or `TABLE runs in schema public`.
    name: String,
    /// What makes it.
    statement: Vec<u8>,
}

impl Entry {
    /// Reads the script of one entry.
    fn read(script: &[u8]) -> Option<Self> {
        const HEADER: &[u8] = b"\n--\n-- Name: ";
        const END: &[u8] = b"\n--\n-- PostgreSQL database dump complete";
        let at = memchr::memmem::find(script, HEADER)?;
        let rest = &script[at + HEADER.len()..];
        let line = String::from_utf8_lossy(&rest[..memchr::memchr(b'\n', rest)?]).into_owned();
        let body = &rest[memchr::memmem::find(rest, b"\n--\n")? + 4..];
        let body = &body[..memchr::memmem::rfind(body, END)?];
        // What is set for this entry stands before its header.
        let before = memchr::memmem::find(&script[..at], b"SET row_security = off;\n").map_or(at, |begin| begin + 24);
        let settings = script[before..at].trim_ascii();
        let settings = settings.strip_prefix(b"SET default_tablespace = '';").unwrap_or(settings).trim_ascii();
        let statement = [settings, if settings.is_empty() { b"" } else { b"\n" }, body.trim_ascii()].concat();
        let (tag, rest) = line.rsplit_once("; Type: ")?;
        let (kind, rest) = rest.split_once("; Schema: ")?;
        let schema = rest.split_once("; Owner: ").map_or(rest, |(schema, _)| schema);
        let of_another = ["ACL", "COMMENT", "SECURITY LABEL"].contains(&kind);
        let name = match schema {
            "-" => tag.to_owned(),
            schema if of_another => format!("{tag} in schema {schema}"),
            schema => format!("{schema}.{tag}"),
        };
        Some(Self { kind: kind.into(), name, statement })
    }

    /// For people.
    fn shown(&self) -> String {
        let kind = match self.kind.as_str() {
            "ACL" => "privileges on",
            "CHECK CONSTRAINT" => "check",
            "COMMENT" => "comment on",
            "DEFAULT ACL" => "default privileges",
            "FK CONSTRAINT" => "foreign key",
            "MATERIALIZED VIEW DATA" => "rows of materialized view",
            "SECURITY LABEL" => "security label on",
            other => return format!("{} {}", other.to_lowercase(), self.name),
        };
        format!("{kind} {}", self.name)
    }

    /// What makes it, for people, where it is nothing secret.
    fn sql(&self) -> Option<String> {
        let shown = self.kind != OF_ROWS && (self.is(&LATER) || self.is(&NOT_VALID) || self.is(&SHOWN));
        shown.then(|| String::from_utf8_lossy(&self.statement).into_owned())
    }

    fn is(&self, kinds: &[&str]) -> bool {
        kinds.contains(&self.kind.as_str())
    }

    /// Whether it can be made later without loss. An index that keeps no rows apart only makes queries faster.
    fn is_for_later(&self) -> bool {
        let plain_index = sql::after_word(&self.statement, b"CREATE INDEX ").is_some();
        self.is(&LATER) || (self.kind == "INDEX" && plain_index)
    }

    /// Whether an operator means it: by its name, or by its own part of one that names its table too.
    fn is_called(&self, name: &str) -> bool {
        let tag = self.name.split_once('.').map_or(self.name.as_str(), |(_, tag)| tag);
        self.name == name
            || tag == name
            || (!self.is(&LATER) && tag.rsplit_once(' ').is_some_and(|(_, own)| own == name))
    }
}

impl Load {
    /// What becomes of what one verbose pg_restore, which worked alone, could not restore.
    ///
    /// # Errors
    /// One that names every object without which the restore must not go on.
    pub(super) async fn judge(&self, said: &str, before: Before) -> Result<Vec<Finding>> {
        let (mut failures, rest) = failures(said);
        // One that is newer than the server sets what that does not know, and goes on without it.
        let unexplained = rest.lines().find(|line| !line.contains("unrecognized configuration parameter"));
        let nothing = (failures.is_empty() && rest.is_empty()).then_some("it names no object");
        if let Some(line) = unexplained.or(nothing) {
            return Err(Error::new(Kind::Failed, "restore the schema with pg_restore")
                .because(line.to_owned())
                .lasting());
        }
        if before == Before::Kept {
            failures.retain(|failure| !failure.is_there_already());
        }
        let (mut findings, mut refused) = (Vec::new(), Vec::new());
        let dump = self.dump()?;
        for failure in failures {
            let entry = self.entry(&dump, failure.id).await?;
            match self.mended(&entry, &failure.why).await? {
                Some(found) => findings.extend(found),
                None => refused.push((entry, failure.why)),
            }
        }
        if refused.is_empty() { Ok(findings) } else { Err(self.refusal(&refused)) }
    }

    /// What a failed entry amounts to; none where it can't be done without.
    async fn mended(&self, entry: &Entry, why: &str) -> Result<Option<Vec<Finding>>> {
        let subject = format!("{}: {}", self.name, entry.shown());
        let later = |finding: Finding, statement: Option<String>| match statement {
            Some(sql) => vec![finding.hint(run_later(&self.name, &sql))],
            None => {
                vec![finding.hint("databases/NAME/pre-data.sql and post-data.sql in the bundle hold the statement")]
            }
        };
        if entry.is(&NOT_VALID)
            && let Some((statement, validate)) = not_valid(&entry.statement)
        {
            let script = Checked::one(self.preamble()?, &statement)?;
            match self.target.run_script(&self.shadow, "add a constraint with psql", &script).await {
                Ok(()) => {
                    let finding = Finding::warning("constraint-not-valid", subject, broken_by_rows(why));
                    return Ok(Some(later(finding, Some(validate))));
                }
                Err(error) if error.is_lasting() => {}
                Err(error) => return Err(error),
            }
        }
        if entry.is(&IN_PARTS) {
            return self.made_in_parts(entry, subject).await.map(Some);
        }
        if entry.is_for_later() || entry.is(&NOT_VALID) {
            let finding = Finding::warning(LEFT_FOR_LATER, subject, not_made(why));
            return Ok(Some(later(finding, entry.sql())));
        }
        if !entry.is(&NEEDED) && self.accepted.iter().any(|name| entry.is_called(name)) {
            let message = format!("left out, as --accept-missing allows: {why}");
            return Ok(Some(later(Finding::warning("left-out", subject, message), entry.sql())));
        }
        Ok(None)
    }

    /// Runs each statement of an entry for itself: one that the server refuses need not cost the others.
    async fn made_in_parts(&self, entry: &Entry, subject: String) -> Result<Vec<Finding>> {
        let statements = statements::alone(&entry.statement)?;
        let refused = self.target.run_each(&self.shadow, &self.preamble()?, &statements).await?;
        let Some(first) = refused.first() else { return Ok(Vec::new()) };
        let message = match (refused.len(), statements.len()) {
            (some, all) if some < all => format!("{some} of {all} statements could not be run: {}", first.why),
            _ => not_made(&first.why),
        };
        let later = refused.iter().map(|refused| statements[refused.place].later());
        let later: Vec<String> = later.map(|sql| String::from_utf8_lossy(&sql).into_owned()).collect();
        Ok(vec![Finding::warning(LEFT_FOR_LATER, subject, message).hint(run_later(&self.name, &later.join(" ")))])
    }

    /// What a script of the database's own begins with.
    fn preamble(&self) -> Result<Vec<u8>> {
        let encoding = &self.database().encoding;
        simple::look_at_encoding(encoding)?;
        Ok(sql::preamble(encoding))
    }

    fn refusal(&self, refused: &[(Entry, String)]) -> Error {
        let mut causes: Vec<String> = refused.iter().take(NAMED).map(|(entry, why)| described(entry, why)).collect();
        if refused.len() > NAMED {
            causes.push(format!("and {} more", refused.len() - NAMED));
        }
        let error = Error::new(Kind::Failed, format!("the server refuses parts of database {}", self.name));
        let error = error.because(causes.join("\n")).lasting();
        let back = "it will fail again: `restore --rollback` returns to what was there; mend it in the source and back up anew";
        if refused.iter().any(|(entry, _)| entry.is(&NEEDED)) {
            return error.hint(back);
        }
        let flags: String =
            refused.iter().map(|(entry, _)| format!(" --accept-missing {}", shell::word(&entry.name))).collect();
        error.hint(format!("{back}; or go on without: `restore --resume{flags}`"))
    }

    /// An entry of the archive.
    async fn entry(&self, dump: &File, id: u64) -> Result<Entry> {
        let doing = || "write an entry of the schema as SQL with pg_restore";
        let file = list_file(&[format!("{id};\n").into_bytes()])?;
        let mut pg_restore = self.target.tools.client("pg_restore", &self.target.parameters);
        pg_restore.args([use_list(&file).as_str(), "--file=-", "/dev/stdin"]);
        let input = Stdio::from(dump.try_clone().context(|| doing().into())?);
        let script = command::output(pg_restore, doing(), input).await?;
        Entry::read(&script).ok_or_else(|| Error::new(Kind::Failed, format!("{}: number {id} has none", doing())))
    }
}

/// What is said of a constraint that was made for new rows alone.
pub(super) fn broken_by_rows(why: &str) -> String {
    format!("rows break it, so it is NOT VALID: it holds for new rows alone ({why})")
}

/// What is said of what was not made.
pub(super) fn not_made(why: &str) -> String {
    format!("it could not be made: {why}")
}

/// What can be done about it.
pub(super) fn run_later(database: &str, sql: &str) -> String {
    format!("once that is mended, run in database {database}: {sql}")
}

/// A refused entry for people. The statement of an index names its table.
fn described(entry: &Entry, why: &str) -> String {
    let why = why.replace('\n', " ");
    match entry.sql().filter(|_| entry.kind == "INDEX") {
        Some(sql) => format!("{}: {why} ({sql})", entry.shown()),
        None => format!("{}: {why}", entry.shown()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_found_in_what_pg_restore_said() {
        let said = "pg_restore: creating INDEX \"public.uq\"\npg_restore: while PROCESSING TOC:\n\
            pg_restore: from TOC entry 7; 1259 3 INDEX uq o\npg_restore: error: could not execute query: ERROR:  no uq\n\
            DETAIL:  Key (a)=(hunter2) is duplicated.\nCommand was: CREATE UNIQUE INDEX uq;\n\n\n\
            pg_restore: creating INDEX \"public.uq\"\npg_restore: error: could not execute query: ERROR:  no uq again\n\
            pg_restore: creating COMMENT \"x\"\npg_restore: from TOC entry 9; 0 0 COMMENT x o\n\
            pg_restore: error: could not execute query: ERROR:  no x\nCommand was: COMMENT\n\n\
            pg_restore: warning: errors ignored on restore: 2\n";
        let failure = |id, why: &str| Failure { id, why: why.into() };
        assert_eq!(failures(said), (vec![failure(7, "ERROR:  no uq"), failure(9, "ERROR:  no x")], String::new()));
        let early = "pg_restore: while INITIALIZING:\npg_restore: error: could not execute query: ERROR:  no y\n";
        assert_eq!(failures(early), (vec![], "pg_restore: error: could not execute query: ERROR:  no y\n".into()));
    }

    #[test]
    fn an_entry_is_read_from_its_script() {
        let script = b"SET row_security = off;\n\nSET default_tablespace = t;\n\n--\n-- Name: a; Type: b; Type: FK CONSTRAINT; \
            Schema: s; Owner: o; Tablespace: t\n--\n\nALTER TABLE ONLY s.\"a;\"\n    ADD CONSTRAINT \"k \"\"\" FOREIGN KEY (x);\n\n\n\
            --\n-- PostgreSQL database dump complete\n--\n";
        let entry = Entry::read(script).expect("an entry");
        assert_eq!((entry.kind.as_str(), entry.name.as_str()), ("FK CONSTRAINT", "s.a; Type: b"));
        let entry =
            Entry { statement: b"ALTER TABLE ONLY s.t\n    ADD CONSTRAINT \"k \"\"\" CHECK (x);".into(), ..entry };
        let (now, later) = not_valid(&entry.statement).expect("a constraint");
        assert!(now.ends_with(b"CHECK (x) NOT VALID;\n"));
        assert_eq!(later, "ALTER TABLE s.t VALIDATE CONSTRAINT \"k \"\"\";");
    }

    #[test]
    fn an_object_is_meant_by_its_own_name_too() {
        let entry = Entry { kind: "CONSTRAINT".into(), name: "s.runs runs_pkey".into(), statement: Vec::new() };
        assert!(["s.runs runs_pkey", "runs runs_pkey", "runs_pkey"].iter().all(|name| entry.is_called(name)));
        assert!(!["runs", "pkey", "s", ""].iter().any(|name| entry.is_called(name)));
    }
}
