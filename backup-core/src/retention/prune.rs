//! A store's bundles judged, and those deleted that no rule keeps.

use chrono::{DateTime, Utc};

use super::{Candidate, Known, Policy, Verdict};
use crate::bundle::name::FileName;
use crate::catalog::{self, Cache, Listed, Series};
use crate::encryption::Identities;
use crate::store::{Store, open_stored};
use crate::{Error, Kind, Result};

/// Whose bundles are deleted, and by which rules.
#[derive(Clone)]
pub struct Pruning {
    /// The rules.
    pub policy: Policy,
    /// The cluster's name; empty where it has none.
    pub cluster: String,
    /// What opens encrypted bundles; one that can't be opened stays.
    pub identities: Identities,
    /// The one series that is looked at; none for all.
    pub only: Option<Series>,
    /// What an operator, or the journal of runs, knows of the bundles.
    pub known: Known,
}

impl Pruning {
    /// Judges all bundles of a store, and changes nothing.
    ///
    /// # Errors
    /// Where it can't be listed.
    pub fn plan(&self, store: &dyn Store, cache: Option<Cache>, now: DateTime<Utc>) -> Result<Verdict> {
        let listed = catalog::list(store, &self.identities, cache)?;
        let candidates: Vec<Candidate> = listed.iter().map(|listed| self.candidate(listed)).collect();
        let asked =
            |one: &Candidate| one.foreign.is_some() || self.only.as_ref().is_none_or(|only| one.series == *only);
        let candidates: Vec<Candidate> = candidates.into_iter().filter(asked).collect();
        Ok(self.policy.judge(&candidates, now, &self.known))
    }

    fn candidate(&self, listed: &Listed) -> Candidate {
        let cluster = listed.facts.cluster.as_deref().unwrap_or_default();
        let foreign = match &listed.problem {
            Some(problem) => Some(problem.clone()),
            None if !listed.opened => Some("it is encrypted, and no identity opens it".into()),
            None => self.foreign(cluster),
        };
        Candidate {
            file: listed.file.clone(),
            series: listed.series(),
            created: listed.created,
            length: listed.length,
            foreign,
            proved: listed.drill.as_ref().is_some_and(crate::restore::Drill::passed),
            locked_until: listed.locked_until,
        }
    }

    fn foreign(&self, cluster: &str) -> Option<String> {
        let other = if cluster.is_empty() { "no name".into() } else { format!("the name {cluster}") };
        (cluster != self.cluster).then(|| format!("it is of a cluster of {other}"))
    }

    /// Deletes a bundle, after a last look whether it is what it was taken for.
    ///
    /// # Errors
    /// [`Kind::Refused`] where it is not; where it can't be deleted.
    pub fn remove(&self, store: &dyn Store, file: &str) -> Result<()> {
        let doing = || format!("delete {file} in {}", store.location());
        let refused = |why: String| Error::new(Kind::Refused, doing()).because(why);
        let name: FileName = file.parse().map_err(|_| refused("it is not called as bundles are".into()))?;
        let bundle = open_stored(store, &self.identities, &name)?;
        let bundle = bundle.ok_or_else(|| refused("it can't be opened".into()))?;
        match self.foreign(bundle.manifest().source.cluster.as_deref().unwrap_or_default()) {
            Some(why) => Err(refused(why)),
            None => store.remove(&name),
        }
    }
}
