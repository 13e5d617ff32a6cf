//! What fuzz targets call of the scripts of a bundle.

use super::globals::{Globals, read};
pub(crate) use super::load::fuzzing::statements;

/// What is read of a script is written and read again as the same.
pub(crate) fn globals(bytes: &[u8]) {
    let Ok(globals) = read(bytes) else { return };
    let script: String = globals.statements().map(|statement| format!("{statement};\n")).collect();
    let again = read(script.as_bytes()).map(|again| Globals { tablespaces: globals.tablespaces.clone(), ..again });
    assert!(again.is_ok_and(|again| again == globals));
}

/// What to begin with.
pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let script = "DO $$ BEGIN\n  IF true THEN\n    CREATE ROLE \"a\" WITH LOGIN CONNECTION LIMIT -1;\n    GRANT \"a\" TO \"b\" WITH ADMIN OPTION;\n    ALTER ROLE \"a\" SET \"x\".\"y\" TO E'it''s \\\\', 'two';\n\
        \n    ALTER ROLE \"a\" SET \"role\" TO 'b';\n  END IF;\nEND $$;\n";
    let other = "DO $$ BEGIN\n  IF true THEN\n    ALTER ROLE \"ö\" SET \"é\" TO 'ü';\n  END IF;\nEND $$;\nSET a = é;\n";
    let statements = "--\n\\restrict k\nSET client_encoding = 'UTF8';\nSELECT pg_catalog.setval('public.s', 7, true);\n\\unrestrict k\n";
    vec![
        ("globals", script.into()),
        ("globals", other.into()),
        ("statements", statements.into()),
        ("statements", b"1\ttwo\\n\n\\.\n".to_vec()),
    ]
}
