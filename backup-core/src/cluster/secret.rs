//! Which keys hold secrets. Their values never print, whether in errors, logs, JSON or manifests.

use std::fmt;

/// What prints in place of a secret.
pub const HIDDEN: &str = "(hidden)";

const MARKS: [&str; 9] =
    ["secret", "password", "passwd", "passphrase", "token", "credential", "private", "_key", "apikey"];

/// Whether the value of `key` must never print.
pub fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase().replace('-', "_");
    MARKS.iter().any(|mark| key.contains(mark))
        || key == "key"
        || key.starts_with("key_")
        || key == "pass"
        || key.ends_with("_pass")
}

/// A text that never prints.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// Whether a value may hold a secret, whatever its key is called: a connection string, for one.
pub(crate) fn may_hold_a_secret(value: &str) -> bool {
    (value.contains("://") && value.contains('@')) || value.to_ascii_lowercase().contains("password")
}
