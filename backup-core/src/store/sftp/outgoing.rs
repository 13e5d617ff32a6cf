//! A file of another machine that is being written.

use std::io::{self, ErrorKind, Write};
use std::time::{Duration, Instant};

use ssh2::ErrorCode;

use super::connect::Line;

/// A file that is written. Where that fails the connection is ended: what was half sent would be taken for the beginning of
/// whatever came next, and closing the file would wait for an answer to it.
pub(super) struct Outgoing {
    file: ssh2::File,
    line: Line,
    /// How long the server may take for the next bytes.
    answer: Duration,
}

impl Outgoing {
    pub(super) fn new(file: ssh2::File, line: Line, answer: Duration) -> Self {
        Self { file, line, answer }
    }

    /// Brings what was written onto the other machine's disk.
    pub(super) fn sync(&mut self) -> Result<(), ssh2::Error> {
        self.file.fsync()
    }

    /// Bytes that are free where it lies, where the server says so. OpenSSH's says it of files alone.
    pub(super) fn room(&mut self) -> Option<u64> {
        self.file.statvfs().ok().map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Closes it. Some servers say only now that something could not be written.
    pub(super) fn close(mut self) -> Result<(), ssh2::Error> {
        self.file.close().inspect_err(|cause| {
            // The server did not answer, so nobody need ask it again over this connection.
            if matches!(cause.code(), ErrorCode::Session(_)) {
                self.line.hang_up();
            }
        })
    }

    /// Sends bytes until the server has all of them. Where its window is smaller than a packet libssh2 says 0, which means to
    /// call again with the same bytes.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (mut sent, mut since) = (0, Instant::now());
        while sent < bytes.len() {
            match self.file.write(&bytes[sent..])? {
                0 if since.elapsed() > self.answer => {
                    let said = format!("the server took nothing for {} s", self.answer.as_secs());
                    return Err(io::Error::new(ErrorKind::TimedOut, said));
                }
                0 => {}
                taken => (sent, since) = (sent + taken, Instant::now()),
            }
        }
        Ok(())
    }
}

impl Write for Outgoing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send(bytes).inspect_err(|_| self.line.hang_up())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
