//! One file a command.

mod backup;
mod check;
mod diff;
mod drill;
mod extract;
mod list;
mod restore;
mod shell;
mod show;
mod verify;

use std::fs::File;
use std::path::Path;
use std::process::ExitCode;

use backup_core::backup::Request;
use backup_core::bundle::reader::Bundle;
use backup_core::{Context, ErrorContext, Result};

use crate::arguments::Command;
use crate::output::Output;

/// Runs a command to its exit code.
pub(crate) async fn run(command: Command, output: &Output, context: &Context) -> Result<ExitCode> {
    match command {
        Command::Backup(backup) => backup::run(backup, output, context).await,
        Command::Diff { bundle, other, config } => diff::run(&bundle, other, &config.config, output, context).await,
        Command::Drill(drill) => drill::run(&drill, output, context).await,
        Command::Restore(restore) => restore::run(restore, output, context).await,
        Command::List { directory } => list::run(&directory, output, context),
        Command::Show { bundle, entries } => show::run(&bundle, entries, output),
        Command::Verify { bundle } => verify::run(&bundle, output, context).await,
        Command::Extract { bundle, patterns, to } => extract::run(&bundle, &patterns, &to, output, context).await,
        Command::Check { config, to, database, release } => {
            let request = Request { to, databases: database, release, ..Request::default() };
            context.until_cancelled(check::run(&config.config, &request, output, context)).await
        }
        Command::Completions { shell } => shell::completions(shell, output),
        Command::Man => shell::manual(output),
    }
}

fn open(path: &Path) -> Result<Bundle<File>> {
    let file = backup_core::store::open_file(path)?;
    Bundle::open(file).context(|| format!("open {}", path.display()))
}
