//! What servers and their programs say of a failure: without rows of tables, which may be secret, and whether it may pass.

use tokio_postgres::error::{DbError, SqlState};

use crate::Cause;

/// Labels of what follows a message and may show rows, or the statement, which may hold a password. A hint is the server's
/// own, or a function's, which may say in it what it likes.
const SHOW_ROWS: [&str; 6] = ["DETAIL:", "HINT:", "CONTEXT:", "QUERY:", "LINE ", "Command was:"];
/// What begins a line that is not the rest of such a part.
const BEGINNINGS: [&str; 5] = ["pg_restore:", "pg_dump:", "psql:", "ERROR:", "WARNING:"];
/// Source files of the server's languages, which raise what functions of users say.
const LANGUAGES: [&str; 4] = ["pl_exec.c", "plperl.c", "plpy_elog.c", "pltcl.c"];
/// Parts of messages about what may be over when the same is tried again: connections, disk, memory, locks.
const PASSING: [&str; 15] = [
    "No space left on device",
    "Disk quota exceeded",
    "Input/output error",
    "server closed the connection",
    "terminating connection",
    "no connection to the server",
    "connection to server",
    "the database system is",
    "remaining connection slots",
    "too many clients",
    "deadlock detected",
    "canceling statement due to",
    "out of memory",
    "out of shared memory",
    "read-only transaction",
];

/// Parts of what programs say, and what they come of: they hand the server's messages on without codes, and their own have none.
/// That a row is too long the server says in several ways, in the major versions to 18; that its snapshot is gone, where the
/// session that took it was ended, in two.
const CAUSES: [(&str, Cause); 9] = [
    ("No space left on device", Cause::DiskFull),
    ("conflict with recovery", Cause::CutOff),
    ("closed the connection unexpectedly", Cause::CutOff),
    ("invalid snapshot identifier", Cause::CutOff),
    ("ERROR:  snapshot \"", Cause::CutOff),
    ("could not import the requested snapshot", Cause::CutOff),
    ("invalid memory alloc request size", Cause::TooLong),
    ("Cannot enlarge string buffer", Cause::TooLong),
    ("string buffer exceeds maximum", Cause::TooLong),
];

/// What a program wrote to its standard error, without statements and values.
pub(super) fn of_program(text: &str) -> String {
    let mut inside = false;
    let mut kept = String::new();
    for line in text.split_inclusive('\n') {
        let begins = |labels: &[&str]| labels.iter().any(|label| line.starts_with(label));
        inside = begins(&SHOW_ROWS) || (inside && !begins(&BEGINNINGS));
        if inside {
            continue;
        }
        let shown = message(line);
        // What was cut off may go on in the next line.
        inside = shown != line;
        kept.push_str(&shown);
        if inside {
            kept.push('\n');
        }
    }
    kept
}

/// A notice as PostgreSQL's programs write it.
pub(super) fn as_written(notice: &DbError) -> String {
    let mut text = format!("{}:  {}\n", notice.severity(), notice.message());
    for (label, more) in [("DETAIL", notice.detail()), ("HINT", notice.hint())] {
        text.extend(more.map(|more| format!("{label}:  {more}\n")));
    }
    text
}

/// A message without the value that it quotes: `invalid input syntax for type integer: "…"`.
pub(super) fn message(text: &str) -> String {
    if let Some((what, _)) = text.split_once(": \"") {
        return format!("{what}: \"…\"");
    }
    match text.split_once("value \"").and_then(|(before, rest)| Some((before, rest.rsplit_once("\" ")?))) {
        Some((before, (_, after))) => format!("{before}value \"…\" {after}"),
        None => text.into(),
    }
}

/// Whether what a program says of its errors speaks of a cause that may pass. Neither statements nor what it is doing count:
/// those lines name objects.
pub(super) fn may_pass(text: &str) -> bool {
    let is_error = |line: &&str| {
        let program = ["pg_restore: ", "pg_dump: "].iter().find_map(|program| line.strip_prefix(program));
        match program {
            Some(said) => ["error: ", "fatal: "].iter().any(|kind| said.starts_with(kind)),
            None => BEGINNINGS.iter().any(|beginning| line.starts_with(beginning)),
        }
    };
    let mut errors = text.lines().filter(is_error);
    errors.any(|line| PASSING.iter().any(|mark| line.contains(mark)))
}

/// Whether the details of a server's error may show rows: those of data and of constraints do, and those of functions of users
/// say what these like, whatever code they choose.
pub(super) fn shows_rows(error: &DbError) -> bool {
    let code = error.code().code();
    ["22", "23", "44", "P0"].iter().any(|class| code.starts_with(class))
        || error.file().is_some_and(|file| LANGUAGES.iter().any(|language| file.ends_with(language)))
}

/// Whether a server's error of this code may pass.
pub(super) fn code_may_pass(code: &str) -> bool {
    ["08", "25", "40", "53", "57"].iter().any(|class| code.starts_with(class))
        || ["55P03", "55006", "58030"].contains(&code)
}

/// The conditions of errors that may pass, as a block of PL/pgSQL knows them.
pub(super) const PASSING_CONDITIONS: &str = "connection_exception OR read_only_sql_transaction OR transaction_rollback OR \
    insufficient_resources OR operator_intervention OR lock_not_available OR object_in_use OR io_error";

