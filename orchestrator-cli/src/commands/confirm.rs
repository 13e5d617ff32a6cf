//! Asks before something is done for good.

use std::io::{BufRead, IsTerminal};

use backup_core::{Context, Error, Kind, Result};

use crate::output::Output;

/// Asks on a terminal; without one `--yes` must have been given.
pub(super) async fn confirm(what: &str, yes: bool, output: &Output, context: &Context) -> Result<()> {
    if yes {
        return Ok(());
    }
    let refused = |why: &str, hint: &str| Err(Error::new(Kind::Refused, why).because(what.to_owned()).hint(hint));
    if !std::io::stdin().is_terminal() {
        return refused("nobody can be asked here", "give --yes to go on without a question");
    }
    match answer(&format!("{what} Go on? (yes/no) "), output, context).await? {
        Some(answer) if ["yes", "y"].contains(&answer.trim().to_lowercase().as_str()) => Ok(()),
        _ => refused("the answer was not yes", "answer yes, or give --yes"),
    }
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
