//! Which bundles this machine has read in full, where, and when: `verified.json` of the state directory.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::digest::Sha256Digest;
use crate::{Context, ErrorContext, Result, state};

const FILE: &str = "verified.json";
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
    state::directory(context).map(|directory| directory.join(FILE))
}

/// All notes in a file; what can't be read says nothing.
fn read(path: &Path) -> Vec<Verified> {
    let text = state::read(path, || format!("read {}", path.display())).ok().flatten();
    text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// All notes of this user, and root's, where they hold for this user.
pub(super) fn all(context: &Context) -> Vec<Verified> {
    let own = file(context).ok();
    let roots = (!state::is_apart(context)).then(|| Path::new(state::MACHINE).join(FILE));
    own.into_iter().chain(roots).flat_map(|path| read(&path)).collect()
}

/// Notes that a bundle was read in full in a store, and is whole.
///
/// # Errors
/// Where it can't be kept.
pub fn note_verified(digest: &Sha256Digest, location: &str, context: &Context) -> Result<()> {
    let path = file(context)?;
    let doing = || format!("write {}", path.display());
    let directory = state::directory(context)?;
    state::make_for("the state directory", &directory)?;
    let _turn = state::turn(&path, doing)?;
    let mut notes = read(&path);
    let place = place_of(location);
    notes.retain(|one| !(one.sha256 == *digest && one.place == place));
    notes.push(Verified { sha256: *digest, place, time: context.now() });
    notes.drain(..notes.len().saturating_sub(MOST));
    let text = serde_json::to_vec(&notes).context(doing)?;
    // Root's holds for the jobs, and nothing in it is secret.
    state::write_with_mode(&path, &text, 0o644).context(doing)
}

/// A store's location, however a directory is called.
pub fn place_of(location: &str) -> String {
    let real = Path::new(location).canonicalize().ok();
    real.and_then(|path| path.to_str().map(str::to_owned)).unwrap_or_else(|| location.into())
}