/// What an error of a server came of: by its code, and where that says too little, by where in the server's source it was raised.
/// Those names are not translated, and are the same in the versions from 12 to 18.
pub(super) fn cause(error: &tokio_postgres::Error) -> Option<Cause> {
    let Some(server) = error.as_db_error() else { return error.is_closed().then_some(Cause::CutOff) };
    let (routine, file) = (server.routine().unwrap_or_default(), server.file().unwrap_or_default());
    match (server.code(), routine) {
        (&SqlState::DISK_FULL, _) => Some(Cause::DiskFull),
        // A session that reads alone is stopped so by a standby.
        (&SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::DATABASE_DROPPED, _) => Some(Cause::CutOff),
        (&SqlState::T_R_DEADLOCK_DETECTED, "CheckRecoveryConflictDeadlock") => Some(Cause::CutOff),
        // The session that took the snapshot was ended: its file is gone, or is still there.
        (_, "ImportSnapshot" | "SetTransactionSnapshot") => Some(Cause::CutOff),
        // A row's text is too long for the buffer that it is put together in.
        (&SqlState::PROGRAM_LIMIT_EXCEEDED, "enlargeStringInfo") => Some(Cause::TooLong),
        // One value's text is larger than the server gives memory for at once.
        (&SqlState::INTERNAL_ERROR, _) if file.ends_with("mcxt.c") => Some(Cause::TooLong),
        _ => None,
    }
}

/// What a program speaks of. It must be without rows and statements: those may say anything.
pub(super) fn cause_in(said: &str) -> Option<Cause> {
    CAUSES.iter().find(|(mark, _)| said.contains(mark)).map(|(_, cause)| *cause)
}

/// What can be done about a table with such a row.
pub(super) fn too_long(table: &str) -> String {
    format!(
        "a row of it is longer than 1 GB as text, as one value of bytea is from about 500 MB on, and pg_dump can't dump it \
         either. Find it: SELECT ctid FROM {table} t WHERE pg_catalog.pg_column_size(t.*) > 50000000, or by octet_length of each \
         long column. Cut it into several rows, or keep it as a large object (lo_from_bytea)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_statements_nor_rows_are_shown() {
        let text = "pg_restore: error: could not execute query: ERROR:  no\nDETAIL:  Key (a)=(hunter2) is duplicated.\n\
            and more\nHINT:  none\nCommand was: CREATE USER MAPPING\nOPTIONS (password 'hunter2');\n\n\n\
            pg_restore: error: a worker process died\n";
        let kept = "pg_restore: error: could not execute query: ERROR:  no\npg_restore: error: a worker process died\n";
        assert_eq!(of_program(text), kept);
    }

    #[test]
    fn what_may_pass_is_told_by_errors_and_not_by_names() {
        for (text, passes) in [
            ("pg_restore: error: could not execute query: ERROR:  out of memory", true),
            ("psql:<stdin>:3: ERROR:  deadlock detected", true),
            ("pg_restore: fatal: could not write: No space left on device", true),
            ("pg_restore: creating INDEX \"public.out of memory\"", false),
            ("Command was: SELECT 'deadlock detected'", false),
        ] {
            assert_eq!(may_pass(text), passes, "{text}");
        }
    }

    #[test]
    fn values_are_cut_out_of_messages() {
        let cases = [
            ("invalid input syntax for type integer: \"hunter2\"", "invalid input syntax for type integer: \"…\""),
            ("value \"hunter2\" is out of range for type integer", "value \"…\" is out of range for type integer"),
            ("relation \"a\" does not exist", "relation \"a\" does not exist"),
            ("could not open file \"a\": No such file", "could not open file \"a\": No such file"),
            (
                "duplicate key value violates unique constraint \"k\"",
                "duplicate key value violates unique constraint \"k\"",
            ),
        ];
        for (said, shown) in cases {
            assert_eq!(message(said), shown);
        }
        let lines = of_program("psql:<stdin>:3: ERROR:  malformed array literal: \"hunter\n2\"\npsql: error: x\n");
        assert_eq!(lines, "psql:<stdin>:3: ERROR:  malformed array literal: \"…\"\npsql: error: x\n");
    }

    #[test]
    fn a_row_that_is_too_long_is_told_apart() {
        // As 15.18 says it of 600 MB in one value, and others of several values in a row.
        for said in [
            "ERROR: invalid memory alloc request size 1200000003",
            "ERROR: out of memory (Cannot enlarge string buffer containing 1073741822 bytes by 1 more bytes.)",
        ] {
            assert_eq!(cause_in(said), Some(Cause::TooLong), "{said}");
        }
        assert_eq!(cause_in("ERROR: out of memory"), None);
        // As 17 says it of a snapshot whose session is gone.
        let gone = "pg_dump: error: query failed: ERROR:  snapshot \"00000004-00000002-1\" does not exist\n";
        assert_eq!(cause_in(&of_program(gone)), Some(Cause::CutOff));
        assert!(too_long("s.t").contains("FROM s.t t"));
    }
}
