//! Child processes: killed with us, their exit status and standard error always looked at.

use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::words;
pub(super) use crate::component::program::Ran;
use crate::component::program::{self, Input};
use crate::{Error, ErrorContext, Kind, Result};

/// What pg_restore says at its end where it went on past errors.
const IGNORED: &str = "pg_restore: warning: errors ignored on restore: ";
/// The exit status of a psql that stopped at an error in its script, and not for want of a connection.
const SCRIPT_FAILED: i32 = 3;

/// A running child whose standard output is read by the caller. Dropping it kills the child.
pub(super) struct Running {
    child: Child,
    doing: String,
    errors: JoinHandle<Vec<u8>>,
    /// Told when it speaks of a cause that may pass.
    passing: Arc<Notify>,
    /// Where its standard input is a pipe.
    pub(super) input: Option<ChildStdin>,
    pub(super) output: BufReader<ChildStdout>,
}

/// Starts `command`; `doing` is the operation and its subject, for errors.
pub(super) fn start(mut command: Command, doing: &str, input: Stdio) -> Result<Running> {
    command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).process_group(0);
    let mut child = command.spawn().context(|| doing.to_owned())?;
    let (Some(output), Some(mut stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(Error::new(Kind::Failed, format!("{doing}: no pipe to the program")));
    };
    // Read to its end at all times, or the child would block on a full pipe.
    let passing = Arc::new(Notify::new());
    let told = passing.clone();
    let errors = tokio::spawn(async move {
        let (mut text, mut looked) = (Vec::new(), 0);
        while let Ok(1..) = stderr.read_buf(&mut text).await {
            if let Some(end) = memchr::memrchr(b'\n', &text[looked..]) {
                if words::may_pass(&String::from_utf8_lossy(&text[looked..looked + end])) {
                    told.notify_one();
                }
                looked += end;
            }
        }
        text
    });
    let output = BufReader::with_capacity(1 << 16, output);
    Ok(Running { input: child.stdin.take(), child, doing: doing.into(), errors, passing, output })
}

impl Running {
    /// Waits for the child's end.
    ///
    /// # Errors
    /// Where it failed, with the end of what it wrote to standard error.
    pub(super) async fn finish(self) -> Result<()> {
        self.finish_said().await.map(|_| ())
    }

    /// The same, for what it wrote to standard error where it succeeded.
    pub(super) async fn finish_said(mut self) -> Result<String> {
        drop((self.input, self.output));
        let status = self.child.wait().await.context(|| self.doing.clone())?;
        let text = self.errors.await.unwrap_or_default();
        if status.success() {
            return Ok(String::from_utf8_lossy(&text).into_owned());
        }
        Err(failed(&self.doing, status, &text))
    }

    /// Waits for the end of one that goes on past what the server refuses, and gives what it wrote to standard error. It is
    /// ended where what stopped it may pass, since all that follows would fail too.
    pub(super) async fn finish_all(mut self) -> Result<(bool, String)> {
        drop((self.input, self.output));
        let status = tokio::select! {
            status = self.child.wait() => status,
            () = self.passing.notified() => {
                if let Some(pid) = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
                    // Unlike a kill it makes pg_restore end its workers, and cancel what they do.
                    let _ = kill_process(pid, Signal::TERM);
                }
                self.child.wait().await
            }
        };
        let status = status.context(|| self.doing.clone())?;
        let text = self.errors.await.unwrap_or_default();
        let said = String::from_utf8_lossy(&text).into_owned();
        if status.success() || (status.code() == Some(1) && said.contains(IGNORED) && !words::may_pass(&said)) {
            return Ok((status.success(), said));
        }
        Err(failed(&self.doing, status, &text))
    }
}

/// What a program writes that reads `input`.
pub(super) async fn output(command: Command, doing: &str, input: Stdio) -> Result<Vec<u8>> {
    let mut running = start(command, doing, input)?;
    let mut written = Vec::new();
    running.output.read_to_end(&mut written).await.context(|| doing.into())?;
    running.finish().await?;
    Ok(written)
}

/// Runs `command` with `input`; its standard output must be small.
pub(super) async fn run(command: Command, doing: &str, input: Option<&[u8]>) -> Result<Ran> {
    let ran = program::run(command, doing, input.map_or(Input::Nothing, Input::Bytes)).await?;
    if ran.status.success() { Ok(ran) } else { Err(failed(doing, ran.status, ran.said.as_bytes())) }
}

/// The error of a program that wrote `said` to its standard error.
fn failed(doing: &str, status: ExitStatus, said: &[u8]) -> Error {
    let said = String::from_utf8_lossy(said);
    let lasting =
        (status.code() == Some(SCRIPT_FAILED) || said.contains("could not execute query")) && !words::may_pass(&said);
    let shown = words::of_program(&said);
    let error = program::failed(doing, status, &shown).of(words::cause_in(&shown));
    if lasting { error.lasting() } else { error }
}
