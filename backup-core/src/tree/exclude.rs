//! What of a tree is left out.

use std::path::Path;

use globset::GlobSet;

/// Whether patterns match a path below a tree's own directory, or its name.
pub(crate) fn leaves_out(exclude: Option<&GlobSet>, below: &Path) -> bool {
    let name = below.file_name().unwrap_or_default();
    exclude.is_some_and(|glob| glob.is_match(below) || glob.is_match(name))
}
