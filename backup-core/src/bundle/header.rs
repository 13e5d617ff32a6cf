//! tar headers: POSIX ustar with pax records where ustar has no room. One entry has exactly one encoding in each form.

mod pax;

use std::collections::BTreeMap;

use tar::{EntryType, Header};

use super::FORMAT_OF_HEADERS;
use pax::{Pax, PaxRecords, number, pax_records, time_from_text, time_to_text};

/// Length of a tar record; headers and content are padded to it.
pub const RECORD: usize = 512;
const NAME: usize = 100;
const OCTAL_7: u64 = 0o7777777;
const OCTAL_11: u64 = 0o77777777777;
const XATTR: &str = "SCHILY.xattr.";
/// Where GNU tar has files with holes put by readers that don't know them; its number there is a process.
const ASIDE: &[u8] = b"/GNUSparseFile.0/";

/// How ustar's own fields are filled where pax records say more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Formats 1 and 2: with zeros, and a file with holes has its own name.
    Zeros,
    /// Later formats: with the nearest that fits, and a file with holes has a name that puts it aside, for readers without pax.
    Nearest,
}

impl Form {
    /// The form of a bundle's headers.
    pub fn of(format: u32) -> Self {
        if format < FORMAT_OF_HEADERS { Self::Zeros } else { Self::Nearest }
    }
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A regular file with holes, stored in GNU's pax sparse format 1.0; its true size is given.
    Sparse(u64),
    /// A directory.
    Directory,
    /// A symbolic link to this target.
    Symlink(Vec<u8>),
    /// Another name of this earlier entry.
    Hardlink(Vec<u8>),
}

