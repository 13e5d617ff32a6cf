//! Opens a bundle with two small reads and gives any entry by its byte range.

mod entry;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use sha2::{Digest, Sha256};

use super::block::{self, BlockError, Decoder};
use super::footer::{self, Footer};
use super::header::{EntryKind, Form, Head, RECORD};
use super::manifest::{self, Entry, Manifest};
use super::pack::cores;
use super::{FORMAT, FORMAT_OF_SECTIONS, path, rules};
use crate::names::BundleName;
use crate::{Error, ErrorContext, Kind, Result};

pub use entry::EntryReader;

/// Bytes that can be read at any place, from several threads at once.
pub trait ReadAt: Send + Sync {
    /// How many bytes there are.
    fn length(&self) -> io::Result<u64>;
    /// Fills `buffer` from `offset` on.
    ///
    /// # Errors
    /// `UnexpectedEof` where fewer bytes are there.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
    /// How many reads at once are worth it: more than there are cores where each has a long way.
    fn readers(&self) -> usize {
        cores()
    }
}

impl ReadAt for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }
}

impl ReadAt for Vec<u8> {
    fn length(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = usize::try_from(offset).ok().and_then(|start| self.get(start..)?.get(..buffer.len()));
        buffer.copy_from_slice(end.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// An open bundle: its manifest is read and checked, its entries are not.
pub struct Bundle<R> {
    source: R,
    footer: Footer,
    manifest: Manifest,
}

/// A bundle that may be anywhere.
pub type OpenBundle = Bundle<Box<dyn ReadAt>>;

impl<R: ReadAt> Bundle<R> {
    /// Reads footer and manifest.
    ///
    /// # Errors
    /// [`Kind::Damaged`] where it is no bundle, damaged or hostile; [`Kind::Unsupported`] where its format is newer.
    pub fn open(source: R) -> Result<Self> {
        let length = source.length().context(|| "read the bundle's length".into())?;
        let footer = read_footer(&source, length)?;
        let (head, json) = read_manifest(&source, &footer, length - footer::LENGTH as u64)?;
        let manifest = parse_manifest(&head, &json, footer.format)?;
        manifest.check(footer.manifest_offset)?;
        Ok(Self { source, footer, manifest })
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The manifest as it stands in the bundle.
    ///
    /// # Errors
    /// Where it can't be read any more.
    pub fn manifest_json(&self) -> Result<Vec<u8>> {
        let end = self.footer.bundle_length - footer::LENGTH as u64;
        read_manifest(&self.source, &self.footer, end).map(|(_, json)| json)
    }

    /// The manifest, for which the bundle is given up.
    pub fn into_manifest(self) -> Manifest {
        self.manifest
    }

    /// The footer.
    pub fn footer(&self) -> &Footer {
        &self.footer
    }

    /// The bytes.
    pub fn source(&self) -> &R {
        &self.source
    }

    /// Begins to read an entry's content.
    ///
    /// # Errors
    /// [`Kind::Damaged`] where its header is not the one that the manifest promises.
    pub fn read<'b>(&'b self, entry: &'b Entry) -> Result<EntryReader<'b, R>> {
        EntryReader::open(self, entry).context(|| format!("entry {}", entry.path))
    }

    /// The whole content of a small entry, checked.
    ///
    /// # Errors
    /// [`Kind::NotFound`], [`Kind::Damaged`], or refused when larger than 64 MiB.
    pub fn content(&self, path: &str) -> Result<Vec<u8>> {
        let entry = self.manifest.entries.iter().find(|entry| entry.path == path);
        let entry = entry.ok_or_else(|| Error::new(Kind::NotFound, format!("entry {path}: not in this bundle")))?;
        if entry.size > rules::LARGEST {
            return Err(Error::new(Kind::Refused, format!("entry {path}: too large to be read into memory")));
        }
        let mut content = Vec::new();
        let mut reader = self.read(entry)?;
        while let Some(part) = reader.next()? {
            content.extend_from_slice(part);
        }
        Ok(content)
    }
}

fn read_footer<R: ReadAt>(source: &R, length: u64) -> Result<Footer> {
    let not_a_bundle = || {
        Error::new(Kind::Damaged, format!("footer: the file has {length} bytes and is too short for a bundle"))
            .hint(footer::NO_BUNDLE)
    };
    let at = length.checked_sub(footer::LENGTH as u64).ok_or_else(not_a_bundle)?;
    let mut bytes = [0; footer::LENGTH];
    source.read_at(at, &mut bytes).map_err(|cause| unreadable(cause, "footer: its bytes"))?;
    Footer::decode(&bytes, length)
}

/// Reads the manifest's tar header and JSON, which must end where the end of the archive begins, just before `end`.
pub(super) fn read_manifest<R: ReadAt>(source: &R, footer: &Footer, end: u64) -> Result<(Head, Vec<u8>)> {
    let damaged = |why: &str| Error::new(Kind::Damaged, format!("entry {}: {why}", manifest::PATH));
    let stored = usize::try_from(footer.manifest_stored).ok().filter(|stored| *stored as u64 <= rules::LARGEST);
    let stored = stored.ok_or_else(|| damaged("an absurd size"))?;
    if footer.manifest_offset.checked_add(footer.manifest_stored).is_none_or(|manifest| manifest > end) {
        return Err(damaged("it is said to end after the file does"));
    }
    let mut bytes = vec![0; stored];
    let read = source.read_at(footer.manifest_offset, &mut bytes);
    read.map_err(|cause| unreadable(cause, &format!("entry {}: its bytes", manifest::PATH)))?;
    if Sha256::digest(&bytes)[..] != footer.manifest_digest {
        return Err(damaged("its bytes are not those that the footer's digest was made of"));
    }
    let mut decoder = Decoder::default();
    let mut header = Vec::new();
    let broken = |cause: BlockError| damaged("its blocks").because(cause);
    let mut at = decoder.decode(&bytes, &mut header).map_err(broken)?;
    let (head, length) = Head::decode(&header, Form::of(footer.format)).map_err(damaged)?;
    if length != header.len() || head.kind != EntryKind::File || head.size > rules::LARGEST {
        return Err(damaged("an absurd size or kind"));
    }
    let mut json = Vec::new();
    while at < bytes.len() {
        at += decoder.decode(&bytes[at..], &mut json).map_err(broken)?;
        if json.len() as u64 > head.size + RECORD as u64 {
            return Err(damaged("its blocks hold more than its header says"));
        }
    }
    check_padding(&json, head.size).map_err(damaged)?;
    json.truncate(head.size as usize);
    match rules::too_much(&json) {
        Some(why) => Err(damaged(why)),
        None => Ok((head, json)),
    }
}

/// Content must fill whole records, and nothing but zeros may follow it.
fn check_padding(content: &[u8], size: u64) -> Result<(), &'static str> {
    let padded = size.checked_next_multiple_of(RECORD as u64);
    if padded != Some(content.len() as u64) {
        return Err("its blocks don't hold what its header says");
    }
    if content[size as usize..].iter().any(|byte| *byte != 0) {
        return Err("something other than zeros after its content");
    }
    Ok(())
}

fn parse_manifest(head: &Head, json: &[u8], format: u32) -> Result<Manifest> {
    #[derive(serde::Deserialize)]
    struct Least {
        #[serde(default)]
        tool: Option<String>,
    }
    if !(FORMAT..=FORMAT_OF_SECTIONS).contains(&format) {
        let least: Option<Least> = serde_json::from_slice(json).ok();
        let tool = least.and_then(|least| least.tool).unwrap_or_else(|| "another version of orchestrator-cli".into());
        return Err(Error::new(
            Kind::Unsupported,
            format!("the bundle has format {format}, and this tool reads format {FORMAT} to {FORMAT_OF_SECTIONS}"),
        )
        .hint(format!("it was written by {}; use that version or a newer one", path::to_text(tool.as_bytes()))));
    }
    let manifest: Manifest = serde_json::from_slice(json).map_err(|cause| {
        Error::new(Kind::Damaged, format!("entry {}: not a manifest", manifest::PATH)).because(cause)
    })?;
    let damaged = |why: &str| Error::new(Kind::Damaged, format!("entry {}: {why}", manifest::PATH));
    let name = manifest.name.parse::<BundleName>().map_err(|_| damaged("its format or name is wrong"))?;
    if manifest.format != format {
        return Err(damaged("its format or name is wrong"));
    }
    // Its path decides which file `tar` writes, so it is as much to be proved as any other entry's.
    let own = format!("{name}/{}", manifest::PATH);
    if *head != Head::private(own, head.size, name.time().timestamp()) {
        return Err(damaged("its tar header is not the one that this format has"));
    }
    Ok(manifest)
}

impl<R: ReadAt> Bundle<R> {
    /// Holds an entry's bytes, as they stand in the file, against their digest; `passed` is told of each part, and stops
    /// it by saying false.
    ///
    /// # Errors
    /// [`Kind::Damaged`], naming the entry.
    pub(super) fn check_stored(&self, entry: &Entry, passed: &dyn Fn(usize) -> bool) -> Result<()> {
        let mut window = Vec::new();
        let (mut at, mut left, mut digest) = (entry.offset, entry.stored, Sha256::new());
        while left > 0 {
            window.resize(usize::try_from(left).unwrap_or(WINDOW).min(WINDOW), 0);
            let read = read_blocks(&self.source, at, &mut window);
            read.context(|| format!("entry {}", entry.path))?;
            digest.update(&window);
            at += window.len() as u64;
            left -= window.len() as u64;
            if !passed(window.len()) {
                return Ok(());
            }
        }
        if digest.finalize()[..] == entry.stored_sha256.0 {
            Ok(())
        } else {
            Err(other_bytes()).context(|| format!("entry {}", entry.path))
        }
    }
}

fn read_blocks<R: ReadAt>(source: &R, at: u64, window: &mut [u8]) -> Result<()> {
    source.read_at(at, window).map_err(|cause| unreadable(cause, "read its blocks"))
}

/// What a failed read means: bytes that end too soon, or that can't be decrypted, are damage.
pub(crate) fn unreadable(cause: io::Error, doing: &str) -> Error {
    let kind = match cause.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => Kind::Damaged,
        // A store's own error says itself what it is.
        _ => cause.get_ref().and_then(|inner| inner.downcast_ref()).map_or(Kind::Failed, Error::kind),
    };
    Error::new(kind, doing).because(cause)
}

fn other_bytes() -> Error {
    Error::new(Kind::Damaged, "its bytes in the file are not those that its digest was made of")
}

/// How much of the file is read at once: some blocks, so that small blocks don't cost a read each.
const WINDOW: usize = block::LONGEST + (1 << 20);
