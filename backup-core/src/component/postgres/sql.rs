//! Pieces of SQL text.

/// A text as an SQL literal, whatever `standard_conforming_strings` is.
pub(super) fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if text.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

/// A name as a quoted SQL identifier.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// What every script of rows begins with, so that it can be run alone: the settings that `pg_dump` writes.
pub(super) fn preamble(encoding: &str) -> Vec<u8> {
    let encoding = literal(encoding);
    format!(
        "SET statement_timeout = 0;\nSET lock_timeout = 0;\nSET idle_in_transaction_session_timeout = 0;\n\
         SET client_encoding = {encoding};\nSET standard_conforming_strings = on;\nSET search_path = '';\n\
         SET check_function_bodies = false;\nSET xmloption = content;\nSET client_min_messages = warning;\n\
         SET row_security = off;\n\n"
    )
    .into_bytes()
}
