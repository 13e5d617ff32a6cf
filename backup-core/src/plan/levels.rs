//! Plans whose steps don't all need one another.

use futures_util::{StreamExt, stream};

use super::journal::Journal;
use super::runner::Run;
use super::step::Step;
use crate::context::go_on;
use crate::{Context, Error, Result};

/// How one of many steps ended.
#[derive(Debug)]
pub enum Ended {
    /// All of it is there.
    Applied,
    /// It failed.
    Failed(Error),
    /// It was not begun, for this reason.
    Held(String),
}

/// Applies the steps of one level after another, those of a level at once, but no more than `at_once`. Before a step begins
/// `held` is asked whether it must not, given how those of levels before ended. One that fails stops no other by itself.
///
/// # Errors
/// [`crate::Kind::Interrupted`]; the plan can be applied from there. [`crate::Kind::Unsupported`] where the journal is of other steps.
pub async fn apply_in_levels(
    steps: &[Box<dyn Step + '_>],
    (levels, at_once): (&[Vec<usize>], usize),
    held: impl Fn(usize, &[Option<Ended>]) -> Option<String> + Send + Sync,
    journal: &mut Journal,
    context: &Context,
) -> Result<Vec<Ended>> {
    let run = Run::new(steps, journal, context)?;
    let mut ended: Vec<Option<Ended>> = steps.iter().map(|_| None).collect();
    for level in levels {
        let (held, all, run) = (&held, &ended, &run);
        let work = level.iter().map(|index| async move {
            let end = match held(*index, all) {
                Some(reason) => Ended::Held(reason),
                None => run.apply(*index).await.map_or_else(Ended::Failed, |()| Ended::Applied),
            };
            (*index, end)
        });
        let done: Vec<(usize, Ended)> = stream::iter(work).buffer_unordered(at_once).collect().await;
        done.into_iter().for_each(|(index, end)| ended[index] = Some(end));
        go_on(&context.cancel)?;
    }
    Ok(ended.into_iter().map(|end| end.unwrap_or_else(|| Ended::Held("it stands in no level".into()))).collect())
}
