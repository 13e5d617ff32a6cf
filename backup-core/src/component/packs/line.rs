//! What a line of the index says.

use serde::{Deserialize, Serialize};

use super::proof::Proof;
use crate::bundle::expanded::Expanded;
use crate::bundle::header::{EntryKind, Head};
use crate::bundle::manifest::{FileType, described, is_file};
use crate::bundle::path;
use crate::digest::Sha256Digest;
use crate::{ErrorContext, Result};

/// The index's own format. A reader refuses a higher one: a line of it may lead to where this one knows nothing of.
pub(super) const FORMAT: u32 = 1;

/// What the first line says in every format.
#[derive(Deserialize)]
pub(super) struct Format {
    pub(super) format: u32,
}

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Begin {
    pub(super) format: u32,
    /// The tree's own path, without the first slash, escaped as all paths in the manifest are.
    pub(super) root: String,
}

/// The last line: how much a packed tree is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackedTree {
    /// Number of entries: files, directories and links.
    pub entries: u64,
    /// Bytes of their content as it is stored.
    pub bytes: u64,
    /// Number of packs.
    pub packs: u64,
}

/// Every other line: an entry, where it is, and what proves its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) path: String,
    #[serde(rename = "type", default, skip_serializing_if = "is_file")]
    pub(super) kind: FileType,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) link: Option<String>,
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    /// Seconds since 1970 and nanoseconds after them.
    pub(super) modified: (i64, u32),
    /// The pack's number.
    pub(super) pack: u64,
    /// Where its header begins in the pack.
    pub(super) offset: u64,
    /// Bytes of content.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) size: u64,
    /// Of files, those with holes too: the digest of the content as it is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sha256: Option<Sha256Digest>,
    /// Of files with holes: the file as it comes out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expanded: Option<Expanded>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A line as it stands in the index.
///
/// # Errors
/// What can't be said in JSON.
pub(super) fn json(line: &impl Serialize) -> Result<Vec<u8>> {
    let mut json = serde_json::to_vec(line).context(|| "write the index".into())?;
    json.push(b'\n');
    Ok(json)
}

impl Line {
    /// Of an entry with this header, which begins there.
    pub(super) fn of(head: &Head, (pack, offset): (u64, u64), proof: Proof) -> Self {
        let (kind, link) = described(&head.kind);
        Self {
            path: path::to_text(&head.path),
            kind,
            link,
            mode: head.mode,
            uid: head.uid,
            gid: head.gid,
            modified: head.modified,
            pack,
            offset,
            size: head.size,
            sha256: proof.sha256,
            expanded: proof.expanded,
        }
    }

    /// What it says of the content.
    pub(super) fn proof(&self) -> Proof {
        Proof { sha256: self.sha256, expanded: self.expanded }
    }

    /// What can be told of the entry's header: its path, what it is and how much.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn head(&self) -> Result<Head, &'static str> {
        let path = path::from_text(&self.path).ok_or("a malformed path")?;
        let link = self.link.as_deref().map(path::from_text);
        let kind = match (self.kind, link, self.expanded) {
            (FileType::File, None, None) => EntryKind::File,
            (FileType::Sparse, None, Some(expanded)) => EntryKind::Sparse(expanded.size),
            (FileType::Directory, None, None) => EntryKind::Directory,
            (FileType::Symlink, Some(Some(target)), None) => EntryKind::Symlink(target),
            (FileType::Hardlink, Some(Some(target)), None) => EntryKind::Hardlink(target),
            _ => return Err("it says of its kind what that has not"),
        };
        Ok(Head { kind, ..Head::private(path, self.size, 0) })
    }

    /// Whether it is of this header.
    pub(super) fn agrees(&self, head: &Head) -> bool {
        let length = match head.kind {
            EntryKind::Sparse(size) => self.expanded.is_some_and(|expanded| expanded.size == size),
            _ => true,
        };
        length && *self == Self::of(head, (self.pack, self.offset), self.proof())
    }
}
