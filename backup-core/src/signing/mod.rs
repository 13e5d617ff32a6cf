//! Signatures: the keys that sign, the keys that are trusted, and what they show of where something comes from.

mod keys;
mod origin;

pub(crate) use keys::read_small;
pub use keys::{Signer, Signing, generate};
pub use origin::{Origin, UNKNOWN};
