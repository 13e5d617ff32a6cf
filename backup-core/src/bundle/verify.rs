//! Verifies a bundle: every byte of it is held against a digest, and what is wrong is said by entry.

use std::io;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::block::{self, Decoder};
use super::footer;
use super::header::{Form, Head, RECORD};
use super::manifest::postgres::Chunk;
use super::manifest::{self, Entry, Manifest};
use super::path;
use super::reader::{Bundle, ReadAt, read_manifest};
use super::writer::END_OF_ARCHIVE;
use crate::context::Context;
use crate::digest::Sha256Digest;
use crate::event::Meter;
use crate::finding::Finding;
use crate::{Error, ErrorContext, Kind, Result};

/// What a verification saw.
#[derive(Debug)]
pub struct Verification {
    /// The manifest, where it could be read.
    pub manifest: Option<Manifest>,
    /// Its digest, which tells the bundle from every other one.
    pub manifest_sha256: Option<Sha256Digest>,
    /// Everything that is wrong, in the order of the file. Nothing here means that every byte is as the manifest says.
    pub damage: Vec<Finding>,
}

/// Verifies all of `source`, on all cores: the bytes in the file, and all that is in them.
///
/// # Errors
/// Where it can't be read at all, is of a newer format, or the context is cancelled. Damage is a result, not an error.
pub fn verify<R: ReadAt>(source: R, context: &Context, meter: &Meter) -> Result<Verification> {
    check(&source, context, meter, check_entry)
}

/// Verifies the bytes in the file alone, for those who check what is in them when they come to it: nothing is decompressed.
///
/// # Errors
/// As [`verify`].
pub fn verify_stored<R: ReadAt>(source: R, context: &Context, meter: &Meter) -> Result<Verification> {
    check(&source, context, meter, |bundle, entry, stopped, meter| {
        bundle.check_stored(entry, &|length| {
            meter.done.fetch_add(length as u64, Relaxed);
            meter.written.fetch_add(length as u64, Relaxed);
            !stopped()
        })
    })
}

fn check<'s, R: ReadAt>(
    source: &'s R,
    context: &Context,
    meter: &Meter,
    entry: CheckEntry<&'s R>,
) -> Result<Verification> {
    let bundle = match Bundle::open(source) {
        Ok(bundle) => bundle,
        Err(error) if error.kind() == Kind::Damaged => {
            let mut damage = vec![finding(&error)];
            damage.extend(locate(source)?);
            return Ok(Verification { manifest: None, manifest_sha256: None, damage });
        }
        Err(error) => return Err(error),
    };
    let mut damage = check_entries(&bundle, context, meter, entry)?;
    damage.extend(check_end(&bundle).err().as_ref().map(finding));
    let manifest_sha256 = Some(Sha256Digest(bundle.footer().manifest_digest));
    Ok(Verification { manifest: Some(bundle.into_manifest()), manifest_sha256, damage })
}

/// Checks one entry, unless it is told to stop.
type CheckEntry<R> = fn(&Bundle<R>, &Entry, &dyn Fn() -> bool, &Meter) -> Result<()>;

impl<R: ReadAt> ReadAt for &R {
    fn length(&self) -> io::Result<u64> {
        (**self).length()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        (**self).read_at(offset, buffer)
    }

    fn readers(&self) -> usize {
        (**self).readers()
    }
}

fn finding(error: &Error) -> Finding {
    let chain = error.chain();
    let place = chain.first().map_or("", String::as_str);
    let place = place.split_once(": ").map_or(place, |(place, _)| place);
    let mut finding = Finding::from_error("damaged", place.strip_prefix("entry ").unwrap_or(place), error);
    // What has no further name is said once, as the subject.
    if let Some(rest) = finding.message.strip_prefix(&format!("{}: ", finding.subject)) {
        finding.message = rest.to_owned();
    }
    finding
}

