//! A backup from beginning to end: preflight, capture, seal, publish.

mod capture;
mod components;
mod described;
mod destinations;
mod machines;
mod preflight;
mod prune;
mod quiet;
mod readme;
mod settings;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use serde::{Deserialize, Serialize};
use tokio_util::task::AbortOnDropHandle;

use crate::bundle::manifest::Manifest;
use crate::bundle::manifest::control_plane::Host;
use crate::bundle::writer::{Tail, Writer};
use crate::context::Context;
use crate::digest::Sha256Digest;
use crate::encryption::Envelope;
use crate::event::{Event, Meter, Ticker};
use crate::finding::{Finding, Severity};
use crate::hooks::{Around, Hooked, Said};
use crate::names::Series;
use crate::names::{BundleName, FileName};
use crate::runs::{Part, Recorded, Report, Run, record_hooked};
use crate::schedule::Job;
use crate::signing::Signing;
use crate::store::{Address, NEW, SIGNATURE, blocking};
use crate::{Cause, Error, Kind, Result, TOOL};
use capture::Capturing;
use described::announced;
use destinations::full_disk;
pub(crate) use destinations::{Abandon, Delivered, Destinations, each_once};
pub use destinations::{Destination, destinations, recipients};
use machines::{look_at_hosts, record_hosts};
use preflight::DOING;
pub use preflight::{Preflight, Ready, ReadyComponent, Refused, of_cluster_conf, preflight};
pub use prune::{Pruned, prune_after};
use quiet::Quiet;
pub use quiet::{left_held, settle};
pub use settings::{DEFAULT_LEVEL, Settings, check_level};

/// What is asked for beside the settings.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// What the bundle is one of. The orchestrator's has release, `cluster.conf` and files in it, a component's databases alone.
    pub series: Series,
    /// Stores that get the bundle; empty for those of the settings.
    pub to: Vec<Address>,
    /// Who can read the bundle, beside those of the settings.
    pub recipients: Vec<String>,
    /// Databases; empty for those of the settings.
    pub databases: Vec<String>,
    /// The release.
    pub release: Option<String>,
    /// Compression level.
    pub level: Option<u32>,
    /// Connections that read rows at once.
    pub jobs: Option<usize>,
    /// The cluster's hosts, where they were just looked at and asked.
    pub hosts: Option<Vec<Host>>,
    /// Stores, by their location, that get no bundle and are not asked who owns the cluster.
    pub without: Vec<String>,
}

impl Request {
    /// Whether it asks for some of the orchestrator's databases alone.
    fn is_partial(&self) -> bool {
        self.series.is_orchestrators() && !self.databases.is_empty()
    }
}

/// What a backup made.
#[derive(Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// The bundle's name.
    pub name: String,
    /// Where it is now.
    pub published: Vec<String>,
    /// Destinations that failed while another one did not.
    pub failed: Vec<String>,
    /// Bytes of the bundle.
    pub length: u64,
    /// SHA-256 of the bundle.
    pub sha256: Sha256Digest,
    /// Digest of its manifest, which signatures are of; none where another machine of an earlier version made it.
    #[serde(default)]
    pub manifest_sha256: Option<Sha256Digest>,
    /// Its signature, where a key is set up.
    #[serde(default)]
    pub signature: Option<String>,
    /// Bytes of content in it.
    pub content: u64,
    /// Rows in it.
    pub rows: u64,
    /// What did not go as it should.
    pub warnings: Vec<Finding>,
    /// What a restore needs that is not in it.
    pub needs: Vec<Finding>,
}

impl Outcome {
    /// The destinations that failed, as warnings about a subject.
    pub fn not_everywhere(&self, subject: &str) -> impl Iterator<Item = Finding> {
        self.failed.iter().map(move |why| Finding::warning("destination-failed", subject, why))
    }

    /// What the journal of runs keeps of it.
    pub(crate) fn part(&self, series: &Series) -> Part {
        let (bundle, length) = (Some(self.name.clone()), Some(self.length));
        let manifest_sha256 = self.manifest_sha256;
        Part { bundle, length, manifest_sha256, published: self.published.clone(), ..Part::of(series) }
    }
}

