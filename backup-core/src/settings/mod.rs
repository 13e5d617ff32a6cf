//! Settings in TOML, and `--config FILE`, which names either such a file or a `cluster.conf`.

mod connection;
mod document;
mod machines;
mod mistaken;
mod received;
mod routine;
mod stores;
mod written;

use std::path::{Component, Path, PathBuf};

use globset::{Glob, GlobSetBuilder};

use crate::bundle::block::LEVELS;
use crate::cluster::ClusterConf;
use crate::cluster::agent::{Agent, Remote};
use crate::cluster::secret::Secret;
use crate::component::files::Tree;
use crate::component::postgres::DrillLimits;
use crate::component::release::Origin;
use crate::databases::DatabaseSettings;
use crate::deploy::{Assets, Components};
use crate::retention::Policy;
use crate::schedule::Schedule;
use crate::status::Limits;
use crate::store::{Access, Address, StoreSettings};
use crate::{Error, ErrorContext, Kind, Result};
pub use connection::Connection;
use document::{AgentTable, DeployTable, Document, FilesTable, ReleaseTable};
pub use document::{Assertion, ReleaseRule};
use document::{is_settings, parse, read};
use machines::remote;
pub(crate) use mistaken::refuse_other;
pub(crate) use received::TAKEN;
pub use received::received;
pub use routine::Notify;
pub use written::{load, load_as_far_as_there};

/// Where the settings are unless something else is said.
pub const DEFAULT_PATH: &str = "/etc/orchestrator/orchestrator.toml";
/// Where bundles are kept unless something else is said.
pub const DEFAULT_STORE: &str = "/var/lib/postgresql/backups";
/// The level of compression unless something else is said: within some percent of the size of `gzip -6`, and several
/// times faster.
pub const DEFAULT_LEVEL: u32 = 3;

/// Where a release's assets are unpacked unless something else is said.
pub const DEFAULT_ASSETS: &str = "/tmp/orchestrator-assets";

/// What a restore is told by the settings; a machine that is to be brought back need not have any.
#[derive(Debug, Default)]
pub struct RestoreSettings {
    /// Where the `cluster.conf` belongs, if it is said.
    pub cluster_conf: Option<PathBuf>,
    /// How PostgreSQL is reached.
    pub connection: Connection,
    /// Directory of `psql` and `pg_restore`.
    pub bin_dir: Option<PathBuf>,
    /// Where the release of this machine comes from.
    pub release: Option<Origin>,
    /// Which releases it may have.
    pub release_rule: ReleaseRule,
    /// How the cluster's machines are logged in to, and what is done there.
    pub remote: Remote,
    /// The port that machines take SSH connections on, if it is said.
    pub ssh_port: Option<u16>,
    /// Connections that load rows at once, if it is said.
    pub jobs: Option<usize>,
    /// What a drill asks of the restored databases.
    pub assertions: Vec<Assertion>,
    /// What a drill may take.
    pub drill: DrillLimits,
    /// How bundles are reached.
    pub access: Access,
}

/// Everything that a run is told by its configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Path of the `cluster.conf`.
    pub cluster_conf: PathBuf,
    /// Its bytes.
    pub cluster_conf_bytes: Vec<u8>,
    /// What it says.
    pub cluster: ClusterConf,
    /// How PostgreSQL is reached.
    pub connection: Connection,
    /// Databases to capture; empty for all that count.
    pub databases: Vec<String>,
    /// Directory of `pg_dump` and `pg_restore`.
    pub bin_dir: Option<PathBuf>,
    /// Whether roles' passwords are captured.
    pub role_passwords: bool,
    /// Where the release's version comes from.
    pub release: Option<Origin>,
    /// Files to capture.
    pub files: Vec<Tree>,
    /// Stores that get bundles unless others are named.
    pub stores: Vec<StoreSettings>,
    /// The store among them that is the bucket of `cluster.conf`, where it names one.
    pub bucket: Option<Address>,
    /// How components' databases are backed up.
    pub component_databases: DatabaseSettings,
    /// The text of the settings, for other machines. It may hold a password.
    pub written: Option<Secret>,
    /// When jobs run by themselves, if it is said.
    pub schedule: Option<Schedule>,
    /// What is still well.
    pub limits: Limits,
    /// Who is told of runs.
    pub notify: Notify,
    /// Who can read bundles, where they are encrypted.
    pub recipients: Vec<String>,
    /// How bundles are reached.
    pub access: Access,
    /// Which bundles are kept, where any are to be deleted.
    pub retention: Option<Policy>,
    /// Compression level.
    pub level: u32,
    /// Connections that read rows at once, if it is said.
    pub jobs: Option<usize>,
    /// How the cluster's machines are logged in to, and what is done there.
    pub remote: Remote,
    /// The port that machines take SSH connections on, if it is said.
    pub ssh_port: Option<u16>,
    /// The components that there are: the platform's, and those of the settings.
    pub components: Components,
    /// The release's assets, where a deploy is to have some.
    pub assets: Option<Assets>,
}

