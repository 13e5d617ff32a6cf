//! What a restore is made of: a bundle, or the pair of files that the manual procedure makes.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::Settings;
use super::{Component, Request};
use crate::authenticity;
use crate::bundle::manifest::{Database, Entry, Host, Manifest, Section, Source as From};
use crate::bundle::reader::OpenBundle;
use crate::bundle::verify::verify_stored;
use crate::component::files;
use crate::component::postgres;
use crate::component::postgres::plain::{self, Contents, ScriptFile};
use crate::digest::Sha256Digest;
use crate::event::{Meter, Ticker};
use crate::finding::{Finding, Findings};
use crate::given::refuse_other;
use crate::given::{Seen, open_file};
use crate::names::renamed;
use crate::signing::Origin;
use crate::store::{Access, blocking, list_beside};
use crate::{Context, Error, ErrorContext, Kind, Result, shell};

/// More than that is no `cluster.conf`.
const LONGEST_CONF: u64 = 16 << 20;
/// The database that the manual procedure dumps.
const DATABASE: &str = "orchestrator";

/// What a restore is made of.
#[derive(Clone)]
pub(super) enum Source {
    Bundle(Arc<OpenBundle>),
    Pair(Arc<Pair>),
}

/// A script in `pg_dump`'s plain format, and the `cluster.conf` beside it.
pub(super) struct Pair {
    pub(super) cluster_conf: Vec<u8>,
    /// The mode of `cluster.conf`.
    pub(super) mode: u32,
    pub(super) script: Arc<Contents>,
    /// The database that the script makes.
    database: Arc<Database>,
    /// The script's name.
    name: String,
    /// Where `cluster.conf` goes, if anywhere.
    from: From,
}

/// What is said of where something that is restored came from. A pair says hardly anything.
#[derive(Clone, Copy)]
pub(super) struct Said<'s> {
    /// The bundle's name, or the script's.
    pub(super) name: &'s str,
    /// Where it came from.
    pub(super) from: &'s From,
    /// The cluster's hosts as they were.
    pub(super) hosts: &'s [Host],
    /// Other components.
    pub(super) components: &'s [Section],
    /// Its entries.
    entries: &'s [Entry],
    /// The component whose databases alone are in it; none where it holds an orchestrator.
    pub(super) is_of_component: bool,
}

impl<'s> Said<'s> {
    /// What files there are to be put back.
    pub(super) fn files(&self) -> files::There<'s> {
        files::There { entries: self.entries, from: self.from, is_of_component: self.is_of_component }
    }
}

