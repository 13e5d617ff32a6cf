//! `prune`.

use std::process::ExitCode;

use backup_core::finding::Finding;
use backup_core::ownership::Cluster;
use backup_core::prune::{self, Judged, Request};
use backup_core::retention::Decision;
use backup_core::{Context, Error, Kind, Result, settings};
use serde_json::{Value, json};

use super::confirm::agreed;
use super::{addresses, with};
use crate::arguments::Prune;
use crate::exit;
use crate::human::{counted, plain};
use crate::known::known;
use crate::output::{Output, flush_left, table};

pub(crate) async fn run(asked: Prune, output: &Output, context: &Context) -> Result<ExitCode> {
    let settings = settings::load(&asked.config.config, &known())?;
    let Some(policy) = settings.backup.retention.clone() else {
        let error = Error::new(Kind::Usage, "prune: nothing says what is kept");
        return Err(error.hint("say it in [retention] of the settings, such as daily = 7"));
    };
    let access = with(settings.backup.access.clone(), asked.identities, context);
    let request =
        Request { stores: addresses(&asked.addresses)?, accept: asked.accept, after_failure: asked.after_failure };
    let cluster = Cluster::of(&settings.backup.cluster);
    let doomed = prune::look(request, policy, cluster, &access, context).await?;
    output.found(&doomed.unasked);
    output.found(doomed.withheld());
    let warned = doomed.withheld().next().is_some() || !doomed.unasked.is_empty();
    let count = doomed.count();
    if asked.dry_run || count == 0 {
        let mut text = text(&doomed.judged);
        if asked.dry_run && count > 0 {
            text.push_str(&format!("nothing was deleted; {} does it\n", output.again("--dry-run")));
        }
        output.result("prune", &as_json(&doomed.judged, &[], &doomed.unasked), &text)?;
        return Ok(exit::done(warned));
    }
    output.note(&text(&doomed.judged));
    let what = match count {
        1 => "1 bundle is deleted for good.".into(),
        count => format!("{count} bundles are deleted for good."),
    };
    if !agreed(&what, asked.yes, output, context).await? {
        return output.stopped();
    }
    let mut deleted = doomed.delete(context).await?;
    output.found(&deleted.failed);
    let failed = !deleted.failed.is_empty();
    deleted.failed.extend(doomed.unasked.iter().cloned());
    let done = format!("deleted {}\n", counted(deleted.files.len() as u64, "bundle"));
    output.result("prune", &as_json(&doomed.judged, &deleted.files, &deleted.failed), &done)?;
    Ok(exit::done(warned || failed))
}

fn text(judged: &[Judged]) -> String {
    let mut text = String::new();
    for Judged { store, verdict } in judged {
        let row = |one: &Decision| [one.file.clone(), if one.kept { "keep" } else { "delete" }.into(), plain(&one.why)];
        text.push_str(&format!("{}\n", plain(&store.location())));
        let lines = table(&["BUNDLE", "", "WHY"], &[], verdict.decisions.iter().map(row));
        text.push_str(&flush_left(&lines));
    }
    text
}

fn as_json(judged: &[Judged], deleted: &[String], failed: &[Finding]) -> Value {
    let stores = judged.iter().map(|Judged { store, verdict }| {
        json!({ "store": store.location(), "decisions": verdict.decisions, "withheld": verdict.withheld })
    });
    json!({ "stores": stores.collect::<Vec<_>>(), "deleted": deleted, "failed": failed })
}
