//! One hook: its program, its time limit, what it writes.

use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::{Around, Hook, When};
use crate::finding::Finding;
use crate::{Context, Error, ErrorContext, Kind, Result};

/// Most bytes of a hook's output that are kept: the end of the output.
const KEPT: usize = 4000;
/// Time that a hook has to end after it is told to.
const FAREWELL: Duration = Duration::from_secs(5);
/// Time for the last words of a hook that has ended. A program that it left in the background may hold its pipes for ever.
const LAST_WORDS: Duration = Duration::from_millis(500);

impl Hook {
    /// The name of the hook in findings. Arguments are left out: they may be private.
    pub(super) fn subject(&self, when: When) -> String {
        format!("hook {}: {}", when.name(), self.command.first().map_or("", String::as_str))
    }

    /// Runs the program. Gives its output as a note.
    pub(super) async fn run(&self, (job, when): (Around, When), result: &str, context: &Context) -> Result<Finding> {
        let (subject, begun) = (self.subject(when), Instant::now());
        let doing = || format!("run the {subject}");
        context.phase(&subject);
        let mut group = Group::of(self.command(job, when, result).spawn().context(doing)?);
        let output = Written::default();
        let readers = output.read(&mut group.leader);
        let Ok(status) = timeout(self.limit, group.leader.wait()).await else {
            group.end().await;
            let limit = humantime::format_duration(self.limit);
            let error = Error::new(Kind::Failed, doing()).because(format!("it took longer than {limit} and was ended"));
            return Err(error.hint("raise `limit` in [[hooks]], or make the hook faster"));
        };
        let status = status.context(doing)?;
        group.is_done = true;
        let _ = timeout(LAST_WORDS, futures_util::future::join_all(readers)).await;
        told(&subject, &output.text(), status, begun.elapsed())
    }

    fn command(&self, job: Around, when: When, result: &str) -> Command {
        let (program, arguments) = self.command.split_first().map_or(("", &[][..]), |(program, rest)| (program, rest));
        let mut command = Command::new(program);
        command.args(arguments);
        command.env("ORCHESTRATOR_JOB", job.name()).env("ORCHESTRATOR_HOOK", when.name());
        command.env("ORCHESTRATOR_RESULT", result);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
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

/// The end of what a program writes. All of it is read: a full pipe would stop the program.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn read(&self, child: &mut Child) -> Vec<AbortOnDropHandle<()>> {
        let output = child.stdout.take().map(|pipe| self.read_from(pipe));
        output.into_iter().chain(child.stderr.take().map(|pipe| self.read_from(pipe))).collect()
    }

    fn read_from(&self, mut pipe: impl AsyncRead + Send + Unpin + 'static) -> AbortOnDropHandle<()> {
        let written = self.clone();
        AbortOnDropHandle::new(tokio::spawn(async move {
            let mut part = Vec::new();
            while let Ok(1..) = pipe.read_buf(&mut part).await {
                let mut kept = written.0.lock().unwrap_or_else(PoisonError::into_inner);
                kept.append(&mut part);
                let more = kept.len().saturating_sub(KEPT);
                kept.drain(..more);
            }
        }))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

/// A program with all programs that it began. Unless the program ends in time, all of them end with it.
struct Group {
    leader: Child,
    /// Kept apart: the leader forgets its number once it has ended.
    number: Option<Pid>,
    is_done: bool,
}

impl Group {
    fn of(leader: Child) -> Self {
        let number = leader.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        Self { leader, number, is_done: false }
    }

    fn signal(&self, signal: Signal) {
        if let Some(number) = self.number {
            // A group that is gone needs no signal.
            let _ = kill_process_group(number, signal);
        }
    }

    /// Tells the group to end, and ends what is left of it.
    async fn end(&mut self) {
        self.signal(Signal::TERM);
        let _ = timeout(FAREWELL, self.leader.wait()).await;
        self.signal(Signal::KILL);
        let _ = self.leader.wait().await;
        self.is_done = true;
    }
}

impl Drop for Group {
    /// The run was told to stop while the program ran.
    fn drop(&mut self) {
        if !self.is_done {
            self.signal(Signal::KILL);
        }
    }
}
