//! One file a command.

mod backup;
mod check;
mod cleanup;
mod config;
mod confirm;
mod copy;
mod databases;
mod deploy;
mod diff;
mod drill;
mod extract;
mod keep;
mod key;
mod latest;
mod list;
mod nodes;
mod ownership;
mod prune;
mod restore;
mod schedule;
mod shell;
mod show;
mod ssh;
mod status;
mod verify;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use backup_core::backup::Request;
use backup_core::catalog::LATEST;
use backup_core::encryption::open_to_others;
use backup_core::event::Event;
use backup_core::restore::Settings;
use backup_core::store::{Access, Address};
use backup_core::{Context, Result, settings};

use crate::arguments::{Command, Identities, Key, Latest, Reading};
use crate::known::known;
use crate::output::Output;

/// Runs a command to its exit code.
pub(crate) async fn run(command: Command, output: &Output, context: &Context) -> Result<ExitCode> {
    match command {
        Command::Backup(backup) => backup::run(backup, output, context).await,
        Command::Databases(databases) => databases::run(databases, output, context).await,
        Command::Deploy(deploy) => deploy::run(deploy, output, context).await,
        Command::Diff { bundle, other, latest, rows, config, identities } => {
            let between = diff::Between { bundle, other, latest, rows, config: config.config, identities };
            context.until_cancelled(diff::run(between, output, context)).await
        }
        Command::Drill(drill) => drill::run(drill, output, context).await,
        Command::Nodes { query, config, reach } => {
            let settings = settings::load(&config.config, &known())?.reached_by(reach.ssh_port, context);
            context.until_cancelled(nodes::run(query.as_deref(), &settings, output, context)).await
        }
        Command::Ownership(ownership) => ownership::run(ownership, output, context).await,
        Command::Prune(prune) => prune::run(prune, output, context).await,
        Command::Schedule(schedule) => schedule::run(schedule, output, context).await,
        Command::Status(status) => status::run(status, output, context).await,
        Command::Ssh(ssh) => context.until_cancelled(ssh::run(ssh, output, context)).await,
        Command::Restore(restore) => restore::run(*restore, output, context).await,
        Command::List { addresses, reading } => {
            context.until_cancelled(list::run(&addresses, reading, output, context)).await
        }
        Command::Show { bundle, latest, entries, reading } => {
            let (bundle, access) = one(&bundle, &latest, reading, context).await?;
            context.until_cancelled(show::run(&bundle, entries, &access, output, context)).await
        }
        Command::Verify(asked) => verify::run(asked, output, context).await,
        Command::Copy(asked) => copy::run(asked, output, context).await,
        Command::Extract { bundle, latest, patterns, to, limit, reading } => {
            let (bundle, access) = one(&bundle, &latest, reading, context).await?;
            extract::run(&bundle, (&patterns, &to), &access.at_rate(limit.limit_rate), output, context).await
        }
        Command::Check { config, to, recipient: recipients, database: databases, release } => {
            let request = Request { to: addresses(&to)?, recipients, databases, release, ..Request::default() };
            context.until_cancelled(check::run(&config.config, &request, output, context)).await
        }
        Command::Config(command) => config::run(command, output, context).await,
        Command::Cleanup(cleanup) => cleanup::run(cleanup, output, context).await,
        Command::Keep(asked) => keep::run(asked, output, context).await,
        Command::Key(Key::Generate { file, signing }) => key::generate(&file, signing, output, context),
        Command::Completions { shell } => shell::completions(shell, output),
        Command::Man { directory } => shell::manual(directory.as_deref(), output),
    }
}

/// Reads addresses. The command line's parser would repeat a wrong one, and it may hold a password.
fn addresses(texts: &[PathBuf]) -> Result<Vec<Address>> {
    texts.iter().map(|text| Address::parse(text)).collect()
}

/// How bundles are reached, for a command that needs nothing else of the settings. What is on this machine can be read
/// whatever is wrong with them.
fn access(reading: Reading, named: &[&Path], context: &Context) -> Result<Access> {
    reached(reading, named, context).map(|settings| settings.access)
}

/// The same, with whatever else the settings say to those who read bundles.
fn reached(reading: Reading, named: &[&Path], context: &Context) -> Result<Settings> {
    let is_file = |path: &&Path| !Address::is_remote(&path.to_string_lossy()) && path.as_os_str() != LATEST;
    let here = named.iter().all(is_file);
    let settings = match settings::load_restore(reading.config.as_deref(), &known()) {
        Err(_) if here && reading.config.is_none() && !named.is_empty() => {
            Settings { access: Access { connector: known().stores, ..Access::default() }, ..Settings::default() }
        }
        loaded => loaded?,
    };
    Ok(Settings { access: with(settings.access, reading.identities, context), ..settings })
}

/// The one bundle that a command reads, and how it is reached.
async fn one(bundle: &Path, whose: &Latest, reading: Reading, context: &Context) -> Result<(PathBuf, Access)> {
    let settings = reached(reading, &[bundle], context)?;
    Ok((latest::meant(bundle, whose, &settings, context).await?, settings.access))
}

/// The stores that are named, or all that the settings know, and how they are reached.
fn stores(reading: Reading, texts: &[PathBuf], context: &Context) -> Result<(Access, Vec<Address>)> {
    let named: Vec<&Path> = texts.iter().map(PathBuf::as_path).collect();
    let access = access(reading, &named, context)?;
    let addresses = match texts.is_empty() {
        true => access.stores.iter().map(|store| store.address.clone()).collect(),
        false => addresses(texts)?,
    };
    Ok((access, addresses))
}

/// Identities of the command line stand beside those of the settings. Files of theirs that others can read are warned of.
fn with(mut access: Access, identities: Identities, context: &Context) -> Access {
    access.identities.extend(identities.files);
    for finding in open_to_others(&access.identities) {
        context.observer.event(&Event::Finding(finding));
    }
    access
}
