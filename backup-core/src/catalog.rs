//! The bundles in a store, each with what its manifest says.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::bundle::name::FileName;
use crate::bundle::reader::Bundle;
use crate::restore::Drill;
use crate::store::{DRILL, Store};
use crate::{ErrorContext, Kind, Result};

/// A bundle as `list` shows it.
#[derive(Debug, Serialize)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its file's name.
    pub file: String,
    /// Whether it is encrypted.
    pub encrypted: bool,
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
    /// What its last drill has shown.
    pub drill: Option<Drill>,
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

fn describe(store: &dyn Store, name: &FileName, length: u64) -> Listed {
    let opened = store.open(name).and_then(Bundle::open);
    let mut listed = Listed {
        name: name.bundle.to_string(),
        file: name.to_string(),
        encrypted: name.encrypted,
        created: name.bundle.time(),
        length,
        cluster: None,
        release: None,
        databases: Vec::new(),
        rows: 0,
        warnings: 0,
        drill: None,
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
            let digest = bundle.footer().manifest_digest;
            listed.drill = last_drill(store, name).filter(|drill| drill.manifest_sha256.0 == digest);
        }
        Err(error) => {
            listed.damaged = error.kind() == Kind::Damaged;
            listed.problem = Some(error.chain().join(": "));
        }
    }
    listed
}

/// What the record beside a bundle says; one that can't be read says nothing.
fn last_drill(store: &dyn Store, name: &FileName) -> Option<Drill> {
    serde_json::from_slice(&store.read_beside(name, DRILL).ok()??).ok()
}

/// Puts a drill's record beside its bundle.
///
/// # Errors
/// Where it can't be written.
pub fn record(store: &dyn Store, name: &FileName, drill: &Drill) -> Result<()> {
    let mut text = serde_json::to_vec(drill).context(|| "write the drill's record".into())?;
    text.push(b'\n');
    store.write_beside(name, DRILL, &text)
}
