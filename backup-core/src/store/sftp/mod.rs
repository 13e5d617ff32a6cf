//! A directory of another machine, reached by SFTP.

mod claim;
mod connect;
mod host;
mod line;
mod object;
mod outgoing;
mod requests;
mod trial;
mod upload;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use ssh2::{ErrorCode, OpenFlags};

use self::connect::{Connection, FAREWELL};
use self::line::is_answer;
use self::object::Object;
use self::outgoing::Outgoing;
use self::upload::Part;
use super::{BESIDE, ClaimName, Leftover, PART, SftpAddress, SftpOptions, Store, Stored, Upload};
use super::{able, astray, bundles, exists, is_part, may_be_renamed, read_small};
use crate::bundle::reader::ReadAt;
use crate::finding::Finding;
use crate::names::FileName;
use crate::shell::word;
use crate::{Context, Error, Kind, Result};

/// What begins the names of files that are soon to have another one, where it isn't a bundle's.
const PREFIX: &str = ".orchestrator_backup_";
/// A part that was last written so long ago is nobody's any more.
const ABANDONED: TimeDelta = TimeDelta::days(7);
/// Files that are looked at, at most, whether they are bundles under other names: each takes a request or two.
const OTHERS: usize = 100;
/// What SFTP says where something is not there.
const NOT_THERE: ErrorCode = ErrorCode::SFTP(2);

/// Bundles in a directory of another machine. Cheap to clone.
#[derive(Clone)]
pub struct Sftp(Arc<Inner>);

struct Inner {
    address: SftpAddress,
    options: SftpOptions,
    context: Context,
    /// Connections that nobody uses at the moment.
    idle: Mutex<Vec<Connection>>,
    /// Whether it has been said that the server brings nothing onto its disk.
    told_unsynced: AtomicBool,
}

impl Sftp {
    /// The store at an address.
    pub fn new(address: &SftpAddress, options: &SftpOptions, context: &Context) -> Self {
        let (address, options, context) = (address.clone(), options.clone(), context.clone());
        Self(Arc::new(Inner {
            address,
            options,
            context,
            idle: Mutex::default(),
            told_unsynced: AtomicBool::new(false),
        }))
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that nobody uses and that is still up, or a new one.
    fn connection(&self) -> Result<Connection> {
        while let Some(idle) = { self.idle().pop() } {
            if idle.line.is_up() {
                return Ok(idle);
            }
        }
        Connection::open(&self.0.address, &self.0.options, &self.0.context.environment)
    }

    /// Does something over a connection, which is kept where that went well.
    fn with<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let connection = self.connection()?;
        let done = work(&connection)?;
        self.keep(connection);
        Ok(done)
    }

    fn keep(&self, connection: Connection) {
        if connection.line.is_up() {
            self.idle().push(connection);
        }
    }

    /// Does something over a connection of its own, in a few seconds.
    fn anew<T>(&self, work: impl FnOnce(&Connection) -> T) -> Option<T> {
        let Inner { address, options, context, .. } = &*self.0;
        let connection = Connection::open_within(address, options, &context.environment, FAREWELL);
        connection.ok().map(|connection| work(&connection))
    }

    /// Removes what is given up, in a few seconds, or leaves it to a later run.
    fn give_up(&self, connection: &Connection, path: &Path) {
        let removed = connection.within(FAREWELL, || connection.remove(path));
        if removed.is_err_and(|cause| !is_answer(&cause)) {
            self.anew(|connection| connection.remove(path));
        }
    }

    /// The address of a file.
    fn shown(&self, file: &str) -> String {
        format!("{}/{file}", self.0.address.to_string().trim_end_matches('/'))
    }

    fn failed(&self, doing: &str, file: &str, cause: ssh2::Error) -> Error {
        failed(format!("{doing} {}", self.shown(file)), cause)
    }

    /// Everything in the directory that is a file.
    fn files(&self, connection: &Connection) -> Result<Vec<(String, ssh2::FileStat)>> {
        let entries = connection.list(&connection.directory);
        let entries = entries.map_err(|cause| failed(format!("list {}", self.0.address), cause))?;
        let named = entries.into_iter().filter_map(|(path, stat)| {
            let name = path.file_name()?.to_str()?.to_owned();
            stat.is_file().then_some((name, stat))
        });
        Ok(named.collect())
    }

    fn parts(&self, connection: &Connection) -> Result<Vec<Leftover>> {
        let parts = self.files(connection)?.into_iter().filter(|(name, _)| is_part(name));
        Ok(parts.map(|(name, stat)| Leftover { name, begun: written(&stat) }).collect())
    }

