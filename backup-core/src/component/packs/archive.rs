//! A pack as it is read: headers that are written as this format writes them, and content, to its end.

use std::io::{self, Read};

use tar::Header;

use super::{END, STEP};
use crate::bundle::block::CONTENT;
use crate::bundle::header::{Form, Head, RECORD};
use crate::bundle::reader::unreadable;
use crate::{Error, Kind, Result};

/// Where a header has its type, and that of one which has records for the next.
const TYPE: usize = 156;
const EXTENDED: u8 = b'x';

/// A tar file that is being read.
pub(super) struct Archive<R> {
    input: R,
    /// Where it is read now.
    pub(super) at: u64,
    header: Vec<u8>,
    buffer: Vec<u8>,
    /// Bytes of content that are to come, and zeros after them.
    left: u64,
    padding: usize,
}

impl<R: Read> Archive<R> {
    /// From its first byte on.
    pub(super) fn new(input: R) -> Self {
        Self { input, at: 0, header: Vec::new(), buffer: Vec::new(), left: 0, padding: 0 }
    }

    /// The next entry's header; none at the end, after which nothing may come. The content before must have been read.
    ///
    /// # Errors
    /// [`Kind::Damaged`].
    pub(super) fn next(&mut self) -> Result<Option<Head>> {
        self.header.clear();
        self.more(RECORD)?;
        if self.header.iter().all(|byte| *byte == 0) {
            return self.end().map(|()| None);
        }
        if self.header[TYPE] == EXTENDED {
            let size = Header::from_byte_slice(&self.header).size().ok().filter(|size| *size <= CONTENT as u64);
            let size = size.ok_or_else(|| damaged("an absurdly long extended header"))? as usize;
            self.more(size.next_multiple_of(RECORD) + RECORD)?;
        }
        let (head, _) = Head::decode(&self.header, Form::Nearest).map_err(damaged)?;
        self.left = head.size;
        self.padding = (head.size.wrapping_neg() % RECORD as u64) as usize;
        Ok(Some(head))
    }

    /// The next part of the content, at most so many bytes; none at its end.
    ///
    /// # Errors
    /// [`Kind::Damaged`].
    pub(super) fn content(&mut self, most: usize) -> Result<Option<&[u8]>> {
        let wanted = usize::try_from(self.left).unwrap_or(STEP).min(STEP).min(most);
        if wanted > 0 {
            self.buffer.resize(wanted, 0);
            read(&mut self.input, &mut self.at, &mut self.buffer)?;
            self.left -= wanted as u64;
            return Ok(Some(&self.buffer));
        }
        self.buffer.resize(std::mem::take(&mut self.padding), 0);
        read(&mut self.input, &mut self.at, &mut self.buffer)?;
        if self.buffer.iter().any(|byte| *byte != 0) {
            return Err(damaged("something other than zeros after a file's content"));
        }
        Ok(None)
    }

    /// Passes over content, or over what stands before an entry.
    ///
    /// # Errors
    /// [`Kind::Damaged`] where there is less.
    pub(super) fn skip(&mut self, mut bytes: u64) -> Result<()> {
        while bytes > 0 {
            self.buffer.resize(usize::try_from(bytes).unwrap_or(STEP).min(STEP), 0);
            read(&mut self.input, &mut self.at, &mut self.buffer)?;
            bytes -= self.buffer.len() as u64;
        }
        Ok(())
    }

    /// Passes over some of what is left, whatever it is; says whether there was something. At the end of a stream the whole of it is held
    /// against its digests.
    ///
    /// # Errors
    /// [`Kind::Damaged`].
    pub(super) fn pass(&mut self) -> Result<bool> {
        self.buffer.resize(STEP, 0);
        let read = self.input.read(&mut self.buffer).map_err(|cause| unreadable(cause, "read the pack"))?;
        Ok(read > 0)
    }

    fn more(&mut self, bytes: usize) -> Result<()> {
        let begin = self.header.len();
        self.header.resize(begin + bytes, 0);
        read(&mut self.input, &mut self.at, &mut self.header[begin..])
    }

    fn end(&mut self) -> Result<()> {
        self.more(END.len() - RECORD)?;
        let mut beyond = [0];
        let more = self.input.read(&mut beyond).map_err(|cause| unreadable(cause, "read the pack"))?;
        if more > 0 || self.header.iter().any(|byte| *byte != 0) {
            return Err(damaged("something after its end"));
        }
        Ok(())
    }
}

fn read(input: &mut impl Read, at: &mut u64, bytes: &mut [u8]) -> Result<()> {
    input.read_exact(bytes).map_err(|cause| match cause.kind() {
        io::ErrorKind::UnexpectedEof => damaged("the pack ends too soon"),
        _ => unreadable(cause, "read the pack"),
    })?;
    *at += bytes.len() as u64;
    Ok(())
}

fn damaged(why: &str) -> Error {
    Error::new(Kind::Damaged, why)
}
