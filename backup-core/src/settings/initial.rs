//! The first settings of a machine, as text.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::component::control_plane::Origin;
use crate::store::Address;
use crate::{Error, Kind, Result};

/// Keys of `[retention]` that keep something.
const RULES: [&str; 6] = ["last", "days", "daily", "weekly", "monthly", "yearly"];

/// What the first settings of a machine say.
#[derive(Debug, Clone)]
pub struct Initial {
    /// The `cluster.conf`.
    pub cluster_conf: PathBuf,
    /// How PostgreSQL is reached, without a password; none if the usual way is meant.
    pub connection: Option<String>,
    /// Where the release's version comes from.
    pub release: Origin,
    /// Where bundles go, as operators write it.
    pub stores: Vec<String>,
    /// The recipients of encrypted bundles.
    pub recipients: Vec<String>,
    /// Files of identities.
    pub identities: Vec<PathBuf>,
    /// Which bundles are kept; empty if none is ever deleted.
    pub keep: Vec<Rule>,
    /// When a backup is made.
    pub backup: String,
    /// When the newest bundle is drilled.
    pub drill: String,
}

/// A rule of what is kept, such as `daily=7`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    key: &'static str,
    number: u32,
}

impl FromStr for Rule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let hint = format!("such as daily=7; the rules are {}", RULES.join(", "));
        let odd = || Error::new(Kind::Usage, format!("{text} is no rule of what is kept")).hint(hint);
        let Some((name, number)) = text.split_once('=') else { return Err(odd()) };
        let key = RULES.into_iter().find(|key| *key == name.trim());
        match (key, number.trim().parse()) {
            (Some(key), Ok(number)) if number > 0 => Ok(Self { key, number }),
            _ => Err(odd()),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}={}", self.key, self.number)
    }
}

impl Initial {
    /// The text of the settings.
    pub fn text(&self) -> String {
        let mut text = String::from(
            "# Settings of orchestrator-cli.\n\
             # `orchestrator-cli config check` reads them. `orchestrator-cli check` looks at all that a backup needs.\n\
             # The sample with every key: deploy/orchestrator.toml, or /usr/share/doc/orchestrator-cli/examples.\n\n",
        );
        let mut add = |part: String| text.push_str(&part);
        add(format!("cluster_conf = {}\n", path(&self.cluster_conf)));
        if let Some(connection) = &self.connection {
            add(format!(
                "\n# Passwords stand in ~/.pgpass, not here.\n[postgres]\nconnection = {}\n",
                quoted(connection)
            ));
        }
        let release = match &self.release {
            Origin::Given(version) => format!("# Change the version with each upgrade.\nversion = {}", quoted(version)),
            Origin::File(file) => format!("file = {}", path(file)),
            Origin::Command(words) => format!("command = {}", list(words)),
        };
        add(format!("\n[release]\n{release}\n"));
        for store in &self.stores {
            let key = if Address::is_remote(store) { "address" } else { "path" };
            add(format!("\n[[stores]]\n{key} = {}\n", quoted(store)));
        }
        if !self.recipients.is_empty() {
            let files: Vec<String> = self.identities.iter().map(|file| file.display().to_string()).collect();
            let (recipients, identities) = (list(&self.recipients), list(&files));
            add(format!("\n[encryption]\nrecipients = {recipients}\nidentities = {identities}\n"));
        }
        if !self.keep.is_empty() {
            let rules: String = self.keep.iter().fold(String::new(), |mut all, rule| {
                // A text takes all that is written to it.
                let _ = writeln!(all, "{} = {}", rule.key, rule.number);
                all
            });
            add(format!("\n# A bundle that any rule keeps stays. Backups delete the others.\n[retention]\n{rules}"));
        }
        let (backup, drill) = (quoted(&self.backup), quoted(&self.drill));
        add(format!(
            "\n# `orchestrator-cli schedule install` gives these times to systemd or cron.\n[schedule]\nbackup = {backup}\ndrill = {drill}\n"
        ));
        text
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.into()).to_string()
}

fn path(path: &Path) -> String {
    quoted(&path.display().to_string())
}

fn list(texts: &[String]) -> String {
    toml::Value::Array(texts.iter().map(|text| toml::Value::String(text.clone())).collect()).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::{Known, load_text};
    use super::*;

    #[test]
    fn whatever_is_answered_is_what_the_settings_say() {
        let directory = tempfile::tempdir().expect("a directory");
        let cluster_conf = directory.path().join("a \"b\" \\ 'c'.conf");
        std::fs::write(&cluster_conf, "chef { continuum { cluster_name: example } }").expect("written");
        let odd = "a \"b\"\t'c' \\ é".to_owned();
        let initial = Initial {
            cluster_conf: cluster_conf.clone(),
            connection: Some(format!("user='{}'", "o\\'x")),
            release: Origin::Command(vec![odd.clone(), odd.clone()]),
            stores: vec![format!("/{odd}"), "s3://bucket/prefix".into(), "sftp://u@h/x".into()],
            recipients: vec!["ssh-ed25519 AAAA \"me\"".into()],
            identities: vec![format!("/{odd}").into()],
            keep: vec!["daily=7".parse().expect("a rule"), "yearly=1".parse().expect("a rule")],
            backup: "Mon..Fri 02:30".into(),
            drill: String::new(),
        };
        let path = directory.path().join("o.toml");
        let settings = load_text(&path, &initial.text(), &Known::default()).expect("settings");
        assert_eq!(settings.backup.cluster_conf, cluster_conf);
        assert_eq!(settings.backup.release, Some(initial.release));
        let stores: Vec<String> = settings.backup.stores.iter().map(|store| store.address.to_string()).collect();
        assert_eq!(stores, initial.stores);
        assert_eq!(settings.backup.recipients, initial.recipients);
        assert_eq!(settings.backup.access.identities, initial.identities);
        let policy = settings.backup.retention.expect("rules");
        assert_eq!((policy.daily, policy.yearly, policy.last), (7, 1, 0));
        assert_eq!(settings.schedule.expect("times").jobs.len(), 1);
        for odd in ["daily", "daily=0", "daily=x", "hourly=3", "daily=-1"] {
            assert!(odd.parse::<Rule>().is_err(), "{odd}");
        }
    }
}
