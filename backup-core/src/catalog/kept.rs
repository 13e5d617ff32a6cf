//! Bundles that rules do not delete, as a record beside them says.

use chrono::{DateTime, Utc};

use crate::keep::Keep;
use crate::names::FileName;
use crate::store::{KEEP, Store};
use crate::{Error, ErrorContext, Kind, Result};

/// Why a bundle is kept that has a record which cannot be read.
pub const UNREAD: &str = "kept: the record that says until when can't be read";

/// The record that lies beside a bundle, if one does.
///
/// # Errors
/// If it cannot be read: the bundle counts as kept then.
pub fn kept(store: &dyn Store, name: &FileName) -> Result<Option<Keep>> {
    let Some(record) = store.read_beside(name, KEEP)? else { return Ok(None) };
    let doing = || format!("read {name}{KEEP} in {}", store.location());
    serde_json::from_slice(&record).map(Some).map_err(|cause| Error::new(Kind::Damaged, doing()).because(cause))
}

/// Why no rule may delete a bundle at this moment, as its record says.
pub fn why_kept(store: &dyn Store, name: &FileName, now: DateTime<Utc>) -> Option<String> {
    match kept(store, name) {
        Ok(keep) => keep.filter(|keep| keep.holds(now)).map(|keep| keep.shown()),
        Err(error) => Some(format!("{UNREAD}: {}", error.chain().join(": "))),
    }
}

/// Keeps a bundle, in place of what a record beside it said.
///
/// # Errors
/// [`Kind::NotFound`] if there is no such bundle; where the record cannot be written.
pub fn keep(store: &dyn Store, name: &FileName, keep: &Keep) -> Result<()> {
    store.open(name).map(drop)?;
    let mut text = serde_json::to_vec(keep).context(|| "write the record that keeps the bundle".into())?;
    text.push(b'\n');
    store.write_beside(name, KEEP, &text)?;
    // Another machine may have judged it before, and deleted it meanwhile.
    store.open(name).map(drop)
}

/// Lets rules delete a bundle again.
///
/// # Errors
/// [`Kind::NotFound`] if there is no such bundle; where the record cannot be deleted.
pub fn release(store: &dyn Store, name: &FileName) -> Result<()> {
    store.open(name).map(drop)?;
    store.remove_beside(name, KEEP)
}
