//! What is due now, and a loop that waits for it.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use backup_core::runs::Runs;
use backup_core::schedule::{Due, Schedule, due};
use backup_core::settings::Settings;
use backup_core::{Context, Kind, Result};
use chrono::{DateTime, Local, Utc};

use super::{Call, supervise};
use crate::output::Output;

/// The clock is looked at so often: it may be set meanwhile.
const LOOK: Duration = Duration::from_secs(60);

/// Runs every job that is due, one after another; gives when the next one is, and the worst exit code. Jobs that have never run are
/// due from `since` on.
pub(crate) async fn once(
    since: DateTime<Utc>,
    config: &Path,
    (settings, schedule): (&Settings, &Schedule),
    output: &Output,
    context: &Context,
) -> Result<(Option<DateTime<Utc>>, ExitCode)> {
    let (mut next, mut worst) = (None::<DateTime<Utc>>, ExitCode::SUCCESS);
    let call = |job| Call { job, scheduled: true };
    for (job, calendar) in &schedule.jobs {
        let last = Runs::of(context)?.last(*job)?.map_or(since, |run| run.began);
        let seed = format!("{} {}", context.environment.host, job.name());
        let now = context.now();
        match due(calendar, last, (schedule.random_delay, &seed), now, &Local) {
            Due::Now(_) => match supervise(call(*job), config, (settings, schedule), output, context).await {
                Ok(code) if code == ExitCode::SUCCESS => {}
                Ok(code) => worst = code,
                Err(error) if error.kind() == Kind::Interrupted => return Err(error),
                Err(error) => worst = output.fail(&error),
            },
            Due::At(time) => next = Some(next.map_or(time, |next| next.min(time))),
            Due::Never => {}
        }
    }
    Ok((next, worst))
}

/// Runs jobs when they are due, until the program is to end.
///
/// # Errors
/// [`Kind::Interrupted`].
pub(crate) async fn forever(
    config: &Path,
    (settings, schedule): (&Settings, &Schedule),
    output: &Output,
    context: &Context,
) -> Result<ExitCode> {
    let since = context.now();
    loop {
        let next = match once(since, config, (settings, schedule), output, context).await {
            Ok((next, _)) => next,
            Err(error) if error.kind() == Kind::Interrupted => return Ok(ExitCode::SUCCESS),
            Err(error) => {
                // A disk that is full now may not be so in a minute; the loop must not end by itself.
                output.found([&backup_core::finding::Finding::from_error("round", "schedule", &error)]);
                None
            }
        };
        let wait = next.and_then(|next| (next - context.now()).to_std().ok()).unwrap_or(LOOK).min(LOOK);
        let slept = context.until_cancelled(async {
            tokio::time::sleep(wait).await;
            Ok(())
        });
        if slept.await.is_err() {
            return Ok(ExitCode::SUCCESS);
        }
    }
}
