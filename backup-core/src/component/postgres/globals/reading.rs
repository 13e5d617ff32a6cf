//! Reads `globals.sql` of every version that wrote one, and refuses all else.

use super::tokens::{Token, tokens};
use super::{Globals, Grant, Membership, Role, Setting};
use crate::{Error, ErrorContext, Kind, Result};

/// What roles may be given when they are made.
const ATTRIBUTES: [&str; 7] = ["SUPERUSER", "INHERIT", "CREATEROLE", "CREATEDB", "LOGIN", "REPLICATION", "BYPASSRLS"];
/// How statements about roles begin.
const ROLES: [&str; 5] = ["DO ", "CREATE ROLE ", "ALTER ROLE ", "COMMENT ON ", "GRANT "];
/// What begins the comment that names a tablespace.
const TABLESPACE: &str = "--   CREATE TABLESPACE ";

/// Reads the script of a bundle.
///
/// # Errors
/// [`Kind::Damaged`] where it holds another statement than those that a backup writes.
pub(crate) fn read(script: &[u8]) -> Result<Globals> {
    let doing = || "read databases/globals.sql".to_owned();
    let text = std::str::from_utf8(script).context(doing)?;
    let mut globals = Globals::default();
    // They stand before all roles: a text of one may look the same.
    let head = text.lines().take_while(|line| !ROLES.iter().any(|begin| line.starts_with(begin)));
    for line in head.filter_map(|line| line.strip_prefix(TABLESPACE)) {
        if let Ok([Token::Name(name), Token::Word(owner), ..]) = tokens(line).as_deref()
            && owner == "OWNER"
        {
            globals.tablespaces.push(name.clone());
        }
    }
    globals.take_all(text).context(doing)?;
    Ok(globals)
}

impl Globals {
    fn take_all(&mut self, text: &str) -> Result<()> {
        tokens(text)?.split(|token| token.is(";")).try_for_each(|statement| self.take(statement))
    }

    fn take(&mut self, statement: &[Token]) -> Result<()> {
        let words: Vec<&str> = statement.iter().map_while(word).collect();
        let taken = match words.as_slice() {
            [] => statement.is_empty().then_some(()),
            // Of the session, which ours has already, and notes of what was made.
            ["SET", ..] | ["CREATE", "TEMPORARY", "TABLE", "created_roles"] | ["INSERT", "INTO", "pg_temp"] => Some(()),
            ["DO"] => match &statement[1..] {
                [Token::Body(body)] => return self.take_block(body),
                _ => None,
            },
            ["CREATE", "ROLE"] => role(&statement[2..]).map(|role| self.roles.push(role)),
            ["COMMENT", "ON", "ROLE"] => self.comment(&statement[3..]),
            ["ALTER", "ROLE"] => setting(&statement[2..]).map(|setting| self.settings.push(setting)),
            ["GRANT"] => membership(&statement[1..]).map(|membership| self.memberships.push(membership)),
            ["GRANT", ..] => grant(&statement[1..]).map(|grant| self.grants.push(grant)),
            _ => None,
        };
        taken.ok_or_else(|| other(statement))
    }

    /// Takes the statements of a block that runs them where its condition holds. Ours are made where it would have held.
    fn take_block(&mut self, body: &str) -> Result<()> {
        let all = tokens(body)?;
        let then = all.iter().position(|token| token.is("THEN")).filter(|_| all.len() > 6);
        let (Some(then), [begin, if_, ..]) = (then, all.as_slice()) else { return Err(other(&all)) };
        let (inside, end) = all[then + 1..].split_at((all.len() - then - 1).saturating_sub(4));
        let ends = end.len() == 4 && end.iter().zip(["END", "IF", ";", "END"]).all(|(token, word)| token.is(word));
        let is_block = |token: &Token| token.is("DO") || token.is("IF");
        if !begin.is("BEGIN") || !if_.is("IF") || !ends || inside.iter().any(is_block) {
            return Err(other(&all));
        }
        inside.split(|token| token.is(";")).try_for_each(|statement| self.take(statement))
    }

    fn comment(&mut self, rest: &[Token]) -> Option<()> {
        let [Token::Name(name), is, Token::Text(text)] = rest else { return None };
        // It follows the role that it is about.
        let role = self.roles.last_mut().filter(|role| role.name == *name && is.is("IS"))?;
        role.comment = Some(text.clone());
        Some(())
    }
}

/// That no backup writes this.
fn other(statement: &[Token]) -> Error {
    const SHOWN: usize = 8;
    // Not what stands in quotes: it may be a password.
    let shown = statement.iter().take(SHOWN).map(|token| match token {
        Token::Word(word) => word.clone(),
        Token::Name(name) => format!("\"{name}\""),
        Token::Text(_) | Token::Body(_) => "'…'".into(),
        Token::Sign(sign) => sign.to_string(),
    });
    let shown: Vec<String> = shown.collect();
    Error::new(Kind::Damaged, format!("it holds what no backup writes: {}", shown.join(" ")))
        .hint("somebody changed the bundle, or it is of a newer version: restore from another one")
}

