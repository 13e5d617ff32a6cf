//! A script in `pg_dump`'s plain format: what it holds, told without a server.

mod lexer;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use sha2::{Digest, Sha256};

use super::sql::{self, after_identifier, unquoted};
use crate::bundle::manifest::{Sha256Digest, Table};
use crate::event::Meter;
use crate::{Context, Error, ErrorContext, Kind, Result, store};
use lexer::Lexer;

/// Bytes that are read at once.
const READ: usize = 1 << 20;
/// What ends a table's rows.
const END_OF_ROWS: &[u8] = b"\\.\n";
/// What `pg_dump` writes last.
const COMPLETE: &[u8] = b"-- PostgreSQL database dump complete";
const SET_TABLESPACE: &[u8] = b"SET default_tablespace = ";
/// Statements that reach beyond the database that the script is run in.
const BEYOND: [&[u8]; 8] = [
    b"CREATE DATABASE ",
    b"DROP DATABASE ",
    b"ALTER DATABASE ",
    b"CREATE ROLE ",
    b"DROP ROLE ",
    b"ALTER ROLE ",
    b"CREATE TABLESPACE ",
    b"DROP TABLESPACE ",
];

/// What a script holds.
#[derive(Debug)]
pub(crate) struct Contents {
    /// Digest of its bytes.
    pub(crate) sha256: Sha256Digest,
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
    /// Roles that own or may use something.
    pub(crate) roles: BTreeSet<String>,
    /// Extensions.
    pub(crate) extensions: BTreeSet<String>,
    /// Tablespaces of single tables and indexes.
    pub(crate) tablespaces: BTreeSet<String>,
    /// Number of large objects.
    pub(crate) large_objects: u64,
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
    let mut input = BufReader::with_capacity(READ, Hashed { file, hash: Sha256::new(), size: 0 });
    let mut reading = Reading::default();
    let mut line = Vec::new();
    let mut counted = 0;
    loop {
        if context.cancel.is_cancelled() {
            return Err(Error::new(Kind::Interrupted, "interrupted before the script was read"));
        }
        line.clear();
        // A row may be as long as a value can be, and need not be held.
        let more = match reading.copy {
            Some(_) => (&mut input).take(READ as u64).read_until(b'\n', &mut line),
            None => input.read_until(b'\n', &mut line),
        };
        if more.context(doing)? == 0 {
            break;
        }
        reading.take(&line).context(doing)?;
        let read = input.get_ref().size;
        meter.done.fetch_add(read - counted, Relaxed);
        meter.read.fetch_add(read - counted, Relaxed);
        counted = read;
    }
    let Hashed { hash, size, .. } = input.into_inner();
    reading.finish(Sha256Digest(hash.finalize().into()), size).context(doing)
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

/// Hashes what is read.
struct Hashed {
    file: File,
    hash: Sha256,
    size: u64,
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.hash.update(&buffer[..read]);
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
    roles: BTreeSet<String>,
    extensions: BTreeSet<String>,
    tablespaces: BTreeSet<String>,
    large_objects: u64,
    complete: bool,
}

impl Reading {
    /// Takes a line, or a part of a row.
    fn take(&mut self, line: &[u8]) -> Result<()> {
        if let Some((table, begun)) = &mut self.copy {
            if !*begun && line == END_OF_ROWS {
                self.copy = None;
                return Ok(());
            }
            *begun = !line.ends_with(b"\n");
            self.tables[*table].rows += u64::from(!*begun);
            return Ok(());
        }
        if self.lexer.is_between() {
            match line {
                [b'-', b'-', ..] => {
                    self.comment(line.trim_ascii_end());
                    return Ok(());
                }
                [b'\\', ..] if line.starts_with(b"\\restrict ") || line.starts_with(b"\\unrestrict ") => return Ok(()),
                [b'\\', ..] => return Err(beyond(line)),
                _ => {}
            }
        }
        self.lexer.take(line).iter().try_for_each(|statement| self.statement(statement))
    }

