//! One copy of a bundle from beginning to end: what is there, the bytes on their way, publish.
//!
//! The bytes are read once, and are compared with the bundle's digests while they are written. No destination shows the bundle before
//! all of them were compared.

mod ahead;
mod pass;
mod source;
mod taken;
mod there;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use serde::Serialize;

use crate::backup::{Abandon, Delivered, Destination, Destinations, each_once};
use crate::digest::Sha256Digest;
use crate::event::{Event, Meter, Ticker};
use crate::finding::{Finding, Severity};
use crate::signing::Origin;
use crate::store::{Access, Address, blocking};
use crate::{Context, Error, Kind, Result};
use pass::{Stopped, pass};
use source::Source;
use taken::Taken;
use there::There;

/// What is copied, and where to.
#[derive(Debug, Clone)]
pub struct Request {
    /// The bundle: a file or an address.
    pub bundle: PathBuf,
    /// The stores that get it.
    pub to: Vec<Address>,
    /// Whether everything is looked at and nothing is written.
    pub dry_run: bool,
}

/// What a copy made.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// The name of the bundle's file in the stores.
    pub file: String,
    /// Where it is now and was not before.
    pub published: Vec<String>,
    /// Where it was already.
    pub there: Vec<String>,
    /// With a dry run: where it would go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would_copy: Option<Vec<String>>,
    /// Destinations that failed while another one did not.
    pub failed: Vec<String>,
    /// Bytes of the bundle.
    pub length: u64,
    /// SHA-256 of the bundle; none if nothing was read.
    pub sha256: Option<Sha256Digest>,
    /// Digest of its manifest; none if no identity opens it.
    pub manifest_sha256: Option<Sha256Digest>,
    /// Who made it, as far as can be told here; nothing if no identity opens it.
    #[serde(flatten)]
    pub origin: Option<Origin>,
    /// What is worth knowing.
    pub notes: Vec<Finding>,
    /// What did not go as it should.
    pub warnings: Vec<Finding>,
}

/// Copies a bundle.
///
/// # Errors
/// [`Kind::Damaged`] if the bundle is damaged: no destination has it then. If no destination has the bundle in the end, the error of
/// the first one.
pub async fn run(request: &Request, access: &Access, context: &Context) -> Result<Outcome> {
    context.phase(format!("check {}", request.bundle.display()));
    let mut copy = context.until_cancelled(look(request, access, context)).await?;
    if !request.dry_run && !copy.missing.is_empty() {
        let filled = context.until_cancelled(fill(&mut copy, context)).await?;
        // What becomes visible cannot be taken back, so from here on nobody is told that the run was interrupted.
        if let Some(sink) = filled {
            copy.publish(sink, context).await?;
        }
    }
    if request.dry_run {
        copy.outcome.would_copy = Some(copy.missing.iter().map(|one| one.address.to_string()).collect());
    } else {
        copy.complete().await?;
    }
    copy.end()
}

/// A copy under way.
struct Copy {
    source: Arc<Source>,
    taken: Arc<Taken>,
    outcome: Outcome,
    /// Destinations that are to get it.
    missing: Vec<Destination>,
    /// Destinations that have it.
    have: Vec<Destination>,
    first: Option<Error>,
}

/// Opens the bundle, and looks at all destinations.
async fn look(request: &Request, access: &Access, context: &Context) -> Result<Copy> {
    let known = request.to.iter().map(|address| access.settings(address.clone())).collect();
    let destinations = each_once(known, access, context)?;
    let (bundle, own, about) = (request.bundle.clone(), access.clone(), context.clone());
    let (source, (taken, warnings)) = blocking(move || {
        let source = Source::open(&bundle, &own, &about)?;
        let taken = Taken::of(&source);
        Ok((source, taken))
    })
    .await?;
    let outcome = Outcome {
        file: source.name.to_string(),
        published: Vec::new(),
        there: Vec::new(),
        would_copy: None,
        failed: Vec::new(),
        length: source.length,
        sha256: None,
        manifest_sha256: source.manifest_sha256(),
        origin: source.origin.clone(),
        notes: source.notes.clone(),
        warnings: Vec::new(),
    };
    let (source, taken) = (Arc::new(source), Arc::new(taken));
    let mut copy = Copy { source, taken, outcome, missing: Vec::new(), have: Vec::new(), first: None };
    copy.warn(warnings, context);
    for destination in destinations {
        let (source, store) = (copy.source.clone(), destination.store.clone());
        let looked = blocking(move || match there::look(&source, &*store)? {
            There::Same => Ok(None),
            There::Nothing => store.check(source.length).map(Some),
        });
        match looked.await {
            Ok(None) => {
                copy.outcome.there.push(destination.address.to_string());
                copy.have.push(destination);
            }
            Ok(Some(found)) => {
                copy.warn(found.into_iter().filter(|one| one.severity == Severity::Warning), context);
                copy.missing.push(destination);
            }
            Err(error) => copy.fail(&destination.store.location(), error),
        }
    }
    Ok(copy)
}

