//! Bytes that are read at any place, read from the first to the last: some parts ahead of whoever takes them, each once.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;

use bytes::Bytes;

use crate::bundle::reader::ReadAt;

/// The bytes of a part.
const PART: u64 = 1 << 20;
/// Parts that are read at once: a store far away answers one request while others are on their way.
const AT_ONCE: usize = 8;

/// What is read ahead. Dropping it ends the reading.
pub(super) struct Ahead {
    readers: Vec<Receiver<io::Result<Bytes>>>,
    next: usize,
    parts: usize,
}

impl Ahead {
    /// Begins to read all `length` bytes.
    pub(super) fn start<'s>(scope: &'s Scope<'s, '_>, source: &'s dyn ReadAt, length: u64) -> Self {
        let parts = usize::try_from(length.div_ceil(PART)).unwrap_or(usize::MAX);
        let at_once = source.readers().clamp(1, AT_ONCE).min(parts.max(1));
        let readers = (0..at_once).map(|first| {
            let (sender, receiver) = sync_channel(1);
            scope.spawn(move || read(source, length, (first..parts).step_by(at_once), &sender));
            receiver
        });
        Self { readers: readers.collect(), next: 0, parts }
    }
}

fn read(source: &dyn ReadAt, length: u64, parts: impl Iterator<Item = usize>, sender: &SyncSender<io::Result<Bytes>>) {
    for part in parts {
        let at = part as u64 * PART;
        let mut bytes = vec![0; PART.min(length - at) as usize];
        let read = source.read_at(at, &mut bytes).map(|()| Bytes::from(bytes));
        let failed = read.is_err();
        // Nobody takes it if the work was given up.
        if sender.send(read).is_err() || failed {
            return;
        }
    }
}

impl Iterator for Ahead {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == self.parts {
            return None;
        }
        let reader = &self.readers[self.next % self.readers.len()];
        self.next += 1;
        Some(reader.recv().unwrap_or_else(|_| Err(io::Error::other("the thread that reads has ended"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bytes_come_once_and_in_their_order() {
        for length in [0, 1, PART - 1, PART, PART + 1, 20 * PART + 7] {
            let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let read = std::thread::scope(|scope| {
                let parts = Ahead::start(scope, &bytes, length).map(|part| part.expect("read"));
                parts.flat_map(|part| part.to_vec()).collect::<Vec<u8>>()
            });
            assert!(read == bytes, "{length}");
        }
    }

    #[test]
    fn a_part_that_is_missing_is_an_error_and_to_stop_early_hangs_nobody() {
        let bytes = vec![0; 3 * PART as usize];
        std::thread::scope(|scope| {
            let failed = Ahead::start(scope, &bytes, 4 * PART).filter(Result::is_err).count();
            assert_eq!(failed, 1);
            assert!(Ahead::start(scope, &bytes, 3 * PART).next().is_some_and(|part| part.is_ok()));
        });
    }
}
