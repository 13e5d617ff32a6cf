//! Pieces of SQL text, written and read.

use crate::bundle::path;

/// A text as an SQL literal, whatever `standard_conforming_strings` is.
pub(super) fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if text.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

/// A name as a quoted SQL identifier.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// An expression for the bytes of a text: in UTF-8, or as they are in a database of encoding `SQL_ASCII`, where nothing
/// says what they mean and the driver would refuse those that aren't UTF-8.
pub(super) fn bytes(text: &str) -> String {
    format!(
        "pg_catalog.convert_to({text}, \
            CASE pg_catalog.getdatabaseencoding() WHEN 'SQL_ASCII' THEN 'SQL_ASCII' ELSE 'UTF8' END::pg_catalog.name)"
    )
}

/// A text from the bytes of one, for people: those that are not UTF-8 are escaped.
pub(super) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| path::to_text(error.as_bytes()))
}

/// The names of a list as the server writes it; `None` where there are none, or a quote does not end.
pub(super) fn names(list: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut rest = list.trim_start();
    while !rest.is_empty() {
        let (name, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_name(quoted)?,
            None => {
                let (name, after) = rest.split_at(rest.find(',').unwrap_or(rest.len()));
                (name.trim_end().to_owned(), after)
            }
        };
        names.push(name);
        rest = after.trim_start();
        if !rest.is_empty() {
            rest = rest.strip_prefix(',')?.trim_start();
        }
    }
    (!names.is_empty()).then_some(names)
}

/// A name up to its closing quote, a doubled quote standing for one, and what follows.
fn quoted_name(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut rest = text;
    loop {
        let (part, after) = rest.split_once('"')?;
        name.push_str(part);
        match after.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return Some((name, after)),
        }
    }
}

/// What every script of rows begins with, so that it can be run alone: our sessions' settings, and those that `pg_dump`
/// writes.
pub(super) fn preamble(encoding: &str) -> Vec<u8> {
    let (fixed, encoding) = (super::session::by_hand(), literal(encoding));
    format!(
        "{fixed}SET client_encoding = {encoding};\nSET search_path = '';\n\
         SET check_function_bodies = false;\nSET xmloption = content;\nSET client_min_messages = warning;\n\
         SET row_security = off;\n\n"
    )
    .into_bytes()
}

/// Every byte that stands in no quotes, with its place.
pub(super) fn unquoted(text: &[u8]) -> impl Iterator<Item = (usize, u8)> + '_ {
    let mut quote = None;
    text.iter().copied().enumerate().filter(move |(_, byte)| {
        let outside = quote.is_none();
        match (quote, byte) {
            (None, b'\'' | b'"') => quote = Some(*byte),
            // A doubled quote ends a text and begins the next one, which comes to the same.
            (Some(open), byte) if open == *byte => quote = None,
            _ => {}
        }
        outside
    })
}

/// The place after the first `word` that stands in no quotes.
pub(super) fn after_word(text: &[u8], word: &[u8]) -> Option<usize> {
    unquoted(text).find(|(at, _)| text[*at..].starts_with(word)).map(|(at, _)| at + word.len())
}

/// The length of the text in quotes that `text` begins with; none where it does not end.
pub(super) fn after_literal(text: &[u8]) -> Option<usize> {
    let escapes = matches!(text.first(), Some(b'e' | b'E'));
    let mut at = usize::from(escapes);
    if text.get(at) != Some(&b'\'') {
        return None;
    }
    at += 1;
    loop {
        let rest = text.get(at..)?;
        at += if escapes { memchr::memchr2(b'\'', b'\\', rest)? } else { memchr::memchr(b'\'', rest)? };
        match (text[at], text.get(at + 1)) {
            // A doubled quote stands for one, and a backslash takes the next byte's meaning.
            (b'\\', _) | (_, Some(b'\'')) => at += 2,
            _ => return Some(at + 1),
        }
    }
}

/// The length of the identifier that `text` begins with.
pub(super) fn after_identifier(text: &[u8]) -> usize {
    if text.first() != Some(&b'"') {
        return text
            .iter()
            .position(|byte| matches!(byte, b' ' | b';' | b'.' | b'(' | b',' | b'\n'))
            .unwrap_or(text.len());
    }
    let mut at = 1;
    while let Some(quote) = text.get(at..).and_then(|rest| memchr::memchr(b'"', rest)) {
        at += quote + 1;
        if text.get(at) != Some(&b'"') {
            return at;
        }
        at += 1;
    }
    text.len()
}
