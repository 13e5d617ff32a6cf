//! `prune`.

use std::process::ExitCode;
use std::sync::Arc;

use backup_core::authenticity::Knowledge;
use backup_core::catalog::Cache;
use backup_core::encryption::Identities;
use backup_core::finding::{Finding, Severity};
use backup_core::ownership::{Cluster, Standing, all_asked, not_asked, refuse_if_overtaken};
use backup_core::retention::{Decision, Known, Needed, Pruning, Verdict};
use backup_core::runs::Runs;
use backup_core::store::{Store, blocking};
use backup_core::{Context, Error, Kind, Result};
use backup_core::{restore, settings};
use serde_json::{Value, json};

use super::confirm::agreed;
use super::{addresses, with};
use crate::arguments::Prune;
use crate::exit;
use crate::human::{counted, plain};
use crate::known::known;
use crate::output::{Output, flush_left, table};

/// A store and what becomes of its bundles.
type Judged = (Arc<dyn Store>, Verdict);

pub(crate) async fn run(prune: Prune, output: &Output, context: &Context) -> Result<ExitCode> {
    let settings = settings::load(&prune.config.config, &known())?;
    let Some(policy) = settings.backup.retention.clone() else {
        let error = Error::new(Kind::Usage, "prune: nothing says what is kept");
        return Err(error.hint("say it in [retention] of the settings, such as daily = 7"));
    };
    let access = with(settings.backup.access.clone(), prune.identities, context);
    let mut places = addresses(&prune.addresses)?;
    if places.is_empty() {
        places.extend(access.stores.iter().map(|store| store.address.clone()));
    }
    let mut stores = places.iter().map(|address| access.store(address.clone(), context)).collect::<Result<Vec<_>>>()?;
    let cluster = Cluster::of(&settings.backup.cluster);
    let pruning = Pruning {
        policy,
        cluster: cluster.name.clone(),
        identities: Identities::read(&access.identities)?,
        knowledge: Knowledge::of(&access.signing, context),
        only: None,
        known: Known {
            accepted: prune.accept,
            failed: if prune.after_failure { Vec::new() } else { Runs::failed(context)? },
            needed: Needed::of(restore::needed(context)),
        },
    };
    let standing = Standing::noted(cluster, &access.signing, context)?;
    let (_, failed) = context.until_cancelled(refuse_if_overtaken("prune", standing, &stores, context)).await?;
    // Of one that can't say who owns the cluster nothing is deleted; the others know that themselves.
    stores.retain(|store| !failed.iter().any(|(location, _)| *location == store.location()));
    let unasked: Vec<Finding> =
        failed.iter().map(|(location, error)| not_asked(location, error).at_most(Severity::Warning)).collect();
    if stores.is_empty() {
        all_asked(failed, |_| "see to that store".into())?;
    }
    output.found(&unasked);
    let mut judged: Vec<Judged> = Vec::new();
    for store in stores {
        let Some(address) = places.iter().find(|address| address.to_string() == store.location()) else { continue };
        let (now, cache) = (context.now(), Cache::of(address, context));
        let (pruning, looked) = (pruning.clone(), store.clone());
        let verdict = blocking(move || pruning.plan(&*looked, cache, now));
        judged.push((store, context.until_cancelled(verdict).await?));
    }
    let withheld: Vec<&Finding> = judged.iter().flat_map(|(_, verdict)| &verdict.withheld).collect();
    output.found(withheld.iter().copied());
    let doomed = judged.iter().flat_map(|(_, verdict)| &verdict.decisions).filter(|one| !one.kept).count();
    if prune.dry_run || doomed == 0 {
        let mut text = text(&judged);
        if prune.dry_run && doomed > 0 {
            text.push_str(&format!("nothing was deleted; {} does it\n", output.again("--dry-run")));
        }
        output.result("prune", &as_json(&judged, &[], &unasked), &text)?;
        return Ok(exit::done(!withheld.is_empty() || !unasked.is_empty()));
    }
    output.note(&text(&judged));
    let what = format!(
        "{} deleted for good.",
        if doomed == 1 { "1 bundle is".into() } else { format!("{doomed} bundles are") }
    );
    if !agreed(&what, prune.yes, output, context).await? {
        return output.stopped();
    }
    let (mut deleted, mut failed) = (Vec::new(), Vec::new());
    for (store, decision) in
        judged.iter().flat_map(|(store, verdict)| verdict.decisions.iter().map(move |one| (store, one)))
    {
        if decision.kept {
            continue;
        }
        let (pruning, place, file) = (pruning.clone(), store.clone(), decision.file.clone());
        match context.until_cancelled(blocking(move || pruning.remove(&*place, &file))).await {
            Ok(()) => deleted.push(decision.file.clone()),
            Err(error) if error.kind() == Kind::Interrupted => return Err(error),
            Err(error) => failed.push(Finding::warning_from_error("not-deleted", &decision.file, &error)),
        }
    }
    output.found(&failed);
    failed.extend(unasked);
    let done = format!("deleted {}\n", counted(deleted.len() as u64, "bundle"));
    output.result("prune", &as_json(&judged, &deleted, &failed), &done)?;
    Ok(exit::done(!withheld.is_empty() || !failed.is_empty()))
}

fn text(judged: &[Judged]) -> String {
    let mut text = String::new();
    for (store, verdict) in judged {
        let row = |one: &Decision| [one.file.clone(), if one.kept { "keep" } else { "delete" }.into(), plain(&one.why)];
        text.push_str(&format!("{}\n", plain(&store.location())));
        let lines = table(&["BUNDLE", "", "WHY"], &[], verdict.decisions.iter().map(row));
        text.push_str(&flush_left(&lines));
    }
    text
}

fn as_json(judged: &[Judged], deleted: &[String], failed: &[Finding]) -> Value {
    let stores = judged.iter().map(|(store, verdict)| {
        json!({ "store": store.location(), "decisions": verdict.decisions, "withheld": verdict.withheld })
    });
    json!({ "stores": stores.collect::<Vec<_>>(), "deleted": deleted, "failed": failed })
}
