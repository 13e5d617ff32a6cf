//! The restore that is gone on with, or taken back.

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::Settings;
use super::journals::{Journals, has_ended};
use super::ownership;
use super::plan::Plan;
use super::source::{PairFiles, Source};
use super::steps::{self, Work, steps};
use super::{Outcome, go_on, reach, work};
use crate::component::postgres::{self, Sessions, Target};
use crate::event::Event;
use crate::finding::Finding;
use crate::names::StepId;
use crate::plan::{Head, Journal, Progress, Status, undo};
use crate::{Context, Error, Kind, Result, shell};

/// The last restore that is not rolled back. No other one runs on this machine meanwhile.
pub struct Current {
    _journals: Journals,
    journal: Journal,
    head: Head<Plan>,
}

/// Where that is now which is restored, if it was moved, and what it may lack.
#[derive(Debug, Clone, Copy, Default)]
pub struct Moved<'p> {
    /// The bundle, or the script.
    pub file: Option<&'p Path>,
    /// The script's `cluster.conf`.
    pub cluster_conf: Option<&'p Path>,
    /// Objects without which databases may come back, beside those that were named when it began.
    pub accept_missing: &'p [String],
}

/// What a rollback will do.
#[derive(Debug)]
pub struct WayBack {
    /// One sentence for each thing that it drops, removes or puts back.
    pub steps: Vec<String>,
    /// Whose sessions end.
    pub sessions: Sessions,
}

/// How far the restore is that is to be ended before another one begins, if there is one, and the argument that names it.
///
/// # Errors
/// Where it can't be seen.
pub fn unfinished(context: &Context) -> Result<Option<(Progress, String)>> {
    let Some(journals) = Journals::look(context)? else { return Ok(None) };
    Ok(journals.unfinished()?.map(|(journal, head)| (journal.progress(), head.plan.argument())))
}

/// Finds the restore that is to be resumed or rolled back.
///
/// # Errors
/// [`Kind::NotFound`], [`Kind::Locked`], [`Kind::Damaged`].
pub fn current(context: &Context) -> Result<Current> {
    let journals = Journals::open(context)?;
    let (journal, head) = journals.current()?;
    Ok(Current { _journals: journals, journal, head })
}

impl Current {
    /// What it does.
    pub fn plan(&self) -> &Plan {
        &self.head.plan
    }

    /// When it began.
    pub fn created(&self) -> DateTime<Utc> {
        self.head.created
    }

    /// Whether live databases or files may have been changed.
    pub fn has_swapped(&self) -> bool {
        let has_begun = |step| self.journal.status(&step).is_some_and(|status| status != Status::Waiting);
        has_begun(steps::swap_id()) || has_begun(steps::place_id())
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        self.journal.progress()
    }

    /// Makes sure that there is something to resume: a restore that was refused later has no journal, and this one is not meant.
    ///
    /// # Errors
    /// [`Kind::NotFound`] where its end was told.
    pub fn check_unfinished(&self) -> Result<()> {
        if self.progress() != Progress::Applied || !has_ended(&self.journal) {
            return Ok(());
        }
        let (bundle, ended) = (&self.plan().bundle, self.journal.latest().format("%F %T UTC"));
        let message = format!("nothing is unfinished: the last restore, of {bundle}, ended at {ended}");
        let error = Error::new(Kind::NotFound, message);
        Err(error.hint("a restore that was refused has changed nothing; once its cause is gone, begin it anew"))
    }

