//! An encrypted bundle, readable at any place: age encrypts in chunks of 64 KiB that can be had one by one.

use std::io::{self, BufRead, Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use age::stream::StreamReader;
use age::{DecryptError, Decryptor};

use super::Identities;
use crate::bundle::reader::{ReadAt, unreadable};
use crate::{Error, Kind, Result};

/// How every file of age begins.
const MAGIC: &[u8] = b"age-encryption.org/";
/// Bytes of content in a chunk, and in the file.
const CHUNK: u64 = 64 << 10;
const STORED: u64 = CHUNK + 16;
/// A header this long would have hundreds of recipients.
const LONGEST_HEADER: u64 = 64 << 10;

/// Whether bytes are those of a file of age.
pub fn is_encrypted(source: &dyn ReadAt) -> bool {
    let mut magic = [0; MAGIC.len()];
    source.read_at(0, &mut magic).is_ok() && magic == MAGIC
}

/// The content of an encrypted bundle.
pub struct Decrypted {
    source: Arc<dyn ReadAt>,
    identities: Identities,
    /// Readers that nobody uses at the moment; each thread that reads takes one.
    idle: Mutex<Vec<Reader>>,
    /// Where the header ends and chunks begin.
    begin: u64,
    length: u64,
}

struct Reader {
    stream: StreamReader<Window>,
    shared: Arc<Shared>,
}

/// What a window and its reader tell each other: age owns the window, and gives it back to nobody.
#[derive(Default)]
struct Shared {
    position: AtomicU64,
    /// Up to where the file is about to be read; 0 while its header is.
    wanted: AtomicU64,
}

/// The part of a file that age reads of, fetched at once.
struct Window {
    source: Arc<dyn ReadAt>,
    length: u64,
    shared: Arc<Shared>,
    position: u64,
    begin: u64,
    bytes: Vec<u8>,
}

impl Window {
    fn fetch(&mut self) -> io::Result<()> {
        let wanted = self.shared.wanted.load(Relaxed);
        let limit = if wanted == 0 { LONGEST_HEADER } else { self.length };
        let end = wanted.max(self.position + STORED).min(limit.min(self.length));
        self.bytes.resize(usize::try_from(end.saturating_sub(self.position)).map_err(io::Error::other)?, 0);
        self.begin = self.position;
        self.source.read_at(self.begin, &mut self.bytes)
    }
}

impl BufRead for Window {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let is_there = (self.begin..self.begin + self.bytes.len() as u64).contains(&self.position);
        if !is_there {
            self.fetch()?;
        }
        Ok(&self.bytes[(self.position - self.begin) as usize..])
    }

    fn consume(&mut self, count: usize) {
        self.position += count as u64;
        self.shared.position.store(self.position, Relaxed);
    }
}

impl Read for Window {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl Seek for Window {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
        };
        self.position = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

impl Decrypted {
    /// Opens an encrypted bundle.
    ///
    /// # Errors
    /// [`Kind::Refused`] where no identity fits, [`Kind::Damaged`] where it is damaged.
    pub fn open(source: Box<dyn ReadAt>, identities: Identities) -> Result<Self> {
        let source: Arc<dyn ReadAt> = source.into();
        if identities.is_empty() {
            let error = Error::new(Kind::Refused, "it is encrypted, and no identity is given");
            return Err(
                error.hint("name the file with its identity: --identity, or encryption.identities in the settings")
            );
        }
        let (mut reader, begin) = reader(&source, &identities)?;
        let damaged = |cause: io::Error| unreadable(cause, "read its encrypted end");
        // To look for the end is to prove that nothing is cut off.
        let length = reader.stream.seek(SeekFrom::End(0)).map_err(damaged)?;
        Ok(Self { source, identities, idle: Mutex::new(vec![reader]), begin, length })
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Reader>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reader at the beginning of the content, and where that begins in the file.
fn reader(source: &Arc<dyn ReadAt>, identities: &Identities) -> Result<(Reader, u64)> {
    let doing = "read its encryption's header";
    let length = source.length().map_err(|cause| unreadable(cause, doing))?;
    let shared = Arc::new(Shared::default());
    let window =
        Window { source: source.clone(), length, shared: shared.clone(), position: 0, begin: 0, bytes: Vec::new() };
    let unreadable = |cause: DecryptError| match cause {
        DecryptError::NoMatchingKeys => Error::new(
            Kind::Refused,
            "it is encrypted, and not to an identity that is given, unless its header is damaged",
        )
        .hint("name the identity of one of its recipients with --identity"),
        DecryptError::Io(cause) => unreadable(cause, doing),
        cause => Error::new(Kind::Damaged, doing).because(cause.to_string()),
    };
    let decryptor = Decryptor::new_buffered(window).map_err(unreadable)?;
    let begin = shared.position.load(Relaxed);
    let stream = decryptor.decrypt(identities.all()).map_err(unreadable)?;
    shared.wanted.store(begin + STORED, Relaxed);
    Ok((Reader { stream, shared }, begin))
}

impl ReadAt for Decrypted {
    fn length(&self) -> io::Result<u64> {
        Ok(self.length)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.length);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        if buffer.is_empty() {
            return Ok(());
        }
        let idle = self.idle().pop();
        let mut reader = match idle {
            Some(reader) => reader,
            None => reader(&self.source, &self.identities).map_err(io::Error::other)?.0,
        };
        reader.shared.wanted.store(self.begin + end.div_ceil(CHUNK) * STORED, Relaxed);
        reader.stream.seek(SeekFrom::Start(offset))?;
        reader.stream.read_exact(buffer)?;
        // One that failed is in no state to be used again.
        self.idle().push(reader);
        Ok(())
    }

    fn readers(&self) -> usize {
        self.source.readers()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::{Envelope, Recipients, generate};
    use super::*;

    #[test]
    fn every_range_is_read_and_no_byte_can_change() {
        let place = tempfile::tempdir().expect("a directory");
        let key = place.path().join("key");
        let recipient = generate(&key, chrono::DateTime::UNIX_EPOCH).expect("an identity");
        let recipients = Recipients::parse(&[recipient]).expect("a recipient");
        let identities = Identities::read(&[key]).expect("an identity");
        let sealed = |content: &[u8]| {
            let mut envelope = Envelope::new(Vec::new(), &recipients).expect("an envelope");
            envelope.write_all(content).expect("written");
            envelope.finish().expect("finished")
        };
        for length in [1, 1000, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
            let content: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let opened = Decrypted::open(Box::new(sealed(&content)), identities.clone()).expect("opened");
            assert_eq!(opened.length().expect("a length"), length);
            for from in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, length - 1] {
                for to in [from, from + 1, from + 70_000, length] {
                    if from > to || to > length {
                        continue;
                    }
                    let mut part = vec![0; (to - from) as usize];
                    opened.read_at(from, &mut part).expect("read");
                    assert_eq!(part, content[from as usize..to as usize], "{length}: {from}..{to}");
                }
            }
            assert!(opened.read_at(length, &mut [0]).is_err(), "{length}");
        }
        let whole = sealed(b"something");
        let read = |bytes: Vec<u8>| {
            let opened = Decrypted::open(Box::new(bytes), identities.clone())?;
            let mut content = vec![0; opened.length as usize];
            opened.read_at(0, &mut content).map_err(|cause| unreadable(cause, "read"))
        };
        for at in 0..whole.len() {
            let mut bent = whole.clone();
            bent[at] ^= 1;
            assert!(read(bent).is_err(), "byte {at}");
            assert!(read(whole[..at].to_vec()).is_err(), "cut at {at}");
        }
    }
}
