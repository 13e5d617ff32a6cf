//! The directories of a tree that is unpacked, as they come, kept on disk: read backwards, each comes after all that is below it.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::bundle::header::{Form, Head};

/// What is kept behind each header: its length.
const LENGTH: usize = size_of::<u64>();

/// Directories that are noted one after another.
pub(super) struct Directories(BufWriter<File>);

impl Directories {
    /// In a file without a name, on the file system of this directory.
    ///
    /// # Errors
    /// The system's words.
    pub(super) fn kept_in(directory: &Path) -> io::Result<Self> {
        tempfile::tempfile_in(directory).map(|file| Self(BufWriter::new(file)))
    }

    /// Notes one.
    ///
    /// # Errors
    /// The system's words.
    pub(super) fn note(&mut self, head: &Head) -> io::Result<()> {
        let header = head.encode(Form::Nearest);
        self.0.write_all(&header)?;
        self.0.write_all(&(header.len() as u64).to_le_bytes())
    }

    /// All of them, the last one first.
    ///
    /// # Errors
    /// The system's words.
    pub(super) fn backwards(self) -> io::Result<Backwards> {
        let file = self.0.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(Backwards { end: file.metadata()?.len(), file })
    }
}

/// Directories from the last one on.
pub(super) struct Backwards {
    file: File,
    /// Where those end that are to come.
    end: u64,
}

impl Backwards {
    fn read(&mut self) -> io::Result<Head> {
        let malformed = || io::Error::from(io::ErrorKind::InvalidData);
        let before = |end: u64, length: u64| end.checked_sub(length).ok_or_else(malformed);
        let mut length = [0; LENGTH];
        let at = before(self.end, LENGTH as u64)?;
        self.file.read_exact_at(&mut length, at)?;
        let length = u64::from_le_bytes(length);
        self.end = before(at, length)?;
        let mut header = vec![0; usize::try_from(length).map_err(|_| malformed())?];
        self.file.read_exact_at(&mut header, self.end)?;
        Head::decode(&header, Form::Nearest).map(|(head, _)| head).map_err(io::Error::other)
    }
}

impl Iterator for Backwards {
    type Item = io::Result<Head>;

    fn next(&mut self) -> Option<Self::Item> {
        (self.end > 0).then(|| self.read())
    }
}
