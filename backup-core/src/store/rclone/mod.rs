//! Bundles in a remote of rclone, reached by the program `rclone`.

mod claim;
mod features;
mod files;
mod incoming;
mod object;
mod outgoing;
mod program;
mod run;
mod trial;
mod upload;
mod whereabouts;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use self::features::Features;
use self::files::File;
use self::object::Object;
use self::program::Program;
use self::upload::Part;
pub(super) use self::whereabouts::is_elsewhere;
use super::{BESIDE, ClaimName, Leftover, RcloneAddress, RcloneOptions, Store, Stored, Upload};
use super::{bundles, claims, exists, file_in, is_part, may_be_renamed};
use crate::bundle::reader::ReadAt;
use crate::finding::Finding;
use crate::names::FileName;
use crate::{Context, Error, Kind, Result};

/// What begins the names of files that are soon to have another one, where it isn't a bundle's.
const PREFIX: &str = ".orchestrator_backup_";
/// A part that was last written so long ago is nobody's any more.
const ABANDONED: TimeDelta = TimeDelta::days(7);
/// Files that are looked at, at most, whether they are bundles under other names: each takes a run or two.
const OTHERS: usize = 100;
/// How long it may take to give something up: the person who ended the program waits for it.
const FAREWELL: Duration = Duration::from_secs(4);

/// Bundles in a remote of rclone. Cheap to clone.
#[derive(Clone)]
pub struct Rclone(Arc<Inner>);

struct Inner {
    address: RcloneAddress,
    program: Program,
    context: Context,
    /// What the remote can do, once rclone was asked.
    features: OnceLock<Features>,
    /// About how long the next bundle will be; 0 where nobody has said it.
    expected: AtomicU64,
}

impl Rclone {
    /// The store at an address.
    pub fn new(address: &RcloneAddress, options: &RcloneOptions, context: &Context) -> Self {
        let program = Program::new(&address.remote, options, context.environment.clone());
        Self(Arc::new(Inner {
            address: address.clone(),
            program,
            context: context.clone(),
            features: OnceLock::new(),
            expected: AtomicU64::new(0),
        }))
    }

    /// The address of a file, as operators write it.
    fn shown(&self, file: &str) -> String {
        file_in(&self.0.address.to_string(), file)
    }

    /// The directory, as rclone takes it.
    fn place(&self) -> String {
        format!("{}:{}", self.0.address.remote, self.0.address.path)
    }

    /// A file, as rclone takes it.
    fn at(&self, file: &str) -> String {
        let place = self.place();
        let slash = if place.ends_with([':', '/']) { "" } else { "/" };
        format!("{place}{slash}{file}")
    }

    /// Removes what is given up, in a few seconds, or leaves it to a later run.
    fn give_up(&self, file: &str) {
        let _ = self.0.program.run_within(FAREWELL, &["deletefile", &self.at(file)], None);
    }

    fn parts(files: &[File]) -> Vec<Leftover> {
        let parts = files.iter().filter(|file| is_part(&file.name));
        parts.map(|part| Leftover { name: part.name.clone(), begun: part.written }).collect()
    }

    /// Deletes a file. One that is gone all the same is no error.
    fn delete(&self, file: &str) -> Result<()> {
        let Err(error) = self.do_at(format!("delete {}", self.shown(file)), "deletefile", file) else { return Ok(()) };
        // rclone's exit code does not tell a file that is gone from one that it may not delete.
        if self.look(file).is_ok_and(|there| there.is_none()) { Ok(()) } else { Err(error) }
    }

    /// Runs a subcommand whose only argument is a file.
    fn do_at(&self, doing: String, subcommand: &str, file: &str) -> Result<()> {
        self.0.program.succeed(doing, &[subcommand, &self.at(file)], None).map(drop)
    }
}

impl Store for Rclone {
    fn location(&self) -> String {
        self.0.address.to_string()
    }

    fn has_lock(&self) -> bool {
        false
    }

    fn check(&self, size: u64) -> Result<Vec<Finding>> {
        self.look_beforehand(size)
    }

    fn begin(&self, name: &FileName) -> Result<Box<dyn Upload>> {
        let files = self.files_or_made()?;
        let abandoned = self.0.context.now() - ABANDONED;
        for part in Self::parts(&files).iter().filter(|part| part.begun.is_some_and(|begun| begun < abandoned)) {
            // It costs room and harms nobody.
            let _ = self.delete(&part.name);
        }
        if files.iter().any(|file| file.name == name.to_string()) {
            return Err(exists(&self.shown(&name.to_string())));
        }
        Ok(Box::new(Part::begin(self.clone(), name)?))
    }

    fn readers(&self) -> usize {
        object::READERS
    }

    fn list(&self) -> Result<Vec<Stored>> {
        Ok(bundles(self.files()?.into_iter().map(|file| (file.name, file.length)).collect()))
    }

    fn others(&self) -> Result<Vec<String>> {
        let names = self.files()?.into_iter().map(|file| file.name);
        Ok(names.filter(|name| may_be_renamed(name)).take(OTHERS).collect())
    }

    fn open_other(&self, file: &str) -> Result<Box<dyn ReadAt>> {
        Ok(Box::new(Object::open(self.clone(), file.into())?))
    }

    fn read_beside(&self, name: &FileName, suffix: &str) -> Result<Option<Vec<u8>>> {
        self.read_small(&format!("{name}{suffix}"))
    }

    fn write_beside(&self, name: &FileName, suffix: &str, content: &[u8]) -> Result<()> {
        self.put(&format!("{name}{suffix}"), content, upload::Onto::Anything)
    }

    fn remove_beside(&self, name: &FileName, suffix: &str) -> Result<()> {
        self.delete(&format!("{name}{suffix}"))
    }

    fn open(&self, name: &FileName) -> Result<Box<dyn ReadAt>> {
        Ok(Box::new(Object::open(self.clone(), name.to_string())?))
    }

    fn remove(&self, name: &FileName) -> Result<()> {
        let there = match self.files() {
            Err(error) if error.kind() == Kind::NotFound => return Ok(()),
            files => files?,
        };
        // What lies beside it goes last: without its bundle it misleads nobody.
        let files = std::iter::once(name.to_string()).chain(BESIDE.map(|suffix| format!("{name}{suffix}")));
        files.filter(|file| there.iter().any(|there| there.name == *file)).try_for_each(|file| self.delete(&file))
    }

    fn leftovers(&self, begun: DateTime<Utc>) -> Result<Vec<Leftover>> {
        Ok(Self::parts(&self.files()?).into_iter().filter(|part| part.is_before(begun)).collect())
    }

    fn remove_leftover(&self, leftover: &Leftover) -> Result<()> {
        self.delete(&leftover.name)
    }

    fn claims(&self) -> Result<Vec<ClaimName>> {
        match self.files() {
            Err(error) if error.kind() == Kind::NotFound => Ok(Vec::new()),
            files => Ok(claims(files?.iter().map(|file| file.name.as_str()))),
        }
    }

    fn read_claim(&self, name: &ClaimName) -> Result<Vec<u8>> {
        let file = name.to_string();
        let missing = || Error::new(Kind::NotFound, format!("read {}", self.shown(&file))).because("it is not there");
        self.read_small(&file)?.ok_or_else(missing)
    }

    fn claim(&self, name: &ClaimName, content: &[u8]) -> Result<Vec<Finding>> {
        self.write_claim(&name.to_string(), content)
    }
}
