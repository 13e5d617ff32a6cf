//! Reads tokens into values. Depth is bounded, every token is looked at once.

use super::lexer::{Expect, Lexer, Token};
use super::lines::Lines;
use super::syntax::SyntaxError;
use super::value::{Map, Value};

/// Maps and arrays inside one another, at most. Real files have about five.
const DEEPEST: usize = 100;

/// Reads a `cluster.conf`.
///
/// # Errors
/// The first place that can't be understood.
pub fn parse(source: &str) -> Result<Map, SyntaxError> {
    parse_with_lines(source).map(|(map, _)| map)
}

/// Reads a `cluster.conf`, and says where its values stand.
pub(super) fn parse_with_lines(source: &str) -> Result<(Map, Lines), SyntaxError> {
    let mut parser = Parser { lexer: Lexer::new(source), places: Vec::new() };
    let map = parser.map(None, 0)?;
    Ok((map, Lines::new(source, &parser.places)))
}

struct Parser<'s> {
    lexer: Lexer<'s>,
    /// Where values begin.
    places: Vec<usize>,
}

impl Parser<'_> {
    fn wrong(&self, at: usize, key: Option<&str>, token: &Token, expected: &str) -> SyntaxError {
        SyntaxError::at(self.lexer.source, at, key, token.describe(), expected)
    }

    /// The pairs up to the closing `}`, or up to the end of the text where `opened` is none.
    fn map(&mut self, opened: Option<usize>, depth: usize) -> Result<Map, SyntaxError> {
        let mut map = Map::default();
        loop {
            let (at, token) = self.lexer.next(Expect::Key, None)?;
            let key = match token {
                Token::Newline | Token::Mark(',' | ';') => continue,
                Token::Mark('}') if opened.is_some() => return Ok(map),
                Token::End if opened.is_none() => return Ok(map),
                Token::End => return Err(self.unclosed(opened, "{", "}")),
                Token::Bare(key) | Token::Quoted(key) => key,
                other if opened.is_some() => return Err(self.wrong(at, None, &other, "a key or `}`")),
                other => return Err(self.wrong(at, None, &other, "a key")),
            };
            self.lexer.skip_separator();
            let (at, token) = self.lexer.next(Expect::Value, Some(&key))?;
            let value = self.value(at, token, &key, depth)?;
            self.end_of_pair(&key, &value)?;
            map.0.push((key, value));
        }
    }

    /// After a value that is a word or string something must separate it from what follows.
    fn end_of_pair(&mut self, key: &str, value: &Value) -> Result<(), SyntaxError> {
        if matches!(value, Value::Map(_) | Value::Array(_)) {
            return Ok(());
        }
        let mut ahead = self.lexer;
        let (at, token) = ahead.next(Expect::Key, Some(key))?;
        match token {
            Token::Newline | Token::Mark(',' | ';' | '}') | Token::End => Ok(()),
            other => Err(self.wrong(at, Some(key), &other, "the end of the line, `,` or `;`")),
        }
    }

    fn value(&mut self, at: usize, token: Token, key: &str, depth: usize) -> Result<Value, SyntaxError> {
        let nested = matches!(token, Token::Mark('{' | '['));
        if nested && depth >= DEEPEST {
            return Err(SyntaxError::at(
                self.lexer.source,
                at,
                Some(key),
                "one more level of nesting".into(),
                "at most 100 levels",
            ));
        }
        self.places.push(at);
        match token {
            Token::Mark('{') => self.map(Some(at), depth + 1).map(Value::Map),
            Token::Mark('[') => self.array(at, key, depth + 1).map(Value::Array),
            Token::Bare(word) => Ok(classify(word)),
            Token::Quoted(text) | Token::Block(text) => Ok(Value::String(text)),
            other => Err(self.wrong(at, Some(key), &other, "a value")),
        }
    }

    fn array(&mut self, opened: usize, key: &str, depth: usize) -> Result<Vec<Value>, SyntaxError> {
        let mut items = Vec::new();
        loop {
            let (at, token) = self.lexer.next(Expect::Value, Some(key))?;
            match token {
                Token::Newline | Token::Mark(',' | ';') => {}
                Token::Mark(']') => return Ok(items),
                Token::End => return Err(self.unclosed(Some(opened), "[", "]")),
                token => items.push(self.value(at, token, key, depth)?),
            }
        }
    }

    fn unclosed(&self, opened: Option<usize>, open: &str, close: &str) -> SyntaxError {
        let at = opened.unwrap_or_default();
        SyntaxError::at(
            self.lexer.source,
            at,
            None,
            format!("`{open}` that is never closed"),
            &format!("a matching `{close}`"),
        )
    }
}

/// What a bare word means.
fn classify(word: String) -> Value {
    match word.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => return Value::Boolean(true),
        "false" | "no" | "off" => return Value::Boolean(false),
        _ => {}
    }
    let numeric = word.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+');
    if !numeric {
        return Value::String(word);
    }
    if let Some(number) = integer(&word) {
        return Value::Integer(number);
    }
    let decimal = word.contains('.') && word.chars().all(|c| c.is_ascii_digit() || "+-.eE".contains(c));
    if let Some(number) = decimal.then(|| word.parse().ok()).flatten() {
        return Value::Float(number);
    }
    if chrono::DateTime::parse_from_rfc3339(&word).is_ok() {
        return Value::DateTime(word);
    }
    Value::String(word)
}

