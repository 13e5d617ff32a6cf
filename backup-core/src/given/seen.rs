//! What a file is, by the bytes that it begins with.

use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::open_file;
use crate::bundle::reader::Bundle;
use crate::{ErrorContext, Result, shell};

/// As much of a file as shows what it is.
pub(crate) const START: usize = 4 << 10;
/// What an archive of `pg_dump` begins with; its version follows.
const ARCHIVE: &[u8] = b"PGDMP";
/// An archive's table of contents, in a directory and in a tar.
const TOC: &str = "toc.dat";
/// Where a tar archive says that it is one, and where its first file begins.
const TAR: (usize, &[u8]) = (257, b"ustar");
const IN_TAR: usize = 512;

/// A format that is not read, and what makes of such a file what it was before.
#[derive(Debug)]
pub(crate) struct Other {
    start: &'static [u8],
    what: &'static str,
    undo: &'static str,
}

impl Other {
    /// Whether it is text, in another encoding.
    pub(crate) fn is_text(&self) -> bool {
        self.undo.starts_with("iconv")
    }
}

const OTHERS: [Other; 14] = [
    other(b"\xfd7zXZ\0", "compressed by xz", "xz -dc"),
    other(b"BZh", "compressed by bzip2", "bzip2 -dc"),
    other(b"\x28\xb5\x2f\xfd", "compressed by zstd", "zstd -dc"),
    other(b"\x04\x22\x4d\x18", "compressed by lz4", "lz4 -dc"),
    other(b"\x1f\x9d", "compressed by compress", "gzip -dc"),
    other(b"PK\x03\x04", "a zip archive", "unzip -p"),
    other(b"7z\xbc\xaf\x27\x1c", "a 7z archive", "7z x -so"),
    other(b"\xff\xfe\0\0", "text in UTF-32", "iconv -f UTF-32 -t UTF-8"),
    other(b"\xff\xfe", "text in UTF-16", "iconv -f UTF-16 -t UTF-8"),
    other(b"\xfe\xff", "text in UTF-16", "iconv -f UTF-16 -t UTF-8"),
    other(b"-\0", "text in UTF-16", "iconv -f UTF-16LE -t UTF-8"),
    other(b"\0-", "text in UTF-16", "iconv -f UTF-16BE -t UTF-8"),
    other(b"age-encryption.org/", "encrypted by age", "age -d -i key.txt"),
    other(b"-----BEGIN PGP MESSAGE", "encrypted by GnuPG", "gpg -d"),
];

const fn other(start: &'static [u8], what: &'static str, undo: &'static str) -> Other {
    Other { start, what, undo }
}

/// What a file is.
#[derive(Debug)]
pub(crate) enum Seen {
    /// A script of `pg_dump`, or of one of its kin.
    Script,
    /// A script of `pg_dumpall`.
    Cluster,
    /// Something that gzip compressed.
    Gzip(Box<Self>),
    /// What `pg_restore` reads, of this major version or a newer one.
    Archive(u32),
    /// Any other tar archive.
    Tar,
    /// A directory that is no archive.
    Directory,
    /// Anything else that is known.
    Other(&'static Other),
    /// Anything else.
    Unknown,
}

impl Seen {
    /// Looks at a file, or at a directory.
    ///
    /// # Errors
    /// Where it can't be read.
    pub(crate) fn at(path: &Path) -> Result<Self> {
        if path.is_dir() {
            let toc = path.join(TOC);
            return if toc.is_file() { Self::at(&toc) } else { Ok(Self::Directory) };
        }
        let mut start = Vec::new();
        let read = open_file(path)?.take(START as u64).read_to_end(&mut start);
        read.context(|| format!("read {}", path.display()))?;
        Ok(Self::of_start(&start))
    }

    /// What a file is that begins so.
    pub(crate) fn of_start(start: &[u8]) -> Self {
        if !start.starts_with(&[0x1f, 0x8b]) {
            return Self::of(start);
        }
        let mut inner = Vec::new();
        // What is damaged is told where it is read.
        let _ = MultiGzDecoder::new(start).take(START as u64).read_to_end(&mut inner);
        Self::Gzip(Box::new(Self::of(&inner)))
    }

    fn of(start: &[u8]) -> Self {
        if let Some(version) = start.strip_prefix(ARCHIVE) {
            return Self::Archive(reader_of(version));
        }
        if start.get(TAR.0..).is_some_and(|rest| rest.starts_with(TAR.1)) {
            let archive = start.starts_with(TOC.as_bytes()).then(|| start.get(IN_TAR..)?.strip_prefix(ARCHIVE));
            return archive.flatten().map_or(Self::Tar, |version| Self::Archive(reader_of(version)));
        }
        if let Some(other) = OTHERS.iter().find(|other| start.starts_with(other.start)) {
            return Self::Other(other);
        }
        let says = |what: &str| memchr::memmem::find(start, what.as_bytes()).is_some();
        match () {
            // It has scripts of the first kind in it.
            () if says("-- PostgreSQL database cluster dump") => Self::Cluster,
            () if says("-- PostgreSQL database dump\n") || says("-- PostgreSQL database dump\r\n") => Self::Script,
            () => Self::Unknown,
        }
    }

    /// Whether it is surely no bundle: those are tar archives that gzip compressed.
    pub(crate) fn is_no_bundle(&self) -> bool {
        match self {
            Self::Script | Self::Cluster | Self::Archive(_) | Self::Other(_) => true,
            Self::Gzip(inner) => inner.is_no_bundle(),
            Self::Tar | Self::Directory | Self::Unknown => false,
        }
    }

