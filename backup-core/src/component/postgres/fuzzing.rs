//! What fuzz targets call of the roles' script.

use super::load::settings_of_roles;

/// What is taken out of the roles' script are whole lines of it, each a statement that sets something.
pub(crate) fn globals(bytes: &[u8]) {
    for place in settings_of_roles(bytes) {
        let statement = &bytes[place.clone()];
        assert!(statement.starts_with(b"    ALTER ROLE \"") && statement.ends_with(b";"));
        assert!(bytes[..place.start].ends_with(b"\n") && bytes[place.end..].starts_with(b"\n"));
    }
}

/// What to begin with.
pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let script = "DO $$ BEGIN\n    CREATE ROLE \"a\" WITH LOGIN;\n    ALTER ROLE \"a\" SET \"x\".\"y\" TO E'it''s \\\\', 'two';\n\
        \n    ALTER ROLE \"a\" SET \"role\" TO 'b';\nEND $$;\n";
    vec![("globals", script.into())]
}
