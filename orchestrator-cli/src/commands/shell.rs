//! `completions` and `man`.

use std::process::ExitCode;

use backup_core::{ErrorContext, Result};
use clap::CommandFactory;

use crate::arguments::Arguments;
use crate::exit;
use crate::output::Output;

pub(crate) fn completions(shell: clap_complete::Shell, output: &Output) -> Result<ExitCode> {
    let mut command = Arguments::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    output.print(&String::from_utf8_lossy(&script)).map(|()| exit::done(false))
}

pub(crate) fn manual(output: &Output) -> Result<ExitCode> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Arguments::command()).render(&mut page).context(|| "print the manual page".into())?;
    output.print(&String::from_utf8_lossy(&page)).map(|()| exit::done(false))
}
