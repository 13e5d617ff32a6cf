//! A script in `pg_dump`'s plain format: what it holds, told without a server.

mod lexer;
mod statement;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use sha2::{Digest, Sha256};

use crate::bundle::manifest::{Sha256Digest, Table};
use crate::event::Meter;
use crate::finding::bytes;
use crate::{Context, Error, ErrorContext, Kind, Result, store};
use lexer::Lexer;
use statement::{NOT_PG_DUMPS, after_last, beyond, first_name, is_copy, other_copy, qualified, roles_of, tablespace};

/// Bytes that are read at once, and that have one digest.
pub(crate) const PART: usize = 1 << 20;
/// The longest line of SQL that is read: it is held in memory. Rows between `COPY` and `\.` may be longer.
const LINE: u64 = 64 << 20;
/// What ends a table's rows, as psql sees it.
const ENDS_OF_ROWS: [&[u8]; 2] = [b"\\.\n", b"\\.\r\n"];
/// What `pg_dump` writes last.
const COMPLETE: &[u8] = b"-- PostgreSQL database dump complete";
const SET_TABLESPACE: &[u8] = b"SET default_tablespace = ";
/// What a script holds.
#[derive(Debug)]
pub(crate) struct Contents {
    /// Digest of its bytes.
    pub(crate) sha256: Sha256Digest,
    /// Digest of each [`PART`] of it.
    pub(crate) parts: Arc<[[u8; 32]]>,
    /// Its length in bytes.
    pub(crate) size: u64,
    /// The version of the server that it is of, as the server states it.
    pub(crate) server: String,
    /// The version of `pg_dump`.
    pub(crate) pg_dump: String,
    /// The encoding of its texts.
    pub(crate) encoding: String,
    /// Every table that rows are copied into, with their number.
    pub(crate) tables: Vec<Table>,
    /// Whether all its rows are copied, and so counted; others are inserted, or have a table whose name is not UTF-8.
    pub(crate) counted: bool,
    /// Whether it says whom anything belongs to.
    pub(crate) owners: bool,
    /// Roles that own or may use something.
    pub(crate) roles: BTreeSet<String>,
    /// Extensions.
    pub(crate) extensions: BTreeSet<String>,
    /// Tablespaces of single tables and indexes.
    pub(crate) tablespaces: BTreeSet<String>,
    /// Number of large objects.
    pub(crate) large_objects: u64,
    /// Where psql's commands are that keep it from all others: the first byte, and the one after the last.
    pub(crate) commands: Vec<(u64, u64)>,
}

/// Reads a script from beginning to end.
///
/// # Errors
/// [`Kind::Unsupported`] where it is no script of one database in `pg_dump`'s plain format; [`Kind::Damaged`] where its
/// end is missing.
pub(crate) fn read(path: &Path, context: &Context, meter: &Meter) -> Result<Contents> {
    let doing = || format!("read {}", path.display());
    let file = store::open_file(path)?;
    refuse_other_formats(&file).context(doing)?;
    let mut input = BufReader::with_capacity(PART, Hashed { file, whole: Sha256::new(), parts: Vec::new(), size: 0 });
    let mut reading = Reading::default();
    let mut line = Vec::new();
    let mut counted = 0;
    loop {
        if context.cancel.is_cancelled() {
            return Err(Error::new(Kind::Interrupted, "interrupted before the script was read"));
        }
        line.clear();
        // A row may be as long as a value can be, and need not be held.
        let limit = if reading.copy.is_some() { PART as u64 } else { LINE };
        if (&mut input).take(limit).read_until(b'\n', &mut line).context(doing)? == 0 {
            break;
        }
        if reading.copy.is_none() && line.len() as u64 == LINE {
            let message = format!("a line of it is longer than {}", bytes(LINE));
            return Err(Error::new(Kind::Unsupported, message).hint(NOT_PG_DUMPS)).context(doing);
        }
        reading.take(&line).context(doing)?;
        let read = input.get_ref().size;
        // Whatever it is, it need not be read to its end.
        if read > LINE && reading.server.is_none() {
            return Err(not_pg_dumps()).context(doing);
        }
        meter.done.fetch_add(read - counted, Relaxed);
        meter.read.fetch_add(read - counted, Relaxed);
        counted = read;
    }
    let Hashed { whole, parts, size, .. } = input.into_inner();
    let parts = parts.into_iter().map(|part| part.finalize().into()).collect();
    reading.finish(Sha256Digest(whole.finalize().into()), parts, size).context(doing)
}

fn not_pg_dumps() -> Error {
    Error::new(Kind::Unsupported, "it is no script that pg_dump wrote, of version 9.5 or later").hint(NOT_PG_DUMPS)
}

