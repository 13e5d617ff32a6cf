//! Child processes: killed with us, their exit status and standard error always looked at.

use std::process::Stdio;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

use crate::{Error, ErrorContext, Kind, Result};

/// The most of a child's standard error that goes into a message.
const SHOWN: usize = 2000;

/// A running child whose standard output is read by the caller. Dropping it kills the child.
pub(super) struct Running {
    child: Child,
    doing: String,
    errors: JoinHandle<Vec<u8>>,
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
    let errors = tokio::spawn(async move {
        let mut text = Vec::new();
        let _ = stderr.read_to_end(&mut text).await;
        text
    });
    let output = BufReader::with_capacity(1 << 16, output);
    Ok(Running { input: child.stdin.take(), child, doing: doing.into(), errors, output })
}

impl Running {
    /// Waits for the child's end.
    ///
    /// # Errors
    /// Where it failed, with the end of what it wrote to standard error.
    pub(super) async fn finish(mut self) -> Result<()> {
        drop((self.input, self.output));
        let status = self.child.wait().await.context(|| self.doing.clone())?;
        let text = self.errors.await.unwrap_or_default();
        if status.success() {
            return Ok(());
        }
        let text = without_commands(&String::from_utf8_lossy(&text));
        let text = text.trim();
        let skipped = text.char_indices().rev().nth(SHOWN).map_or(0, |(at, _)| at);
        let cause = if text.is_empty() { "it wrote no message".into() } else { text[skipped..].to_owned() };
        Err(Error::new(Kind::Failed, format!("{}: the program ended with {status}", self.doing)).because(cause))
    }
}

/// What pg_restore says, without the statements that it tried: they may hold a secret.
fn without_commands(text: &str) -> String {
    let mut inside = false;
    let mut kept = String::new();
    for line in text.split_inclusive('\n') {
        inside = if inside { !line.starts_with("pg_restore:") } else { line.starts_with("Command was:") };
        if !inside {
            kept.push_str(line);
        }
    }
    kept
}

/// What a program that succeeded wrote.
pub(super) struct Ran {
    pub(super) output: Vec<u8>,
    /// Its standard error: warnings.
    pub(super) said: String,
}

/// Runs `command` with `input`; its standard output must be small.
pub(super) async fn run(mut command: Command, doing: &str, input: Option<&[u8]>) -> Result<Ran> {
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).process_group(0);
    let mut child = command.spawn().context(|| doing.to_owned())?;
    let mut stdin = child.stdin.take();
    let (Some(mut stdout), Some(mut stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(Error::new(Kind::Failed, format!("{doing}: no pipe to the program")));
    };
    let feed = async {
        if let (Some(mut stdin), Some(input)) = (stdin.take(), input) {
            // A child that does not read all of its input says why by its exit status.
            let _ = stdin.write_all(input).await;
        }
    };
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let ((), read, _) = tokio::join!(feed, stdout.read_to_end(&mut output), stderr.read_to_end(&mut errors));
    read.context(|| doing.to_owned())?;
    let status = child.wait().await.context(|| doing.to_owned())?;
    let said = String::from_utf8_lossy(&errors).trim().to_owned();
    if status.success() {
        return Ok(Ran { output, said });
    }
    Err(Error::new(Kind::Failed, format!("{doing}: the program ended with {status}")).because(said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_that_failed_is_not_shown() {
        let text = "pg_restore: error: could not execute query: ERROR:  no\nCommand was: CREATE USER MAPPING\n\
            OPTIONS (password 'hunter2');\n\n\npg_restore: error: a worker process died\n";
        let kept = without_commands(text);
        assert_eq!(
            kept,
            "pg_restore: error: could not execute query: ERROR:  no\npg_restore: error: a worker process died\n"
        );
    }
}
