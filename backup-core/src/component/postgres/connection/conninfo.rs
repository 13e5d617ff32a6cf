//! Connection strings: `postgresql://…` and `host=… user=…`.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

use crate::{Error, Kind, Result};

/// Parameters by libpq's names.
pub(super) type Pairs = BTreeMap<String, String>;

/// Reads a connection string of either form.
pub(super) fn parse(text: &str) -> Result<Pairs> {
    let uri = ["postgresql://", "postgres://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    match uri {
        Some(rest) => parse_uri(rest),
        None => parse_words(text),
    }
}

/// Those that name a file, or what may name one.
const FILES: [&str; 9] =
    ["passfile", "service", "servicefile", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslcrldir", "sslkeylogfile"];

/// A parameter of a connection string that names a file or a directory, if there is one.
///
/// # Errors
/// As [`parse`].
pub(crate) fn names_file(text: &str) -> Result<Option<&'static str>> {
    let pairs = parse(text)?;
    let socket = pairs.get("host").filter(|hosts| hosts.split(',').any(is_socket));
    Ok(FILES.into_iter().find(|key| pairs.contains_key(*key)).or(socket.map(|_| "host")))
}

/// Whether a host is a directory with a socket in it, or a socket without a file.
fn is_socket(host: &str) -> bool {
    host.starts_with(['/', '@'])
}

/// The text never goes into the error: it may hold a password.
fn bad(why: &str) -> Error {
    Error::new(Kind::Usage, format!("read the PostgreSQL connection string: {why}"))
        .hint("write it as postgresql://user@host:5432/database?sslmode=verify-full or as host=… user=…")
}

fn decode(text: &str) -> Result<String> {
    let valid = text
        .split('%')
        .skip(1)
        .all(|part| part.as_bytes().get(..2).is_some_and(|d| d.iter().all(u8::is_ascii_hexdigit)));
    if !valid {
        return Err(bad("a `%` that two hexadecimal digits don't follow"));
    }
    percent_decode_str(text).decode_utf8().map(Into::into).map_err(|_| bad("a percent-encoded text that is not UTF-8"))
}

fn parse_uri(rest: &str) -> Result<Pairs> {
    let mut pairs = Pairs::new();
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, hosts) = match authority.rsplit_once('@') {
        Some((user, hosts)) => (Some(user), hosts),
        None => (None, authority),
    };
    if let Some(user) = user {
        let (name, password) = user.split_once(':').unwrap_or((user, ""));
        insert(&mut pairs, "user", decode(name)?);
        insert(&mut pairs, "password", decode(password)?);
    }
    parse_hosts(hosts, &mut pairs)?;
    insert(&mut pairs, "dbname", decode(database)?);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or_else(|| bad("a parameter without `=` after `?`"))?;
        let (key, value) = (decode(key)?, decode(value)?);
        // JDBC's spelling, which libpq takes too.
        let (key, value) =
            if key == "ssl" && value == "true" { ("sslmode".into(), "require".into()) } else { (key, value) };
        pairs.insert(key, value);
    }
    Ok(pairs)
}

fn insert(pairs: &mut Pairs, key: &str, value: String) {
    if !value.is_empty() {
        pairs.insert(key.into(), value);
    }
}

fn parse_hosts(text: &str, pairs: &mut Pairs) -> Result<()> {
    let mut hosts = Vec::new();
    let mut ports = Vec::new();
    for host in text.split(',') {
        let (name, port) = match host.strip_prefix('[') {
            Some(rest) => {
                let (address, after) = rest.split_once(']').ok_or_else(|| bad("an IPv6 address without its `]`"))?;
                (address, after.strip_prefix(':').unwrap_or_default())
            }
            None => host.split_once(':').unwrap_or((host, "")),
        };
        hosts.push(decode(name)?);
        ports.push(port.to_owned());
    }
    if hosts.iter().any(|host| !host.is_empty()) {
        pairs.insert("host".into(), hosts.join(","));
    }
    if ports.iter().any(|port| !port.is_empty()) {
        pairs.insert("port".into(), ports.join(","));
    }
    Ok(())
}

fn parse_words(text: &str) -> Result<Pairs> {
    let mut pairs = Pairs::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=').ok_or_else(|| bad("a word without `=`"))?;
        let (value, after) = take_value(after.trim_start())?;
        pairs.insert(key.trim_end().into(), value);
        rest = after.trim_start();
    }
    Ok(pairs)
}

/// A value, in single quotes or up to white space, with backslash escapes; and what follows it.
fn take_value(text: &str) -> Result<(String, &str)> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut characters = text.char_indices().skip(usize::from(quoted));
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => value.extend(characters.next().map(|(_, next)| next)),
            '\'' if quoted => return Ok((value, &text[at + 1..])),
            c if !quoted && c.is_whitespace() => return Ok((value, &text[at..])),
            c => value.push(c),
        }
    }
    if quoted { Err(bad("a quoted value that never ends")) } else { Ok((value, "")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let expected =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect::<Pairs>();
        let cases: [(&str, &[(&str, &str)]); 7] = [
            ("postgresql://", &[]),
            (
                "postgres://ops:p%40ss@db:5433/or%20x?sslmode=verify-full",
                &[
                    ("user", "ops"),
                    ("password", "p@ss"),
                    ("host", "db"),
                    ("port", "5433"),
                    ("dbname", "or x"),
                    ("sslmode", "verify-full"),
                ],
            ),
            ("postgresql://a:1,[::1]:2/x", &[("host", "a,::1"), ("port", "1,2"), ("dbname", "x")]),
            ("postgresql://%2Fvar%2Frun/x", &[("host", "/var/run"), ("dbname", "x")]),
            ("postgresql:///x?host=/tmp&ssl=true", &[("dbname", "x"), ("host", "/tmp"), ("sslmode", "require")]),
            ("host=db port = 5433  password='a \\' b'", &[("host", "db"), ("port", "5433"), ("password", "a ' b")]),
            ("user=a\\ b", &[("user", "a b")]),
        ];
        for (text, pairs) in cases {
            assert_eq!(parse(text).expect(text), expected(pairs), "{text}");
        }
    }

    #[test]
    fn errors_never_hold_the_text() {
        for text in [
            "postgresql://u:hunter2%zz@h",
            "hunter2",
            "password='hunter2",
            "postgresql://[hunter2/x",
            "postgresql://h/x?hunter2",
        ] {
            let error = parse(text).expect_err(text);
            assert!(!format!("{error:?}").contains("hunter2"), "{text}");
        }
    }
}
