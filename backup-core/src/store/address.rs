//! Where bundles are kept, as operators write it: `DIR`, `s3://bucket/prefix`, `sftp://user@host:port/path`,
//! `rclone:remote:path`.

use std::fmt;
use std::path::{Path, PathBuf};

use super::rclone_address::{self, RCLONE, RcloneAddress};
use crate::names::FileName;
use crate::{Error, Kind, Result};

const KINDS: &str = "name a directory, s3://bucket/prefix, sftp://user@host/path or rclone:remote:path";

/// A place that keeps bundles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A directory of this machine.
    Directory(PathBuf),
    /// A bucket, and what keys in it begin with.
    S3(S3Address),
    /// A directory of another machine.
    Sftp(SftpAddress),
    /// A path in a remote of rclone.
    Rclone(RcloneAddress),
}

/// `s3://bucket/prefix`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Address {
    /// The bucket.
    pub bucket: String,
    /// What every key begins with, without a slash at either end; empty for the bucket itself.
    pub prefix: String,
}

/// `sftp://user@host:port/path`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SftpAddress {
    /// Whom to log in as, where it is not the own user.
    pub user: Option<String>,
    /// The machine: a name, or an address without brackets.
    pub host: String,
    /// The port, where it is not that of SSH.
    pub port: Option<u16>,
    /// The directory: absolute, or below the home directory where it begins with `~/`.
    pub path: String,
}

impl Address {
    /// Reads an address. What has no scheme is a directory.
    ///
    /// # Errors
    /// [`Kind::Usage`] where it can't be understood; a password in it is not repeated.
    pub fn parse(text: &Path) -> Result<Self> {
        if let Some(rest) = text.to_str().and_then(|text| text.strip_prefix(RCLONE)) {
            let address = rclone_address::read(rest)?;
            return check_store(Self::Rclone(address), rest);
        }
        let Some((scheme, rest)) = text.to_str().and_then(|text| text.split_once("://")) else {
            return directory(text);
        };
        match scheme {
            "s3" => s3(rest).and_then(|address| check_store(Self::S3(address), rest)),
            "sftp" => sftp(rest).and_then(|address| check_store(Self::Sftp(address), rest)),
            _ => Err(refused(&format!("{scheme}://… is no kind of store that is known")).hint(KINDS)),
        }
    }

    /// Whether a text is the address of a place that is reached by other means than as a file or a directory.
    pub fn is_remote(text: &str) -> bool {
        text.contains("://") || text.starts_with(RCLONE)
    }

    /// A directory of this machine. One that is called as a file of a bundle is must be there already.
    ///
    /// # Errors
    /// [`Kind::Usage`] where it is called so and is not there.
    pub fn directory(path: &Path) -> Result<Self> {
        let address = Self::Directory(path.into());
        let slip = is_called_as_a_file(&path.to_string_lossy()) && !path.is_dir();
        if slip { Err(file_for_a_store(&address)) } else { Ok(address) }
    }

    /// Reads the address of one bundle: the store, and the file's name in it. None where it is a file of this machine,
    /// which may be called anything.
    ///
    /// # Errors
    /// [`Kind::Usage`] where it can't be understood, or names no bundle.
    pub fn of_bundle(text: &Path) -> Result<Option<(Self, FileName)>> {
        let Some(remote) = text.to_str().filter(|text| Self::is_remote(text)) else {
            return if text.exists() { Ok(None) } else { check_typed(text).map(|()| None) };
        };
        // A remote of rclone may have bundles right below its colon.
        let below = |at: usize| Some((&remote[..=at], remote[at + 1..].parse().ok()?));
        let split = remote.rfind(['/', ':']).and_then(below);
        let Some((store, name)) = split else {
            // The address itself may hold what must not be repeated.
            let address = Self::parse(text)?;
            return Err(refused(&format!("{address} names no bundle"))
                .hint("end it with a bundle's name, orchestrator_backup_….tgz; `list` shows those there are"));
        };
        let store = Self::parse(Path::new(store))?;
        Ok(Some((store, name)))
    }
}

/// A file in a place, both as operators write them. Right after the colon of a remote a slash would mean another directory.
pub fn file_in(place: &str, file: &str) -> String {
    let ends_so = place.ends_with('/') || (place.starts_with(RCLONE) && place.ends_with(':'));
    if ends_so { format!("{place}{file}") } else { format!("{place}/{file}") }
}

