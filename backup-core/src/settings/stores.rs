//! Where bundles are kept, as settings and `cluster.conf` say it.

use std::path::Path;

use super::DEFAULT_STORE;
use super::document::{Document, SigningTable, StoreTable, read};
use crate::cluster::{ClusterConf, DatabaseBackups};
use crate::signing::{Signer, Signing};
use crate::store::{Access, Address, Connector, S3Options, ServerEncryption, StoreSettings};
use crate::{Error, ErrorContext, Kind, Result};

/// Amazon's own endpoints need no other word than their region.
const AMAZON: &str = ".amazonaws.com";

/// A relative path counts from the file that names it, whatever the working directory is.
pub(super) fn count_from(directory: &Path, document: &mut Document) {
    let stores = document.stores.iter_mut();
    let files = stores.flat_map(|store| {
        let (s3, sftp) = (store.s3.as_mut(), store.sftp.as_mut());
        let rclone = store.rclone.as_mut().map(|rclone| &mut rclone.config);
        let sftp = sftp.map(|sftp| [&mut sftp.identity_file, &mut sftp.known_hosts]);
        let files = s3.map(|s3| &mut s3.ca_file).into_iter().chain(sftp.into_iter().flatten()).chain(rclone);
        // An address that stands in the wrong place is refused later.
        let path = store.path.iter_mut().filter(|path| !Address::is_remote(&path.to_string_lossy()));
        files.flatten().chain(path).chain(&mut store.require_mount)
    });
    for path in files.chain(&mut document.encryption.identities).chain(&mut document.signing.key) {
        *path = directory.join(&*path);
    }
    for recipient in &mut document.encryption.recipients {
        let file = directory.join(&*recipient);
        if let Some(file) = file.to_str().filter(|_| file.is_file()) {
            *recipient = file.into();
        }
    }
}

/// The stores that a backup is written to, and how bundles are reached.
pub(super) fn of_backup(
    document: &Document,
    cluster: &ClusterConf,
    connector: &Connector,
) -> Result<(Vec<StoreSettings>, Access)> {
    let mut stores = document.stores.iter().map(store).collect::<Result<Vec<_>>>()?;
    if stores.is_empty() {
        stores.push(StoreSettings::new(Address::Directory(DEFAULT_STORE.into())));
    }
    if let Some(platform) = cluster.database_backups.as_ref().map(of_platform).transpose()?.flatten() {
        // Whoever names the bucket in the settings says more of it.
        let named = stores.iter_mut().filter(|store| bucket_of(store) == bucket_of(&platform));
        let mut known = false;
        for store in named {
            let (own, there) = (&mut store.s3, &platform.s3);
            own.keys = own.keys.take().or_else(|| there.keys.clone());
            if own.endpoint.is_none() && own.region.is_none() {
                (own.endpoint, own.region) = (there.endpoint.clone(), there.region.clone());
            }
            known = true;
        }
        if !known {
            stores.push(platform);
        }
    }
    let signing = signing(&document.signing)?;
    let access = Access {
        stores: stores.clone(),
        identities: document.encryption.identities.clone(),
        signing,
        connector: connector.clone(),
        limit_rate: None,
    };
    Ok((stores, access))
}

/// Whose signatures are trusted, and who signs.
fn signing(table: &SigningTable) -> Result<Signing> {
    let trusted = table.trusted.iter().map(|(name, key)| Signer::read(name, key)).collect::<Result<Vec<_>>>()?;
    if table.required && trusted.is_empty() {
        let error = Error::new(Kind::Usage, "signing: required, and no key is trusted: every bundle would be refused");
        return Err(error.hint(
            "name the keys in [signing.trusted]; `key generate --signing /etc/orchestrator/signing.key` makes one",
        ));
    }
    Ok(Signing { key: table.key.clone(), trusted, required: table.required })
}

