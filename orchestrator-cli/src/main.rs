//! `orchestrator-cli`: backs up a control plane into one bundle that proves itself.

mod arguments;
mod commands;
mod environment;
mod exit;
mod findings;
mod human;
mod invocation;
mod known;
mod notify;
mod output;
mod picture;
mod progress;
mod report;
mod routine;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use backup_core::Context;
use clap::{CommandFactory as _, FromArgMatches as _};
use tokio::signal::unix::{SignalKind, signal};

use arguments::{Arguments, hosts_apart};
use invocation::Invocation;
use output::Output;
use progress::{Progress, ProgressStyle};

fn main() -> ExitCode {
    keep_own_files_open();
    keep_capabilities_to_ourselves();
    let words: Vec<PathBuf> = std::env::args_os().map(PathBuf::from).collect();
    let matches = Arguments::command().try_get_matches().unwrap_or_else(|error| refuse(&error, &words));
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let invocation = Arc::new(Invocation::of(&words, &matches));
    let progress = Arc::new(Progress::new(ProgressStyle::of(&arguments), invocation.clone()));
    let output = Output::new(&arguments, progress.clone(), invocation);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(cause) => {
            let error = backup_core::Error::new(backup_core::Kind::Failed, "start the program").because(cause);
            return output.fail(&error);
        }
    };
    let code = runtime.block_on(run(arguments, &output, progress));
    // Threads that still write find their work given up and remove what they began; a blocked pipe must not hold us.
    runtime.shutdown_timeout(Duration::from_secs(5));
    code
}

/// A umask may keep others from what is written, and not its owner: the next run has to read journals and notes.
fn keep_own_files_open() {
    let others = rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO;
    let mask = rustix::process::umask(others);
    rustix::process::umask(mask & others);
}

/// A unit gives us the right to send pings. No program that we start has use for it; threads are begun after this.
fn keep_capabilities_to_ourselves() {
    // Where there are none, or the system knows none, there is nothing to drop.
    let _ = rustix::thread::clear_ambient_capability_set();
}

/// Ends with what is wrong with the arguments, and a tip where that is a known slip.
fn refuse(error: &clap::Error, words: &[PathBuf]) -> ! {
    let words: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
    if let Some(tip) = hosts_apart(&words).filter(|_| error.use_stderr()) {
        let _ = error.print();
        let _ = writeln!(std::io::stderr(), "  hint: {tip}");
        std::process::exit(error.exit_code());
    }
    error.exit()
}

async fn run(arguments: Arguments, output: &Output, progress: Arc<Progress>) -> ExitCode {
    let mut context = Context::new(environment::capture());
    context.observer = progress;
    cancel_on_signals(&context);
    let result = commands::run(arguments.command, output, &context).await;
    match result {
        Ok(code) => code,
        Err(error) => output.fail(&error),
    }
}

/// The first signal asks the work to stop and clean up, the second one ends the process where it stands.
fn cancel_on_signals(context: &Context) {
    let mut kinds = vec![SignalKind::interrupt(), SignalKind::terminate()];
    // Under `nohup` the end of the session is to be ignored.
    if !is_ignored(SignalKind::hangup()) {
        kinds.push(SignalKind::hangup());
    }
    for kind in kinds {
        let cancel = context.cancel.clone();
        if let Ok(mut signals) = signal(kind) {
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    if cancel.is_cancelled() {
                        std::process::exit(exit::INTERRUPTED.into());
                    }
                    cancel.cancel();
                }
            });
        }
    }
}

/// Whether the process was started with this signal ignored, by the mask that Linux shows of it.
fn is_ignored(kind: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (kind.as_raw_value() - 1) & 1 == 1)
}
