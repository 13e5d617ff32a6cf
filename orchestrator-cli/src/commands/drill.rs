//! `drill`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use backup_core::bundle::name::BundleName;
use backup_core::finding::{Finding, Severity};
use backup_core::restore::{self, Drill};
use backup_core::store::Directory;
use backup_core::{Context, Error, Kind, Result, catalog, settings};

use crate::arguments;
use crate::output::Output;
use crate::{exit, findings, human};

pub(crate) async fn run(arguments: &arguments::Drill, output: &Output, context: &Context) -> Result<ExitCode> {
    let settings = settings::load_restore(arguments.config.as_deref())?;
    let place = arguments.place.clone().unwrap_or_else(std::env::temp_dir);
    let work = restore::drill(&arguments.bundle, &place, &settings, context);
    let drill = context.until_cancelled(work).await?;
    let unrecorded = record(&arguments.bundle, &drill);
    let mut text: String = drill.problems.iter().chain(&unrecorded).map(findings::finding).collect();
    text.push_str(&last_line(&drill));
    let mut value =
        serde_json::to_value(&drill).map_err(|cause| Error::new(Kind::Failed, "print the result").because(cause))?;
    value["passed"] = drill.passed().into();
    output.result("drill", &value, &text)?;
    Ok(if drill.passed() { exit::done(unrecorded.is_some()) } else { ExitCode::from(exit::of(Kind::Failed)) })
}

fn last_line(drill: &Drill) -> String {
    let time = human::duration(Duration::try_from_secs_f64(drill.seconds).unwrap_or_default());
    if drill.passed() {
        let rows = human::counted(drill.rows, "row");
        return format!("{}: restored in {time}, {rows}, as its manifest says; nothing is left of it\n", drill.bundle);
    }
    format!("{}: FAILED, do not rely on it\n", drill.bundle)
}

/// Puts the record beside the bundle; a bundle on a medium that can't be written to is as good without.
fn record(bundle: &Path, drill: &Drill) -> Option<Finding> {
    let name = bundle.file_name()?.to_str().and_then(BundleName::from_file_name);
    let Some(name) = name.filter(|name| name.to_string() == drill.bundle) else {
        let message = "the file has another name than the bundle in it, so `list` will not know of the drill";
        return Some(Finding::warning("drill-not-recorded", bundle.display().to_string(), message));
    };
    let directory = bundle.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let error = catalog::record(&Directory::new(directory), &name, drill).err()?;
    let finding = Finding::from_error("drill-not-recorded", bundle.display().to_string(), &error);
    Some(Finding { severity: Severity::Warning, ..finding })
}
