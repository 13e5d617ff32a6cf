//! What a bundle is written into: an age file, or nothing at all.

use std::io::{self, Write};

use age::stream::StreamWriter;

use super::Recipients;
use crate::{Error, ErrorContext, Kind, Result};

/// A stream that encrypts, or passes on what is written.
pub enum Envelope<W: Write> {
    /// Nobody was named who alone may read it.
    Open(W),
    /// Encrypted to recipients.
    Sealed(Box<StreamWriter<W>>),
}

impl<W: Write> Envelope<W> {
    /// An envelope for `recipients` around `sink`.
    ///
    /// # Errors
    /// Where the beginning can't be written.
    pub fn new(sink: W, recipients: &Recipients) -> Result<Self> {
        if recipients.is_empty() {
            return Ok(Self::Open(sink));
        }
        let doing = || "encrypt the bundle".to_owned();
        let encryptor = age::Encryptor::with_recipients(recipients.keys())
            .map_err(|cause| Error::new(Kind::Usage, doing()).because(cause.to_string()))?;
        Ok(Self::Sealed(Box::new(encryptor.wrap_output(sink).context(doing)?)))
    }

    /// What is inside it.
    ///
    /// # Errors
    /// Where its end can't be written.
    pub fn finish(self) -> Result<W> {
        match self {
            Self::Open(sink) => Ok(sink),
            Self::Sealed(writer) => writer.finish().context(|| "write the bundle".into()),
        }
    }
}

impl<W: Write> Write for Envelope<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Open(sink) => sink.write(bytes),
            Self::Sealed(writer) => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Open(sink) => sink.flush(),
            Self::Sealed(writer) => writer.flush(),
        }
    }
}
