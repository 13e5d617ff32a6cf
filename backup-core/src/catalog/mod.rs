//! The bundles in a store, each with what its manifest says.

mod cache;
mod checked;
mod kept;
mod latest;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use cache::Cache;
pub use checked::{Checked, Checking};
pub use kept::{UNREAD, keep, kept, release, why_kept};
pub use latest::{LATEST, Latest, Wanted};

use crate::authenticity::Knowledge;
use crate::bundle::reader::{Bundle, OpenBundle};
use crate::digest::Sha256Digest;
use crate::drill::Drill;
use crate::encryption::{Decrypted, Identities, is_encrypted};
use crate::keep::Keep;
use crate::names::{BundleName, FileName, Series};
use crate::signing::{Origin, Signing};
use crate::store::{DRILL, DRILL_SIGNATURE, SIGNATURE, Store, Stored, open_stored};
use crate::{Error, ErrorContext, Kind, Result};

/// How a file begins that gzip has written.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// What a bundle's manifest says of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Facts {
    /// Cluster it came from.
    pub cluster: Option<String>,
    /// Its name, which the file's is not where somebody has renamed that; none where a cache knows no name.
    #[serde(default)]
    pub manifest_name: Option<String>,
    /// The server group that it is of, where a component's databases are in it.
    #[serde(default)]
    pub group: Option<String>,
    /// Whether it was asked for some of the databases alone.
    pub partial: bool,
    /// Release that ran.
    pub release: Option<String>,
    /// Its databases.
    pub databases: Vec<String>,
    /// Rows in all of them.
    pub rows: u64,
    /// Its other components.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<String>,
    /// Number of warnings of its backup.
    pub warnings: usize,
    /// Digest of the manifest.
    pub manifest_sha256: Option<Sha256Digest>,
}

/// A bundle as `list` shows it.
#[derive(Debug, Serialize)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its file's name.
    pub file: String,
    /// What it holds: the orchestrator, or a component's databases.
    pub component: String,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// Whether what follows is known: not of an encrypted bundle without its identity.
    pub opened: bool,
    /// When it was begun.
    pub created: DateTime<Utc>,
    /// Its length in bytes.
    pub length: u64,
    /// What its manifest says.
    #[serde(flatten)]
    pub facts: Facts,
    /// Who made it, as far as can be told here.
    #[serde(flatten)]
    pub origin: Origin,
    /// Whether it counts for `status` and for rules.
    #[serde(skip)]
    pub counts: bool,
    /// What its last drill has shown.
    pub drill: Option<Drill>,
    /// Whether that drill is one of this machine's, or its record is signed by a key that is trusted; any other one counts for nothing.
    pub drill_known: bool,
    /// When it was last read in full by this machine.
    #[serde(skip)]
    pub verified: Option<DateTime<Utc>>,
    /// Why the record of its last drill says nothing, where one is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record_problem: Option<String>,
    /// When this machine has restored it, where its journals say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored: Option<DateTime<Utc>>,
    /// The record that keeps it, whether it still does or not.
    pub keep: Option<Keep>,
    /// Why that record cannot be read, where one is there; the bundle counts as kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_problem: Option<String>,
    /// Until when nobody can delete it, where the store sees to that.
    pub locked_until: Option<DateTime<Utc>>,
    /// Why it can't be opened, where it can't.
    pub problem: Option<String>,
    /// Whether that is damage; else it may only be closed to us, or of a newer format.
    pub damaged: bool,
}

impl Listed {
    /// The bundle's own name, where the file has another one.
    pub fn renamed(&self) -> Option<&str> {
        self.facts.manifest_name.as_deref().filter(|name| *name != self.name)
    }

    /// Why no rule may delete it at this moment, as the record beside it says.
    pub fn why_kept(&self, now: DateTime<Utc>) -> Option<String> {
        match &self.keep_problem {
            Some(_) => Some(UNREAD.into()),
            None => self.keep.as_ref().filter(|keep| keep.holds(now)).map(Keep::shown),
        }
    }

    /// What it is one of, as far as is known.
    pub fn series(&self) -> Series {
        Series { component: self.component.clone(), group: self.facts.group.clone() }
    }
}