/// Everything that a tar header says of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Path from the archive's root, bytes as on disk, no slash at the end.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Bytes of content that follow in the archive.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// Owner's number.
    pub uid: u64,
    /// Group's number.
    pub gid: u64,
    /// Owner's name, at most 31 bytes.
    pub user: String,
    /// Group's name, at most 31 bytes.
    pub group: String,
    /// Time of last change: seconds since 1970 and nanoseconds after them.
    pub modified: (i64, u32),
    /// Extended attributes.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Head {
    /// A file of our own making, readable by its owner alone.
    pub fn private(path: impl Into<Vec<u8>>, size: u64, seconds: i64) -> Self {
        Self {
            path: path.into(),
            kind: EntryKind::File,
            size,
            mode: 0o600,
            uid: 0,
            gid: 0,
            user: "root".into(),
            group: "root".into(),
            modified: (seconds, 0),
            xattrs: BTreeMap::new(),
        }
    }

    /// The head with its path, and a hard link's target, below the bundle's directory.
    pub(super) fn below(mut self, prefix: &str) -> Self {
        self.path.splice(..0, prefix.bytes());
        if let EntryKind::Hardlink(target) = &mut self.kind {
            target.splice(..0, prefix.bytes());
        }
        self
    }

    /// Undoes [`Head::below`]; `None` where path or target stand elsewhere.
    pub(super) fn inside(mut self, prefix: &str) -> Option<Self> {
        self.path = self.path.strip_prefix(prefix.as_bytes())?.to_vec();
        if let EntryKind::Hardlink(target) = &mut self.kind {
            *target = target.strip_prefix(prefix.as_bytes())?.to_vec();
        }
        Some(self)
    }

    /// The header's records, extended ones first.
    pub fn encode(&self, form: Form) -> Vec<u8> {
        let mut header = Header::new_ustar();
        let mut pax = Pax::default();
        self.encode_names(form, &mut header, &mut pax);
        self.encode_numbers(form, &mut header, &mut pax);
        for (name, value) in &self.xattrs {
            pax.push(&[XATTR.as_bytes(), name].concat(), value);
        }
        if let EntryKind::Sparse(size) = self.kind {
            pax.push(b"GNU.sparse.major", b"1");
            pax.push(b"GNU.sparse.minor", b"0");
            pax.push(b"GNU.sparse.name", &self.path);
            pax.push(b"GNU.sparse.realsize", size.to_string().as_bytes());
        }
        header.set_cksum();
        let mut bytes = pax.into_records();
        bytes.extend_from_slice(header.as_bytes());
        bytes
    }

    fn encode_names(&self, form: Form, header: &mut Header, pax: &mut Pax) {
        let (kind, link) = match &self.kind {
            EntryKind::File | EntryKind::Sparse(_) => (EntryType::Regular, None),
            EntryKind::Directory => (EntryType::Directory, None),
            EntryKind::Symlink(target) => (EntryType::Symlink, Some(target)),
            EntryKind::Hardlink(target) => (EntryType::Link, Some(target)),
        };
        header.set_entry_type(kind);
        let mut path = self.path.clone();
        if kind == EntryType::Directory {
            path.push(b'/');
        }
        let long = |name: &[u8]| name.len() > NAME;
        // The name of a file with holes stands in records of its own, and the header's puts it aside.
        let is_aside = matches!(self.kind, EntryKind::Sparse(_)) && form == Form::Nearest;
        let in_pax = is_aside || long(&path);
        if (in_pax && path.to_str().is_none()) || link.is_some_and(|link| long(link) && link.to_str().is_none()) {
            pax.push(b"hdrcharset", b"BINARY");
        }
        if let Some(ustar) = header.as_ustar_mut() {
            put(&mut ustar.name, &if is_aside { aside(&path) } else { path.clone() });
            put(&mut ustar.linkname, link.map_or(&[], |link| link));
            put(&mut ustar.uname[..31], self.user.as_bytes());
            put(&mut ustar.gname[..31], self.group.as_bytes());
        }
        if in_pax && !is_aside {
            pax.push(b"path", &path);
        }
        if let Some(link) = link.filter(|link| long(link)) {
            pax.push(b"linkpath", link);
        }
    }

    fn encode_numbers(&self, form: Form, header: &mut Header, pax: &mut Pax) {
        let beside = |nearest: u64| if form == Form::Zeros { 0 } else { nearest };
        let mut number = |key: &str, value: u64, most: u64, nearest: u64| {
            if value > most {
                pax.push(key.as_bytes(), value.to_string().as_bytes());
                return beside(nearest);
            }
            value
        };
        header.set_mode(self.mode & 0o7777);
        // With another size a reader would take content for headers: GNU's binary numbers, which many know, say it whole.
        header.set_size(number("size", self.size, OCTAL_11, self.size));
        // Hardly anybody has the largest number, and root has zero: a setuid file must not become root's.
        header.set_uid(number("uid", self.uid, OCTAL_7, OCTAL_7));
        header.set_gid(number("gid", self.gid, OCTAL_7, OCTAL_7));
        let (seconds, nanos) = self.modified;
        let nearest = u64::try_from(seconds).unwrap_or(0).min(OCTAL_11);
        let plain = i64::try_from(nearest) == Ok(seconds) && nanos == 0;
        header.set_mtime(if plain { nearest } else { beside(nearest) });
        if !plain {
            pax.push(b"mtime", time_to_text(seconds, nanos).as_bytes());
        }
    }

    /// Reads what [`Head::encode`] wrote in this form; returns the head and the length of its records.
    ///
    /// # Errors
    /// A sentence on what is wrong, among it every header that `encode` would have written otherwise: another kind
    /// of entry (devices, pipes), another dialect of tar, a doubled or unknown record.
    pub fn decode(bytes: &[u8], form: Form) -> Result<(Self, usize), &'static str> {
        let mut at = 0;
        let mut pax = PaxRecords::new();
        let mut header = header_at(bytes, at)?;
        if header.entry_type() == EntryType::XHeader {
            let size = header.size().map_err(|_| "a tar header without a size")?;
            let size = usize::try_from(size).map_err(|_| "an absurdly long extended header")?;
            let records =
                bytes.get(RECORD..).and_then(|rest| rest.get(..size)).ok_or("an extended header is cut short")?;
            pax = pax_records(records).ok_or("a malformed extended header")?;
            at = RECORD + size.next_multiple_of(RECORD);
            header = header_at(bytes, at)?;
        }
        let head = Self::from_parts(&header, pax)?;
        let length = at + RECORD;
        if bytes.get(..length) != Some(head.encode(form).as_slice()) {
            return Err("a tar header that is not written the way this format writes it");
        }
        Ok((head, length))
    }

    fn from_parts(header: &Header, mut pax: PaxRecords) -> Result<Self, &'static str> {
        let ustar = header.as_ustar().ok_or("a header that is not POSIX ustar")?;
        let link = pax.remove(&b"linkpath"[..]).unwrap_or_else(|| cut(&ustar.linkname));
        let path = pax.remove(&b"GNU.sparse.name"[..]).or(pax.remove(&b"path"[..]));
        let mut path = path.unwrap_or_else(|| cut(&ustar.name));
        let sparse = pax.remove(&b"GNU.sparse.realsize"[..]);
        let kind = match header.entry_type() {
            EntryType::Regular => match sparse {
                Some(size) => EntryKind::Sparse(number(&size)?),
                None => EntryKind::File,
            },
            EntryType::Directory => EntryKind::Directory,
            EntryType::Symlink => EntryKind::Symlink(link),
            EntryType::Link => EntryKind::Hardlink(link),
            _ => return Err("an entry that is neither file, directory nor link"),
        };
        if kind == EntryKind::Directory && path.pop() != Some(b'/') {
            return Err("a directory whose name has no slash at its end");
        }
        let mut field = |key: &[u8], plain: std::io::Result<u64>| match pax.remove(key) {
            Some(text) => number(&text),
            None => plain.map_err(|_| "a malformed number in a tar header"),
        };
        let (size, uid, gid) =
            (field(b"size", header.size())?, field(b"uid", header.uid())?, field(b"gid", header.gid())?);
        let modified = match pax.remove(&b"mtime"[..]) {
            Some(text) => time_from_text(&text).ok_or("a malformed time in a tar header")?,
            None => (
                header
                    .mtime()
                    .ok()
                    .and_then(|time| i64::try_from(time).ok())
                    .ok_or("a malformed time in a tar header")?,
                0,
            ),
        };
        let xattrs = pax
            .into_iter()
            .filter_map(|(key, value)| Some((key.strip_prefix(XATTR.as_bytes())?.to_vec(), value)))
            .collect();
        let text = |field: &[u8]| String::from_utf8(cut(field)).map_err(|_| "a user's name that is not UTF-8");
        let mode = header.mode().map_err(|_| "a malformed mode in a tar header")?;
        Ok(Self {
            path,
            kind,
            size,
            mode,
            uid,
            gid,
            user: text(&ustar.uname)?,
            group: text(&ustar.gname)?,
            modified,
            xattrs,
        })
    }
}

