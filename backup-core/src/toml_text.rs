//! Texts of TOML: a table that is read later, and what is wrong in a text, with its place and its key in full.

use std::ops::Range;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use crate::nearest::nearest;
use crate::{Error, Kind, Result};

/// What to look at if no key is near the unknown one.
const SAMPLE: &str = "deploy/orchestrator.toml is a sample with every key";

/// A table in a list at the top of a text, such as `[[component]]`. What knows its keys reads the table later.
#[derive(Debug, Clone, Default)]
pub struct Table {
    text: Arc<str>,
    list: &'static str,
    index: usize,
}

impl Table {
    /// The first `count` tables of a list.
    pub(crate) fn list(text: &str, list: &'static str, count: usize) -> Vec<Self> {
        let text: Arc<str> = text.into();
        (0..count).map(|index| Self { text: text.clone(), list, index }).collect()
    }

    /// The text that a key of the table has.
    ///
    /// # Errors
    /// [`Kind::Usage`] if the key has another value.
    pub(crate) fn text_of(&self, key: &str) -> Result<Option<String>> {
        let table = self.parsed();
        let found = table.get_ref().iter().find(|(name, _)| name.get_ref() == key);
        match found.map(|(_, value)| (value.span(), value.get_ref())) {
            None => Ok(None),
            Some((_, DeValue::String(text))) => Ok(Some(text.to_string())),
            Some((place, _)) => Err(Slip::at(&self.text, place, "expected a string").error("")),
        }
    }

    /// Reads the table without some of its keys.
    ///
    /// # Errors
    /// [`Kind::Usage`] with the place, the key, what was found and what was expected.
    pub(crate) fn read<T: DeserializeOwned>(&self, without: &[&str]) -> Result<T> {
        let (place, table) = (self.parsed().span(), self.parsed().into_inner());
        let left = table.into_iter().filter(|(name, _)| !without.contains(&name.get_ref().as_ref()));
        let table = Spanned::new(place, left.collect::<DeTable<'_>>());
        T::deserialize(Deserializer::from(table)).map_err(|error| Slip::of(&self.text, &error).error(""))
    }

    /// The table as it is written; an empty one if the text has no such table.
    fn parsed(&self) -> Spanned<DeTable<'_>> {
        let document = DeTable::parse(&self.text).map(Spanned::into_inner).unwrap_or_default();
        let list =
            document.into_iter().find(|(name, _)| name.get_ref() == self.list).map(|(_, list)| list.into_inner());
        let DeValue::Array(list) = list.unwrap_or(DeValue::Boolean(false)) else {
            return Spanned::new(0..0, DeTable::new());
        };
        let table = list.into_iter().nth(self.index).map(|table| (table.span(), table.into_inner()));
        match table {
            Some((place, DeValue::Table(table))) => Spanned::new(place, table),
            _ => Spanned::new(0..0, DeTable::new()),
        }
    }
}

/// Reads a text; `name` is what an error calls the text.
///
/// # Errors
/// [`Kind::Usage`] with the place, the key, what was found and what was expected. No value stands in the error but a number
/// or a truth where one was to be.
pub(crate) fn read<T: DeserializeOwned>(name: &str, text: &str) -> Result<T> {
    toml::from_str(text).map_err(|error| Slip::of(text, &error).error(&format!("read the settings {name}, ")))
}

/// Reads each section of a text by itself, so that a mistake in one hides none in another.
///
/// # Errors
/// [`Kind::Usage`] if the text is no TOML.
pub(crate) fn read_apart<T: DeserializeOwned>(name: &str, text: &str) -> Result<Vec<Result<T>>> {
    let refused = |error: toml::de::Error| Slip::of(text, &error).error(&format!("read the settings {name}, "));
    let document = DeTable::parse(text).map_err(refused)?;
    let place = document.span();
    let sections = document.into_inner().into_iter().map(|section| {
        let alone = [section].into_iter().collect::<DeTable<'_>>();
        T::deserialize(Deserializer::from(Spanned::new(place.clone(), alone))).map_err(refused)
    });
    Ok(sections.collect())
}

/// What is wrong in a text.
struct Slip {
    line: usize,
    column: usize,
    message: String,
    hint: String,
}

impl Slip {
    fn of(text: &str, error: &toml::de::Error) -> Self {
        Self::at(text, error.span().unwrap_or(0..0), error.message().trim())
    }

    fn at(text: &str, place: Range<usize>, message: &str) -> Self {
        let before = text.get(..place.start).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        let document = DeTable::parse(text).ok();
        let (keys, value) = document.as_ref().map(|document| found(document.get_ref(), &place)).unwrap_or_default();
        let key = if keys.is_empty() { String::new() } else { format!("{}: ", keys.join(".")) };
        let (said, near) = in_words(message, value);
        let hint = near.map_or_else(|| SAMPLE.to_owned(), |near| format!("did you mean {near}?"));
        Self { line, column, message: format!("{key}{said}"), hint }
    }