/// What people have who think that they have a plain script.
fn refuse_other_formats(file: &File) -> Result<()> {
    use std::os::unix::fs::FileExt;
    let mut start = [0; 5];
    let read = file.read_at(&mut start, 0).unwrap_or(0);
    let (what, hint) = match &start[..read] {
        b"PGDMP" => {
            ("pg_dump's own format", "make a script of it: pg_restore --file=orchestrator.sql, then name that one")
        }
        [0x1f, 0x8b, ..] => ("compressed", "decompress it with gunzip, or name it with --file if it is a bundle"),
        _ => return Ok(()),
    };
    Err(Error::new(Kind::Unsupported, format!("it is {what} and no plain script")).hint(hint))
}

/// Hashes what is read, as a whole and in parts.
struct Hashed {
    file: File,
    whole: Sha256,
    parts: Vec<Sha256>,
    size: u64,
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = PART - (self.size % PART as u64) as usize;
        let length = buffer.len().min(room);
        let read = self.file.read(&mut buffer[..length])?;
        if room == PART && read > 0 {
            self.parts.push(Sha256::new());
        }
        self.whole.update(&buffer[..read]);
        if let Some(part) = self.parts.last_mut() {
            part.update(&buffer[..read]);
        }
        self.size += read as u64;
        Ok(read)
    }
}

/// How far a script has been read.
#[derive(Default)]
struct Reading {
    lexer: Lexer,
    /// The place of the table whose rows come now, and whether a row was only begun.
    copy: Option<(usize, bool)>,
    server: Option<String>,
    pg_dump: Option<String>,
    encoding: Option<String>,
    tables: Vec<Table>,
    /// Whether a table was created, and whether rows were inserted.
    created: bool,
    inserted: bool,
    unreadable: bool,
    owners: bool,
    roles: BTreeSet<String>,
    extensions: BTreeSet<String>,
    tablespaces: BTreeSet<String>,
    large_objects: u64,
    /// The key of `\restrict`, and whether `\unrestrict` gave it back.
    restricted: Option<(Vec<u8>, bool)>,
    commands: Vec<(u64, u64)>,
    /// Bytes of all lines before this one.
    at: u64,
    complete: bool,
}

impl Reading {
    /// Takes a line, or a part of a row.
    fn take(&mut self, line: &[u8]) -> Result<()> {
        let taken = self.take_line(line);
        self.at += line.len() as u64;
        taken
    }

    fn take_line(&mut self, line: &[u8]) -> Result<()> {
        if memchr::memchr(0, line).is_some() {
            return Err(Error::new(Kind::Unsupported, "it holds a zero byte, which no script does").hint(NOT_PG_DUMPS));
        }
        if let Some((table, begun)) = &mut self.copy {
            if !*begun && ENDS_OF_ROWS.contains(&line) {
                self.copy = None;
                return Ok(());
            }
            *begun = !line.ends_with(b"\n");
            self.tables[*table].rows += u64::from(!*begun);
            return Ok(());
        }
        if self.lexer.is_between() && line.starts_with(b"--") {
            self.comment(line.trim_ascii_end());
        }
        let statements = self.lexer.take(line);
        statements.iter().try_for_each(|statement| self.statement(statement, line))?;
        let rows_follow = statements.last().is_some_and(|last| is_copy(last)) && self.lexer.is_between();
        if self.copy.is_some() && !(rows_follow && statements.iter().filter(|text| is_copy(text)).count() == 1) {
            return Err(other_copy());
        }
        Ok(())
    }

    fn comment(&mut self, line: &[u8]) {
        let said = |start: &[u8]| line.strip_prefix(start).map(|rest| String::from_utf8_lossy(rest).into_owned());
        self.complete |= line == COMPLETE;
        self.server = self.server.take().or_else(|| said(b"-- Dumped from database version "));
        self.pg_dump = self.pg_dump.take().or_else(|| said(b"-- Dumped by pg_dump version "));
    }

