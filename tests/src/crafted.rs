//! Bundles that a test makes itself, and what this machine's journal of runs says of them.

use std::fs::File;
use std::path::{Path, PathBuf};

use backup_core::bundle::manifest::{Manifest, Source};
use backup_core::bundle::writer::Writer;
use backup_core::context::Environment;
use backup_core::digest::Sha256Digest;
use backup_core::drill::Drill;
use backup_core::finding::Finding;
use backup_core::names::BundleName;
use backup_core::names::Series;
use backup_core::runs::{Part, Run, Runs, State};
use backup_core::schedule::Job;
use backup_core::{Context, authenticity};
use chrono::{DateTime, Utc};

use crate::{Workplace, manifest_of};

/// A bundle of nothing but some bytes.
#[derive(Debug, Clone)]
pub struct Crafted {
    /// The file.
    pub path: PathBuf,
    /// The file's name.
    pub file: String,
    /// The bundle's name.
    pub name: String,
    /// Digest of its manifest.
    pub manifest_sha256: Sha256Digest,
    /// Bytes of the file.
    pub length: u64,
    /// When it says that it was begun.
    pub created: DateTime<Utc>,
}

/// The source of a bundle of a cluster.
pub fn of_cluster(cluster: &str) -> Source {
    Source { cluster: Some(cluster.into()), ..Source::default() }
}

/// Makes a bundle in a directory, with `size` bytes that can't be compressed.
pub async fn craft(directory: &Path, source: Source, created: DateTime<Utc>, size: usize) -> Crafted {
    let name = BundleName::at(created);
    let file = format!("{name}.tgz");
    let path = directory.join(&file);
    let (writer, closing) = Writer::start(name.clone(), 1, File::create(&path).expect("a file"), Default::default());
    let mut content: Vec<u8> = Vec::with_capacity(size);
    let mut state = 7u64;
    content.resize_with(size, || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
        (state >> 56) as u8
    });
    writer.add("cluster.conf", &content).await.expect("added");
    let mut tail = closing.close(writer).await.expect("closed").expect("a tail");
    let mut manifest: Manifest = manifest_of(&name, std::mem::take(&mut tail.entries));
    manifest.source = source;
    let sealed = tail.seal(&manifest).expect("sealed");
    let (name, created) = (name.to_string(), name.time());
    Crafted { path, file, name, manifest_sha256: sealed.manifest, length: sealed.length, created }
}

impl Workplace {
    /// The surroundings of this machine.
    pub fn context(&self) -> Context {
        let variables = [("STATE_DIRECTORY".to_owned(), self.path("state").display().to_string())].into();
        Context::new(Environment { variables, ..Environment::default() })
    }

    fn note(&self, job: Job, began: DateTime<Utc>, part: Part) {
        let mut run = Run::of_state(job, State::Done, began, Finding::info("x", "x", "x"));
        run.ended = Some(began + chrono::TimeDelta::minutes(1));
        run.parts.push(part);
        Runs::of(&self.context()).and_then(|runs| runs.put(&run)).expect("written");
    }

    /// Notes that a bundle was made here; journals of earlier versions have no digest.
    pub fn note_made(&self, bundle: &Crafted, with_digest: bool) {
        let manifest_sha256 = with_digest.then_some(bundle.manifest_sha256);
        let (name, length) = (Some(bundle.name.clone()), Some(bundle.length));
        let part = Part { bundle: name, length, manifest_sha256, ..Part::of(&Series::orchestrator()) };
        self.note(Job::Backup, bundle.created, part);
    }

    /// Notes that a bundle was drilled here, and puts the record beside it.
    pub fn note_drilled(&self, bundle: &Crafted, time: DateTime<Utc>) {
        forge_drill(bundle, time);
        let (name, manifest_sha256) = (Some(bundle.name.clone()), Some(bundle.manifest_sha256));
        self.note(Job::Drill, time, Part { bundle: name, manifest_sha256, ..Part::of(&Series::orchestrator()) });
    }

    /// Notes that a bundle was read in full here.
    pub fn note_verified(&self, bundle: &Crafted) {
        let store = bundle.path.parent().expect("a store").display().to_string();
        authenticity::note_verified(&bundle.manifest_sha256, &store, &self.context()).expect("written");
    }
}

/// Puts the record of a drill beside a bundle, as whoever can write into the store can.
pub fn forge_drill(bundle: &Crafted, time: DateTime<Utc>) {
    let drill = Drill {
        components: Vec::new(),
        bundle: bundle.name.clone(),
        manifest_sha256: bundle.manifest_sha256,
        origin: Default::default(),
        time,
        seconds: 1.5,
        postgres: "15.18".into(),
        rows: 1,
        problems: Vec::new(),
        unproved: Vec::new(),
        not_walled_off: Vec::new(),
    };
    let record = serde_json::to_vec(&drill).expect("JSON");
    std::fs::write(format!("{}.drill.json", bundle.path.display()), record).expect("written");
}