    /// Whether it is something that `pg_dump` or one of its kin wrote.
    pub(crate) fn is_script(&self) -> bool {
        match self {
            Self::Script | Self::Cluster | Self::Archive(_) => true,
            Self::Gzip(inner) => inner.is_script(),
            Self::Tar | Self::Directory | Self::Other(_) | Self::Unknown => false,
        }
    }

    /// What it is, for people who took it for something else.
    pub(crate) fn what(&self) -> String {
        match self {
            Self::Script => "a script of pg_dump".into(),
            Self::Cluster => "a script of pg_dumpall, which makes all databases of a server".into(),
            Self::Gzip(inner) => format!("{}, compressed by gzip", inner.what()),
            Self::Archive(_) => "an archive of pg_dump".into(),
            Self::Tar => "a tar archive".into(),
            Self::Directory => "a directory without toc.dat, and so no archive of pg_dump".into(),
            Self::Other(other) => other.what.into(),
            Self::Unknown => "something unknown".into(),
        }
    }

    /// How something that is taken is made of it; `path` is where it is.
    pub(crate) fn way_out(&self, path: &Path) -> String {
        let (from, to) = (shell::path(path), shell::path(&unpacked(path)));
        let first = |command: &str| format!("unpack it first, then name what comes out: {command} {from} > {to}");
        match self {
            Self::Other(other) => first(other.undo),
            Self::Gzip(inner) if matches!(**inner, Self::Tar) => {
                let is_bundle = open_file(path).and_then(Bundle::open).is_ok();
                match is_bundle {
                    true => format!("it is a bundle: `… --file {from}`"),
                    false => format!("unpack it first, then name what comes out: tar -xvzf {from}"),
                }
            }
            Self::Gzip(inner) if matches!(**inner, Self::Script) => inner.way_out(path),
            Self::Gzip(_) => first("gzip -dc"),
            Self::Tar => format!("unpack it first, then name what comes out: tar -xvf {from}"),
            Self::Cluster => {
                "make one of the one database: pg_dump orchestrator -f orchestrator.sql; or run this one by hand \
                              with psql, which changes what is live at once"
                    .into()
            }
            Self::Directory => {
                "name the script in it; pg_dump writes toc.dat last, so without it a dump was cut off".into()
            }
            Self::Script | Self::Archive(_) | Self::Unknown => {
                format!("`… --sql {from} --cluster-conf cluster.conf`")
            }
        }
    }
}

/// As far back as anybody has a `pg_restore` to choose.
const READ_BY_ALL: u32 = 12;

/// The oldest major version whose `pg_restore` reads archives of a version: two bytes, and more.
fn reader_of(version: &[u8]) -> u32 {
    match version {
        [1, ..=14, ..] => READ_BY_ALL,
        [1, 15, ..] => 16,
        [1, 16, ..] => 17,
        _ => 19,
    }
}

/// Where the content of a packed file goes: beside it, where nothing is yet.
fn unpacked(path: &Path) -> PathBuf {
    let ends = ["xz", "bz2", "zst", "zstd", "lz4", "Z", "zip", "7z", "gz", "age", "gpg", "pgp", "asc"];
    let is_packed = path.extension().is_some_and(|end| ends.iter().any(|known| end.eq_ignore_ascii_case(known)));
    let inner = path.with_extension("");
    let first = match () {
        () if is_packed && inner.extension().is_some() => inner,
        () if is_packed => inner.with_extension("sql"),
        () => path.with_extension("unpacked.sql"),
    };
    let numbered = (2..).map(|number| path.with_extension(format!("unpacked-{number}.sql")));
    let further = [first.clone(), path.with_extension("unpacked.sql")].into_iter().chain(numbered);
    further.into_iter().find(|path| !path.exists()).unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_what_it_begins_with() {
        let tar = |name: &str, content: &str| {
            let mut tar = vec![0; 1024];
            tar[..name.len()].copy_from_slice(name.as_bytes());
            tar[TAR.0..TAR.0 + 5].copy_from_slice(TAR.1);
            tar[IN_TAR..IN_TAR + content.len()].copy_from_slice(content.as_bytes());
            tar
        };
        for (start, expected) in [
            (b"--\n-- PostgreSQL database dump\n--\n".to_vec(), "Script"),
            (b"\xef\xbb\xbf--\r\n-- PostgreSQL database dump\r\n".to_vec(), "Script"),
            (b"--\n-- PostgreSQL database cluster dump\n".to_vec(), "Cluster"),
            (b"PGDMP\x01\x0e\x00".to_vec(), "Archive(12)"),
            (b"PGDMP\x01\x0f\x00".to_vec(), "Archive(16)"),
            (b"PGDMP\x01\x10\x00".to_vec(), "Archive(17)"),
            (tar("toc.dat", "PGDMP\x01\x10"), "Archive(17)"),
            (tar("dump/toc.dat", "PGDMP\x01\x10"), "Tar"),
            (tar("toc.dat", "a text"), "Tar"),
            (b"SELECT 1;\n".to_vec(), "Unknown"),
            (Vec::new(), "Unknown"),
        ] {
            assert_eq!(format!("{:?}", Seen::of(&start)), expected);
        }
        for other in &OTHERS {
            let Seen::Other(seen) = Seen::of(other.start) else { panic!("{other:?}") };
            assert_eq!(seen.what, other.what);
        }
    }

    #[test]
    fn what_is_unpacked_lies_beside_and_takes_the_place_of_nothing() {
        for (packed, expected) in [
            ("d/o.sql.xz", "d/o.sql"),
            ("o.ZIP", "o.sql"),
            ("o.sql", "o.unpacked.sql"),
            ("o", "o.unpacked.sql"),
            ("o.2026.Z", "o.2026"),
        ] {
            assert_eq!(unpacked(Path::new(packed)), Path::new(expected));
        }
    }
}
