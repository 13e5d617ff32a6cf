//! Runs a plan forwards and backwards.

use std::sync::{Mutex, PoisonError};

use super::journal::Journal;
use super::status::{Progress, Status};
use super::step::Step;
use crate::event::{Event, Mark};
use crate::finding::Finding;
use crate::names::StepId;
use crate::{Context, Error, ErrorContext, Kind, Result};

/// Applies every step that isn't applied, in order. What a crash has left half done is found in the journal and done.
///
/// # Errors
/// The first step's failure, or [`Kind::Interrupted`]; the plan can be applied or undone from there.
/// [`Kind::Refused`] where it is undone, or partly so; [`Kind::Unsupported`] where the journal is of other steps.
pub async fn apply(steps: &[Box<dyn Step + '_>], journal: &mut Journal, context: &Context) -> Result<()> {
    check_same(steps, journal)?;
    if matches!(journal.progress(), Progress::Undoing | Progress::Undone) {
        return Err(Error::new(Kind::Refused, "apply a plan that is being undone, or is"));
    }
    let journal = Mutex::new(journal);
    for index in 0..steps.len() {
        apply_one(steps, index, &journal, context).await?;
    }
    Ok(())
}

/// Applies a step, or what is left of it.
pub(super) async fn apply_one(
    steps: &[Box<dyn Step + '_>],
    index: usize,
    journal: &Mutex<&mut Journal>,
    context: &Context,
) -> Result<()> {
    let step = &steps[index];
    let mark = |mark| {
        let found = if mark == Mark::Done { step.found() } else { Vec::new() };
        note(steps, index, (mark, found), &mut journal.lock().unwrap_or_else(PoisonError::into_inner), context)
    };
    let status = journal.lock().unwrap_or_else(PoisonError::into_inner).status_of(step.id())?;
    if status == Status::Applied {
        return Ok(());
    }
    let run = async {
        if status == Status::Applying && step.probe().await? {
            return Ok(());
        }
        mark(Mark::Begin)?;
        step.apply().await
    };
    cut_off(step.as_ref(), run, context).await.context(|| step.title().into())?;
    mark(Mark::Done).context(|| step.title().into())
}

/// Undoes every step that has begun, the last one first.
///
/// # Errors
/// The first failure; the plan can be undone from there. [`Kind::Unsupported`] where the journal is of other steps.
pub async fn undo(steps: &[Box<dyn Step + '_>], journal: &mut Journal, context: &Context) -> Result<()> {
    check_same(steps, journal)?;
    for (index, step) in steps.iter().enumerate().rev() {
        if matches!(journal.status_of(step.id())?, Status::Waiting | Status::Undone) {
            continue;
        }
        note(steps, index, (Mark::Undo, Vec::new()), journal, context)?;
        cut_off(step.as_ref(), step.undo(), context).await.context(|| format!("undo: {}", step.title()))?;
        note(steps, index, (Mark::Undone, Vec::new()), journal, context)?;
    }
    Ok(())
}

/// Makes sure that the journal speaks of these steps, all of them and no others, in this order.
pub(super) fn check_same(steps: &[Box<dyn Step + '_>], journal: &Journal) -> Result<()> {
    let here: Vec<&StepId> = steps.iter().map(|step| step.id()).collect();
    let noted: Vec<&StepId> = journal.ids().collect();
    let Some(at) = (0..here.len().max(noted.len())).find(|at| here.get(*at) != noted.get(*at)) else { return Ok(()) };
    let shown = |ids: &[&StepId]| ids.get(at).map_or_else(|| "no further step".into(), |id| format!("the step {id}"));
    let (path, tool) = (journal.path().display(), journal.tool());
    let error = Error::new(Kind::Unsupported, format!("go by the journal {path}: it was written by another version"))
        .because(format!("{} stands there, and this version has {}", shown(&noted), shown(&here)));
    Err(error.hint(format!("nothing was changed; use {tool}, which wrote it")))
}

/// Runs a step's work; it stops with the run, unless it may not be cut off and has begun.
async fn cut_off(step: &dyn Step, work: impl Future<Output = Result<()>>, context: &Context) -> Result<()> {
    if step.may_be_cut_off() || context.cancel.is_cancelled() {
        return context.until_cancelled(work).await;
    }
    work.await
}

fn note(
    steps: &[Box<dyn Step + '_>],
    index: usize,
    (mark, found): (Mark, Vec<Finding>),
    journal: &mut Journal,
    context: &Context,
) -> Result<()> {
    let step = &steps[index];
    journal.note(step.id(), mark, context.now(), found)?;
    let (id, name) = (step.id().clone(), step.title().into());
    context.observer.event(&Event::Step { id, name, mark, number: index + 1, of: steps.len() });
    Ok(())
}
