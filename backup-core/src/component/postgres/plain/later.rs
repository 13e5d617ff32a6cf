//! Statements of a script that can be done later, and change no row until then.

use super::lexer::KEPT;
use crate::component::postgres::sql::{after_identifier, after_word};

/// What begins such a statement.
const STARTS: [&[u8]; 11] = [
    b"ALTER DEFAULT PRIVILEGES ",
    b"ALTER PUBLICATION ",
    b"ALTER STATISTICS ",
    b"COMMENT ON ",
    b"CREATE INDEX ",
    b"CREATE PUBLICATION ",
    b"CREATE STATISTICS ",
    b"GRANT ",
    b"REFRESH MATERIALIZED VIEW ",
    b"REVOKE ",
    b"SECURITY LABEL ",
];
/// What begins others, and what is in them. They need an index, which may be left for later itself.
const OF_INDEXES: [(&[u8], &[u8]); 3] = [
    (b"ALTER INDEX ", b" ATTACH PARTITION "),
    (b"ALTER INDEX ", b" SET STATISTICS "),
    (b"ALTER TABLE ", b" CLUSTER ON "),
];
/// Statements that no block may hold.
const ALONE: &[u8] = b" CONCURRENTLY ";

/// A statement that can be done later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Later {
    /// Its first byte.
    pub(crate) from: u64,
    /// The byte after its last line.
    pub(crate) to: u64,
    /// Its text, with its semicolon.
    pub(crate) text: Vec<u8>,
    /// What it needs said before it: the path that it finds names by, and who does it.
    pub(crate) session: Vec<Vec<u8>>,
}

impl Later {
    /// Whether it is a constraint, which can be made for new rows alone.
    pub(crate) fn is_constraint(&self) -> bool {
        is_constraint(&self.text)
    }
}

/// Whether a statement can be done later.
pub(super) fn is_for_later(text: &[u8]) -> bool {
    let starts = |start: &&[u8]| text.starts_with(start);
    let of_index = |(start, word): &(&[u8], &[u8])| starts(start) && after_word(text, word).is_some();
    text.len() < KEPT
        && after_word(text, ALONE).is_none()
        && (STARTS.iter().any(starts) || OF_INDEXES.iter().any(of_index) || is_constraint(text))
}

/// Whether a statement adds a foreign key or a check to a table.
fn is_constraint(text: &[u8]) -> bool {
    const ADD: &[u8] = b"ADD CONSTRAINT ";
    let Some(at) = after_word(text, ADD).filter(|_| text.starts_with(b"ALTER TABLE ")) else { return false };
    let what = text[at + after_identifier(&text[at..])..].trim_ascii_start();
    [&b"FOREIGN KEY "[..], b"CHECK "].iter().any(|start| what.starts_with(start))
}

/// What a statement is and whom it names, for people: all before what may be a value.
pub(crate) fn described(text: &[u8]) -> String {
    const LONGEST: usize = 200;
    let opens = |byte: u8| matches!(byte, b'(' | b'\'' | b'$' | b'=' | b';');
    let end = crate::component::postgres::sql::unquoted(text).find(|(_, byte)| opens(*byte));
    let start = String::from_utf8_lossy(&text[..end.map_or(text.len(), |(at, _)| at)]).into_owned();
    let start = start.split_whitespace().collect::<Vec<_>>().join(" ");
    start.trim_end_matches(" IS").chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_done_later_is_told_apart() {
        for later in [
            "GRANT SELECT ON TABLE t TO a;",
            "REVOKE ALL ON SCHEMA s FROM PUBLIC;",
            "COMMENT ON EXTENSION plpgsql IS 'x';",
            "ALTER TABLE ONLY s.\"t ADD CONSTRAINT k\"\n    ADD CONSTRAINT \"a b\" FOREIGN KEY (a) REFERENCES p(a);",
            "ALTER TABLE s.t\n    ADD CONSTRAINT k CHECK ((a > 0)) NOT VALID;",
            "ALTER INDEX s.i ATTACH PARTITION s.j;",
            "ALTER TABLE s.t CLUSTER ON i;",
            "CREATE INDEX i ON t USING btree (a);",
        ] {
            assert!(is_for_later(later.as_bytes()), "{later}");
        }
        for needed in [
            "ALTER TABLE ONLY s.t\n    ADD CONSTRAINT k PRIMARY KEY (a);",
            "ALTER TABLE ONLY s.t\n    ADD CONSTRAINT \"FOREIGN KEY \" UNIQUE (a);",
            "CREATE UNIQUE INDEX i ON t USING btree (a);",
            "CREATE INDEX CONCURRENTLY i ON t USING btree (a);",
            "CREATE TABLE \"GRANT \" (a int);",
            "ALTER TABLE t OWNER TO \" CLUSTER ON \";",
            "ALTER DOMAIN d ADD CONSTRAINT k CHECK (a);",
            "COPY t (a) FROM stdin;",
        ] {
            assert!(!is_for_later(needed.as_bytes()), "{needed}");
        }
    }

    #[test]
    fn a_statement_is_described_without_values() {
        for (text, expected) in [
            ("INSERT INTO s.t VALUES (1, 'hunter2');", "INSERT INTO s.t VALUES"),
            ("CREATE UNIQUE INDEX \"a (b\" ON s.t USING btree (a);", "CREATE UNIQUE INDEX \"a (b\" ON s.t USING btree"),
            ("ALTER TABLE ONLY s.t\n    ADD CONSTRAINT k UNIQUE (a);", "ALTER TABLE ONLY s.t ADD CONSTRAINT k UNIQUE"),
            ("COMMENT ON TABLE s.t IS 'hunter2';", "COMMENT ON TABLE s.t"),
            ("CREATE SUBSCRIPTION s CONNECTION 'password=hunter2'", "CREATE SUBSCRIPTION s CONNECTION"),
            ("SET a.b = hunter2;", "SET a.b"),
            ("COPY s.t (a, b) FROM stdin;", "COPY s.t"),
            ("CREATE FUNCTION f() AS $$hunter2$$", "CREATE FUNCTION f"),
            ("DO $$hunter2$$;", "DO"),
        ] {
            assert_eq!(described(text.as_bytes()), expected);
        }
    }
}