    /// Goes on from where it stopped, be it at the very end.
    ///
    /// # Errors
    /// [`Kind::Unfinished`], to be called again.
    pub async fn resume(self, moved: Moved<'_>, settings: &Settings, context: &Context) -> Result<Outcome> {
        if matches!(self.progress(), Progress::Undoing | Progress::Undone) {
            let error = Error::new(Kind::Unfinished, "resume the restore: its rollback has begun");
            return Err(error.hint("end it with `restore --rollback`"));
        }
        self.check_unfinished()?;
        let Self { mut journal, head: Head { mut plan, created, .. }, _journals } = self;
        let (bundle, progress) = (plan.bundle.clone(), journal.progress());
        let failed = |error| failed(error, format!("resume the restore of {bundle}"), progress);
        // Noted before anything is done, so that whoever resumes once more need not name it again.
        journal.accept(moved.accept_missing, context.now()).map_err(failed)?;
        plan.accept_missing.extend_from_slice(journal.accepted());
        let work = reopen(plan, moved, settings, context).await.map_err(failed)?;
        go_on(&work, &steps(&work), journal, created).await
    }

    /// Looks at what a rollback will do, and changes nothing.
    ///
    /// # Errors
    /// Those that the rollback would stop at before it changes anything.
    pub async fn look_back(&self, settings: &Settings, context: &Context) -> Result<WayBack> {
        let plan = &self.head.plan;
        let looked = async {
            let target = reach(plan, 0, settings, context).await?;
            check_ways_back(plan, target.as_ref(), &self.journal).await?;
            let names = plan.databases.iter().flat_map(|planned| {
                [Some(&planned.names.name), planned.names.before.as_ref()].into_iter().flatten().map(String::as_str)
            });
            let names: Vec<&str> = names.filter(|_| has_happened(&self.journal, &steps::swap_id())).collect();
            let sessions = match &target {
                Some(target) if !names.is_empty() => target.sessions(&names).await?,
                _ => Sessions::default(),
            };
            Ok(WayBack { steps: self.steps_back(), sessions })
        };
        let looked: Result<WayBack> = looked.await;
        looked.map_err(|error| failed(error, format!("roll back the restore of {}", plan.bundle), self.progress()))
    }

    fn steps_back(&self) -> Vec<String> {
        let plan = &self.head.plan;
        if self.progress() == Progress::Waiting {
            return Vec::new();
        }
        let (swapped, placed) =
            (has_happened(&self.journal, &steps::swap_id()), has_happened(&self.journal, &steps::place_id()));
        let databases = plan.databases.iter().map(|planned| &planned.names).map(|names| match &names.before {
            _ if !swapped => format!("drop database {}, as far as it is built", names.shadow),
            Some(before) => format!("drop database {0}, and rename {before} to {0}", names.name),
            None => format!("drop database {}", names.name),
        });
        let files =
            plan.files.iter().map(|file| (file, file.place.display())).map(|(file, place)| match &file.before {
                _ if !placed => format!("remove {}, as far as it is there", file.staging.display()),
                Some(before) => format!("remove {place}, and rename {} to {place}", before.display()),
                None => format!("remove {place}"),
            });
        let roles = (!plan.roles.is_empty()).then(|| format!("drop the roles that it made: {}", plan.roles.join(", ")));
        databases.chain(files).chain(roles).collect()
    }

    /// Returns to what was there before.
    ///
    /// # Errors
    /// [`Kind::Unfinished`] where a step can't be taken back; to be called again.
    pub async fn rollback(mut self, settings: &Settings, context: &Context) -> Result<Plan> {
        let plan = self.head.plan.clone();
        let journal = &mut self.journal;
        let undone = async {
            let target = reach(&plan, 0, settings, context).await?;
            end_remaining(&plan, target.as_ref()).await?;
            check_ways_back(&plan, target.as_ref(), journal).await?;
            undo(&steps(&work(plan.clone(), target, None, context)), journal, context).await
        };
        let undone = undone.await;
        let progress = self.journal.progress();
        undone.map_err(|error| failed(error, format!("roll back the restore of {}", plan.bundle), progress))?;
        // What was there before is there again, whatever becomes of the notes.
        let warn = |code: &str, error: &Error| {
            let finding = Finding::warning_from_error(code, &plan.bundle, error);
            context.observer.event(&Event::Finding(finding));
        };
        if let Some(shown) = &plan.ownership
            && let Err(error) = ownership::forget(shown, context)
        {
            warn("ownership-not-forgotten", &error);
        }
        // A journal that never began has nothing to undo and would stay unfinished for ever.
        if self.journal.progress() == Progress::Waiting
            && let Err(error) = self.journal.remove()
        {
            warn("journal-not-removed", &error);
        }
        Ok(plan)
    }
}

