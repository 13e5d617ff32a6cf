//! Runs a plan forwards and backwards.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::journal::Journal;
use super::status::{Progress, Status};
use super::step::{At, Notes, Seen, Step};
use crate::event::{Event, Mark};
use crate::finding::Finding;
use crate::names::StepId;
use crate::{Context, Error, ErrorContext, Kind, Result};

/// A plan at work: its steps, its journal and its context.
pub(super) struct Run<'r> {
    steps: &'r [Box<dyn Step + 'r>],
    journal: Mutex<&'r mut Journal>,
    context: &'r Context,
}

/// Applies every step that isn't applied, in order. What a crash has left half done is found in the journal and done.
///
/// # Errors
/// The first step's failure, or [`Kind::Interrupted`]; the plan can be applied or undone from there.
/// [`Kind::Refused`] where it is undone, or partly so; [`Kind::Unsupported`] where the journal is of other steps.
pub async fn apply(steps: &[Box<dyn Step + '_>], journal: &mut Journal, context: &Context) -> Result<()> {
    let run = Run::new(steps, journal, context)?;
    if matches!(run.journal().progress(), Progress::Undoing | Progress::Undone) {
        return Err(Error::new(Kind::Refused, "apply a plan that is being undone, or is"));
    }
    for index in 0..steps.len() {
        run.apply(index).await?;
    }
    Ok(())
}

/// Undoes every step that has begun, the last one first.
///
/// # Errors
/// The first failure; the plan can be undone from there. [`Kind::Refused`], before anything is changed, where a step has begun that
/// can't be undone; [`Kind::Unsupported`] where the journal is of other steps.
pub async fn undo(steps: &[Box<dyn Step + '_>], journal: &mut Journal, context: &Context) -> Result<()> {
    let run = Run::new(steps, journal, context)?;
    let has_begun = |step: &dyn Step| {
        let status = run.journal().status_of(step.id())?;
        Ok::<_, Error>(!matches!(status, Status::Waiting | Status::Undone))
    };
    for step in steps {
        if let Some(why) = step.is_for_good().filter(|_| has_begun(step.as_ref()).unwrap_or(true)) {
            return Err(Error::new(Kind::Refused, format!("undo: {}: {why}", step.title())));
        }
    }
    for (index, step) in steps.iter().enumerate().rev() {
        if has_begun(step.as_ref())? {
            run.undo(index).await?;
        }
    }
    Ok(())
}

impl<'r> Run<'r> {
    /// Of a journal that speaks of these steps.
    pub(super) fn new(steps: &'r [Box<dyn Step + 'r>], journal: &'r mut Journal, context: &'r Context) -> Result<Self> {
        check_same(steps, journal)?;
        Ok(Self { steps, journal: Mutex::new(journal), context })
    }

    fn journal(&self) -> MutexGuard<'_, &'r mut Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies a step, or what is left of it.
    pub(super) async fn apply(&self, index: usize) -> Result<()> {
        let step = &self.steps[index];
        let at = At::new(self.context, step.id(), self);
        let status = self.journal().status_of(step.id())?;
        if status == Status::Applied {
            return Ok(());
        }
        let work = async {
            if status == Status::Applying {
                match step.probe(&at).await? {
                    Seen::Whole => return Ok(()),
                    Seen::Absent => {}
                    Seen::Unknown(why) => {
                        let error = Error::new(Kind::Unfinished, "see how far it is").because(why);
                        return Err(error.hint("wait a while, then go on"));
                    }
                }
            }
            self.mark(index, Mark::Begin, Vec::new())?;
            step.apply(&at).await
        };
        self.cut_off(step.as_ref(), work).await.context(|| step.title().into())?;
        self.mark(index, Mark::Done, at.found()).context(|| step.title().into())
    }

    async fn undo(&self, index: usize) -> Result<()> {
        let step = &self.steps[index];
        let at = At::new(self.context, step.id(), self);
        self.mark(index, Mark::Undo, Vec::new())?;
        self.cut_off(step.as_ref(), step.undo(&at)).await.context(|| format!("undo: {}", step.title()))?;
        at.found().into_iter().for_each(|finding| self.context.observer.event(&Event::Finding(finding)));
        self.mark(index, Mark::Undone, Vec::new())
    }

    /// Runs a step's work; it stops with the run, unless it may not be cut off and has begun.
    async fn cut_off(&self, step: &dyn Step, work: impl Future<Output = Result<()>>) -> Result<()> {
        if step.may_be_cut_off() || self.context.cancel.is_cancelled() {
            return self.context.until_cancelled(work).await;
        }
        work.await
    }

    fn mark(&self, index: usize, mark: Mark, found: Vec<Finding>) -> Result<()> {
        let step = &self.steps[index];
        self.journal().note(step.id(), mark, self.context.now(), found)?;
        let (id, name, of) = (step.id().clone(), step.title().into(), self.steps.len());
        self.context.observer.event(&Event::Step { id, name, mark, number: index + 1, of });
        Ok(())
    }
}

impl Notes for Run<'_> {
    fn note(&self, step: &StepId, note: Value) -> Result<()> {
        self.journal().note_beside(step, note, self.context.now())
    }

    fn noted(&self, step: &StepId) -> Option<Value> {
        self.journal().noted(step).cloned()
    }
}

/// Makes sure that the journal speaks of these steps, all of them and no others, in this order, and that no two have one id: the second
/// would be taken for done with the first.
fn check_same(steps: &[Box<dyn Step + '_>], journal: &Journal) -> Result<()> {
    let here: Vec<&StepId> = steps.iter().map(|step| step.id()).collect();
    let mut ids = HashSet::new();
    if let Some(twice) = here.iter().find(|id| !ids.insert(id.as_str())) {
        return Err(Error::new(Kind::Failed, format!("apply a plan: it has two steps called {twice}")));
    }
    let noted: Vec<&StepId> = journal.ids().collect();
    let Some(at) = (0..here.len().max(noted.len())).find(|at| here.get(*at) != noted.get(*at)) else { return Ok(()) };
    let shown = |ids: &[&StepId]| ids.get(at).map_or_else(|| "no further step".into(), |id| format!("the step {id}"));
    let (path, tool) = (journal.path().display(), journal.tool());
    let error = Error::new(Kind::Unsupported, format!("go by the journal {path}: it was written by another version"))
        .because(format!("{} stands there, and this version has {}", shown(&noted), shown(&here)));
    Err(error.hint(format!("nothing was changed; use {tool}, which wrote it")))
}
