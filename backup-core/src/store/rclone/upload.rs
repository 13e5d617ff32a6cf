//! A bundle on its way to a remote, under a temporary name until all of it is there. Something small takes the same way.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use super::files::File;
use super::outgoing::{Outgoing, end_of};
use super::program::SEND;
use super::{PREFIX, Rclone};
use crate::digest::Sha256Digest;
use crate::finding::Finding;
use crate::names::FileName;
use crate::store::{DIGEST, PART, Published, Upload, digest_line, exists};
use crate::{Error, ErrorContext, Kind, Result, random};

/// What a file may take the place of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Onto {
    Nothing,
    Anything,
}

impl Onto {
    /// `--immutable` would say the first one, and `moveto` does not heed it. `--ignore-times` keeps rclone from taking two files
    /// of one length for the same: then it would delete the new one.
    fn flag(self) -> &'static str {
        match self {
            Self::Nothing => "--ignore-existing",
            Self::Anything => "--ignore-times",
        }
    }
}

/// A bundle under a temporary name.
pub(super) struct Part {
    store: Rclone,
    name: FileName,
    part: String,
    outgoing: Outgoing,
    taken_back: Arc<AtomicBool>,
    over: bool,
}

impl Part {
    pub(super) fn begin(store: Rclone, name: &FileName) -> Result<Self> {
        store.able_features()?;
        // Nobody else has this name: two runs never write the same part.
        let part = format!(".{name}.{}{PART}", random::word()?);
        let outgoing = Outgoing::begin(&store, &part)?;
        let taken_back = Arc::new(AtomicBool::new(false));
        Ok(Self { store, name: name.clone(), part, outgoing, taken_back, over: false })
    }

    fn shown(&self) -> String {
        self.store.shown(&self.name.to_string())
    }

    /// Makes sure that all of it is there, and that its name is free.
    fn look_before(&self) -> Result<()> {
        let files = self.store.files()?;
        let (part, target) = (length(&files, &self.part), length(&files, &self.name.to_string()));
        if part != Some(self.outgoing.sent) {
            return Err(self.other_length("the temporary file", part));
        }
        if target.is_some() { Err(exists(&self.shown())) } else { Ok(()) }
    }

    fn other_length(&self, what: &str, length: Option<u64>) -> Error {
        let has = length.map_or_else(|| "is not there".into(), |length| format!("has {length} bytes"));
        let why = format!("{} bytes were sent, rclone calls that well, and {what} {has}", self.outgoing.sent);
        Error::new(Kind::Failed, format!("write {}", self.shown())).because(why)
    }

    /// Gives the bundle its name, and looks what has become of it.
    fn rename(&self) -> Result<()> {
        let target = self.name.to_string();
        let moved = self.store.rename(&self.part, &target, (Onto::Nothing, self.outgoing.sent));
        let unsure = |error: Error| {
            error.hint("it may be there all the same: look with `list` before the backup is run again").unsure()
        };
        let files = match (self.store.files(), moved.is_err()) {
            (Ok(files), _) => files,
            (Err(_), true) => return moved.map_err(unsure),
            (Err(error), false) => return Err(unsure(error)),
        };
        match (length(&files, &self.part), length(&files, &target)) {
            (None, Some(length)) if length == self.outgoing.sent => Ok(()),
            // Another run was quicker: rclone leaves alone what is there.
            (Some(_), Some(_)) => Err(exists(&self.shown())),
            (_, length) => moved.and_then(|()| Err(unsure(self.other_length("the bundle", length)))),
        }
    }
}

/// How long a file of a list is.
fn length(files: &[File], name: &str) -> Option<u64> {
    files.iter().find(|file| file.name == name).map(|file| file.length)
}

impl Rclone {
    /// Gives a file of so many bytes another name. A remote that can't rename copies it.
    pub(super) fn rename(&self, from: &str, to: &str, (onto, length): (Onto, u64)) -> Result<()> {
        let doing = format!("publish {}", self.shown(to));
        let words = ["moveto", onto.flag(), &self.at(from), &self.at(to)];
        let program = &self.0.program;
        let ran = program.run_within(end_of(length), &words, None)?;
        program.judge(doing, ran).map(drop)
    }

    /// Writes all of a small file beside its place and renames it.
    pub(super) fn put(&self, file: &str, content: &[u8], onto: Onto) -> Result<()> {
        self.able_features()?;
        let part = format!("{PREFIX}{}{PART}", random::word()?);
        let doing = format!("write {}", self.shown(file));
        let written = self.0.program.succeed(doing, &[SEND, &self.at(&part)], Some(content));
        let renamed = written.and_then(|_| self.rename(&part, file, (onto, content.len() as u64)));
        // A file that was left alone leaves the part.
        if renamed.is_err() || onto == Onto::Nothing && self.look(&part)?.is_some() {
            self.give_up(&part);
        }
        renamed
    }
}

impl Write for Part {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.outgoing.write(bytes);
        written.map_err(|cause| match cause.kind() {
            // rclone has ended, and says why.
            ErrorKind::BrokenPipe => {
                let ran = self.outgoing.ended(Duration::from_secs(1));
                io::Error::other(self.store.0.program.failed(format!("write {}", self.shown()), &ran))
            }
            _ => cause,
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.outgoing.flush()
    }
}

impl Upload for Part {
    fn abandon(&self) -> Box<dyn FnOnce() + Send> {
        let (store, part, taken_back) = (self.store.clone(), self.part.clone(), self.taken_back.clone());
        let run = self.outgoing.run.clone();
        Box::new(move || {
            taken_back.store(true, SeqCst);
            run.give_up();
            store.give_up(&part);
        })
    }

    fn publish(mut self: Box<Self>, digest: &Sha256Digest) -> Result<Published> {
        let doing = format!("write {}", self.shown());
        let ran = self.outgoing.finish();
        self.store.0.program.judge(doing.clone(), ran)?;
        if self.taken_back.load(SeqCst) {
            return Err(Error::new(Kind::Interrupted, doing).because("the upload was taken back"));
        }
        self.look_before()?;
        self.rename().context(|| format!("give {} its name", self.shown()))?;
        self.over = true;
        let (line, beside) = (digest_line(digest, &self.name), format!("{}{DIGEST}", self.name));
        let mut published = Published::from(self.shown());
        if let Err(error) = self.store.put(&beside, line.as_bytes(), Onto::Anything) {
            // The bundle proves itself without.
            published.warnings.push(Finding::warning_from_error("digest-not-written", self.shown(), &error));
        }
        Ok(published)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.over {
            self.outgoing.run.give_up();
            self.store.give_up(&self.part);
        }
    }
}
