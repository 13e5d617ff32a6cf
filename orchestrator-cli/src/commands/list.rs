//! `list`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use backup_core::authenticity::Knowledge;
use backup_core::catalog::{self, Cache, Listed, Other};
use backup_core::encryption::Identities;
use backup_core::finding::{Finding, age};
use backup_core::store::{Access, Address, blocking};
use backup_core::{Context, Result, restore};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;

use super::stores;
use crate::arguments::Reading;
use crate::output::{self, Output};
use crate::{exit, findings, human};

pub(crate) async fn run(
    addresses: &[PathBuf],
    reading: Reading,
    output: &Output,
    context: &Context,
) -> Result<ExitCode> {
    let (access, addresses) = stores(reading, addresses, context)?;
    // An encrypted bundle is listed without its identity, too.
    let identities = Identities::read(&access.identities).unwrap_or_else(|error| {
        output.found([&Finding::from_error("no-identity", "identity", &error)]);
        Identities::default()
    });
    let (mut bundles, mut others, mut failed, mut notes) = (Vec::new(), Vec::new(), Vec::new(), String::new());
    let knowledge = Knowledge::of(&access.signing, context);
    let alone = addresses.len() == 1;
    let restored = restore::restored(context);
    for address in addresses {
        match one(&address, &access, &identities, &knowledge, context).await {
            Ok((listed, more)) => {
                let place = address.to_string();
                if listed.is_empty() {
                    notes.push_str(&format!("no bundles in {place}\n"));
                }
                notes.extend(under_other_names(&more, &place).iter().map(findings::finding));
                others.extend(more.into_iter().map(|bundle| OtherRow { store: place.clone(), bundle }));
                bundles.extend(listed.into_iter().map(|mut bundle| {
                    bundle.restored = restored.get(&bundle.name).copied();
                    Row { store: place.clone(), bundle }
                }));
            }
            Err(error) if alone => return Err(error),
            // The others may have what is looked for.
            Err(error) => {
                let finding = Finding::from_error("store-not-listed", address.to_string(), &error);
                notes.push_str(&findings::finding(&finding));
                failed.push(finding);
            }
        }
    }
    let doubtful = |row: &Row| {
        let bundle = &row.bundle;
        bundle.problem.is_some() || bundle.record_problem.is_some() || bundle.keep_problem.is_some()
    };
    let problem = !failed.is_empty() || bundles.iter().any(doubtful);
    // One bundle's copies stand together, in the order of the stores.
    bundles.sort_by_key(|row: &Row| row.bundle.created);
    let text = describe(&bundles, context.now()) + &notes;
    output.result("list", &json!({ "bundles": bundles, "others": others, "failed": failed }), &text)?;
    // A bundle that can't be opened is no backup, and whoever lists them should not overlook it.
    Ok(exit::done(problem))
}

/// A bundle, and the store that it is in.
#[derive(Serialize)]
struct Row {
    store: String,
    #[serde(flatten)]
    bundle: Listed,
}

/// A bundle under a name that no bundle has, and the store that it is in.
#[derive(Serialize)]
struct OtherRow {
    store: String,
    #[serde(flatten)]
    bundle: Other,
}

/// Nothing counts them, so whoever looks for a bundle is told of them.
fn under_other_names(others: &[Other], place: &str) -> Option<Finding> {
    let first = others.first()?;
    let message = match others.len() {
        1 => format!("{} is a bundle, {}, under a name that no bundle has", first.file, first.name),
        many => format!(
            "{many} files are bundles under names that no bundle has, such as {}, which is {}",
            first.file, first.name
        ),
    };
    let hint =
        "`status`, `drill` and [retention] pass them over; the commands show, verify and restore take them as they are";
    Some(Finding::info("other-names", place, message).hint(hint))
}

/// The bundles of one store, and those in it under other names.
async fn one(
    address: &Address,
    access: &Access,
    identities: &Identities,
    knowledge: &Knowledge,
    context: &Context,
) -> Result<(Vec<Listed>, Vec<Other>)> {
    let store = access.store(address.clone(), context)?;
    let (identities, knowledge) = (identities.clone(), knowledge.clone());
    let cache = Cache::of(address, context);
    let look = move || {
        let listed = catalog::list(&*store, &identities, &knowledge, cache)?;
        // What lies beside them is worth a word, and no reason to show none of them.
        Ok((listed, catalog::others(&*store, &identities).unwrap_or_default()))
    };
    blocking(look).await
}

/// One table of all stores.
fn describe(rows: &[Row], now: DateTime<Utc>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let header =
        ["BUNDLE", "STORE", "AGE", "SIZE", "ROWS", "CLUSTER", "RELEASE", "DATABASES", "ORIGIN", "DRILLED", "NOTE"];
    output::flush_left(&output::table(&header, &[3, 4], rows.iter().map(|row| cells(row, now))))
}

fn cells(Row { store, bundle }: &Row, now: DateTime<Utc>) -> [String; 11] {
    let known = |text: String| if bundle.opened { text } else { String::new() };
    [
        bundle.file.clone(),
        human::plain(store),
        since(bundle.created, now),
        human::bytes(bundle.length),
        known(human::count(bundle.facts.rows)),
        human::plain(bundle.facts.cluster.as_deref().unwrap_or_default()),
        human::plain(bundle.facts.release.as_deref().unwrap_or_default()),
        human::plain(&bundle.facts.databases.join(", ")),
        bundle.origin.short(),
        drilled(bundle, now),
        note(bundle, now),
    ]
}

/// How long ago something was, such as `3 days`.
fn since(time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    age(now.signed_duration_since(time).to_std().unwrap_or_default())
}

fn note(bundle: &Listed, now: DateTime<Utc>) -> String {
    let problem = bundle.problem.as_deref().map(|problem| {
        let label = if bundle.damaged { "DAMAGED" } else { "can't be read" };
        format!("{label}: {}", human::plain(problem))
    });
    let record = bundle.record_problem.as_deref();
    let record = record.map(|problem| format!("the record of its drill can't be read: {}", human::plain(problem)));
    let restored = bundle.restored.map(|time| format!("restored here {} ago", since(time, now)));
    let kept = bundle.why_kept(now).map(|why| human::plain(&why));
    let locked = bundle.locked_until.map(|time| format!("locked until {}", time.format("%F")));
    let warnings = (bundle.facts.warnings > 0).then(|| human::counted(bundle.facts.warnings as u64, "warning"));
    let encrypted = bundle.encrypted.then(|| "encrypted".to_owned());
    let partial = bundle.facts.partial.then(|| "some databases alone".to_owned());
    let others = &bundle.facts.components;
    let others = (!others.is_empty()).then(|| format!("with {}", human::plain(&others.join(", "))));
    let renamed = bundle.renamed().map(|name| format!("renamed: it is {}", human::plain(name)));
    [encrypted, partial, others, renamed, restored, kept, locked, warnings, record, problem]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ")
}

/// What the last drill has shown.
fn drilled(bundle: &Listed, now: DateTime<Utc>) -> String {
    let Some(drill) = &bundle.drill else { return "never".into() };
    // Whoever can write into the store can write a record.
    let whose = if bundle.drill_known { "" } else { ", says a record that nothing here knows" };
    let age = since(drill.time, now);
    if !drill.passed() {
        return format!("FAILED {age} ago{whose}");
    }
    let time = Duration::try_from_secs_f64(drill.seconds).unwrap_or_default();
    format!("in {}, {age} ago{whose}", human::duration(time))
}
