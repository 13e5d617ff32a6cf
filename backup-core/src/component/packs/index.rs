//! The index as it is read: the first line, a line for each entry, the last line.

use std::io::{BufRead, BufReader, Read};

use serde::de::DeserializeOwned;

use super::line::{Begin, FORMAT, Format, Line, PackedTree};
use crate::bundle::path;
use crate::bundle::reader::unreadable;
use crate::{Error, Kind, Result};

/// A line has two paths of at most 4096 bytes, each of which may take five bytes (`\\xNN`, as JSON has it), and little else.
const LONGEST: u64 = 64 << 10;

/// An index that is being read.
pub(super) struct Index<R> {
    input: BufReader<R>,
    /// The line that comes next; it is the last one if no further one comes.
    next: Vec<u8>,
    later: Vec<u8>,
    /// Which line that is, from 1 on.
    number: u64,
    /// The tree's own path.
    pub(super) root: Vec<u8>,
}

/// What comes after the first line.
pub(super) enum Said {
    Entry(Box<Line>),
    End(PackedTree),
}

impl<R: Read> Index<R> {
    /// Reads the first line.
    ///
    /// # Errors
    /// [`Kind::Damaged`], [`Kind::Unsupported`].
    pub(super) fn open(input: R) -> Result<Self> {
        let input = BufReader::with_capacity(256 << 10, input);
        let mut index = Self { input, next: Vec::new(), later: Vec::new(), number: 1, root: Vec::new() };
        index.read_later()?;
        std::mem::swap(&mut index.next, &mut index.later);
        // A later format may say all else otherwise.
        let Format { format } = index.parse()?;
        if format > FORMAT {
            let message = format!("the index has format {format}, and this tool reads format {FORMAT}");
            return Err(Error::new(Kind::Unsupported, message).hint("use a newer version"));
        }
        let begin: Begin = index.parse()?;
        index.root = path::from_text(&begin.root).ok_or_else(|| index.damaged("a malformed path"))?;
        index.advance()?;
        Ok(index)
    }

    /// The next line.
    ///
    /// # Errors
    /// [`Kind::Damaged`], naming the line.
    pub(super) fn next(&mut self) -> Result<Said> {
        self.read_later()?;
        if self.later.is_empty() {
            return self.parse().map(Said::End);
        }
        let line = self.parse()?;
        self.number += 1;
        std::mem::swap(&mut self.next, &mut self.later);
        Ok(Said::Entry(Box::new(line)))
    }

    fn advance(&mut self) -> Result<()> {
        self.read_later()?;
        self.number += 1;
        std::mem::swap(&mut self.next, &mut self.later);
        Ok(())
    }

    fn read_later(&mut self) -> Result<()> {
        self.later.clear();
        let read = (&mut self.input).take(LONGEST).read_until(b'\n', &mut self.later);
        read.map_err(|cause| unreadable(cause, "read the index"))?;
        if self.later.is_empty() || self.later.last() == Some(&b'\n') {
            return Ok(());
        }
        Err(self.damaged("the line after it is cut off, or too long"))
    }

    fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.next).map_err(|cause| self.damaged("not what stands there").because(cause))
    }

    /// That something is wrong with the line that was read last.
    fn damaged(&self, why: &str) -> Error {
        Error::new(Kind::Damaged, format!("line {} of the index: {why}", self.number))
    }
}
