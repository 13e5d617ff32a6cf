//! `completions` and `man`.

use std::path::Path;
use std::process::ExitCode;

use backup_core::{ErrorContext, Result};
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use serde_json::json;

use crate::arguments::Arguments;
use crate::output::Output;
use crate::{exit, human};

pub(crate) fn completions(shell: clap_complete::Shell, output: &Output) -> Result<ExitCode> {
    let mut command = Arguments::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    output.print(&String::from_utf8_lossy(&script)).map(|()| exit::done(false))
}

/// Prints the main page, or writes a page for every command into a directory.
pub(crate) fn manual(directory: Option<&Path>, output: &Output) -> Result<ExitCode> {
    let Some(directory) = directory else {
        let mut page = Vec::new();
        Man::new(Arguments::command()).render(&mut page).context(|| "print the manual page".into())?;
        return output.print(&String::from_utf8_lossy(&page)).map(|()| exit::done(false));
    };
    let mut command = Arguments::command().disable_help_subcommand(true);
    // The pages have the whole names of their commands after this.
    command.build();
    let mut pages = Vec::new();
    write(&command, directory, &mut pages)?;
    let text: String = pages.iter().map(|page| format!("{page}\n")).collect();
    output.result("man", &json!({ "pages": pages }), &text)?;
    Ok(exit::done(false))
}

/// Writes the page of a command, and those of the commands below it.
fn write(command: &Command, directory: &Path, pages: &mut Vec<String>) -> Result<()> {
    let page = Man::new(command.clone());
    let path = directory.join(page.get_filename());
    page.generate_to(directory).context(|| format!("write the manual page {}", path.display())).map_err(|error| {
        let hint = format!("the directory must exist: `mkdir -p {}`", human::shell_word(directory));
        if directory.is_dir() { error } else { error.hint(hint) }
    })?;
    pages.push(path.display().to_string());
    command.get_subcommands().try_for_each(|below| write(below, directory, pages))
}