/// Lists a store, oldest bundle first. A bundle that can't be opened is listed with its problem. Where there is a cache,
/// bundles that it knows are not opened.
///
/// # Errors
/// Where the store itself can't be read.
pub fn list(
    store: &dyn Store,
    identities: &Identities,
    knowledge: &Knowledge,
    cache: Option<Cache>,
) -> Result<Vec<Listed>> {
    let stored = store.list()?;
    let next = AtomicUsize::new(0);
    let listed = Mutex::new(Vec::with_capacity(stored.len()));
    std::thread::scope(|scope| {
        for _ in 0..store.readers().min(stored.len()) {
            scope.spawn(|| {
                while let Some((index, bundle)) = at(&stored, next.fetch_add(1, Relaxed)) {
                    let known = cache.as_ref().and_then(|cache| cache.get(bundle));
                    let described = describe(store, identities, knowledge, bundle, known);
                    listed.lock().unwrap_or_else(PoisonError::into_inner).push((index, described));
                }
            });
        }
    });
    let mut listed = listed.into_inner().unwrap_or_else(PoisonError::into_inner);
    listed.sort_by_key(|(index, _)| *index);
    if let Some(cache) = cache {
        let known = listed.iter().filter(|(_, bundle)| bundle.opened);
        cache.keep(known.map(|(index, bundle)| (&stored[*index], &bundle.facts)));
    }
    Ok(listed.into_iter().map(|(_, listed)| listed).collect())
}

/// A bundle whose file is not called as bundles are, so that nothing counts it.
#[derive(Debug, Serialize)]
pub struct Other {
    /// The file's name.
    pub file: String,
    /// The bundle's own name.
    pub name: String,
}

/// Bundles under names that no bundle has, as far as they can be opened. They are looked for in directories, of this machine and by
/// SFTP.
///
/// # Errors
/// Where the store itself can't be read.
pub fn others(store: &dyn Store, identities: &Identities) -> Result<Vec<Other>> {
    let bundle = |file: String| {
        let source = store.open_other(&file).ok()?;
        let mut magic = [0; GZIP.len()];
        source.read_at(0, &mut magic).ok()?;
        let source = match is_encrypted(&source) {
            true if !identities.is_empty() => Box::new(Decrypted::open(source, identities.clone()).ok()?),
            false if magic == GZIP => source,
            _ => return None,
        };
        let name = Bundle::open(source).ok()?.manifest().name.clone();
        Some(Other { file, name })
    };
    let mut others: Vec<Other> = store.others()?.into_iter().filter_map(bundle).collect();
    others.sort_by(|one, other| one.file.cmp(&other.file));
    Ok(others)
}

fn at(stored: &[Stored], index: usize) -> Option<(usize, &Stored)> {
    stored.get(index).map(|bundle| (index, bundle))
}

fn describe(
    store: &dyn Store,
    identities: &Identities,
    knowledge: &Knowledge,
    stored: &Stored,
    known: Option<Facts>,
) -> Listed {
    let name = &stored.name;
    let mut listed = Listed {
        name: name.bundle.to_string(),
        file: name.to_string(),
        component: name.bundle.component().into(),
        encrypted: name.encrypted,
        opened: known.is_some(),
        created: name.bundle.time(),
        length: stored.length,
        facts: known.unwrap_or_default(),
        origin: Origin::Unknown,
        counts: false,
        drill: None,
        drill_known: false,
        verified: None,
        record_problem: None,
        restored: None,
        keep: None,
        keep_problem: None,
        locked_until: None,
        damaged: false,
        problem: None,
    };
    // Also of a bundle that cannot be opened.
    match if stored.kept { kept(store, name) } else { Ok(None) } {
        Ok(keep) => listed.keep = keep,
        Err(error) => listed.keep_problem = Some(error.chain().join(": ")),
    }
    if let Err(error) = look(store, identities, knowledge, stored, &mut listed) {
        listed.damaged = error.kind() == Kind::Damaged;
        listed.problem = Some(error.chain().join(": "));
    }
    // A new name makes no bundle younger.
    if let Some(name) = listed.renamed().and_then(|name| name.parse::<BundleName>().ok()) {
        listed.created = name.time();
    }
    listed
}

