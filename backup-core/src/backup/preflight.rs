//! Everything that a backup needs, looked at before anything starts; all findings at once.

mod nesting;

use std::path::Path;

use super::components::components;
use super::{Destination, Request, Settings};
use crate::component::{self, Look, files};
use crate::context::Context;
use crate::encryption::{Recipients, open_to_others};
use crate::finding::{Finding, Findings, Severity};
use crate::hooks::Around;
use crate::names::ComponentId;
use crate::ownership::{Cluster, Standing, not_asked, refuse_if_overtaken};
use crate::runs::Runs;
use crate::store::{Address, Directory, blocking};
use crate::{Error, Kind, Result, state};

/// Bundles have been seen at a fifth to a tenth of a database's size on disk; a third leaves room.
const SHARE_OF_SIZE: u64 = 3;

/// What is refused where another orchestrator owns the cluster.
pub(crate) const DOING: &str = "back up";

/// Everything needed for a backup.
pub struct Ready {
    /// The destinations that can be written, as far as that was seen.
    pub destinations: Vec<Destination>,
    /// The others, each with its reason.
    pub refused: Vec<Refused>,
    /// What is known of who owns the cluster; none where a component's databases are backed up.
    pub(super) standing: Option<Standing>,
    /// What is captured, in order.
    pub components: Vec<ReadyComponent>,
    /// What a restore will need beside the bundle; among the findings, too.
    pub needs: Vec<Finding>,
}

impl Ready {
    /// Bytes that will be read, as far as that is known.
    pub fn size(&self) -> u64 {
        self.components.iter().map(|component| component.ready.size()).sum()
    }
}

/// A component that is ready to be captured.
pub struct ReadyComponent {
    /// What it is called.
    pub id: ComponentId,
    /// What kind it is of.
    pub kind: &'static str,
    /// What captures it.
    pub ready: Box<dyn component::Ready>,
}

/// A destination that can't be written.
#[derive(Debug, Clone)]
pub struct Refused {
    /// Where it is.
    pub location: String,
    /// Why it can't, with its address.
    pub why: String,
}

/// What a preflight has to say.
pub struct Preflight {
    /// What a backup goes on with, or the first error as it happened, whose kind decides how a backup ends.
    pub ready: Result<Ready>,
    /// All that was found, good and bad.
    pub findings: Vec<Finding>,
}

/// Looks at everything; `destinations` are the stores to be written.
pub async fn preflight(
    settings: &Settings,
    request: &Request,
    destinations: &[Destination],
    recipients: &Recipients,
    context: &Context,
) -> Preflight {
    let mut findings = Findings::default();
    let whole = request.series.is_orchestrators();
    let (mut standing, mut unasked) = (None, Vec::new());
    if whole {
        findings.all.extend(of_cluster_conf(settings));
        findings.all.extend(settings.hooks.missing(Around::Backup));
        let stores = (destinations, request.without.as_slice());
        (standing, unasked) = look_at_ownership(settings, stores, context, &mut findings).await;
    }
    let components = look_at_components(settings, request, context, &mut findings).await;
    let size = components.iter().map(|component| component.ready.size()).sum();
    findings
        .all
        .extend(destinations.iter().filter_map(|destination| vanished(&destination.address, settings, context)));
    let (destinations, refused) = look_at_destinations(destinations, size, &mut findings).await;
    findings
        .all
        .extend(unasked.iter().filter_map(|(location, error)| unseen(location, error, &destinations, &refused)));
    for destination in &destinations {
        if let Address::Directory(directory) = &destination.address {
            nesting::look_for_bundles(directory, &settings.files, &mut findings);
        }
    }
    if whole {
        nesting::look(&settings.files, &components, context, &mut findings).await;
    }
    if let Err(error) = state::look(context) {
        findings.all.push(Finding::warning_from_error("state-unwritable", "state directory", &error));
    }
    let mut needs: Vec<Finding> = components.iter().flat_map(|component| component.ready.needs()).collect();
    if whole {
        needs.extend(files::needs(&settings.cluster, &settings.files));
    }
    needs.extend(recipients.need());
    findings.all.extend(needs.iter().cloned());
    let signing = &settings.access.signing;
    if findings.keep("signing-key", "signing key", signing.check()) == Some(false) && signing.required {
        let message =
            "the settings require signatures, but do not trust the key of this machine: its bundles would not count";
        let finding = Finding::warning("signing-untrusted", "signing key", message);
        findings.all.push(finding.hint("set signing.key, and put its public half into [signing.trusted]"));
    }
    findings.all.extend(look_at_secrecy(&destinations, recipients));
    findings.all.extend(open_to_others(&settings.access.identities));
    let error = findings.refusal();
    let ready = match error {
        None => Ok(Ready { destinations, refused, standing, components, needs }),
        Some(error) => Err(error),
    };
    Preflight { ready, findings: findings.all }
}