/// A relative path counts from the file that names it, whatever the working directory is.
fn count_from(directory: &Path, document: &mut Document) {
    let beside = |path: &mut PathBuf| *path = directory.join(&*path);
    stores::count_from(directory, document);
    document.release.file.iter_mut().chain(&mut document.postgres.bin_dir).for_each(beside);
}

/// Reads what a restore needs of the settings, which need name no `cluster.conf` that exists. Without a path the usual
/// one is read, if it is there; a `cluster.conf` says only where one belongs.
///
/// # Errors
/// As [`load`].
pub fn load_restore(path: Option<&Path>) -> Result<RestoreSettings> {
    let usual = Path::new(DEFAULT_PATH);
    let path = match path {
        Some(path) => path,
        None if usual.exists() => usual,
        None => {
            let access = stores::of_restore(&Document::default(), None)?;
            return Ok(RestoreSettings { access, ..RestoreSettings::default() });
        }
    };
    if !is_settings(path) {
        refuse_other(path, &read(path, "read the cluster.conf")?)?;
        let access = stores::of_restore(&Document::default(), Some(path))?;
        return Ok(RestoreSettings { cluster_conf: Some(plain(path)), access, ..RestoreSettings::default() });
    }
    let (mut document, _) = parse(path)?;
    let directory = path.parent().unwrap_or(Path::new(""));
    let beside = |path: PathBuf| directory.join(path);
    stores::count_from(directory, &mut document);
    let cluster_conf = document.cluster_conf.take().map(beside);
    let doing = || format!("read the settings {}", path.display());
    let access = stores::of_restore(&document, cluster_conf.as_deref()).context(doing)?;
    let mut table = document.release;
    table.file = table.file.map(beside);
    Ok(RestoreSettings {
        cluster_conf: cluster_conf.map(|path| plain(&path)),
        connection: document.postgres.said,
        bin_dir: document.postgres.bin_dir.map(beside),
        release: release(table)?,
        release_rule: document.restore.release,
        ssh_port: document.hosts.ssh_port.map(Into::into),
        remote: remote(document.hosts, document.agent, &document.deploy).context(doing)?,
        jobs: check_jobs(document.restore.jobs)?,
        drill: routine::drill(&document.drill)?,
        assertions: document.drill.assert,
        access,
    })
}

fn assemble(document: Document, cluster_conf: PathBuf, bytes: Vec<u8>) -> Result<Settings> {
    let doing = || format!("read the cluster.conf {}", cluster_conf.display());
    refuse_other(&cluster_conf, &bytes)?;
    let cluster = ClusterConf::read(&bytes).context(doing)?;
    let level = document.backup.level.unwrap_or(DEFAULT_LEVEL);
    check_level(level)?;
    let (stores, access) = stores::of_backup(&document, &cluster)?;
    let bucket = stores::bucket(&cluster, &stores)?;
    let files = document.files.into_iter().map(tree).collect::<Result<_>>()?;
    Ok(Settings {
        cluster,
        cluster_conf_bytes: bytes,
        connection: document.postgres.said,
        databases: document.postgres.databases,
        bin_dir: document.postgres.bin_dir,
        role_passwords: document.postgres.role_passwords,
        release: release(document.release)?,
        files,
        stores,
        bucket,
        component_databases: routine::databases(document.databases)?,
        written: None,
        schedule: document.schedule.map(routine::schedule).transpose()?,
        limits: routine::limits(&document.status),
        notify: routine::notify(document.notify)?,
        recipients: document.encryption.recipients,
        access,
        retention: routine::retention(document.retention)?,
        level,
        jobs: check_jobs(document.backup.jobs)?,
        ssh_port: document.hosts.ssh_port.map(Into::into),
        remote: remote(document.hosts, document.agent, &document.deploy)?,
        components: Components::with(&document.deploy.components),
        assets: assets(document.deploy)?,
        cluster_conf,
    })
}

/// An absolute path without `..`, whether or not it exists.
fn plain(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut plain = PathBuf::new();
    for part in absolute.components() {
        if part == Component::ParentDir {
            plain.pop();
        } else {
            plain.push(part);
        }
    }
    plain
}

/// Refuses levels that don't exist.
///
/// # Errors
/// [`Kind::Usage`].
pub fn check_level(level: u32) -> Result<()> {
    if LEVELS.contains(&level) {
        return Ok(());
    }
    Err(Error::new(Kind::Usage, format!("compression level {level} does not exist")).hint(format!(
        "{} is fastest, {} smallest, {DEFAULT_LEVEL} the default",
        LEVELS.start(),
        LEVELS.end()
    )))
}

/// Connections at once, as `--jobs` takes them.
fn check_jobs(jobs: Option<usize>) -> Result<Option<usize>> {
    match jobs {
        Some(jobs) if !(1..=64).contains(&jobs) => {
            Err(Error::new(Kind::Usage, format!("jobs = {jobs}: it must be from 1 to 64")))
        }
        jobs => Ok(jobs),
    }
}

