//! Follows a script from line to line, and notes what it holds.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::later::{self, Later};
use super::lexer::{self, Lexer};
use super::statement::{
    self, NOT_PG_DUMPS, SET_TABLESPACE, after_last, beyond, first_name, is_copy, known_since, other_copy, qualified,
    roles_of, tablespace,
};
use super::{Contents, LeftOut, ScriptFile, not_pg_dumps};
use crate::bundle::manifest::postgres::{Table, major};
use crate::digest::Sha256Digest;
use crate::{Error, Kind, Result};

/// What ends a table's rows, as psql sees it.
const ENDS_OF_ROWS: [&[u8]; 2] = [b"\\.\n", b"\\.\r\n"];
/// What `pg_dump` writes last.
const COMPLETE: &[u8] = b"-- PostgreSQL database dump complete";
const SET_PATH: &[u8] = b"SET search_path = ";
/// What other systems' editors put before a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Before this version of `pg_dump`, the privileges that a script gives on schema public are those of a schema that is made
/// anew, where it drops it first.
const KEEPS_PUBLIC: u32 = 15;

/// Whether a line ends a table's rows.
pub(super) fn ends_rows(line: &[u8]) -> bool {
    ENDS_OF_ROWS.contains(&line)
}

/// How far a script has been read.
#[derive(Default)]
pub(super) struct Reading {
    lexer: Lexer,
    /// The place of the table whose rows come now, and whether a row was only begun.
    pub(super) copy: Option<(usize, bool)>,
    pub(super) server: Option<String>,
    pg_dump: Option<String>,
    encoding: Option<String>,
    /// The schema that names without one mean: before March 2018 `pg_dump` wrote them so.
    schema: Option<String>,
    tables: Vec<Table>,
    /// Whether schema public was dropped, and whether it was made where it is.
    dropped_public: bool,
    makes_public: bool,
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
    left_out: Vec<LeftOut>,
    later: Vec<Later>,
    /// What the session was told last of where it finds names and who it is, where that is not as at its beginning.
    path: Option<Vec<u8>>,
    who: Option<Vec<u8>>,
    /// Whether not everybody may run blocks any more.
    no_blocks: bool,
    /// Bytes of all lines before this one.
    at: u64,
    /// The same for the line that a statement began in, if it began with it.
    began: Option<u64>,
    complete: bool,
}

impl Reading {
    /// Takes a line, or a part of a row.
    pub(super) fn take(&mut self, mut line: &[u8]) -> Result<()> {
        if let Some(rest) = line.strip_prefix(BYTE_ORDER_MARK).filter(|_| self.at == 0) {
            self.leave_out(0, BYTE_ORDER_MARK.len() as u64, None);
            (line, self.at) = (rest, BYTE_ORDER_MARK.len() as u64);
        }
        if self.lexer.is_between() {
            self.began = Some(self.at);
        }
        let taken = self.take_line(line);
        self.at += line.len() as u64;
        taken
    }

