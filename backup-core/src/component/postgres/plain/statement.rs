//! What a statement of a script says: whom it names, and whether it leaves its database.

use crate::component::postgres::sql::{self, after_identifier, unquoted};
use crate::{Error, Kind, Result};

pub(super) const NOT_PG_DUMPS: &str = "name one that `pg_dump orchestrator -f orchestrator.sql` made";

const BY_HAND: &str = "or run this one by hand with `psql -f`, which changes what is live at once";
pub(super) const SET_TABLESPACE: &[u8] = b"SET default_tablespace = ";

/// What newer programs write, and servers know since a major version. No timeout and no statistics are lost with it: those
/// are 0, and these are gathered after rows are there.
const SINCE: [(&[u8], u32); 4] = [
    (b"SET transaction_timeout = 0;", 17),
    (b"SELECT * FROM pg_catalog.pg_restore_relation_stats(", 18),
    (b"SELECT * FROM pg_catalog.pg_restore_attribute_stats(", 18),
    (b"SELECT * FROM pg_catalog.pg_restore_extended_stats(", 19),
];

/// The major version of servers since which a statement is known, where older ones do as well without it.
pub(super) fn known_since(text: &[u8]) -> Option<u32> {
    SINCE.iter().find(|(start, _)| text.starts_with(start)).map(|(_, since)| *since)
}

/// Statements that reach beyond the database that the script is run in, by their first two words; what a function or a
/// `DO` does is not looked into.
const BEYOND: [[&str; 2]; 8] = [
    ["CREATE ALTER DROP", "DATABASE"],
    ["CREATE ALTER DROP", "ROLE"],
    ["CREATE ALTER DROP", "GROUP"],
    ["CREATE ALTER DROP", "TABLESPACE"],
    ["ALTER", "SYSTEM"],
    ["DROP REASSIGN", "OWNED"],
    ["ALTER DROP", "USER"],
    ["CREATE", "USER"],
];

/// The tablespace in a setting's value; none where it is the database's own.
pub(super) fn tablespace(value: &[u8]) -> Option<String> {
    first_name(value).filter(|name| !name.is_empty() && name != "''")
}

/// Refuses what can't be run in a database beside the live one.
pub(super) fn refuse(text: &[u8]) -> Result<()> {
    let starts = |start: &[u8]| text.starts_with(start);
    let start = String::from_utf8_lossy(&text[..text.len().min(200)]).to_uppercase();
    let words: Vec<&str> = start.split_whitespace().take(4).collect();
    let [first, second] = [0, 1].map(|place| words.get(place).copied().unwrap_or_default());
    let is_beyond = BEYOND.iter().any(|[verbs, noun]| second == *noun && verbs.split(' ').any(|verb| verb == first));
    let mapping = words.get(2) == Some(&"MAPPING");
    let shared = ["DATABASE", "ROLE", "TABLESPACE"];
    let commented = first == "COMMENT" && words.get(2).is_some_and(|noun| shared.contains(noun));
    let on = |noun: &[u8]| after_last(&text.to_ascii_uppercase(), noun).is_some();
    let labelled = first == "SECURITY" && (on(b" ON DATABASE ") || on(b" ON ROLE ") || on(b" ON TABLESPACE "));
    // A membership is granted on nothing.
    let granted = ["GRANT", "REVOKE"].contains(&first)
        && (on(b" ON DATABASE ") || on(b" ON TABLESPACE ") || on(b" ON PARAMETER ") || !on(b" ON "));
    if (is_beyond && !mapping) || commented || labelled || granted {
        return Err(beyond(text));
    }
    if starts(b"SET standard_conforming_strings = ") && !starts(b"SET standard_conforming_strings = on;") {
        let error = Error::new(Kind::Unsupported, "its texts are written as PostgreSQL 9.0 and older wrote them");
        return Err(error.hint("dump the database anew, with standard_conforming_strings on"));
    }
    if starts(b"SET default_with_oids = true") {
        let error =
            Error::new(Kind::Unsupported, "it has tables with OIDs, which PostgreSQL has not known since version 12");
        return Err(error.hint("ALTER TABLE … SET WITHOUT OIDS each where it was dumped, then dump it anew"));
    }
    if starts(b"DROP ") && after_last(text, b" IF EXISTS ").is_none() {
        let error =
            Error::new(Kind::Unsupported, "it drops first what a new database has not: it was made with --clean");
        return Err(error.hint("name one that was made without --clean, or with --if-exists too"));
    }
    Ok(())
}

