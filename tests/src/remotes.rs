//! Remotes of rclone as a user has them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use backup_core::Context;
use backup_core::context::Environment;
use backup_core::store::{Rclone, RcloneAddress, RcloneOptions};
use fixtures::s3::{KEYS, S3Server};
use tempfile::TempDir;

/// The name of the remote.
pub const REMOTE: &str = "my vault";

/// rclone's settings with one remote, in a directory of their own.
pub struct Remote {
    /// The directory.
    pub place: TempDir,
}

impl Remote {
    fn with(settings: &str) -> Self {
        let place = fixtures::quick_directory();
        fs::write(place.path().join("rclone.conf"), format!("[{REMOTE}]\n{settings}")).expect("settings");
        Self { place }
    }

    /// A directory of this machine.
    pub fn local() -> Self {
        Self::with("type = local\n")
    }

    /// The bucket of a server.
    pub fn s3(server: &S3Server) -> Self {
        let (access, secret) = KEYS;
        Self::with(&format!(
            "type = s3\nprovider = Other\naccess_key_id = {access}\nsecret_access_key = {secret}\nendpoint = {}\n\
             region = us-east-1\nlist_version = 2\nno_check_bucket = true\n",
            server.url()
        ))
    }

    /// The file of the settings.
    pub fn config(&self) -> PathBuf {
        self.place.path().join("rclone.conf")
    }

    /// A path in the remote where there is a directory, as an address.
    pub fn address(&self, path: &str) -> String {
        format!("rclone:{REMOTE}:{path}")
    }

    /// The store at a path. Its rclone is found in the directories of `PATH`, and told where the settings are by its environment.
    pub fn store(&self, path: &str) -> Rclone {
        let address = RcloneAddress { remote: REMOTE.into(), path: path.into() };
        let search = std::env::var("PATH").expect("a search path");
        let config = self.config().display().to_string();
        let variables = BTreeMap::from([("PATH".to_owned(), search), ("RCLONE_CONFIG".to_owned(), config)]);
        let environment = Environment { variables, ..Environment::default() };
        Rclone::new(&address, &RcloneOptions::default(), &Context::new(environment))
    }

    /// A directory of this machine below the settings.
    pub fn path(&self, name: &str) -> String {
        let path: &Path = self.place.path();
        path.join(name).display().to_string()
    }
}
