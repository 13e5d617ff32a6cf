//! `list`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use backup_core::catalog::{self, Listed};
use backup_core::finding::age;
use backup_core::restore::Drill;
use backup_core::store::Directory;
use backup_core::{Context, Result};
use chrono::{DateTime, Utc};
use serde_json::json;

use crate::output::{self, Output};
use crate::{exit, human};

pub(crate) fn run(directory: &Path, output: &Output, context: &Context) -> Result<ExitCode> {
    let bundles = catalog::list(&Directory::new(directory))?;
    output.result("list", &json!({ "bundles": bundles }), &text(&bundles, directory, context.now()))?;
    // A bundle that can't be opened is no backup, and whoever lists them should not overlook it.
    Ok(exit::done(bundles.iter().any(|bundle| bundle.problem.is_some())))
}

fn text(bundles: &[Listed], directory: &Path, now: DateTime<Utc>) -> String {
    if bundles.is_empty() {
        return format!("no bundles in {}\n", directory.display());
    }
    let header = ["BUNDLE", "SIZE", "ROWS", "CLUSTER", "RELEASE", "DATABASES", "RESTORED", "NOTE"];
    let lines = output::table(&header, &[1, 2], bundles.iter().map(|bundle| row(bundle, now)));
    lines.iter().map(|line| format!("{}\n", line.trim_start())).collect()
}

fn row(bundle: &Listed, now: DateTime<Utc>) -> [String; 8] {
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
        restored(bundle.drill.as_ref(), now),
        note,
    ]
}

/// What the last drill has shown.
fn restored(drill: Option<&Drill>, now: DateTime<Utc>) -> String {
    let Some(drill) = drill else { return "never".into() };
    let age = age(now.signed_duration_since(drill.time).to_std().unwrap_or_default());
    if !drill.passed() {
        return format!("FAILED {age} ago");
    }
    let time = Duration::try_from_secs_f64(drill.seconds).unwrap_or_default();
    format!("in {}, {age} ago", human::duration(time))
}
