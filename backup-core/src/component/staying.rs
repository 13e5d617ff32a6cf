//! Whether something goes along when a file or a directory steps aside.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf, absolute};

/// Links that are followed one after the other, as the kernel has it.
const LINKS: usize = 40;

/// Something that must stay where it is, and what it is.
#[derive(Debug, Clone)]
pub struct Staying {
    /// Where it is, or will be made.
    pub path: PathBuf,
    /// What it is, for messages.
    pub what: String,
}

impl Staying {
    /// Something at this path.
    pub fn new(path: impl Into<PathBuf>, what: impl Into<String>) -> Self {
        Self { path: path.into(), what: what.into() }
    }

    /// Whether its path leads to something else, or to nothing, once what is at `place` has another name. It does if `place` is on
    /// the way to it: as a directory, or as a link that is followed.
    pub(crate) fn goes_along_with(&self, place: &Path) -> bool {
        let (Ok(path), Ok(place)) = (absolute(&self.path), absolute(place)) else { return false };
        if path.starts_with(&place) {
            return true;
        }
        let mut way = HashSet::new();
        walk(&path, &mut way, LINKS);
        place.symlink_metadata().is_ok_and(|metadata| way.contains(&(metadata.dev(), metadata.ino())))
    }
}

/// Notes everything on the way to a path, as far as it exists and may be seen.
fn walk(path: &Path, way: &mut HashSet<(u64, u64)>, links: usize) {
    for there in path.ancestors() {
        let Ok(metadata) = there.symlink_metadata() else { continue };
        let new = way.insert((metadata.dev(), metadata.ino()));
        if let (true, true, Some(left), Ok(target)) =
            (new, metadata.is_symlink(), links.checked_sub(1), there.read_link())
        {
            walk(&there.parent().unwrap_or(Path::new("/")).join(target), way, left);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_on_the_way_takes_along_what_it_leads_to() {
        let here = tempfile::tempdir().expect("a directory");
        let path = |name: &str| here.path().join(name);
        fs::create_dir_all(path("real/deep")).expect("directories");
        fs::create_dir(path("beside")).expect("a directory");
        symlink(path("real/deep"), path("second")).expect("a link");
        symlink("second", path("first")).expect("a link");
        symlink("itself", path("itself")).expect("a link");
        for (place, staying, goes) in [
            ("real", "real", true),
            ("real", "real/deep/state", true),
            ("real/deep", "real", false),
            ("real", "first/state", true),
            ("first", "first/state", true),
            ("second", "first/state", true),
            ("second", "real/deep/state", false),
            ("beside", "first/state", false),
            ("beside", "itself/state", false),
            ("rea", "real/deep", false),
            ("not there", "not there/either", true),
            ("real", "beside/../real/deep", true),
        ] {
            let found = Staying::new(path(staying), "").goes_along_with(&path(place));
            assert_eq!(found, goes, "{staying} with {place}");
        }
    }
}
