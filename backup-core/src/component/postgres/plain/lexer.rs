//! Follows a script as `psql` does: where a statement ends, and where a line is a command of psql's own.

/// The most of a statement that is kept. Bodies of functions are longer; nothing is asked of them.
pub(super) const KEPT: usize = 64 << 10;

/// What a byte stands in.
#[derive(Debug, Default)]
enum Inside {
    #[default]
    Nothing,
    /// A text or a name, with its quote; in some texts a backslash takes the next byte's meaning.
    Quotes { quote: u8, backslashes: bool },
    /// A text between two of these, such as `$body$`.
    Dollars(Vec<u8>),
    /// Comments of C, with their depth.
    Comment(usize),
}

/// Where in a script we are.
#[derive(Debug, Default)]
pub(super) struct Lexer {
    inside: Inside,
    statement: Vec<u8>,
    /// Parentheses that are open: a rule's actions have semicolons between them.
    parentheses: usize,
    /// What is open of `BEGIN ATOMIC … END` and `CASE … END` in it: a function's body has semicolons too.
    blocks: usize,
}

impl Lexer {
    /// Whether a line that comes next begins a statement, or is a command of psql's own.
    pub(super) fn is_between(&self) -> bool {
        matches!(self.inside, Inside::Nothing) && self.statement.is_empty()
    }

    /// Takes a line with its newline; returns the statements that end in it, without comments, each with its semicolon.
    /// What begins with a backslash outside quotes, wherever it stands, is a command of psql's own: it comes as a statement
    /// that ends with the line. So does what begins another text for one psql than for another.
    pub(super) fn take(&mut self, line: &[u8]) -> Vec<Vec<u8>> {
        let mut ended = Vec::new();
        let mut at = 0;
        while at < line.len() {
            if matches!(self.inside, Inside::Nothing) && line[at] == b'\\' {
                ended.push(line[at..].to_vec());
                break;
            }
            if matches!(self.inside, Inside::Nothing) && is_ambiguous(&line[at..]) {
                ended.push([b"\\", &line[at..]].concat());
                break;
            }
            let taken = self.step(&line[at..]);
            if !matches!(self.inside, Inside::Comment(_)) && !taken.skipped {
                self.keep(&line[at..at + taken.bytes]);
            }
            at += taken.bytes;
            if taken.ends {
                (self.parentheses, self.blocks) = (0, 0);
                ended.push(std::mem::take(&mut self.statement));
            }
        }
        ended
    }

    /// Takes one byte, or some that mean something together.
    fn step(&mut self, rest: &[u8]) -> Taken {
        match &mut self.inside {
            Inside::Quotes { backslashes: true, .. } if rest[0] == b'\\' => return Taken::some(rest.len().min(2)),
            // A doubled one stands for itself.
            Inside::Quotes { quote, .. } if rest.starts_with(&[*quote, *quote]) => return Taken::some(2),
            Inside::Quotes { quote, .. } if rest[0] == *quote => self.inside = Inside::Nothing,
            Inside::Quotes { .. } => {}
            Inside::Dollars(tag) => {
                if rest.starts_with(tag) {
                    let length = tag.len();
                    self.inside = Inside::Nothing;
                    return Taken::some(length);
                }
            }
            Inside::Comment(depth) => {
                match rest {
                    [b'*', b'/', ..] => *depth -= 1,
                    [b'/', b'*', ..] => *depth += 1,
                    _ => return Taken::nothing(1),
                }
                if *depth == 0 {
                    self.inside = Inside::Nothing;
                }
                return Taken::nothing(2);
            }
            Inside::Nothing => return self.begin(rest),
        }
        Taken::some(1)
    }

    /// Takes what stands in nothing.
    fn begin(&mut self, rest: &[u8]) -> Taken {
        match rest {
            [b'-', b'-', ..] => {
                return Taken::nothing(
                    rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(rest.len()),
                );
            }
            [b'/', b'*', ..] => {
                self.inside = Inside::Comment(1);
                return Taken::nothing(2);
            }
            [b';', ..] => return Taken { ends: self.parentheses == 0 && self.blocks == 0, ..Taken::some(1) },
            [b'(', ..] => self.parentheses += 1,
            [b')', ..] => self.parentheses = self.parentheses.saturating_sub(1),
            [b'e' | b'E', b'\'', ..] => {
                self.inside = Inside::Quotes { quote: b'\'', backslashes: true };
                return Taken::some(2);
            }
            [quote @ (b'\'' | b'"'), ..] => self.inside = Inside::Quotes { quote: *quote, backslashes: false },
            [b'$', ..] if tag(rest).is_some() => {
                let tag = tag(rest).unwrap_or_default().to_vec();
                let length = tag.len();
                self.inside = Inside::Dollars(tag);
                return Taken::some(length);
            }
            [byte, ..] if is_word(*byte) => return self.word(rest),
            [byte, ..] if byte.is_ascii_whitespace() && self.statement.is_empty() => return Taken::nothing(1),
            _ => {}
        }
        Taken::some(1)
    }