/// Those that can be captured; why others can't is among the findings.
async fn look_at_components(
    settings: &Settings,
    request: &Request,
    context: &Context,
    findings: &mut Findings,
) -> Vec<ReadyComponent> {
    let mut all = Vec::new();
    for component in components(settings, request) {
        let id = component.id();
        if settings.components.get(id).is_some() {
            context.phase(format!("check {id}"));
        }
        let ready = component.check(&mut Look { context, findings }).await;
        // A component that is left out without a word would be missed when it is needed.
        if ready.is_none() && !findings.all.iter().any(|finding| finding.severity == Severity::Error) {
            findings.keep::<()>("component", id.as_str(), Err(Error::new(Kind::Failed, format!("check {id}"))));
        }
        all.extend(ready.map(|ready| ReadyComponent { id: component.id().clone(), kind: component.kind(), ready }));
    }
    all
}

/// What is in the `cluster.conf`, and what is doubtful in it.
pub fn of_cluster_conf(settings: &Settings) -> Vec<Finding> {
    let cluster = &settings.cluster;
    let doubts = cluster.doubts(&settings.cluster_conf);
    let sound = cluster.cluster_name.as_ref().filter(|_| doubts.is_empty()).map(|name| {
        let shown = settings.cluster_conf.display().to_string();
        let message = format!("cluster {name}, zones: {}, hosts: {}", cluster.zones.len(), cluster.hosts().len());
        Finding::ok("cluster-conf", shown, message)
    });
    sound.into_iter().chain(doubts).chain(look_at_platform(settings)).collect()
}

/// That a store could not be asked who owns the cluster matters where the bundle goes. Of one that can't be written more is said.
fn unseen(location: &str, error: &Error, sound: &[Destination], refused: &[Refused]) -> Option<Finding> {
    let written = sound.iter().any(|destination| destination.store.location() == location);
    let severity = if written { Severity::Warning } else { Severity::Info };
    let said = refused.iter().any(|refused| refused.location == location);
    (!said).then(|| not_asked(location, error).at_most(severity))
}

/// Whoever has been overtaken must not write over the head of the cluster's owner. What can't be asked does not hold a backup up.
async fn look_at_ownership(
    settings: &Settings,
    (destinations, without): (&[Destination], &[String]),
    context: &Context,
    findings: &mut Findings,
) -> (Option<Standing>, Vec<(String, Error)>) {
    let written: Vec<_> = destinations.iter().map(|destination| destination.store.clone()).collect();
    let mut stores = settings.access.connect_all(written.iter().cloned(), context).unwrap_or(written);
    stores.retain(|store| !without.contains(&store.location()));
    let (cluster, signing) = (Cluster::of(&settings.cluster), &settings.access.signing);
    let standing = Standing::noted(cluster.clone(), signing, context).unwrap_or_else(|error| {
        let finding = Finding::warning_from_error("ownership-unread", "ownership", &error);
        findings.all.push(finding);
        Standing::noted_here(cluster.clone(), signing, context).unwrap_or_else(|_| Standing::unread(cluster, signing))
    });
    let asked = refuse_if_overtaken(DOING, standing.without(without), &stores, context).await;
    findings
        .keep("overtaken", "ownership", asked)
        .map_or((None, Vec::new()), |(standing, failed)| (Some(standing), failed))
}

