//! Settings that an orchestrator sends with an errand: which databases, what is kept of their bundles, and in which stores. What names a
//! program, a file or a directory of this machine its own settings alone say.

use std::path::Path;

use super::Known;
use super::document::{Document, StoreTable, parse, parse_text};
use super::{DEFAULT_PATH, DEFAULT_STORE, Settings, assemble, count_from};
use crate::databases::TAKEN;
use crate::finding::Finding;
use crate::{Error, Kind, Result, toml_text};

/// Settings that another machine has sent, with the `cluster.conf` that they go with; `own` are this machine's, if they are there. Returns,
/// too, what was not taken.
///
/// # Errors
/// As [`super::load`]; [`Kind::Refused`] where they say what is not theirs to say.
pub fn received(text: Option<&str>, cluster_conf: &str, own: &Path, known: &Known) -> Result<(Settings, Vec<Finding>)> {
    let usual = Path::new(DEFAULT_PATH);
    let mut document = text.map(|text| parse_sent(usual, text)).transpose()?.unwrap_or_default();
    let from = document.cluster_conf.take().unwrap_or_else(|| "cluster.conf".into());
    let mut ours = if own == usual && !own.exists() { Document::default() } else { parse(own)?.0 };
    count_from(own.parent().unwrap_or(Path::new("")), &mut ours);
    let found = take_own(&mut document, ours, own)?;
    // Whoever sends them has read these, and sends what stands there.
    document.encryption.recipients.clear();
    document.encryption.identities.clear();
    let directory = usual.parent().unwrap_or(Path::new(""));
    Ok((assemble(document, directory.join(from), cluster_conf.into(), known)?, found))
}

fn parse_sent(path: &Path, text: &str) -> Result<Document> {
    let table: toml::Table = toml_text::read("of the orchestrator", text)?;
    if let Some(key) = table.keys().find(|key| !TAKEN.contains(&key.as_str())) {
        return Err(refused(key));
    }
    parse_text(path, text)
}

fn refused(key: &str) -> Error {
    Error::new(Kind::Refused, format!("take an errand: it says {key}, which a machine's own settings alone may say"))
        .hint(format!("write it into {DEFAULT_PATH} of this machine, if it is meant"))
}

/// Puts what is of this machine in the place of what was sent.
fn take_own(sent: &mut Document, ours: Document, own: &Path) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    let mut not_taken = |key: &str, sent: &Path| {
        let message = format!(
            "the orchestrator's settings say {}, and what lies on this machine its own settings say",
            sent.display()
        );
        let hint = format!("if it is meant, say it in {} of this machine", own.display());
        found.push(Finding::warning("errand-not-taken", key, message).hint(hint));
    };
    let directory = ours.databases.directory.unwrap_or_else(|| DEFAULT_STORE.into());
    if let Some(other) = sent.databases.directory.replace(directory.clone()).filter(|other| *other != directory) {
        not_taken("databases.directory", &other);
    }
    let (mut own_stores, own_remote): (Vec<StoreTable>, Vec<StoreTable>) = ours.stores.into_iter().partition(is_own);
    // Remotes of rclone are what this machine calls so: one may be a directory of it.
    let remotes = sent.stores.iter().filter_map(|store| store.address.as_ref().filter(|_| is_own(store)));
    for remote in remotes.filter(|remote| !own_stores.iter().any(|own| own.address.as_ref() == Some(remote))) {
        not_taken("stores.address", Path::new(remote));
    }
    sent.stores.retain(|store| !is_own(store));
    for store in &mut sent.stores {
        let own = own_remote.iter().find(|own| own.address == store.address);
        let (s3, sftp) = (own.and_then(|own| own.s3.clone()), own.and_then(|own| own.sftp.clone()));
        if let Some(sent) = &mut store.s3 {
            let own = s3.unwrap_or_default();
            let ca_file = std::mem::replace(&mut sent.ca_file, own.ca_file);
            ca_file
                .filter(|file| Some(file) != sent.ca_file.as_ref())
                .iter()
                .for_each(|file| not_taken("s3.ca_file", file));
            let profile = std::mem::replace(&mut sent.profile, own.profile);
            let other = profile.filter(|profile| Some(profile) != sent.profile.as_ref());
            other.iter().for_each(|profile| not_taken("s3.profile", Path::new(profile)));
        }
        store.sftp = sftp;
        store.rclone = None;
    }
    sent.stores.append(&mut own_stores);
    sent.postgres.bin_dir = ours.postgres.bin_dir;
    sent.signing = ours.signing;
    (sent.databases.user, sent.databases.command) = (None, None);
    if ours.databases.said.is_said() {
        sent.databases.said = ours.databases.said;
    } else if let Some(key) = sent.databases.said.names_file()? {
        return Err(refused(&format!("databases.connection with {key}")));
    }
    Ok(found)
}

