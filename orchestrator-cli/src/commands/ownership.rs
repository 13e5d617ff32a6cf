//! `ownership`.

use std::process::ExitCode;
use std::sync::Arc;

use backup_core::cluster::hosts::{self, Record, ask_if_let_in};
use backup_core::encryption::Identities;
use backup_core::event::Event;
use backup_core::finding::{Finding, Severity};
use backup_core::ownership::{self, Claim, Cluster, Heard, Met, Standing, all_asked, not_asked, without_store};
use backup_core::settings::{self, Settings};
use backup_core::store::Store;
use backup_core::{Context, Error, Result};
use chrono::DateTime;
use serde_json::{Value, json};

use super::confirm::agreed;
use super::with;
use crate::arguments::{Claiming, Ownership};
use crate::exit;
use crate::human::plain;
use crate::known::known;
use crate::output::{Output, table};

pub(crate) async fn run(ownership: Ownership, output: &Output, context: &Context) -> Result<ExitCode> {
    match ownership {
        Ownership::Show { config, identities, reach } => {
            let settings = settings::load(&config.config, &known())?.reached_by(reach.ssh_port, context);
            let access = with(settings.backup.access.clone(), identities, context);
            let identities = Identities::read(&access.identities)?;
            context.until_cancelled(show(&settings, &identities, output, context)).await
        }
        Ownership::Claim(claiming) => change(Change::Claim, claiming, output, context).await,
        Ownership::Release(claiming) => change(Change::Release, claiming, output, context).await,
    }
}

/// What this machine knows, the stores say and the machines say that let us in; and the stores that did not answer.
async fn look(
    settings: &Settings,
    stores: &[Arc<dyn Store>],
    context: &Context,
) -> Result<(Standing, Vec<(String, Error)>)> {
    let mut standing =
        Standing::noted(Cluster::of(&settings.backup.cluster), &settings.backup.access.signing, context)?;
    let failed = standing.look_in_stores(stores).await;
    let names: Vec<String> = settings.backup.cluster.hosts().into_iter().map(Into::into).collect();
    if !names.is_empty() {
        context.phase(hosts::looking_at(&names));
    }
    let seen = hosts::look(&names, settings.backup.remote.login.port, context).await?;
    let record = Record::load(context)?;
    let answered = ask_if_let_in(&seen, &settings.backup.remote, record.as_ref(), context).await;
    let asked = answered.iter().filter(|(_, said)| said.is_ok()).count();
    if asked < names.len() {
        let message = format!("{asked} of {} could be asked", names.len());
        let finding = Finding::unknown("hosts-not-asked", "machines", message);
        context.observer.event(&Event::Finding(finding.hint("the others are down, or don't let us in over ssh")));
    }
    for (seen, said) in answered {
        if let Ok(Some(claim)) = said.map(|said| said.claim) {
            let foreign = standing.hear(&seen.host, &claim);
            foreign.iter().for_each(|finding| context.observer.event(&Event::Finding(finding.clone())));
        }
    }
    Ok((standing, failed))
}

async fn show(settings: &Settings, identities: &Identities, output: &Output, context: &Context) -> Result<ExitCode> {
    let mut stores = ownership::stores(&settings.backup.access, &[], context)?;
    let (standing, failed) = look(settings, &stores, context).await?;
    stores.retain(|store| !failed.iter().any(|(location, _)| *location == store.location()));
    let heard = ownership::heard(&stores, &standing.cluster.name, identities).await;
    let unseen = failed.iter().map(|(location, error)| not_asked(location, error).at_most(Severity::Warning));
    let unseen: Vec<Finding> = unseen.collect();
    unseen.iter().for_each(|finding| context.observer.event(&Event::Finding(finding.clone())));
    output.result("ownership", &as_json(&standing, heard.as_ref(), &unseen), &text(&standing, heard.as_ref()))?;
    Ok(exit::done(!unseen.is_empty() || standing.overtaking().is_some()))
}

