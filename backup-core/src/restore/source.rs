//! What a restore is made of: a bundle, or the pair of files that the manual procedure makes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::Request;
use crate::bundle::manifest::{
    Database, Extension, Locale, Manifest, Server, Sha256Digest, Snapshot, Source as From, major,
};
use crate::bundle::reader::Bundle;
use crate::bundle::verify::verify_stored;
use crate::component::postgres::plain::{self, Contents};
use crate::event::{Meter, Ticker};
use crate::finding::{Finding, Findings};
use crate::settings::RestoreSettings;
use crate::{Context, Error, ErrorContext, Kind, Result, TOOL, store};

/// The database that the manual procedure dumps.
const DATABASE: &str = "orchestrator";

/// What a restore is made of.
#[derive(Clone)]
pub(super) enum Source {
    Bundle(Arc<Bundle<File>>),
    Pair(Arc<Pair>),
}

/// A script in `pg_dump`'s plain format, and the `cluster.conf` beside it.
pub(super) struct Pair {
    pub(super) sql: PathBuf,
    pub(super) sha256: Sha256Digest,
    pub(super) cluster_conf: Vec<u8>,
    pub(super) tablespaces: Vec<String>,
    /// What a bundle of the same would say, as far as the script tells.
    manifest: Manifest,
}

impl Source {
    pub(super) fn manifest(&self) -> &Manifest {
        match self {
            Self::Bundle(bundle) => bundle.manifest(),
            Self::Pair(pair) => &pair.manifest,
        }
    }

    /// What tells it from every other one.
    pub(super) fn sha256(&self) -> Sha256Digest {
        match self {
            Self::Bundle(bundle) => Sha256Digest(bundle.footer().manifest_digest),
            Self::Pair(pair) => pair.sha256,
        }
    }

    pub(super) fn cluster_conf(&self) -> Result<Vec<u8>> {
        match self {
            Self::Bundle(bundle) => bundle.content("cluster.conf"),
            Self::Pair(pair) => Ok(pair.cluster_conf.clone()),
        }
    }

    /// The time that its databases are of, if it says.
    pub(super) fn state_of(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Bundle(bundle) => {
                let manifest = bundle.manifest();
                let snapshots = manifest.databases.iter().map(|database| database.snapshot.time);
                Some(snapshots.min().unwrap_or(manifest.created))
            }
            Self::Pair(_) => None,
        }
    }

    /// The tablespaces that parts of a database need beside its own.
    pub(super) fn tablespaces(&self, database: &Database) -> Result<Vec<String>> {
        match self {
            Self::Bundle(bundle) => {
                let schema = |part: &str| bundle.content(&format!("databases/{}/{part}.sql", database.directory));
                let (before, after) = (schema("pre-data")?, schema("post-data")?);
                Ok(plain::tablespaces(&before).into_iter().chain(plain::tablespaces(&after)).collect())
            }
            Self::Pair(pair) => Ok(pair.tablespaces.clone()),
        }
    }
}

impl Pair {
    /// The script's length in bytes.
    pub(super) fn size(&self) -> u64 {
        self.manifest.databases.iter().map(|database| database.size).sum()
    }
}

/// Where a pair is, and what it does not say itself.
pub(super) struct PairFiles {
    pub(super) sql: PathBuf,
    pub(super) cluster_conf: PathBuf,
    /// The database's name, if it is not the usual one.
    pub(super) database: Option<String>,
    /// Where `cluster.conf` goes, if anywhere.
    pub(super) place: Option<PathBuf>,
}

impl PairFiles {
    /// Reads both files, the script to its end.
    ///
    /// # Errors
    /// As [`plain::read`], and where `cluster.conf` can't be read.
    pub(super) async fn read(self, context: &Context, meter: Arc<Meter>) -> Result<Pair> {
        let context = context.clone();
        let read = tokio::task::spawn_blocking(move || self.read_now(&context, &meter)).await;
        read.map_err(|cause| Error::new(Kind::Failed, "read the script").because(cause))?
    }

    fn read_now(self, context: &Context, meter: &Meter) -> Result<Pair> {
        let conf = &self.cluster_conf;
        let cluster_conf = fs::read(conf).map_err(|cause| {
            let kind = if cause.kind() == std::io::ErrorKind::NotFound { Kind::NotFound } else { Kind::Failed };
            Error::new(kind, format!("read {}", conf.display())).because(cause)
        })?;
        let sql = self.sql.canonicalize().unwrap_or(self.sql);
        let written = fs::metadata(&sql).and_then(|metadata| metadata.modified());
        let length = fs::metadata(&sql).map_or(0, |metadata| metadata.len());
        meter.total.fetch_add(length, std::sync::atomic::Ordering::Relaxed);
        let contents = plain::read(&sql, context, meter)?;
        let written = written.context(|| format!("look at {}", sql.display()))?.into();
        // One that lies where it belongs need not be put there.
        let same = |place: &Path| place.canonicalize().ok() == conf.canonicalize().ok();
        let place = self.place.filter(|place| !same(place));
        let name = self.database.unwrap_or_else(|| DATABASE.into());
        Ok(Pair {
            sha256: contents.sha256,
            tablespaces: contents.tablespaces.iter().cloned().collect(),
            manifest: manifest(&sql, name, contents, written, place),
            sql,
            cluster_conf,
        })
    }
}

