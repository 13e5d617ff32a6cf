//! Mail through the local sendmail.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use backup_core::text::is_unseen;
use backup_core::{Error, Kind, Result};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::Told;

/// It takes no longer to take a letter.
const PATIENCE: Duration = Duration::from_secs(30);

/// A letter with its headers.
pub(super) fn letter(told: &Told<'_>, to: &[String]) -> String {
    // A header is one line, whatever a name holds.
    let line = |text: &str| text.chars().map(|c| if is_unseen(c) { ' ' } else { c }).collect::<String>();
    format!(
        "To: {}\nSubject: {}\nAuto-Submitted: auto-generated\nContent-Type: text/plain; charset=utf-8\n\n{}",
        line(&to.join(", ")),
        line(&told.subject()),
        told.text()
    )
}

/// Gives it to sendmail, which keeps it until it can be delivered.
///
/// # Errors
/// Where it is not there or does not take it.
pub(super) async fn send(program: &Path, to: &[String], letter: &str) -> Result<()> {
    let doing = || format!("mail by {}", program.display());
    let failed = |cause: std::io::Error| {
        Error::new(Kind::Failed, doing()).because(cause).hint("install a mail system, or name its sendmail in [notify]")
    };
    let mut command = Command::new(program);
    command.args(["-i", "--"]).args(to).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let input = child.stdin.take();
    let work = async {
        if let Some(mut input) = input {
            // One that ends before it has read all says why by its exit.
            let _ = input.write_all(letter.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    // Some wait for ever for a directory that they may not write.
    let Ok(output) = tokio::time::timeout(PATIENCE, work).await else {
        return Err(Error::new(Kind::Failed, format!("{}: it does not end", doing())));
    };
    let output = output.map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let cause = if said.is_empty() { format!("it ended with {}", output.status) } else { said };
    Err(Error::new(Kind::Failed, doing()).because(cause).hint("send a mail by hand: `echo test | sendmail ADDRESS`"))
}
