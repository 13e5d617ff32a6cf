//! Which bundles this machine has read in full, where, and when: `verified.json` of the state directory.

use std::fs;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::bundle::digest::Sha256Digest;
use crate::{Context, ErrorContext, Result, state};

/// Notes that are kept.
const MOST: usize = 1000;

/// A bundle that was read in full, and was whole.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Verified {
    /// Its manifest's digest.
    pub(super) sha256: Sha256Digest,
    /// The store.
    pub(super) place: String,
    /// When.
    pub(super) time: DateTime<Utc>,
}

fn file(context: &Context) -> Result<PathBuf> {
    state::directory(context).map(|directory| directory.join("verified.json"))
}

/// All notes; what can't be read says nothing.
pub(super) fn all(context: &Context) -> Vec<Verified> {
    let text = file(context).ok().and_then(|path| fs::read(path).ok());
    text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// Notes that a bundle was read in full in a store, and is whole.
///
/// # Errors
/// Where it can't be kept.
pub fn note_verified(digest: &Sha256Digest, location: &str, context: &Context) -> Result<()> {
    let path = file(context)?;
    let place = place_of(location);
    let mut notes = all(context);
    notes.retain(|one| !(one.sha256 == *digest && one.place == place));
    notes.push(Verified { sha256: *digest, place, time: context.now() });
    notes.drain(..notes.len().saturating_sub(MOST));
    let doing = || format!("write {}", path.display());
    let text = serde_json::to_vec(&notes).context(doing)?;
    state::write(&path, &text).context(doing)
}

/// A store's location, however a directory is called.
pub fn place_of(location: &str) -> String {
    let real = Path::new(location).canonicalize().ok();
    real.and_then(|path| path.to_str().map(str::to_owned)).unwrap_or_else(|| location.into())
}
