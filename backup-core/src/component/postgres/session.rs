//! The settings of our own sessions, whoever opens them: the driver, PostgreSQL's programs, people with a bundle's scripts.

use super::sql;

/// A setting's name and value.
pub(super) type Setting = (&'static str, &'static str);

/// Fixed in every session from its first moment on, whatever server, database and role say: what would stop us, and how
/// texts are read, and that nothing is said that is no news. Every version has these, and every user may set them.
pub(super) const ALWAYS: [Setting; 10] = [
    ("default_transaction_read_only", "off"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_deferrable", "off"),
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("standard_conforming_strings", "on"),
    ("array_nulls", "on"),
    ("transform_null_equals", "off"),
    ("client_min_messages", "notice"),
];

/// The same, from the version on that has them. The first keeps triggers on login from firing, and may be refused.
pub(super) const WHERE_KNOWN: [Setting; 3] =
    [("event_triggers", "off"), ("transaction_timeout", "0"), ("idle_session_timeout", "0")];

/// What tells that a session's options reach the server. It knows no such setting, so it has it from us alone; a pooler may drop
/// options in silence.
pub(super) const MARK: Setting = ("orchestrator_cli.session", "ours");

/// Fixed where a superuser builds a database: what its settings could put in the way.
pub(super) const BUILDING: [Setting; 4] =
    [ROLE, ("default_table_access_method", "heap"), ("temp_file_limit", "-1"), LANGUAGE];

/// The language of the server's messages, which programs of PostgreSQL hand on as text without a code. Fixed where the user may
/// set it, as superusers may.
pub(super) const LANGUAGE: Setting = ("lc_messages", "C");

/// A database may make its sessions another role's.
pub(super) const ROLE: Setting = ("role", "none");

/// How amounts of money are written in a bundle, so that they are the same wherever they are read.
pub(super) const MONEY: Setting = ("lc_monetary", "C");

/// How values are written into a bundle, as `pg_dump` has it, whatever the server's defaults are.
const WRITING: &str = "SET DATESTYLE = ISO; SET INTERVALSTYLE = POSTGRES; SET extra_float_digits = 3; \
    SET synchronize_seqscans = off; SET row_security = off; SET quote_all_identifiers = off; \
    SELECT pg_catalog.set_config('search_path', '', false), \
    (SELECT pg_catalog.set_config('lc_messages', 'C', false) WHERE pg_catalog.current_setting('is_superuser') = 'on')";

/// Takes back what of [`begin`] is about values, for who is to see them as the database's own sessions do: checks, computed
/// columns, whoever asks.
pub(super) const AS_USERS: &str = "RESET DATESTYLE; RESET INTERVALSTYLE; RESET extra_float_digits; RESET lc_monetary";

/// Takes back that amounts of money are read as they are written in a bundle.
pub(super) const FILLING: &str = "RESET lc_monetary;\n";

/// What the first statement of every session of the driver does.
pub(super) fn begin() -> String {
    format!("{}{WRITING}", statements([MONEY].iter()))
}

/// The same for the first session of all, which learns only now which settings the server knows.
pub(super) fn begin_first() -> String {
    let [_, timeouts @ ..] = WHERE_KNOWN;
    let set = |(name, value)| {
        let (name, value) = (sql::literal(name), sql::literal(value));
        format!("; SELECT pg_catalog.set_config(name, {value}, false) FROM pg_catalog.pg_settings WHERE name = {name}")
    };
    begin() + &timeouts.map(set).concat()
}

/// What scripts begin with that people run, and that PostgreSQL's programs wrote.
pub(super) fn by_hand() -> String {
    statements(ALWAYS.iter().chain([&ROLE, &MONEY]))
}

fn statements<'s>(settings: impl Iterator<Item = &'s Setting>) -> String {
    settings.map(|(name, value)| format!("SET {name} = {};\n", sql::literal(value))).collect()
}

/// A setting as an option at the start of a session.
pub(super) fn option(name: &str, value: &str) -> String {
    let escaped = value.chars().flat_map(|c| (c == '\\' || c.is_whitespace()).then_some('\\').into_iter().chain([c]));
    format!(" -c {name}={}", escaped.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_one_word() {
        assert_eq!(option("DateStyle", r"SQL, DMY\"), r" -c DateStyle=SQL,\ DMY\\");
    }
}
