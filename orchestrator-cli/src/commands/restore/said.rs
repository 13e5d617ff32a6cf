//! What `restore` says: its question, its plan, its result.

use std::path::Path;
use std::process::ExitCode;

use backup_core::component::Amount;
use backup_core::finding::{Severity, age};
use backup_core::restore::{self, Outcome, Stopped, Swap};
use backup_core::settings::DEFAULT_PATH;
use backup_core::{Context, Error, Kind, Result};
use serde_json::json;

use super::ending;
use crate::arguments::Restore;
use crate::output::{Output, with_count};
use crate::{exit, findings, human};

/// What is asked before anything that lives steps aside.
pub(super) fn question(swap: Option<&Swap>, aside: &[String], context: &Context) -> String {
    let mut text = String::new();
    if let Some(swap) = swap {
        let cluster = if swap.cluster.is_empty() {
            "a cluster without a name".into()
        } else {
            format!("cluster {}", swap.cluster)
        };
        let age = swap.state_of.map_or_else(
            || "of an unknown time".into(),
            |time| {
                let passed = context.now().signed_duration_since(time).to_std().unwrap_or_default();
                format!("{} old ({})", age(passed), time.format("%F %T UTC"))
            },
        );
        let server: String = swap.servers.iter().map(|server| format!("{server} and ")).collect();
        text.push_str(&format!(
            "{}, of {cluster}, {age}, is restored into {server}this machine, {}.\n",
            swap.bundle, context.environment.host
        ));
        if !swap.sessions.is_empty() {
            text.push_str(&format!("These sessions end: {}.\n", swap.sessions.join("; ")));
        }
    }
    let step = if aside.len() == 1 { "steps" } else { "step" };
    text.push_str(&format!("{} {step} aside.", aside.join(", ")));
    human::plain(&text)
}

/// What `--dry-run` says.
pub(super) fn plan(preflight: &restore::Preflight, output: &Output, context: &Context) -> Result<ExitCode> {
    let plan = preflight.plan();
    let steps = preflight.steps();
    let mut text: String = preflight.findings.iter().map(findings::finding).collect();
    for (number, step) in steps.iter().enumerate() {
        text.push_str(&format!("{:>3}. {step}\n", number + 1));
    }
    text.push_str(&match plan {
        Ok(_) => format!("nothing was changed; {} restores it\n", output.again("--dry-run")),
        Err(error) => format!("{}\n", with_count(&ending(&Stopped::after(error.kind(), context), false), error)),
    });
    let value = json!({ "findings": preflight.findings, "steps": steps, "plan": plan.ok() });
    output.result("restore-plan", &value, &text)?;
    match plan {
        Ok(_) => Ok(exit::done(preflight.findings.iter().any(|finding| finding.severity == Severity::Warning))),
        Err(error) => Ok(ExitCode::from(exit::of(error.kind()))),
    }
}

/// Prints what was done. Where that fails, it is done all the same.
pub(super) fn finished(outcome: &Outcome, arguments: &Restore, output: &Output) -> ExitCode {
    let warned = !outcome.warnings.is_empty();
    let state = if warned { "restored-with-warnings" } else { "restored" };
    let value = serde_json::to_value(outcome).map(|mut value| {
        value["state"] = state.into();
        value
    });
    let value = value.map_err(|cause| Error::new(Kind::Failed, "print the result").because(cause));
    match value.and_then(|value| output.result("restore", &value, &text(outcome, arguments))) {
        Ok(()) => exit::done(warned),
        Err(error) => output.fail_in_state(&error, state, "restored all the same"),
    }
}

fn text(outcome: &Outcome, arguments: &Restore) -> String {
    let mut text = String::new();
    for item in &outcome.items {
        let before =
            item.before.as_ref().map_or_else(String::new, |before| format!("; what was there before is {before}"));
        let amount = match item.amount {
            Amount::None => String::new(),
            Amount::Counted { count, unit, how } => format!(": {}, {how}", human::counted(count, unit)),
            Amount::Unknown(why) => format!(": {why}"),
        };
        text.push_str(&format!("{}{amount}{before}\n", human::plain(&item.name)));
    }
    outcome.also.iter().for_each(|also| text.push_str(&format!("{}\n", human::plain(also))));
    outcome.warnings.iter().for_each(|warning| text.push_str(&findings::finding(warning)));
    text.push_str(&match outcome.state_of {
        Some(time) => format!("This is the state of {}.\n", time.format("%F %T UTC")),
        None => "What time this is the state of, the script does not say.\n".into(),
    });
    if outcome.whole && outcome.foreign {
        text.push_str(&foreign(outcome));
    } else if outcome.whole {
        let deploy = deploy(outcome, arguments);
        text.push_str(&format!(
            "Whatever happened since is lost. Next: look at it, see `deploy --dry{deploy}`, then `deploy{deploy}` so that the agents \
             learn of this orchestrator, then retire the old machine, if it was another one.\n",
        ));
    }
    text.push_str(&format!("`restore --rollback {}` returns to what was there", outcome.argument));
    let aside = outcome.items.iter().any(|item| item.before.is_some());
    text.push_str(if aside { "; `restore cleanup` drops what stepped aside.\n" } else { ".\n" });
    let time = human::duration(std::time::Duration::try_from_secs_f64(outcome.seconds).unwrap_or_default());
    text.push_str(&match outcome.warnings.len() {
        0 => format!("restored in {time}\n"),
        count => format!("restored in {time}, with {}\n", human::counted(count as u64, "warning")),
    });
    text
}

/// What comes next where data of another cluster came to a machine whose settings may name its own `cluster.conf`.
fn foreign(outcome: &Outcome) -> String {
    let conf = outcome.cluster_conf.as_deref().map_or_else(String::new, |conf| {
        format!(", which is at {0} now; `deploy --dry -c {0}` shows its machines", human::shell_word(conf))
    });
    format!(
        "Whatever happened since is lost. Do not deploy yet: the data is another cluster's, and the settings may name this machine's \
         own cluster.conf. Only if this machine is to run that cluster, let them name that cluster's{conf}. If not, roll back.\n"
    )
}

/// What a deploy after it has to be told: the release, and the `cluster.conf` that came back where nobody has any settings.
fn deploy(outcome: &Outcome, arguments: &Restore) -> String {
    let mut said = String::new();
    if let Some(release) = &arguments.release {
        said.push_str(&format!(" --release {}", human::shell_word(Path::new(release))));
    }
    if let Some(conf) =
        outcome.cluster_conf.as_deref().filter(|_| arguments.config.is_none() && !Path::new(DEFAULT_PATH).exists())
    {
        said.push_str(&format!(" -c {}", human::shell_word(conf)));
    }
    said
}
