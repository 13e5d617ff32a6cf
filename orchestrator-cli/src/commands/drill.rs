//! `drill`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use backup_core::catalog::LATEST;
use backup_core::drill::Drill;
use backup_core::drills::{Drilled, Drills, Newest, Which};
use backup_core::settings::{DEFAULT_PATH, Settings};
use backup_core::store::Access;
use backup_core::{Context, ErrorContext, Kind, Result, drills, settings};
use serde_json::{Value, json};

use super::latest::meant;
use super::with;
use crate::arguments;
use crate::known::known;
use crate::output::Output;
use crate::{exit, findings, human};

pub(crate) async fn run(mut arguments: arguments::Drill, output: &Output, context: &Context) -> Result<ExitCode> {
    let place = arguments.place.unwrap_or_else(std::env::temp_dir);
    let mut settings = settings::load_restore(arguments.config.as_deref(), &known())?;
    settings.access = with(settings.access, arguments.identities, context).at_rate(arguments.limit.limit_rate);
    if arguments.latest.cluster.is_some() || arguments.latest.component.is_some() {
        arguments.bundle.get_or_insert_with(|| LATEST.into());
    }
    let all = arguments.bundle.is_none();
    if let Some(bundle) = &mut arguments.bundle {
        *bundle = meant(bundle, &arguments.latest, &settings, context).await?;
        // A slip of the fingers is no drill that failed.
        match context.until_cancelled(settings.access.open(&*bundle, context)).await {
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Usage) => return Err(error),
            _ => {}
        }
    }
    let told;
    let which = match &arguments.bundle {
        Some(bundle) => Which::One(bundle),
        None => {
            told = match of_newest(arguments.config.as_deref(), &settings.access) {
                Ok(told) => told,
                Err(error) => return Err(drills::not_begun(error, context).await),
            };
            Which::Newest(Newest(told.for_status()))
        }
    };
    let Drills { drilled, warnings } = drills::run(which, &place, &settings, context).await?;
    let mut values = drilled.iter().map(value).collect::<Result<Vec<_>>>()?;
    let text: String = drilled.iter().map(text).collect();
    match values.pop() {
        Some(mut value) if !all => {
            value["warnings"] = json!(warnings);
            output.result("drill", &value, &text)?;
        }
        last => {
            values.extend(last);
            output.result("drills", &json!({ "drills": values, "warnings": warnings }), &text)?;
        }
    }
    let passed = drilled.iter().all(Drilled::passed);
    let warned = !warnings.is_empty() || drilled.iter().any(Drilled::warned);
    Ok(if passed { exit::done(warned) } else { ExitCode::from(exit::of(Kind::Failed)) })
}

/// The settings that say where bundles are; those that are encrypted are opened as this run's are.
fn of_newest(config: Option<&Path>, access: &Access) -> Result<Settings> {
    let mut settings = settings::load(config.unwrap_or(Path::new(DEFAULT_PATH)), &known())?;
    settings.backup.access.identities.clone_from(&access.identities);
    Ok(settings)
}

fn value(drilled: &Drilled) -> Result<Value> {
    let mut value = match &drilled.drill {
        Ok(drill) => {
            let doing = || "print the result".to_owned();
            let mut value = serde_json::to_value(drill).context(doing)?;
            let origin = serde_json::to_value(&drill.origin).context(doing)?;
            value
                .as_object_mut()
                .into_iter()
                .for_each(|value| value.extend(origin.as_object().cloned().unwrap_or_default()));
            value
        }
        Err(error) => json!({ "bundle": drilled.path, "problems": [drilled.not_drilled(error)] }),
    };
    value["passed"] = drilled.passed().into();
    Ok(value)
}

fn text(drilled: &Drilled) -> String {
    match &drilled.drill {
        Ok(drill) => {
            let found = drill.problems.iter().chain(&drilled.unrecorded).map(findings::finding);
            let unproved = drill.unproved.iter().map(findings::unproved);
            let open = drill.not_walled_off.iter().map(findings::finding);
            found.chain(unproved).chain(open).chain([last_line(drill)]).collect()
        }
        Err(error) => findings::finding(&drilled.not_drilled(error)),
    }
}

fn last_line(drill: &Drill) -> String {
    let time = human::duration(Duration::try_from_secs_f64(drill.seconds).unwrap_or_default());
    if drill.passed() {
        let others = drill.components.iter().map(|it| format!(", {} of {}", human::items(&it.items), it.id));
        let rows = human::counted(drill.rows, "row") + &others.collect::<String>();
        let server = drill.postgres.split(' ').next().unwrap_or_default();
        let whose = match drill.origin.is_known() {
            true => drill.origin.short(),
            false => "nothing here knows who made it".into(),
        };
        let said = format!("drill passed: {rows} restored into PostgreSQL {server} and compared in {time}; {whose}");
        return format!("{}: {said}; test server removed\n", drill.bundle);
    }
    format!("{}: drill FAILED: do not rely on this bundle\n", drill.bundle)
}
