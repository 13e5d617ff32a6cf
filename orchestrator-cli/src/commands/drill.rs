//! `drill`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use backup_core::authenticity::note_verified;
use backup_core::drill::Drill;
use backup_core::finding::{Finding, Severity};
use backup_core::names::Series;
use backup_core::names::{FileName, ORCHESTRATOR};
use backup_core::restore;
use backup_core::runs::{Part, Report, Run, record as record_run};
use backup_core::schedule::Job;
use backup_core::settings::DEFAULT_PATH;
use backup_core::store::{Access, blocking};
use backup_core::{Context, Error, ErrorContext, Kind, Result, catalog, settings, status};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::with;
use crate::arguments;
use crate::known::known;
use crate::output::Output;
use crate::{exit, findings, human};

pub(crate) async fn run(arguments: arguments::Drill, output: &Output, context: &Context) -> Result<ExitCode> {
    let place = arguments.place.unwrap_or_else(std::env::temp_dir);
    let mut settings = settings::load_restore(arguments.config.as_deref(), &known())?;
    settings.access = with(settings.access, arguments.identities, context);
    let all = arguments.bundle.is_none();
    if let Some(bundle) = &arguments.bundle {
        // A slip of the fingers is no drill that failed.
        match context.until_cancelled(settings.access.open(bundle, context)).await {
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Usage) => return Err(error),
            _ => {}
        }
    }
    let work = async {
        let (bundles, mut drilled) = match arguments.bundle {
            Some(bundle) => (vec![bundle], Vec::new()),
            None => newest(arguments.config.as_deref(), &settings.access, context).await?,
        };
        for bundle in bundles {
            drilled.push(one(bundle, &place, &settings, all, context).await?);
        }
        Ok(drilled)
    };
    let drilled =
        record_run(Run::beginning(Job::Drill, context), context, work, |drilled: &Vec<Drilled>| report(drilled))
            .await?;
    let mut values = drilled.iter().map(Drilled::value).collect::<Result<Vec<_>>>()?;
    let text: String = drilled.iter().map(Drilled::text).collect();
    match values.pop() {
        Some(value) if !all => output.result("drill", &value, &text)?,
        last => {
            values.extend(last);
            output.result("drills", &json!({ "drills": values }), &text)?;
        }
    }
    let passed = drilled.iter().all(Drilled::passed);
    let warned = drilled.iter().any(Drilled::warned);
    Ok(if passed { exit::done(warned) } else { ExitCode::from(exit::of(Kind::Failed)) })
}

/// A bundle that was to be drilled.
struct Drilled {
    path: PathBuf,
    series: Series,
    /// What was shown, or why nothing could be.
    drill: Result<Drill>,
    /// Why `list` will not know of it, where it will not.
    unrecorded: Option<Finding>,
}

impl Drilled {
    fn passed(&self) -> bool {
        self.drill.as_ref().is_ok_and(Drill::passed)
    }

    /// Whether somebody should look, though it passed.
    fn warned(&self) -> bool {
        let unproved = self.drill.as_ref().map_or(&[][..], |drill| &drill.unproved);
        self.unrecorded.is_some() || unproved.iter().any(|finding| finding.severity == Severity::Warning)
    }

    fn value(&self) -> Result<Value> {
        let mut value = match &self.drill {
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
            Err(error) => json!({ "bundle": self.path, "problems": [self.not_drilled(error)] }),
        };
        value["passed"] = self.passed().into();
        Ok(value)
    }

    fn text(&self) -> String {
        match &self.drill {
            Ok(drill) => {
                let found = drill.problems.iter().chain(&self.unrecorded).map(findings::finding);
                let unproved = drill.unproved.iter().map(findings::unproved);
                let open = drill.not_walled_off.iter().map(findings::finding);
                found.chain(unproved).chain(open).chain([last_line(drill)]).collect()
            }
            Err(error) => findings::finding(&self.not_drilled(error)),
        }
    }

    fn not_drilled(&self, error: &Error) -> Finding {
        Finding::from_error("not-drilled", self.path.display().to_string(), error)
    }
}

/// What the journal of runs keeps of it.
fn report(drilled: &[Drilled]) -> Report {
    let part = |one: &Drilled| {
        let why = match &one.drill {
            Ok(drill) => drill.problems.first().map(|problem| problem.message.clone()),
            Err(error) => Some(error.chain().join(": ")),
        };
        let drill = one.drill.as_ref().ok();
        let (bundle, manifest_sha256) =
            (drill.map(|drill| drill.bundle.clone()), drill.map(|drill| drill.manifest_sha256));
        Part { bundle, manifest_sha256, failed: why, ..Part::of(&one.series) }
    };
    let warnings = drilled.iter().filter_map(|one| one.unrecorded.clone());
    Report { parts: drilled.iter().map(part).collect(), warnings: warnings.collect() }
}

