//! The ways back of `restore`, and their end: `--rollback`, `cleanup`, `cleanup --forget`.

use std::io::IsTerminal;
use std::process::ExitCode;

use backup_core::plan::Progress;
use backup_core::restore::Settings;
use backup_core::restore::{self, Current, RolledBack, WayBack};
use backup_core::{Context, Error, Kind, Result};
use serde_json::json;

use super::{named, when};
use crate::arguments::{Restore, RestoreCleanup};
use crate::commands::confirm::agreed;
use crate::exit;
use crate::human::plain;
use crate::output::Output;

pub(super) async fn rollback(
    arguments: &Restore,
    settings: &Settings,
    output: &Output,
    context: &Context,
) -> Result<ExitCode> {
    let current = restore::current(context)?;
    let plan = current.plan();
    output.note(&format!("roll back the restore of {}, begun {}\n", plan.bundle, when(&current)));
    // One that has begun was agreed to.
    let is_asked = current.has_swapped() && current.progress() != Progress::Undoing;
    if (is_asked || arguments.dry_run) && named(arguments).is_some_and(|path| !plan.is_of(path)) {
        let error = Error::new(Kind::Refused, format!("the last restore was of {}, and not of this one", plan.bundle));
        let hint = format!("only the last one can be rolled back: `restore --rollback {}`", plan.argument());
        return Err(error.hint(hint));
    }
    if arguments.dry_run {
        let back = context.until_cancelled(current.look_back(settings, context)).await?;
        return would(&current, &back, output);
    }
    if is_asked {
        let named = named(arguments).is_some();
        // It may not be the restore that somebody has in mind who only says yes.
        if (arguments.yes || !std::io::stdin().is_terminal()) && !named {
            let doing = format!("roll back the restore of {}: nothing says that this one is meant", plan.bundle);
            let error = Error::new(Kind::Refused, doing).because(lost(&current));
            let hint =
                format!("name it: `restore --rollback --yes {}`; the file itself is not needed", plan.argument());
            return Err(error.hint(hint));
        }
        if !arguments.yes {
            let back = context.until_cancelled(current.look_back(settings, context)).await?;
            if !agreed(&question(&current, &back), false, output, context).await? {
                return output.stopped();
            }
        }
    }
    let RolledBack { plan, warnings } = current.rollback(settings, context).await?;
    let text = format!("rolled back: everything is as it was before the restore of {}\n", plan.bundle);
    output.result(
        "rollback",
        &json!({ "bundle": plan.bundle, "state": "rolled-back", "warnings": warnings }),
        &text,
    )?;
    Ok(exit::done(!warnings.is_empty()))
}

/// What is gone with a rollback.
fn lost(current: &Current) -> String {
    let names = current.plan().brings().join(", ");
    format!("All that was written to {names} since {} is dropped with it.", when(current))
}

/// What is asked before what was restored is dropped again.
fn question(current: &Current, back: &WayBack) -> String {
    let mut text = format!("The rollback of the restore of {}:\n", current.plan().bundle);
    back.steps.iter().for_each(|step| text.push_str(&format!("  {step}\n")));
    if let Some(sessions) = &back.sessions {
        text.push_str(&format!("These sessions end: {sessions}.\n"));
    }
    plain(&format!("{text}{}", lost(current)))
}

/// What `--rollback --dry-run` says.
fn would(current: &Current, back: &WayBack, output: &Output) -> Result<ExitCode> {
    let mut text: String = back.steps.iter().map(|step| format!("{step}\n")).collect();
    if let Some(sessions) = &back.sessions {
        text.push_str(&format!("these sessions end: {sessions}\n"));
    }
    let argument = current.plan().argument();
    let text = plain(&format!("{text}nothing was changed; `restore --rollback {argument}` does it\n"));
    let value = json!({ "bundle": current.plan().bundle, "steps": back.steps, "sessions": back.sessions });
    output.result("rollback-plan", &value, &text)?;
    Ok(exit::done(false))
}

pub(super) async fn cleanup(
    arguments: &RestoreCleanup,
    settings: &Settings,
    output: &Output,
    context: &Context,
) -> Result<ExitCode> {
    let leftovers = restore::leftovers(settings, context).await?;
    let names = leftovers.names();
    let elsewhere: Vec<String> = leftovers.elsewhere().to_vec();
    let mut others = String::new();
    for other in &elsewhere {
        others.push_str(&format!(
            "{other}, was into another server: connect to that one, or forget it with `restore cleanup --forget`\n"
        ));
    }
    if arguments.dry_run {
        let mut text: String = names.iter().map(|name| format!("would drop {name}\n")).collect();
        if names.is_empty() {
            text.push_str("nothing has stepped aside\n");
        }
        text.push_str(&format!("{others}nothing was changed; {} does it\n", output.again("--dry-run")));
        output.result("cleanup", &json!({ "dropped": [], "would_drop": names, "elsewhere": elsewhere }), &text)?;
        return Ok(exit::done(false));
    }
    if !names.is_empty() {
        let what = format!("{} dropped for good; there is no rollback afterwards.", are(&names));
        if !agreed(&what, arguments.yes, output, context).await? {
            return output.stopped();
        }
    } else if leftovers.can_roll_back() {
        let what = "Nothing stepped aside in the last restore; after a clean-up it can't be rolled back any more.";
        if !agreed(what, arguments.yes, output, context).await? {
            return output.stopped();
        }
    }
    leftovers.drop_all(context).await?;
    let text = match names.is_empty() {
        true => "nothing had stepped aside\n".to_owned(),
        false => format!("dropped {}\n", names.join(", ")),
    };
    output.result("cleanup", &json!({ "dropped": names, "elsewhere": elsewhere }), &format!("{text}{others}"))?;
    Ok(exit::done(false))
}

/// Forgets restores whose server is gone.
pub(super) async fn forget(
    arguments: &RestoreCleanup,
    settings: &Settings,
    output: &Output,
    context: &Context,
) -> Result<ExitCode> {
    let gone = restore::gone(settings, context).await?;
    let restores: Vec<String> = gone.described().into_iter().map(Into::into).collect();
    if arguments.dry_run {
        let mut text: String = restores.iter().map(|restore| format!("would forget {restore}\n")).collect();
        text.push_str(&format!("nothing was changed; {} does it\n", output.again("--dry-run")));
        output.result("forget", &json!({ "forgotten": [], "would_forget": restores }), &text)?;
        return Ok(exit::done(false));
    }
    let what = format!(
        "{}.\nIt can neither be resumed nor rolled back afterwards; what it made stays where it is.",
        restores.join(";\n")
    );
    if !agreed(&what, arguments.yes, output, context).await? {
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