/// Sends the bytes; none if no destination is left.
async fn fill(copy: &mut Copy, context: &Context) -> Result<Option<Destinations>> {
    context.phase(format!("copy {}", copy.source.shown));
    let (missing, name) = (copy.missing.clone(), copy.source.name.clone());
    let (mut sink, first) = blocking(move || Ok(Destinations::begin_all(&missing, Vec::new(), None, &name))).await?;
    copy.outcome.failed.append(sink.failed_mut());
    copy.first = copy.first.take().or(first);
    if sink.is_empty() {
        return Ok(None);
    }
    let abandon = Abandon::of(&sink);
    let meter = Arc::new(Meter::default());
    meter.total.store(copy.source.length, Relaxed);
    let _ticker = Ticker::start(meter.clone(), context.observer.clone());
    let (source, own) = (copy.source.clone(), context.clone());
    let (passed, mut sink) = blocking(move || {
        let passed = pass(&source, &mut sink, &meter, &own);
        Ok((passed, sink))
    })
    .await?;
    copy.outcome.failed.append(sink.failed_mut());
    match passed {
        Ok(()) => {
            abandon.disarm();
            Ok(Some(sink))
        }
        Err(Stopped::Source(error)) => Err(copy.source.damaged(error)),
        Err(Stopped::Destinations(error)) => {
            copy.outcome.failed.push(error.chain().join(": "));
            copy.first.get_or_insert(error);
            Ok(None)
        }
    }
}

impl Copy {
    async fn publish(&mut self, sink: Destinations, context: &Context) -> Result<()> {
        context.phase("publish");
        let (name, taken) = (self.source.name.clone(), self.taken.clone());
        let (delivered, first) = blocking(move || Ok(sink.publish_all(&name, taken.files()))).await?;
        let Delivered { published, failed, warnings, digest, .. } = delivered;
        self.outcome.published.extend(published);
        self.outcome.failed.extend(failed);
        self.outcome.sha256 = Some(digest);
        self.warn(warnings, context);
        if let Some(said) = self.source.said.filter(|said| *said != digest) {
            let message = format!("its bytes are sound, and the digest beside it is another one: {said}");
            self.warn([Finding::warning("digest-differs", &self.source.shown, message)], context);
        }
        self.first = self.first.take().or(first);
        Ok(())
    }

    /// Puts beside the bundles that were there what is missing there.
    async fn complete(&mut self) -> Result<()> {
        for destination in std::mem::take(&mut self.have) {
            let (name, taken) = (self.source.name.clone(), self.taken.clone());
            let warnings = blocking(move || Ok(taken.complete(&*destination.store, &name))).await?;
            self.outcome.warnings.extend(warnings);
        }
        Ok(())
    }

    fn warn(&mut self, findings: impl IntoIterator<Item = Finding>, context: &Context) {
        for finding in findings {
            context.observer.event(&Event::Finding(finding.clone()));
            self.outcome.warnings.push(finding);
        }
    }

    fn fail(&mut self, location: &str, error: Error) {
        let why = error.chain().join(": ");
        self.outcome.failed.push(if why.contains(location) { why } else { format!("{location}: {why}") });
        self.first.get_or_insert(error);
    }

    /// What came of it; the first error if no store has the bundle, or would get it.
    fn end(self) -> Result<Outcome> {
        let would = self.outcome.would_copy.as_ref().is_some_and(|stores| !stores.is_empty());
        let has = would || !self.outcome.published.is_empty() || !self.outcome.there.is_empty();
        match self.first {
            Some(error) if !has => Err(error.first_of(self.outcome.failed.len().max(1))),
            None if !has => Err(Error::new(Kind::Usage, "copy: no store is named")),
            _ => Ok(self.outcome),
        }
    }
}
