//! A chunk as it is read.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::bundle::manifest::{Chunk, Entry};
use crate::bundle::reader::{EntryReader, OpenBundle, ReadAt};
use crate::component::postgres::sql;
use crate::{Error, Kind, Result};

/// A chunk up to this size is held in memory; a longer one, with a row that is longer, is read twice.
const HELD: u64 = 24 << 20;
/// The table that a header names, as SQL.
pub(super) fn relation(header: &str) -> &str {
    let name = header.strip_prefix("COPY ").unwrap_or(header);
    let schema = sql::after_identifier(name.as_bytes());
    match name[schema..].strip_prefix('.') {
        Some(rest) => &name[..schema + 1 + sql::after_identifier(rest.as_bytes())],
        None => &name[..schema],
    }
}

/// A chunk, none of which is given before all of it is found right.
pub(super) struct Opened<'b> {
    pub(super) entry: &'b Entry,
    pub(super) chunk: &'b Chunk,
    /// What comes before its rows.
    pub(super) preamble: Bytes,
    /// What follows, as far as it was read with it.
    pub(super) rest: Bytes,
    pub(super) parts: Parts<'b>,
}

impl<'b> Opened<'b> {
    pub(super) fn new(bundle: &'b OpenBundle, entry: &'b Entry) -> Result<Self> {
        let chunk = entry.chunk.as_ref().ok_or_else(|| Error::new(Kind::Damaged, "it is no chunk"))?;
        let mut parts = Parts::checked(bundle, entry)?;
        let mut rest = parts.next()?.unwrap_or_default();
        let length = usize::try_from(chunk.preamble).ok().filter(|length| *length <= rest.len());
        let preamble = rest.split_to(length.ok_or_else(|| Error::new(Kind::Damaged, "an absurd preamble"))?);
        Ok(Self { entry, chunk, preamble, rest, parts })
    }
}

/// `COPY table (columns)` of a chunk, or none where the driver can't send it as it is.
pub(super) fn header(preamble: &[u8], text: bool) -> Result<Option<&str>> {
    let damaged = || Error::new(Kind::Damaged, "it does not begin as a chunk does");
    // The settings before it end with an empty line, and hold none.
    let at = memchr::memmem::find(preamble, b"\n\nCOPY ").ok_or_else(damaged)?;
    let header = preamble[at + 2..].strip_suffix(b" FROM stdin;\n").ok_or_else(damaged)?;
    Ok(std::str::from_utf8(header).ok().filter(|header| text || header.is_ascii()))
}

/// An entry's content, none of which is given before all of it is found right.
pub(super) enum Parts<'b> {
    Held(VecDeque<Bytes>),
    Read(Box<EntryReader<'b, Box<dyn ReadAt>>>),
}

impl<'b> Parts<'b> {
    fn checked(bundle: &'b OpenBundle, entry: &'b Entry) -> Result<Self> {
        let mut reader = bundle.read(entry)?;
        let mut held = VecDeque::new();
        while let Some(part) = reader.next()? {
            if entry.size <= HELD {
                held.push_back(Bytes::copy_from_slice(part));
            }
        }
        if entry.size <= HELD { Ok(Self::Held(held)) } else { Ok(Self::Read(Box::new(bundle.read(entry)?))) }
    }

    pub(super) fn next(&mut self) -> Result<Option<Bytes>> {
        match self {
            Self::Held(parts) => Ok(parts.pop_front()),
            Self::Read(reader) => Ok(reader.next()?.map(Bytes::copy_from_slice)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_a_header_is_found() {
        assert_eq!(relation("COPY chef.runs (id, \"a b\")"), "chef.runs");
        assert_eq!(relation("COPY \"a. (\"\"b\".\"c (\""), "\"a. (\"\"b\".\"c (\"");
        assert_eq!(relation("COPY plain"), "plain");
    }

    #[test]
    fn a_header_is_what_follows_the_settings() {
        let preamble = [sql::preamble("UTF8"), b"COPY \"a\n\nCOPY b\" (\"\xc3\xa9\") FROM stdin;\n".to_vec()].concat();
        let found = header(&preamble, true).expect("a header");
        assert_eq!(found, Some("COPY \"a\n\nCOPY b\" (\"é\")"));
        assert_eq!(header(&preamble, false).expect("a header"), None);
        assert!(header(b"DROP TABLE x;\nCOPY a FROM stdin;\n", true).is_err());
    }
}
