//! Drills of bundles: which ones, what each has shown, and where that is kept.

mod newest;

use std::path::{Path, PathBuf};

pub use newest::Newest;

use crate::authenticity::note_verified;
use crate::drill::Drill;
use crate::finding::{Finding, Severity};
use crate::hooks::{Around, Hooked, Said};
use crate::names::{FileName, ORCHESTRATOR, Series};
use crate::runs::{Part, Recorded, Report, Run, record as record_run, record_hooked};
use crate::schedule::Job;
use crate::store::{Access, blocking};
use crate::{Context, Error, Kind, Result, catalog, restore};

/// A bundle that was to be drilled.
#[derive(Debug)]
pub struct Drilled {
    /// Where it is; the name of its series where there is none.
    pub path: PathBuf,
    /// What it is one of.
    pub series: Series,
    /// What was shown, or why nothing could be.
    pub drill: Result<Drill>,
    /// Why `list` will not know of it, where it will not.
    pub unrecorded: Option<Finding>,
}

impl Drilled {
    /// Whether the bundle is proved.
    pub fn passed(&self) -> bool {
        self.drill.as_ref().is_ok_and(Drill::passed)
    }

    /// Whether somebody should look, though it passed.
    pub fn warned(&self) -> bool {
        let unproved = self.drill.as_ref().map_or(&[][..], |drill| &drill.unproved);
        self.unrecorded.is_some() || unproved.iter().any(|finding| finding.severity == Severity::Warning)
    }

    /// Why it could not be drilled, as a finding.
    pub fn not_drilled(&self, error: &Error) -> Finding {
        Finding::from_error("not-drilled", self.path.display().to_string(), error)
    }
}

/// What a run has drilled.
#[derive(Debug)]
pub struct Drills {
    /// The bundles, in the order in which they were drilled.
    pub drilled: Vec<Drilled>,
    /// What hooks around it warn of.
    pub warnings: Vec<Finding>,
}

/// What is to be drilled.
pub enum Which<'w> {
    /// One bundle.
    One(&'w Path),
    /// The newest one of every series.
    Newest(Newest<'w>),
}

/// Drills below `place`, records each drill beside its bundle, and notes the run. Of several bundles, one that can't be drilled does not
/// hold up the others.
///
/// # Errors
/// [`Kind::NotFound`] where there is no bundle; where the only one can't be drilled; [`Kind::Interrupted`].
pub async fn run(which: Which<'_>, place: &Path, settings: &restore::Settings, context: &Context) -> Result<Drills> {
    let work = async {
        let (bundles, mut drilled, go_on) = match which {
            Which::One(bundle) => (vec![bundle.to_owned()], Vec::new(), false),
            Which::Newest(newest) => {
                let (bundles, missing) = newest.find(&settings.access, context).await?;
                (bundles, missing, true)
            }
        };
        for bundle in bundles {
            drilled.push(one(bundle, place, settings, go_on, context).await?);
        }
        Ok(drilled)
    };
    let said = Said::default();
    let hooked = Hooked { job: Around::Drill, said: &said, context };
    let have_passed = |drilled: &Vec<Drilled>| drilled.iter().all(Drilled::passed);
    let hooked = settings.hooks.around(hooked, work, have_passed);
    let recorded = Recorded { run: Run::beginning(Job::Drill, context), said: &said };
    let drilled = record_hooked(recorded, context, hooked, |drilled: &Vec<Drilled>| report(drilled)).await?;
    Ok(Drills { drilled, warnings: said.warnings().collect() })
}

/// Notes a run that could not begin, for this reason, which it gives back.
pub async fn not_begun(error: Error, context: &Context) -> Error {
    let failed = record_run(Run::beginning(Job::Drill, context), context, async { Err(error) }, |(): &()| report(&[]));
    match failed.await {
        Err(error) => error,
        Ok(()) => Error::new(Kind::Failed, "drill"),
    }
}

/// What the journal of runs keeps of them.
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
        Err(error) if go_on && error.kind() != Kind::Interrupted => {
            Ok(Drilled { path, series, drill: Err(error), unrecorded: None })
        }
        Err(error) => Err(error),
    }
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
