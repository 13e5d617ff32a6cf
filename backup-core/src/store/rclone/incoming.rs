//! A file as a stream from any place on: one run of rclone gives as many reads as follow one another.

use std::io::{self, ErrorKind, Read};
use std::process::{Child, ChildStdout, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;

use super::Rclone;
use super::run::{Ran, end, tail};
use crate::Result;

/// A run that gives a file from some place on.
pub(super) struct Incoming {
    child: Child,
    stdout: ChildStdout,
    said: Option<JoinHandle<String>>,
    /// Where in the file the next byte stands.
    pub(super) position: u64,
    /// How long it may give nothing.
    silence: Duration,
}

impl Incoming {
    /// From `offset` to the end of a file.
    pub(super) fn open(store: &Rclone, file: &str, offset: u64) -> Result<Self> {
        let (program, from) = (&store.0.program, offset.to_string());
        let mut child = program.spawn(&["cat", "--offset", &from, &store.at(file)], Stdio::null(), Stdio::piped())?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let said = stderr.map(|stderr| std::thread::spawn(move || tail(stderr)));
        let Some(stdout) = stdout else { return Err(program.failed("read".into(), &late(&mut child, said))) };
        Ok(Self { child, stdout, said, position: offset, silence: program.silence })
    }

    /// Fills a buffer with what comes next.
    pub(super) fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            self.wait()?;
            match self.stdout.read(&mut buffer[filled..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => filled += read,
                Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
                Err(cause) => return Err(cause),
            }
        }
        self.position += filled as u64;
        Ok(())
    }

    /// Waits until there is something to read, or the end.
    fn wait(&self) -> io::Result<()> {
        let limit = Timespec::try_from(self.silence).ok();
        loop {
            let mut ready = [PollFd::new(&self.stdout, PollFlags::IN)];
            match poll(&mut ready, limit.as_ref()) {
                Ok(0) => return Err(ErrorKind::TimedOut.into()),
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(cause) => return Err(cause.into()),
            }
        }
    }

    /// How a run ended whose bytes broke off.
    pub(super) fn ended(mut self, cause: &io::Error) -> Ran {
        let mut ran = late(&mut self.child, self.said.take());
        ran.is_late = cause.kind() == ErrorKind::TimedOut;
        ran
    }
}

/// Ends a run that may have ended by itself, and says how.
fn late(child: &mut Child, said: Option<JoinHandle<String>>) -> Ran {
    let status = super::run::wait_within(child, Duration::from_millis(500)).unwrap_or_else(|| {
        end(child, Signal::KILL);
        child.wait()
    });
    let said = said.and_then(|said| said.join().ok()).unwrap_or_default();
    Ran::new(status, Vec::new(), said, false)
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            end(&self.child, Signal::KILL);
            let _ = self.child.wait();
        }
    }
}
