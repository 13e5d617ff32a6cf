//! Claims: rclone has no way to write a file only where there is none, so whoever writes one is told so.

use super::Rclone;
use super::upload::Onto;
use crate::Result;
use crate::finding::Finding;
use crate::store::{is_taken, overwrites};

impl Rclone {
    pub(super) fn write_claim(&self, name: &str, content: &[u8]) -> Result<Vec<Finding>> {
        if !self.files_or_made()?.iter().any(|file| file.name == name) {
            self.put(name, content, Onto::Nothing)?;
        }
        if self.read_small(name)?.as_deref() != Some(content) {
            return Err(is_taken(&self.shown(name)));
        }
        Ok(vec![overwrites(&self.0.address.to_string())])
    }
}
