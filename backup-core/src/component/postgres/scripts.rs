//! The texts that let a person with `tar` and `psql` alone restore a bundle.

use super::large_objects::script_path;
use super::rows::{Written, chunk_path};

/// `databases/NAME.sql`: runs all that makes up one database, in order; `drops` takes away what every new database has and
/// this one has not.
pub(super) fn database<'c>(
    directory: &str,
    drops: &[&str],
    large_objects: u64,
    chunks: impl Iterator<Item = &'c Written>,
) -> String {
    let mut script = String::from(
        "-- Creates the database and fills it:  psql -X -d postgres -f THIS_FILE\n\
         -- It stops at the first error. A database of this name that exists already is such an error and stays as it is.\n\
         \\set ON_ERROR_STOP on\n\\set QUIET on\n\\pset pager off\n\\o /dev/null\n",
    );
    let line = |path: &str| format!("\\ir '{directory}/{path}'\n");
    script.push_str(&line("create.sql"));
    drops.iter().for_each(|drop| script.push_str(&format!("{drop};\n")));
    let mut include = |path: &str| script.push_str(&line(path));
    include("pre-data.sql");
    // A session takes no setting that names what is not there yet, such as a configuration of text search.
    script.push_str("\\connect\n");
    let mut include = |path: &str| script.push_str(&format!("\\ir '{directory}/{path}'\n"));
    (1..=large_objects).for_each(|number| include(&script_path(number)));
    chunks.for_each(|chunk| include(&chunk_path(chunk.number)));
    include("sequences.sql");
    include("post-data.sql");
    // A foreign partition that is away is no reason to stop: all is there.
    script.push_str("\\o\n\\set ON_ERROR_STOP off\nANALYZE;\n\\echo restored\n");
    script
}
