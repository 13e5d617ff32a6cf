//! `list`.

use std::path::Path;
use std::process::ExitCode;

use backup_core::Result;
use backup_core::catalog::{self, Listed};
use backup_core::store::Directory;
use comfy_table::{CellAlignment, Table, presets};
use serde_json::json;

use crate::output::Output;
use crate::{exit, human};

pub(crate) fn run(directory: &Path, output: &Output) -> Result<ExitCode> {
    let bundles = catalog::list(&Directory::new(directory))?;
    output.result("list", &json!({ "bundles": bundles }), &text(&bundles, directory));
    // A bundle that can't be opened is no backup, and whoever lists them should not overlook it.
    Ok(exit::done(bundles.iter().any(|bundle| bundle.problem.is_some())))
}

fn text(bundles: &[Listed], directory: &Path) -> String {
    if bundles.is_empty() {
        return format!("no bundles in {}\n", directory.display());
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header([
        "BUNDLE",
        "SIZE",
        "ROWS",
        "CLUSTER",
        "RELEASE",
        "DATABASES",
        "NOTE",
    ]);
    for bundle in bundles {
        let note = match (&bundle.problem, bundle.warnings) {
            (Some(problem), _) => format!("DAMAGED: {problem}"),
            (None, 0) => String::new(),
            (None, count) => human::counted(count as u64, "warning"),
        };
        table.add_row([
            bundle.name.clone(),
            human::bytes(bundle.length),
            human::count(bundle.rows),
            bundle.cluster.clone().unwrap_or_default(),
            bundle.release.clone().unwrap_or_default(),
            bundle.databases.join(", "),
            note,
        ]);
    }
    for column in [1, 2] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| format!("{}\n", line.trim())).collect()
}