    fn comment(&mut self, line: &[u8]) {
        let said = |start: &[u8]| line.strip_prefix(start).map(|rest| String::from_utf8_lossy(rest).into_owned());
        self.complete |= line == COMPLETE;
        self.server = self.server.take().or_else(|| said(b"-- Dumped from database version "));
        self.pg_dump = self.pg_dump.take().or_else(|| said(b"-- Dumped by pg_dump version "));
    }

    fn statement(&mut self, text: &[u8]) -> Result<()> {
        if BEYOND.iter().any(|start| text.starts_with(start)) {
            return Err(beyond(text));
        }
        if let Some(rest) = text.strip_prefix(b"COPY ").filter(|rest| rest.ends_with(b" FROM stdin;")) {
            let mut names = qualified(rest);
            let name = names.pop().unwrap_or_default();
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
        } else {
            self.roles.extend(role_of(text));
        }
        Ok(())
    }

    fn finish(self, sha256: Sha256Digest, size: u64) -> Result<Contents> {
        let (Some(server), Some(pg_dump)) = (self.server, self.pg_dump) else {
            let error = Error::new(Kind::Unsupported, "it is no script that pg_dump wrote");
            return Err(error.hint("name one that `pg_dump orchestrator -f orchestrator.sql` made"));
        };
        if !self.complete || self.copy.is_some() || !self.lexer.is_between() {
            let error = Error::new(Kind::Damaged, "its end is missing: pg_dump was cut off, or the copy of the script");
            return Err(error.hint("copy it anew and compare the sizes, or use an older one"));
        }
        Ok(Contents {
            sha256,
            size,
            server,
            pg_dump,
            encoding: self.encoding.unwrap_or_else(|| "UTF8".into()),
            tables: self.tables,
            roles: self.roles,
            extensions: self.extensions,
            tablespaces: self.tablespaces,
            large_objects: self.large_objects,
        })
    }
}

/// The tablespaces that parts of a schema are put into.
pub(crate) fn tablespaces(script: &[u8]) -> BTreeSet<String> {
    let mut lexer = Lexer::default();
    let lines = script.split_inclusive(|byte| *byte == b'\n');
    let statements = lines.flat_map(|line| if is_psqls(&lexer, line) { Vec::new() } else { lexer.take(line) });
    statements.filter_map(|text| tablespace(text.strip_prefix(SET_TABLESPACE)?)).collect()
}

/// Whether a line is a command of psql's own.
fn is_psqls(lexer: &Lexer, line: &[u8]) -> bool {
    lexer.is_between() && line.starts_with(b"\\")
}

/// The tablespace in a setting's value; none where it is the database's own.
fn tablespace(value: &[u8]) -> Option<String> {
    first_name(value).filter(|name| !name.is_empty() && name != "''")
}

fn beyond(text: &[u8]) -> Error {
    let shown: String = String::from_utf8_lossy(text).chars().take_while(|c| *c != '\n').take(60).collect();
    Error::new(Kind::Unsupported, format!("it reaches beyond its database: {}", shown.escape_debug())).hint(
        "only a script of one database, without --create, can be built beside what is live; run this one by hand with \
         `psql -f`, which changes what is live at once",
    )
}

/// The role that a statement gives or takes something.
fn role_of(statement: &[u8]) -> Option<String> {
    let starts = |start: &[u8]| statement.starts_with(start);
    let word: &[u8] = match () {
        () if starts(b"GRANT ") || starts(b"ALTER DEFAULT PRIVILEGES ") && after_last(statement, b" TO ").is_some() => {
            b" TO "
        }
        () if starts(b"REVOKE ") || starts(b"ALTER DEFAULT PRIVILEGES ") => b" FROM ",
        () if starts(b"ALTER ") => b" OWNER TO ",
        () => return None,
    };
    first_name(after_last(statement, word)?).filter(|name| name != "PUBLIC")
}

/// What follows the last `word` that stands in no quotes.
fn after_last<'t>(text: &'t [u8], word: &[u8]) -> Option<&'t [u8]> {
    let (at, _) = unquoted(text).filter(|(at, _)| text[*at..].starts_with(word)).last()?;
    Some(&text[at + word.len()..])
}

