//! The restore that is gone on with, or taken back.

use std::path::Path;

use chrono::{DateTime, Utc};

use super::Settings;
use super::journals::{Journals, has_ended};
use super::ownership;
use super::plan::Plan;
use super::source::Source;
use super::work::Work;
use super::{Outcome, go_on, hooked};
use crate::event::Event;
use crate::finding::Finding;
use crate::hooks::{Around, Hooked, Said};
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

/// A restore that was rolled back.
#[derive(Debug)]
pub struct RolledBack {
    /// What it had done.
    pub plan: Plan,
    /// What hooks around the rollback warn of.
    pub warnings: Vec<Finding>,
}

/// What a rollback will do.
#[derive(Debug)]
pub struct WayBack {
    /// One sentence for each thing that it drops, removes or puts back.
    pub steps: Vec<String>,
    /// Whose sessions end, if anybody's do.
    pub sessions: Option<String>,
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
        self.head.plan.live_steps().any(has_begun)
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
        let resumed = hooked(&settings.hooks, go_on(&work, journal, created), context).await;
        // A hook that stopped it has changed nothing, and leaves the restore as it was.
        resumed.map_err(|error| if error.kind() == Kind::Unfinished { error } else { failed(error) })
    }

    /// Looks at what a rollback will do, and changes nothing.
    ///
    /// # Errors
    /// Those that the rollback would stop at before it changes anything.
    pub async fn look_back(&self, settings: &Settings, context: &Context) -> Result<WayBack> {
        let plan = &self.head.plan;
        let looked = async {
            let work = Work::reach(plan.clone(), None, settings, context).await?;
            work.check_ways_back(&self.journal).await?;
            let sessions = work.ends(&self.journal).await?;
            let nothing = self.progress() == Progress::Waiting;
            let steps = if nothing { Vec::new() } else { work.way_back(&self.journal) };
            Ok(WayBack { steps, sessions: (!sessions.is_empty()).then(|| sessions.join("; ")) })
        };
        let looked: Result<WayBack> = looked.await;
        looked.map_err(|error| failed(error, format!("roll back the restore of {}", plan.bundle), self.progress()))
    }

    /// Returns to what was there before.
    ///
    /// # Errors
    /// [`Kind::Unfinished`] where a step can't be taken back; to be called again.
    pub async fn rollback(mut self, settings: &Settings, context: &Context) -> Result<RolledBack> {
        let plan = self.head.plan.clone();
        let (journal, said) = (&mut self.journal, Said::default());
        let undone = async {
            let work = Work::reach(plan.clone(), None, settings, context).await?;
            work.settle().await?;
            work.check_ways_back(journal).await?;
            let undone = async { undo(&work.steps(), journal, context).await };
            let hooked = Hooked { job: Around::Restore, said: &said, context };
            settings.hooks.around(hooked, undone, |()| true).await
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
        Ok(RolledBack { plan, warnings: said.warnings().collect() })
    }
}

/// An error that leaves a restore as it was: unfinished, or complete.
fn failed(error: Error, doing: String, progress: Progress) -> Error {
    let hint = error.first_hint().map(Into::into);
    let kind = if progress == Progress::Applied { error.kind() } else { Kind::Unfinished };
    let error = Error::new(kind, doing).because(error);
    error.hint(hint.unwrap_or_else(|| String::from("remove the cause, then run the same command again")))
}

/// All that is needed to go on with a plan.
async fn reopen(plan: Plan, moved: Moved<'_>, settings: &Settings, context: &Context) -> Result<Work> {
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
    let cluster_conf = plan.cluster_conf.as_deref().map(|conf| moved.cluster_conf.unwrap_or(conf));
    let source = Source::open(path, cluster_conf, settings, context).await;
    let source = source.map_err(lost)?;
    if source.sha256 != plan.sha256 {
        let error = Error::new(Kind::Refused, format!("{} is another one than {}", path.display(), plan.bundle));
        return Err(error.hint(format!("say where the right one is: `restore --resume {named}`")));
    }
    let work = Work::reach(plan, Some(source), settings, context).await?;
    work.settle().await?;
    Ok(work)
}

/// The arguments that say where a restore's source lies, by the names that it had.
fn named(plan: &Plan) -> String {
    let name = |path: &Path| shell::path(Path::new(path.file_name().unwrap_or_default()));
    match &plan.cluster_conf {
        None => format!("--file {}", name(&plan.file)),
        Some(conf) => format!("--sql {} --cluster-conf {}", name(&plan.file), name(conf)),
    }
}