fn text(standing: &Standing, heard: Option<&Heard>) -> String {
    let highest = standing.highest();
    let owner = match highest.map(|met| &met.claim) {
        None => "nobody has claimed it".to_owned(),
        Some(claim) if claim.released => format!("nobody; it was released by {claim}"),
        Some(claim) if standing.notes.is_own(claim) => format!("this machine: {claim}"),
        Some(claim) => claim.to_string(),
    };
    let here = if standing.owns() {
        "it owns the cluster".into()
    } else if standing.overtaking().is_some() {
        "it does not own the cluster: its backups and deploys refuse".into()
    } else {
        format!("it does not own the cluster; its first deploy takes epoch {}", standing.notes.epoch + 1)
    };
    let heard = heard.map_or_else(|| "never, as far as can be seen".into(), Heard::to_string);
    let mut text = format!(
        "{}, identity {}\nowner         {owner}\nlast heard of {heard}\nthis machine  {here}\n",
        standing.cluster.shown(),
        standing.notes.identity
    );
    if !standing.met.is_empty() {
        text.push('\n');
        let lines = table(&["SAYS", "EPOCH", "OWNER", "SINCE"], &[1], standing.met.iter().map(row));
        lines.iter().for_each(|line| text.push_str(&format!("{line}\n")));
    }
    plain(&text)
}

fn row(met: &Met) -> [String; 4] {
    let claim = &met.claim;
    let known = claim.since > DateTime::UNIX_EPOCH;
    let since = if known { claim.since.format("%F %T UTC").to_string() } else { "-".into() };
    let owner = if claim.released { format!("released by {}", claim.host) } else { claim.host.clone() };
    [met.place.clone(), claim.epoch.to_string(), owner, since]
}

fn as_json(standing: &Standing, heard: Option<&Heard>, unseen: &[Finding]) -> Value {
    let met = standing.met.iter().map(|met| json!({ "place": met.place, "claim": met.claim }));
    json!({
        "cluster": standing.cluster.name, "identity": standing.notes.identity, "epoch": standing.notes.epoch,
        "owns": standing.owns(), "overtaken": standing.overtaking().is_some(),
        "owner": standing.highest().map(|met| &met.claim).filter(|claim| !claim.released),
        "last_heard": heard, "met": met.collect::<Vec<_>>(), "findings": unseen,
    })
}

/// What becomes of the cluster.
#[derive(Clone, Copy, PartialEq)]
enum Change {
    Claim,
    Release,
}

async fn change(change: Change, claiming: Claiming, output: &Output, context: &Context) -> Result<ExitCode> {
    let settings = settings::load(&claiming.config.config, &known())?.reached_by(claiming.reach.ssh_port, context);
    let stores = ownership::stores(&settings.backup.access, &claiming.without_store, context)?;
    let (standing, failed) = context.until_cancelled(look(&settings, &stores, context)).await?;
    all_asked(failed, without_store)?;
    let missing = standing.without_claims(&stores);
    missing.iter().for_each(|finding| context.observer.event(&Event::Finding(finding.clone())));
    let claim = match change {
        Change::Claim => ownership::next(&standing, true, context)?,
        Change::Release => ownership::release(&standing, context)?,
    };
    let changes = standing.notes.claim.as_ref().is_none_or(|own| own.owner != claim.owner);
    if changes && !agreed(&plain(&question(change, &claim, &standing)), claiming.yes, output, context).await? {
        return output.stopped();
    }
    let warnings =
        ownership::take(&claim, &standing.cluster, &stores, &settings.backup.access.signing, context).await?;
    warnings.iter().for_each(|finding| context.observer.event(&Event::Finding(finding.clone())));
    let (state, then) = match change {
        Change::Claim => ("claimed", "belongs to this machine; those of the cluster learn of it with the next deploy"),
        Change::Release => {
            ("released", "belongs to nobody; restore its newest bundle where it is to go on, and deploy there")
        }
    };
    let text = format!("{} {then} (epoch {})\n", standing.cluster.shown(), claim.epoch);
    output.result("ownership", &json!({ "state": state, "claim": claim, "warnings": warnings }), &plain(&text))?;
    Ok(exit::done(!warnings.is_empty()))
}

fn question(change: Change, claim: &Claim, standing: &Standing) -> String {
    let (cluster, epoch) = (standing.cluster.shown(), claim.epoch);
    if change == Change::Release {
        return format!("This machine gives {cluster} up with epoch {epoch}: nobody owns it then.");
    }
    match standing.highest().map(|met| &met.claim).filter(|claim| !claim.released) {
        None => format!("This machine claims {cluster} with epoch {epoch}."),
        Some(owner) => format!(
            "This machine claims {cluster} with epoch {epoch}. It belongs to {owner}, whose backups and deploys refuse from then on."
        ),
    }
}