/// Makes a bundle. `stream` takes its bytes as they come, beside the stores.
///
/// # Errors
/// The first failure. Nothing of the bundle is left then, except in `stream`, where the footer is missing.
pub async fn run(
    settings: &Settings,
    request: &Request,
    stream: Option<Box<dyn Write + Send>>,
    context: &Context,
) -> Result<Outcome> {
    // What can't be let go is said, and keeps nobody from a backup.
    let left = settle(&settings.components, context).await;
    let left = left.unwrap_or_else(|error| Some(Finding::warning_from_error("left-held", "components", &error)));
    let mut quiet = Quiet::default();
    let filled = context.until_cancelled(fill(settings, request, stream, &mut quiet, context)).await;
    // Whatever became of the capture, nothing stays stopped for it.
    let held = quiet.end(context).await.err().map(|error| Finding::from_error("held", "components", &error));
    held.iter().for_each(|finding| context.observer.event(&Event::Finding(finding.clone())));
    // What becomes visible can't be taken back, so from here on nobody is told that the run was interrupted.
    let published = match filled {
        Ok(complete) => complete.publish(context).await,
        Err(error) => Err(error),
    };
    let published = published.map(|mut outcome| {
        let held = held.map(|finding| finding.at_most(Severity::Warning));
        outcome.warnings.extend(left.into_iter().chain(held));
        outcome
    });
    published.map_err(|error| match error.came_of(Cause::DiskFull) && error.first_hint().is_none() {
        true => error.hint("make room: `prune --after-failure` deletes what no rule keeps"),
        false => error,
    })
}

/// A backup, and what was deleted after it.
#[derive(Debug, Serialize)]
pub struct Made {
    /// The bundle.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Whether it has some databases alone, and counts for nothing.
    pub partial: bool,
    /// What no rule keeps any more.
    pub pruned: Vec<Pruned>,
}

/// Backs the orchestrator up, deletes what no rule of the settings keeps then, unless all is to be kept, and notes the run.
///
/// # Errors
/// As [`run`].
pub async fn run_and_prune(
    settings: &Settings,
    request: &Request,
    stream: Option<Box<dyn Write + Send>>,
    keep_all: bool,
    context: &Context,
) -> Result<Made> {
    let mut places: Vec<Address> = match request.to.is_empty() && stream.is_none() {
        true => settings.stores.iter().map(|store| store.address.clone()).collect(),
        false => request.to.clone(),
    };
    places.retain(|place| !request.without.contains(&place.to_string()));
    let work = async {
        let mut outcome = Box::pin(run(settings, request, stream, context)).await?;
        let mut pruned = Vec::new();
        if !keep_all && !request.is_partial() {
            let (deleted, found) = prune_after(&request.series, &outcome, &places, settings, context).await;
            pruned = deleted;
            outcome.warnings.extend(found);
        }
        Ok(Made { outcome, partial: request.is_partial(), pruned })
    };
    let mut run = Run::beginning(Job::Backup, context);
    run.partial = request.is_partial();
    let said = Said::default();
    let hooked = Hooked { job: Around::Backup, said: &said, context };
    let hooked = settings.hooks.around(hooked, work, |_| true);
    let recorded = Recorded { run, said: &said };
    let made = record_hooked(recorded, context, hooked, |made: &Made| report(&request.series, &made.outcome)).await;
    made.map(|mut made| {
        made.outcome.warnings.extend(said.warnings());
        made
    })
}

/// What the journal of runs keeps of it.
fn report(series: &Series, outcome: &Outcome) -> Report {
    let warnings = outcome.warnings.iter().cloned().chain(outcome.not_everywhere("not everywhere"));
    Report { parts: vec![outcome.part(series)], warnings: warnings.collect() }
}

/// A bundle that lacks its manifest and its name.
struct Complete {
    manifest: Manifest,
    file: FileName,
    signing: Signing,
    tail: Tail<Envelope<Destinations>>,
    _ticker: Ticker,
}

