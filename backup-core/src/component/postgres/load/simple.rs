//! Statements of a bundle's scripts as data: made of words, numbers, names and texts in quotes alone, so that each can be
//! told from the next, and does what its beginning says.

use crate::component::postgres::sql;
use crate::{Error, Kind, Result};

/// Lines of psql's own that `pg_dump` writes between statements; the last one before it connects to a database with an odd name. They are
/// never run.
const LINES: [&[u8]; 4] = [b"\\restrict ", b"\\unrestrict ", b"\\connect ", b"\\encoding SQL_ASCII\n"];
/// What a script says of names without a schema.
const SEARCH_PATH: &[u8] = b"SELECT pg_catalog.set_config('search_path', '', false);";
/// Encodings that a server may have. In all of them a byte of ASCII stands for itself alone; in those that only clients have, a
/// backslash or a quote may be half of a letter, and psql would see other quotes than we do.
const ENCODINGS: [&str; 34] = [
    "EUC_CN",
    "EUC_JIS_2004",
    "EUC_JP",
    "EUC_KR",
    "EUC_TW",
    "ISO_8859_5",
    "ISO_8859_6",
    "ISO_8859_7",
    "ISO_8859_8",
    "KOI8R",
    "KOI8U",
    "LATIN1",
    "LATIN10",
    "LATIN2",
    "LATIN3",
    "LATIN4",
    "LATIN5",
    "LATIN6",
    "LATIN7",
    "LATIN8",
    "LATIN9",
    "SQL_ASCII",
    "UTF8",
    "WIN1250",
    "WIN1251",
    "WIN1252",
    "WIN1253",
    "WIN1254",
    "WIN1255",
    "WIN1256",
    "WIN1257",
    "WIN1258",
    "WIN866",
    "WIN874",
];

/// The statements of a script with their semicolons.
///
/// # Errors
/// [`Kind::Damaged`] where it holds anything else: a command of psql's own, a body between dollars, a comment in a statement.
pub(super) fn statements(script: &[u8]) -> Result<Vec<&[u8]>> {
    refuse_zeros(script)?;
    let (mut all, mut rest) = (Vec::new(), script);
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            return Ok(all);
        }
        if rest.starts_with(b"--") || LINES.iter().any(|line| rest.starts_with(line)) {
            rest = &rest[memchr::memchr(b'\n', rest).unwrap_or(rest.len())..];
            continue;
        }
        let end = end_of(rest).ok_or_else(|| foreign(rest))?;
        let statement = &rest[..end];
        look_at_session(statement)?;
        all.push(statement);
        rest = &rest[end..];
    }
}

/// The same, where each of them begins as one of `forms`.
pub(super) fn of_forms<'s>(script: &'s [u8], forms: &[&str]) -> Result<Vec<&'s [u8]>> {
    let all = statements(script)?;
    let known = |statement: &&[u8]| forms.iter().any(|form| statement.starts_with(form.as_bytes()));
    match all.iter().copied().find(|statement| !known(statement)) {
        Some(statement) => Err(foreign(statement)),
        None => Ok(all),
    }
}

/// Refuses a text with bytes of zero, at which psql would cut a line off.
pub(super) fn refuse_zeros(text: &[u8]) -> Result<()> {
    match memchr::memchr(0, text) {
        Some(_) => Err(Error::new(Kind::Damaged, "a byte of zero stands in it, which no text of PostgreSQL has")),
        None => Ok(()),
    }
}

/// Refuses an encoding that no server has.
pub(super) fn look_at_encoding(name: &str) -> Result<()> {
    if ENCODINGS.contains(&name) {
        return Ok(());
    }
    Err(Error::new(Kind::Damaged, format!("no server has texts in encoding {}", name.escape_debug())))
}

/// Refuses a statement that would change where texts end, and one that calls a function with anything but values.
fn look_at_session(statement: &[u8]) -> Result<()> {
    if statement.starts_with(b"SELECT ") && statement != SEARCH_PATH && !is_call(statement) {
        return Err(foreign(statement));
    }
    let setting = statement.strip_prefix(b"SET ").filter(|rest| !rest.starts_with(b"SESSION AUTHORIZATION "));
    let Some(setting) = setting else { return Ok(()) };
    let name = &setting[..setting.iter().position(|byte| !is_word(*byte)).unwrap_or(setting.len())];
    let value = setting[name.len()..].strip_prefix(b" = ").and_then(|value| value.strip_suffix(b";"));
    let value = value.ok_or_else(|| foreign(statement))?;
    let value = value.strip_prefix(b"'").and_then(|value| value.strip_suffix(b"'")).unwrap_or(value);
    match name.to_ascii_lowercase().as_slice() {
        b"client_encoding" => look_at_encoding(&String::from_utf8_lossy(value)),
        b"standard_conforming_strings" if value != b"on" => Err(foreign(statement)),
        _ => Ok(()),
    }
}