    /// Takes a word. A function's body that is SQL stands between two of them.
    fn word(&mut self, rest: &[u8]) -> Taken {
        let word = &rest[..rest.iter().position(|byte| !is_word(*byte)).unwrap_or(rest.len())];
        let is = |other: &[u8]| word.eq_ignore_ascii_case(other);
        let (begins, ends) = (is(b"begin") || (is(b"case") && self.blocks > 0), is(b"end"));
        if (begins || ends) && self.parentheses == 0 && makes_a_function(&self.statement) {
            self.blocks = if begins { self.blocks + 1 } else { self.blocks.saturating_sub(1) };
        }
        Taken::some(word.len())
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = KEPT.saturating_sub(self.statement.len());
        self.statement.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// Whether a number with an E stands right before a quote: up to version 14 psql takes the E for the beginning of a text with backslashes, and
/// later ones don't.
fn is_ambiguous(rest: &[u8]) -> bool {
    if !rest.first().is_some_and(u8::is_ascii_digit) {
        return false;
    }
    let end = rest.iter().position(|byte| !is_word(*byte)).unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    matches!(word.last(), Some(b'e' | b'E')) && after.starts_with(b"'")
}

/// What a step took.
struct Taken {
    bytes: usize,
    /// Whether it belongs to no statement.
    skipped: bool,
    /// Whether a statement ends with it.
    ends: bool,
}

impl Taken {
    fn some(bytes: usize) -> Self {
        Self { bytes, skipped: false, ends: false }
    }

    fn nothing(bytes: usize) -> Self {
        Self { bytes, skipped: true, ends: false }
    }
}

/// Whether a statement begins as one that creates a function or a procedure.
fn makes_a_function(statement: &[u8]) -> bool {
    let start = &statement[..statement.len().min(64)];
    let words = start.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).map(<[u8]>::to_ascii_lowercase);
    let mut words = words.filter(|word| word != b"or" && word != b"replace");
    words.next().is_some_and(|word| word == b"create")
        && words.next().is_some_and(|word| word == b"function" || word == b"procedure")
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..)
}

/// The tag that a text between dollars begins with: `$$`, `$body$`; `$1` is none.
fn tag(text: &[u8]) -> Option<&[u8]> {
    let end = 1 + text[1..].iter().position(|byte| !is_word(*byte) || *byte == b'$')?;
    (text[end] == b'$' && !text[1].is_ascii_digit()).then(|| &text[..=end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statements(script: &str) -> Vec<String> {
        let mut lexer = Lexer::default();
        let lines = script.as_bytes().split_inclusive(|byte| *byte == b'\n');
        let ended = lines.flat_map(|line| lexer.take(line)).map(|text| text.escape_ascii().to_string());
        let ended: Vec<String> = ended.collect();
        assert!(lexer.is_between(), "{lexer:?}");
        ended
    }

    #[test]
    fn a_command_of_psql_is_seen_wherever_it_stands() {
        let commands = |script: &str| {
            let mut lexer = Lexer::default();
            let lines = script.as_bytes().split_inclusive(|byte| *byte == b'\n');
            lines.flat_map(|line| lexer.take(line)).filter(|text| text.starts_with(b"\\")).count()
        };
        for script in ["\\c x\n", "  \\c x\n", "SELECT 1; \\! x\n", "SELECT 1\n\\c x\n", "/* */ \\c x\n", "'a'\\c\n"] {
            assert_eq!(commands(script), 1, "{script}");
        }
        // Texts and comments end where psql ends them.
        for script in ["SELECT E'a''\\' '\n\\c x\n--'\n", "-- a\r\\c x\n", "SELECT $$a$$$$'$$\n\\c x\n"] {
            assert_eq!(commands(script), 1, "{script}");
        }
        for script in ["'\\c'\n", "\"\\c\"\n", "$$\n\\c\n$$\n", "-- \\c\n", "/* \\c */\n", "E'\\\\c'\n"] {
            assert_eq!(commands(script), 0, "{script}");
        }
    }

    #[test]
    fn nothing_makes_it_stumble() {
        let alphabet = b"'\"$-/*;\\eE\na1";
        for number in 0..alphabet.len().pow(5) {
            let text: Vec<u8> =
                (0..5).map(|place| alphabet[number / alphabet.len().pow(place) % alphabet.len()]).collect();
            let mut lexer = Lexer::default();
            text.split_inclusive(|byte| *byte == b'\n').for_each(|line| drop(lexer.take(line)));
        }
    }

    #[test]
    fn statements_end_where_psql_ends_them() {
        assert_eq!(statements("-- a; b\n\nSELECT 1;\n"), ["SELECT 1;"]);
        assert_eq!(statements("SELECT 1; SELECT 2;\n"), ["SELECT 1;", "SELECT 2;"]);
        assert_eq!(statements("SELECT /* a; /* b */ ' */ 1;\n"), ["SELECT  1;"]);
        assert_eq!(statements("SELECT 'it''s;\n\\connect x\n';\n").len(), 1);
        assert_eq!(statements("SELECT E'\\';\n', name'\\', \"a;\"\"\n\";\n").len(), 1);
        let rule = "CREATE RULE r AS ON INSERT TO t DO (DELETE FROM a;\nINSERT INTO b VALUES (1));\n";
        assert_eq!(statements(rule).len(), 1);
        let body = "CREATE OR REPLACE FUNCTION f() RETURNS int\nBEGIN ATOMIC\n SELECT CASE WHEN a THEN 1 END;\n INSERT INTO t;\nEND;\n";
        assert_eq!(statements(body).len(), 1);
        assert_eq!(statements("BEGIN;\nSELECT 1;\nCOMMIT;\n").len(), 3);
        assert_eq!(statements("CREATE FUNCTION f() AS $_$ BEGIN; $$ 'a;\n $_$;\nSELECT $1;\n").len(), 2);
    }
}