fn check_entries<R: ReadAt>(
    bundle: &Bundle<R>,
    context: &Context,
    meter: &Meter,
    check_entry: CheckEntry<R>,
) -> Result<Vec<Finding>> {
    let entries = &bundle.manifest().entries;
    let next = AtomicUsize::new(0);
    let damage = Mutex::new(Vec::new());
    let failed = Mutex::new(None);
    let stopped = || failed.lock().unwrap_or_else(PoisonError::into_inner).is_some() || context.cancel.is_cancelled();
    std::thread::scope(|scope| {
        for _ in 0..bundle.source().readers() {
            scope.spawn(|| {
                while !stopped() {
                    let index = next.fetch_add(1, Relaxed);
                    let Some(entry) = entries.get(index) else { break };
                    match check_entry(bundle, entry, &stopped, meter) {
                        Ok(()) => {}
                        Err(error) if error.kind() == Kind::Damaged => {
                            damage.lock().unwrap_or_else(PoisonError::into_inner).push((index, finding(&error)));
                        }
                        Err(error) => *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error),
                    }
                }
            });
        }
    });
    if context.cancel.is_cancelled() {
        return Err(Error::new(Kind::Interrupted, "interrupted before everything was verified"));
    }
    if let Some(error) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let mut damage = damage.into_inner().unwrap_or_else(PoisonError::into_inner);
    damage.sort_by_key(|(index, _)| *index);
    Ok(damage.into_iter().map(|(_, finding)| finding).collect())
}

fn check_entry<R: ReadAt>(bundle: &Bundle<R>, entry: &Entry, stopped: &dyn Fn() -> bool, meter: &Meter) -> Result<()> {
    let mut reader = bundle.read(entry)?;
    let mut rows = entry.chunk.as_ref().map(RowCount::new);
    while let Some(content) = reader.next()? {
        if let Some(rows) = &mut rows {
            rows.take(content);
        }
        meter.read.fetch_add(content.len() as u64, Relaxed);
        if stopped() {
            return Ok(());
        }
    }
    meter.written.fetch_add(entry.stored, Relaxed);
    match rows {
        Some(rows) if !rows.agrees() => Err(Error::new(
            Kind::Damaged,
            format!("entry {}: it does not hold the rows that the manifest says", entry.path),
        )),
        _ => Ok(()),
    }
}

/// Counts a chunk's lines after its preamble: one a row, and `\.` at the end.
struct RowCount<'c> {
    chunk: &'c Chunk,
    skip: u64,
    lines: u64,
    tail: [u8; 3],
}

impl<'c> RowCount<'c> {
    fn new(chunk: &'c Chunk) -> Self {
        Self { chunk, skip: chunk.preamble, lines: 0, tail: [0; 3] }
    }

    fn take(&mut self, content: &[u8]) {
        let skipped = self.skip.min(content.len() as u64);
        self.skip -= skipped;
        let rest = &content[skipped as usize..];
        self.lines += memchr::memchr_iter(b'\n', rest).count() as u64;
        let mut joined = self.tail.to_vec();
        joined.extend_from_slice(&rest[rest.len().saturating_sub(3)..]);
        self.tail.copy_from_slice(&joined[joined.len() - 3..]);
    }

    fn agrees(&self) -> bool {
        self.chunk.rows.checked_add(1) == Some(self.lines) && self.tail == *b"\\.\n"
    }
}

/// Checks what stands between the manifest and the footer: the end of the archive, and nothing else.
fn check_end<R: ReadAt>(bundle: &Bundle<R>) -> Result<()> {
    let footer = bundle.footer();
    let begin = footer.manifest_offset + footer.manifest_stored;
    let length = footer.bundle_length - footer::LENGTH as u64 - begin;
    let mut bytes = [0; END_OF_ARCHIVE.len()];
    if length == bytes.len() as u64 {
        bundle.source().read_at(begin, &mut bytes).context(|| "read the end of the archive".into())?;
    }
    if bytes == END_OF_ARCHIVE {
        return Ok(());
    }
    Err(Error::new(Kind::Damaged, "end of archive: other bytes than this format has there"))
}

/// Where a bundle that can't be opened goes wrong: walks its blocks and names the entry.
fn locate<R: ReadAt>(source: &R) -> Result<Option<Finding>> {
    let length = source.length().context(|| "read the bundle's length".into())?;
    let found = match shifted_manifest(source, length) {
        Some(manifest) => first_difference(source, length, &manifest),
        None => Some(match walk(source, length, |_, _| true) {
            Walk::Broken { entry: Some(entry), at } => {
                (entry.clone(), format!("the file goes wrong at byte {at}, in or after this entry"))
            }
            Walk::Broken { entry: None, at } => {
                ("start".into(), format!("the file goes wrong at byte {at}, before any entry"))
            }
            Walk::Ended { entry } => (entry.unwrap_or_else(|| "start".into()), "the file ends after this entry".into()),
        }),
    };
    Ok(found.map(|(entry, message)| Finding::error("damaged-at", entry, message)))
}

