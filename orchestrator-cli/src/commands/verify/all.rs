//! `verify --all`.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use backup_core::authenticity::Knowledge;
use backup_core::catalog::{Checked, Checking};
use backup_core::encryption::Identities;
use backup_core::event::Meter;
use backup_core::finding::Finding;
use backup_core::names::FileName;
use backup_core::store::{Access, Address, Store, Stored, blocking, file_in};
use backup_core::{Context, Error, Kind, Result};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;

use super::with_progress;
use crate::output::Output;
use crate::{exit, findings, human};

/// A bundle of a store.
struct Found {
    place: String,
    store: Arc<dyn Store>,
    name: FileName,
    length: u64,
}

/// What was found of a bundle, as programs read it.
#[derive(Serialize)]
struct Row {
    store: String,
    file: String,
    created: DateTime<Utc>,
    length: u64,
    #[serde(flatten)]
    checked: Checked,
}

/// Verifies the bundles of stores, of those that were begun since a moment, if one is given.
pub(super) async fn run(
    (addresses, since): (Vec<Address>, Option<DateTime<Utc>>),
    access: &Access,
    output: &Output,
    context: &Context,
) -> Result<ExitCode> {
    let begun = Instant::now();
    // Bundles that are not encrypted are verified without any identity, too.
    let identities = Identities::read(&access.identities).unwrap_or_else(|error| {
        output.found([&Finding::from_error("no-identity", "identity", &error)]);
        Identities::default()
    });
    let (found, failed) = look(addresses, since, access, context).await?;
    let meter = Arc::new(Meter::default());
    meter.total.store(found.iter().map(|bundle| bundle.length).sum(), Relaxed);
    let (of, mut passed, mut rows) = (found.len(), 0, Vec::with_capacity(found.len()));
    let knowledge = Knowledge::of(&access.signing, context);
    for (index, bundle) in found.into_iter().enumerate() {
        context.phase(format!("verify {} ({} of {of})", bundle.shown(), index + 1));
        let work = {
            let (store, name) = (bundle.store.clone(), bundle.name.clone());
            let (identities, knowledge) = (identities.clone(), knowledge.clone());
            let (context, meter) = (context.clone(), meter.clone());
            tokio::task::spawn_blocking(move || {
                let checking =
                    Checking { identities: &identities, knowledge: &knowledge, context: &context, meter: &meter };
                checking.bundle(&*store, &name)
            })
        };
        let checked = with_progress(work, &meter, context).await?;
        // A bundle that was not read to its end is done with, too.
        passed += bundle.length;
        meter.written.fetch_max(passed, Relaxed);
        rows.push(bundle.into_row(checked));
    }
    let mut text: String = rows.iter().map(Row::text).collect();
    text.extend(failed.iter().map(findings::finding));
    text.push_str(&format!("{}, in {}\n", summary(&rows, since), human::duration(begun.elapsed())));
    let code = code(&rows, &failed);
    let sound = !rows.is_empty() && code == exit::DONE;
    output.result("verify-all", &json!({ "sound": sound, "bundles": rows, "failed": failed }), &text)?;
    Ok(ExitCode::from(code))
}

/// The bundles of all stores, and the stores that could not be listed.
async fn look(
    addresses: Vec<Address>,
    since: Option<DateTime<Utc>>,
    access: &Access,
    context: &Context,
) -> Result<(Vec<Found>, Vec<Finding>)> {
    let (mut found, mut failed, mut first, mut listed) = (Vec::new(), Vec::new(), None, false);
    for address in addresses {
        let place = address.to_string();
        context.phase(format!("list {place}"));
        let store = access.store(address, context);
        let bundles = match store {
            Ok(store) => {
                let looked = store.clone();
                let bundles = context.until_cancelled(blocking(move || looked.list())).await;
                bundles.map(|bundles| (store, bundles))
            }
            Err(error) => Err(error),
        };
        match bundles {
            Ok((store, bundles)) => {
                listed = true;
                let young = |bundle: &Stored| since.is_none_or(|since| bundle.name.bundle.time() >= since);
                let young = bundles.into_iter().filter(young);
                found.extend(young.map(|Stored { name, length, .. }| Found {
                    place: place.clone(),
                    store: store.clone(),
                    name,
                    length,
                }));
            }
            Err(error) if error.kind() == Kind::Interrupted => return Err(error),
            // The bundles of the others are verified all the same.
            Err(error) => {
                failed.push(Finding::from_error("store-not-listed", place, &error));
                first.get_or_insert(error);
            }
        }
    }
    match first.filter(|_| !listed) {
        Some(error) => Err(Error::first_of(error, failed.len())),
        None => Ok((found, failed)),
    }
}

impl Found {
    /// What `verify` takes for it.
    fn shown(&self) -> String {
        file_in(&self.place, &self.name.to_string())
    }

    fn into_row(self, checked: Checked) -> Row {
        let (file, created) = (self.name.to_string(), self.name.bundle.time());
        Row { store: self.place, file, created, length: self.length, checked }
    }
}

impl Row {
    /// A line, and another one for each damage.
    fn text(&self) -> String {
        let (mut text, more) = match &self.checked {
            Checked::Sound(origin) => (origin.of_bytes(), String::new()),
            Checked::Damaged { damage } => {
                ("DAMAGED, do not rely on it".into(), damage.iter().map(findings::finding).collect())
            }
            Checked::Unsigned { problem } => (format!("refused: {problem}"), String::new()),
            Checked::Closed { problem } | Checked::Unsupported { problem } | Checked::Unread { problem } => {
                (format!("not verified: {problem}"), String::new())
            }
        };
        text = human::plain(&format!("{}: {text}", file_in(&self.store, &self.file)));
        format!("{text}\n{more}")
    }
}

/// How many bundles there are of each kind.
fn summary(rows: &[Row], since: Option<DateTime<Utc>>) -> String {
    if rows.is_empty() {
        let newer = if since.is_none() { "" } else { " that is so new" };
        return format!("nothing was verified: there is no bundle{newer}");
    }
    let count = |is: fn(&Checked) -> bool| rows.iter().filter(|row| is(&row.checked)).count();
    let kinds = [
        ("sound", count(|checked| matches!(checked, Checked::Sound(_)))),
        ("damaged", count(|checked| matches!(checked, Checked::Damaged { .. }))),
        (
            "without the signature that the settings demand",
            count(|checked| matches!(checked, Checked::Unsigned { .. })),
        ),
        (
            "not verified",
            count(|checked| {
                matches!(checked, Checked::Closed { .. } | Checked::Unsupported { .. } | Checked::Unread { .. })
            }),
        ),
    ];
    let kinds = kinds.iter().filter(|(_, count)| *count > 0).map(|(kind, count)| format!("{count} {kind}"));
    format!("{}: {}", human::counted(rows.len() as u64, "bundle"), kinds.collect::<Vec<_>>().join(", "))
}

/// What is worst decides.
fn code(rows: &[Row], failed: &[Finding]) -> u8 {
    let any = |is: fn(&Checked) -> bool| rows.iter().any(|row| is(&row.checked));
    if any(|checked| matches!(checked, Checked::Damaged { .. } | Checked::Unsupported { .. })) {
        exit::DAMAGED
    } else if any(|checked| matches!(checked, Checked::Unsigned { .. })) {
        exit::REFUSED
    } else if any(|checked| !matches!(checked, Checked::Sound(_))) || !failed.is_empty() || rows.is_empty() {
        // To have verified nothing proves nothing.
        exit::WARNINGS
    } else {
        exit::DONE
    }
}
