//! `list`.

use std::path::Path;
use std::process::ExitCode;

use backup_core::Result;
use backup_core::catalog::{self, Listed};
use backup_core::store::Directory;
use serde_json::json;

use crate::output::{self, Output};
use crate::{exit, human};

pub(crate) fn run(directory: &Path, output: &Output) -> Result<ExitCode> {
    let bundles = catalog::list(&Directory::new(directory))?;
    output.result("list", &json!({ "bundles": bundles }), &text(&bundles, directory))?;
    // A bundle that can't be opened is no backup, and whoever lists them should not overlook it.
    Ok(exit::done(bundles.iter().any(|bundle| bundle.problem.is_some())))
}

fn text(bundles: &[Listed], directory: &Path) -> String {
    if bundles.is_empty() {
        return format!("no bundles in {}\n", directory.display());
    }
    let header = ["BUNDLE", "SIZE", "ROWS", "CLUSTER", "RELEASE", "DATABASES", "NOTE"];
    let lines = output::table(&header, &[1, 2], bundles.iter().map(row));
    lines.iter().map(|line| format!("{}\n", line.trim_start())).collect()
}

fn row(bundle: &Listed) -> [String; 7] {
    let note = match (&bundle.problem, bundle.warnings) {
        (Some(problem), _) if bundle.damaged => format!("DAMAGED: {}", human::plain(problem)),
        (Some(problem), _) => format!("can't be read: {}", human::plain(problem)),
        (None, 0) => String::new(),
        (None, count) => human::counted(count as u64, "warning"),
    };
    let rows = if bundle.problem.is_some() { String::new() } else { human::count(bundle.rows) };
    [
        format!("{}.tgz", bundle.name),
        human::bytes(bundle.length),
        rows,
        human::plain(bundle.cluster.as_deref().unwrap_or_default()),
        human::plain(bundle.release.as_deref().unwrap_or_default()),
        human::plain(&bundle.databases.join(", ")),
        note,
    ]
}