/// The manifest of a file whose length changed, found by its distance from the end.
fn shifted_manifest<R: ReadAt>(source: &R, length: u64) -> Option<Manifest> {
    let mut bytes = [0; footer::LENGTH];
    source.read_at(length.checked_sub(footer::LENGTH as u64)?, &mut bytes).ok()?;
    let said = u64::from_le_bytes(bytes[40..48].try_into().ok()?);
    let mut footer = footer::Footer::decode(&bytes, said).ok()?;
    let from_end = said.checked_sub(footer.manifest_offset)?;
    footer.manifest_offset = length.checked_sub(from_end)?;
    let (_, json) = read_manifest(source, &footer, length).ok()?;
    serde_json::from_slice(&json).ok()
}

fn first_difference<R: ReadAt>(source: &R, length: u64, manifest: &Manifest) -> Option<(String, String)> {
    let mut expected = manifest.entries.iter();
    let mut found = None;
    let end = walk(source, length, |path, stored| {
        let wanted = expected.next();
        let same = wanted.is_some_and(|entry| entry.path == path && stored == entry.stored);
        if !(same || wanted.is_none() && path == manifest::PATH) {
            found = Some(match wanted {
                Some(entry) if entry.path == path => {
                    (path.to_owned(), "it has another length than the manifest says".to_owned())
                }
                Some(entry) => (entry.path.clone(), format!("missing, doubled or moved: {path} stands in its place")),
                None => (path.to_owned(), "an entry that the manifest does not know".to_owned()),
            });
        }
        same
    });
    found.or(match end {
        Walk::Broken { entry, at } => {
            Some((entry.unwrap_or_else(|| "start".into()), format!("the file goes wrong at byte {at}")))
        }
        Walk::Ended { .. } => None,
    })
}

enum Walk {
    /// At this byte no block could be read, or a header was wrong; the entry is the last one that began.
    Broken { entry: Option<String>, at: u64 },
    /// The file ended, or the caller had seen enough.
    Ended { entry: Option<String> },
}

/// Walks a file's blocks without its manifest and calls `entry` with each entry's path and length in the file.
fn walk<R: ReadAt>(source: &R, length: u64, mut entry: impl FnMut(&str, u64) -> bool) -> Walk {
    let mut decoder = Decoder::default();
    let mut content = Vec::new();
    let mut last: Option<String> = None;
    let mut at = 0u64;
    while at < length {
        let begin = at;
        content.clear();
        let Some(stored) = block_at(source, at, length, &mut decoder, &mut content) else {
            return Walk::Broken { entry: last, at };
        };
        if content.iter().all(|byte| *byte == 0) {
            return Walk::Ended { entry: last };
        }
        // Where the footer is gone nobody knows the format.
        let either = Head::decode(&content, Form::Nearest).or(Head::decode(&content, Form::Zeros));
        let Ok((head, _)) = either else { return Walk::Broken { entry: last, at } };
        at += stored;
        let below = head.path.splitn(2, |byte| *byte == b'/').nth(1).unwrap_or(&head.path);
        let name = path::to_text(below);
        last = Some(name.clone());
        let Some(mut left) = head.size.checked_next_multiple_of(RECORD as u64) else {
            return Walk::Broken { entry: last, at };
        };
        while left > 0 {
            content.clear();
            let Some(stored) = block_at(source, at, length, &mut decoder, &mut content) else {
                return Walk::Broken { entry: last, at };
            };
            at += stored;
            let Some(rest) = left.checked_sub(content.len() as u64).filter(|rest| *rest < left) else {
                return Walk::Broken { entry: last, at };
            };
            left = rest;
        }
        if !entry(&name, at - begin) {
            return Walk::Ended { entry: last };
        }
    }
    Walk::Ended { entry: last }
}

fn block_at<R: ReadAt>(source: &R, at: u64, length: u64, decoder: &mut Decoder, content: &mut Vec<u8>) -> Option<u64> {
    let mut header = [0; block::HEADER];
    source.read_at(at, &mut header).ok()?;
    let stored = block::length(&header).ok().filter(|stored| at + *stored as u64 <= length)?;
    let mut bytes = vec![0; stored];
    source.read_at(at, &mut bytes).ok()?;
    decoder.decode(&bytes, content).ok()?;
    Some(stored as u64)
}
