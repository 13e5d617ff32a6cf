//! What no manifest may say. The writer holds to it before a bundle is published, and every reader before it believes one.

use std::collections::HashSet;

use super::manifest::{Entry, FileType, Manifest, PATH, postgres};
use super::section::component_of;
use super::{FORMAT_OF_HEADERS, FORMAT_OF_SECTIONS, path};
use crate::{Error, Kind, Result};

/// A manifest is refused when its JSON is larger; 64 MiB describe some terabytes of rows.
pub const LARGEST: u64 = 64 << 20;
/// A manifest with more commas is refused: real ones have a value in some 30 bytes, and one made of the shortest
/// possible values would take many times its own size in memory.
const MOST_VALUES: usize = 2 << 20;

/// Why JSON is too much for a manifest, if it is.
pub(super) fn too_much(json: &[u8]) -> Option<&'static str> {
    if json.len() as u64 > LARGEST {
        return Some("it is larger than 64 MiB");
    }
    (memchr::memchr_iter(b',', json).count() > MOST_VALUES).then_some("it has more values than a reader takes")
}

/// Whether numbers add up to one that every reader has.
fn fits(mut numbers: impl Iterator<Item = u64>) -> bool {
    numbers.try_fold(0u64, u64::checked_add).is_some_and(|sum| i64::try_from(sum).is_ok())
}

impl Manifest {
    /// Refuses what no writer of this format would write.
    ///
    /// # Errors
    /// [`Kind::Damaged`], naming the entry: a path that leaves the bundle, a link that leads outside, a doubled
    /// path, entries that don't stand one after another from the file's first byte up to `manifest_offset`.
    pub fn check(&self, manifest_offset: u64) -> Result<()> {
        postgres::check_directories(&self.databases)?;
        let components = self.check_sections()?;
        self.check_sums()?;
        let mut paths: HashSet<&str> = HashSet::with_capacity(self.entries.len());
        let mut links: HashSet<&str> = HashSet::new();
        let mut at = 0u64;
        for entry in &self.entries {
            let refused = |why: String| Error::new(Kind::Damaged, format!("entry {}: {why}", entry.path));
            let bytes = entry.path_bytes().ok_or_else(|| refused("a malformed path".into()))?;
            if let Some(why) = path::refuse(&bytes) {
                return Err(refused(why.into()));
            }
            if entry.path == PATH || !paths.insert(&entry.path) {
                return Err(refused("the same path twice".into()));
            }
            if component_of(&entry.path).is_some_and(|component| !components.contains(component)) {
                return Err(refused("it is of a component that the manifest says nothing of".into()));
            }
            self.check_link(entry, &bytes, &paths).map_err(refused)?;
            let has_holes = entry.kind == FileType::Sparse;
            if entry.expanded.is_some() != (has_holes && self.format >= FORMAT_OF_HEADERS) {
                return Err(refused(
                    "what it comes out as is said of files with holes from format 3 on, and of no others".into(),
                ));
            }
            if entry.kind == FileType::Symlink {
                links.insert(&entry.path);
            }
            if entry.offset != at {
                return Err(refused(format!("begins at byte {} where byte {at} was expected", entry.offset)));
            }
            at = entry.end().filter(|end| *end <= manifest_offset).ok_or_else(|| {
                refused(format!("is said to take {} bytes, more than the file has for it", entry.stored))
            })?;
            postgres::check_chunk(&self.databases, entry).map_err(refused)?;
        }
        let through = self
            .entries
            .iter()
            .find(|entry| entry.path.match_indices('/').any(|(slash, _)| links.contains(&entry.path[..slash])));
        if let Some(entry) = through {
            return Err(Error::new(Kind::Damaged, format!("entry {}: a path through a link", entry.path)));
        }
        if at != manifest_offset {
            return Err(Error::new(
                Kind::Damaged,
                format!("{PATH}: entries end at byte {at} and the manifest begins at byte {manifest_offset}"),
            ));
        }
        Ok(())
    }

    /// A reader of an earlier format would leave sections out without a word.
    fn check_sections(&self) -> Result<HashSet<&str>> {
        let ids: HashSet<&str> = self.components.iter().map(|section| section.id.as_str()).collect();
        if ids.len() < self.components.len() {
            return Err(Error::new(Kind::Damaged, format!("{PATH}: it has two components of one name")));
        }
        if !ids.is_empty() && self.format < FORMAT_OF_SECTIONS {
            return Err(Error::new(
                Kind::Damaged,
                format!("{PATH}: it has components, which format {} has not", self.format),
            ));
        }
        Ok(ids)
    }

    /// Whoever adds up what a manifest says must come to a number that there is.
    fn check_sums(&self) -> Result<()> {
        let sums = [
            ("items", fits(self.components.iter().map(|section| section.items.count))),
            ("bytes", fits(self.entries.iter().map(|entry| entry.size))),
            ("rows", fits(postgres::rows_of_tables(&self.databases))),
            ("rows", fits(postgres::rows_of_chunks(&self.entries))),
        ];
        match sums.into_iter().find(|(_, fits)| !fits) {
            Some((what, _)) => Err(Error::new(Kind::Damaged, format!("{PATH}: it has more {what} than there can be"))),
            None => Ok(()),
        }
    }

    fn check_link(&self, entry: &Entry, path: &[u8], earlier: &HashSet<&str>) -> Result<(), String> {
        let target = match (&entry.link, entry.kind) {
            (None, FileType::File | FileType::Sparse | FileType::Directory) => return Ok(()),
            (Some(target), FileType::Symlink | FileType::Hardlink) => target,
            _ => return Err("a link without a target, or a target without a link".into()),
        };
        if entry.size != 0 {
            return Err("a link with content".into());
        }
        if entry.kind == FileType::Hardlink {
            if target == &entry.path || !earlier.contains(target.as_str()) {
                return Err(format!("a hard link to {target}, which is no earlier entry"));
            }
            return Ok(());
        }
        let bytes = path::from_text(target).ok_or("a malformed link target")?;
        if path::climbs_out(b"files", path, &bytes) {
            return Err(format!("a link that leads outside: {target}"));
        }
        Ok(())
    }
}