fn word(token: &Token) -> Option<&str> {
    match token {
        Token::Word(word) => Some(word),
        _ => None,
    }
}

/// `"name" WITH NOSUPERUSER … CONNECTION LIMIT -1 VALID UNTIL '…' PASSWORD '…'`
fn role(rest: &[Token]) -> Option<Role> {
    let [Token::Name(name), with, rest @ ..] = rest else { return None };
    let end = rest.iter().position(|token| token.is("CONNECTION"))?;
    let attributes: Vec<String> = rest[..end].iter().map(|token| word(token).map(Into::into)).collect::<Option<_>>()?;
    let known = |word: &String| ATTRIBUTES.contains(&word.strip_prefix("NO").unwrap_or(word));
    let [_, limit, Token::Word(number), rest @ ..] = &rest[end..] else { return None };
    let mut rest = rest;
    if !with.is("WITH") || !limit.is("LIMIT") || !attributes.iter().all(known) {
        return None;
    }
    let connection_limit = number.parse().ok()?;
    let (mut valid_until, mut password) = (None, None);
    if let [valid, until, Token::Text(time), more @ ..] = rest
        && valid.is("VALID")
        && until.is("UNTIL")
    {
        (valid_until, rest) = (Some(time.clone()), more);
    }
    if let [word, Token::Text(text), more @ ..] = rest
        && word.is("PASSWORD")
    {
        (password, rest) = (Some(text.clone()), more);
    }
    let role = Role { name: name.clone(), attributes, connection_limit, valid_until, password, comment: None };
    rest.is_empty().then_some(role)
}

/// `"name"."name"`; also gives what follows.
fn dotted(rest: &[Token]) -> Option<(Vec<String>, &[Token])> {
    let [Token::Name(first), rest @ ..] = rest else { return None };
    let mut rest = rest;
    let mut name = vec![first.clone()];
    while let [dot, Token::Name(part), more @ ..] = rest
        && dot.is(".")
    {
        name.push(part.clone());
        rest = more;
    }
    Some((name, rest))
}

/// `"role" SET "name" TO 'value', 'value'`
fn setting(rest: &[Token]) -> Option<Setting> {
    let [Token::Name(role), set, rest @ ..] = rest else { return None };
    let (name, rest) = dotted(rest).filter(|_| set.is("SET"))?;
    let (to, values) = rest.split_first()?;
    let value = |tokens: &[Token]| match tokens {
        // The first version wrote a list's names as the server has them.
        [Token::Text(value) | Token::Name(value) | Token::Word(value)] => Some(value.clone()),
        _ => None,
    };
    let values = values.split(|token| token.is(",")).map(value).collect::<Option<Vec<_>>>()?;
    to.is("TO").then(|| Setting { role: role.clone(), name, values })
}

/// `"group" TO "member" WITH ADMIN true, INHERIT true, SET true`
fn membership(rest: &[Token]) -> Option<Membership> {
    let [Token::Name(group), to, Token::Name(member), rest @ ..] = rest else { return None };
    let shown: Vec<String> = rest
        .iter()
        .map(|token| if token.is(",") { Some(",") } else { word(token) }.map(Into::into))
        .collect::<Option<_>>()?;
    const WORDS: [&str; 8] = ["WITH", "ADMIN", "OPTION", "INHERIT", "SET", "true", "false", ","];
    if !to.is("TO") || shown.iter().any(|word| !WORDS.contains(&word.as_str())) {
        return None;
    }
    let options = shown.iter().map(|word| format!(" {word}")).collect();
    Some(Membership { group: group.clone(), member: member.clone(), options })
}

/// `ALTER SYSTEM ON PARAMETER "name" TO "role" WITH GRANT OPTION`
fn grant(rest: &[Token]) -> Option<Grant> {
    let on = rest.iter().position(|token| token.is("ON"))?;
    let privilege = rest[..on].iter().map(word).collect::<Option<Vec<_>>>()?.join(" ");
    let kind = word(rest.get(on + 1)?)?;
    let (name, rest) = dotted(&rest[on + 2..])?;
    let [to, Token::Name(role), rest @ ..] = rest else { return None };
    let options = rest.iter().map(word).collect::<Option<Vec<_>>>()?;
    let option = match options.as_slice() {
        [] => false,
        ["WITH", "GRANT", "OPTION"] => true,
        _ => return None,
    };
    let known = matches!((kind, privilege.as_str()), ("PARAMETER", "SET" | "ALTER SYSTEM") | ("TABLESPACE", "CREATE"));
    let on_parameter = kind == "PARAMETER";
    (known && to.is("TO")).then(|| Grant { privilege, on_parameter, name, role: role.clone(), option })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = r#"-- The roles that the databases need.
--   CREATE TABLESPACE "fa""st; x" OWNER "o" LOCATION '/x';
SET client_encoding = 'UTF8';
CREATE TEMPORARY TABLE created_roles (name text);

DO $xrole$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'a''b THEN') THEN
    CREATE ROLE "a'b THEN" WITH SUPERUSER INHERIT NOCREATEROLE LOGIN CONNECTION LIMIT -1 VALID UNTIL 'infinity' PASSWORD E'p\\;''$role$';
    COMMENT ON ROLE "a'b THEN" IS 'one;