/// Keys for a bucket that is not named: whoever wrote them thinks that bundles go there.
fn look_at_platform(settings: &Settings) -> Option<Finding> {
    let backups = settings.cluster.database_backups.as_ref()?;
    let meant = backups.access_key.is_some() || backups.secret_key.is_some();
    let message = "there are keys but no bucket, so no bundle goes to S3";
    let finding = Finding::info("backups-without-bucket", "database_backups in cluster.conf", message);
    (meant && backups.bucket.is_none()).then(|| finding.hint("set bucket, beside access_key, secret_key and endpoint"))
}

/// A destination that can't be written does not hold up the others. Gives those that can, and why the others can't.
async fn look_at_destinations(
    destinations: &[Destination],
    size: u64,
    findings: &mut Findings,
) -> (Vec<Destination>, Vec<Refused>) {
    let mut found = Findings::default();
    let (mut sound, mut refused) = (Vec::new(), Vec::new());
    for destination in destinations {
        let store = destination.store.clone();
        let checked = blocking(move || store.check(size / SHARE_OF_SIZE)).await;
        match &checked {
            Ok(_) => sound.push(destination.clone()),
            Err(error) => refused.push(Refused {
                location: destination.store.location(),
                why: format!("{}: {}", destination.address, error.chain().join(": ")),
            }),
        }
        let kept = found.keep("destination", &destination.address.to_string(), checked);
        found.all.extend(kept.unwrap_or_default());
    }
    let bad = |finding: &Finding| finding.severity == Severity::Error;
    if found.all.iter().filter(|finding| bad(finding)).count() < destinations.len() {
        found.first = None;
        found.all.iter_mut().filter(|finding| bad(finding)).for_each(|finding| finding.severity = Severity::Warning);
    }
    findings.all.append(&mut found.all);
    findings.first = findings.first.take().or(found.first);
    (sound, refused)
}

/// A directory of the settings that is gone, or is not the one that bundles were put into, may be that of a disk which is not mounted.
fn vanished(address: &Address, settings: &Settings, context: &Context) -> Option<Finding> {
    let Address::Directory(directory) = address else { return None };
    let usual = settings.places.contains(address);
    if !usual || Directory::was_used(directory) {
        return None;
    }
    // Without a journal nothing is known of what was there.
    let runs = Runs::of(context).and_then(|runs| runs.all()).unwrap_or_default();
    let published = runs.iter().flat_map(|run| &run.parts).flat_map(|part| &part.published);
    let there = published.filter_map(|bundle| Path::new(bundle).parent()).any(|parent| parent == directory);
    if !there {
        return None;
    }
    let message = match directory.exists() {
        true => "bundles were written here before, but none of them is here now",
        false => "the directory is gone, although bundles were written here before; the backup makes it again",
    };
    let hint = "if a disk or a share belongs here, mount it first; with require_mount in the settings, a backup refuses a missing mount";
    Some(Finding::warning("store-vanished", address.to_string(), message).hint(hint))
}

/// What leaves the machine, others may read.
fn look_at_secrecy(destinations: &[Destination], recipients: &Recipients) -> Option<Finding> {
    let leaves = |destination: &&Destination| !matches!(destination.address, Address::Directory(_));
    let remote = destinations.iter().find(leaves).filter(|_| recipients.is_empty())?;
    let message = "bundles leave this machine unencrypted, with cluster.conf and all secrets";
    let finding = Finding::warning("leaves-unencrypted", remote.address.to_string(), message);
    Some(
        finding.hint(
            "`key generate orchestrator.key` makes a key; name its recipient with --recipient, or in encryption.recipients of the settings",
        ),
    )
}
