//! `copy`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use backup_core::copy::{self, Outcome, Request};
use backup_core::finding::Finding;
use backup_core::{Context, Result};

use super::latest::meant;
use super::{addresses, reached};
use crate::arguments::Copy;
use crate::output::Output;
use crate::{exit, findings, human};

pub(crate) async fn run(asked: Copy, output: &Output, context: &Context) -> Result<ExitCode> {
    let begun = Instant::now();
    let named: Vec<&Path> = [&asked.bundle].into_iter().chain(&asked.to).map(AsRef::as_ref).collect();
    let settings = reached(asked.reading, &named, context)?;
    let bundle = meant(&asked.bundle, &asked.latest, &settings, context).await?;
    let access = settings.access.at_rate(asked.limit.limit_rate);
    let request = Request { to: addresses(&asked.to)?, bundle, dry_run: asked.dry_run };
    let outcome = copy::run(&request, &access, context).await?;
    let mut text: String = outcome.notes.iter().map(findings::finding).collect();
    text.push_str(&places(&outcome));
    match &outcome.would_copy {
        Some(would) if !would.is_empty() => {
            text.push_str(&format!("nothing was written; {} does it\n", output.again("--dry-run")));
        }
        Some(_) => text.push_str("nothing was written, and nothing is to be written\n"),
        None => text.push_str(&copied(&outcome, begun)),
    }
    for failed in &outcome.failed {
        let finding = Finding::warning("destination-failed", "not everywhere", failed);
        text.push_str(&findings::finding(&finding.hint("the other destinations have the bundle")));
    }
    if !outcome.warnings.is_empty() {
        text.push_str(&format!("done with {}\n", human::counted(outcome.warnings.len() as u64, "warning")));
    }
    output.result("copy", &outcome, &text)?;
    Ok(exit::done(!outcome.warnings.is_empty() || !outcome.failed.is_empty()))
}

/// A line for each store.
fn places(outcome: &Outcome) -> String {
    let would = outcome.would_copy.iter().flatten().map(|place| format!("{place}: would get {}", outcome.file));
    let there =
        outcome.there.iter().map(|place| format!("{place}: has {} already, with the same digest", outcome.file));
    let lines = outcome.published.iter().cloned().chain(there).chain(would);
    lines.map(|line| format!("{}\n", human::plain(&line))).collect()
}

/// What the bytes have shown; nothing if none passed.
fn copied(outcome: &Outcome, begun: Instant) -> String {
    let Some(sha256) = outcome.sha256 else { return String::new() };
    let bytes = match &outcome.origin {
        Some(origin) => origin.of_bytes(),
        None => "every byte is as the digest beside it says".into(),
    };
    let (length, time) = (human::bytes(outcome.length), human::duration(begun.elapsed()));
    format!("copied {length} in {time}: {bytes}\nsha256 {sha256}\n")
}
