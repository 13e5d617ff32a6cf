//! `restore`.

mod said;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use backup_core::cluster::hosts::Allowed;
use backup_core::component::release::Origin;
use backup_core::event::Event;
use backup_core::plan::Progress;
use backup_core::restore::{self, Moved, Request};
use backup_core::settings::{self, RestoreSettings};
use backup_core::{Context, Error, Kind, Result};
use serde_json::json;

use super::confirm::agreed;
use super::with;
use crate::arguments::{Restore, RestoreCommand};
use crate::output::Output;
use crate::{exit, findings};

pub(crate) async fn run(arguments: Restore, output: &Output, context: &Context) -> Result<ExitCode> {
    let config = match &arguments.command {
        Some(RestoreCommand::Cleanup { config, .. }) => config,
        None => &arguments.config,
    };
    let identities = arguments.identities.clone();
    let settings = settings::load_restore(config.as_deref());
    let done = match settings.map(|settings| RestoreSettings { access: with(settings.access, identities), ..settings })
    {
        Ok(settings) => run_with(&arguments, &settings, output, context).await,
        Err(error) => Err(error),
    };
    Ok(done.unwrap_or_else(|error| {
        let (state, line) = match ending(error.kind(), context) {
            RESUME if error.is_lasting() => ROLL_BACK,
            ending => ending,
        };
        output.fail_in_state(&error, state, line)
    }))
}

async fn run_with(
    arguments: &Restore,
    settings: &RestoreSettings,
    output: &Output,
    context: &Context,
) -> Result<ExitCode> {
    match &arguments.command {
        Some(RestoreCommand::Cleanup { yes, forget: true, .. }) => forget(settings, *yes, output, context).await,
        Some(RestoreCommand::Cleanup { yes, .. }) => cleanup(settings, *yes, output, context).await,
        None if arguments.rollback => rollback(arguments, settings, output, context).await,
        None if arguments.resume => resume(arguments, settings, output, context).await,
        None => begin(arguments, settings, output, context).await,
    }
}

/// What a run that stopped half way needs next, for programs and as the last line for people.
type Unfinished = (&'static str, &'static str);

const RESUME: Unfinished =
    ("resumable", "unfinished: `restore --resume` goes on, `restore --rollback` returns to what was there");
/// Where the same would only fail again.
const ROLL_BACK: Unfinished = ("resumable", "unfinished: `restore --rollback` returns to what was there");
const ROLL_BACK_AGAIN: Unfinished = ("rollback-unfinished", "unfinished: `restore --rollback` goes on");
const CLEAN_UP_AGAIN: Unfinished = ("cleanup-unfinished", "unfinished: `restore cleanup` goes on");

/// What an error means for the databases. What is unfinished, the journal says.
pub(super) fn ending(kind: Kind, context: &Context) -> (&'static str, &'static str) {
    match kind {
        Kind::Unfinished => match restore::unfinished(context) {
            Ok(Some(Progress::Undoing)) => ROLL_BACK_AGAIN,
            Ok(None) => CLEAN_UP_AGAIN,
            Ok(Some(_)) | Err(_) => RESUME,
        },
        Kind::Interrupted => ("failed-and-unchanged", "interrupted: nothing was changed"),
        Kind::Failed => ("failed-and-unchanged", "failed: nothing was changed"),
        _ => ("refused", "refused: nothing was changed"),
    }
}

async fn begin(
    arguments: &Restore,
    settings: &RestoreSettings,
    output: &Output,
    context: &Context,
) -> Result<ExitCode> {
    let Some(file) = named(arguments).map(Into::into) else {
        let error = Error::new(Kind::Usage, "restore: no bundle is named");
        return Err(error.hint("name one with --file; `list` shows those that there are"));
    };
    let here = |path: &PathBuf| path.exists() || path.to_string_lossy().contains("://");
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
        ssh_port: arguments.reach.ssh_port,
    };
    if arguments.dry_run {
        let preflight = context.until_cancelled(async { Ok(restore::look(&request, settings, context).await) }).await?;
        return said::plan(&preflight, output, context);
    }
    let prepared = context.until_cancelled(restore::prepare(&request, settings, context)).await?;
    let found = &prepared.preflight.findings;
    output.note(&found.iter().map(findings::finding).collect::<String>());
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

async fn resume(
    arguments: &Restore,
    settings: &RestoreSettings,
    output: &Output,
    context: &Context,
) -> Result<ExitCode> {
    let current = restore::current(context)?;
    let complete = if current.progress() == Progress::Applied { "; it was complete already" } else { "" };
    output.note(&format!("resume the restore of {}, begun {}{complete}\n", current.plan().bundle, when(&current)));
    let moved = Moved {
        file: named(arguments),
        cluster_conf: arguments.cluster_conf.as_deref(),
        accept_missing: &arguments.accept_missing,
    };
    Ok(said::finished(&current.resume(moved, settings, context).await?, arguments, output))
}

