//! Takes `create.sql` apart, which `pg_dump --create` wrote for a database under its own name.

use super::checked::Checked;
use super::simple;
use crate::component::postgres::sql::{after_identifier, after_word, unquoted};
use crate::{Error, Kind, Result};

/// What a database is made with, and what it is given afterwards.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Creation {
    /// What follows the name in `CREATE DATABASE name …`, without the semicolon.
    pub(super) options: Vec<u8>,
    /// How texts are written: what is to be said before the others.
    pub(super) before: Vec<Vec<u8>>,
    /// What its sessions begin with, of all roles and of single ones.
    pub(super) settings: Vec<Vec<u8>>,
    /// Owner, comment, privileges, in their order and with what they need around them.
    properties: Vec<Vec<u8>>,
}

impl Creation {
    /// The statements but settings for a database of another name, which is SQL.
    ///
    /// # Errors
    /// [`Kind::Damaged`] where a statement names no database.
    pub(super) fn properties_of(&self, name: &str) -> Result<Vec<u8>> {
        let mut script = Vec::new();
        for statement in self.before.iter().chain(&self.properties) {
            if is_of_session(statement) {
                script.extend_from_slice(statement);
            } else {
                script.extend(renamed(statement, name)?);
            }
            script.push(b'\n');
        }
        Ok(script)
    }
}

/// A statement about a database for one of another name, which is SQL.
///
/// # Errors
/// [`Kind::Damaged`] where it names no database.
pub(super) fn renamed(statement: &[u8], name: &str) -> Result<Vec<u8>> {
    let at = after_word(statement, b" DATABASE ").ok_or_else(|| {
        Error::new(Kind::Damaged, format!("create.sql holds another statement: {}", statement.escape_ascii()))
    })?;
    let rest = &statement[at..];
    Ok([&statement[..at], name.as_bytes(), &rest[after_identifier(rest)..]].concat())
}

/// What a statement about a database does to it: ` SET name TO value;` of a setting.
pub(super) fn deed(statement: &[u8]) -> &[u8] {
    let rest = after_word(statement, b" DATABASE ").map_or(&[][..], |at| &statement[at..]);
    &rest[after_identifier(rest).min(rest.len())..]
}

/// Options of `CREATE DATABASE` as a server of version `major` knows them: `pg_dump` writes its own version's.
pub(super) fn fitting(options: &[u8], major: u32) -> Vec<u8> {
    let mut fitting = options.to_vec();
    let mut replace = |what: &[u8], by: &dyn Fn(&[u8]) -> Vec<u8>| {
        let Some(end) = after_word(&fitting, what) else { return };
        let value = fitting[end..].split_inclusive(|byte| *byte == b'\'').take(2).map(<[u8]>::len).sum::<usize>();
        let value = if what.ends_with(b"= ") { end + value } else { end };
        let new = by(&fitting[end..value]);
        fitting.splice(end - what.len()..value, new);
    };
    if major < 15 {
        replace(b" LOCALE_PROVIDER = libc", &|_| Vec::new());
    }
    if major < 13 {
        replace(b" LOCALE = ", &|value| [b" LC_COLLATE = ", value, b" LC_CTYPE = ", value].concat());
    }
    fitting
}

/// # Errors
/// [`Kind::Damaged`] where the script is not one that makes a database.
pub(super) fn creation(script: &[u8]) -> Result<Creation> {
    let mut options = None;
    let (mut before, mut settings, mut properties) = (Vec::new(), Vec::new(), Vec::new());
    for statement in simple::statements(script)? {
        if let Some(rest) = statement.strip_prefix(b"CREATE DATABASE ") {
            options = rest[after_identifier(rest)..].strip_suffix(b";").map(<[u8]>::to_vec);
        } else if statement.starts_with(b"SET client_encoding ") {
            before.push(statement.to_vec());
        } else if is_setting(statement) {
            settings.push(statement.to_vec());
        } else if (!is_of_session(statement) && !is_limit(statement)) || says_who(statement) {
            properties.push(statement.to_vec());
        }
    }
    let options = options.ok_or_else(|| Error::new(Kind::Damaged, "create.sql makes no database"))?;
    Ok(Creation { options, before, settings, properties })
}

/// Whether a statement is about the session and names no database.
fn is_of_session(statement: &[u8]) -> bool {
    [&b"SET "[..], b"RESET ", b"SELECT pg_catalog.set_config("].iter().any(|start| statement.starts_with(start))
}

/// Whether a statement says what a database's sessions begin with.
fn is_setting(statement: &[u8]) -> bool {
    [&b"ALTER DATABASE "[..], b"ALTER ROLE "].iter().any(|start| statement.starts_with(start))
        && deed(statement).starts_with(b" SET ")
}

/// Whether a statement lets people in, which the swap does.
fn is_limit(statement: &[u8]) -> bool {
    let rest = statement.strip_prefix(b"ALTER DATABASE ");
    rest.is_some_and(|rest| rest[after_identifier(rest)..].starts_with(b" CONNECTION LIMIT "))
}

/// Whether a statement says who does those after it.
fn says_who(statement: &[u8]) -> bool {
    [&b"SET SESSION AUTHORIZATION "[..], b"RESET SESSION AUTHORIZATION"]
        .iter()
        .any(|start| statement.starts_with(start))
}