trait ToStr {
    fn to_str(&self) -> Option<&str>;
}

impl ToStr for Vec<u8> {
    fn to_str(&self) -> Option<&str> {
        std::str::from_utf8(self).ok()
    }
}

fn header_at(bytes: &[u8], at: usize) -> Result<Header, &'static str> {
    let record = bytes.get(at..).and_then(|rest| rest.get(..RECORD)).ok_or("a tar header is cut short")?;
    let mut header = Header::new_old();
    header.as_mut_bytes().copy_from_slice(record);
    Ok(header)
}

/// Where a reader without pax puts a file with holes, whose map and data are all that it gets of it.
fn aside(path: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    let (base, directories) = parts.split_last().map_or((path, &[][..]), |(base, directories)| (*base, directories));
    let directory = directories.join(&b'/');
    let whole = [directory.as_slice(), ASIDE, base].concat();
    if whole.len() <= NAME || directories.is_empty() {
        return whole;
    }
    // Below the first directory in any case (the bundle's own, or that of a path in packs); its end is cut off, so that others of the same name may come to the same.
    [directories[0], ASIDE, base].concat()
}

fn put(field: &mut [u8], value: &[u8]) {
    let length = value.len().min(field.len());
    field[..length].copy_from_slice(&value[..length]);
}

fn cut(field: &[u8]) -> Vec<u8> {
    field.iter().copied().take_while(|byte| *byte != 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kinds() -> impl Strategy<Value = EntryKind> {
        let target = proptest::collection::vec(1u8.., 1..150);
        prop_oneof![
            Just(EntryKind::File),
            Just(EntryKind::Directory),
            any::<u64>().prop_map(EntryKind::Sparse),
            target.clone().prop_map(EntryKind::Symlink),
            target.prop_map(EntryKind::Hardlink),
        ]
    }

    proptest! {
        #[test]
        fn every_head_comes_back(
            path in proptest::collection::vec(1u8.., 1..300).prop_filter("no slash at the end", |path| path.last() != Some(&b'/')),
            kind in kinds(), size: u64, mode in 0u32..0o10000, uid: u64, seconds in -(1i64 << 40)..(1i64 << 40),
            nanos in 0u32..1_000_000_000, value: Vec<u8>,
        ) {
            let xattrs = BTreeMap::from([(b"user.note".to_vec(), value)]);
            let head = Head { path, kind, size, mode, uid, gid: uid / 3, user: "ops".into(), group: "ops".into(), modified: (seconds, nanos), xattrs };
            for (form, other) in [(Form::Zeros, Form::Nearest), (Form::Nearest, Form::Zeros)] {
                let bytes = head.encode(form);
                prop_assert_eq!(Head::decode(&bytes, form), Ok((head.clone(), bytes.len())));
                prop_assert_eq!(Head::decode(&bytes, other).is_ok(), head.encode(Form::Zeros) == head.encode(Form::Nearest));
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _ = [Form::Zeros, Form::Nearest].map(|form| Head::decode(&bytes, form));
        }
    }

    #[test]
    fn devices_and_foreign_dialects_are_refused() {
        for kind in [EntryType::Char, EntryType::Block, EntryType::Fifo, EntryType::GNULongName, EntryType::GNUSparse] {
            let mut header = Header::new_ustar();
            header.set_entry_type(kind);
            header.set_cksum();
            assert!(Head::decode(header.as_bytes(), Form::Nearest).is_err(), "{kind:?}");
        }
    }
}
