//! A chunk as it is read.

use std::collections::VecDeque;

use bytes::Bytes;

use super::simple;
use crate::bundle::manifest::Entry;
use crate::bundle::manifest::postgres::Chunk;
use crate::bundle::reader::{EntryReader, OpenBundle, ReadAt};
use crate::component::postgres::Head;
use crate::{Error, Kind, Result};

/// A chunk up to this size is held in memory; a longer one, with a row that is longer, is read twice.
const HELD: u64 = 24 << 20;
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

/// What a chunk's rows are of, as statements of our own say it; whatever else stands before its rows is not run.
pub(super) struct Header {
    /// The table as SQL, in the database's encoding.
    pub(super) table: Vec<u8>,
    /// `COPY table (columns)`, likewise.
    pub(super) copy: Vec<u8>,
}

impl Header {
    /// That of a chunk with this preamble.
    ///
    /// # Errors
    /// [`Kind::Damaged`] where it does not begin as a chunk does.
    pub(super) fn of(preamble: &[u8]) -> Result<Self> {
        let head = Head::of_preamble(preamble);
        let head = head.ok_or_else(|| Error::new(Kind::Damaged, "it does not begin as a chunk does"))?;
        simple::refuse_zeros(preamble)?;
        let (schema, name) = &head.table;
        let table = [&*identifier(schema), b".", &identifier(name)].concat();
        let columns: Vec<Vec<u8>> = head.columns.iter().map(|column| identifier(column)).collect();
        let columns = match columns.is_empty() {
            true => Vec::new(),
            false => [b" (", &*columns.join(&b", "[..]), b")"].concat(),
        };
        let copy = [b"COPY ", &*table, &columns].concat();
        Ok(Self { table, copy })
    }

    /// The same as texts; none where the driver can't send them as they are.
    pub(super) fn texts(&self, text: bool) -> Option<(&str, &str)> {
        let sent = |bytes| std::str::from_utf8(bytes).ok().filter(|part: &&str| text || part.is_ascii());
        Some((sent(&self.table)?, sent(&self.copy)?))
    }
}

/// A name as SQL.
fn identifier(name: &[u8]) -> Vec<u8> {
    let quote = |byte: &u8| if *byte == b'"' { vec![b'"', b'"'] } else { vec![*byte] };
    [vec![b'"'], name.iter().flat_map(quote).collect(), vec![b'"']].concat()
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
    use crate::component::postgres::sql;

    #[test]
    fn a_header_is_what_follows_the_settings_and_is_written_anew() {
        let of = |head: &[u8]| Header::of(&[&*sql::preamble("UTF8"), head].concat());
        let header = of(b"COPY \"a\n\nCOPY b\".c (\"\xc3\xa9\", \"d\"\"e\", f) FROM stdin;\n").expect("a header");
        let expected = ("\"a\n\nCOPY b\".\"c\"", "COPY \"a\n\nCOPY b\".\"c\" (\"é\", \"d\"\"e\", \"f\")");
        assert_eq!(header.texts(true), Some(expected));
        assert_eq!(header.texts(false), None);
        assert!(Header::of(b"DROP TABLE x;\nCOPY s.a FROM stdin;\n").is_err());
        assert!(of(b"COPY s.t FROM PROGRAM 'touch x' -- FROM stdin;\n").is_err());
        assert!(of(b"COPY (SELECT f()) FROM stdin;\n").is_err());
        let sly = of(b"COPY s.t (a) FROM PROGRAM 'touch x'; --) FROM stdin;\n");
        assert!(sly.is_err() || sly.is_ok_and(|header| header.copy.starts_with(b"COPY \"s\".\"t\" (\"a) FROM")));
    }
}