async fn one(
    path: PathBuf,
    place: &Path,
    settings: &restore::Settings,
    go_on: bool,
    context: &Context,
) -> Result<Drilled> {
    let name = path.file_name().and_then(|name| name.to_str()?.parse::<FileName>().ok());
    let component = name.map_or_else(|| ORCHESTRATOR.to_owned(), |name| name.bundle.component().into());
    let series = Series { component, group: None };
    match context.until_cancelled(restore::drill(&path, place, settings, context)).await {
        Ok(drill) => {
            let unrecorded = record(&path, &drill, &settings.access, context).await;
            Ok(Drilled { path, series, drill: Ok(drill), unrecorded })
        }
        // Of several, one that can't be drilled does not hold up the others.
        Err(error) if go_on && error.kind() != Kind::Interrupted => {
            Ok(Drilled { path, series, drill: Err(error), unrecorded: None })
        }
        Err(error) => Err(error),
    }
}

/// The newest bundle of a series, as far as was looked.
struct Newest {
    known: bool,
    created: DateTime<Utc>,
    path: PathBuf,
}

/// The newest good bundle of every series, wherever the settings say that some are; and what can't be drilled, for there is none.
async fn newest(config: Option<&Path>, access: &Access, context: &Context) -> Result<(Vec<PathBuf>, Vec<Drilled>)> {
    let mut settings = settings::load(config.unwrap_or(Path::new(DEFAULT_PATH)), &known())?;
    settings.backup.access.identities.clone_from(&access.identities);
    let status = status::look(settings.for_status(), &[], context).await?;
    let mut newest: BTreeMap<&Series, Option<Newest>> = BTreeMap::new();
    for there in status.series.iter().filter(|there| !there.elsewhere) {
        let best = newest.entry(&there.series).or_default();
        let known = there.bundles.last().map(|last| (true, last));
        // A machine that drills alone knows none of them.
        let unknown = there.unknown.last().filter(|_| !access.signing.required).map(|last| (false, last));
        let Some((known, last)) = known.or(unknown) else { continue };
        // What is known goes before what isn't, however new that says it is; of two that are as new the first store's is taken: it is nearest.
        if best.as_ref().is_none_or(|best| (best.known, best.created) < (known, last.created)) {
            *best =
                Some(Newest { known, created: last.created, path: format!("{}/{}", there.store, last.file).into() });
        }
    }
    let expected = |series: &Series| status.series.iter().any(|there| there.expected && there.series == *series);
    let none = newest.iter().filter(|(series, best)| best.is_none() && expected(series));
    let missing: Vec<Drilled> = none.map(|(series, _)| missing(series)).collect();
    // What somebody put there goes last: time may run out over it.
    let (ours, others): (Vec<_>, Vec<_>) = newest.into_iter().partition(|(series, _)| expected(series));
    let newest: Vec<PathBuf> = ours.into_iter().chain(others).filter_map(|(_, best)| Some(best?.path)).collect();
    if newest.is_empty() && missing.is_empty() {
        let error = Error::new(Kind::NotFound, "drill the newest bundle: there is none");
        return Err(error.hint("`status` says what was looked at"));
    }
    Ok((newest, missing))
}

/// A series that should have a bundle, and has none.
fn missing(series: &Series) -> Drilled {
    let error = Error::new(Kind::NotFound, "there is no good bundle").hint("`status` says what was looked at");
    Drilled { path: series.to_string().into(), series: series.clone(), drill: Err(error), unrecorded: None }
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
        let said = format!("restored in {time} into PostgreSQL {server}, {rows}, as its manifest says; {whose}");
        return format!("{}: {said}; nothing is left of it\n", drill.bundle);
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
    let (drill, signing, context) = (drill.clone(), access.signing.clone(), context.clone());
    let record = move || {
        // A drill reads all of it, whatever becomes of it then.
        let _ = note_verified(&drill.manifest_sha256, &store.location(), &context);
        catalog::record(&*store, &name, &drill, &signing)
    };
    let error = blocking(record).await.err()?;
    Some(Finding::warning_from_error("drill-not-recorded", &shown, &error))
}
