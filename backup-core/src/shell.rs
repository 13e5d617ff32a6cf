//! Words of commands that are shown to be pasted.

use std::path::Path;

/// A path as one word of a shell.
pub(crate) fn path(path: &Path) -> String {
    word(&path.display().to_string())
}

/// A text as one word of a shell, in quotes where it needs them.
pub(crate) fn word(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "._-/+".contains(c);
    if word.chars().all(plain) { word.into() } else { quoted(word) }
}

/// A text in quotes. Commands stand between backticks where they are shown, so none stands in a word as it is.
pub fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''").replace('`', "'$'\\140''"))
}
