//! `restore`.

mod back;
mod said;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use backup_core::catalog::LATEST;
use backup_core::cluster::hosts::Allowed;
use backup_core::component::control_plane::Origin;
use backup_core::event::Event;
use backup_core::finding::{Finding, Severity};
use backup_core::plan::Progress;
use backup_core::restore::Settings;
use backup_core::restore::{self, Moved, Request, Stopped};
use backup_core::settings;
use backup_core::store::Address;
use backup_core::{Context, Error, Kind, Result};

use super::confirm::agreed;
use super::latest::meant;
use super::with;
use crate::arguments::{Restore, RestoreCommand};
use crate::known::known;
use crate::output::Output;

pub(crate) async fn run(arguments: Restore, output: &Output, context: &Context) -> Result<ExitCode> {
    let config = match &arguments.command {
        Some(RestoreCommand::Cleanup(cleanup)) => &cleanup.config,
        None => &arguments.config,
    };
    let identities = arguments.identities.clone();
    let settings = settings::load_restore(config.as_deref(), &known());
    let reached = |settings: Settings| {
        let access = with(settings.access, identities, context).at_rate(arguments.limit.limit_rate);
        Settings { access, ..settings }
    };
    let done = match settings.map(reached) {
        Ok(settings) => run_with(&arguments, &settings, output, context).await,
        Err(error) => Err(error),
    };
    Ok(done.unwrap_or_else(|error| {
        let stopped = Stopped::after(error.kind(), context);
        output.fail_in_state(&error, stopped.state(), &ending(&stopped, error.is_lasting()))
    }))
}

async fn run_with(arguments: &Restore, settings: &Settings, output: &Output, context: &Context) -> Result<ExitCode> {
    match &arguments.command {
        Some(RestoreCommand::Cleanup(cleanup)) if cleanup.forget => {
            back::forget(cleanup, settings, output, context).await
        }
        Some(RestoreCommand::Cleanup(cleanup)) => back::cleanup(cleanup, settings, output, context).await,
        None if arguments.rollback => back::rollback(arguments, settings, output, context).await,
        None if arguments.resume => resume(arguments, settings, output, context).await,
        None => begin(arguments, settings, output, context).await,
    }
}

/// What an error means, as the last line for people; what is `lasting` would only fail again.
pub(super) fn ending(stopped: &Stopped, lasting: bool) -> String {
    match stopped {
        Stopped::Refused => "refused: nothing was changed".into(),
        Stopped::Failed => "failed: nothing was changed".into(),
        Stopped::Interrupted => "interrupted: nothing was changed".into(),
        Stopped::RollbackUnfinished => "unfinished: `restore --rollback` goes on".into(),
        Stopped::CleanupUnfinished => "unfinished: `restore cleanup` goes on".into(),
        Stopped::Resumable(argument) => {
            let back = match argument {
                Some(argument) => format!("`restore --rollback {argument}` returns to what was there"),
                None => "`restore --rollback` returns to what was there".into(),
            };
            let resume = if lasting { "" } else { "`restore --resume` goes on, " };
            format!("unfinished: {resume}{back}")
        }
    }
}

async fn begin(arguments: &Restore, settings: &Settings, output: &Output, context: &Context) -> Result<ExitCode> {
    let Some(file) = named(arguments) else {
        let error = Error::new(Kind::Usage, "restore: no bundle is named");
        return Err(
            error.hint("name one with --file, or take the newest with --latest; `list` shows those that there are")
        );
    };
    let file = match &arguments.sql {
        Some(script) => script.clone(),
        None => meant(file, &arguments.whose, settings, context).await?,
    };
    let here = |path: &PathBuf| path.exists() || Address::is_remote(&path.to_string_lossy());
    let named_hosts = [&arguments.allow_unreachable, &arguments.accept_host_key].into_iter().flatten().next();
    if let (Some(bundle), Some(host)) = (arguments.bundle.as_ref().filter(|bundle| !here(bundle)), named_hosts) {
        let error = Error::new(Kind::Usage, format!("restore: {} is no bundle", bundle.display()));
        let hint = "several hosts have commas between them";
        return Err(error.hint(format!("{hint}: {host},{}; name the bundle with --file", bundle.display())));
    }
    if arguments.sql.is_some() && arguments.cluster_conf.is_none() {
        let error = Error::new(Kind::Usage, "restore: --sql needs --cluster-conf");
        return Err(error.hint("name the cluster.conf that was copied together with the script"));
    }
    let request = Request {
        file,
        cluster_conf: arguments.cluster_conf.clone(),
        only: arguments.only.map(Into::into),
        root: arguments.root.clone(),
        databases: arguments.database.clone(),
        jobs: arguments.jobs.map(usize::from),
        accept_missing: arguments.accept_missing.clone(),
        release: arguments.release.clone().map(Origin::Given),
        allowed: Allowed {
            unreachable: arguments.allow_unreachable.clone(),
            host_key: arguments.accept_host_key.clone(),
        },
        accept_cluster: arguments.accept_cluster.clone(),
        allow_superuser: arguments.allow_superuser.clone(),
        allow_old_clients: arguments.allow_old_clients,
        ssh_port: arguments.reach.ssh_port,
    };
    if arguments.dry_run {
        let preflight = context.until_cancelled(async { Ok(restore::look(&request, settings, context).await) }).await?;
        return said::plan(&preflight, output, context);
    }
    let prepared = context.until_cancelled(restore::prepare(&request, settings, context)).await?;
    let found = &prepared.preflight.findings;
    // One error alone is said at the end.
    let errors = found.iter().filter(|finding| finding.severity == Severity::Error).count();
    let said_later = |finding: &&Finding| output.is_quiet() && errors == 1 && finding.severity == Severity::Error;
    output.found(found.iter().filter(|finding| !said_later(finding)));
    if output.is_json() {
        found.iter().for_each(|finding| context.observer.event(&Event::Finding(finding.clone())));
    }
    if let Ok(plan) = prepared.preflight.plan() {
        let aside: Vec<String> = plan.stepping_aside().into_iter().map(|(name, _)| name).collect();
        if !aside.is_empty() {
            let what = said::question(prepared.preflight.swap.as_ref(), &aside, context);
            if !agreed(&what, arguments.yes, output, context).await? {
                return output.stopped();
            }
        }
    }
    Ok(said::finished(&prepared.apply(context).await?, arguments, output))
}

async fn resume(arguments: &Restore, settings: &Settings, output: &Output, context: &Context) -> Result<ExitCode> {
    let current = restore::current(context)?;
    current.check_unfinished()?;
    let complete = if current.progress() == Progress::Applied { "; it was complete already" } else { "" };
    output.note(&format!("resume the restore of {}, begun {}{complete}\n", current.plan().bundle, when(&current)));
    let moved = Moved {
        file: named(arguments),
        cluster_conf: arguments.cluster_conf.as_deref(),
        accept_missing: &arguments.accept_missing,
    };
    Ok(said::finished(&current.resume(moved, settings, context).await?, arguments, output))
}

fn when(current: &restore::Current) -> String {
    current.created().format("%F %T UTC").to_string()
}

/// What is to be restored, gone on with or taken back.
fn named(arguments: &Restore) -> Option<&Path> {
    let paths = [&arguments.bundle, &arguments.file, &arguments.sql].into_iter().flatten();
    paths.map(PathBuf::as_path).next().or_else(|| arguments.latest.then(|| Path::new(LATEST)))
}
