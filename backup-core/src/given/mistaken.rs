//! What is named as a `cluster.conf` or as settings are, and is something else.

use std::path::Path;

use super::{START, Seen};
use crate::cluster::ClusterConf;
use crate::{Error, Kind, Result, shell};

/// What files begin with that nobody takes for a text but by mistake.
const OTHERS: [(&[u8], &str); 6] = [
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"),
    (b"%PDF", "a PDF"),
    (b"\x7fELF", "a program"),
    (b"-----BEGIN ", "a key or a certificate"),
];

/// What settings may have at their top.
pub(crate) const SECTIONS: [&str; 20] = [
    "agent",
    "backup",
    "cluster_conf",
    "component",
    "databases",
    "deploy",
    "drill",
    "encryption",
    "files",
    "hooks",
    "hosts",
    "notify",
    "postgres",
    "release",
    "restore",
    "retention",
    "schedule",
    "signing",
    "status",
    "stores",
];

/// Whether a file is settings by its name, and not a `cluster.conf`.
pub(crate) fn is_settings(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "toml")
}

/// Refuses what was named as a `cluster.conf` and is something else: one would be put in the place of the other.
///
/// # Errors
/// [`Kind::Usage`] with what it looks like; for settings with the command that gives them their right name.
pub(crate) fn refuse_other(path: &Path, content: &[u8]) -> Result<()> {
    refuse_unlike(path, content)?;
    refuse_settings(path, content)
}

/// Refuses what can't be a `cluster.conf` of any kind. One that has a mistake in it is one all the same: a restore brings a better one.
pub(crate) fn refuse_unlike(path: &Path, content: &[u8]) -> Result<()> {
    let refused = |what: &str| {
        let error = Error::new(Kind::Usage, format!("read the cluster.conf {}: it looks like {what}", path.display()));
        Err(error.hint("name a cluster.conf, or settings whose name ends in .toml"))
    };
    let start = &content[..content.len().min(START)];
    if let Some((_, what)) = OTHERS.iter().find(|(begin, _)| content.starts_with(begin)) {
        return refused(what);
    }
    match Seen::of_start(start) {
        Seen::Gzip(inner) if matches!(*inner, Seen::Tar) => refused("a bundle, or another packed archive"),
        Seen::Unknown if start.contains(&0) => refused("no text"),
        // One in Latin-1 or UTF-16 is told apart where it is read.
        Seen::Unknown => Ok(()),
        Seen::Other(other) if other.is_text() => Ok(()),
        seen => refused(&seen.what()),
    }
}

fn refuse_settings(path: &Path, content: &[u8]) -> Result<()> {
    let text = std::str::from_utf8(content).unwrap_or_default();
    let Ok(table) = text.parse::<toml::Table>() else { return Ok(()) };
    let is_whole = !table.is_empty() && table.keys().all(|key| SECTIONS.contains(&key.as_str()));
    if !is_whole && !table.contains_key("cluster_conf") {
        return Ok(());
    }
    let error = Error::new(Kind::Usage, format!("read the cluster.conf {}: it looks like settings", path.display()));
    Err(match is_settings(path) {
        true => error.hint("name the cluster.conf itself, not the settings"),
        false => error.hint(rename("settings end in .toml", path, "toml")),
    })
}

/// Refuses what was named as settings and is a `cluster.conf`.
///
/// # Errors
/// [`Kind::Usage`] with the command that gives it its right name.
pub(crate) fn refuse_cluster_conf(path: &Path, text: &str) -> Result<()> {
    let is_toml = text.parse::<toml::Table>().is_ok_and(|table| table.contains_key("cluster_conf"));
    let is_cluster = |cluster: ClusterConf| cluster.cluster_name.is_some() || !cluster.zones.is_empty();
    if is_toml || !ClusterConf::parse(text).is_ok_and(is_cluster) {
        return Ok(());
    }
    let error = Error::new(Kind::Usage, format!("read the settings {}: it looks like a cluster.conf", path.display()));
    Err(error.hint(rename("its name must not end in .toml", path, "conf")))
}

fn rename(rule: &str, path: &Path, end: &str) -> String {
    let renamed = path.with_extension(end);
    let (from, to) = (shell::path(path), shell::path(&renamed));
    match renamed.exists() {
        true => format!("{rule}; {to} is there too: name that one, or give {from} another name"),
        false => format!("{rule}: mv {from} {to}"),
    }
}