/// The one of the stores that is the bucket of `cluster.conf`.
pub(super) fn bucket(cluster: &ClusterConf, stores: &[StoreSettings]) -> Result<Option<Address>> {
    let Some(platform) = cluster.database_backups.as_ref().map(of_platform).transpose()?.flatten() else {
        return Ok(None);
    };
    let is = |store: &&StoreSettings| bucket_of(store) == bucket_of(&platform);
    Ok(stores.iter().find(is).map(|store| store.address.clone()))
}

fn bucket_of(store: &StoreSettings) -> Option<&str> {
    match &store.address {
        Address::S3(address) => Some(&address.bucket),
        _ => None,
    }
}

/// How bundles are reached where there may be no `cluster.conf` yet.
pub(super) fn of_restore(document: &Document, cluster_conf: Option<&Path>, connector: &Connector) -> Result<Access> {
    let read = cluster_conf.filter(|path| path.exists()).map(|path| read(path, "read the cluster.conf")).transpose()?;
    // One that can't be understood is about to be replaced.
    let cluster = read.and_then(|bytes| ClusterConf::read(&bytes).ok());
    let none = ClusterConf::parse("")?;
    of_backup(document, &cluster.unwrap_or(none), connector).map(|(_, access)| access)
}

fn store(table: &StoreTable) -> Result<StoreSettings> {
    let address = match (&table.path, &table.address) {
        (Some(path), None) if Address::is_remote(&path.to_string_lossy()) => {
            let error = Error::new(Kind::Usage, "stores: a path holds an address");
            return Err(error.hint("write address = \"s3://…\" in place of path"));
        }
        (Some(path), None) => Address::directory(path)?,
        (None, Some(address)) => Address::parse(Path::new(address))?,
        _ => return Err(Error::new(Kind::Usage, "stores: each has either a path or an address")),
    };
    let others = [
        table.s3.is_some() && !matches!(address, Address::S3(_)),
        table.sftp.is_some() && !matches!(address, Address::Sftp(_)),
        table.rclone.is_some() && !matches!(address, Address::Rclone(_)),
    ];
    if others.contains(&true) {
        return Err(Error::new(Kind::Usage, format!("stores: {address} has options of another kind of store")));
    }
    let lone = |s3: &S3Options| s3.kms_key.is_some() && s3.encryption != Some(ServerEncryption::Kms);
    if table.s3.as_ref().is_some_and(lone) {
        let error = Error::new(Kind::Usage, format!("stores: {address} names a key of KMS, and does not ask for it"));
        return Err(error.hint("add s3.encryption = \"aws:kms\", or leave kms_key out"));
    }
    if let Some(mount) = &table.require_mount {
        let on_it = matches!(&address, Address::Directory(path) if path.starts_with(mount));
        if !on_it || !mount.is_absolute() {
            let error = Error::new(Kind::Usage, format!("stores: {address} does not lie below its require_mount"));
            return Err(error.hint("require_mount is where the file system is mounted that the store's path lies on"));
        }
    }
    let (require_mount, elsewhere) = (table.require_mount.clone(), table.elsewhere);
    let (s3, sftp) = (table.s3.clone().unwrap_or_default(), table.sftp.clone().unwrap_or_default());
    let rclone = table.rclone.clone().unwrap_or_default();
    Ok(StoreSettings { address, require_mount, elsewhere, limit_rate: table.limit_rate, s3, sftp, rclone })
}

/// The bucket that the platform itself keeps database backups in; none where it keeps them on disk alone.
fn of_platform(backups: &DatabaseBackups) -> Result<Option<StoreSettings>> {
    let Some(bucket) = &backups.bucket else { return Ok(None) };
    let address = format!("s3://{}", bucket.strip_prefix("s3://").unwrap_or(bucket));
    let address = Address::parse(Path::new(&address)).context(|| "database_backups in cluster.conf".into())?;
    if backups.access_key.is_some() != backups.secret_key.is_some() {
        let error =
            Error::new(Kind::Usage, "database_backups in cluster.conf has one of access_key and secret_key alone");
        return Err(error.hint("give both, or none and let the environment or the machine's role have them"));
    }
    let (endpoint, region) = backups.endpoint.as_deref().map_or((None, None), endpoint);
    let keys = backups.access_key.clone().zip(backups.secret_key.clone());
    let s3 = S3Options { endpoint, region, keys, ..S3Options::default() };
    Ok(Some(StoreSettings { s3, ..StoreSettings::new(address) }))
}