/// Suffixes of numbers, as the related NATS language has them: `k` is 1000, `kb` is 1024.
const SUFFIXES: [(&str, i64); 6] =
    [("kb", 1 << 10), ("mb", 1 << 20), ("gb", 1 << 30), ("k", 1000), ("m", 1_000_000), ("g", 1_000_000_000)];

fn integer(word: &str) -> Option<i64> {
    if let Ok(number) = word.parse() {
        return Some(number);
    }
    let lower = word.to_ascii_lowercase();
    let (suffix, factor) = SUFFIXES.iter().find(|(suffix, _)| lower.ends_with(suffix))?;
    lower[..lower.len() - suffix.len()].parse::<i64>().ok()?.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(source: &str, path: &[&str]) -> Value {
        parse(source).expect("a good text").at(path).expect("the path").clone()
    }

    #[test]
    fn pairs_are_separated_in_every_way_the_language_has() {
        for source in ["a: 1\nb: 2", "a=1,b=2", "a 1;b 2", "a : 1 ,\n# note\nb = 2,", "\u{feff}a: 1 // note\nb\t2\r\n"]
        {
            let map = parse(source).unwrap_or_else(|error| panic!("{source:?}: {error}"));
            assert_eq!(
                (map.get("a"), map.get("b")),
                (Some(&Value::Integer(1)), Some(&Value::Integer(2))),
                "{source:?}"
            );
        }
    }

    #[test]
    fn every_character_ends_somewhere() {
        for c in (0..=0x3000).filter_map(char::from_u32) {
            let _ = parse(&format!("a: [{c}{c}x{c}]{c}\n{c}b{c}"));
        }
        assert_eq!(
            at("a\u{c}: [\u{b}x\u{a0}y\u{2028}]", &["a"]),
            Value::Array(vec!["x", "y"].into_iter().map(|t| Value::String(t.into())).collect())
        );
    }

    #[test]
    fn words_have_types() {
        let cases = [
            ("x", Value::String("x".into())),
            ("http://10.0.0.1:80/a=b", Value::String("http://10.0.0.1:80/a=b".into())),
            ("10.0.0.1", Value::String("10.0.0.1".into())),
            ("'a b'", Value::String("a b".into())),
            (r#""t\t\x41\"""#, Value::String("t\tA\"".into())),
            ("12", Value::Integer(12)),
            ("-12", Value::Integer(-12)),
            ("8k", Value::Integer(8000)),
            ("8kb", Value::Integer(8192)),
            ("1.5", Value::Float(1.5)),
            ("Yes", Value::Boolean(true)),
            ("off", Value::Boolean(false)),
            ("2026-11-20T19:15:00Z", Value::DateTime("2026-11-20T19:15:00Z".into())),
        ];
        for (text, value) in cases {
            assert_eq!(at(&format!("k: {text}"), &["k"]), value, "{text}");
        }
    }

    #[test]
    fn blocks_end_at_a_parenthesis_alone_on_its_line() {
        let source = "cert: (-----BEGIN-----\nab(c)\n-----END-----\n)\nnext: 1";
        assert_eq!(at(source, &["cert"]), Value::String("-----BEGIN-----\nab(c)\n-----END-----".into()));
        assert_eq!(at(source, &["next"]), Value::Integer(1));
    }

    #[test]
    fn the_last_of_doubled_keys_counts_and_numeric_keys_stay_text() {
        assert_eq!(at("1234: a\n1234: b", &["1234"]), Value::String("b".into()));
    }

    #[test]
    fn arrays_take_commas_newlines_and_comments() {
        let expected = Value::Array(vec![Value::Integer(1), Value::String("b".into()), Value::Array(vec![])]);
        assert_eq!(at("a: [1, # one\n 'b'\n []\n]", &["a"]), expected);
    }

    #[test]
    fn errors_show_the_place_and_what_was_expected() {
        let cases = [
            "a: {\n  b: 1\n",
            "a: \n",
            "a: [1, 2\nb: 3",
            "a: 'never closed\nb: 2",
            "a: 1 2\n",
            "zone }\n",
            "a: (text\nmore\n",
            "a: \"x\\q\"",
            "database_backups { secret_key: \"hunter2\" \"oops\" }",
            "secret_key: hunter2 hunter3",
        ];
        let shown: Vec<String> =
            cases.iter().map(|source| format!("{source:?}\n{}\n", parse(source).expect_err("a bad text"))).collect();
        let shown = shown.join("\n");
        insta::assert_snapshot!(shown);
        let messages: String = shown.lines().filter(|line| !line.starts_with('"')).collect();
        assert!(!messages.contains("hunter"), "a secret was shown");
    }

    #[test]
    fn nesting_is_bounded() {
        for (open, close) in [("a{", "}"), ("[", "]")] {
            let source = format!("k {}{}", open.repeat(50_000).replace("a{", "{a "), close.repeat(50_000));
            assert!(parse(&source).is_err());
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(source in "[a{}\\[\\]():=,;#\"'\\\\ \\n1x/]{0,200}") {
            let _ = parse(&source);
        }

        #[test]
        fn no_unicode_panics(source: String) {
            let _ = parse(&source);
        }

        #[test]
        fn quoted_text_comes_back(text in "[^']{0,60}", key in "[a-z]{1,8}") {
            prop_assert_eq!(at(&format!("{key}: '{text}'"), &[&key]), Value::String(text));
        }
    }
}
