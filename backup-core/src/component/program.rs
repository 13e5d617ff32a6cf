//! Programs that components run: killed with us, their exit status and standard error always looked at.

use std::fs::File;
use std::process::{ExitStatus, Stdio};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::{Error, ErrorContext, Kind, Result};

/// The most of a program's standard error that goes into a message.
const SHOWN: usize = 2000;
/// What is taken of a program's output, in bytes: it may speak for a server that runs what a stranger made.
const MOST: u64 = 64 << 20;

/// What a program wrote, and how it ended.
pub(crate) struct Ran {
    pub(crate) status: ExitStatus,
    pub(crate) output: Vec<u8>,
    /// Its standard error.
    pub(crate) said: String,
}

/// What a program reads.
pub(crate) enum Input<'i> {
    Nothing,
    Bytes(&'i [u8]),
    File(File),
}

/// The command that the settings give as a program and its arguments.
pub(crate) fn of_words(words: &[String]) -> Command {
    let (program, rest) = words.split_first().map_or(("", &[][..]), |(program, rest)| (program, rest));
    let mut command = Command::new(program);
    command.args(rest);
    command
}

/// Runs `command` with `input`; its standard output must be small. `doing` is the operation and its subject, for errors.
///
/// # Errors
/// Where it can't be run. How it ended is in the result.
pub(crate) async fn run(mut command: Command, doing: &str, input: Input<'_>) -> Result<Ran> {
    let (input, stdin) = match input {
        Input::Nothing => (None, Stdio::null()),
        Input::Bytes(bytes) => (Some(bytes), Stdio::piped()),
        Input::File(file) => (None, Stdio::from(file)),
    };
    command.stdin(stdin);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).process_group(0);
    let mut child = command.spawn().context(|| doing.to_owned())?;
    let mut stdin = child.stdin.take();
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(Error::new(Kind::Failed, format!("{doing}: no pipe to the program")));
    };
    let feed = async {
        if let (Some(mut stdin), Some(input)) = (stdin.take(), input) {
            // A child that does not read all of its input says why by its exit status.
            let _ = stdin.write_all(input).await;
        }
    };
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let (mut reading, mut hearing) = (stdout.take(MOST), stderr.take(MOST));
    let ((), read, _) = tokio::join!(feed, reading.read_to_end(&mut output), hearing.read_to_end(&mut errors));
    read.context(|| doing.to_owned())?;
    // A program that goes on to write meets closed pipes.
    drop((reading, hearing));
    if output.len() as u64 == MOST {
        return Err(Error::new(Kind::Failed, doing).because("the program writes more than 64 MiB"));
    }
    let status = child.wait().await.context(|| doing.to_owned())?;
    Ok(Ran { status, output, said: String::from_utf8_lossy(&errors).trim().to_owned() })
}

/// The same for a program whose words are shown as they are.
///
/// # Errors
/// Where it failed, with the end of what it wrote to standard error.
pub(crate) async fn succeed(command: Command, doing: &str, input: Input<'_>) -> Result<Ran> {
    let ran = run(command, doing, input).await?;
    if ran.status.success() { Ok(ran) } else { Err(failed(doing, ran.status, &ran.said)) }
}

/// The error of a program that `said` this on its standard error.
pub(crate) fn failed(doing: &str, status: ExitStatus, said: &str) -> Error {
    let shown = said.trim();
    let skipped = shown.char_indices().rev().nth(SHOWN).map_or(0, |(at, _)| at);
    let cause = if shown.is_empty() { "it wrote no message".into() } else { shown[skipped..].to_owned() };
    Error::new(Kind::Failed, format!("{doing}: the program ended with {status}")).because(cause)
}
