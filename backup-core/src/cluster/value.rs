//! Values of the language.

use std::collections::HashMap;
use std::fmt;

use super::secret::{HIDDEN, is_secret};

/// A value. Its `Debug` form hides what secret keys hold.
#[derive(Clone, PartialEq)]
pub enum Value {
    /// A bare, quoted or block string.
    String(String),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// `true` or `false`.
    Boolean(bool),
    /// A date with time, as it was written.
    DateTime(String),
    /// Items in order.
    Array(Vec<Value>),
    /// Keys and values in order.
    Map(Map),
}

/// Keys and values in the order of the file. Of a doubled key the last one counts; every one is kept.
#[derive(Clone, PartialEq, Default)]
pub struct Map(pub Vec<(String, Value)>);

impl Map {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Every key once, where it stands first, with the value that counts.
    pub fn effective(&self) -> impl Iterator<Item = (&str, &Value)> {
        let mut left: HashMap<&str, &Value> = self.0.iter().map(|(key, value)| (key.as_str(), value)).collect();
        self.0.iter().filter_map(move |(key, _)| Some((key.as_str(), left.remove(key.as_str())?)))
    }

    /// The value at a path of keys.
    pub fn at(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        let value = self.get(first)?;
        if rest.is_empty() { Some(value) } else { value.as_map()?.at(rest) }
    }
}

impl Value {
    /// What kind of value it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Boolean(_) => "a boolean",
            Self::DateTime(_) => "a date",
            Self::Array(_) => "an array",
            Self::Map(_) => "a map",
        }
    }

    /// The map, if it is one.
    pub fn as_map(&self) -> Option<&Map> {
        if let Self::Map(map) = self { Some(map) } else { None }
    }

    /// The text of a string, date or number, if it is one: an unquoted name may look like a number.
    pub fn as_text(&self) -> Option<String> {
        match self {
            Self::String(text) | Self::DateTime(text) => Some(text.clone()),
            Self::Integer(number) => Some(number.to_string()),
            Self::Float(number) => Some(number.to_string()),
            _ => None,
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String(text) | Self::DateTime(text) => write!(f, "{text:?}"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number}"),
            Self::Boolean(truth) => write!(f, "{truth}"),
            Self::Array(items) => f.debug_list().entries(items).finish(),
            Self::Map(map) => map.fmt(f),
        }
    }
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (key, value) in &self.0 {
            if is_secret(key) {
                map.entry(key, &format_args!("{HIDDEN}"));
            } else {
                map.entry(key, value);
            }
        }
        map.finish()
    }
}