pub(super) fn refused(why: &str) -> Error {
    Error::new(Kind::Usage, format!("read an address: {why}"))
}

fn directory(text: &Path) -> Result<Address> {
    if text.as_os_str().is_empty() {
        return Err(refused("it is empty").hint(KINDS));
    }
    if text.to_str().is_some_and(|text| text.starts_with('~')) {
        let error = refused(&format!("{} is taken as it is, with its `~`", text.display()));
        return Err(error.hint("name the directory in full; a shell replaces `~` where it is not quoted"));
    }
    check_typed(text)?;
    Address::directory(text)
}

/// What a file of a bundle ends in, which no store does.
const FILES: [&str; 3] = [".tgz", ".age", ".tar.gz"];

fn is_called_as_a_file(path: &str) -> bool {
    let path = path.trim_end_matches('/').to_ascii_lowercase();
    FILES.iter().any(|ending| path.ends_with(ending))
}

/// Refuses what was surely meant to lead away from this machine; it may hold a password.
fn check_typed(text: &Path) -> Result<()> {
    let text = text.to_string_lossy();
    let first = text.split('/').next().unwrap_or_default();
    let scheme = ["s3:", "sftp:", "ssh:", "scp:"].iter().any(|scheme| first.to_ascii_lowercase().starts_with(scheme));
    let scp = first.split_once('@').is_some_and(|(_, host)| host.contains(':'));
    if !scheme && !scp && !text.starts_with("s3//") {
        return Ok(());
    }
    Err(refused("this looks like another machine's, and would be a directory of this one")
        .hint("write s3://bucket/prefix or sftp://user@host/path; or ./ before it, if a directory is meant"))
}

fn file_for_a_store(address: &Address) -> Error {
    let error = refused(&format!("{address} is called as a file is, and a store is a directory"));
    error.hint(
        "name the directory: each bundle in it is named by its time; the commands show and verify take a single bundle",
    )
}

/// A store is no bundle.
fn check_store(address: Address, path: &str) -> Result<Address> {
    match path.rsplit('/').next().unwrap_or_default().parse::<FileName>() {
        // Where a slash ends it, it is meant; and what was put there once must be found.
        Err(_) if is_called_as_a_file(path) && !path.ends_with('/') => Err(file_for_a_store(&address)),
        Err(_) => Ok(address),
        Ok(_) => Err(refused(&format!("{address} is a bundle, and no store"))
            .hint("name the store that it is in; the commands show and verify take a single bundle")),
    }
}

fn s3(rest: &str) -> Result<S3Address> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    // A secret key may have a slash in it.
    if rest.contains('@') || bucket.contains(':') {
        return Err(refused("s3://…@… holds keys, which belong nowhere near a command line").hint(
            "keys come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, from ~/.aws, or from the machine's role",
        ));
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if bucket.is_empty() || !bucket.chars().all(legal) {
        return Err(refused(&format!("s3://{rest} names no bucket")).hint("write s3://bucket/prefix"));
    }
    let prefix = prefix.trim_matches('/');
    if prefix.split('/').any(|part| part.is_empty() && !prefix.is_empty() || part == "." || part == "..") {
        return Err(refused(&format!("s3://{rest} has an empty part, or one that is . or ..")));
    }
    Ok(S3Address { bucket: bucket.into(), prefix: prefix.into() })
}

fn sftp(rest: &str) -> Result<SftpAddress> {
    let malformed = || refused("sftp://… is not complete").hint("write sftp://user@host/path, or sftp://host/~/path");
    let (machine, path) = rest.split_once('/').ok_or_else(malformed)?;
    let (user, machine) = match machine.rsplit_once('@') {
        Some((user, _)) if user.contains(':') => {
            return Err(refused("sftp://…:…@… holds a password, which belongs nowhere near a command line")
                .hint("log in with a key: an agent's, ~/.ssh/id_ed25519, or sftp.identity_file in the settings"));
        }
        Some((user, machine)) => (Some(user.to_owned()), machine),
        None => (None, machine),
    };
    let (host, port) = match machine.strip_prefix('[').and_then(|machine| machine.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => machine.split_once(':').map_or((machine, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map(|port| port.parse().map_err(|_| malformed())).transpose()?;
    let path = path.trim_end_matches('/');
    if host.is_empty() || user.as_ref().is_some_and(String::is_empty) || path.contains('\0') {
        return Err(malformed());
    }
    let path = if path.starts_with("~/") || path == "~" { path.into() } else { format!("/{path}") };
    Ok(SftpAddress { user, host: host.into(), port, path })
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => path.display().fmt(f),
            Self::S3(address) => address.fmt(f),
            Self::Sftp(address) => address.fmt(f),
            Self::Rclone(address) => address.fmt(f),
        }
    }
}

impl fmt::Display for S3Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.bucket)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