/// The name that a text begins with.
fn first_name(text: &[u8]) -> Option<String> {
    qualified(text).into_iter().next()
}

/// The names that a text begins with, joined by points.
fn qualified(text: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = text;
    loop {
        let end = after_identifier(rest);
        let name = &rest[..end];
        let name = name.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\"")).unwrap_or(name);
        names.push(sql::text(name.to_vec()).replace("\"\"", "\""));
        match rest[end..].strip_prefix(b".") {
            Some(further) => rest = further,
            None => return names,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(script: &str) -> Result<Contents> {
        let mut reading = Reading::default();
        script.as_bytes().split_inclusive(|byte| *byte == b'\n').try_for_each(|line| reading.take(line))?;
        reading.finish(Sha256Digest([0; 32]), script.len() as u64)
    }

    const HEAD: &str = "--\n-- PostgreSQL database dump\n--\n\n\\restrict abc\n\n\
        -- Dumped from database version 15.18 (Debian)\n-- Dumped by pg_dump version 15.18\n\n\
        SET client_encoding = 'LATIN1';\n";
    const END: &str = "--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict abc\n\n";

    #[test]
    fn what_a_script_holds_is_told() {
        let body = "CREATE EXTENSION IF NOT EXISTS \"uuid-ossp\" WITH SCHEMA public;\nSET default_tablespace = '';\n\
            SET default_tablespace = fast;\nCREATE TABLE t (a text DEFAULT 'x; GRANT y TO z');\n\
            ALTER TABLE chef.t OWNER TO \"ops TO \"\"team\";\nCOPY chef.\"a.b\" (a, \"b c\") FROM stdin;\n\\\\.\n\\connect\n\\.\n\
            COPY public.empty FROM stdin;\n\\.\n\nSELECT pg_catalog.lo_create('7');\n\
            GRANT SELECT ON TABLE t TO reader WITH GRANT OPTION;\nREVOKE ALL ON TABLE t FROM PUBLIC;\n\
            ALTER DEFAULT PRIVILEGES FOR ROLE o IN SCHEMA s GRANT SELECT ON TABLES TO later;\n";
        let contents = read(&format!("{HEAD}{body}{END}")).expect("a script");
        assert_eq!((contents.server.as_str(), contents.encoding.as_str()), ("15.18 (Debian)", "LATIN1"));
        let tables: Vec<_> =
            contents.tables.iter().map(|table| (table.schema.as_str(), table.name.as_str(), table.rows)).collect();
        assert_eq!(tables, [("chef", "a.b", 2), ("public", "empty", 0)]);
        assert_eq!(contents.roles.iter().collect::<Vec<_>>(), ["later", "ops TO \"team", "reader"]);
        assert_eq!(contents.extensions.first().map(String::as_str), Some("uuid-ossp"));
        assert_eq!(contents.tablespaces.iter().collect::<Vec<_>>(), ["fast"]);
        assert_eq!(contents.large_objects, 1);
    }

    #[test]
    fn a_script_that_is_torn_or_reaches_further_is_refused() {
        let kind = |script: &str| read(script).expect_err("refused").kind();
        assert_eq!(kind(HEAD), Kind::Damaged);
        assert_eq!(kind(&format!("{HEAD}COPY t FROM stdin;\n1\n{END}")), Kind::Damaged);
        assert_eq!(kind("SELECT 1;\n"), Kind::Unsupported);
        for line in ["\\connect orchestrator", "DROP DATABASE orchestrator;", "  CREATE ROLE x;"] {
            assert_eq!(kind(&format!("{HEAD}{line}\n{END}")), Kind::Unsupported, "{line}");
        }
    }
}
