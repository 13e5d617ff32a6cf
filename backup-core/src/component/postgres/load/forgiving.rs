//! Statements of a script that can be done later, each run in a block of its own: one that the server refuses is said by a
//! warning and stops nothing. A block leaves the statement in the script's own session, whatever was set there.

use std::iter::Peekable;

use super::failures::{broken_by_rows, not_made, run_later};
use super::statements::not_valid;
use crate::component::postgres::elsewhere::LEFT_FOR_LATER;
use crate::component::postgres::plain::{Later, described};
use crate::component::postgres::words;
use crate::finding::Finding;

/// How a block says that a constraint was made for new rows alone, and that a statement was not done at all.
const NOT_VALID: &str = "not-valid";
const LEFT: &str = "left";

/// Runs statements in blocks.
pub(super) struct Forgiving<'l> {
    /// The statements.
    pub(super) all: &'l [Later],
    /// What no script holds, and what it therefore can't say.
    pub(super) key: &'l str,
}

impl Forgiving<'_> {
    /// What is to be added to the script, and before which byte, in their order. Nothing of it ends a line, so that psql counts
    /// the script's own.
    pub(super) fn added(&self) -> impl Iterator<Item = (u64, Vec<u8>)> + '_ {
        let around = |(number, later): (usize, &Later)| {
            let key = self.key;
            let begin = format!("DO $b{key}$DECLARE why pg_catalog.text; statement pg_catalog.text := $s{key}$");
            [(later.from, begin.into_bytes()), (later.to, self.end(number, later).into_bytes())]
        };
        self.all.iter().enumerate().flat_map(around)
    }

    /// The end of a block: what is done where its statement fails.
    fn end(&self, number: usize, later: &Later) -> String {
        let key = self.key;
        let passing = format!("WHEN {} THEN RAISE;", words::PASSING_CONDITIONS);
        let say = |how: &str| format!("RAISE WARNING '{key} {number} {how} %', why;");
        let otherwise = match later.is_constraint() {
            true => format!(
                "BEGIN EXECUTE pg_catalog.concat(pg_catalog.rtrim(statement, E'; \\n\\r'), ' NOT VALID'); {} \
                 EXCEPTION {passing} WHEN OTHERS THEN {} END;",
                say(NOT_VALID),
                say(LEFT)
            ),
            false => say(LEFT),
        };
        format!(
            "$s{key}$; BEGIN EXECUTE statement; EXCEPTION {passing} WHEN OTHERS THEN \
             why := pg_catalog.translate(SQLERRM, E'\\n\\r', '  '); \
             PERFORM pg_catalog.set_config('client_min_messages', 'warning', true); {otherwise} END $b{key}$; "
        )
    }

    /// What the blocks said, of a database that is to be called `name`.
    pub(super) fn findings(&self, said: &str, name: &str) -> Vec<Finding> {
        said.lines().filter_map(|line| self.finding(line, name)).collect()
    }

    fn finding(&self, line: &str, name: &str) -> Option<Finding> {
        let mut words = line.split_once(self.key)?.1.trim_start().splitn(3, ' ');
        let later = self.all.get(words.next()?.parse::<usize>().ok()?)?;
        let (how, why) = (words.next()?, words::message(words.next()?));
        let subject = format!("{name}: {}", described(&later.text));
        let shown = |text: &Vec<u8>| String::from_utf8_lossy(text).into_owned();
        let (finding, sql) = match not_valid(&later.text).filter(|_| how == NOT_VALID) {
            Some((_, validate)) => (Finding::warning("constraint-not-valid", subject, broken_by_rows(&why)), validate),
            None => (Finding::warning(LEFT_FOR_LATER, subject, not_made(&why)), shown(&later.text)),
        };
        let sql: Vec<String> = later.session.iter().map(shown).chain([sql]).collect();
        Some(finding.hint(run_later(name, &sql.join(" "))))
    }
}

/// A part of a script that begins at byte `at`, with what is to be added in it.
pub(super) fn with_added(
    part: Vec<u8>,
    at: u64,
    added: &mut Peekable<impl Iterator<Item = (u64, Vec<u8>)>>,
) -> Vec<u8> {
    let end = at + part.len() as u64;
    let (mut whole, mut copied) = (Vec::new(), 0);
    while let Some((place, text)) = added.next_if(|(place, _)| *place < end) {
        let place = usize::try_from(place.saturating_sub(at)).unwrap_or(0);
        whole.extend_from_slice(&part[copied..place]);
        whole.extend(text);
        copied = place;
    }
    if copied == 0 && whole.is_empty() {
        return part;
    }
    whole.extend_from_slice(&part[copied..]);
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_stands_where_it_belongs_however_the_script_is_cut() {
        let script = b"0123456789";
        let added = || [(0, b"a".to_vec()), (3, b"b".to_vec()), (3, b"c".to_vec()), (9, b"d".to_vec())].into_iter();
        for size in 1..=script.len() {
            let mut added = added().peekable();
            let parts = script.chunks(size).enumerate();
            let parts = parts.map(|(number, part)| with_added(part.to_vec(), (number * size) as u64, &mut added));
            assert_eq!(parts.collect::<Vec<_>>().concat(), b"a012bc345678d9", "{size}");
        }
    }

    #[test]
    fn what_a_block_says_is_understood_and_nothing_else() {
        let text = b"ALTER TABLE ONLY s.t\n    ADD CONSTRAINT k FOREIGN KEY (a) REFERENCES s.p(a);".to_vec();
        let all = [Later { from: 0, to: 9, text, session: Vec::new() }];
        let forgiving = Forgiving { all: &all, key: "abc" };
        let said = "psql:<stdin>:7: WARNING:  abc 0 not-valid no key: \"hunter2\"\npsql:<stdin>:8: WARNING:  0 left x\n\
            psql:<stdin>:9: WARNING:  abc 7 left x\n";
        let found = forgiving.findings(said, "d");
        assert_eq!((found.len(), found[0].code.as_str()), (1, "constraint-not-valid"));
        assert_eq!(found[0].subject, "d: ALTER TABLE ONLY s.t ADD CONSTRAINT k FOREIGN KEY");
        assert!(found[0].message.ends_with("(no key: \"…\")"), "{}", found[0].message);
        let hint = found[0].hint.as_deref().unwrap_or_default();
        assert!(hint.ends_with("run in database d: ALTER TABLE s.t VALIDATE CONSTRAINT k;"), "{hint}");
    }
}
