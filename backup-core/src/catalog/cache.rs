//! What manifests of bundles far away have said, kept on this machine: a bundle never changes, so it need be asked only once.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Facts;
use crate::store::{Address, Stored};
use crate::{Context, state, trusted};

/// Facts of one store's bundles. What can't be read or written is as if it had not been kept.
#[derive(Default)]
pub struct Cache {
    /// None where there is no place for it.
    path: Option<PathBuf>,
    kept: BTreeMap<String, Kept>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    length: u64,
    facts: Facts,
}

impl Cache {
    /// What is kept of a store; none of a directory, for what is on this machine is read as fast.
    pub fn of(store: &Address, context: &Context) -> Option<Self> {
        (!matches!(store, Address::Directory(_))).then(|| Self::at(&store.to_string(), context))
    }

    fn at(location: &str, context: &Context) -> Self {
        let environment = &context.environment;
        let base = environment.get("XDG_CACHE_HOME").map(PathBuf::from);
        let base = base.or_else(|| environment.home.as_ref().map(|home| home.join(".cache")));
        let name = &hex::encode(Sha256::digest(location))[..32];
        let path = base.map(|base| base.join("orchestrator-cli/catalog").join(format!("{name}.json")));
        // By what it says bundles are deleted.
        let path = path.filter(|path| trusted::is_trusted(path));
        let text = path.as_ref().and_then(|path| fs::read(path).ok());
        let kept = text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        Self { path, kept }
    }

    /// What is kept of a bundle. Of an encrypted one nothing ever is: it would stand here for all to read.
    pub(super) fn get(&self, bundle: &Stored) -> Option<Facts> {
        let kept = self.kept.get(&bundle.name.to_string()).filter(|kept| kept.length == bundle.length)?;
        Some(kept.facts.clone())
    }

    /// Keeps these facts and no others.
    pub(super) fn keep<'f>(self, facts: impl Iterator<Item = (&'f Stored, &'f Facts)>) {
        let facts = facts.filter(|(bundle, _)| !bundle.name.encrypted);
        let kept: BTreeMap<String, Kept> = facts
            .map(|(bundle, facts)| (bundle.name.to_string(), Kept { length: bundle.length, facts: facts.clone() }))
            .collect();
        if let Some(path) = &self.path {
            // Without a cache all is well, only slower.
            let _ = serde_json::to_vec(&kept).map(|text| state::write(path, &text));
        }
    }
}
