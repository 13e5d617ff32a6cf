//! What lies beside a bundle and goes with it: its signature, and the record of its drill.

use super::source::Source;
use crate::finding::Finding;
use crate::names::FileName;
use crate::store::{DRILL, DRILL_SIGNATURE, SIGNATURE, Store};

/// What goes with a bundle: suffixes of its name, and what stands there.
pub(super) struct Taken(Vec<(&'static str, Vec<u8>)>);

impl Taken {
    /// Reads it. If it cannot be read, the bundle goes without it, and a warning says so.
    pub(super) fn of(source: &Source) -> (Self, Vec<Finding>) {
        let (mut files, mut warnings) = (Vec::new(), Vec::new());
        // A record without its signature says less, and a signature without its record says nothing.
        for suffix in [SIGNATURE, DRILL, DRILL_SIGNATURE] {
            match source.beside.read(suffix) {
                Ok(content) => files.extend(content.map(|content| (suffix, content))),
                Err(error) => {
                    warnings.push(Finding::warning_from_error(
                        "beside-not-read",
                        format!("{}{suffix}", source.shown),
                        &error,
                    ));
                }
            }
        }
        (Self(files), warnings)
    }

    /// All of it.
    pub(super) fn files(&self) -> &[(&'static str, Vec<u8>)] {
        &self.0
    }

    /// Puts beside a bundle that was there what is missing there, and says what could not be put there.
    pub(super) fn complete(&self, store: &dyn Store, name: &FileName) -> Vec<Finding> {
        let has = |suffix| store.read_beside(name, suffix).map(|content| content.is_some());
        let mut warnings = Vec::new();
        // A drill's record of the store's own stays, and takes no signature of another record.
        let drilled = has(DRILL);
        for (suffix, content) in &self.0 {
            let there = if *suffix == SIGNATURE { has(SIGNATURE) } else { drilled.as_ref().copied().map_err(again) };
            let put = there.and_then(|there| if there { Ok(()) } else { store.write_beside(name, suffix, content) });
            let not_put = |error| Finding::warning_from_error("beside-not-written", store.location(), &error);
            warnings.extend(put.err().map(not_put));
        }
        warnings
    }
}

/// The same error once more.
fn again(error: &crate::Error) -> crate::Error {
    crate::Error::new(error.kind(), error.chain().join(": "))
}
