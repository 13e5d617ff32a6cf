//! A file of another machine that is being written.

use std::io::{self, ErrorKind, Write};
use std::time::{Duration, Instant};

use super::line::Line;

/// Bytes that are on their way while more are gathered: a server that had confirmed all would wait for the next.
const UNDERWAY: usize = 1 << 20;
/// Bytes that are gathered at most, those on their way among them.
const GATHERED: usize = 2 * UNDERWAY;
/// Bytes that are handed over at once. libssh2 sends all of them before it looks for answers, and that counts as silence.
const STEP: usize = 256 << 10;

/// A file that is written. Where that fails the connection is ended: what was half sent would be taken for the beginning of
/// whatever came next, and closing the file would wait for an answer to it.
pub(super) struct Outgoing {
    file: ssh2::File,
    line: Line,
    /// How long the server may take to confirm the next bytes.
    answer: Duration,
    /// What the server has not confirmed.
    gathered: Vec<u8>,
    /// How much of it libssh2 has.
    handed: usize,
}

impl Outgoing {
    pub(super) fn new(file: ssh2::File, line: Line, answer: Duration) -> Self {
        Self { file, line, answer, gathered: Vec::new(), handed: 0 }
    }

    /// Writes all of something small.
    pub(super) fn put(&mut self, content: &[u8]) -> io::Result<()> {
        self.write_all(content)?;
        self.flush()
    }

    /// Brings what was written and flushed onto the other machine's disk.
    pub(super) fn sync(&mut self) -> Result<(), ssh2::Error> {
        self.file.fsync().inspect_err(|cause| self.line.hang_up_unless_answered(cause))
    }

    /// Bytes that are free where it lies, where the server says so. OpenSSH's says it of files alone.
    pub(super) fn room(&mut self) -> Option<u64> {
        let stat = self.file.statvfs().inspect_err(|cause| self.line.hang_up_unless_answered(cause));
        stat.ok().map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Closes it. Some servers say only now that something could not be written. What was not flushed is given up.
    pub(super) fn close(mut self) -> Result<(), ssh2::Error> {
        self.give_up();
        self.file.close().inspect_err(|cause| self.line.hang_up_unless_answered(cause))
    }

    /// Ends the connection where something is on its way: nothing else could be said over it.
    fn give_up(&self) {
        if !self.gathered.is_empty() {
            self.line.hang_up();
        }
    }

    /// Sends until the server has confirmed all but so many bytes. Where its window is smaller than a packet libssh2 says 0, which
    /// means to call again with the same bytes.
    fn send_all_but(&mut self, rest: usize) -> io::Result<()> {
        let (mut confirmed, mut since) = (0, Instant::now());
        while self.gathered.len() - confirmed > rest {
            self.handed = self.gathered.len().min(self.handed + STEP);
            match self.file.write(&self.gathered[confirmed..self.handed])? {
                0 if since.elapsed() > self.answer => {
                    let said = format!("the server took nothing for {} s", self.answer.as_secs());
                    return Err(io::Error::new(ErrorKind::TimedOut, said));
                }
                0 => {}
                more => (confirmed, since) = (confirmed + more, Instant::now()),
            }
        }
        self.gathered.drain(..confirmed);
        self.handed -= confirmed;
        Ok(())
    }
}

impl Write for Outgoing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.gathered.len() >= GATHERED {
            self.send_all_but(UNDERWAY).inspect_err(|_| self.line.hang_up())?;
        }
        let taken = bytes.len().min(GATHERED - self.gathered.len());
        self.gathered.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send_all_but(0).inspect_err(|_| self.line.hang_up())
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.give_up();
    }
}
