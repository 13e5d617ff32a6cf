//! Writes a packed tree below a directory: nothing is overwritten, nothing is written through a link, and memory does not grow with it.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio_util::sync::CancellationToken;

use super::directories::Directories;
use super::reading::Visitor;
use super::{ABOVE, MOST_FINDINGS};
use crate::bundle::dress::Dresser;
use crate::bundle::header::{EntryKind, Head};
use crate::bundle::path;
use crate::bundle::sparse::{Expander, Trust};
use crate::context::go_on;
use crate::event::Meter;
use crate::finding::{Finding, Told};
use crate::{Error, ErrorContext, Kind, Result};

/// What was unpacked.
#[derive(Debug)]
pub struct Unpacked {
    /// Where the tree's own directory is now.
    pub root: PathBuf,
    /// How much there is.
    pub packed: super::PackedTree,
    /// What could not be put back as it was, such as an owner.
    pub warnings: Vec<Finding>,
}

/// Writes entries as they come.
pub(super) struct Unpack {
    to: PathBuf,
    /// The path that the tree's own directory must have, which comes first, until it has come.
    root: Option<Vec<u8>>,
    meter: Arc<Meter>,
    dresser: Dresser,
    /// They get mode and time when all is there, and those below first: a hard link may lead into one, and whoever unpacks may not be let in
    /// any more.
    directories: Directories,
    file: Option<(File, Option<Expander>)>,
}

impl Unpack {
    /// Below `to`, which is ours and empty, the tree whose own path is `root`.
    pub(super) fn new(to: &Path, root: &[u8], meter: Arc<Meter>) -> Result<Self> {
        let doing = || format!("unpack into {}", to.display());
        let refused = |why: &str| Error::new(Kind::Refused, doing()).because(why).hint("unpack into a new directory");
        if to.as_os_str().len() + 2 > ABOVE {
            return Err(refused("paths below it could be longer than the system takes them"));
        }
        if fs::read_dir(to).context(doing)?.next().is_some() {
            return Err(refused("it is not empty"));
        }
        Ok(Self {
            to: to.to_owned(),
            root: Some(root.to_vec()),
            meter,
            dresser: Dresser::new(to, Path::new("/"), Told::at_most(MOST_FINDINGS)),
            directories: Directories::kept_in(to).context(doing)?,
            file: None,
        })
    }

    fn place(&self, path: &[u8]) -> PathBuf {
        self.to.join(OsStr::from_bytes(path))
    }

    /// Makes what is above the tree's own directory, one after another: nothing of that may be there.
    fn begin_tree(&self, head: &Head, root: &[u8]) -> Result<()> {
        if head.path != root {
            let why =
                format!("the tree is that of /{}, and not of /{}", path::to_text(&head.path), path::to_text(root));
            return Err(Error::new(Kind::Damaged, why));
        }
        let own = self.place(root);
        let above: Vec<&Path> = own.ancestors().skip(1).take_while(|above| *above != self.to).collect();
        above.into_iter().rev().try_for_each(make)
    }

    /// A hard link leads to a file that was written before, and to it through directories alone.
    fn hardlink(&self, name: &[u8], target: &Path) -> Result<()> {
        let earlier = self.place(name);
        let is_ours =
            |path: &Path, is: fn(&fs::Metadata) -> bool| path.symlink_metadata().is_ok_and(|found| is(&found));
        let above = earlier.ancestors().skip(1).take_while(|above| *above != self.to);
        let through_none = above.into_iter().all(|above| is_ours(above, fs::Metadata::is_dir));
        if !through_none || !is_ours(&earlier, fs::Metadata::is_file) {
            return Err(Error::new(Kind::Damaged, "a hard link to no earlier file"));
        }
        fs::hard_link(&earlier, target).context(|| format!("link {}", target.display()))
    }

    /// Gives the directories what they have, and puts all of it on disk.
    pub(super) fn finish(mut self, cancel: &CancellationToken) -> Result<Vec<Finding>> {
        let doing = || format!("write {}", self.to.display());
        for head in self.directories.backwards().context(doing)? {
            go_on(cancel)?;
            let head = head.context(doing)?;
            self.dresser.dress(&self.to.join(OsStr::from_bytes(&head.path)), &head)?;
        }
        let to = File::open(&self.to).context(doing)?;
        rustix::fs::syncfs(to).map_err(io::Error::from).context(|| format!("sync {}", self.to.display()))?;
        Ok(self.dresser.into_findings())
    }
}

/// Makes a directory, which must not be there.
fn make(directory: &Path) -> Result<()> {
    DirBuilder::new().mode(0o700).create(directory).context(|| format!("create {}", directory.display()))
}

impl Visitor for Unpack {
    fn begin(&mut self, head: &Head) -> Result<()> {
        let target = self.place(&head.path);
        let doing = || format!("create {}", target.display());
        match &head.kind {
            EntryKind::File | EntryKind::Sparse(_) => {
                let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&target).context(doing)?;
                let expander = match head.kind {
                    EntryKind::Sparse(size) => Some(Expander::new(size, Trust::InOrder)),
                    _ => None,
                };
                self.file = Some((file, expander));
            }
            EntryKind::Directory => {
                if let Some(root) = self.root.take() {
                    self.begin_tree(head, &root)?;
                }
                make(&target)?;
                self.directories.note(head).context(|| format!("note {}", target.display()))?;
            }
            EntryKind::Symlink(link) => {
                symlink(OsStr::from_bytes(link), &target).context(|| format!("link {}", target.display()))?;
                self.dresser.dress(&target, head)?;
            }
            EntryKind::Hardlink(name) => self.hardlink(name, &target)?,
        }
        Ok(())
    }

    fn content(&mut self, content: &[u8]) -> Result<()> {
        self.meter.read.fetch_add(content.len() as u64, Relaxed);
        let doing = || "write the file".into();
        match &mut self.file {
            Some((file, Some(expander))) => {
                expander.take(content, |offset, data| file.write_all_at(data, offset).context(doing))
            }
            Some((file, None)) => file.write_all(content).context(doing),
            None => Err(Error::new(Kind::Damaged, "it has content, and is no file")),
        }
    }

    fn end(&mut self, head: &Head) -> Result<()> {
        let Some((file, expander)) = self.file.take() else { return Ok(()) };
        if let (Some(expander), EntryKind::Sparse(size)) = (expander, &head.kind) {
            expander.finish()?;
            file.set_len(*size).context(|| "set the file's length".into())?;
        }
        drop(file);
        self.dresser.dress(&self.place(&head.path), head)
    }

    fn damaged(&mut self, error: Error) -> Result<()> {
        Err(error)
    }
}
