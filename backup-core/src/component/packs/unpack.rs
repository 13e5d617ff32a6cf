//! Writes a packed tree below a directory: nothing is overwritten, nothing is written through a link, and memory does not grow with it.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::archive::Archive;
use super::reading::Visitor;
use super::{END, MOST_FINDINGS};
use crate::bundle::dress::Dresser;
use crate::bundle::header::{EntryKind, Form, Head};
use crate::bundle::sparse::{Expander, Trust};
use crate::event::Meter;
use crate::finding::{Finding, Told};
use crate::{Error, ErrorContext, Kind, Result};

/// What was unpacked.
#[derive(Debug)]
pub struct Unpacked {
    /// Where the tree's own directory is now.
    pub root: PathBuf,
    /// How much there is.
    pub packed: super::Packed,
    /// What could not be put back as it was, such as an owner.
    pub warnings: Vec<Finding>,
}

/// Writes entries as they come.
pub(super) struct Unpack {
    to: PathBuf,
    /// Where the tree's own directory is.
    pub(super) root: PathBuf,
    meter: Arc<Meter>,
    dresser: Dresser,
    /// The directories that the last entry is in, and itself where it is one.
    open: Vec<Head>,
    /// The directories that are complete, each after all below it: they get mode and time when all is there, for a hard link may lead
    /// into one, and whoever unpacks may not be let in any more.
    complete: BufWriter<File>,
    file: Option<(File, Option<Expander>)>,
}

impl Unpack {
    /// Below `to`.
    pub(super) fn new(to: &Path, meter: Arc<Meter>) -> Result<Self> {
        let complete = tempfile::tempfile_in(to).context(|| format!("create a file in {}", to.display()))?;
        Ok(Self {
            to: to.to_owned(),
            root: PathBuf::new(),
            meter,
            dresser: Dresser::new(to, to, Told::at_most(MOST_FINDINGS)),
            open: Vec::new(),
            complete: BufWriter::new(complete),
            file: None,
        })
    }

    fn place(&self, path: &[u8]) -> PathBuf {
        self.to.join(OsStr::from_bytes(path))
    }

    /// Notes the directories that an entry is not in, since all of each is there by now.
    fn leave(&mut self, path: &[u8]) -> Result<()> {
        let is_above =
            |head: &Head| path.strip_prefix(head.path.as_slice()).is_some_and(|rest| rest.first() == Some(&b'/'));
        while let Some(head) = self.open.pop_if(|head| !is_above(head)) {
            self.complete.write_all(&head.encode(Form::Nearest)).context(|| "note a directory".into())?;
        }
        Ok(())
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
    pub(super) fn finish(mut self) -> Result<Vec<Finding>> {
        let doing = || format!("write {}", self.to.display());
        while let Some(head) = self.open.pop() {
            self.complete.write_all(&head.encode(Form::Nearest)).context(doing)?;
        }
        self.complete.write_all(&END).context(doing)?;
        let mut complete = self.complete.into_inner().map_err(io::IntoInnerError::into_error).context(doing)?;
        complete.rewind().context(doing)?;
        let mut complete = Archive::new(BufReader::new(complete));
        while let Some(head) = complete.next()? {
            self.dresser.dress(&self.to.join(OsStr::from_bytes(&head.path)), &head)?;
        }
        let to = File::open(&self.to).context(doing)?;
        rustix::fs::syncfs(to).map_err(io::Error::from).context(|| format!("sync {}", self.to.display()))?;
        Ok(self.dresser.into_findings())
    }
}

impl Visitor for Unpack {
    fn begin(&mut self, head: &Head) -> Result<()> {
        let target = self.place(&head.path);
        let doing = || format!("create {}", target.display());
        self.leave(&head.path)?;
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
                if self.open.is_empty() {
                    let above = target.parent().unwrap_or(&self.to);
                    DirBuilder::new().recursive(true).mode(0o700).create(above).context(doing)?;
                    self.root.clone_from(&target);
                }
                DirBuilder::new().mode(0o700).create(&target).context(doing)?;
                self.open.push(head.clone());
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
