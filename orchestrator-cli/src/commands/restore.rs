//! `restore`.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use backup_core::cluster::hosts::Allowed;
use backup_core::component::release::Origin;
use backup_core::event::Event;
use backup_core::finding::Severity;
use backup_core::plan::Progress;
use backup_core::restore::{self, Moved, Outcome, Request};
use backup_core::settings::{self, RestoreSettings};
use backup_core::{Context, Error, Kind, Result};
use serde_json::json;

use super::confirm::confirm;
use super::with;
use crate::arguments::{Restore, RestoreCommand};
use crate::output::Output;
use crate::{exit, findings, human};

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
fn ending(kind: Kind, context: &Context) -> (&'static str, &'static str) {
    match kind {
        Kind::Unfinished => match restore::unfinished(context) {
            Ok(Some(Progress::Undoing)) => ROLL_BACK_AGAIN,
            Ok(None) => CLEAN_UP_AGAIN,
            Ok(Some(_)) | Err(_) => RESUME,
        },
        Kind::Failed | Kind::Interrupted => ("failed-and-unchanged", "failed: nothing was changed"),
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
        return Err(error.hint("name one with --file; `list` shows those there are"));
    };
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
    };
    if arguments.dry_run {
        let preflight = context.until_cancelled(async { Ok(restore::look(&request, settings, context).await) }).await?;
        return plan(&preflight, output, context);
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
            let step = if aside.len() == 1 { "steps" } else { "step" };
            let what = format!("{} {step} aside; sessions in databases are ended then.", aside.join(", "));
            confirm(&what, arguments.yes, output, context).await?;
        }
    }
    Ok(finished(&prepared.apply(context).await?, output))
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
    Ok(finished(&current.resume(moved, settings, context).await?, output))
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
        confirm(&what, arguments.yes, output, context).await?;
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
        confirm(&what, yes, output, context).await?;
    } else if leftovers.can_roll_back() {
        let what = "Nothing stepped aside in the last restore; after a clean-up it can't be rolled back any more.";
        confirm(what, yes, output, context).await?;
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
    confirm(&what, yes, output, context).await?;
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

/// What `--dry-run` says.
fn plan(preflight: &restore::Preflight, output: &Output, context: &Context) -> Result<ExitCode> {
    let plan = preflight.plan();
    let steps = preflight.steps();
    let mut text: String = preflight.findings.iter().map(findings::finding).collect();
    for (number, step) in steps.iter().enumerate() {
        text.push_str(&format!("{:>3}. {step}\n", number + 1));
    }
    text.push_str(match plan {
        Ok(_) => "nothing was changed",
        Err(error) => ending(error.kind(), context).1,
    });
    text.push('\n');
    let value = json!({ "findings": preflight.findings, "steps": steps, "plan": plan.ok() });
    output.result("restore-plan", &value, &text)?;
    match plan {
        Ok(_) => Ok(exit::done(preflight.findings.iter().any(|finding| finding.severity == Severity::Warning))),
        Err(error) => Ok(ExitCode::from(exit::of(error.kind()))),
    }
}

/// Prints what was done. Where that fails, it is done all the same.
fn finished(outcome: &Outcome, output: &Output) -> ExitCode {
    let warned = !outcome.warnings.is_empty();
    let state = if warned { "restored-with-warnings" } else { "restored" };
    let value = serde_json::to_value(outcome).map(|mut value| {
        value["state"] = state.into();
        value
    });
    let value = value.map_err(|cause| Error::new(Kind::Failed, "print the result").because(cause));
    match value.and_then(|value| output.result("restore", &value, &text(outcome))) {
        Ok(()) => exit::done(warned),
        Err(error) => output.fail_in_state(&error, state, "restored all the same"),
    }
}

fn text(outcome: &Outcome) -> String {
    let mut text = String::new();
    for database in &outcome.databases {
        let before = match &database.before {
            Some(before) => format!("; what was there before is {before}"),
            None => String::new(),
        };
        let rows = match database.rows {
            Some(rows) => format!("{}, each table's counted", human::counted(rows, "row")),
            None => "its rows are not counted".into(),
        };
        text.push_str(&format!("database {}: {rows}{before}\n", human::plain(&database.name)));
    }
    for file in &outcome.files {
        let before = match &file.before {
            Some(before) => format!("; what was there before is {}", before.display()),
            None => String::new(),
        };
        text.push_str(&format!("{}{before}\n", human::plain(&file.place.display().to_string())));
    }
    if !outcome.roles.is_empty() {
        text.push_str(&format!("roles made: {}\n", human::plain(&outcome.roles.join(", "))));
    }
    outcome.warnings.iter().for_each(|warning| text.push_str(&findings::finding(warning)));
    text.push_str(&match outcome.state_of {
        Some(time) => format!("This is the state of {}.\n", time.format("%F %T UTC")),
        None => "What time this is the state of, the script does not say.\n".into(),
    });
    // A script's cluster.conf may lie in its place already.
    if !outcome.databases.is_empty() && (!outcome.files.is_empty() || outcome.state_of.is_none()) {
        text.push_str(
            "Whatever happened since is lost. Next: look at it, deploy with --dry, then deploy so that the agents learn of this \
             orchestrator, then retire the old one.\n",
        );
    }
    text.push_str(&format!("`restore --rollback {}` returns to what was there", outcome.argument));
    let aside = outcome.databases.iter().any(|database| database.before.is_some())
        || outcome.files.iter().any(|file| file.before.is_some());
    text.push_str(if aside { "; `restore cleanup` drops what stepped aside.\n" } else { ".\n" });
    let time = human::duration(std::time::Duration::try_from_secs_f64(outcome.seconds).unwrap_or_default());
    text.push_str(&match outcome.warnings.len() {
        0 => format!("restored in {time}\n"),
        count => format!("restored in {time}, with {}\n", human::counted(count as u64, "warning")),
    });
    text
}
