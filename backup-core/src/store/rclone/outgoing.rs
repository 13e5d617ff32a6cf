//! A file that is sent as a stream: `rclone rcat` takes it from its standard input, however long it becomes.

use std::io::{self, ErrorKind, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::ioctl_fionbio;
use rustix::process::Signal;

use super::program::SEND;
use super::run::{Ran, end, tail, wait_within};
use super::{FAREWELL, Rclone};
use crate::{ErrorContext, Result};

/// Bytes up to which rclone's own length of a part will do: half of what S3 takes in 10,000 parts of 5 MiB.
const USUAL: u64 = 24 << 30;
/// Parts that rclone sends at once.
const PARTS_AT_ONCE: u64 = 4;
/// The length of a part where none is said: the longest that a remote is known to have.
const USUAL_PART: u64 = 96 << 20;
/// Parts that S3 takes.
const PARTS: u64 = 10_000;
/// The least that the disk behind a remote is thought to take in a second.
const PACE: u64 = 10 << 20;
/// How long the end of a short file may take.
const END: Duration = Duration::from_secs(10 * 60);

/// A run, and what ends it from outside.
#[derive(Clone)]
pub(super) struct Run(Arc<Mutex<Option<Child>>>);

impl Run {
    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the run, so that it gives up what it has sent: rclone takes back an upload in parts when it is asked to end.
    pub(super) fn give_up(&self) {
        let Some(mut child) = self.child().take() else { return };
        end(&child, Signal::TERM);
        if wait_within(&mut child, FAREWELL).is_none() {
            end(&child, Signal::KILL);
            let _ = child.wait();
        }
    }
}

/// A file that is sent.
pub(super) struct Outgoing {
    pub(super) run: Run,
    /// None once all is sent.
    stdin: Option<ChildStdin>,
    said: Option<JoinHandle<String>>,
    pub(super) sent: u64,
    silence: Duration,
}

/// How long it may take until a file is there that was sent, or has another name: some remotes take all of it only then.
pub(super) fn end_of(length: u64) -> Duration {
    END + Duration::from_secs(length / PACE)
}

/// What raises the length of parts where a bundle may need it: of a stream rclone can't know how long it becomes.
fn parts(expected: u64) -> Option<String> {
    (expected > USUAL).then(|| format!("--s3-chunk-size={}M", part_length(expected) >> 20))
}

/// The length of a part.
fn part_length(expected: u64) -> u64 {
    if expected > USUAL { (((expected / PARTS * 2) >> 20) + 1) << 20 } else { USUAL_PART }
}

impl Outgoing {
    pub(super) fn begin(store: &Rclone, file: &str) -> Result<Self> {
        let (program, at) = (&store.0.program, store.at(file));
        let parts = parts(store.0.expected.load(Relaxed));
        let words: Vec<&str> = [SEND, &at].into_iter().chain(parts.as_deref()).collect();
        let mut child = program.spawn(&words, Stdio::piped(), Stdio::null())?;
        let said = child.stderr.take().map(|stderr| std::thread::spawn(move || tail(stderr)));
        let stdin = child.stdin.take();
        let run = Run(Arc::new(Mutex::new(Some(child))));
        // rclone takes nothing more while its parts are on their way, and watches the network itself.
        let parts = PARTS_AT_ONCE * part_length(store.0.expected.load(Relaxed));
        let silence = program.said_silence.unwrap_or_else(|| end_of(parts));
        let outgoing = Self { run, stdin, said, sent: 0, silence };
        let at_once = outgoing.stdin.as_ref().map(|stdin| ioctl_fionbio(stdin, true));
        at_once.transpose().context(|| format!("write {}", store.shown(file)))?;
        Ok(outgoing)
    }

    /// Waits until some more bytes are taken.
    fn wait(&self, stdin: &ChildStdin) -> io::Result<()> {
        let limit = Timespec::try_from(self.silence).ok();
        let mut ready = [PollFd::new(stdin, PollFlags::OUT)];
        match poll(&mut ready, limit.as_ref()) {
            Ok(0) => {
                let said = format!("rclone took nothing for {} s", self.silence.as_secs());
                Err(io::Error::new(ErrorKind::TimedOut, said))
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(cause) => Err(cause.into()),
        }
    }

    /// Says that all was sent, and waits until rclone has ended.
    pub(super) fn finish(&mut self) -> Ran {
        drop(self.stdin.take());
        self.ended(end_of(self.sent))
    }

    /// How the run ended; it is ended after so long.
    pub(super) fn ended(&mut self, limit: Duration) -> Ran {
        // Whoever takes the upload back from outside needs it meanwhile.
        let since = std::time::Instant::now();
        let step = Duration::from_millis(50);
        let (status, is_late) = loop {
            let mut child = self.run.child();
            let Some(running) = child.as_mut() else { break (Err(ErrorKind::BrokenPipe.into()), false) };
            if let Some(status) = wait_within(running, step) {
                child.take();
                break (status, false);
            }
            if since.elapsed() >= limit {
                end(running, Signal::KILL);
                let status = running.wait();
                child.take();
                break (status, true);
            }
        };
        let said = self.said.take().and_then(|said| said.join().ok()).unwrap_or_default();
        Ran::new(status, Vec::new(), said, is_late)
    }
}

impl Write for Outgoing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let stdin = self.stdin.as_mut().ok_or(ErrorKind::BrokenPipe)?;
            match stdin.write(bytes) {
                Ok(taken) => {
                    self.sent += taken as u64;
                    return Ok(taken);
                }
                Err(cause) if cause.kind() == ErrorKind::WouldBlock => {
                    if let Some(stdin) = &self.stdin {
                        self.wait(stdin)?;
                    }
                }
                Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
                Err(cause) => return Err(cause),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Outgoing {
    /// The end of its input would make rclone take what was sent for all of the file.
    fn drop(&mut self) {
        self.run.give_up();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_stream_gets_parts_that_leave_room_for_twice_as_much() {
        assert_eq!(parts(0), None);
        assert_eq!(parts(USUAL), None);
        for expected in [USUAL + 1, 100 << 30, 1 << 40, (5 << 40) - 1] {
            let said = parts(expected).expect("a length");
            let length = said.strip_prefix("--s3-chunk-size=").and_then(|rest| rest.strip_suffix('M'));
            let length: u64 = length.and_then(|length| length.parse().ok()).expect("MiB");
            assert!((length << 20) * PARTS >= expected * 2, "{expected}: {said}");
            assert!((length << 20) * PARTS <= expected * 3, "{expected}: {said}");
        }
    }
}
