//! What makes a store of its settings.

use std::fmt;
use std::sync::Arc;

use super::{Address, Directory, Limited, Rclone, Sftp, Store, StoreSettings};
use crate::{Context, Error, Kind, Result};

/// The kinds of stores that a program knows.
#[derive(Clone)]
pub struct Connector(Arc<Connect>);

type Connect = dyn Fn(&StoreSettings, &Context) -> Result<Arc<dyn Store>> + Send + Sync;

impl Connector {
    /// One that makes stores by this function, which may go on to [`connect`].
    pub fn new(connect: impl Fn(&StoreSettings, &Context) -> Result<Arc<dyn Store>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(connect))
    }

    /// The store that settings name.
    ///
    /// # Errors
    /// Where they make no sense; [`Kind::Unsupported`] for a kind that the program does not know.
    pub fn connect(&self, settings: &StoreSettings, context: &Context) -> Result<Arc<dyn Store>> {
        let store = self.0(settings, context)?;
        Ok(match settings.limit_rate {
            Some(rate) => Arc::new(Limited::new(store, rate)),
            None => store,
        })
    }
}

/// Of the kinds that need no other crate.
impl Default for Connector {
    fn default() -> Self {
        Self::new(connect)
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Connector")
    }
}

/// The store that settings name, of the kinds that need no other crate.
///
/// # Errors
/// [`Kind::Unsupported`] for another kind.
pub fn connect(settings: &StoreSettings, context: &Context) -> Result<Arc<dyn Store>> {
    match &settings.address {
        Address::Directory(path) => Ok(Arc::new(Directory::new(path).on(settings.require_mount.clone()))),
        Address::Sftp(address) => Ok(Arc::new(Sftp::new(address, &settings.sftp, context))),
        Address::Rclone(address) => Ok(Arc::new(Rclone::new(address, &settings.rclone, context))),
        address => Err(Error::new(Kind::Unsupported, format!("open {address}: this program has no such store"))),
    }
}