fn look(
    store: &dyn Store,
    identities: &Identities,
    knowledge: &Knowledge,
    stored: &Stored,
    listed: &mut Listed,
) -> Result<()> {
    let name = &stored.name;
    if !listed.opened
        && let Some(bundle) = open_stored(store, identities, name)?
    {
        listed.facts = facts(&bundle);
        listed.opened = true;
    }
    listed.origin = origin(store, knowledge, stored, listed);
    listed.counts = knowledge.counts(&listed.origin);
    listed.verified = listed.facts.manifest_sha256.and_then(|digest| knowledge.verified(&digest, &store.location()));
    let drill = if stored.drilled { last_drill(store, knowledge, name) } else { Ok(None) };
    // It is somebody's word of the bundle, and no part of it.
    let drill = drill.unwrap_or_else(|error| {
        // One that is closed to us says nothing; root's is.
        listed.record_problem = (!error.is_denied()).then(|| error.chain().join(": "));
        None
    });
    // Of an encrypted bundle it can't be said whether the record is of it.
    let is_of_it =
        |(drill, _): &(Drill, bool)| !listed.opened || listed.facts.manifest_sha256 == Some(drill.manifest_sha256);
    if let Some((drill, known)) = drill.filter(is_of_it) {
        (listed.drill, listed.drill_known) = (Some(drill), known);
    }
    listed.locked_until = store.locked_until(name)?;
    Ok(())
}

fn facts(bundle: &OpenBundle) -> Facts {
    let manifest = bundle.manifest();
    Facts {
        cluster: manifest.source.cluster.clone(),
        manifest_name: Some(manifest.name.clone()),
        group: manifest.source.group.clone(),
        partial: manifest.source.partial,
        release: manifest.source.release.clone(),
        databases: manifest.databases.iter().map(|database| database.name.clone()).collect(),
        rows: manifest.rows(),
        components: manifest.components.iter().map(|section| section.id.to_string()).collect(),
        warnings: manifest.warnings.len(),
        manifest_sha256: Some(Sha256Digest(bundle.footer().manifest_digest)),
    }
}

/// Who made a bundle. A signature that can't be read says nothing.
fn origin(store: &dyn Store, knowledge: &Knowledge, stored: &Stored, listed: &Listed) -> Origin {
    let read = |suffix| store.read_beside(&stored.name, suffix).ok().flatten();
    let signature = (stored.signed && knowledge.reads_signatures()).then(|| read(SIGNATURE)).flatten();
    let by_digest = listed.facts.manifest_sha256.map(|digest| knowledge.origin(&digest, signature.as_deref()));
    match by_digest.filter(Origin::is_known) {
        Some(origin) => origin,
        None => knowledge.origin_by_name(&listed.name, stored.length, listed.opened),
    }
}

/// What the record beside a bundle says, and whether it is to be believed.
fn last_drill(store: &dyn Store, knowledge: &Knowledge, name: &FileName) -> Result<Option<(Drill, bool)>> {
    let Some(record) = store.read_beside(name, DRILL)? else { return Ok(None) };
    let doing = || format!("read {name}{DRILL} in {}", store.location());
    let drill: Drill =
        serde_json::from_slice(&record).map_err(|cause| Error::new(Kind::Damaged, doing()).because(cause))?;
    let signature = knowledge.reads_signatures().then(|| store.read_beside(name, DRILL_SIGNATURE).ok().flatten());
    let known = knowledge.knows_drill(&drill, &record, signature.flatten().as_deref());
    Ok(Some((drill, known)))
}

/// Puts a drill's record beside its bundle, signed where a key is set up.
///
/// # Errors
/// Where it can't be written.
pub fn record(store: &dyn Store, name: &FileName, drill: &Drill, signing: &Signing) -> Result<()> {
    let mut text = serde_json::to_vec(drill).context(|| "write the drill's record".into())?;
    text.push(b'\n');
    store.write_beside(name, DRILL, &text)?;
    match signing.sign_record(&text)? {
        Some(signature) => store.write_beside(name, DRILL_SIGNATURE, &signature),
        None => Ok(()),
    }
}
