//! Settings in TOML, and `--config FILE`, which names either such a file or a `cluster.conf`.

mod document;
mod initial;
mod known;
mod machines;
mod received;
mod review;
mod routine;
#[cfg(test)]
mod sample;
mod stores;
mod written;

use std::path::{Component, Path, PathBuf};

use globset::{Glob, GlobSetBuilder};

use crate::backup::{DEFAULT_LEVEL, check_level};
use crate::cluster::ClusterConf;
use crate::cluster::agent::Agent;
use crate::component::Components;
use crate::component::control_plane::Origin;
use crate::component::files::Tree;
use crate::deploy::{self, Assets};
use crate::given::{is_settings, refuse_other};
use crate::schedule::Schedule;
use crate::status::Limits;
use crate::store::{Address, Rate};
use crate::{Error, ErrorContext, Kind, Result, backup, databases, restore, status};
use document::{AgentTable, DeployTable, Document, FilesTable, ReleaseTable};
use document::{parse, read};
pub use initial::{Initial, Rule};
pub use known::Known;
use machines::remote;
pub use received::received;
pub use review::review;
pub use routine::Notify;
pub use written::{faults, load, load_as_far_as_there, load_text};

/// Where the settings are unless something else is said.
pub const DEFAULT_PATH: &str = "/etc/orchestrator/orchestrator.toml";
/// Where bundles are kept unless something else is said.
pub const DEFAULT_STORE: &str = "/var/lib/postgresql/backups";

/// Where a release's assets are unpacked unless something else is said.
pub const DEFAULT_ASSETS: &str = "/tmp/orchestrator-assets";

/// Everything that a run is told by its configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Of backups.
    pub backup: backup::Settings,
    /// Of components' databases.
    pub databases: databases::Settings,
    /// Of deploys.
    pub deploy: deploy::Settings,
    /// When jobs run by themselves, if it is said.
    pub schedule: Option<Schedule>,
    /// What is still well.
    pub limits: Limits,
    /// Who is told of runs.
    pub notify: Notify,
    /// The port that machines take SSH connections on, if it is said.
    pub ssh_port: Option<u16>,
}

impl Settings {
    /// The same, with every store at this rate, if one is given.
    #[must_use]
    pub fn at_rate(mut self, rate: Option<Rate>) -> Self {
        self.backup.access = self.backup.access.at_rate(rate);
        self
    }

    /// What a backup of components' databases is told.
    pub fn for_databases(&self) -> databases::Told<'_> {
        databases::Told { backup: &self.backup, own: &self.databases, components: &self.deploy.components }
    }

    /// What a look at how things are is told.
    pub fn for_status(&self) -> status::Told<'_> {
        status::Told { databases: self.for_databases(), schedule: self.schedule.as_ref(), limits: &self.limits }
    }
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
pub fn load_restore(path: Option<&Path>, known: &Known) -> Result<restore::Settings> {
    let usual = Path::new(DEFAULT_PATH);
    let path = match path {
        Some(path) => path,
        None if usual.exists() => usual,
        None => {
            let access = stores::of_restore(&Document::default(), None, &known.stores)?;
            let components = Components::none(&known.kinds);
            return Ok(restore::Settings { access, components, ..restore::Settings::default() });
        }
    };
    if !is_settings(path) {
        refuse_other(path, &read(path, "read the cluster.conf")?)?;
        let access = stores::of_restore(&Document::default(), Some(path), &known.stores)?;
        let (cluster_conf, components) = (Some(plain(path)), Components::none(&known.kinds));
        return Ok(restore::Settings { cluster_conf, access, components, ..restore::Settings::default() });
    }
    let (mut document, _) = parse(path)?;
    let directory = path.parent().unwrap_or(Path::new(""));
    let beside = |path: PathBuf| directory.join(path);
    stores::count_from(directory, &mut document);
    let cluster_conf = document.cluster_conf.take().map(beside);
    let doing = || format!("read the settings {}", path.display());
    let access = stores::of_restore(&document, cluster_conf.as_deref(), &known.stores).context(doing)?;
    let mut table = document.release;
    table.file = table.file.map(beside);
    Ok(restore::Settings {
        cluster_conf: cluster_conf.map(|path| plain(&path)),
        connection: document.postgres.said,
        bin_dir: document.postgres.bin_dir.map(beside),
        release: release(table)?,
        release_rule: document.restore.release,
        ssh_port: document.hosts.ssh_port.map(Into::into),
        remote: remote(document.hosts, document.agent, &document.deploy).context(doing)?,
        jobs: check_jobs("restore.jobs", document.restore.jobs)?,
        drill: routine::drill(&document.drill)?,
        hooks: routine::hooks(document.hooks).context(doing)?,
        assertions: document.drill.assert,
        components: Components::configured(document.described, &known.kinds).context(doing)?,
        access,
    })
}