/// The statement that makes a constraint for new rows alone, and the one that checks the others later, of one that makes it.
pub(super) fn not_valid(statement: &[u8]) -> Option<(Vec<u8>, String)> {
    const ADD: &[u8] = b"ADD CONSTRAINT ";
    let statement = statement.strip_suffix(b";")?;
    let at = after_word(statement, ADD)?;
    let name = &statement[at..];
    let name = &name[..after_identifier(name)];
    let table = String::from_utf8_lossy(&statement[..at - ADD.len()]);
    let table = table.trim_end().replacen("ALTER TABLE ONLY ", "ALTER TABLE ", 1);
    let later = format!("{table} VALIDATE CONSTRAINT {};", String::from_utf8_lossy(name));
    Some(([statement, b" NOT VALID;\n"].concat(), later))
}

/// A statement that can be run alone.
pub(super) struct Alone<'s> {
    /// What its session is told before: who it is, how texts are written.
    session: Vec<&'s [u8]>,
    statement: &'s [u8],
}

impl Alone<'_> {
    /// All that is to be run, after some of our own.
    ///
    /// # Errors
    /// As [`Checked::one`].
    pub(super) fn script(&self, before: &[u8]) -> Result<Checked> {
        let session = self.session.iter().flat_map(|line| [line, &b"\n"[..]].concat());
        Checked::one(before.iter().copied().chain(session).collect(), self.statement)
    }

    /// The same for people, without what only a script needs.
    pub(super) fn later(&self) -> Vec<u8> {
        let role = self.session.iter().rev().find(|line| says_who(line)).filter(|line| line.starts_with(b"SET "));
        match role {
            Some(role) => [*role, b" ", self.statement, b" RESET SESSION AUTHORIZATION;"].concat(),
            None => self.statement.to_vec(),
        }
    }
}

/// The statements of a script but those about its session, which go with what they are said for.
///
/// # Errors
/// As [`simple::statements`].
pub(super) fn alone(script: &[u8]) -> Result<Vec<Alone<'_>>> {
    let (mut session, mut all) = (Vec::new(), Vec::new());
    for statement in simple::statements(script)? {
        match is_of_session(statement) {
            true => session.push(statement),
            false => all.push(Alone { session: session.clone(), statement }),
        }
    }
    Ok(all)
}

/// Whether a piece is a line that is no statement: empty, a comment, a command of psql.
fn is_line(piece: &[u8]) -> bool {
    piece[0] == b'\n' || piece.starts_with(b"--") || piece[0] == b'\\'
}

/// All of a script in pieces: statements with the empty lines after them, and lines between.
pub(in super::super) fn pieces(script: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let mut begin = 0;
    while begin < script.len() {
        let rest = &script[begin..];
        let length = if is_line(rest) {
            memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1)
        } else {
            let end = end_of_statement(rest);
            end + rest[end..].iter().take_while(|byte| **byte == b'\n').count()
        };
        pieces.push(&rest[..length]);
        begin += length;
    }
    pieces
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
            ALTER ROLE \" DATABASE \" IN DATABASE \"a \"\" b;\" SET \"x.y\" TO ' DATABASE ';\n\
            ALTER DATABASE \"a \"\" b;\" SET search_path TO 'a; \"', 'b';\n";
        let creation = creation(script).expect("a creation");
        assert_eq!(creation.options, b" WITH TEMPLATE = template0 ENCODING = 'UTF8'");
        let properties = b"SET client_encoding = 'UTF8';\nALTER DATABASE n OWNER TO o;\n\
            COMMENT ON DATABASE n IS 'it''s;\n\\connect y DATABASE z\n-- z\n\"';\n\
            SET SESSION AUTHORIZATION g;\nGRANT CONNECT ON DATABASE n TO \"x DATABASE y\";\n";
        let found = creation.properties_of("n").expect("all name it");
        assert_eq!(found.escape_ascii().to_string(), properties.escape_ascii().to_string());
        let settings = creation
            .settings
            .iter()
            .map(|setting| renamed(setting, "n").expect("it names it").escape_ascii().to_string());
        let expected = [
            r#"ALTER ROLE " DATABASE " IN DATABASE n SET "x.y" TO ' DATABASE ';"#,
            r#"ALTER DATABASE n SET search_path TO 'a; "', 'b';"#,
        ];
        assert_eq!(settings.collect::<Vec<_>>(), expected.map(|text| text.replace('"', "\\\"").replace('\'', "\\'")));
    }

    #[test]
    fn options_fit_the_server() {
        let newest =
            b" WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE_PROVIDER = libc LOCALE = 'en US' TABLESPACE = x";
        let fit = |major| String::from_utf8(fitting(newest, major)).expect("UTF-8");
        assert_eq!(fit(15).as_bytes(), newest);
        assert_eq!(fit(13), " WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE = 'en US' TABLESPACE = x");
        let oldest =
            " WITH TEMPLATE = template0 ENCODING = 'UTF8' LC_COLLATE = 'en US' LC_CTYPE = 'en US' TABLESPACE = x";
        assert_eq!(fit(12), oldest);
    }

    #[test]
    fn a_script_that_does_anything_else_is_damaged() {
        assert_eq!(creation(b"SELECT 1;\n").expect_err("no database").kind(), Kind::Damaged);
        let creation = creation(b"CREATE DATABASE a;\nDROP TABLE \" DATABASE \";\n").expect("a database");
        assert_eq!(creation.properties_of("n").expect_err("another statement").kind(), Kind::Damaged);
    }
}
