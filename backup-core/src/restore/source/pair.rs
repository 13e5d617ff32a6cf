//! The pair of files that the manual procedure makes: a script in `pg_dump`'s plain format, and the `cluster.conf` beside it.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use sha2::{Digest, Sha256};

use super::Source;
use crate::bundle::manifest::Source as From;
use crate::component::files::{self, GivenConf};
use crate::component::postgres::OfScript;
use crate::component::postgres::plain::{self, Contents, ScriptFile};
use crate::digest::Sha256Digest;
use crate::event::{Meter, Ticker};
use crate::finding::{Finding, Findings};
use crate::given::{Seen, open_file, refuse_other};
use crate::restore::{Component, Request, Settings};
use crate::{Context, Error, ErrorContext, Kind, Result, shell};

/// More than that is no `cluster.conf`.
const LONGEST_CONF: u64 = 16 << 20;
/// The database that the manual procedure dumps.
const DATABASE: &str = "orchestrator";

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
    pub(super) async fn read(self, context: &Context, meter: Arc<Meter>) -> Result<(Source, Arc<Contents>)> {
        let context = context.clone();
        refuse_swapped(&self.sql, &self.cluster_conf)?;
        let script = ScriptFile::at(&self.sql, self.bin_dir.as_deref(), &context.environment).await?;
        let read = tokio::task::spawn_blocking(move || self.read_now(script, &context, &meter)).await;
        read.map_err(|cause| Error::new(Kind::Failed, "read the script").because(cause))?
    }

    fn read_now(self, script: ScriptFile, context: &Context, meter: &Meter) -> Result<(Source, Arc<Contents>)> {
        let (content, mode) = read_conf(&self.cluster_conf)?;
        meter.total.store(script.length().unwrap_or(0), Relaxed);
        let script = Arc::new(plain::read(script, context, meter)?);
        let written = fs::metadata(&self.sql).and_then(|metadata| metadata.modified());
        let written = written.context(|| format!("look at {}", self.sql.display()))?.into();
        let database = Arc::new(script.database(self.database.unwrap_or_else(|| DATABASE.into()), written));
        let both = Sha256::new().chain_update(script.sha256.0).chain_update(Sha256::digest(&content));
        let from = From { cluster_conf: self.place, ..From::default() };
        let source = Source {
            name: self.sql.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            sha256: Sha256Digest(both.finalize().into()),
            from: from.clone(),
            hosts: Vec::new(),
            is_of_component: false,
            state_of: None,
            databases: Arc::new(OfScript { script: script.clone(), database }),
            files: files::Source::Given(Arc::new(GivenConf { content, mode, from })),
            sections: Vec::new(),
            bundle: None,
        };
        Ok((source, script))
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

/// Looks at a pair: its script is read to its end.
pub(super) async fn look_at_pair(
    cluster_conf: &Path,
    request: &Request,
    settings: &Settings,
    findings: &mut Findings,
    context: &Context,
) -> Option<Source> {
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
    let (source, script) = findings.keep("script", &shown, read)?;
    findings.all.extend(script_findings(&script, &shown));
    Some(source)
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

fn script_findings(script: &Contents, shown: &str) -> Vec<Finding> {
    let Contents { tables, counted, owners, crlf, .. } = script;
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
