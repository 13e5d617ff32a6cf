//! Runs a plan forwards and backwards.

use std::sync::{Mutex, PoisonError};

use super::journal::Journal;
use super::status::{Mark, Progress, Status};
use super::step::Step;
use crate::event::Event;
use crate::{Context, Error, ErrorContext, Kind, Result};

/// Applies every step that isn't applied, in order. What a crash has left half done is found in the journal and done.
///
/// # Errors
/// The first step's failure, or [`Kind::Interrupted`]; the plan can be applied or undone from there.
/// [`Kind::Refused`] where it is undone, or partly so.
pub async fn apply(steps: &[Box<dyn Step + '_>], journal: &mut Journal, context: &Context) -> Result<()> {
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
    let mark = |mark| note(steps, index, mark, &mut journal.lock().unwrap_or_else(PoisonError::into_inner), context);
    let status = journal.lock().unwrap_or_else(PoisonError::into_inner).status(step.name());
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
    cut_off(step.as_ref(), run, context).await.context(|| step.name().into())?;
    mark(Mark::Done).context(|| step.name().into())
}

/// Undoes every step that has begun, the last one first.
///
/// # Errors
/// The first failure; the plan can be undone from there.
pub async fn undo(steps: &[Box<dyn Step + '_>], journal: &mut Journal, context: &Context) -> Result<()> {
    for (index, step) in steps.iter().enumerate().rev() {
        if matches!(journal.status(step.name()), Status::Waiting | Status::Undone) {
            continue;
        }
        note(steps, index, Mark::Undo, journal, context)?;
        cut_off(step.as_ref(), step.undo(), context).await.context(|| format!("undo: {}", step.name()))?;
        note(steps, index, Mark::Undone, journal, context)?;
    }
    Ok(())
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
    mark: Mark,
    journal: &mut Journal,
    context: &Context,
) -> Result<()> {
    let name = steps[index].name();
    journal.note(name, mark, context.now())?;
    context.observer.event(&Event::Step { name: name.into(), mark, number: index + 1, of: steps.len() });
    Ok(())
}
