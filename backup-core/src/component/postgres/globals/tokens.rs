//! SQL of roles in its smallest parts.

use crate::{Error, Kind, Result};

/// A part of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A word or a number as it stands.
    Word(String),
    /// A name in quotes, without them.
    Name(String),
    /// A text in quotes, without them.
    Text(String),
    /// A text between dollars, without them.
    Body(String),
    /// Any other sign.
    Sign(char),
}

impl Token {
    pub(super) fn is(&self, word: &str) -> bool {
        match self {
            Self::Word(own) => own == word,
            Self::Sign(own) => word.len() == 1 && word.starts_with(*own),
            _ => false,
        }
    }
}

/// All parts of a text; comments and blanks are left out.
///
/// # Errors
/// [`Kind::Damaged`] where a quote or a body does not end, or psql is spoken to.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>> {
    let (mut all, mut rest) = (Vec::new(), text);
    while let Some(first) = rest.chars().next() {
        let damaged = || {
            let line = rest.lines().next().unwrap_or_default();
            Error::new(Kind::Damaged, format!("it can't be read from here on: {line}"))
        };
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        if first.is_whitespace() {
            rest = rest.trim_start();
        } else if rest.starts_with("--") {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
        } else if let Some(text) = rest.strip_prefix("E'") {
            let (text, after) = quoted(text, '\'', true).ok_or_else(damaged)?;
            all.push(Token::Text(text));
            rest = after;
        } else if first == '\'' || first == '"' {
            let (text, after) = quoted(&rest[1..], first, false).ok_or_else(damaged)?;
            all.push(if first == '"' { Token::Name(text) } else { Token::Text(text) });
            rest = after;
        } else if first == '$' {
            let end =
                rest[1..].find(|c| !is_word(c)).filter(|end| rest[1 + end..].starts_with('$')).ok_or_else(damaged)?;
            let (tag, inside) = rest.split_at(end + 2);
            let (body, after) = inside.split_once(tag).ok_or_else(damaged)?;
            all.push(Token::Body(body.into()));
            rest = after;
        } else if is_word(first) || (first == '-' && rest[1..].starts_with(|c: char| c.is_ascii_digit())) {
            // A letter may be longer than a byte, and the first one may be a minus.
            let behind = first.len_utf8();
            let end = rest[behind..].find(|c| !is_word(c)).map_or(rest.len(), |end| end + behind);
            let (word, after) = rest.split_at(end);
            all.push(Token::Word(word.into()));
            rest = after;
        } else if "(),.;<>=".contains(first) {
            all.push(Token::Sign(first));
            rest = &rest[1..];
        } else {
            return Err(damaged());
        }
    }
    Ok(all)
}

/// What stands before the quote that ends a text, and what follows it.
fn quoted(text: &str, quote: char, escapes: bool) -> Option<(String, &str)> {
    let (mut inside, mut rest) = (String::new(), text);
    loop {
        let mut letters = rest.chars();
        let letter = letters.next()?;
        rest = letters.as_str();
        if letter == '\\' && escapes {
            // We write one for a backslash alone.
            rest = rest.strip_prefix('\\')?;
        } else if letter == quote {
            match rest.strip_prefix(quote) {
                Some(more) => rest = more,
                None => return Some((inside, rest)),
            }
        }
        inside.push(letter);
    }
}
