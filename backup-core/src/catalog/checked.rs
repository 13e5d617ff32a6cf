//! Bundles of stores, each read in full and compared with its digests.

use serde::Serialize;

use crate::authenticity::{Knowledge, note_verified};
use crate::bundle::verify::{Verification, verify};
use crate::encryption::Identities;
use crate::event::Meter;
use crate::finding::Finding;
use crate::names::FileName;
use crate::signing::Origin;
use crate::store::{SIGNATURE, Store, bytes_stored};
use crate::{Context, Error, Kind, Result};

/// What a verification of one bundle of a store has shown.
#[derive(Debug, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Checked {
    /// Every byte is as its digests say.
    Sound(Origin),
    /// Bytes differ.
    Damaged {
        /// All that is wrong, in the order of the file.
        damage: Vec<Finding>,
    },
    /// Every byte is as its digests say, and the settings demand a signature that it does not have.
    Unsigned {
        /// Why it is refused.
        problem: String,
    },
    /// It is encrypted, and no identity opens it: nothing is known of its bytes.
    Closed {
        /// Why it cannot be opened.
        problem: String,
    },
    /// It has a format that this version does not read.
    Unsupported {
        /// Which one.
        problem: String,
    },
    /// It could not be read: nothing is known of its bytes.
    Unread {
        /// Why.
        problem: String,
    },
}

/// What it takes to verify the bundles of stores.
pub struct Checking<'c> {
    /// What opens encrypted bundles.
    pub identities: &'c Identities,
    /// What bundles are known by.
    pub knowledge: &'c Knowledge,
    /// What stops it.
    pub context: &'c Context,
    /// How far it is.
    pub meter: &'c Meter,
}

impl Checking<'_> {
    /// Verifies one bundle of a store. A bundle that cannot be verified is a result, too.
    ///
    /// # Errors
    /// [`Kind::Interrupted`].
    pub fn bundle(&self, store: &dyn Store, name: &FileName) -> Result<Checked> {
        self.look(store, name).or_else(|error| {
            let problem = error.chain().join(": ");
            match error.kind() {
                Kind::Interrupted => Err(error),
                Kind::Damaged => Ok(Checked::Damaged { damage: vec![damaged(name, &error)] }),
                Kind::Unsupported => Ok(Checked::Unsupported { problem }),
                Kind::Refused if name.encrypted => Ok(Checked::Closed { problem }),
                _ => Ok(Checked::Unread { problem }),
            }
        })
    }

    fn look(&self, store: &dyn Store, name: &FileName) -> Result<Checked> {
        let Some(bytes) = bytes_stored(store, self.identities, name)? else {
            return Ok(Checked::Closed { problem: "it is encrypted, and no identity is given".into() });
        };
        let Verification { manifest_sha256, damage, .. } = verify(bytes, self.context, self.meter)?;
        let Some(digest) = manifest_sha256.filter(|_| damage.is_empty()) else {
            return Ok(Checked::Damaged { damage });
        };
        // Whoever may write no state is as good a reader.
        let _ = note_verified(&digest, &store.location(), self.context);
        let signature = self.knowledge.reads_signatures().then(|| store.read_beside(name, SIGNATURE).ok().flatten());
        let origin = self.knowledge.origin(&digest, signature.flatten().as_deref());
        let demanded = origin.demand(self.knowledge.signing(), "verify it");
        Ok(match demanded {
            Ok(()) => Checked::Sound(origin),
            Err(error) => Checked::Unsigned { problem: error.to_string() },
        })
    }
}

fn damaged(name: &FileName, error: &Error) -> Finding {
    Finding::from_error("damaged", name.to_string(), error)
}