async fn fill(
    settings: &Settings,
    request: &Request,
    stream: Option<Box<dyn Write + Send>>,
    quiet: &mut Quiet,
    context: &Context,
) -> Result<Complete> {
    let level = request.level.unwrap_or(settings.level);
    check_level(level)?;
    let destinations = destinations(settings, request, stream.is_some(), context)?;
    let recipients = recipients(settings, request)?;
    context.phase("check");
    let checked = preflight(settings, request, &destinations, &recipients, context).await;
    let say = |finding: &Finding| context.observer.event(&Event::Finding(finding.clone()));
    let (mut warnings, others): (Vec<Finding>, Vec<Finding>) =
        checked.findings.into_iter().partition(|finding| finding.severity == Severity::Warning);
    warnings.iter().for_each(say);
    let mut ready = checked.ready.inspect_err(|error| {
        // Of several errors the first one is the run's.
        let told = others.iter().filter(|finding| finding.severity == Severity::Error && error.errors() > 1);
        told.for_each(say);
    })?;
    others.iter().filter(|finding| finding.code == NEW).for_each(say);
    let name = name(&request.series, context)?;
    // Beside the capture, which takes longer than hosts that are down.
    let all = if request.series.is_orchestrators() { settings.cluster.hosts() } else { Vec::new() };
    let hosts: Vec<String> = all.into_iter().map(Into::into).collect();
    let looking = {
        let (seen, remote, context) = (request.hosts.clone(), settings.remote.clone(), context.clone());
        AbortOnDropHandle::new(tokio::spawn(async move {
            match seen {
                Some(seen) => Ok((seen, Vec::new())),
                None => look_at_hosts(&hosts, &remote, &context).await,
            }
        }))
    };
    let file = FileName { bundle: name.clone(), encrypted: !recipients.is_empty() };
    let sink = {
        let name = file.clone();
        let (destinations, refused) =
            (ready.destinations.clone(), ready.refused.iter().map(|refused| refused.why.clone()).collect());
        blocking(move || Destinations::begin(&destinations, refused, stream, &name)).await?
    };
    let abandon = Abandon::of(&sink);
    let sink = Envelope::new(sink, &recipients)?;
    let meter = Arc::new(Meter::default());
    meter.total.store(ready.size(), Relaxed);
    let ticker = Ticker::start(meter.clone(), context.observer.clone());
    let (writer, closing) = Writer::start(name.clone(), level, sink, meter.clone());
    let mut announced = announced(settings, request, &ready, context);
    let components = std::mem::take(&mut ready.components);
    quiet.begin(&name, &components, &settings.components, context).await?;
    let capturing = Capturing { settings, request, name: &name, writer: &writer, meter: &meter, context };
    let captured = capturing.all(&announced, components).await;
    // A failure to write comes first: the capture's error then only says that there was one.
    let tail = closing.close(writer).await.map_err(|error| match error.came_of(Cause::DiskFull) {
        true => full_disk(error, &ready.destinations, meter.written.load(Relaxed), meter.total.load(Relaxed)),
        false => error,
    })?;
    let mut captured = captured?;
    let mut tail = tail.ok_or_else(|| Error::new(Kind::Failed, "write the bundle: an entry was given up half way"))?;
    let found = std::mem::take(&mut captured.findings);
    found.iter().for_each(|warning| context.observer.event(&Event::Finding(warning.clone())));
    warnings.extend(found);
    let (hosts, claims) = record_hosts(looking, &mut warnings, context).await;
    if let Some(standing) = &mut ready.standing {
        let foreign = claims.iter().filter_map(|(host, claim)| standing.hear(host, claim));
        let foreign = foreign.map(|finding| finding.at_most(Severity::Warning));
        warnings.extend(foreign.inspect(|finding| context.observer.event(&Event::Finding(finding.clone()))));
        standing.refuse(DOING, context)?;
        announced.source.ownership = Some(standing.ownership());
    }
    let needs = ready.needs.iter().cloned().chain(machines::needs(&hosts)).collect();
    let mut manifest = Manifest {
        format: announced.format.max(tail.oldest_format()),
        tool: TOOL.into(),
        name: name.to_string(),
        created: name.time(),
        finished: context.now(),
        source: announced.source,
        hosts,
        databases: Vec::new(),
        components: Vec::new(),
        warnings,
        needs,
        entries: std::mem::take(&mut tail.entries),
    };
    captured.say(&mut manifest);
    abandon.disarm();
    Ok(Complete { manifest, file, signing: settings.access.signing.clone(), tail, _ticker: ticker })
}

fn name(series: &Series, context: &Context) -> Result<BundleName> {
    let component = &series.component;
    BundleName::of(component, context.now())
        .map_err(|_| Error::new(Kind::Usage, format!("name the bundle: {component} is no name of a component")))
}

impl Complete {
    async fn publish(self, context: &Context) -> Result<Outcome> {
        context.phase("publish");
        let Self { manifest, file, signing, tail, _ticker } = self;
        let (name, mut warnings, needs) = (manifest.name.clone(), manifest.warnings.clone(), manifest.needs.clone());
        let (content, rows) = (manifest.content(), manifest.rows());
        let work = move || {
            let sealed = tail.seal(&manifest)?;
            let signature = signing.sign_bundle(&sealed.manifest)?;
            let beside: Vec<_> = signature.iter().map(|signature| (SIGNATURE, signature.clone())).collect();
            let delivered = sealed.sink.finish()?.publish(&file, &beside)?;
            Ok((delivered, sealed.manifest, signature))
        };
        let (delivered, manifest_sha256, signature) = blocking(work).await?;
        let Delivered { published, failed, warnings: found, length, digest: sha256 } = delivered;
        let signature = signature.and_then(|signature| String::from_utf8(signature).ok());
        let manifest_sha256 = Some(manifest_sha256);
        found.iter().for_each(|warning| context.observer.event(&Event::Finding(warning.clone())));
        warnings.extend(found);
        Ok(Outcome {
            name,
            published,
            failed,
            length,
            sha256,
            manifest_sha256,
            signature,
            content,
            rows,
            warnings,
            needs,
        })
    }
}
