//! `drill`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use backup_core::finding::Finding;
use backup_core::restore::{self, Drill};
use backup_core::store::{Access, blocking};
use backup_core::{Context, Error, Kind, Result, catalog, settings};

use super::with;
use crate::arguments;
use crate::output::Output;
use crate::{exit, findings, human};

pub(crate) async fn run(arguments: arguments::Drill, output: &Output, context: &Context) -> Result<ExitCode> {
    let mut settings = settings::load_restore(arguments.config.as_deref())?;
    settings.access = with(settings.access, arguments.identities);
    let place = arguments.place.unwrap_or_else(std::env::temp_dir);
    let work = restore::drill(&arguments.bundle, &place, &settings, context);
    let drill = context.until_cancelled(work).await?;
    let unrecorded = record(&arguments.bundle, &drill, &settings.access, context).await;
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
async fn record(bundle: &Path, drill: &Drill, access: &Access, context: &Context) -> Option<Finding> {
    let shown = bundle.display().to_string();
    let place = match access.place(bundle, context) {
        Ok(place) => place.filter(|(_, name)| name.bundle.to_string() == drill.bundle),
        Err(error) => return Some(Finding::warning_from_error("drill-not-recorded", &shown, &error)),
    };
    let Some((store, name)) = place else {
        let message = "the file has another name than the bundle in it, so `list` will not know of the drill";
        return Some(Finding::warning("drill-not-recorded", shown, message));
    };
    let drill = drill.clone();
    let error = blocking(move || catalog::record(&*store, &name, &drill)).await.err()?;
    Some(Finding::warning_from_error("drill-not-recorded", &shown, &error))
}