    fn error(self, doing: &str) -> Error {
        let Self { line, column, message, hint } = self;
        Error::new(Kind::Usage, format!("{doing}line {line}, column {column}: {message}")).hint(hint)
    }
}

/// The keys that lead to a place, and the innermost value that holds it; none for the place of a key.
fn found<'v, 'i>(document: &'v DeTable<'i>, place: &Range<usize>) -> (Vec<String>, Option<&'v DeValue<'i>>) {
    let (mut table, mut keys, mut innermost) = (Some(document), Vec::new(), None);
    while let Some(within) = table.take() {
        let Some((key, value)) = within.iter().find(|(key, value)| is_in(key, place) || holds(value, place)) else {
            break;
        };
        keys.push(key.get_ref().to_string());
        if is_in(key, place) {
            return (keys, None);
        }
        innermost = Some(element(value.get_ref(), place));
        table = innermost.and_then(DeValue::as_table);
    }
    (keys, innermost)
}

fn is_in<T>(spanned: &Spanned<T>, place: &Range<usize>) -> bool {
    let span = spanned.span();
    span.start <= place.start && place.end <= span.end
}

/// Whether a place is in a value. The tables of a list, and those below a header, stand at several places.
fn holds(value: &Spanned<DeValue<'_>>, place: &Range<usize>) -> bool {
    is_in(value, place)
        || match value.get_ref() {
            DeValue::Table(table) => table.iter().any(|(key, value)| is_in(key, place) || holds(value, place)),
            DeValue::Array(all) => all.iter().any(|value| holds(value, place)),
            _ => false,
        }
}

/// The element of a list in which a place is; other values themselves.
fn element<'v, 'i>(value: &'v DeValue<'i>, place: &Range<usize>) -> &'v DeValue<'i> {
    let of = |all: &'v toml::de::DeArray<'i>| all.iter().find(|value| holds(value, place));
    value.as_array().and_then(of).map_or(value, |inner| element(inner.get_ref(), place))
}

/// The parser's message in usual words and without the value, which may be a secret; and the name that was meant, if one is near.
fn in_words<'m>(message: &'m str, value: Option<&DeValue<'_>>) -> (String, Option<&'m str>) {
    let quoted = |rest: &'m str| rest.split('`').skip(1).step_by(2);
    if let Some(rest) = message.strip_prefix("unknown field ") {
        let mut names = quoted(rest);
        let near = names.next().and_then(|unknown| nearest(unknown, names));
        let known: Vec<&str> = quoted(rest).skip(1).collect();
        return (format!("unknown key, expected one of {}", known.join(", ")), near);
    }
    if let Some(rest) = message.strip_prefix("unknown variant ") {
        let mut names = quoted(rest);
        let near = names.next().and_then(|unknown| nearest(unknown, names));
        let known: Vec<String> = quoted(rest).skip(1).map(|name| format!("{name:?}")).collect();
        return (format!("found another text, expected {}", known.join(" or ")), near);
    }
    if let Some(rest) = message.strip_prefix("missing field ") {
        return (format!("the key {} is missing", rest.trim_matches('`')), None);
    }
    let of_types = ["invalid type:", "invalid value:", "invalid length:", "expected "];
    let expected = of_types.iter().any(|start| message.starts_with(start)).then(|| message.rsplit_once("expected "));
    match (expected.flatten(), value) {
        (Some((_, expected)), value) => (told(expected, value), None),
        (None, _) if message == "wanted string or table" => (told("a string", value), None),
        (None, _) => (message.to_owned(), None),
    }
}

fn told(expected: &str, value: Option<&DeValue<'_>>) -> String {
    let number = matches!(expected, "u16" | "u32" | "u64" | "usize") || expected.starts_with("a nonzero ");
    let found = value.map(|value| match value {
        DeValue::String(_) => "a text".to_owned(),
        // A number in the place of a text may be a password.
        DeValue::Integer(integer) if number => integer.to_string(),
        DeValue::Integer(_) => "a whole number".into(),
        DeValue::Float(_) => "a number with a fraction".into(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(_) => "a date or a time".into(),
        DeValue::Array(_) => "a list".into(),
        DeValue::Table(_) => "a table".into(),
    });
    let is_table = matches!(value, Some(DeValue::Table(_)));
    let expected = match expected {
        "u16" => "a whole number from 0 to 65535",
        "u32" | "u64" | "usize" => "a whole number that is not negative",
        "a nonzero u16" => "a whole number from 1 to 65535",
        "a nonzero u32" | "a nonzero usize" => "a whole number from 1 on",
        "a string" => "a text in quotes",
        "path string" => "a path in quotes",
        "a boolean" => "true or false",
        "a sequence" if is_table => "a list of tables, each under [[…]]",
        "a sequence" => "a list, as [\"one\"]",
        "a map" => "a table",
        other if other.starts_with("struct ") => "a table",
        other => other,
    };
    found.map_or_else(|| format!("expected {expected}"), |found| format!("found {found}, expected {expected}"))
}
