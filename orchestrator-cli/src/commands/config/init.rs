//! `config init`.

use std::fs;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use backup_core::finding::{Severity, worst};
use backup_core::settings::{DEFAULT_PATH, Initial, load_text};
use backup_core::written::write;
use backup_core::{Context, Error, ErrorContext, Kind, Result};
use serde_json::json;

use super::ask::Asking;
use super::check::doubts;
use super::machine::Machine;
use crate::arguments::Init;
use crate::human::shell_word;
use crate::known::known;
use crate::output::Output;
use crate::{exit, findings};

/// What to do if the file can't be written.
const ELSEWHERE: &str = "run it as a user that may write there: `sudo …`; or name another file with --output";
/// Nothing in settings that are made here is secret, and the user that jobs run as reads them.
const MODE: u32 = 0o644;

pub(super) async fn run(init: &Init, output: &Output, context: &Context) -> Result<ExitCode> {
    let target = (init.output != Path::new("-")).then(|| absolute(&init.output)).transpose()?;
    if let Some(path) = &target {
        refuse_target(path, init.force)?;
    }
    let machine = Machine::look(init.connection.as_deref(), context).await?;
    let alone = init.yes || !std::io::stdin().is_terminal();
    if !alone {
        // No bar is drawn under what was found, for the first question comes there.
        output.ask("");
    }
    output.found(&machine.findings);
    let asking = Asking { output, context, alone };
    let Some(initial) = asking.all(init, &machine).await? else { return output.stopped() };
    let text = initial.text();
    let named = target.clone().map_or_else(|| absolute(Path::new("orchestrator.toml")), Ok)?;
    let settings = load_text(&named, &text, &known())?;
    let found = doubts(&settings, &named, context);
    let next = next(&initial, target.as_deref(), output, context);
    if let Some(path) = &target {
        put(path, &text)?;
    }
    let value = json!({ "path": target, "text": text, "findings": found, "next": next });
    let shown: String = found.iter().filter(|one| one.severity > Severity::Info).map(findings::finding).collect();
    let told = format!("{shown}next\n{}", next.iter().map(|command| format!("  {command}\n")).collect::<String>());
    match &target {
        Some(path) => output.result("config-init", &value, &format!("{}: written\n{told}", path.display()))?,
        None if output.is_json() => output.result("config-init", &value, "")?,
        None => {
            output.note(&told);
            output.print(&text)?;
        }
    }
    Ok(exit::done(worst(&found) >= Some(Severity::Warning)))
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).context(|| format!("write {}", path.display()))
}

/// Before anything is asked: nothing is written over that somebody has made, and other commands must take the file for settings.
fn refuse_target(path: &Path, force: bool) -> Result<()> {
    let doing = || format!("write the settings {}", path.display());
    if path.extension().is_none_or(|extension| extension != "toml") {
        let error = Error::new(Kind::Usage, doing()).because("the name of settings ends in .toml");
        return Err(error.hint("name another file with --output"));
    }
    if path.symlink_metadata().is_ok() && !force {
        let error = Error::new(Kind::Refused, doing()).because("the file exists");
        return Err(error.hint("`… --force` writes over it; --output names another file, and - prints the settings"));
    }
    // Answers would be lost if only the writing of the file said it.
    let around = path.ancestors().skip(1).find(|around| around.exists());
    let is_far =
        around.is_some_and(|around| path.parent().is_some_and(|own| own != around && own.parent() != Some(around)));
    if is_far {
        let cause = "of a path at most the last directory is made";
        return Err(Error::new(Kind::Failed, doing()).because(cause).hint(ELSEWHERE));
    }
    if let Some(cause) = around.and_then(|around| rustix::fs::access(around, rustix::fs::Access::WRITE_OK).err()) {
        return Err(Error::new(Kind::Failed, doing()).because(std::io::Error::from(cause)).hint(ELSEWHERE));
    }
    Ok(())
}

/// Writes the settings; their directory is made if it is not there.
fn put(path: &Path, text: &str) -> Result<()> {
    let doing = || format!("write the settings {}", path.display());
    let directory = path.parent().unwrap_or(Path::new("/"));
    if !directory.exists() {
        fs::create_dir(directory).context(doing).map_err(|error| error.hint(ELSEWHERE))?;
    }
    write(path, text.as_bytes(), Some(MODE)).context(doing).map_err(|error| error.hint(ELSEWHERE))
}

/// The commands that come next, as they can be pasted.
fn next(initial: &Initial, target: Option<&Path>, output: &Output, context: &Context) -> Vec<String> {
    let usual = target.is_none_or(|path| path == Path::new(DEFAULT_PATH));
    let path = target.unwrap_or(Path::new(DEFAULT_PATH));
    let config = if usual { String::new() } else { format!(" -c {}", shell_word(path)) };
    let identity = !initial.recipients.is_empty() && initial.identities.is_empty();
    let identity = if identity { " --identity /root/orchestrator.key" } else { "" };
    let mut next: Vec<String> =
        [format!("check{config}"), format!("backup{config}"), format!("drill{config}{identity}")]
            .iter()
            .map(|command| output.command(command))
            .collect();
    let root = rustix::process::geteuid().is_root();
    let own = context.environment.user.clone().filter(|_| !root);
    // The packages make the usual user; without them the server's own user reads all databases.
    let packaged =
        Command::new("id").args(["-u", "--", "orchestrator-cli"]).output().is_ok_and(|id| id.status.success());
    let user = own.or_else(|| (!packaged).then(|| "postgres".into()));
    let user = user.map_or_else(String::new, |user| format!(" --user {}", shell_word(Path::new(&user))));
    let sudo = if root { "" } else { "sudo " };
    next.push(format!("{sudo}{}", output.command(&format!("schedule install{config}{user}"))));
    next
}
