//! What fuzz targets call of scripts.

use std::path::Path;

use super::ScriptFile;
use super::lexer::{KEPT, Lexer};
use super::reading::Reading;

/// Nothing is in a statement that is not in the script, in its order.
pub(crate) fn lexer(bytes: &[u8]) {
    let mut lexer = Lexer::default();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let before = lexer.is_between();
        let ended = lexer.take(line);
        assert!(ended.iter().all(|statement| !statement.is_empty() && statement.len() <= KEPT.max(line.len())));
        // One that stands in one line alone is a part of it, but for comments, and for the backslash before what is ambiguous.
        let first = ended.first().map(|first| first.strip_prefix(b"\\").unwrap_or(first));
        if let (true, Some(statement)) = (before, first) {
            let mut rest = line.iter();
            assert!(statement.iter().all(|byte| rest.any(|other| other == byte)));
        }
    }
}

/// What is left out of a script lies in it, one part after another.
pub(crate) fn script(bytes: &[u8]) {
    let mut reading = Reading::default();
    if bytes.split_inclusive(|byte| *byte == b'\n').try_for_each(|line| reading.take(line)).is_err() {
        return;
    }
    let Ok(contents) = reading.finish(ScriptFile::of_text(Path::new("script"))) else { return };
    assert_eq!(contents.size, bytes.len() as u64);
    let mut last = 0;
    for part in &contents.left_out {
        assert!(last <= part.from && part.from <= part.to && part.to <= contents.size);
        last = part.to;
    }
}

/// What to begin with.
pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let script = "--\n-- PostgreSQL database dump\n--\n\n\\restrict abc\n\n-- Dumped from database version 15.18 (Debian)\n\
        -- Dumped by pg_dump version 15.18\n\nSET transaction_timeout = 0;\nSET client_encoding = 'UTF8';\n\
        CREATE TABLE public.t (a integer);\nALTER TABLE public.t OWNER TO o;\nCOPY public.t (a) FROM stdin;\n1\n\\.\n\n\
        CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; END;\n\
        --\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict abc\n\n";
    let lexed = "SELECT 'a''b', E'\\'', \"c\" /* d /* e */ */, $f$ ; $f$; -- g\nCREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2);\n\\x\n";
    // An ambiguous number that is longer with its backslash than the script so far.
    let ambiguous = "0E'-\n";
    vec![("script", script.into()), ("script", ambiguous.into()), ("lexer", lexed.into()), ("lexer", script.into())]
}