impl Source {
    pub(super) fn said(&self) -> Said<'_> {
        match self {
            Self::Bundle(bundle) => {
                let manifest = bundle.manifest();
                let Manifest { name, source: from, hosts, components, entries, .. } = manifest;
                let is_of_component = manifest.component().is_some();
                Said { name, from, hosts, components, entries, is_of_component }
            }
            Self::Pair(pair) => {
                let Pair { name, from, .. } = &**pair;
                Said { name, from, hosts: &[], components: &[], entries: &[], is_of_component: false }
            }
        }
    }

    /// What tells it from every other one.
    pub(super) fn sha256(&self) -> Sha256Digest {
        match self {
            Self::Bundle(bundle) => Sha256Digest(bundle.footer().manifest_digest),
            Self::Pair(pair) => {
                let both =
                    Sha256::new().chain_update(pair.script.sha256.0).chain_update(Sha256::digest(&pair.cluster_conf));
                Sha256Digest(both.finalize().into())
            }
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

    /// What databases are made of.
    pub(super) fn databases(&self) -> postgres::Source {
        match self {
            Self::Bundle(bundle) => postgres::Source::Bundle(bundle.clone()),
            Self::Pair(pair) => postgres::Source::Script(pair.script.clone(), pair.database.clone()),
        }
    }

    /// What files are made of.
    pub(super) fn files(&self) -> files::Source {
        match self {
            Self::Bundle(bundle) => files::Source::Bundle(bundle.clone()),
            Self::Pair(pair) => files::Source::Given(pair.cluster_conf.clone(), pair.mode),
        }
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
    /// The directory of `pg_restore`, if it is said.
    pub(super) bin_dir: Option<PathBuf>,
}

impl PairFiles {
    /// Reads both files, the script to its end.
    ///
    /// # Errors
    /// As [`plain::read`], and where `cluster.conf` can't be read.
    pub(super) async fn read(self, context: &Context, meter: Arc<Meter>) -> Result<Pair> {
        let context = context.clone();
        refuse_swapped(&self.sql, &self.cluster_conf)?;
        let script = ScriptFile::at(&self.sql, self.bin_dir.as_deref(), &context.environment).await?;
        let read = tokio::task::spawn_blocking(move || self.read_now(script, &context, &meter)).await;
        read.map_err(|cause| Error::new(Kind::Failed, "read the script").because(cause))?
    }

    fn read_now(self, script: ScriptFile, context: &Context, meter: &Meter) -> Result<Pair> {
        let (cluster_conf, mode) = read_conf(&self.cluster_conf)?;
        meter.total.store(script.length().unwrap_or(0), Relaxed);
        let script = plain::read(script, context, meter)?;
        let written = fs::metadata(&self.sql).and_then(|metadata| metadata.modified());
        let written = written.context(|| format!("look at {}", self.sql.display()))?.into();
        let name = self.database.unwrap_or_else(|| DATABASE.into());
        let database = Arc::new(script.database(name, written));
        let name = self.sql.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let from = From { cluster_conf: self.place, ..From::default() };
        Ok(Pair { cluster_conf, mode, script: Arc::new(script), database, name, from })
    }
}

/// Refuses a pair whose two files stand for one another.
fn refuse_swapped(sql: &Path, conf: &Path) -> Result<()> {
    let is_script = |path: &Path| Seen::at(path).is_ok_and(|seen| seen.is_script());
    if is_script(sql) || !sql.is_file() || !is_script(conf) {
        return Ok(());
    }
    let message = format!("restore: --sql and --cluster-conf are swapped: {} is the script", conf.display());
    let (sql, conf) = (shell::path(sql), shell::path(conf));
    Err(Error::new(Kind::Usage, message).hint(format!("`… --sql {conf} --cluster-conf {sql}`")))
}

/// A `cluster.conf` and its mode.
fn read_conf(path: &Path) -> Result<(Vec<u8>, u32)> {
    let doing = || format!("read {}", path.display());
    let file = open_file(path)?;
    let mode = file.metadata().context(doing)?.permissions().mode() & 0o777;
    let mut content = Vec::new();
    file.take(LONGEST_CONF + 1).read_to_end(&mut content).context(doing)?;
    if content.len() as u64 > LONGEST_CONF {
        return Err(Error::new(Kind::Usage, format!("{}: it is longer than a cluster.conf can be", doing())));
    }
    if content.trim_ascii().is_empty() {
        let error = Error::new(Kind::Damaged, format!("{}: it is empty", doing()));
        return Err(error.hint("copy it anew from where the script came from"));
    }
    refuse_other(path, &content)?;
    Ok((content, mode))
}

/// Looks at what is to be restored: every byte of a bundle, or a script to its end.
pub(super) async fn look(
    request: &Request,
    settings: &Settings,
    findings: &mut Findings,
    context: &Context,
) -> Option<(Source, Origin)> {
    let Some(cluster_conf) = &request.cluster_conf else {
        let looked = look_at_bundle(&request.file, &settings.access, findings, context).await;
        return looked.map(|(bundle, origin)| (Source::Bundle(bundle), origin));
    };
    let shown = request.file.display().to_string();
    context.phase(format!("read {shown}"));
    let place = place_of(cluster_conf, request, settings, findings);
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let files = PairFiles {
        sql: absolute(&request.file),
        cluster_conf: absolute(cluster_conf),
        database: request.databases.first().map(|(name, _)| name.clone()),
        place,
        bin_dir: settings.bin_dir.clone(),
    };
    let meter = Arc::new(Meter::default());
    let ticker = Ticker::start(meter.clone(), context.observer.clone());
    let read = files.read(context, meter).await;
    drop(ticker);
    let pair = findings.keep("script", &shown, read)?;
    findings.all.extend(script_findings(&pair, &shown));
    Some((Source::Pair(Arc::new(pair)), Origin::Unknown))
}

/// Where a pair's `cluster.conf` goes; one that lies there already need not be put there.
fn place_of(cluster_conf: &Path, request: &Request, settings: &Settings, findings: &mut Findings) -> Option<PathBuf> {
    if request.only == Some(Component::Databases) {
        return None;
    }
    let Some(place) = &settings.cluster_conf else {
        let message = "it is put nowhere, for nothing says where it belongs";
        let hint =
            "copy it by hand, or name its place: cluster_conf in the settings, or --config PLACE if there is one there";
        findings.all.push(Finding::warning("cluster-conf-not-placed", "cluster.conf", message).hint(hint));
        return None;
    };
    let there = request.root.join(place.strip_prefix("/").unwrap_or(place));
    if cluster_conf.canonicalize().is_ok_and(|given| there.canonicalize().is_ok_and(|there| given == there)) {
        findings.all.push(Finding::ok("cluster-conf", there.display().to_string(), "it lies in its place already"));
        return None;
    }
    Some(place.clone())
}

fn script_findings(pair: &Pair, shown: &str) -> Vec<Finding> {
    let Contents { tables, counted, owners, crlf, .. } = &*pair.script;
    let rows: u64 = tables.iter().map(|table| table.rows).sum();
    let mut findings = Vec::new();
    if *counted {
        let message = format!("it is whole; tables: {}, rows: {rows}; it does not say when it was made", tables.len());
        findings.push(Finding::ok("script", shown, message));
    } else {
        let message =
            "it is whole, but its rows can't be counted: they are inserted one by one, or names are not UTF-8";
        let hint = "look at the tables yourself after the restore, or dump without --inserts";
        findings.push(Finding::warning("script-not-counted", shown, message).hint(hint));
    }
    // Rows that are copied have line breaks of their own spelling.
    if *crlf && !counted {
        let message =
            "its lines end in CR LF, as another system writes them: so would the lines of values with several";
        let word = shell::word(shown);
        let hint = format!(
            "take them back first, if the dump was made without: sed 's/\\r$//' {word} > {word}.lf, and restore that"
        );
        findings.push(Finding::warning("script-crlf", shown, message).hint(hint));
    }
    if !owners {
        let message = "it does not say whom anything belongs to: all will be the superuser's, who restores it";
        let hint = "dump without --no-owner, or give everything to its role afterwards: ALTER … OWNER TO";
        findings.push(Finding::warning("script-without-owners", shown, message).hint(hint));
    }
    findings
}

/// Opens the bundle, sees who made it, and holds every byte of it against its digest; what is in an entry is checked when it is restored.
pub(super) async fn look_at_bundle(
    path: &Path,
    access: &Access,
    findings: &mut Findings,
    context: &Context,
) -> Option<(Arc<OpenBundle>, Origin)> {
    let shown = path.display().to_string();
    let opened = access.open(path, context).await;
    let bundle = Arc::new(findings.keep("bundle", &shown, opened)?);
    context.phase(format!("verify {shown}"));
    let meter = Arc::new(Meter::default());
    let stored = bundle.manifest().entries.iter().map(|entry| entry.stored);
    meter.total.store(stored.sum(), Relaxed);
    let ticker = Ticker::start(meter.clone(), context.observer.clone());
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
        findings.keep::<()>(
            "damaged",
            &shown,
            Err(error.hint(format!("restore from another bundle: {} shows them", list_beside(path)))),
        );
    }
    if damaged {
        return Some((bundle, Origin::Unknown));
    }
    let manifest = bundle.manifest();
    findings.all.extend(renamed(path, &manifest.name));
    let of_backup =
        |warning: &Finding| Finding { subject: format!("at the backup: {}", warning.subject), ..warning.clone() };
    findings.all.extend(manifest.warnings.iter().map(of_backup));
    let age = context.now().signed_duration_since(manifest.created);
    let origin = {
        let (path, access, context) = (path.to_owned(), access.clone(), context.clone());
        let digest = Sha256Digest(bundle.footer().manifest_digest);
        blocking(move || Ok(authenticity::origin(&path, &digest, &access, &context))).await
    };
    let origin = findings.keep("bundle", &shown, origin)?;
    findings.keep("not-signed", &shown, origin.demand(&access.signing, &shown));
    findings.all.extend(authenticity::finding(&shown, &origin));
    let age = crate::finding::age(age.to_std().unwrap_or_default());
    let message = format!("{}; made {age} ago: what has happened since is not in it", origin.of_bytes());
    findings.all.push(Finding::ok("bundle", &shown, message));
    Some((bundle, origin))
}