fn assemble(document: Document, cluster_conf: PathBuf, bytes: Vec<u8>, known: &Known) -> Result<Settings> {
    let doing = || format!("read the cluster.conf {}", cluster_conf.display());
    refuse_other(&cluster_conf, &bytes)?;
    let cluster = ClusterConf::read(&bytes).context(doing)?;
    let level = document.backup.level.unwrap_or(DEFAULT_LEVEL);
    check_level(level).context(|| "backup.level".into())?;
    let (stores, access) = stores::of_backup(&document, &cluster, &known.stores)?;
    let bucket = stores::bucket(&cluster, &stores)?;
    let files = document.files.into_iter().map(tree).collect::<Result<_>>()?;
    let ssh_port = document.hosts.ssh_port.map(Into::into);
    let databases = routine::databases(document.databases, bucket)?;
    let own = Address::Directory(databases.directory.clone());
    let places = stores.iter().map(|store| store.address.clone()).chain([own]).collect();
    Ok(Settings {
        backup: backup::Settings {
            cluster,
            cluster_conf_bytes: bytes,
            connection: document.postgres.said,
            databases: document.postgres.databases,
            bin_dir: document.postgres.bin_dir,
            role_passwords: document.postgres.role_passwords,
            release: release(document.release)?,
            files,
            components: Components::configured(document.described, &known.kinds)?,
            stores,
            places,
            recipients: document.encryption.recipients,
            access,
            retention: routine::retention(document.retention)?,
            level,
            jobs: check_jobs("backup.jobs", document.backup.jobs)?,
            remote: remote(document.hosts, document.agent, &document.deploy)?,
            hooks: routine::hooks(document.hooks)?,
            cluster_conf,
        },
        databases,
        schedule: document.schedule.map(routine::schedule).transpose()?,
        limits: routine::limits(&document.status),
        notify: routine::notify(document.notify)?,
        ssh_port,
        deploy: deploy::Settings {
            components: deploy::Components::with(&document.deploy.components),
            assets: assets(document.deploy)?,
        },
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

/// Connections at once, as `--jobs` takes them.
fn check_jobs(key: &str, jobs: Option<usize>) -> Result<Option<usize>> {
    match jobs {
        Some(jobs) if !(1..=64).contains(&jobs) => {
            Err(Error::new(Kind::Usage, format!("{key}: found {jobs}, expected a whole number from 1 to 64")))
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
        load(&path, &Known::default())
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
    fn a_wrong_value_of_a_component_is_named_by_its_place_and_key_too() {
        let first = "cluster_conf = 'cluster.conf'\n[[component]]\nkind = 'redis'\nid = 'first'\n";
        for (toml, expected) in [
            ("address = 7712", "line 5, column 11: component.address: found a whole number, expected a text in quotes"),
            (
                "stop = ['x', 7712]",
                "line 5, column 14: component.stop: found a whole number, expected a text in quotes",
            ),
            ("start = 'hunter2'", "line 5, column 9: component.start: found a text, expected a list"),
            ("passwort_file = 'hunter2'", "line 5, column 1: component.passwort_file: unknown key, expected one of"),
            ("[[component]]\nkind = 7712", "line 6, column 8: component.kind: found a whole number, expected a text"),
            ("[[component]]\nkind = 'redis'\nid = ['hunter2']", "line 7, column 6: component.id: found a list"),
            (
                "[[component]]\nkind = 'etcd'\ncacert = true",
                "line 7, column 10: component.cacert: found true, expected",
            ),
        ] {
            let error = load_text(&format!("{first}{toml}")).expect_err("a mistake");
            let said = error.chain().join(": ");
            assert!(said.contains("orchestrator.toml") && said.contains(expected), "{toml}: {said}");
            assert!(!format!("{error:?}").contains("hunter2") && !said.contains("7712"), "{error:?}");
        }
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
