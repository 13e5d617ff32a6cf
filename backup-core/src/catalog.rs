//! The bundles in a store, each with what its manifest says.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::bundle::name::BundleName;
use crate::bundle::reader::Bundle;
use crate::store::Store;
use crate::{Kind, Result};

/// A bundle as `list` shows it.
#[derive(Debug, Serialize)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// When it was begun.
    pub created: DateTime<Utc>,
    /// Its length in bytes.
    pub length: u64,
    /// Cluster it came from.
    pub cluster: Option<String>,
    /// Release that ran.
    pub release: Option<String>,
    /// Its databases.
    pub databases: Vec<String>,
    /// Rows in all of them.
    pub rows: u64,
    /// Number of warnings of its backup.
    pub warnings: usize,
    /// Why it can't be opened, where it can't.
    pub problem: Option<String>,
    /// Whether that is damage; else it may only be closed to us, or of a newer format.
    pub damaged: bool,
}

/// Lists a store, oldest bundle first. A bundle that can't be opened is listed with its problem.
///
/// # Errors
/// Where the store itself can't be read.
pub fn list(store: &dyn Store) -> Result<Vec<Listed>> {
    Ok(store.list()?.into_iter().map(|stored| describe(store, &stored.name, stored.length)).collect())
}

fn describe(store: &dyn Store, name: &BundleName, length: u64) -> Listed {
    let opened = store.open(name).and_then(Bundle::open);
    let mut listed = Listed {
        name: name.to_string(),
        created: name.time(),
        length,
        cluster: None,
        release: None,
        databases: Vec::new(),
        rows: 0,
        warnings: 0,
        damaged: false,
        problem: None,
    };
    match opened {
        Ok(bundle) => {
            let manifest = bundle.manifest();
            listed.cluster.clone_from(&manifest.source.cluster);
            listed.release.clone_from(&manifest.source.release);
            listed.databases = manifest.databases.iter().map(|database| database.name.clone()).collect();
            listed.rows = manifest.rows();
            listed.warnings = manifest.warnings.len();
        }
        Err(error) => {
            listed.damaged = error.kind() == Kind::Damaged;
            listed.problem = Some(error.chain().join(": "));
        }
    }
    listed
}
