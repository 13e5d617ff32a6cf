//! Claims: small files that are never overwritten, on servers whose renaming refuses that and on others.

use std::io::Write;
use std::path::Path;

use ssh2::OpenFlags;

use super::connect::Connection;
use super::{NOT_THERE, PREFIX, Sftp, failed};
use crate::finding::Finding;
use crate::random;
use crate::store::{ClaimName, PART, claims, is_taken, overwrites};
use crate::{Error, Kind, Result};

impl Sftp {
    pub(super) fn list_claims(&self, connection: &Connection) -> Result<Vec<ClaimName>> {
        let entries = match connection.sftp.readdir(&connection.directory) {
            Err(cause) if cause.code() == NOT_THERE => return Ok(Vec::new()),
            entries => entries.map_err(|cause| failed(format!("list the claims in {}", self.0.address), cause))?,
        };
        Ok(claims(entries.iter().filter_map(|(path, _)| path.file_name()?.to_str())))
    }

    /// OpenSSH's server renames onto nothing that exists, and lets one of two win. Whether this one does shows when the same is
    /// renamed onto itself.
    pub(super) fn write_claim(&self, connection: &Connection, name: &str, content: &[u8]) -> Result<Vec<Finding>> {
        self.make_directory(connection)?;
        let target = connection.directory.join(name);
        // Not every server refuses to rename onto something.
        if connection.sftp.lstat(&target).is_err() {
            self.put(connection, name, &target, content)?;
        }
        if self.read_small(connection, name)? != content {
            return Err(is_taken(&self.shown(name)));
        }
        match self.put(connection, name, &target, content)? {
            true if self.read_small(connection, name)? != content => Err(is_taken(&self.shown(name))),
            true => Ok(vec![overwrites(&self.0.address.to_string())]),
            false => Ok(Vec::new()),
        }
    }

    /// Writes a file beside its place and renames it; whether the server did that, or something is there.
    fn put(&self, connection: &Connection, name: &str, target: &Path, content: &[u8]) -> Result<bool> {
        let path = connection.directory.join(format!("{PREFIX}{}{PART}", random::word()?));
        // Whoever else backs up into it must see it; nothing in it is secret.
        let made = connection.create(&path, OpenFlags::EXCLUSIVE, 0o644);
        let mut file = made.map_err(|cause| self.failed("write", name, cause))?;
        if let Err(cause) = file.write_all(content) {
            drop(file);
            self.remove_part(&path);
            return Err(Error::new(Kind::Failed, format!("write {}", self.shown(name))).because(cause));
        }
        // Not every server can bring it onto its disk.
        let _ = file.sync();
        file.close().map_err(|cause| self.failed("write", name, cause))?;
        let Err(cause) = connection.sftp.rename(&path, target, None) else { return Ok(true) };
        let _ = connection.sftp.unlink(&path);
        // The server says "failure" whatever the reason is.
        if connection.sftp.lstat(target).is_ok() { Ok(false) } else { Err(self.failed("write", name, cause)) }
    }
}
