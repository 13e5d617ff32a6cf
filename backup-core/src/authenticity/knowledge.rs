//! What this machine knows bundles and drills by: its journal of runs, and the keys that the settings trust.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::verified::{self, Verified};
use crate::digest::Sha256Digest;
use crate::drill::Drill;
use crate::finding::Finding;
use crate::runs::{Run, Runs};
use crate::schedule::Job;
use crate::signing::{Origin, Signing};
use crate::{Context, state};

/// All of it, read once. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Knowledge {
    signing: Signing,
    noted: Arc<Noted>,
    /// A bundle that was made just now, and stands in no journal yet.
    made_now: Option<Sha256Digest>,
}

/// What the journals say.
#[derive(Debug, Default)]
struct Noted {
    made: BTreeSet<[u8; 32]>,
    /// By name, every length, and whether there is a digest beside it.
    named: BTreeMap<String, Vec<(u64, bool)>>,
    drills: Vec<NotedDrill>,
    verified: Vec<Verified>,
    unseen: Option<Finding>,
}

/// A drill of this machine.
#[derive(Debug)]
struct NotedDrill {
    bundle: String,
    sha256: Option<Sha256Digest>,
    began: DateTime<Utc>,
    ended: DateTime<Utc>,
    passed: bool,
}

impl Knowledge {
    /// Reads the journal of runs, and the machine's, where others than root ask. What can't be read knows nothing.
    pub fn of(signing: &Signing, context: &Context) -> Self {
        let mut noted = Noted::default();
        match Runs::of(context).and_then(|runs| runs.all()) {
            Ok(runs) => noted.take(&runs),
            Err(error) => noted.unseen = Some(Finding::warning_from_error("runs-unseen", "journal of runs", &error)),
        }
        let others = Runs::of_others(context).into_iter().flatten();
        for journal in others {
            match journal {
                Ok(runs) => noted.take_as_said(runs),
                Err(error) => {
                    noted.unseen = Some(Finding::warning_from_error("runs-unseen", "journal of runs", &error))
                }
            }
        }
        if !state::is_apart(context) {
            let machines = Runs::at(Path::new(state::MACHINE));
            noted.take(&machines.all().unwrap_or_default());
        }
        noted.verified = verified::all(context);
        Self { signing: signing.clone(), noted: Arc::new(noted), made_now: None }
    }

    /// The same, and a bundle that was made just now.
    #[must_use]
    pub fn with_made(self, digest: Option<Sha256Digest>) -> Self {
        Self { made_now: digest, ..self }
    }

    /// Why the journal of runs can't be read, where it can't.
    pub fn unseen(&self) -> Option<&Finding> {
        self.noted.unseen.as_ref()
    }

    /// What the settings say of signatures.
    pub fn signing(&self) -> &Signing {
        &self.signing
    }

    /// Whether signatures are worth reading.
    pub fn reads_signatures(&self) -> bool {
        !self.signing.trusted.is_empty()
    }

    /// Who made a bundle with this manifest.
    pub fn origin(&self, digest: &Sha256Digest, signature: Option<&[u8]>) -> Origin {
        let signer = signature.and_then(|signature| self.signing.signer_of_bundle(digest, signature));
        match signer {
            Some(signer) => Origin::Signed { signed_by: signer.into() },
            None if self.made_now == Some(*digest) || self.noted.made.contains(&digest.0) => Origin::MadeHere,
            None => Origin::Unknown,
        }
    }

    /// Who made a bundle of this name and length, where its manifest could not be read (`opened` is false), or is in no journal.
    pub fn origin_by_name(&self, name: &str, length: u64, opened: bool) -> Origin {
        let is = |(of, has_digest): &(u64, bool)| *of == length && !(opened && *has_digest);
        match self.noted.named.get(name) {
            Some(lengths) if lengths.iter().any(is) => Origin::NamedHere,
            _ => Origin::Unknown,
        }
    }

    /// Whether bundles of this origin count: where the settings demand signatures, signed ones alone.
    pub fn counts(&self, origin: &Origin) -> bool {
        if self.signing.required { matches!(origin, Origin::Signed { .. }) } else { origin.is_known() }
    }

    /// Whether a drill is one of this machine's, or its record is signed.
    pub fn knows_drill(&self, drill: &Drill, record: &[u8], signature: Option<&[u8]>) -> bool {
        let signed = signature.is_some_and(|signature| self.signing.signer_of_record(record, signature).is_some());
        signed || self.noted.drills.iter().any(|noted| noted.is(drill))
    }

    /// When a bundle was last read in full in a store, by this machine.
    pub fn verified(&self, digest: &Sha256Digest, location: &str) -> Option<DateTime<Utc>> {
        let place = verified::place_of(location);
        let same = self.noted.verified.iter().filter(|one| one.sha256 == *digest && one.place == place);
        same.map(|one| one.time).max()
    }
}

impl Noted {
    /// Takes what another user's journal says: that user makes and deletes bundles in root's stores, so they count, and are not
    /// proved by it.
    fn take_as_said(&mut self, mut runs: Vec<Run>) {
        runs.iter_mut()
            .filter(|run| run.job != Job::Drill)
            .flat_map(|run| &mut run.parts)
            .for_each(|part| part.manifest_sha256 = None);
        self.take(&runs);
    }

    fn take(&mut self, runs: &[Run]) {
        for run in runs {
            for part in &run.parts {
                let Some(name) = &part.bundle else { continue };
                if run.job == Job::Drill {
                    self.drills.push(NotedDrill {
                        bundle: name.clone(),
                        sha256: part.manifest_sha256,
                        began: run.began,
                        ended: run.ended.unwrap_or(run.began),
                        passed: part.failed.is_none(),
                    });
                    continue;
                }
                self.made.extend(part.manifest_sha256.map(|digest| digest.0));
                if let Some(length) = part.length {
                    self.named.entry(name.clone()).or_default().push((length, part.manifest_sha256.is_some()));
                }
            }
        }
    }
}

impl NotedDrill {
    /// Journals of earlier versions have the bundle's name alone.
    fn is(&self, drill: &Drill) -> bool {
        let same = self.sha256.map_or(self.bundle == drill.bundle, |digest| digest == drill.manifest_sha256);
        same && self.passed == drill.passed() && (self.began..=self.ended).contains(&drill.time)
    }
}