async fn rollback(
    arguments: &Restore,
    settings: &RestoreSettings,
    output: &Output,
    context: &Context,
) -> Result<ExitCode> {
    let current = restore::current(context)?;
    output.note(&format!("roll back the restore of {}, begun {}\n", current.plan().bundle, when(&current)));
    // One that has begun was agreed to.
    if current.has_swapped() && current.progress() != Progress::Undoing {
        let plan = current.plan();
        // It may not be the restore that somebody has in mind who only says yes.
        let other = named(arguments).is_some_and(|path| !plan.is_of(path));
        let named = named(arguments).is_some() && !other;
        if other {
            let error =
                Error::new(Kind::Refused, format!("the last restore was of {}, and not of this one", plan.bundle));
            let hint = format!("only the last one can be rolled back: `restore --rollback {}`", plan.argument());
            return Err(error.hint(hint));
        }
        let databases = plan.databases.iter().map(|planned| planned.names.name.clone());
        let files = plan.files.iter().map(|file| file.place.display().to_string());
        let names = databases.chain(files).collect::<Vec<_>>().join(", ");
        let what = format!("All that was written to {names} since {} is dropped with it.", when(&current));
        if (arguments.yes || !std::io::stdin().is_terminal()) && !named {
            let error = Error::new(Kind::Refused, "roll back a restore that has changed what is live").because(what);
            let hint =
                format!("name it: `restore --rollback --yes {}`; the file itself is not needed", plan.argument());
            return Err(error.hint(hint));
        }
        if !agreed(&what, arguments.yes, output, context).await? {
            return output.stopped();
        }
    }
    let plan = current.rollback(settings, context).await?;
    let text = format!("rolled back: everything is as it was before the restore of {}\n", plan.bundle);
    output.result("rollback", &json!({ "bundle": plan.bundle, "state": "rolled-back" }), &text)?;
    Ok(exit::done(false))
}

async fn cleanup(settings: &RestoreSettings, yes: bool, output: &Output, context: &Context) -> Result<ExitCode> {
    let leftovers = restore::leftovers(settings, context).await?;
    let names = leftovers.names();
    if !names.is_empty() {
        let what = format!("{} dropped for good; there is no rollback afterwards.", are(&names));
        if !agreed(&what, yes, output, context).await? {
            return output.stopped();
        }
    } else if leftovers.can_roll_back() {
        let what = "Nothing stepped aside in the last restore; after a clean-up it can't be rolled back any more.";
        if !agreed(what, yes, output, context).await? {
            return output.stopped();
        }
    }
    let elsewhere: Vec<String> = leftovers.elsewhere().to_vec();
    leftovers.drop_all(context).await?;
    let mut text = match names.is_empty() {
        true => "nothing had stepped aside\n".to_owned(),
        false => format!("dropped {}\n", names.join(", ")),
    };
    for other in &elsewhere {
        text.push_str(&format!(
            "{other}, was into another server: connect to that one, or forget it with `restore cleanup --forget`\n"
        ));
    }
    output.result("cleanup", &json!({ "dropped": names, "elsewhere": elsewhere }), &text)?;
    Ok(exit::done(false))
}

/// Forgets restores whose server is gone.
async fn forget(settings: &RestoreSettings, yes: bool, output: &Output, context: &Context) -> Result<ExitCode> {
    let gone = restore::gone(settings, context).await?;
    let restores: Vec<String> = gone.described().into_iter().map(Into::into).collect();
    let what = format!(
        "{}.\nIt can neither be resumed nor rolled back afterwards; what it made stays where it is.",
        restores.join(";\n")
    );
    if !agreed(&what, yes, output, context).await? {
        return output.stopped();
    }
    gone.forget()?;
    let text: String = restores.iter().map(|restore| format!("forgotten: {restore}\n")).collect();
    output.result("forget", &json!({ "forgotten": restores }), &text)?;
    Ok(exit::done(false))
}

fn are(names: &[String]) -> String {
    format!("{} {}", names.join(", "), if names.len() == 1 { "is" } else { "are" })
}

fn when(current: &restore::Current) -> String {
    current.created().format("%F %T UTC").to_string()
}

/// What is to be restored, gone on with or taken back.
fn named(arguments: &Restore) -> Option<&Path> {
    [&arguments.bundle, &arguments.file, &arguments.sql].into_iter().flatten().next().map(PathBuf::as_path)
}
