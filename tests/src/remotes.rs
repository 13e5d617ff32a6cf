//! Remotes of rclone as a user has them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::num::NonZeroU32;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use backup_core::Context;
use backup_core::context::Environment;
use backup_core::store::{Rclone, RcloneAddress, RcloneOptions};
use fixtures::s3::{KEYS, S3Server};
use tempfile::TempDir;

use crate::Workplace;

/// The name of the remote.
pub const REMOTE: &str = "my vault";

/// rclone's settings with one remote, in a directory of their own.
pub struct Remote {
    /// The directory.
    pub place: TempDir,
    /// What serves it, where that is a program.
    server: Option<Child>,
}

impl Remote {
    fn with(settings: &str) -> Self {
        let place = fixtures::quick_directory();
        fs::write(place.path().join("rclone.conf"), format!("[{REMOTE}]\n{settings}")).expect("settings");
        Self { place, server: None }
    }

    /// A plain server of WebDAV: it takes no stream, and knows neither times nor digests.
    pub fn webdav() -> Self {
        let served = fixtures::quick_directory();
        let mut serve = Command::new("rclone");
        serve.args(["serve", "webdav", "--addr", "127.0.0.1:0", "--config", "", "--dir-cache-time", "0"]);
        let mut server = serve.arg(served.path()).stderr(Stdio::piped()).spawn().expect("rclone runs");
        let said = BufReader::new(server.stderr.take().expect("its messages")).lines();
        let url =
            said.map_while(Result::ok).find_map(|line| Some(line.split_once(" started on ")?.1.trim().to_owned()));
        let settings = format!("type = webdav\nvendor = other\nurl = {}\n", url.expect("an address"));
        fs::write(served.path().join("rclone.conf"), format!("[{REMOTE}]\n{settings}")).expect("settings");
        Self { place: served, server: Some(server) }
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

    /// A home whose user has these settings.
    pub fn at_home(&self) -> Workplace {
        let place = Workplace::default();
        fs::create_dir_all(place.path(".config/rclone")).expect("a directory");
        fs::copy(self.config(), place.path(".config/rclone/rclone.conf")).expect("settings");
        place
    }

    /// A path in the remote where there is a directory, as an address.
    pub fn address(&self, path: &str) -> String {
        format!("rclone:{REMOTE}:{path}")
    }

    /// The store at a path. Its rclone is found in the directories of `PATH`, and told where the settings are by its environment.
    pub fn store(&self, path: &str) -> Rclone {
        self.store_by(path, &search_path(), None)
    }

    /// The same, by the rclone of another search path, where the remote may be silent for so many seconds.
    pub fn store_by(&self, path: &str, search: &str, seconds: Option<u32>) -> Rclone {
        let address = RcloneAddress { remote: REMOTE.into(), path: path.into() };
        let config = self.config().display().to_string();
        let variables = BTreeMap::from([("PATH".to_owned(), search.to_owned()), ("RCLONE_CONFIG".to_owned(), config)]);
        let environment = Environment { variables, ..Environment::default() };
        let options = RcloneOptions { timeout: seconds.and_then(NonZeroU32::new), ..RcloneOptions::default() };
        Rclone::new(&address, &options, &Context::new(environment))
    }

    /// A directory of this machine below the settings.
    pub fn path(&self, name: &str) -> String {
        let path: &Path = self.place.path();
        path.join(name).display().to_string()
    }
}

fn search_path() -> String {
    std::env::var("PATH").expect("a search path")
}

impl Drop for Remote {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// A stand-in for rclone: a shell's script in a directory of its own, which may go on to the real one. It notes what it is told.
pub struct StandIn {
    directory: TempDir,
}

impl StandIn {
    /// One that runs this script. In it `$runs` is how often it was run, this time among them, and `rclone "$@"` the real one.
    pub fn new(script: &str) -> Self {
        let directory = fixtures::quick_directory();
        let path = directory.path().join("rclone");
        let (search, noted) = (search_path(), directory.path().join("noted"));
        let text = format!(
            "#!/bin/sh\n# A stand-in for rclone.\necho \"$*\" >>'{noted}'\nruns=$(wc -l <'{noted}')\nPATH='{search}'\n{script}\n",
            noted = noted.display()
        );
        fs::write(&path, text).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
        Self { directory }
    }

    /// A search path that begins with it.
    pub fn search_path(&self) -> String {
        format!("{}:{}", self.directory.path().display(), search_path())
    }

    /// What it was told, a run each, since it was asked last.
    pub fn runs(&self) -> Vec<String> {
        let path = self.directory.path().join("noted");
        let noted = fs::read_to_string(&path).unwrap_or_default();
        let _ = fs::remove_file(path);
        noted.lines().map(str::to_owned).collect()
    }
}
