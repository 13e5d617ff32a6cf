//! `keep`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use backup_core::catalog;
use backup_core::finding::Finding;
use backup_core::keep::{self, LONGEST_NOTE};
use backup_core::names::FileName;
use backup_core::store::{Access, Store, blocking};
use backup_core::text::is_unseen;
use backup_core::{Context, Error, Kind, Result};
use serde_json::json;

use super::one;
use crate::arguments::Keep;
use crate::output::Output;
use crate::{exit, findings, human};

pub(crate) async fn run(asked: Keep, output: &Output, context: &Context) -> Result<ExitCode> {
    let keep = if asked.release { None } else { Some(record(&asked, context)?) };
    let (bundle, access) = one(&asked.bundle, &asked.latest, asked.reading, context).await?;
    let work = {
        let (bundle, keep, access, context) = (bundle.clone(), keep.clone(), access, context.clone());
        blocking(move || change(&bundle, keep.as_ref(), &access, &context))
    };
    let Changed { store, name, before } = context.until_cancelled(work).await?;
    let mut warnings = Vec::new();
    let before = before.unwrap_or_else(|error| {
        // The record that could not be read is gone, or has another one in its place.
        warnings.push(Finding::warning_from_error("keep-unread", bundle.display().to_string(), &error));
        None
    });
    let shown = bundle.display();
    let (state, line) = match (&keep, &before) {
        (Some(keep), _) => ("kept", format!("{shown}: {}", keep.shown())),
        (None, None) if warnings.is_empty() => ("not-kept", format!("{shown}: nothing kept it")),
        (None, _) => ("released", format!("{shown}: released: rules may delete it again")),
    };
    let mut text: String = warnings.iter().map(findings::finding).collect();
    text.push_str(&format!("{}\n", human::plain(&line)));
    if let Some(before) = before.as_ref().filter(|_| keep.is_some()) {
        text.push_str(&format!("  before: {}\n", human::plain(&before.shown())));
    }
    let value = json!({
        "state": state, "store": store.location(), "file": name.to_string(), "keep": keep, "before": before,
        "warnings": warnings,
    });
    output.result("keep", &value, &text)?;
    Ok(exit::done(!warnings.is_empty()))
}

/// The record that is asked for.
fn record(asked: &Keep, context: &Context) -> Result<keep::Keep> {
    let now = context.now();
    let refused = |why: String, hint: &str| Err(Error::new(Kind::Usage, format!("keep: {why}")).hint(hint));
    if let Some(until) = asked.until.filter(|until| *until < now.date_naive()) {
        return refused(
            format!("{until} is past: it is {} in UTC", now.date_naive()),
            "name a day to come; --release lets rules delete the bundle again",
        );
    }
    let note = asked.note.as_deref().map(str::trim).filter(|note| !note.is_empty());
    if note.is_some_and(|note| note.chars().any(is_unseen) || note.chars().count() > LONGEST_NOTE) {
        return refused("the note is more than a line".into(), "write a line of at most 500 characters");
    }
    let environment = &context.environment;
    let by = environment.user.as_ref().map(|user| format!("{user}@{}", environment.host));
    Ok(keep::Keep { since: now, until: asked.until, note: note.map(str::to_owned), by })
}

/// A bundle whose record was changed, and what the record was before.
struct Changed {
    store: Arc<dyn Store>,
    name: FileName,
    before: Result<Option<keep::Keep>>,
}

fn change(bundle: &Path, keep: Option<&keep::Keep>, access: &Access, context: &Context) -> Result<Changed> {
    let Some((store, name)) = access.place(bundle, context)? else {
        let why = format!("keep {}: it is not called as bundles are, so no rule deletes it", bundle.display());
        return Err(Error::new(Kind::Usage, why).hint("give the file its name back: the command show says which it is"));
    };
    let before = catalog::kept(&*store, &name);
    match keep {
        Some(keep) => catalog::keep(&*store, &name, keep)?,
        None => catalog::release(&*store, &name)?,
    }
    Ok(Changed { store, name, before })
}
