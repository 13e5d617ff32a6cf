//! Where bundles are kept. A new place is one new [`Store`].

mod local;
mod memory;

use std::io::Write;

pub use local::{Directory, open_file};
pub use memory::Memory;

use crate::Result;
use crate::bundle::manifest::Sha256Digest;
use crate::bundle::name::BundleName;
use crate::bundle::reader::ReadAt;

/// A bundle in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its name.
    pub name: BundleName,
    /// Its length in bytes.
    pub length: u64,
}

/// A place that keeps bundles.
///
/// What every store promises, and the contract test holds it to:
/// - A bundle appears under its name only by [`Upload::publish`], whole, durable, and never over another one.
/// - An upload that is dropped leaves nothing that [`Store::list`] or the next upload would meet.
/// - Listing shows bundles alone, oldest first, whatever else lies there.
/// - Reads are ranged: opening a bundle costs no more than what is read of it.
pub trait Store: Send + Sync {
    /// How the place is called in messages.
    fn location(&self) -> String;

    /// Begins an upload, taking the store's lock until it ends.
    ///
    /// # Errors
    /// [`crate::Kind::Locked`] where another run is writing there.
    fn begin(&self, name: &BundleName) -> Result<Box<dyn Upload>>;

    /// The bundles, oldest first.
    ///
    /// # Errors
    /// [`crate::Kind::NotFound`] where the place does not exist.
    fn list(&self) -> Result<Vec<Stored>>;

    /// What lies beside a bundle under its name and `suffix`, if something does; it is small.
    ///
    /// # Errors
    /// Where it can't be read.
    fn read_beside(&self, name: &BundleName, suffix: &str) -> Result<Option<Vec<u8>>>;

    /// Puts something small beside a bundle, in place of what is there.
    ///
    /// # Errors
    /// Where it can't be written; what was there is there still.
    fn write_beside(&self, name: &BundleName, suffix: &str, content: &[u8]) -> Result<()>;

    /// Opens a bundle for reading.
    ///
    /// # Errors
    /// [`crate::Kind::NotFound`] where it does not exist.
    fn open(&self, name: &BundleName) -> Result<Box<dyn ReadAt>>;
}

/// A bundle on its way into a store. Dropping it gives it up.
pub trait Upload: Write + Send {
    /// What takes the upload back from outside, for when its writer hangs and can't be dropped.
    fn abandon(&self) -> Box<dyn FnOnce() + Send>;

    /// Makes the bundle appear under its name and returns where it is. `digest` is that of all its bytes.
    ///
    /// # Errors
    /// [`crate::Kind::Refused`] where a bundle of this name exists; it is left untouched.
    fn publish(self: Box<Self>, digest: &Sha256Digest) -> Result<String>;
}

impl ReadAt for Box<dyn ReadAt> {
    fn length(&self) -> std::io::Result<u64> {
        (**self).length()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        (**self).read_at(offset, buffer)
    }
}