/// Nothing that was begun before may still come to light on the server once it is looked at.
async fn end_remaining(plan: &Plan, target: Option<&Target>) -> Result<()> {
    match target {
        Some(target) => target.end_remaining(&plan.sessions()).await,
        None => Ok(()),
    }
}

fn has_happened(journal: &Journal, step: &StepId) -> bool {
    matches!(journal.status(step), Some(Status::Applying | Status::Applied))
}

/// Makes sure, before anything is undone, that all that stepped aside is there to come back.
pub(super) async fn check_ways_back(plan: &Plan, target: Option<&Target>, journal: &Journal) -> Result<()> {
    if let Some(target) = target.filter(|_| has_happened(journal, &steps::swap_id())) {
        postgres::check_ways_back(target, &plan.names()).await?;
    }
    if has_happened(journal, &steps::place_id()) {
        plan.files.iter().try_for_each(|file| file.check_way_back(&plan.bundle))?;
    }
    Ok(())
}

/// An error that leaves a restore as it was: unfinished, or complete.
fn failed(error: Error, doing: String, progress: Progress) -> Error {
    let hint = error.first_hint().map(Into::into);
    let kind = if progress == Progress::Applied { error.kind() } else { Kind::Unfinished };
    let error = Error::new(kind, doing).because(error);
    error.hint(hint.unwrap_or_else(|| String::from("remove the cause, then run the same command again")))
}

/// All that is needed to go on with a plan.
async fn reopen(plan: Plan, moved: Moved<'_>, settings: &Settings, context: &Context) -> Result<Arc<Work>> {
    let path = moved.file.unwrap_or(&plan.file);
    let named = named(&plan);
    let lost = |error: Error| {
        // Others say themselves what to do.
        if error.kind() != Kind::NotFound {
            return error;
        }
        error.hint(format!(
            "put it back, or say where it is now: `restore --resume {named}`; `restore --rollback {}` returns to what was there",
            plan.argument()
        ))
    };
    let source = match &plan.cluster_conf {
        None => settings.access.open(path, context).await.map(|bundle| Source::Bundle(Arc::new(bundle))),
        Some(cluster_conf) => {
            let cluster_conf = moved.cluster_conf.unwrap_or(cluster_conf).into();
            let pair = PairFiles {
                sql: path.into(),
                cluster_conf,
                database: None,
                place: None,
                bin_dir: settings.bin_dir.clone(),
            };
            pair.read(context, Arc::default()).await.map(|pair| Source::Pair(Arc::new(pair)))
        }
    };
    let source = source.map_err(lost)?;
    if source.sha256() != plan.sha256 {
        let error = Error::new(Kind::Refused, format!("{} is another one than {}", path.display(), plan.bundle));
        return Err(error.hint(format!("say where the right one is: `restore --resume {named}`")));
    }
    let written_by = source.archived_by();
    let target = reach(&plan, written_by, settings, context).await?;
    end_remaining(&plan, target.as_ref()).await?;
    Ok(work(plan, target, Some(source), context))
}

/// The arguments that say where a restore's source lies, by the names that it had.
fn named(plan: &Plan) -> String {
    let name = |path: &Path| shell::path(Path::new(path.file_name().unwrap_or_default()));
    match &plan.cluster_conf {
        None => format!("--file {}", name(&plan.file)),
        Some(conf) => format!("--sql {} --cluster-conf {}", name(&plan.file), name(conf)),
    }
}
