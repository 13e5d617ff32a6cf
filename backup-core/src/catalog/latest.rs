//! The newest bundle of a cluster, which commands take by the word `latest`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use chrono::{DateTime, Utc};

use super::{Cache, Listed, list};
use crate::authenticity::Knowledge;
use crate::encryption::Identities;
use crate::finding::Finding;
use crate::names::ORCHESTRATOR;
use crate::store::{Access, blocking, file_in};
use crate::{Context, Error, Kind, Result};

/// The word.
pub const LATEST: &str = "latest";
/// What the search is called in messages.
const DOING: &str = "find the latest bundle";

/// Whose newest bundle is meant.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// The cluster; without one, all bundles must be of one cluster.
    pub cluster: Option<String>,
    /// The component; without one, the orchestrator itself.
    pub component: Option<String>,
}

/// The newest bundle.
#[derive(Debug)]
pub struct Latest {
    /// Its address or its file.
    pub path: PathBuf,
    /// When it was begun.
    pub created: DateTime<Utc>,
    /// Newer bundles that can't be opened, and are passed over.
    pub findings: Vec<Finding>,
}

/// A bundle, and the store that has it.
struct Seen {
    store: String,
    bundle: Listed,
}

impl Wanted {
    /// Finds the newest bundle in the settings' stores. Renamed ones, and ones of some databases alone, are never taken.
    ///
    /// # Errors
    /// [`Kind::NotFound`] where there is none; [`Kind::Refused`] where it is not certain which one it is: an encrypted one that
    /// nobody here opens is newer, bundles are of several clusters, or one that nothing here knows is newer than all known ones. Where a
    /// store can't be listed.
    pub async fn find(&self, access: &Access, context: &Context) -> Result<Latest> {
        let (access, moved) = (access.clone(), context.clone());
        let seen = blocking(move || look(&access, &moved)).await?;
        let component = self.component.as_deref().unwrap_or(ORCHESTRATOR);
        let mut seen: Vec<Seen> = seen.into_iter().filter(|seen| seen.bundle.component == component).collect();
        // Of one bundle in several stores the first store's is taken: it is nearest.
        seen.sort_by_key(|seen| std::cmp::Reverse(seen.bundle.created));
        let candidates: Vec<&Seen> = seen.iter().filter(|seen| self.takes(&seen.bundle)).collect();
        self.check_one(&candidates)?;
        let known = candidates.iter().find(|seen| seen.bundle.counts);
        let Some(newest) = candidates.first() else { return Err(self.none(&seen)) };
        if let Some(known) = known.filter(|known| known.bundle.created < newest.bundle.created) {
            let message = format!(
                "{DOING}: nothing here knows who made {}, which is newer than {}, the newest that this machine knows",
                newest.path().display(),
                known.path().display()
            );
            return Err(Error::new(Kind::Refused, message).hint("name the one that you mean in place of `latest`"));
        }
        let newer = |seen: &&Seen| seen.bundle.created > newest.bundle.created;
        // In a store of several clusters a closed one that this machine does not know is most likely another cluster's.
        let may_be_it = |seen: &&Seen| seen.is_closed() && (known.is_none() || seen.bundle.counts);
        if let Some(closed) = seen.iter().filter(newer).find(may_be_it) {
            return Err(refuse_closed(closed));
        }
        let findings = seen.iter().filter(newer).filter_map(Seen::passed_over).collect();
        Ok(Latest { path: newest.path(), created: newest.bundle.created, findings })
    }

    fn takes(&self, bundle: &Listed) -> bool {
        let is_whole = bundle.opened && bundle.problem.is_none() && !bundle.facts.partial;
        let cluster = bundle.facts.cluster.as_deref();
        is_whole
            && bundle.renamed().is_none()
            && self.cluster.as_deref().is_none_or(|wanted| cluster.unwrap_or_default() == wanted)
    }

    /// Makes sure that all are of one cluster, and of one group of servers.
    fn check_one(&self, candidates: &[&Seen]) -> Result<()> {
        let of = |what: fn(&Listed) -> Option<&str>| {
            candidates.iter().map(|seen| what(&seen.bundle).unwrap_or_default()).collect::<BTreeSet<_>>()
        };
        let clusters = of(|bundle| bundle.facts.cluster.as_deref());
        if clusters.len() > 1 {
            let list = clusters.into_iter().collect::<Vec<_>>().join(", ");
            let error =
                Error::new(Kind::Refused, format!("{DOING}: the stores have bundles of several clusters: {list}"));
            return Err(error.hint("say which one you mean: --cluster NAME"));
        }
        let groups = of(|bundle| bundle.facts.group.as_deref());
        if groups.len() > 1 {
            let list = groups.into_iter().collect::<Vec<_>>().join(", ");
            let error =
                Error::new(Kind::Refused, format!("{DOING}: the component has several groups of servers: {list}"));
            return Err(error.hint("name the bundle in place of `latest`; `list` shows them"));
        }
        Ok(())
    }

    fn none(&self, seen: &[Seen]) -> Error {
        if let Some(closed) = seen.iter().find(|seen| seen.is_closed()) {
            return refuse_closed(closed);
        }
        let cluster = self.cluster.as_ref().map_or_else(String::new, |name| format!(" of cluster {name}"));
        let component = self.component.as_ref().map_or_else(String::new, |name| format!(" of component {name}"));
        let message = format!("{DOING}: no store of the settings has a good bundle{component}{cluster}");
        Error::new(Kind::NotFound, message).hint("`list` shows what there is; --config names other settings")
    }
}

fn refuse_closed(closed: &Seen) -> Error {
    let message =
        format!("{DOING}: {} may be it: it is encrypted, and no identity here opens it", closed.path().display());
    Error::new(Kind::Refused, message).hint("name the key that opens it: --identity FILE")
}

impl Seen {
    fn path(&self) -> PathBuf {
        file_in(&self.store, &self.bundle.file).into()
    }

    /// Whether nobody here can tell whose it is.
    fn is_closed(&self) -> bool {
        !self.bundle.opened && self.bundle.problem.is_none()
    }

    fn passed_over(&self) -> Option<Finding> {
        let problem = match &self.bundle.problem {
            Some(problem) => problem,
            None if self.is_closed() => "it is encrypted, and no identity here opens it",
            None => return None,
        };
        let finding = Finding::warning("newer-not-opened", self.path().display().to_string(), problem);
        Some(finding.hint("it is newer than the bundle that is taken; look at it by its name: `list` shows it"))
    }
}

/// All bundles of all stores, in the order of the stores.
///
/// # Errors
/// If a store can't be listed: it may have a newer bundle than all others.
fn look(access: &Access, context: &Context) -> Result<Vec<Seen>> {
    let identities = Identities::read(&access.identities)?;
    let knowledge = Knowledge::of(&access.signing, context);
    let mut seen = Vec::new();
    for known in &access.stores {
        let address = &known.address;
        let store = access.store(address.clone(), context)?;
        let listed = list(&*store, &identities, &knowledge, Cache::of(address, context)).map_err(|error| {
            let message = format!("{DOING}: {address} may have it, and can't be listed");
            Error::new(error.kind(), message)
                .because(error)
                .hint("name a bundle in place of `latest`; `list` shows them")
        })?;
        seen.extend(listed.into_iter().map(|bundle| Seen { store: address.to_string(), bundle }));
    }
    if access.signing.required {
        seen.retain(|seen| seen.bundle.counts || seen.is_closed());
    }
    Ok(seen)
}