impl fmt::Display for SftpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sftp://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        if self.host.contains(':') { write!(f, "[{}]", self.host) } else { f.write_str(&self.host) }?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        write!(f, "{}{}", if self.path.starts_with('/') { "" } else { "/" }, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Address> {
        Address::parse(Path::new(text))
    }

    #[test]
    fn an_address_is_written_as_it_was_read() {
        for text in [
            "/var/backups",
            "backups",
            "s3://bucket",
            "s3://bucket/a/b c",
            "sftp://vault/backups",
            "sftp://root@vault:2222/var/backups",
            "sftp://[fe80::1]:22/x",
            "sftp://vault/~/backups",
            "rclone:vault:",
            "rclone:my vault:bucket/a b/c",
            "rclone:vault:/srv/backups",
        ] {
            assert_eq!(parse(text).expect("an address").to_string(), text);
        }
        assert_eq!(parse("s3://bucket/a/").expect("an address").to_string(), "s3://bucket/a");
    }

    #[test]
    fn what_is_no_address_is_refused_and_no_secret_is_repeated() {
        for text in [
            "",
            "~/backups",
            "s3:/bucket/hunter2",
            "s3//bucket",
            "sftp:/root:hunter2@vault/x",
            "root@vault:/backups",
            "s3://bucket/orchestrator_backup_20261120T191500Z.tgz",
            "gs://bucket",
            "s3://",
            "s3://bucket/../x",
            "s3://key:hunter2@bucket/x",
            "s3://key:abc/hunter2@bucket/x",
            "sftp://vault",
            "sftp://root:hunter2@vault/x",
            "sftp://vault:ssh/x",
            "/var/backups/monday.tgz",
            "monday.tar.gz",
            "monday.tgz/",
            "monday.TGZ.age",
            "s3://bucket/monday.age",
            "sftp://vault/x/monday.tgz",
            "rclone:",
            "rclone:vault",
            "rclone:/srv/backups",
            "rclone::s3,secret_access_key=hunter2:bucket",
            "rclone:vault,secret_access_key=hunter2:bucket",
            "rclone:sftp://root:hunter2@vault/x",
            "rclone:-vault:x",
            "rclone:vault:a/../b",
            "rclone:vault:a//b",
            "rclone:vault:x/monday.tgz",
            "rclone:vault:orchestrator_backup_20261120T191500Z.tgz",
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.kind() == Kind::Usage && !format!("{error:?}{:?}", error.first_hint()).contains("hunter2"));
        }
    }

    #[test]
    fn a_bundle_is_named_by_its_store_and_its_file() {
        let named = |text: &str| Address::of_bundle(Path::new(text));
        let name = "orchestrator_backup_20261120T191500Z.tgz.age";
        for store in ["s3://bucket/a", "s3://bucket", "sftp://vault/~/x", "sftp://vault/"] {
            let text = format!("{}/{name}", store.trim_end_matches('/'));
            let (address, file) = named(&text).expect("an address").expect("of another machine");
            assert_eq!((address.to_string().as_str(), file.to_string().as_str()), (store, name));
        }
        for store in ["rclone:vault:", "rclone:vault:/", "rclone:vault:bucket/a", "rclone:vault:/srv"] {
            let slash = if store.ends_with([':', '/']) { "" } else { "/" };
            let (address, file) = named(&format!("{store}{slash}{name}")).expect("an address").expect("of a remote");
            assert_eq!((address.to_string().as_str(), file.to_string().as_str()), (store, name));
        }
        assert!(named("/var/backups/x.tgz").expect("a file").is_none());
        for bad in
            ["s3://bucket/a", "s3://bucket", "s3://key:hunter2@bucket/x", "rclone:vault:a", "rclone::s3,k=hunter2:a"]
        {
            let error = named(bad).expect_err("no bundle");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
