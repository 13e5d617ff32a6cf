//! `cleanup`.

use std::process::ExitCode;
use std::sync::Arc;

use backup_core::finding::age;
use backup_core::store::{Leftover, Store, blocking};
use backup_core::{Context, Result};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::confirm::agreed;
use super::stores;
use crate::arguments::Cleanup;
use crate::exit;
use crate::output::Output;

pub(crate) async fn run(arguments: Cleanup, output: &Output, context: &Context) -> Result<ExitCode> {
    let Cleanup { addresses, older_than, dry_run, yes, reading } = arguments;
    let (access, addresses) = stores(reading, &addresses, context)?;
    let before = context.now() - TimeDelta::hours(older_than.into());
    let mut found = Vec::new();
    for address in addresses {
        let store = access.store(address, context)?;
        let looked = store.clone();
        let leftovers = blocking(move || looked.leftovers(before));
        let leftovers = context.until_cancelled(leftovers).await?;
        found.extend(leftovers.into_iter().map(|leftover| (store.clone(), leftover)));
    }
    let lines: Vec<String> = found.iter().map(|(store, leftover)| line(store, leftover, context.now())).collect();
    let nothing = format!("nothing was left more than {older_than} hours ago\n");
    if dry_run {
        let text: String = lines.iter().map(|line| format!("would delete {line}\n")).collect();
        let text = match lines.is_empty() {
            true => nothing,
            false => format!("{text}nothing was changed; {} does it\n", output.again("--dry-run")),
        };
        output.result("store-cleanup", &json!({ "deleted": [], "would_delete": lines }), &text)?;
        return Ok(exit::done(false));
    }
    if !found.is_empty() {
        let what = format!("{}\nAll of it is deleted; a backup that still writes there fails.", lines.join("\n"));
        if !agreed(&what, yes, output, context).await? {
            return output.stopped();
        }
    }
    for (store, leftover) in found {
        context.until_cancelled(blocking(move || store.remove_leftover(&leftover))).await?;
    }
    let text = match lines.is_empty() {
        true => nothing,
        false => lines.iter().map(|line| format!("deleted {line}\n")).collect(),
    };
    output.result("store-cleanup", &json!({ "deleted": lines }), &text)?;
    Ok(exit::done(false))
}

fn line(store: &Arc<dyn Store>, leftover: &Leftover, now: DateTime<Utc>) -> String {
    let begun = leftover.begun.map(|begun| now.signed_duration_since(begun).to_std().unwrap_or_default());
    let begun = begun.map_or_else(|| "nobody knows when".into(), |time| format!("{} ago", age(time)));
    format!("{}: {}, begun {begun}", store.location(), leftover.name)
}
