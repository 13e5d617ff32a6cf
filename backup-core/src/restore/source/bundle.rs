//! A bundle that is restored.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::Source;
use crate::authenticity;
use crate::bundle::manifest::Manifest;
use crate::bundle::reader::OpenBundle;
use crate::bundle::verify::verify_stored;
use crate::component::files;
use crate::component::postgres::OfBundle;
use crate::digest::Sha256Digest;
use crate::event::{Meter, Ticker};
use crate::finding::{Finding, Findings};
use crate::names::renamed;
use crate::signing::Origin;
use crate::store::{Access, blocking, list_beside};
use crate::{Context, Error, Kind};

impl Source {
    /// A bundle.
    pub(in crate::restore) fn of_bundle(bundle: &Arc<OpenBundle>) -> Self {
        let manifest = bundle.manifest();
        let Manifest { name, source: from, hosts, components, databases, created, .. } = manifest;
        Self {
            name: name.clone(),
            sha256: Sha256Digest(bundle.footer().manifest_digest),
            from: from.clone(),
            hosts: hosts.clone(),
            is_of_component: manifest.component().is_some(),
            state_of: Some(databases.iter().map(|database| database.snapshot.time).min().unwrap_or(*created)),
            databases: Arc::new(OfBundle(bundle.clone())),
            files: files::Source::Bundle(bundle.clone()),
            sections: components.clone(),
            bundle: Some(bundle.clone()),
        }
    }
}

/// Opens the bundle, sees who made it, and holds every byte of it against its digest; what is in an entry is checked when it is restored.
pub(in crate::restore) async fn look_at_bundle(
    path: &Path,
    access: &Access,
    findings: &mut Findings,
    context: &Context,
) -> Option<(Arc<OpenBundle>, Origin)> {
    let shown = path.display().to_string();
    let opened = access.open(path, context).await;
    let bundle = Arc::new(findings.keep("bundle", &shown, opened)?);
    context.phase(format!("verify {shown}"));
    let meter = Arc::new(Meter::default());
    let stored = bundle.manifest().entries.iter().map(|entry| entry.stored);
    meter.total.store(stored.sum(), Relaxed);
    let ticker = Ticker::start(meter.clone(), context.observer.clone());
    let work = {
        let (bundle, context) = (bundle.clone(), context.clone());
        tokio::task::spawn_blocking(move || verify_stored(bundle.source(), &context, &meter))
    };
    let verified = work.await.map_err(|cause| Error::new(Kind::Failed, "verify the bundle").because(cause));
    drop(ticker);
    let verification = findings.keep("bundle", &shown, verified.and_then(|verified| verified))?;
    let damaged = !verification.damage.is_empty();
    for damage in verification.damage {
        let error = Error::new(Kind::Damaged, format!("{shown}: {}: {}", damage.subject, damage.message));
        findings.keep::<()>(
            "damaged",
            &shown,
            Err(error.hint(format!("restore from another bundle: {} shows them", list_beside(path)))),
        );
    }
    if damaged {
        return Some((bundle, Origin::Unknown));
    }
    let manifest = bundle.manifest();
    findings.all.extend(renamed(path, &manifest.name));
    let of_backup =
        |warning: &Finding| Finding { subject: format!("at the backup: {}", warning.subject), ..warning.clone() };
    findings.all.extend(manifest.warnings.iter().map(of_backup));
    let age = context.now().signed_duration_since(manifest.created);
    let origin = {
        let (path, access, context) = (path.to_owned(), access.clone(), context.clone());
        let digest = Sha256Digest(bundle.footer().manifest_digest);
        blocking(move || Ok(authenticity::origin(&path, &digest, &access, &context))).await
    };
    let origin = findings.keep("bundle", &shown, origin)?;
    findings.keep("not-signed", &shown, origin.demand(&access.signing, &shown));
    findings.all.extend(authenticity::finding(&shown, &origin));
    let age = crate::finding::age(age.to_std().unwrap_or_default());
    let message = format!("{}; made {age} ago: what has happened since is not in it", origin.of_bytes());
    findings.all.push(Finding::ok("bundle", &shown, message));
    Some((bundle, origin))
}
