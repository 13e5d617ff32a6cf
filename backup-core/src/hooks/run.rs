//! One hook: its program, its time limit, what it says.

use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{Around, Hook, When};
use crate::finding::Finding;
use crate::{Context, Error, ErrorContext, Kind, Result};

/// The most of what a hook writes that is kept, in bytes: its end.
const KEPT: usize = 4000;
/// What a hook that takes too long has to end by itself.
const FAREWELL: Duration = Duration::from_secs(5);

impl Hook {
    /// How the hook is called in findings: its arguments may hold what is nobody's business.
    pub(super) fn subject(&self, when: When) -> String {
        format!("hook {}: {}", when.name(), self.command.first().map_or("", String::as_str))
    }

    /// Runs the program. Gives what it wrote, as a note.
    pub(super) async fn run(&self, (job, when): (Around, When), result: &str, context: &Context) -> Result<Finding> {
        let (subject, begun) = (self.subject(when), Instant::now());
        context.phase(&subject);
        let mut group = Group(self.command(job, when, result).spawn().context(|| format!("run the {subject}"))?);
        let (Some(output), Some(errors)) = (group.0.stdout.take(), group.0.stderr.take()) else {
            return Err(Error::new(Kind::Failed, format!("run the {subject}: no pipe to the program")));
        };
        let ended = timeout(self.limit, async {
            let (output, errors, status) = tokio::join!(end_of(output), end_of(errors), group.0.wait());
            Ok::<_, std::io::Error>((output + &errors, status?))
        });
        let Ok(ended) = ended.await else {
            group.end().await;
            let limit = humantime::format_duration(self.limit);
            let error =
                Error::new(Kind::Failed, format!("run the {subject}: it took longer than {limit} and was ended"));
            return Err(error.hint("give it more time with `limit` of [[hooks]], or mend it"));
        };
        let (text, status) = ended.context(|| format!("run the {subject}"))?;
        told(&subject, &text, status, begun.elapsed())
    }

    fn command(&self, job: Around, when: When, result: &str) -> Command {
        let (program, arguments) = self.command.split_first().map_or(("", &[][..]), |(program, rest)| (program, rest));
        let mut command = Command::new(program);
        command.args(arguments);
        command.env("ORCHESTRATOR_JOB", job.name()).env("ORCHESTRATOR_HOOK", when.name());
        command.env("ORCHESTRATOR_RESULT", result);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
        command
    }
}

fn told(subject: &str, text: &str, status: ExitStatus, time: Duration) -> Result<Finding> {
    let text = text.trim();
    if !status.success() {
        let error = Error::new(Kind::Failed, format!("run the {subject}: it ended with {status}"));
        return Err(if text.is_empty() { error } else { error.because(text) });
    }
    let wrote = if text.is_empty() { "it wrote nothing" } else { text };
    Ok(Finding::info("hook", subject, format!("done in {:.1} s: {wrote}", time.as_secs_f64())))
}

/// The end of what a program writes, which is read to its end: a full pipe would stop the program.
async fn end_of(mut pipe: impl AsyncRead + Unpin) -> String {
    let mut kept = Vec::new();
    while let Ok(1..) = pipe.read_buf(&mut kept).await {
        let more = kept.len().saturating_sub(KEPT);
        kept.drain(..more);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// A program with all that it has begun. None of it outlives the run.
struct Group(Child);

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            let _ = kill_process_group(group, signal);
        }
    }

    /// Asks it to end, and ends it.
    async fn end(&mut self) {
        self.signal(Signal::TERM);
        if timeout(FAREWELL, self.0.wait()).await.is_err() {
            self.signal(Signal::KILL);
            let _ = self.0.wait().await;
        }
    }
}

impl Drop for Group {
    /// Where the run was told to stop while the program runs.
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}