    fn take_line(&mut self, line: &[u8]) -> Result<()> {
        if memchr::memchr(0, line).is_some() {
            return Err(Error::new(Kind::Unsupported, "it holds a zero byte, which no script does").hint(NOT_PG_DUMPS));
        }
        if let Some((table, begun)) = &mut self.copy {
            if !*begun && ends_rows(line) {
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
        if statements.len() > 1 {
            self.began = None;
        }
        statements.iter().try_for_each(|statement| self.statement(statement, line))?;
        if !statements.is_empty() {
            self.began = None;
        }
        let rows_follow = statements.last().is_some_and(|last| is_copy(last)) && self.lexer.is_between();
        if self.copy.is_some() && !(rows_follow && statements.iter().filter(|text| is_copy(text)).count() == 1) {
            return Err(other_copy());
        }
        Ok(())
    }

    fn leave_out(&mut self, from: u64, to: u64, since: Option<u32>) {
        self.left_out.push(LeftOut { from, to, since });
    }

    /// Leaves out the statement that ends with this line, if nothing else stands in its lines.
    fn leave_out_statement(&mut self, end: u64, since: Option<u32>) {
        if let Some(began) = self.began {
            self.leave_out(began, end, since);
        }
    }

    fn comment(&mut self, line: &[u8]) {
        let said = |start: &[u8]| line.strip_prefix(start).map(|rest| String::from_utf8_lossy(rest).into_owned());
        self.complete |= line == COMPLETE;
        self.server = self.server.take().or_else(|| said(b"-- Dumped from database version "));
        self.pg_dump = self.pg_dump.take().or_else(|| said(b"-- Dumped by pg_dump version "));
    }

    fn statement(&mut self, text: &[u8], line: &[u8]) -> Result<()> {
        let end = self.at + line.len() as u64;
        if text.starts_with(b"\\") {
            // One that has no end is where the script was cut off, which is told at its end.
            if !text.ends_with(b"\n") {
                return Ok(());
            }
            // What is ambiguous has a backslash that the script has not, and is refused here.
            self.command(text.trim_ascii_end())?;
            self.leave_out(end - text.len() as u64, end, None);
            return Ok(());
        }
        // Whatever comes after the end belongs to another dump, which need not be whole.
        self.complete = false;
        statement::refuse(text)?;
        self.follow_session(text);
        if let Some(from) = self.began.filter(|_| later::is_for_later(text) && !(self.no_blocks && self.who.is_some()))
        {
            let session = [&self.path, &self.who].into_iter().flatten().cloned().collect();
            self.later.push(Later { from, to: end, text: text.to_vec(), session });
        }
        if let Some(rest) = text.strip_prefix(b"COPY ").filter(|rest| rest.ends_with(b" FROM stdin;")) {
            if text.len() >= lexer::KEPT {
                return Err(other_copy());
            }
            let mut names = qualified(rest);
            let name = names.pop().unwrap_or_default();
            self.unreadable |= std::str::from_utf8(rest).is_err();
            self.copy = Some((self.tables.len(), false));
            let schema = names.pop().or_else(|| self.schema.clone()).unwrap_or_else(|| "public".into());
            self.tables.push(Table { schema, name, rows: 0 });
        } else if let Some(rest) = text.strip_prefix(SET_PATH) {
            self.schema = first_name(rest).filter(|name| name != "''");
        } else if text == b"DROP SCHEMA IF EXISTS public;" || text == b"CREATE SCHEMA public;" {
            // Every new database has it, with the privileges that the script's own start from.
            self.dropped_public |= text.starts_with(b"DROP") && self.pg_dump.as_deref().map_or(0, major) < KEEPS_PUBLIC;
            if !self.dropped_public {
                self.makes_public |= self.began.is_some() && text.starts_with(b"CREATE");
                self.leave_out_statement(end, None);
            }
        } else if let Some(since) = known_since(text) {
            self.leave_out_statement(end, Some(since));
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

    /// Follows what statements say of their session, and of who may run blocks in it.
    fn follow_session(&mut self, text: &[u8]) {
        const WHO: &[u8] = b"SET SESSION AUTHORIZATION ";
        let other = |start: &[u8], none: &[u8]| (text[start.len()..] != *none).then(|| text.to_vec());
        if text.starts_with(SET_PATH) {
            self.path = other(SET_PATH, b"'';");
        } else if text == b"SELECT pg_catalog.set_config('search_path', '', false);" {
            self.path = None;
        } else if text.starts_with(WHO) {
            self.who = other(WHO, b"DEFAULT;");
        } else if text == b"RESET SESSION AUTHORIZATION;" {
            self.who = None;
        }
        self.no_blocks |= text.starts_with(b"REVOKE ") && after_last(text, b" ON LANGUAGE ").is_some();
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

    /// What the script holds, but for what only its bytes say.
    pub(super) fn finish(self, file: ScriptFile) -> Result<Contents> {
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
            file,
            sha256: Sha256Digest([0; 32]),
            parts: Arc::default(),
            size: self.at,
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
            crlf: false,
            makes_public: self.makes_public,
            left_out: self.left_out,
            later: self.later.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(script: &str) -> Result<Contents> {
        let mut reading = Reading::default();
        script.as_bytes().split_inclusive(|byte| *byte == b'\n').try_for_each(|line| reading.take(line))?;
        reading.finish(ScriptFile::of_text(Path::new("script")))
    }

    fn left_out<'s>(script: &'s str, contents: &Contents) -> Vec<&'s str> {
        contents.left_out.iter().map(|part| &script[part.from as usize..part.to as usize]).collect()
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
        assert!(contents.counted && contents.owners && contents.left_out.len() == 2);
        let script = format!("{HEAD}{body}{END}");
        let found: Vec<&str> = left_out(&script, &contents);
        assert_eq!(found, ["\\restrict abc\n", "\\unrestrict abc\n"]);
        let inserted = read(&format!("{HEAD}CREATE TABLE t (a int);\nINSERT INTO t VALUES (1);\n{END}"));
        let inserted = inserted.expect("a script");
        assert!(!inserted.counted && !inserted.owners);
        let rows = "CREATE TABLE t (a int);\nCOPY t (a) FROM stdin;\n1\n\\.\n";
        read(&format!("{HEAD}{rows}{END}").replace('\n', "\r\n")).expect("the same from another system");
    }

    #[test]
    fn names_without_a_schema_are_of_the_first_in_the_path() {
        let rows = |name: &str| format!("COPY {name} (a) FROM stdin;\n1\n\\.\n");
        let body = format!(
            "CREATE TABLE x (a int);\n{}SET search_path = public, pg_catalog;\n{}SET search_path = \"a, \"\"b\", pg_catalog;\n{}{}\
             SELECT pg_catalog.set_config('search_path', '', false);\n{}",
            rows("zero"),
            rows("one"),
            rows("two"),
            rows("other.three"),
            rows("public.four"),
        );
        let contents = read(&format!("{HEAD}{body}{END}")).expect("a script");
        let names: Vec<_> = contents.tables.iter().map(|table| (&*table.schema, &*table.name)).collect();
        let expected =
            [("public", "zero"), ("public", "one"), ("a, \"b", "two"), ("other", "three"), ("public", "four")];
        assert_eq!(names, expected);
    }

    #[test]
    fn what_a_new_database_has_or_an_older_server_does_not_know_is_left_out() {
        let mark = "\u{feff}";
        let timeout = "SET transaction_timeout = 0;\n";
        let statistics = "SELECT * FROM pg_catalog.pg_restore_relation_stats(\n\t'version', '180000'::integer\n);\n";
        let public = "CREATE SCHEMA public;\n";
        let body = format!("{timeout}{public}SELECT 1; {timeout}SELECT 2; {public}-- {public}{statistics}");
        let script = format!("{mark}{HEAD}{body}{END}");
        let contents = read(&script).expect("a script");
        let found = left_out(&script, &contents);
        // What shares its lines with another statement is run.
        assert_eq!(found, [mark, "\\restrict abc\n", timeout, public, statistics, "\\unrestrict abc\n"]);
        let since: Vec<_> = contents.left_out.iter().map(|part| part.since).collect();
        assert_eq!(since, [None, None, Some(17), None, Some(18), None]);
        let dropped = format!("DROP SCHEMA IF EXISTS public;\n{public}");
        let left_out_of = |head: &str| {
            let script = format!("{head}{dropped}{END}");
            read(&script).expect("a script").left_out.len()
        };
        assert_eq!(left_out_of(HEAD), 4, "privileges count from those that the schema has");
        assert_eq!(left_out_of(&HEAD.replace("pg_dump version 15", "pg_dump version 9")), 2, "from none");
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
            "SET default_with_oids = true;",
            "CREATE TABLE t (a int);",
            "COPY t (a) FROM stdin;\n1\n\\.",
        ] {
            let error = refused(&format!("{HEAD}{line}\n{END}"));
            assert_eq!(error.kind(), Kind::Unsupported, "{line}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error}");
        }
    }
}
