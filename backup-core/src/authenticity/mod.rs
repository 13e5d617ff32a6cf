//! Who made a bundle, as far as can be told here: a key that the settings trust, this machine, or nobody that is known.
//!
//! Digests in a bundle prove that it is whole, and not whose it is: whoever can write into a store can write a whole bundle there.

mod knowledge;
mod verified;

use std::path::{Path, PathBuf};

pub use knowledge::Knowledge;
pub use verified::{note_verified, place_of};

use crate::Context;
use crate::digest::Sha256Digest;
use crate::finding::Finding;
use crate::signing::{Origin, read_small};
use crate::store::{Access, SIGNATURE};

/// The origin of an open bundle, by its file or address and its manifest's digest. It blocks.
pub fn origin(bundle: &Path, digest: &Sha256Digest, access: &Access, context: &Context) -> Origin {
    let knowledge = Knowledge::of(&access.signing, context);
    let signature = signature_beside(bundle, access, context);
    knowledge.origin(digest, signature.as_deref())
}

fn signature_beside(bundle: &Path, access: &Access, context: &Context) -> Option<Vec<u8>> {
    if access.signing.trusted.is_empty() {
        return None;
    }
    match access.place(bundle, context).ok()? {
        Some((store, name)) => store.read_beside(&name, SIGNATURE).ok()?,
        // A file may have been given any name.
        None => read_small(&PathBuf::from(format!("{}{SIGNATURE}", bundle.display()))).ok(),
    }
}

/// What a bundle's origin has to say before anything is done with it.
pub fn finding(shown: &str, origin: &Origin) -> Option<Finding> {
    let hint = origin.hint()?;
    let message = "nothing here knows who made it: neither a key that is trusted nor the journal of runs";
    Some(Finding::unknown("bundle-unknown", shown, message).hint(hint))
}