/// URL and region: what stands there may be a region, a host or a URL.
fn endpoint(text: &str) -> (Option<String>, Option<String>) {
    let host = text.strip_prefix("https://").unwrap_or(text).trim_end_matches('/');
    if let Some(amazon) = host.strip_suffix(AMAZON) {
        let region = amazon.strip_prefix("s3").map(|rest| rest.trim_start_matches(['.', '-']));
        return (None, region.filter(|region| !region.is_empty()).map(Into::into));
    }
    if text.contains("://") {
        (Some(text.into()), None)
    } else if text.contains(['.', ':']) {
        (Some(format!("https://{text}")), None)
    } else {
        (None, Some(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_region_a_host_or_a_url() {
        for (text, url, region) in [
            ("eu-west-1", None, Some("eu-west-1")),
            ("s3.amazonaws.com", None, None),
            ("s3.eu-west-1.amazonaws.com", None, Some("eu-west-1")),
            ("https://s3-eu-west-1.amazonaws.com/", None, Some("eu-west-1")),
            ("vault.example.com", Some("https://vault.example.com"), None),
            ("vault:9000", Some("https://vault:9000"), None),
            ("http://127.0.0.1:3900", Some("http://127.0.0.1:3900"), None),
        ] {
            assert_eq!(endpoint(text), (url.map(Into::into), region.map(Into::into)), "{text}");
        }
    }

    #[test]
    fn options_of_another_kind_of_store_are_refused() {
        let read = |text: &str| {
            let document: Document = toml::from_str(&format!("[[stores]]\n{text}")).expect("settings");
            store(&document.stores[0])
        };
        let rclone = read("address = 'rclone:vault:x'\nrclone = { config = '/etc/rclone.conf', timeout = 5 }");
        assert_eq!(rclone.expect("a store").rclone.timeout.map(Into::into), Some(5_u32));
        for other in [
            "address = 'rclone:vault:x'\ns3.legal_hold = true",
            "address = 'rclone:vault:x'\nsftp.timeout = 5",
            "address = 's3://bucket'\nrclone.timeout = 5",
            "path = '/srv'\nrclone.timeout = 5",
            "address = 'rclone:vault:x'\nrequire_mount = '/mnt'",
            "path = 'rclone:vault:x'",
        ] {
            assert_eq!(read(other).expect_err(other).kind(), Kind::Usage, "{other}");
        }
    }

    #[test]
    fn the_platforms_bucket_is_one_more_store_and_an_empty_one_is_none() {
        let stores = |section: &str| {
            let text = format!("chef {{ continuum {{ database_backups {{ {section} }} }} }}");
            let cluster = ClusterConf::parse(&text).expect("a cluster.conf");
            of_backup(&Document::default(), &cluster, &Connector::default()).expect("stores").0
        };
        for none in ["", "access_key: \"\", secret_key: \"\", endpoint: \"\", bucket: \"\"", "endpoint: \"eu-west-1\""]
        {
            assert_eq!(stores(none).len(), 1, "{none}");
        }
        let both = stores("access_key: \"A\", secret_key: \"hunter2\", endpoint: \"eu-west-1\", bucket: \"backups\"");
        assert_eq!(both[1].address.to_string(), "s3://backups");
        assert_eq!(both[1].s3.region.as_deref(), Some("eu-west-1"));
        assert!(both[1].s3.keys.is_some() && !format!("{both:?}").contains("hunter2"));
    }
}
