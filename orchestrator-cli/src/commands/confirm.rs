//! Asks before something is done for good.

use std::io::{BufRead, IsTerminal};

use backup_core::{Context, Error, Kind, Result};

use crate::output::Output;

/// Whether the work is to go on: asks on a terminal; without one `--yes` must have been given.
///
/// # Errors
/// [`Kind::Refused`] where nobody can be asked, [`Kind::Interrupted`] where the program is to stop.
pub(super) async fn agreed(what: &str, yes: bool, output: &Output, context: &Context) -> Result<bool> {
    if yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        let error = Error::new(Kind::Refused, "nobody can be asked here").because(what.to_owned());
        return Err(error.hint(format!("{} goes on without a question", output.again(""))));
    }
    let answer = answer(&format!("{what} Go on? (yes/no) "), output, context).await?;
    Ok(answer.is_some_and(|answer| ["yes", "y"].contains(&answer.trim().to_lowercase().as_str())))
}

/// Asks, and waits for a line; none where the input ends.
///
/// # Errors
/// [`Kind::Interrupted`] where the program is to stop.
pub(super) async fn answer(question: &str, output: &Output, context: &Context) -> Result<Option<String>> {
    // A thread of its own: one that waits for a line can't be stopped, and must not hold us when a signal comes.
    let (sender, receiver) = tokio::sync::oneshot::channel();
    output.ask(question);
    std::thread::spawn(move || {
        let mut answer = String::new();
        let read = std::io::stdin().lock().read_line(&mut answer);
        sender.send(read.map(|length| (length > 0).then_some(answer)))
    });
    let answer = context.until_cancelled(async { Ok(receiver.await) }).await;
    output.answered();
    Ok(answer?.ok().and_then(|read| read.ok().flatten()))
}