/// Looks at what is to be restored: every byte of a bundle, or a script to its end.
pub(super) async fn look(
    request: &Request,
    settings: &RestoreSettings,
    findings: &mut Findings,
    context: &Context,
) -> Option<Source> {
    let Some(cluster_conf) = &request.cluster_conf else {
        return look_at_bundle(&request.file, findings, context).await.map(Source::Bundle);
    };
    let pair = PairFiles {
        sql: request.file.clone(),
        cluster_conf: cluster_conf.clone(),
        database: request.databases.first().map(|(name, _)| name.clone()),
        place: settings.cluster_conf.clone(),
    };
    let shown = request.file.display().to_string();
    context.phase(format!("read {shown}"));
    let meter = Arc::new(Meter::default());
    let ticker = Ticker::start(meter.clone(), context.clone());
    let read = pair.read(context, meter).await;
    drop(ticker);
    let pair = findings.keep("script", &shown, read)?;
    let source = Source::Pair(Arc::new(pair));
    let (tables, rows) =
        (source.manifest().databases.iter().map(|database| database.tables.len()), source.manifest().rows());
    let message =
        format!("it is whole: {} tables, {rows} rows; it does not say when it was made", tables.sum::<usize>());
    findings.all.push(Finding::info("script", shown, message));
    Some(source)
}

/// Opens the bundle, and holds every byte of it against its digest; what is in an entry is checked when it is restored.
pub(super) async fn look_at_bundle(
    path: &Path,
    findings: &mut Findings,
    context: &Context,
) -> Option<Arc<Bundle<File>>> {
    let shown = path.display().to_string();
    let opened = store::open_file(path).and_then(|file| Bundle::open(file).context(|| format!("open {shown}")));
    let bundle = Arc::new(findings.keep("bundle", &shown, opened)?);
    context.phase(format!("verify {shown}"));
    let meter = Arc::new(Meter::default());
    let stored = bundle.manifest().entries.iter().map(|entry| entry.stored);
    meter.total.store(stored.sum(), std::sync::atomic::Ordering::Relaxed);
    let ticker = Ticker::start(meter.clone(), context.clone());
    let work = {
        let (bundle, context) = (bundle.clone(), context.clone());
        tokio::task::spawn_blocking(move || verify_stored(bundle.source(), &context, &meter))
    };
    let verified = work.await.map_err(|cause| Error::new(Kind::Failed, "verify the bundle").because(cause));
    drop(ticker);
    let verification = findings.keep("bundle", &shown, verified.and_then(|verified| verified))?;
    let damaged = !verification.damage.is_empty();
    for damage in verification.damage {
        let error = Error::new(Kind::Damaged, format!("{shown}: {}: {}", damage.subject, damage.message));
        findings.keep::<()>("damaged", &shown, Err(error.hint("restore from another bundle: `list` shows them")));
    }
    if damaged {
        return Some(bundle);
    }
    let manifest = bundle.manifest();
    let of_backup =
        |warning: &Finding| Finding { subject: format!("at the backup: {}", warning.subject), ..warning.clone() };
    findings.all.extend(manifest.warnings.iter().map(of_backup));
    let age = context.now().signed_duration_since(manifest.created);
    findings.all.push(Finding::info(
        "bundle",
        &shown,
        format!(
            "every byte is as it was written; made {} ago: what has happened since is not in it",
            crate::finding::age(age.to_std().unwrap_or_default())
        ),
    ));
    Some(bundle)
}

fn manifest(
    sql: &Path,
    database: String,
    contents: Contents,
    written: DateTime<Utc>,
    cluster_conf: Option<PathBuf>,
) -> Manifest {
    let server = Server {
        version_number: major(&contents.server) * 10_000,
        version: contents.server,
        pg_dump: contents.pg_dump,
        standby: false,
    };
    let extension = |name: String| Extension { name, version: String::new(), schema: String::new() };
    let database = Database {
        name: database,
        directory: String::new(),
        owner: String::new(),
        encoding: contents.encoding,
        locale: Locale {
            provider: String::new(),
            collate: String::new(),
            ctype: String::new(),
            name: None,
            version: None,
        },
        tablespace: "pg_default".into(),
        connection_limit: -1,
        privileges: Vec::new(),
        comment: None,
        settings: Vec::new(),
        extensions: contents.extensions.into_iter().map(extension).collect(),
        size: contents.size,
        roles: contents.roles.into_iter().collect(),
        snapshot: Snapshot { time: written, wal: None },
        tables: contents.tables,
        sequences: 0,
        large_objects: contents.large_objects,
    };
    Manifest {
        format: 0,
        tool: TOOL.into(),
        name: sql.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        created: written,
        finished: written,
        source: From { cluster_conf, postgres: Some(server), ..From::default() },
        hosts: Vec::new(),
        databases: vec![database],
        warnings: Vec::new(),
        needs: Vec::new(),
        entries: Vec::new(),
    }
}
