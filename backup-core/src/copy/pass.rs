//! The bytes on their way: read once, checked and written at the same time.

use std::io::{self, Read, Write};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

use bytes::{Buf, Bytes};

use super::ahead::Ahead;
use super::source::{Proof, Source};
use crate::backup::Destinations;
use crate::bundle::passing::Passing;
use crate::bundle::reader::unreadable;
use crate::context::go_on;
use crate::encryption::decrypt;
use crate::event::Meter;
use crate::{Context, Error, Kind, Result};

/// Parts that may wait to be checked.
const WAITING: usize = 4;

/// Why a copy stopped before it was complete.
pub(super) enum Stopped {
    /// The source is damaged or cannot be read, or the run was told to stop.
    Source(Error),
    /// No destination is left.
    Destinations(Error),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Source(error)
    }
}

/// Sends all bytes of `source` into `sink`. If it succeeds, every byte was compared with a digest; nothing appears before somebody
/// publishes it.
pub(super) fn pass(source: &Source, sink: &mut Destinations, meter: &Meter, context: &Context) -> Result<(), Stopped> {
    std::thread::scope(|scope| {
        let check = Check::start(scope, &source.proof);
        for part in Ahead::start(scope, &*source.bytes, source.length) {
            let part = part.map_err(|cause| unreadable(cause, "read it"))?;
            go_on(&context.cancel)?;
            let length = part.len() as u64;
            if !check.take(&part) {
                // It says itself what is wrong.
                break;
            }
            sink.write_all(&part).map_err(|cause| Stopped::Destinations(written(cause)))?;
            for counter in [&meter.done, &meter.read, &meter.written] {
                counter.fetch_add(length, Relaxed);
            }
        }
        check.finish()?;
        sink.flush().map_err(|cause| Stopped::Destinations(written(cause)))
    })?;
    match &source.proof {
        Proof::Digest(digest) if *digest != sink.digest() => {
            let why = "its bytes are not those that the digest beside it was made of";
            Err(Error::new(Kind::Damaged, why).into())
        }
        _ => Ok(()),
    }
}

/// A store's own error says all that there is to say.
fn written(cause: io::Error) -> Error {
    match cause.downcast::<Error>() {
        Ok(own) => own,
        Err(cause) => Error::new(Kind::Failed, "write the copy").because(cause),
    }
}

/// A thread that compares what passes.
struct Check<'s> {
    sender: SyncSender<Bytes>,
    thread: ScopedJoinHandle<'s, Result<()>>,
}

impl<'s> Check<'s> {
    fn start(scope: &'s Scope<'s, '_>, proof: &'s Proof) -> Self {
        let (sender, receiver) = sync_channel(WAITING);
        let thread = scope.spawn(move || check(proof, Passed { parts: receiver, part: Bytes::new() }));
        Self { sender, thread }
    }

    /// Hands on a part; false if nobody takes parts any more.
    fn take(&self, part: &Bytes) -> bool {
        self.sender.send(part.clone()).is_ok()
    }

    fn finish(self) -> Result<()> {
        drop(self.sender);
        self.thread.join().unwrap_or_else(|_| Err(Error::new(Kind::Failed, "check its bytes")))
    }
}

fn check(proof: &Proof, mut passed: Passed) -> Result<()> {
    match proof {
        Proof::Manifest(manifest, footer, identities) => {
            let mut passing = Passing::new(manifest, footer)?;
            match identities {
                Some(identities) => decrypt(passed, identities, &mut passing)?,
                None => {
                    let copied = io::copy(&mut passed, &mut passing);
                    copied.map_err(|cause| unreadable(cause, "check its bytes"))?;
                }
            }
            passing.finish()
        }
        // The sink makes the digest.
        Proof::Digest(_) => {
            passed.parts.iter().for_each(drop);
            Ok(())
        }
    }
}

/// The bytes that have passed.
struct Passed {
    parts: Receiver<Bytes>,
    part: Bytes,
}

impl Read for Passed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.part.is_empty() {
            match self.parts.recv() {
                Ok(part) => self.part = part,
                Err(_) => return Ok(0),
            }
        }
        let length = buffer.len().min(self.part.len());
        self.part.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}