/// Whether a statement calls a function of the system's own, and nothing in its arguments but values.
fn is_call(statement: &[u8]) -> bool {
    let Some(call) = statement.strip_prefix(b"SELECT pg_catalog.") else { return false };
    if call.starts_with(b"set_config") {
        return false;
    }
    let name = call.iter().position(|byte| !is_word(*byte)).unwrap_or(call.len());
    let Some(mut rest) = call[name..].strip_prefix(b"(") else { return false };
    loop {
        let length = match rest {
            [b'\'', ..] | [b'E', b'\'', ..] => sql::after_literal(rest).unwrap_or(0),
            _ => rest.iter().position(|byte| !is_word(*byte) && *byte != b'-').unwrap_or(0),
        };
        match &rest[length..] {
            b");" => return length > 0 && name > 0,
            more => match more.strip_prefix(b", ").filter(|_| length > 0) {
                Some(more) => rest = more,
                None => return false,
            },
        }
    }
}

/// That no backup writes this.
fn foreign(statement: &[u8]) -> Error {
    const SHOWN: usize = 80;
    let line = statement.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let shown = line[..line.len().min(SHOWN)].escape_ascii();
    Error::new(Kind::Damaged, format!("it holds what no backup writes: {shown}"))
        .hint("somebody changed the bundle, or it is of a newer version: restore from another one")
}

/// Where the statement ends that `text` begins with, if it is a simple one.
fn end_of(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = &text[at..];
        at += match rest {
            [b';', ..] => return Some(at + 1),
            [b'e' | b'E', b'\'', ..] | [b'\'', ..] => sql::after_literal(rest)?,
            [b'"', ..] => sql::after_identifier(rest),
            [b'-', b'-', ..] => return None,
            // Whole, so that no word that ends with an E makes another text of the one behind it. No backup writes one right before a quote,
            // and what `1E'` begins depends on psql's version.
            [byte, ..] if is_word(*byte) => match rest.iter().position(|byte| !is_word(*byte)) {
                Some(end) if rest[end] == b'\'' => return None,
                end => end.unwrap_or(rest.len()),
            },
            [b' ' | b'\n' | b'\t' | b'(' | b')' | b'[' | b']' | b',' | b'.' | b'=' | b'*' | b'+' | b'-', ..] => 1,
            _ => return None,
        };
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_quotes_is_part_of_a_statement() {
        let script = br#"--
-- Name: x; "
\restrict k

SET client_encoding = 'UTF8';
COMMENT ON DATABASE "a;\!" IS 'it''s;
\! x';
SELECT pg_catalog.f(E'\';''', -1, '$a$');
\unrestrict k
\encoding SQL_ASCII
\connect -x "y"
SELECT pg_catalog.set_config('search_path', '', false); SELECT pg_catalog.f('x\');"#;
        let found = statements(script).expect("simple ones");
        let found: Vec<&str> = found.iter().map(|one| std::str::from_utf8(one).expect("a text")).collect();
        let expected = [
            "SET client_encoding = 'UTF8';",
            "COMMENT ON DATABASE \"a;\\!\" IS 'it''s;\n\\! x';",
            "SELECT pg_catalog.f(E'\\';''', -1, '$a$');",
            "SELECT pg_catalog.set_config('search_path', '', false);",
            "SELECT pg_catalog.f('x\\');",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn anything_else_is_refused() {
        for script in [
            "\\! touch x\n",
            "\\unrestrict",
            "\\restrictx\n",
            "SELECT pg_catalog.f(1) \\! touch x\n;",
            "SELECT pg_catalog.f(1) \\g |x\n",
            "DO $$x$$;",
            "SET a = 1 -- ;\n;",
            "SET a = 1 /* */;",
            "SET a = :LAST_ERROR_MESSAGE;",
            "SET a = 'x",
            "ALTER DATABASE x SET a TO 1E'\\', '\n\\! touch m\n';",
            "SET a = B'1';",
            "SET a = \"x",
            "SET a = 1",
            "SET a = 'a\0b';",
            "SET a = E'\\';\n\\! x;",
            "SET client_encoding = 'SJIS';",
            "SET client_encoding = E'SJIS';",
            "SET client_encoding TO 'SJIS';",
            "SET NAMES 'SJIS';",
            "SET Client_Encoding = SJIS;",
            "SET standard_conforming_strings = off;",
            "SELECT pg_catalog.set_config('standard_conforming_strings', 'off', false);",
            "SELECT pg_catalog.set_config(E'standard\\x5fconforming_strings', 'off', false);",
            "SELECT pg_catalog.f('x', g());",
            "SELECT f('x');",
            "SELECT pg_catalog.f();",
            "COPY t FROM stdin;\n1\n\\.\n",
        ] {
            let refused = of_forms(script.as_bytes(), &["SELECT ", "SET ", "DO "]);
            assert_eq!(refused.expect_err(script).kind(), Kind::Damaged, "{script}");
        }
    }
}
