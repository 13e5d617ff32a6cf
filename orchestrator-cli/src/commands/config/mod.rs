//! `config`: settings that are made, and settings that are read.

mod ask;
mod check;
mod init;
mod machine;

use std::process::ExitCode;

use backup_core::{Context, Result};

use crate::arguments::ConfigCommand;
use crate::output::Output;

pub(crate) async fn run(command: ConfigCommand, output: &Output, context: &Context) -> Result<ExitCode> {
    match command {
        ConfigCommand::Check { config } => check::run(&config.config, output, context),
        ConfigCommand::Init(init) => context.until_cancelled(init::run(&init, output, context)).await,
    }
}
