//! All that is below a directory, each directory's names in order, in little memory: names of a directory of two million files take some
//! 50 MiB here, and several times that where each is an object of its own.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, OFlags};

/// A walk from a directory downwards: each path comes after all that sort before it, where a slash sorts before all else.
#[derive(Default)]
pub(crate) struct Walk(Vec<Listing>);

/// The names in a directory: joined, and where each begins.
struct Listing {
    directory: PathBuf,
    names: Vec<u8>,
    begins: Vec<u32>,
    next: usize,
}

impl Walk {
    /// Goes on with what is in a directory, which is not followed if it is a link by now.
    ///
    /// # Errors
    /// The system's words; what was read of its names is walked all the same.
    pub(crate) async fn descend(&mut self, directory: &Path) -> io::Result<()> {
        let directory = directory.to_owned();
        // A directory of a million names takes a second.
        let listed = tokio::task::spawn_blocking(move || Listing::of(directory)).await;
        let (listing, read) = listed.map_err(io::Error::other)??;
        self.0.push(listing);
        read
    }
}

impl Iterator for Walk {
    type Item = PathBuf;

    fn next(&mut self) -> Option<PathBuf> {
        loop {
            let listing = self.0.last_mut()?;
            if let Some(begin) = listing.begins.get(listing.next) {
                listing.next += 1;
                return Some(listing.directory.join(OsStr::from_bytes(name(&listing.names, *begin))));
            }
            self.0.pop();
        }
    }
}

impl Listing {
    /// The names in a directory that could be read, and whether these are all.
    fn of(directory: PathBuf) -> io::Result<(Self, io::Result<()>)> {
        let flags = (OFlags::NOFOLLOW | OFlags::DIRECTORY).bits().cast_signed();
        let opened = OpenOptions::new().read(true).custom_flags(flags).open(&directory)?;
        let mut listing = Self { directory, names: Vec::new(), begins: Vec::new(), next: 0 };
        let read = listing.read(&opened);
        listing.sort();
        Ok((listing, read))
    }

    fn read(&mut self, directory: &File) -> io::Result<()> {
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                self.begins.push(u32::try_from(self.names.len()).map_err(|_| io::ErrorKind::OutOfMemory)?);
                self.names.extend_from_slice(name);
                self.names.push(0);
            }
        }
        Ok(())
    }

    fn sort(&mut self) {
        let names = &self.names;
        self.begins.sort_unstable_by(|one, other| name(names, *one).cmp(name(names, *other)));
        // Where files are renamed meanwhile, a name may come twice.
        self.begins.dedup_by(|one, other| name(names, *one) == name(names, *other));
    }
}

fn name(names: &[u8], begin: u32) -> &[u8] {
    let from = names.get(begin as usize..).unwrap_or_default();
    from.get(..memchr::memchr(0, from).unwrap_or(from.len())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn what_is_below_comes_in_order_and_links_are_not_followed() {
        let place = tempfile::tempdir().expect("a directory");
        for name in ["a/x", "a-b", "a/c/y", "ab/z"] {
            let path = place.path().join(name);
            fs::create_dir_all(path.parent().expect("a directory")).expect("made");
            fs::write(path, "").expect("written");
        }
        std::os::unix::fs::symlink("a", place.path().join("link")).expect("a link");
        let mut walk = Walk::default();
        walk.descend(place.path()).await.expect("read");
        let mut met = Vec::new();
        while let Some(path) = walk.next() {
            let below = path.strip_prefix(place.path()).expect("below").to_str().expect("text");
            met.push(below.to_owned());
            assert_eq!(walk.descend(&path).await.is_ok(), ["a", "a/c", "ab"].contains(&below), "{below}");
        }
        assert_eq!(met, ["a", "a/c", "a/c/y", "a/x", "a-b", "ab", "ab/z", "link"]);
        assert!(walk.descend(&place.path().join("not there")).await.is_err());
    }
}
