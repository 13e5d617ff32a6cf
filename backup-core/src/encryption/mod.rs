//! Encryption of whole bundles with age: to recipients when they are written, by identities when they are read.
//! `age -d -i IDENTITY bundle.tgz.age | tar xz` does without this tool.

mod envelope;
mod identity;
mod opened;
mod recipient;
mod stream;

pub use envelope::Envelope;
pub use identity::{Identities, generate, open_to_others};
pub use opened::{Decrypted, is_encrypted};
pub use recipient::Recipients;
pub(crate) use stream::decrypt;