    /// The directory around it, which must be there.
    fn parent<'c>(&self, connection: &'c Connection) -> Result<&'c Path> {
        let parent = connection.directory.parent().unwrap_or(Path::new("/"));
        match connection.stat(parent) {
            Err(cause) if cause.code() == NOT_THERE => Err(astray(&self.0.address.to_string(), parent)),
            looked => looked.map(|_| parent).map_err(|cause| failed(format!("look at {}", parent.display()), cause)),
        }
    }

    /// Makes the directory where it is missing.
    fn make_directory(&self, connection: &Connection) -> Result<()> {
        let path = &connection.directory;
        if connection.stat(path).is_ok() {
            return Ok(());
        }
        self.parent(connection)?;
        if let Err(cause) = connection.make_directory(path, 0o700) {
            // Somebody else may have made it meanwhile.
            connection.stat(path).map_err(|_| failed(format!("make {}", self.0.address), cause))?;
        }
        Ok(())
    }

    /// All of a small file.
    fn read_small(&self, connection: &Connection, file: &str) -> Result<Vec<u8>> {
        let path = connection.directory.join(file);
        let refused = |cause: io::Error| Error::new(Kind::Failed, format!("read {}", self.shown(file))).because(cause);
        // To open a pipe would wait for a writer there.
        let stat = connection.stat(&path).map_err(|cause| self.failed("read", file, cause))?;
        if stat.perm.is_some() && !stat.is_file() {
            return Err(refused(io::Error::other("it is no regular file")));
        }
        let opened = connection.open_file(&path).map_err(|cause| self.failed("read", file, cause))?;
        read_small(opened).map_err(refused)
    }

    /// Puts something small beside a bundle, in place of what is there.
    fn put_beside(&self, connection: &Connection, file: &str, content: &[u8]) -> Result<()> {
        let [part, target] = [part_of(file), file.to_owned()].map(|name| connection.directory.join(name));
        // What a crash has left of the same.
        let _ = connection.remove(&part);
        let doing = format!("write {}", self.shown(file));
        self.write_small(connection, (&part, OpenFlags::EXCLUSIVE, 0o600), (content, &doing), |_| Ok(()))?;
        // SFTP renames onto nothing that exists.
        let _ = connection.remove(&target);
        let renamed = connection.rename(&part, &target);
        renamed.inspect_err(|_| self.give_up(connection, &part)).map_err(|cause| failed(doing, cause))
    }

    /// Writes all of a small file, with what is to be done before it is closed. Where that fails nothing of it stays.
    fn write_small<T>(
        &self,
        connection: &Connection,
        (path, how, mode): (&Path, OpenFlags, i32),
        (content, doing): (&[u8], &str),
        before: impl FnOnce(&mut Outgoing) -> Result<T, ssh2::Error>,
    ) -> Result<T> {
        let mut file = connection.create(path, how, mode).map_err(|cause| failed(doing.into(), cause))?;
        let written = file.put(content).map_err(|cause| Error::new(Kind::Failed, doing).because(cause));
        let result = written.and_then(|()| before(&mut file).map_err(|cause| failed(doing.into(), cause)));
        let closed = file.close().map_err(|cause| failed(doing.into(), cause));
        let result = result.and_then(|result| closed.map(|()| result));
        result.inspect_err(|_| self.give_up(connection, path))
    }

    /// Deletes a file; one that is not there is no error.
    fn delete(&self, connection: &Connection, file: &str) -> Result<()> {
        match connection.remove(&connection.directory.join(file)) {
            Err(cause) if cause.code() == NOT_THERE => Ok(()),
            removed => removed.map_err(|cause| self.failed("delete", file, cause)),
        }
    }

    /// A new file under a temporary name, which nobody else has: so two runs never write the same bundle, whatever the server
    /// does when one is renamed.
    fn part(&self, connection: &Connection, name: &str) -> Result<(PathBuf, Outgoing)> {
        let part = part_of(name);
        let path = connection.directory.join(&part);
        let file = connection.create(&path, OpenFlags::EXCLUSIVE, 0o600);
        file.map(|file| (path.clone(), file)).map_err(|cause| match connection.has(&path) {
            true => {
                let cleanup = format!("`cleanup {} --older-than 0`", word(&self.0.address.to_string()));
                let hint = format!("another run may be writing it; if none is, {cleanup} deletes what was left of one");
                exists(&format!("an upload of {}", self.shown(name))).hint(hint)
            }
            false => self.failed("write", &part, cause),
        })
    }
}

/// The temporary name of a file.
fn part_of(name: &str) -> String {
    format!(".{name}{PART}")
}

/// When a file was last written.
fn written(stat: &ssh2::FileStat) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(i64::try_from(stat.mtime?).ok()?, 0)
}

