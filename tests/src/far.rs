//! Servers of SFTP as a user reaches them.

use std::fs;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::Command;

use backup_core::Context;
use backup_core::context::Environment;
use backup_core::store::{Sftp, SftpAddress, SftpOptions};
use fixtures::Sshd;

use crate::Workplace;

/// A home whose user the server lets in, and which knows the server.
pub fn at_home(sshd: &Sshd) -> Workplace {
    let place = Workplace::default();
    fs::create_dir(place.path(".ssh")).expect("a directory");
    fs::copy(sshd.identity(), place.path(".ssh/id_ed25519")).expect("a key");
    fs::copy(sshd.identity().with_extension("pub"), place.path(".ssh/id_ed25519.pub")).expect("a key");
    fs::copy(sshd.known_hosts(), place.path(".ssh/known_hosts")).expect("known hosts");
    place
}

/// How a store is reached that a server keeps in a directory.
pub struct Reached<'s> {
    /// The server.
    pub sshd: &'s Sshd,
    /// The port on 127.0.0.1 by which it is reached, and a file that knows its keys there.
    pub by: (u16, PathBuf),
    /// Seconds that it may be silent; none for what is usual.
    pub seconds: Option<u32>,
}

impl<'s> Reached<'s> {
    /// Directly.
    pub fn directly(sshd: &'s Sshd) -> Self {
        Self { sshd, by: (sshd.port(), sshd.known_hosts()), seconds: None }
    }

    /// The store in this directory.
    pub fn store(&self, directory: &Path) -> Sftp {
        let path = directory.display().to_string();
        let address = SftpAddress { user: None, host: "127.0.0.1".into(), port: Some(self.by.0), path };
        let options = SftpOptions {
            identity_file: Some(self.sshd.identity()),
            known_hosts: Some(self.by.1.clone()),
            timeout: self.seconds.and_then(NonZeroU32::new),
        };
        let user = Command::new("id").arg("-un").output().expect("id runs").stdout;
        let user = Some(String::from_utf8_lossy(&user).trim().to_owned());
        Sftp::new(&address, &options, &Context::new(Environment { user, ..Environment::default() }))
    }
}
