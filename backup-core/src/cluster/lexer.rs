//! Cuts the text into tokens. Every byte is looked at once.

use super::syntax::SyntaxError;

/// What a token is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// `{`, `}`, `[`, `]`, `:`, `=`, `,` or `;`.
    Mark(char),
    /// One or more line ends, with the comments and white space around them.
    Newline,
    /// A bare word.
    Bare(String),
    /// A string in quotes, escapes resolved.
    Quoted(String),
    /// A block string, without its parentheses.
    Block(String),
    /// The end of the text.
    End,
}

impl Token {
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Mark(mark) => format!("`{mark}`"),
            Self::Newline => "the end of the line".into(),
            // Words and strings can be secrets, so they are named and not shown.
            Self::Bare(_) => "a word".into(),
            Self::Quoted(_) => "a quoted string".into(),
            Self::Block(_) => "a block string".into(),
            Self::End => "the end of the file".into(),
        }
    }
}

/// What a bare word is read for: a value may hold `:` and `=`, a key may not.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Expect {
    Key,
    Value,
}

#[derive(Clone, Copy)]
pub(super) struct Lexer<'s> {
    pub(super) source: &'s str,
    at: usize,
}

impl<'s> Lexer<'s> {
    pub(super) fn new(source: &'s str) -> Self {
        // A byte order mark is no part of the text.
        Self { source, at: if source.starts_with('\u{feff}') { 3 } else { 0 } }
    }

    /// The next token and the byte where it begins. `key` is the key whose value is being read, for errors.
    pub(super) fn next(&mut self, expect: Expect, key: Option<&str>) -> Result<(usize, Token), SyntaxError> {
        let begin = self.at;
        if self.skip_space() {
            return Ok((begin, Token::Newline));
        }
        let begin = self.at;
        let Some(first) = self.source[begin..].chars().next() else { return Ok((begin, Token::End)) };
        let token = match first {
            '{' | '}' | '[' | ']' | ',' | ';' => self.mark(first),
            ':' | '=' if expect == Expect::Key => self.mark(first),
            '"' => self.double_quoted(key)?,
            '\'' => self.single_quoted(key)?,
            '(' => self.block(key)?,
            ')' => return Err(self.error(begin, key, "`)`", "a key, a value or a closing bracket")),
            _ => self.bare(expect),
        };
        Ok((begin, token))
    }

    /// Skips a separator if it comes next, on the same line.
    pub(super) fn skip_separator(&mut self) {
        self.skip_blanks();
        if self.source[self.at..].starts_with([':', '=']) {
            self.at += 1;
        }
    }

    fn error(&self, at: usize, key: Option<&str>, found: &str, expected: &str) -> SyntaxError {
        SyntaxError::at(self.source, at, key, found.into(), expected)
    }

    fn mark(&mut self, mark: char) -> Token {
        self.at += 1;
        Token::Mark(mark)
    }

    fn skip_blanks(&mut self) {
        let rest = &self.source[self.at..];
        let skipped = rest.len() - rest.trim_start_matches(|c: char| c.is_whitespace() && c != '\n').len();
        self.at += skipped;
    }

    /// Skips white space and comments; true where a line ended.
    fn skip_space(&mut self) -> bool {
        let mut newline = false;
        loop {
            self.skip_blanks();
            let rest = &self.source[self.at..];
            if rest.starts_with('\n') {
                newline = true;
                self.at += 1;
            } else if rest.starts_with('#') || rest.starts_with("//") {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else {
                return newline;
            }
        }
    }

    /// A word. It is never empty, or the parser would read it for ever: all white space was skipped before it.
    fn bare(&mut self, expect: Expect) -> Token {
        let rest = &self.source[self.at..];
        let ends = |c: char| {
            c.is_whitespace() || "()[]{}\"',;#".contains(c) || (expect == Expect::Key && (c == ':' || c == '='))
        };
        let length = rest.find(ends).unwrap_or(rest.len());
        self.at += length;
        Token::Bare(rest[..length].into())
    }

    fn single_quoted(&mut self, key: Option<&str>) -> Result<Token, SyntaxError> {
        let begin = self.at;
        let rest = &self.source[begin + 1..];
        let Some(length) = rest.find('\'') else {
            return Err(self.error(begin, key, "a string that never ends", "a closing `'`"));
        };
        self.at = begin + 1 + length + 1;
        Ok(Token::Quoted(rest[..length].into()))
    }

    fn double_quoted(&mut self, key: Option<&str>) -> Result<Token, SyntaxError> {
        let begin = self.at;
        let mut text: Vec<u8> = Vec::new();
        let mut at = begin + 1;
        loop {
            let rest = &self.source[at..];
            let Some(length) = rest.find(['"', '\\']) else {
                return Err(self.error(begin, key, "a string that never ends", "a closing `\"`"));
            };
            text.extend_from_slice(&rest.as_bytes()[..length]);
            at += length;
            if rest[length..].starts_with('"') {
                self.at = at + 1;
                return match String::from_utf8(text) {
                    Ok(text) => Ok(Token::Quoted(text)),
                    Err(_) => Err(self.error(begin, key, "escapes that make no valid UTF-8", "UTF-8 text")),
                };
            }
            let (byte, used) = escape(&self.source[at + 1..])
                .ok_or_else(|| self.error(at, key, "an unknown escape", "one of \\t \\n \\r \\\" \\\\ \\xNN"))?;
            text.push(byte);
            at += 1 + used;
        }
    }

    /// `(` … `)` where the closing `)` stands alone on its line.
    fn block(&mut self, key: Option<&str>) -> Result<Token, SyntaxError> {
        let begin = self.at;
        let rest = &self.source[begin + 1..];
        let mut from = 0;
        while let Some(newline) = rest[from..].find('\n').map(|length| from + length) {
            let line = rest[newline + 1..].split('\n').next().unwrap_or_default();
            let alone = line.trim();
            if alone.trim_end_matches([',', ';']).trim_end() == ")" {
                let close = newline + 1 + line.find(')').unwrap_or(0);
                self.at = begin + 1 + close + 1;
                let text = rest[..newline].strip_suffix('\r').unwrap_or(&rest[..newline]);
                return Ok(Token::Block(text.strip_prefix('\n').or(text.strip_prefix("\r\n")).unwrap_or(text).into()));
            }
            from = newline + 1;
        }
        Err(self.error(begin, key, "a block string that never ends", "a `)` alone on its line"))
    }
}

/// The byte that an escape stands for, and how many bytes follow the backslash.
fn escape(rest: &str) -> Option<(u8, usize)> {
    Some(match rest.as_bytes().first()? {
        b't' => (b'\t', 1),
        b'n' => (b'\n', 1),
        b'r' => (b'\r', 1),
        b'"' => (b'"', 1),
        b'\\' => (b'\\', 1),
        b'x' => (u8::from_str_radix(rest.get(1..3)?, 16).ok()?, 3),
        _ => return None,
    })
}