    fn statement(&mut self, text: &[u8], line: &[u8]) -> Result<()> {
        if text.starts_with(b"\\") {
            // One that has no end is where the script was cut off, which is told at its end.
            if !text.ends_with(b"\n") {
                return Ok(());
            }
            let end = self.at + line.len() as u64;
            self.commands.push((end - text.len() as u64, end));
            return self.command(text.trim_ascii_end());
        }
        // Whatever comes after the end belongs to another dump, which need not be whole.
        self.complete = false;
        statement::refuse(text)?;
        if let Some(rest) = text.strip_prefix(b"COPY ").filter(|rest| rest.ends_with(b" FROM stdin;")) {
            if text.len() >= lexer::KEPT {
                return Err(other_copy());
            }
            let mut names = qualified(rest);
            let name = names.pop().unwrap_or_default();
            self.unreadable |= std::str::from_utf8(rest).is_err();
            self.copy = Some((self.tables.len(), false));
            self.tables.push(Table { schema: names.pop().unwrap_or_default(), name, rows: 0 });
        } else if let Some(rest) = text.strip_prefix(b"SET client_encoding = ") {
            let name = String::from_utf8_lossy(rest).trim_end_matches(';').trim_matches('\'').to_owned();
            self.encoding.get_or_insert(name);
        } else if let Some(rest) = text.strip_prefix(SET_TABLESPACE) {
            self.tablespaces.extend(tablespace(rest));
        } else if let Some(rest) = text.strip_prefix(b"CREATE EXTENSION ") {
            self.extensions.extend(first_name(rest.strip_prefix(b"IF NOT EXISTS ").unwrap_or(rest)));
        } else if text.starts_with(b"SELECT pg_catalog.lo_create(") {
            self.large_objects += 1;
        } else if is_copy(text) {
            return Err(other_copy());
        } else {
            let creates =
                [&b"CREATE TABLE "[..], b"CREATE UNLOGGED TABLE "].iter().any(|start| text.starts_with(start));
            // A partitioned one has no rows of its own.
            self.created |= creates && after_last(text, b"\nPARTITION BY ").is_none();
            self.inserted |= text.starts_with(b"INSERT INTO ");
            self.owners |= text.starts_with(b"SET SESSION AUTHORIZATION ")
                || (text.starts_with(b"ALTER ") && after_last(text, b" OWNER TO ").is_some());
            self.roles.extend(roles_of(text));
        }
        Ok(())
    }

    /// Of psql's own commands only those two are taken that keep all others off, once each.
    fn command(&mut self, line: &[u8]) -> Result<()> {
        let key = |start: &[u8]| {
            line.strip_prefix(start).filter(|key| !key.is_empty() && key.iter().all(u8::is_ascii_alphanumeric))
        };
        match (&mut self.restricted, key(b"\\restrict "), key(b"\\unrestrict ")) {
            (none @ None, Some(key), _) => *none = Some((key.to_vec(), false)),
            (Some((own, ended @ false)), _, Some(key)) if own == key => *ended = true,
            _ => return Err(beyond(line)),
        }
        Ok(())
    }

    fn finish(self, sha256: Sha256Digest, parts: Arc<[[u8; 32]]>, size: u64) -> Result<Contents> {
        let (Some(server), Some(pg_dump)) = (self.server, self.pg_dump) else { return Err(not_pg_dumps()) };
        let open = matches!(self.restricted, Some((_, false)));
        if !self.complete || self.copy.is_some() || !self.lexer.is_between() || open {
            let error = Error::new(Kind::Damaged, "its end is missing: pg_dump was cut off, or the copy of the script");
            return Err(error.hint("copy it anew and compare the sizes, or use an older one"));
        }
        if self.created && self.tables.is_empty() && !self.inserted {
            let error = Error::new(Kind::Unsupported, "it makes tables and holds no rows of them");
            return Err(error.hint("name one that was made without --schema-only or --section"));
        }
        if !self.created && self.extensions.is_empty() && (self.inserted || !self.tables.is_empty()) {
            let error = Error::new(Kind::Unsupported, "it holds rows of tables that it does not make");
            return Err(error.hint("name one that was made without --data-only or --section"));
        }
        Ok(Contents {
            sha256,
            parts,
            size,
            server,
            pg_dump,
            encoding: self.encoding.unwrap_or_else(|| "UTF8".into()),
            tables: if self.unreadable { Vec::new() } else { self.tables },
            counted: !self.unreadable && !self.inserted,
            owners: self.owners || !self.created,
            roles: self.roles,
            extensions: self.extensions,
            tablespaces: self.tablespaces,
            large_objects: self.large_objects,
            commands: self.commands,
        })
    }
}

