//! Claims: small files that are never overwritten, on servers whose renaming refuses that and on others.

use std::path::Path;

use ssh2::OpenFlags;

use super::connect::Connection;
use super::outgoing::Outgoing;
use super::{NOT_THERE, PREFIX, Sftp, failed};
use crate::Result;
use crate::finding::Finding;
use crate::random;
use crate::store::{ClaimName, PART, claims, is_taken, overwrites};

impl Sftp {
    pub(super) fn list_claims(&self, connection: &Connection) -> Result<Vec<ClaimName>> {
        let entries = match connection.list(&connection.directory) {
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
        if !connection.has(&target) {
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
        let doing = format!("write {}", self.shown(name));
        // Whoever else backs up into it must see it; nothing in it is secret. Not every server can bring it onto its disk.
        let sync = |file: &mut Outgoing| {
            let _ = file.sync();
            Ok(())
        };
        self.write_small(connection, (&path, OpenFlags::EXCLUSIVE, 0o644), (content, &doing), sync)?;
        let Err(cause) = connection.rename(&path, target) else { return Ok(true) };
        self.give_up(connection, &path);
        // The server says "failure" whatever the reason is.
        if connection.has(target) { Ok(false) } else { Err(self.failed("write", name, cause)) }
    }
}
