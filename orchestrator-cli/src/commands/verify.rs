//! `verify`.

mod all;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backup_core::authenticity::{self, note_verified};
use backup_core::bundle::verify::{Verification, verify};
use backup_core::digest::Sha256Digest;
use backup_core::event::Meter;
use backup_core::names::renamed;
use backup_core::signing::Origin;
use backup_core::store::{Access, blocking, list_beside};
use backup_core::{Context, Error, ErrorContext, Kind, Result};
use serde_json::json;

use super::stores;
use crate::arguments::Verify;
use crate::output::Output;
use crate::{exit, findings, human};

/// How long work may take to stop by itself, and to clean up.
const GRACE: Duration = Duration::from_secs(3);

pub(crate) async fn run(asked: Verify, output: &Output, context: &Context) -> Result<ExitCode> {
    let (bundle, rate) = (asked.bundle, asked.limit.limit_rate);
    match bundle {
        Some(bundle) if !asked.all => {
            let (bundle, access) = super::one(&bundle, &asked.latest, asked.reading, context).await?;
            one(&bundle, &access.at_rate(rate), output, context).await
        }
        first => {
            let named: Vec<PathBuf> = first.into_iter().chain(asked.more).collect();
            let (access, addresses) = stores(asked.reading, &named, context)?;
            let since = asked.newer_than.map(|span| span.before(context.now()));
            all::run((addresses, since), &access.at_rate(rate), output, context).await
        }
    }
}

async fn one(path: &Path, access: &Access, output: &Output, context: &Context) -> Result<ExitCode> {
    let begun = Instant::now();
    context.phase(format!("verify {}", path.display()));
    let meter = Arc::new(Meter::default());
    let work = {
        let (path, access, context, meter) = (path.to_owned(), access.clone(), context.clone(), meter.clone());
        tokio::task::spawn_blocking(move || check(&path, &access, &context, &meter))
    };
    let verification = with_progress(work, &meter, context).await?;
    let sound = verification.damage.is_empty();
    let renamed = verification.manifest.as_ref().and_then(|manifest| renamed(path, &manifest.name));
    let digest = verification.manifest_sha256.filter(|_| sound);
    let origin = match digest {
        None => None,
        Some(digest) => Some(known(path, digest, access, context).await?),
    };
    if let Some(origin) = &origin {
        origin.demand(&access.signing, &format!("verify {}", path.display()))?;
    }
    let mut text: String = verification.damage.iter().map(findings::finding).collect();
    if let Some(manifest) = verification.manifest.as_ref().filter(|_| sound) {
        let content = manifest.content();
        text.push_str(&format!(
            "{}: {}\n{} with {} of content, in {}\n",
            path.display(),
            origin.as_ref().map_or_else(String::new, Origin::of_bytes),
            human::counted(manifest.entries.len() as u64, "entry"),
            human::bytes(content),
            human::duration(begun.elapsed()),
        ));
        text.push_str(&findings::needs(&manifest.needs));
        text.extend(renamed.iter().map(findings::finding));
        let hint = origin.as_ref().and_then(Origin::hint);
        text.extend(hint.map(|hint| format!("  hint: {hint}\n")));
    } else {
        text.push_str(&format!("{}: DAMAGED, do not rely on it\n", path.display()));
        text.push_str(&format!("  hint: take another one: {} shows them\n", list_beside(path)));
    }
    let needs = verification.manifest.as_ref().map(|manifest| &manifest.needs);
    let notes: Vec<_> = renamed.iter().collect();
    let mut value = json!({ "sound": sound, "damage": verification.damage, "needs": needs, "notes": notes });
    let origin = serde_json::to_value(&origin).context(|| "print the result".into())?;
    value.as_object_mut().into_iter().for_each(|value| value.extend(origin.as_object().cloned().unwrap_or_default()));
    output.result("verify", &value, &text)?;
    Ok(ExitCode::from(if sound { exit::DONE } else { exit::DAMAGED }))
}

/// Who made the bundle; and a note that it was read in full, which rules may ask for.
async fn known(path: &Path, digest: Sha256Digest, access: &Access, context: &Context) -> Result<Origin> {
    let (path, access, context) = (path.to_owned(), access.clone(), context.clone());
    let look = move || {
        if let Some((store, _)) = access.place(&path, &context)? {
            // Whoever may write no state is as good a reader.
            let _ = note_verified(&digest, &store.location(), &context);
        }
        Ok(authenticity::origin(&path, &digest, &access, &context))
    };
    blocking(look).await
}

fn check(path: &Path, access: &Access, context: &Context, meter: &Meter) -> Result<Verification> {
    let source = access.bytes(path, context)?;
    let length = source.length().context(|| format!("open {}", path.display()))?;
    meter.total.store(length, std::sync::atomic::Ordering::Relaxed);
    verify(source, context, meter).context(|| format!("verify {}", path.display()))
}

/// Waits for work on another thread and tells the observer how far it is.
pub(super) async fn with_progress<T>(
    work: tokio::task::JoinHandle<Result<T>>,
    meter: &Meter,
    context: &Context,
) -> Result<T> {
    let mut work = work;
    let mut interval = tokio::time::interval(Duration::from_millis(200));
    loop {
        tokio::select! {
            result = &mut work => {
                return result.map_err(|cause| Error::new(Kind::Failed, "read the bundle").because(cause))?;
            }
            // Most work stops by itself; what waits for a store that does not answer must not hold us.
            () = interrupted(context) => {
                return Err(Error::new(Kind::Interrupted, "interrupted before the work was complete"));
            }
            _ = interval.tick() => {
                let done = meter.written.load(std::sync::atomic::Ordering::Relaxed);
                meter.done.store(done, std::sync::atomic::Ordering::Relaxed);
                context.observer.event(&meter.progress());
            }
        }
    }
}

/// Ends some time after the program was asked to stop.
async fn interrupted(context: &Context) {
    context.cancel.cancelled().await;
    tokio::time::sleep(GRACE).await;
}