fn release(table: ReleaseTable) -> Result<Option<Origin>> {
    match (table.version, table.file, table.command) {
        (None, None, None) => Ok(None),
        (Some(version), None, None) => Ok(Some(Origin::Given(version))),
        (None, Some(file), None) => Ok(Some(Origin::File(file))),
        (None, None, Some(command)) => Ok(Some(Origin::Command(command))),
        _ => Err(Error::new(Kind::Usage, "release: only one of version, file and command may be set")),
    }
}

fn assets(table: DeployTable) -> Result<Option<Assets>> {
    let usual = || PathBuf::from(DEFAULT_ASSETS);
    let Some(archive) = table.assets else { return Ok(None) };
    let assets = Assets { archive, directory: table.assets_directory.unwrap_or_else(usual) };
    if let Some(path) = [&assets.archive, &assets.directory].into_iter().find(|path| !path.is_absolute()) {
        return Err(Error::new(Kind::Usage, format!("deploy.assets: {} is no absolute path", path.display())));
    }
    Ok(Some(assets))
}

fn agent(table: AgentTable) -> Result<Agent> {
    let usual = Agent::default();
    let agent = Agent {
        settings: table.settings.unwrap_or(usual.settings),
        command: table.command.unwrap_or(usual.command),
        version: table.version.unwrap_or(usual.version),
        sudo: table.sudo.unwrap_or(usual.sudo),
        limit: table.limit.map_or(usual.limit, |limit| limit.get().into()),
        orchestrator: table.orchestrator,
        ports: table.ports,
    };
    if !agent.settings.is_absolute() || agent.settings.file_name().is_none() {
        let path = agent.settings.display();
        return Err(Error::new(Kind::Usage, format!("agent.settings: {path} is no absolute path of a file")));
    }
    if agent.command.first().is_none_or(String::is_empty) {
        return Err(Error::new(Kind::Usage, "agent.command is empty"));
    }
    if agent.version.first().is_none_or(String::is_empty) {
        return Err(Error::new(Kind::Usage, "agent.version is empty"));
    }
    Ok(agent)
}

fn tree(table: FilesTable) -> Result<Tree> {
    if !table.path.is_absolute() {
        return Err(Error::new(Kind::Usage, format!("files: {} is not an absolute path", table.path.display())));
    }
    if table.path.components().any(|part| part == Component::ParentDir) {
        return Err(Error::new(Kind::Usage, format!("files: {} goes upwards with `..`", table.path.display())));
    }
    let mut globs = GlobSetBuilder::new();
    for pattern in &table.exclude {
        let glob = Glob::new(pattern)
            .map_err(|cause| Error::new(Kind::Usage, format!("files: exclude {pattern}")).because(cause))?;
        globs.add(glob);
    }
    let exclude = globs.build().map_err(|cause| Error::new(Kind::Usage, "files: exclude").because(cause))?;
    Ok(Tree { path: table.path, exclude: (!table.exclude.is_empty()).then_some(exclude) })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn load_text(toml: &str) -> Result<Settings> {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("cluster.conf"), "chef { continuum { cluster_name: example } }").expect("written");
        let path = dir.path().join("orchestrator.toml");
        fs::write(&path, toml).expect("written");
        load(&path)
    }

    #[test]
    fn the_sample_settings_are_understood() {
        let sample = include_str!("../../../deploy/orchestrator.toml");
        let beside = sample.replace("/home/orchestrator/cluster.conf", "cluster.conf");
        let settings = load_text(&beside).expect("the sample");
        assert_eq!(settings.cluster.cluster_name.as_deref(), Some("example"));
        assert_eq!(settings.files.len(), 1);
    }

    #[test]
    fn an_unknown_key_is_an_error_with_a_suggestion() {
        let error =
            load_text("cluster_conf = 'cluster.conf'\n[postgres]\ndatabses = ['x']\nconnection = 'password=hunter2'")
                .expect_err("a typo");
        assert_eq!((error.kind(), error.first_hint()), (Kind::Usage, Some("did you mean databases?")));
        assert!(error.to_string().contains("line 3, column 1"), "{error}");
        assert!(!format!("{error:?}").contains("hunter2"));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for bad in [
            "",
            "cluster_conf = 'missing.conf'",
            "cluster_conf = 'cluster.conf'\n[release]\nversion = '1'\nfile = '/x'",
            "cluster_conf = 'cluster.conf'\n[backup]\nlevel = 0",
            "cluster_conf = 'cluster.conf'\n[backup]\njobs = 0",
            "cluster_conf = 'cluster.conf'\n[[files]]\npath = 'relative'",
            "cluster_conf = 'cluster.conf'\n[[files]]\npath = '/etc/../x'",
        ] {
            assert!(load_text(bad).is_err(), "{bad}");
        }
    }
}