/// Whether a store is what this machine itself says it is: a directory, or a remote of its rclone.
fn is_own(store: &StoreTable) -> bool {
    store.address.as_ref().is_none_or(|address| !address.contains("://"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn taken(sent: &str, own: &str) -> Result<(Settings, Vec<Finding>)> {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("own.toml");
        fs::write(&path, own).expect("written");
        received(Some(sent), "chef { continuum { cluster_name: example } }", &path, &Known::default())
    }

    #[test]
    fn no_errand_names_a_program_a_file_or_who_is_told() {
        for (sent, named) in [
            ("[postgres]\nbin_dir = '/tmp/evil'", "postgres"),
            ("[release]\ncommand = ['/tmp/evil']", "release"),
            ("[agent]\ncommand = ['/tmp/evil']", "agent"),
            ("[deploy]\nassets = '/tmp/evil'", "deploy"),
            ("[notify]\nsendmail = '/tmp/evil'", "notify"),
            ("[[files]]\npath = '/etc/shadow'", "files"),
            ("[drill]\nlimit = '1s'", "drill"),
            ("[databases]\nconnection = 'host=x passfile=/root/.pgpass'", "databases.connection with passfile"),
            ("[databases]\nconnection = 'host=x sslkey=/root/key'", "databases.connection with sslkey"),
            ("[databases]\nconnection = 'host=/tmp/evil'", "databases.connection with host"),
            ("[databases]\nconnection = 'service=x'", "databases.connection with service"),
        ] {
            let error = taken(sent, "").expect_err(sent);
            assert_eq!(error.kind(), Kind::Refused, "{sent}");
            assert!(error.to_string().contains(&format!("it says {named},")), "{sent}: {error}");
        }
    }

    #[test]
    fn places_of_this_machine_are_its_own() {
        let sent = "[databases]\ndirectory = '/tmp/evil'\nuser = 'root'\ncommand = ['/tmp/evil']\nconnection = 'host=db'\n\
            [encryption]\nidentities = ['/root/key']\nrecipients = ['/etc/shadow']\n[[stores]]\npath = '/tmp/evil'\n\
            [[stores]]\naddress = 's3://one'\ns3 = { ca_file = '/tmp/evil', profile = 'evil', region = 'here' }\n\
            [[stores]]\naddress = 'sftp://u@h/x'\nsftp = { identity_file = '/root/key', known_hosts = '/tmp/evil' }\n\
            [[stores]]\naddress = 'rclone:evil:/etc'\nrclone = { config = '/tmp/evil' }\n[retention]\nlast = 3";
        let (settings, found) = taken(sent, "").expect("settings");
        assert_eq!(settings.databases.directory, Path::new(DEFAULT_STORE));
        let shown = format!("{settings:?}");
        assert!(!shown.contains("evil") && !shown.contains("/root/key") && !shown.contains("shadow"), "{shown}");
        assert!(shown.contains("here") && settings.backup.retention.is_some());
        let keys: Vec<&str> = found.iter().map(|finding| finding.subject.as_str()).collect();
        assert_eq!(keys, ["databases.directory", "stores.address", "s3.ca_file", "s3.profile"]);

        let own = "[postgres]\nbin_dir = '/opt/pg/bin'\n[databases]\ndirectory = '/srv/own'\n\
            [[stores]]\naddress = 's3://one'\ns3 = { ca_file = '/etc/ca.pem' }";
        let (settings, _) = taken(sent, own).expect("settings");
        let shown = format!("{settings:?}");
        assert!(["/opt/pg/bin", "/srv/own", "/etc/ca.pem"].iter().all(|own| shown.contains(own)), "{shown}");
    }
}
