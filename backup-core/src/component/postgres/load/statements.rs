//! Takes `create.sql` apart, which `pg_dump --create` wrote for a database under its own name.

use crate::component::postgres::sql::{after_identifier, after_word, unquoted};
use crate::{Error, Kind, Result};

/// What a database is made with, and what it is given afterwards.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Creation {
    /// What follows the name in `CREATE DATABASE name …`, without the semicolon.
    pub(super) options: Vec<u8>,
    /// Owner, comment, privileges, settings, in their order and with what they need around them.
    properties: Vec<Vec<u8>>,
}

impl Creation {
    /// The statements for a database of another name, which is SQL.
    ///
    /// # Errors
    /// [`Kind::Damaged`] where a statement names no database.
    pub(super) fn properties_of(&self, name: &str) -> Result<Vec<u8>> {
        let mut script = Vec::new();
        for statement in &self.properties {
            if is_setting(statement) {
                script.extend_from_slice(statement);
            } else {
                let at = after_word(statement, b" DATABASE ").ok_or_else(|| {
                    Error::new(
                        Kind::Damaged,
                        format!("create.sql holds another statement: {}", statement.escape_ascii()),
                    )
                })?;
                let rest = &statement[at..];
                script.extend([&statement[..at], name.as_bytes(), &rest[after_identifier(rest)..]].concat());
            }
            script.push(b'\n');
        }
        Ok(script)
    }
}

/// # Errors
/// [`Kind::Damaged`] where the script is not one that makes a database.
pub(super) fn creation(script: &[u8]) -> Result<Creation> {
    let mut options = None;
    let mut properties = Vec::new();
    for statement in statements(script) {
        if let Some(rest) = statement.strip_prefix(b"CREATE DATABASE ") {
            options = rest[after_identifier(rest)..].strip_suffix(b";").map(<[u8]>::to_vec);
        } else if (!is_setting(statement) && !is_limit(statement)) || is_kept(statement) {
            properties.push(statement.to_vec());
        }
    }
    let options = options.ok_or_else(|| Error::new(Kind::Damaged, "create.sql makes no database"))?;
    Ok(Creation { options, properties })
}

/// Whether a statement is about the session and names no database.
fn is_setting(statement: &[u8]) -> bool {
    [&b"SET "[..], b"RESET ", b"SELECT pg_catalog.set_config("].iter().any(|start| statement.starts_with(start))
}

/// Whether a statement lets people in, which the swap does.
fn is_limit(statement: &[u8]) -> bool {
    let rest = statement.strip_prefix(b"ALTER DATABASE ");
    rest.is_some_and(|rest| rest[after_identifier(rest)..].starts_with(b" CONNECTION LIMIT "))
}

/// Whether a setting means something for the statements after it: how texts are written, and who grants.
fn is_kept(statement: &[u8]) -> bool {
    [&b"SET client_encoding "[..], b"SET SESSION AUTHORIZATION ", b"RESET SESSION AUTHORIZATION"]
        .iter()
        .any(|start| statement.starts_with(start))
}

/// The statements of a script with their semicolons; comments, empty lines and commands of psql are left out.
pub(super) fn statements(script: &[u8]) -> Vec<&[u8]> {
    let mut statements = Vec::new();
    let mut begin = 0;
    while begin < script.len() {
        let rest = &script[begin..];
        let line = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
        if rest[0] == b'\n' || rest.starts_with(b"--") || rest[0] == b'\\' {
            begin += line;
            continue;
        }
        let end = end_of_statement(rest);
        statements.push(rest[..end].trim_ascii_end());
        begin += end;
        begin += script[begin..].iter().take_while(|byte| **byte == b'\n').count();
    }
    statements
}

/// Where the statement ends that `text` begins with: after a semicolon that ends a line and is in no quotes.
fn end_of_statement(text: &[u8]) -> usize {
    let ends = |(at, byte): &(usize, u8)| *byte == b';' && matches!(text.get(at + 1), None | Some(b'\n'));
    unquoted(text).find(ends).map_or(text.len(), |(at, _)| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_gets_its_properties_under_another_name() {
        let script = b"\\restrict abc\n--\n-- x; \"\n\nSET lock_timeout = 0;\nSET client_encoding = 'UTF8';\n\
            CREATE DATABASE \"a \"\" b;\" WITH TEMPLATE = template0 ENCODING = 'UTF8';\n\n\
            ALTER DATABASE \"a \"\" b;\" CONNECTION LIMIT = 7;\nALTER DATABASE \"a \"\" b;\" OWNER TO o;\n\\unrestrict abc\n\\connect x\n\
            COMMENT ON DATABASE \"a \"\" b;\" IS 'it''s;\n\\connect y DATABASE z\n-- z\n\"';\n\n\
            SET SESSION AUTHORIZATION g;\nGRANT CONNECT ON DATABASE \"a \"\" b;\" TO \"x DATABASE y\";\n\
            ALTER ROLE \" DATABASE \" IN DATABASE \"a \"\" b;\" SET \"x.y\" TO ' DATABASE ';\n";
        let creation = creation(script).expect("a creation");
        assert_eq!(creation.options, b" WITH TEMPLATE = template0 ENCODING = 'UTF8'");
        let properties = b"SET client_encoding = 'UTF8';\nALTER DATABASE n OWNER TO o;\n\
            COMMENT ON DATABASE n IS 'it''s;\n\\connect y DATABASE z\n-- z\n\"';\n\
            SET SESSION AUTHORIZATION g;\nGRANT CONNECT ON DATABASE n TO \"x DATABASE y\";\n\
            ALTER ROLE \" DATABASE \" IN DATABASE n SET \"x.y\" TO ' DATABASE ';\n";
        let found = creation.properties_of("n").expect("all name it");
        assert_eq!(found.escape_ascii().to_string(), properties.escape_ascii().to_string());
    }

    #[test]
    fn a_script_that_does_anything_else_is_damaged() {
        assert_eq!(creation(b"SELECT 1;\n").expect_err("no database").kind(), Kind::Damaged);
        let creation = creation(b"CREATE DATABASE a;\nDROP TABLE \" DATABASE \";\n").expect("a database");
        assert_eq!(creation.properties_of("n").expect_err("another statement").kind(), Kind::Damaged);
    }
}
