//! Errors of syntax: where, what stands there, what was expected.

use std::fmt;

use super::secret::{HIDDEN, is_secret};
use crate::text::is_unseen;

/// A place in `cluster.conf` where the text can't be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The line's text as far as it may be shown: secrets are hidden, a long line is cut.
    pub text: String,
    /// What stands there.
    pub found: String,
    /// What was expected instead.
    pub expected: String,
    /// Where in `text` the marker goes, in characters from 0.
    marker: usize,
}

/// Characters of a line that are shown before and after the place.
const AROUND: usize = 50;

impl SyntaxError {
    /// An error at byte `at` of `source`; `key` is the key whose value is being read, if one is.
    pub(super) fn at(source: &str, at: usize, key: Option<&str>, found: String, expected: &str) -> Self {
        let start = source[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let end = source[at..].find('\n').map_or(source.len(), |newline| at + newline);
        let line = memchr::memchr_iter(b'\n', &source.as_bytes()[..start]).count() + 1;
        let column = source[start..at].chars().count() + 1;
        let (text, marker) = shown(&source[start..at], &source[at..end], key);
        Self { line, column, text, found, expected: expected.into(), marker }
    }
}

/// The part of a line that may be shown, and where in it the place is.
fn shown(before: &str, after: &str, key: Option<&str>) -> (String, usize) {
    let words = |text: &str| text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')).any(is_secret);
    if key.is_some_and(is_secret) || words(before) || words(after) {
        let head: String = before
            .split([':', '=', '"', '\'', '('])
            .next()
            .unwrap_or_default()
            .trim_end()
            .chars()
            .take(AROUND)
            .collect();
        let head = if head.split_whitespace().count() > 1 || !words(&head) { String::new() } else { head };
        let marker = head.chars().count() + usize::from(!head.is_empty());
        return (format!("{head}{}{HIDDEN}", if head.is_empty() { "" } else { " " }), marker);
    }
    let skipped = before.chars().count().saturating_sub(AROUND);
    let clean = |c: char| if is_unseen(c) { ' ' } else { c };
    let head: String = before.chars().skip(skipped).map(clean).collect();
    let marker = head.chars().count();
    let tail: String = after.chars().take(AROUND).map(clean).collect();
    (head + &tail, marker)
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, text, found, expected, marker } = self;
        writeln!(f, "line {line}, column {column}: found {found}, expected {expected}")?;
        let gutter = line.to_string().len();
        writeln!(f, "{:gutter$} |", "")?;
        writeln!(f, "{line} | {text}")?;
        write!(f, "{:gutter$} | {:marker$}^", "", "")
    }
}

impl std::error::Error for SyntaxError {}
