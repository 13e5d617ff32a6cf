//! `completions` and `man`.

use std::process::ExitCode;

use backup_core::{ErrorContext, Result};
use clap::CommandFactory;

use crate::arguments::Arguments;
use crate::exit;

pub(crate) fn completions(shell: clap_complete::Shell) -> ExitCode {
    let mut command = Arguments::command();
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, name, &mut std::io::stdout());
    exit::done(false)
}

pub(crate) fn manual() -> Result<ExitCode> {
    let page = clap_mangen::Man::new(Arguments::command());
    page.render(&mut std::io::stdout()).context(|| "print the manual page".into())?;
    Ok(exit::done(false))
}