two -- END IF;';
    INSERT INTO pg_temp.created_roles VALUES ('a''b THEN');
  END IF;
END
$xrole$;

DO $role$
BEGIN
  IF EXISTS (SELECT FROM pg_temp.created_roles WHERE name IN ('g', 'a''b THEN')) THEN
    GRANT "g" TO "a'b THEN" WITH ADMIN true, INHERIT false, SET true;
  END IF;
END
$role$;

GRANT "g" TO "h" WITH ADMIN OPTION;
DO $role$
BEGIN
  IF EXISTS (SELECT FROM pg_temp.created_roles WHERE name = 'g') THEN
    ALTER ROLE "g" SET "x"."y" TO '$user', 'public';
    ALTER ROLE "g" SET "search_path" TO "$user", public;
    GRANT ALTER SYSTEM ON PARAMETER "work_mem" TO "g" WITH GRANT OPTION;
    GRANT CREATE ON TABLESPACE "fast" TO "g";
  END IF;
END
$role$;
"#;

    #[test]
    fn all_that_backups_write_is_read_and_written_anew() {
        let globals = read(SCRIPT.as_bytes()).expect("facts");
        assert_eq!(globals.tablespaces, ["fa\"st; x"]);
        let roles: Vec<String> = globals.roles.iter().flat_map(Role::statements).collect();
        let expected = [
            "CREATE ROLE \"a'b THEN\" WITH SUPERUSER INHERIT NOCREATEROLE LOGIN CONNECTION LIMIT -1 VALID UNTIL 'infinity' PASSWORD E'p\\\\;''$role$'",
            "COMMENT ON ROLE \"a'b THEN\" IS 'one;\ntwo -- END IF;'",
        ];
        assert_eq!(roles, expected);
        assert_eq!(globals.roles[0].powers().collect::<Vec<_>>(), ["SUPERUSER"]);
        let members: Vec<String> = globals.memberships.iter().map(Membership::statement).collect();
        let expected = [
            "GRANT \"g\" TO \"a'b THEN\" WITH ADMIN true , INHERIT false , SET true",
            "GRANT \"g\" TO \"h\" WITH ADMIN OPTION",
        ];
        assert_eq!(members, expected);
        let settings: Vec<String> = globals.settings.iter().map(Setting::statement).collect();
        let path = "ALTER ROLE \"g\" SET \"search_path\" TO '$user', 'public'";
        assert_eq!(settings, ["ALTER ROLE \"g\" SET \"x\".\"y\" TO '$user', 'public'", path]);
        let grants: Vec<String> = globals.grants.iter().map(Grant::statement).collect();
        let expected = [
            "GRANT ALTER SYSTEM ON PARAMETER \"work_mem\" TO \"g\" WITH GRANT OPTION",
            "GRANT CREATE ON TABLESPACE \"fast\" TO \"g\"",
        ];
        assert_eq!(grants, expected);
    }

    #[test]
    fn anything_else_is_refused() {
        let block = |inside: &str| format!("DO $r$\nBEGIN\n  IF true THEN\n{inside}\n  END IF;\nEND\n$r$;");
        let others = [
            "\\! touch x",
            "SELECT 1",
            "CREATE ROLE \"x\" WITH SUPERUSER CONNECTION LIMIT -1 ROLE \"y\"",
            "CREATE ROLE \"x\" WITH ADMIN CONNECTION LIMIT -1",
            "CREATE ROLE x WITH LOGIN CONNECTION LIMIT -1",
            "ALTER ROLE \"x\" SUPERUSER",
            "ALTER ROLE \"x\" SET \"a\" TO f()",
            "ALTER SYSTEM SET archive_command TO 'touch x'",
            "GRANT \"x\" TO \"y\" GRANTED BY \"z\"",
            "GRANT EXECUTE ON FUNCTION \"f\" TO \"x\"",
            "GRANT ALL ON PARAMETER \"f\" TO \"x\"",
            "COPY t FROM PROGRAM 'touch x'",
            "PERFORM f()",
            "DO 'x'",
            "CREATE DATABASE \"x\"",
            "CREATE TEMPORARY TABLE created_roles AS SELECT",
            "COMMENT ON ROLE \"unknown\" IS 'x'",
            "IF true THEN GRANT \"x\" TO \"y\"",
            "/* */",
        ];
        for other in others {
            for script in [format!("{other};"), block(&format!("{other};"))] {
                let refused = read(script.as_bytes()).expect_err(other);
                assert!(refused.chain().len() > 1 && refused.kind() == Kind::Damaged, "{other}: {:?}", refused.chain());
            }
        }
        assert!(read(b"DO $r$ BEGIN IF true THEN END IF; PERFORM f(); END $r$;").is_err());
        assert!(read(b"DO $r$ DECLARE x int; BEGIN IF true THEN END IF; END $r$;").is_err());
        assert!(read(b"SET a = 'x").is_err());
    }
}
