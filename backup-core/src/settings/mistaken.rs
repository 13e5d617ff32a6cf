//! Settings that are named as a `cluster.conf` is, and a `cluster.conf` that is named as settings are.

use std::path::Path;

use super::document::{Document, is_settings};
use crate::cluster::ClusterConf;
use crate::{Error, Kind, Result, shell};

/// Refuses what was named as a `cluster.conf` and is settings: one would be put in the place of the other.
///
/// # Errors
/// [`Kind::Usage`] with the command that gives it its right name.
pub(crate) fn refuse_settings(path: &Path, content: &[u8]) -> Result<()> {
    let text = std::str::from_utf8(content).unwrap_or_default();
    let Ok(table) = text.parse::<toml::Table>() else { return Ok(()) };
    let is_whole = !table.is_empty() && toml::from_str::<Document>(text).is_ok();
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
pub(super) fn refuse_cluster_conf(path: &Path, text: &str) -> Result<()> {
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