/// The tablespaces that parts of a schema are put into.
pub(crate) fn tablespaces(script: &[u8]) -> BTreeSet<String> {
    let mut lexer = Lexer::default();
    let lines = script.split_inclusive(|byte| *byte == b'\n');
    let statements = lines.flat_map(|line| lexer.take(line));
    statements.filter_map(|text| tablespace(text.strip_prefix(SET_TABLESPACE)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(script: &str) -> Result<Contents> {
        let mut reading = Reading::default();
        script.as_bytes().split_inclusive(|byte| *byte == b'\n').try_for_each(|line| reading.take(line))?;
        reading.finish(Sha256Digest([0; 32]), Arc::default(), script.len() as u64)
    }

    const HEAD: &str = "--\n-- PostgreSQL database dump\n--\n\n\\restrict abc\n\n\
        -- Dumped from database version 15.18 (Debian)\n-- Dumped by pg_dump version 15.18\n\n\
        SET client_encoding = 'LATIN1';\nSET standard_conforming_strings = on;\n";
    const END: &str = "--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict abc\n\n";

    #[test]
    fn what_a_script_holds_is_told() {
        let body = "CREATE EXTENSION IF NOT EXISTS \"uuid-ossp\" WITH SCHEMA public;\nSET default_tablespace = '';\n\
            SET default_tablespace = fast;\nCREATE TABLE t (a text DEFAULT 'x; GRANT y TO z');\n\
            ALTER TABLE chef.t OWNER TO \"ops TO \"\"team\";\nCOPY chef.\"a.b\" (a, \"b c\") FROM stdin;\n\\\\.\n\\connect\n\\.\n\
            COPY public.empty FROM stdin;\n\\.\r\n\nSELECT pg_catalog.lo_create('7');\n\
            GRANT SELECT ON TABLE t TO reader WITH GRANT OPTION;\nREVOKE ALL ON TABLE t FROM PUBLIC;\n\
            CREATE POLICY p ON t TO \"a, b\", c USING (x);\nSET SESSION AUTHORIZATION 'grantor';\n\
            ALTER DEFAULT PRIVILEGES FOR ROLE o IN SCHEMA s GRANT SELECT ON TABLES TO later;\n";
        let contents = read(&format!("{HEAD}{body}{END}")).expect("a script");
        assert_eq!((contents.server.as_str(), contents.encoding.as_str()), ("15.18 (Debian)", "LATIN1"));
        let tables: Vec<_> =
            contents.tables.iter().map(|table| (table.schema.as_str(), table.name.as_str(), table.rows)).collect();
        assert_eq!(tables, [("chef", "a.b", 2), ("public", "empty", 0)]);
        let roles = ["a, b", "c", "grantor", "later", "o", "ops TO \"team", "reader"];
        assert_eq!(contents.roles.iter().collect::<Vec<_>>(), roles);
        assert_eq!(contents.extensions.first().map(String::as_str), Some("uuid-ossp"));
        assert_eq!(contents.tablespaces.iter().collect::<Vec<_>>(), ["fast"]);
        assert_eq!(contents.large_objects, 1);
        assert!(contents.counted && contents.owners && contents.commands.len() == 2);
        let script = format!("{HEAD}{body}{END}");
        let found: Vec<&str> =
            contents.commands.iter().map(|(from, to)| &script[*from as usize..*to as usize]).collect();
        assert_eq!(found, ["\\restrict abc\n", "\\unrestrict abc\n"]);
        let inserted = read(&format!("{HEAD}CREATE TABLE t (a int);\nINSERT INTO t VALUES (1);\n{END}"));
        let inserted = inserted.expect("a script");
        assert!(!inserted.counted && !inserted.owners);
        let rows = "CREATE TABLE t (a int);\nCOPY t (a) FROM stdin;\n1\n\\.\n";
        read(&format!("{HEAD}{rows}{END}").replace('\n', "\r\n")).expect("the same from another system");
    }

    #[test]
    fn a_script_that_is_torn_or_reaches_further_is_refused() {
        let refused = |script: &str| read(script).expect_err(script);
        assert_eq!(refused(HEAD).kind(), Kind::Damaged);
        assert_eq!(refused(&format!("{HEAD}COPY t FROM stdin;\n1\n{END}")).kind(), Kind::Damaged);
        assert_eq!(refused(&format!("{HEAD}{END}SELECT 1;\n")).kind(), Kind::Damaged);
        assert_eq!(refused(format!("{HEAD}{END}").trim_end_matches("ict abc\n\n")).kind(), Kind::Damaged);
        assert_eq!(refused("SELECT 1;\n").kind(), Kind::Unsupported);
        for line in [
            "\\connect postgresql://o:hunter2@x/y",
            " \\! hunter2",
            "SELECT 1; \\connect x",
            "\\unrestrict abc \\! hunter2",
            "\\restrict def",
            "\\unrestrict abc\n\\unrestrict abc",
            "DROP DATABASE orchestrator;",
            "ALTER ROLE x PASSWORD 'hunter2';",
            "alter  user x password 'hunter2';",
            "GRANT admin TO x;",
            "copy t from stdin;",
            "COPY t FROM stdin; SELECT 'hunter2';",
            "COPY t FROM stdin WITH (FORMAT csv);",
            "SELECT '\0';",
            "COMMENT ON DATABASE orchestrator IS 'hunter2';",
            "GRANT CONNECT ON DATABASE orchestrator TO x;",
            "SET standard_conforming_strings = off;",
            "DROP TABLE t;",
            "CREATE TABLE t (a int);",
            "COPY t (a) FROM stdin;\n1\n\\.",
        ] {
            let error = refused(&format!("{HEAD}{line}\n{END}"));
            assert_eq!(error.kind(), Kind::Unsupported, "{line}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error}");
        }
    }
}
