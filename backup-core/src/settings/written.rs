//! `--config FILE`: settings that name a `cluster.conf`, or a `cluster.conf` alone.

use std::path::{Path, PathBuf};

use super::Known;
use super::document::{Document, parse_apart, parse_text, read, text_of};
use super::{DEFAULT_PATH, Settings, assemble, count_from};
use crate::cluster::ClusterConf;
use crate::cluster::secret::Secret;
use crate::given::is_settings;
use crate::{Error, ErrorContext, Kind, Result};

/// Reads the configuration, for a program that knows these kinds of stores: a file whose name ends in `.toml` is settings, any other is a `cluster.conf`.
///
/// # Errors
/// [`Kind::NotFound`] or [`Kind::Usage`], with the file, the place in it and what was expected.
pub fn load(path: &Path, known: &Known) -> Result<Settings> {
    let written = open(path)?;
    let bytes = written.cluster_conf()?;
    written.assemble(bytes, known)
}

/// The same for who wants to know how things are, also on a machine that is about to be brought back: where there is no
/// `cluster.conf` yet, or none that can be understood, it counts as empty. Gives why, too.
///
/// # Errors
/// Where the settings themselves can't be read; of those at the usual place none need be there.
pub fn load_as_far_as_there(path: &Path, known: &Known) -> Result<(Settings, Option<Error>)> {
    let (written, missing) = match open(path) {
        Err(error) if error.kind() == Kind::NotFound && path == Path::new(DEFAULT_PATH) => {
            (Written::default(), Some(error))
        }
        opened => (opened?, None),
    };
    let bytes = match missing {
        Some(error) => Err(error),
        None => written
            .cluster_conf()
            .and_then(|bytes| ClusterConf::read(&bytes).context(|| written.reading()).map(|_| bytes)),
    };
    match bytes {
        Ok(bytes) => Ok((written.assemble(bytes, known)?, None)),
        Err(error) => Ok((written.assemble(Vec::new(), known)?, Some(error))),
    }
}

/// The same of settings that are to stand at a path.
///
/// # Errors
/// As [`load`].
pub fn load_text(path: &Path, text: &str, known: &Known) -> Result<Settings> {
    let written = open_text(path, text.to_owned())?;
    let bytes = written.cluster_conf()?;
    written.assemble(bytes, known)
}

/// All that keeps a configuration from being read: the first mistake of each section of the settings, and that of the
/// `cluster.conf`.
///
/// # Errors
/// Where the settings can't be opened, or are no TOML.
pub fn faults(path: &Path, known: &Known) -> Result<Vec<Error>> {
    if !is_settings(path) {
        return Ok(load(path, known).err().into_iter().collect());
    }
    let text = text_of(path)?;
    let (mut faults, mut cluster_conf) = (Vec::new(), None);
    let directory = path.parent().unwrap_or(Path::new(""));
    for section in parse_apart(path, &text)? {
        let read = section.and_then(|mut document| {
            cluster_conf = document.cluster_conf.take().or(cluster_conf.take());
            count_from(directory, &mut document);
            let assembled = assemble(document, PathBuf::new(), Vec::new(), known);
            assembled.context(|| format!("read the settings {}", path.display()))
        });
        faults.extend(read.err());
    }
    let Some(cluster_conf) = cluster_conf.map(|beside| directory.join(beside)) else {
        faults.push(names_none(path));
        return Ok(faults);
    };
    let doing = || format!("read the cluster.conf {}", cluster_conf.display());
    let bytes = read(&cluster_conf, "read the cluster.conf");
    faults.extend(bytes.and_then(|bytes| ClusterConf::read(&bytes).context(doing)).err());
    if faults.is_empty() {
        faults.extend(load(path, known).err());
    }
    Ok(faults)
}

/// A configuration, before the `cluster.conf` is read.
#[derive(Default)]
struct Written {
    document: Document,
    cluster_conf: PathBuf,
    /// The settings, where they are some: their path and their text.
    settings: Option<(PathBuf, String)>,
}

fn open(path: &Path) -> Result<Written> {
    if !is_settings(path) {
        return Ok(Written { cluster_conf: path.to_owned(), ..Written::default() });
    }
    open_text(path, text_of(path)?)
}

fn open_text(path: &Path, text: String) -> Result<Written> {
    let mut document = parse_text(path, &text)?;
    let cluster_conf = document.cluster_conf.take().ok_or_else(|| names_none(path))?;
    let directory = path.parent().unwrap_or(Path::new(""));
    count_from(directory, &mut document);
    Ok(Written { document, cluster_conf: directory.join(cluster_conf), settings: Some((path.to_owned(), text)) })
}

fn names_none(path: &Path) -> Error {
    Error::new(Kind::Usage, format!("read the settings {}: they name no cluster.conf", path.display()))
        .hint("add the line: cluster_conf = \"/home/orchestrator/cluster.conf\"")
}

impl Written {
    fn reading(&self) -> String {
        let path = self.settings.as_ref().map(|(path, _)| path);
        path.map_or_else(
            || format!("read the cluster.conf {}", self.cluster_conf.display()),
            |path| format!("read the settings {}", path.display()),
        )
    }

    /// The bytes of the `cluster.conf`.
    fn cluster_conf(&self) -> Result<Vec<u8>> {
        let bytes = read(&self.cluster_conf, "read the cluster.conf");
        if self.settings.is_some() { bytes.context(|| self.reading()) } else { bytes }
    }

    fn assemble(self, cluster_conf: Vec<u8>, known: &Known) -> Result<Settings> {
        let reading = self.reading();
        let assembled = assemble(self.document, self.cluster_conf, cluster_conf, known);
        match self.settings {
            None => assembled,
            Some((_, text)) => {
                let mut settings = assembled.context(|| reading)?;
                settings.databases.written = Some(Secret::new(text));
                Ok(settings)
            }
        }
    }
}
