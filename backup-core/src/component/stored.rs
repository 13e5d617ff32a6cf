//! What a bundle has of a component.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::ready::part_path;
use crate::bundle::manifest::{Entry, Section};
use crate::bundle::reader::OpenBundle;
use crate::{Error, Kind, Result};

/// What a bundle has of a component: its section of the manifest, and its entries.
#[derive(Clone)]
pub struct Stored {
    /// What the manifest says of it.
    pub section: Section,
    pub(super) bundle: Arc<OpenBundle>,
}

impl Stored {
    /// Of a section of this bundle.
    pub fn new(section: Section, bundle: Arc<OpenBundle>) -> Self {
        Self { section, bundle }
    }

    /// What its kind has written into the manifest.
    ///
    /// # Errors
    /// [`Kind::Damaged`] where it is not that.
    pub fn body<T: DeserializeOwned>(&self) -> Result<T> {
        self.section.read()
    }

    /// An entry below the component's directory.
    ///
    /// # Errors
    /// [`Kind::Damaged`] where the bundle has none of this path.
    pub fn entry(&self, path: &str) -> Result<&Entry> {
        let path = format!("{}/{path}", self.section.root());
        let found = self.bundle.manifest().entries.iter().find(|entry| entry.path == path);
        found.ok_or_else(|| {
            Error::new(Kind::Damaged, format!("{}: it has no entry {path}", self.bundle.manifest().name))
        })
    }

    /// Reads what [`Out::parts`](super::Out::parts) has written under this path, from its beginning to its end, as [`Self::read`] does.
    ///
    /// # Errors
    /// As [`Self::read`]; [`Kind::Damaged`] where a part is missing.
    pub async fn read_parts(&self, path: &str, take: impl FnMut(&[u8]) -> Result<()> + Send + 'static) -> Result<()> {
        let parts = self.numbered(path, "")?;
        self.read_all(path, parts, take).await
    }

    /// All entries whose paths are `path`, a point, a number of six digits or more, and `end`, in the order of the numbers.
    ///
    /// # Errors
    /// [`Kind::Damaged`] where one is missing.
    pub(super) fn numbered(&self, path: &str, end: &str) -> Result<Vec<Entry>> {
        let whole = format!("{}/{path}", self.section.root());
        let is_one = |entry: &&Entry| {
            let rest = entry.path.strip_prefix(&whole).and_then(|rest| rest.strip_prefix('.'));
            let number = rest.and_then(|rest| rest.strip_suffix(end));
            number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
        };
        let mut found: Vec<Entry> = self.bundle.manifest().entries.iter().filter(is_one).cloned().collect();
        // A number of more than six digits is a longer name.
        found.sort_by(|one, other| (one.path.len(), &one.path).cmp(&(other.path.len(), &other.path)));
        let expected = (1..).map(|number| part_path(&whole, number) + end);
        if found.is_empty() || found.iter().zip(expected).any(|(entry, path)| entry.path != path) {
            let message = format!("{}: parts of {path} are missing", self.bundle.manifest().name);
            return Err(Error::new(Kind::Damaged, message));
        }
        Ok(found)
    }

    /// Reads the content of an entry part by part, in a thread that may wait for the disk. What `take` was given is to be believed only
    /// once this has ended well: the last part is given before the whole is held against its digest.
    ///
    /// # Errors
    /// [`Kind::Damaged`]; what `take` returns.
    pub async fn read(&self, path: &str, take: impl FnMut(&[u8]) -> Result<()> + Send + 'static) -> Result<()> {
        self.read_all(path, vec![self.entry(path)?.clone()], take).await
    }

    async fn read_all(
        &self,
        path: &str,
        entries: Vec<Entry>,
        mut take: impl FnMut(&[u8]) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let bundle = self.bundle.clone();
        let work = tokio::task::spawn_blocking(move || {
            for entry in &entries {
                let mut reader = bundle.read(entry)?;
                while let Some(part) = reader.next()? {
                    take(part)?;
                }
            }
            Ok(())
        });
        work.await.map_err(|cause| Error::new(Kind::Failed, format!("read {path}")).because(cause))?
    }
}