/// Whether a statement copies rows, in whatever spelling.
pub(super) fn is_copy(text: &[u8]) -> bool {
    text.get(..4).is_some_and(|word| word.eq_ignore_ascii_case(b"COPY"))
        && text.get(4).is_some_and(u8::is_ascii_whitespace)
}

pub(super) fn other_copy() -> Error {
    Error::new(Kind::Unsupported, "it holds a COPY that pg_dump does not write").hint(NOT_PG_DUMPS)
}

/// What stands after the first words of a statement may be a password.
pub(super) fn beyond(text: &[u8]) -> Error {
    let text = String::from_utf8_lossy(text);
    if let Some(command) = text.strip_prefix('\\') {
        let command = command.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
        let message = format!("it has psql's command \\{command} in it, which could reach anything");
        return Error::new(Kind::Unsupported, message).hint(format!("{NOT_PG_DUMPS}; {BY_HAND}"));
    }
    let words = text.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
    let shown = words.trim_end_matches(';').escape_debug().to_string();
    let message = format!("it reaches beyond its database: {shown}");
    let hint = match words.to_ascii_uppercase().starts_with("CREATE DATABASE") {
        true => "it was made with --create: name one that was made without, `pg_dump orchestrator -f orchestrator.sql`",
        false => "only a script of one database can be built beside what is live: take that statement out of it",
    };
    Error::new(Kind::Unsupported, message).hint(format!("{hint}; {BY_HAND}"))
}

/// The roles that a statement names as owners, or gives or takes something.
pub(super) fn roles_of(statement: &[u8]) -> Vec<String> {
    let starts = |start: &[u8]| statement.starts_with(start);
    let words: &[&[u8]] = match () {
        () if starts(b"GRANT ") || starts(b"CREATE POLICY ") => &[b" TO "],
        () if starts(b"REVOKE ") => &[b" FROM "],
        () if starts(b"ALTER DEFAULT PRIVILEGES ") => &[b" FOR ROLE ", b" TO ", b" FROM "],
        () if starts(b"ALTER ") => &[b" OWNER TO "],
        () if starts(b"CREATE USER MAPPING ") => &[b" FOR "],
        () if starts(b"SET SESSION AUTHORIZATION ") => &[b" AUTHORIZATION "],
        () => &[],
    };
    let lists = words.iter().filter_map(|word| after_last(statement, word));
    let special = ["PUBLIC", "CURRENT_USER", "DEFAULT", "public"];
    lists.flat_map(names).filter(|name| !special.contains(&name.as_str())).collect()
}

/// The names that a text begins with, with commas between them; pg_dump writes one in a session's authorization as a text.
fn names(text: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = text;
    loop {
        let end = after_identifier(rest);
        names.extend(first_name(rest).map(|name| name.trim_matches('\'').to_owned()));
        match rest[end..].strip_prefix(b", ") {
            Some(further) => rest = further,
            None => return names,
        }
    }
}

/// What follows the last `word` that stands in no quotes.
pub(super) fn after_last<'t>(text: &'t [u8], word: &[u8]) -> Option<&'t [u8]> {
    let (at, _) = unquoted(text).filter(|(at, _)| text[*at..].starts_with(word)).last()?;
    Some(&text[at + word.len()..])
}

/// The name that a text begins with.
pub(super) fn first_name(text: &[u8]) -> Option<String> {
    qualified(text).into_iter().next()
}

/// The names that a text begins with, joined by points.
pub(super) fn qualified(text: &[u8]) -> Vec<String> {
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
