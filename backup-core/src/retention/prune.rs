//! A store's bundles judged, and those deleted that no rule keeps.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::{Candidate, Known, NOT_NOW, Policy, Verdict};
use crate::authenticity::Knowledge;
use crate::catalog::{self, Cache, Listed, UNREAD};
use crate::digest::Sha256Digest;
use crate::drill::Drill;
use crate::encryption::Identities;
use crate::finding::Finding;
use crate::names::FileName;
use crate::names::Series;
use crate::signing::Origin;
use crate::store::{Store, open_stored};
use crate::{Error, Kind, Result};

/// Why no rule is for it.
const PARTIAL: &str = "it has some of the databases alone";

/// Whose bundles are deleted, and by which rules.
#[derive(Clone)]
pub struct Pruning {
    /// The rules.
    pub policy: Policy,
    /// The cluster's name; empty where it has none.
    pub cluster: String,
    /// What opens encrypted bundles; one that can't be opened stays.
    pub identities: Identities,
    /// What bundles and drills are known by.
    pub knowledge: Knowledge,
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
        let listed = catalog::list(store, &self.identities, &self.knowledge, cache)?;
        let mut seen = BTreeSet::new();
        let candidates: Vec<Candidate> = listed.iter().map(|listed| self.candidate(listed, now, &mut seen)).collect();
        let asked =
            |one: &Candidate| one.foreign.is_some() || self.only.as_ref().is_none_or(|only| one.series == *only);
        let candidates: Vec<Candidate> = candidates.into_iter().filter(asked).collect();
        let mut verdict = self.policy.judge(&candidates, now, &self.known);
        self.look_again(store, &listed, &candidates, &mut verdict);
        verdict.withheld.extend(self.unopened(&listed, &store.location()));
        verdict.withheld.extend(self.keeps_unread(&listed));
        if verdict.decisions.iter().any(|one| !one.kept) || candidates.iter().any(|one| one.unknown.is_some()) {
            verdict.withheld.extend(self.knowledge.unseen().cloned());
        }
        Ok(verdict)
    }

    /// Encrypted bundles that nobody here can judge, which stay for ever unless somebody knows.
    fn unopened(&self, listed: &[Listed], store: &str) -> Option<Finding> {
        let asked = |one: &&Listed| self.only.as_ref().is_none_or(|only| one.component == only.component);
        let closed = |one: &&Listed| one.encrypted && !one.opened && !one.damaged;
        let many = listed.iter().filter(asked).filter(closed).count();
        let message = match many {
            0 => return None,
            1 => "an encrypted bundle can't be opened here: whose it is can't be seen, so it stays".into(),
            _ => format!("{many} encrypted bundles can't be opened here: whose they are can't be seen, so they stay"),
        };
        let hint = "name their identity in [encryption].identities; where there is to be none, leave [retention] out and `prune` elsewhere";
        Some(Finding::warning("not-opened", store, message).hint(hint))
    }

    /// Bundles that stay because nobody can read until when somebody keeps them.
    fn keeps_unread(&self, listed: &[Listed]) -> Vec<Finding> {
        let asked = listed.iter().filter(|one| self.only.as_ref().is_none_or(|only| one.component == only.component));
        let finding = |one: &Listed| {
            let problem = one.keep_problem.as_ref()?;
            let hint = "look at the record; the command keep writes another one, and lets rules delete the bundle with --release";
            Some(Finding::warning("keep-unread", &one.file, format!("{UNREAD}: {problem}")).hint(hint))
        };
        asked.filter_map(finding).collect()
    }

    /// Opens the newest known bundle of each series of which something would go. A cache knows bundles by name and length, and another
    /// one may have been written over it since.
    fn look_again(&self, store: &dyn Store, listed: &[Listed], candidates: &[Candidate], verdict: &mut Verdict) {
        let going = candidates.iter().zip(&verdict.decisions).filter(|(_, decision)| !decision.kept);
        let series: BTreeSet<Series> = going.map(|(candidate, _)| candidate.series.clone()).collect();
        for series in series {
            let of_it = |one: &&Candidate| one.series == series && one.foreign.is_none() && one.unknown.is_none();
            let Some(newest) = candidates.iter().filter(of_it).max_by_key(|one| one.created) else { continue };
            let digest = listed.iter().find(|one| one.file == newest.file).and_then(|one| one.facts.manifest_sha256);
            let opened = newest.file.parse::<FileName>().ok().map(|name| open_stored(store, &self.identities, &name));
            let same = matches!(opened, Some(Ok(Some(bundle))) if Some(Sha256Digest(bundle.footer().manifest_digest)) == digest);
            if same {
                continue;
            }
            let message = "it is not the bundle any more that it was, or can't be opened";
            let hint = format!("look at it: `verify {}/{}`", store.location(), newest.file);
            verdict.withheld.push(Finding::warning("newest-changed", &newest.file, message).hint(hint));
            let of_series = candidates.iter().zip(&mut verdict.decisions).filter(|(one, _)| one.series == series);
            for (_, decision) in of_series.filter(|(_, decision)| !decision.kept) {
                (decision.kept, decision.why) = (true, NOT_NOW.into());
            }
        }
    }

    fn candidate(&self, listed: &Listed, now: DateTime<Utc>, seen: &mut BTreeSet<[u8; 32]>) -> Candidate {
        let cluster = listed.facts.cluster.as_deref().unwrap_or_default();
        let foreign = match &listed.problem {
            Some(problem) => Some(problem.clone()),
            None if !listed.opened => Some("it is encrypted, and no identity opens it".into()),
            None if listed.facts.partial => Some(PARTIAL.into()),
            None => self.foreign(cluster),
        };
        Candidate {
            file: listed.file.clone(),
            series: listed.series(),
            created: listed.created,
            length: listed.length,
            foreign,
            proved: listed.drill_known && listed.drill.as_ref().is_some_and(Drill::passed),
            unknown: unknown(listed, seen),
            verified: listed.verified,
            locked_until: listed.locked_until,
            kept: listed.why_kept(now),
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
    pub fn remove(&self, store: &dyn Store, file: &str, now: DateTime<Utc>) -> Result<()> {
        let doing = || format!("delete {file} in {}", store.location());
        let refused = |why: String| Error::new(Kind::Refused, doing()).because(why);
        let name: FileName = file.parse().map_err(|_| refused("it is not called as bundles are".into()))?;
        let bundle = open_stored(store, &self.identities, &name)?;
        let bundle = bundle.ok_or_else(|| refused("it can't be opened".into()))?;
        let source = &bundle.manifest().source;
        match self.foreign(source.cluster.as_deref().unwrap_or_default()) {
            Some(why) => Err(refused(why)),
            None if source.partial => Err(refused(PARTIAL.into())),
            // Somebody may have kept it since it was judged.
            None => match catalog::why_kept(store, &name, now) {
                Some(why) => Err(refused(why)),
                None => store.remove(&name),
            },
        }
    }
}

/// Why a bundle takes no place in any rule, where it does not. A copy of one that is known takes none either: it could be put there as
/// often as somebody likes.
fn unknown(listed: &Listed, seen: &mut BTreeSet<[u8; 32]>) -> Option<String> {
    if !listed.counts {
        return Some(match &listed.origin {
            Origin::Unknown => "nothing here knows who made it".into(),
            _ => "no key that the settings trust has signed it".into(),
        });
    }
    if let Some(name) = listed.renamed() {
        return Some(format!("its own name is {name}"));
    }
    let first = listed.facts.manifest_sha256.is_none_or(|digest| seen.insert(digest.0));
    (!first).then(|| "it is a copy of another one here".into())
}