fn failed(doing: String, cause: ssh2::Error) -> Error {
    let (kind, hint) = match cause.code() {
        NOT_THERE => (Kind::NotFound, "`list` shows what is there"),
        ErrorCode::SFTP(3) => {
            (Kind::Failed, "give the user that logs in the permission there, or name another directory")
        }
        ErrorCode::SFTP(14 | 15) => (Kind::Failed, "make room there, or have the quota raised"),
        ErrorCode::SFTP(_) => (Kind::Failed, "look for room on the other machine's disk, and at its SSH server's log"),
        ErrorCode::Session(_) => (Kind::Failed, "look after the network between here and there, and run it again"),
    };
    Error::new(kind, doing).because(cause.message().to_owned()).hint(hint)
}

impl Store for Sftp {
    fn location(&self) -> String {
        self.0.address.to_string()
    }

    fn has_lock(&self) -> bool {
        false
    }

    fn check(&self, size: u64) -> Result<Vec<Finding>> {
        self.with(|connection| {
            let shown = self.location();
            let new = connection.stat(&connection.directory).is_err();
            let there = if new { self.parent(connection)? } else { &connection.directory };
            let (mut findings, room) = self.trial(connection, there)?;
            if !new {
                // A backup looks for what broken uploads have left.
                self.files(connection)?;
            }
            findings.push(able(shown, new, room, size));
            Ok(findings)
        })
    }

    fn begin(&self, name: &FileName) -> Result<Box<dyn Upload>> {
        let connection = self.connection()?;
        self.make_directory(&connection)?;
        let abandoned = self.0.context.now() - ABANDONED;
        for part in self.parts(&connection)?.iter().filter(|part| part.begun.is_some_and(|begun| begun < abandoned)) {
            // It costs room and harms nobody.
            let _ = connection.remove(&connection.directory.join(&part.name));
        }
        let target = connection.directory.join(name.to_string());
        if connection.has(&target) {
            return Err(exists(&self.shown(&name.to_string())));
        }
        let (part, file) = self.part(&connection, &name.to_string())?;
        Ok(Box::new(Part::new(self.clone(), connection, name.clone(), part, file)))
    }

    fn readers(&self) -> usize {
        object::READERS
    }

    fn list(&self) -> Result<Vec<Stored>> {
        self.with(|connection| {
            let files = self.files(connection)?.into_iter();
            Ok(bundles(files.filter_map(|(name, stat)| Some((name, stat.size?))).collect()))
        })
    }

    fn others(&self) -> Result<Vec<String>> {
        self.with(|connection| {
            let files = self.files(connection)?.into_iter();
            Ok(files.map(|(name, _)| name).filter(|name| may_be_renamed(name)).take(OTHERS).collect())
        })
    }

    fn open_other(&self, file: &str) -> Result<Box<dyn ReadAt>> {
        Ok(Box::new(Object::open(self.clone(), file.into())?))
    }

    fn read_beside(&self, name: &FileName, suffix: &str) -> Result<Option<Vec<u8>>> {
        self.with(|connection| match self.read_small(connection, &format!("{name}{suffix}")) {
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            read => read.map(Some),
        })
    }

    fn write_beside(&self, name: &FileName, suffix: &str, content: &[u8]) -> Result<()> {
        self.with(|connection| self.put_beside(connection, &format!("{name}{suffix}"), content))
    }

    fn remove_beside(&self, name: &FileName, suffix: &str) -> Result<()> {
        self.with(|connection| self.delete(connection, &format!("{name}{suffix}")))
    }

    fn open(&self, name: &FileName) -> Result<Box<dyn ReadAt>> {
        Ok(Box::new(Object::open(self.clone(), name.to_string())?))
    }

    fn remove(&self, name: &FileName) -> Result<()> {
        self.with(|connection| {
            let mut files = std::iter::once(name.to_string()).chain(BESIDE.map(|suffix| format!("{name}{suffix}")));
            files.try_for_each(|file| self.delete(connection, &file))
        })
    }

    fn leftovers(&self, begun: DateTime<Utc>) -> Result<Vec<Leftover>> {
        self.with(|connection| Ok(self.parts(connection)?.into_iter().filter(|part| part.is_before(begun)).collect()))
    }

    fn remove_leftover(&self, leftover: &Leftover) -> Result<()> {
        self.with(|connection| {
            let removed = connection.remove(&connection.directory.join(&leftover.name));
            removed.map_err(|cause| self.failed("delete", &leftover.name, cause))
        })
    }

    fn claims(&self) -> Result<Vec<ClaimName>> {
        self.with(|connection| self.list_claims(connection))
    }

    fn read_claim(&self, name: &ClaimName) -> Result<Vec<u8>> {
        self.with(|connection| self.read_small(connection, &name.to_string()))
    }

    fn claim(&self, name: &ClaimName, content: &[u8]) -> Result<Vec<Finding>> {
        self.with(|connection| self.write_claim(connection, &name.to_string(), content))
    }
}
