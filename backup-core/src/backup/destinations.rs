//! Where one bundle goes: every store and the stream that it is written to at once.

use std::collections::HashSet;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::statvfs;
use sha2::{Digest, Sha256};

use super::preflight::DOING;
use super::{Request, Settings};
use crate::digest::Sha256Digest;
use crate::encryption::Recipients;
use crate::finding::{Finding, bytes};
use crate::names::FileName;
use crate::store::{Access, Address, SIGNATURE, Store, StoreSettings, Upload, leave_out};
use crate::{Context, Error, Kind, Result};

/// A store that is to get a bundle.
#[derive(Clone)]
pub struct Destination {
    /// Where it is.
    pub address: Address,
    /// The store there.
    pub store: Arc<dyn Store>,
}

/// The stores that a backup would be written to, each once, whatever it is called.
///
/// # Errors
/// Where what the settings say of one makes no sense; [`Kind::Usage`] where one is left out that is none, or all are.
pub fn destinations(
    settings: &Settings,
    request: &Request,
    stream: bool,
    context: &Context,
) -> Result<Vec<Destination>> {
    let named: Vec<StoreSettings> = if request.to.is_empty() && !stream {
        settings.stores.iter().map(|store| settings.access.limited(store.clone())).collect()
    } else {
        request.to.iter().map(|address| settings.access.settings(address.clone())).collect()
    };
    let mut all = each_once(named, &settings.access, context)?;
    if request.without.is_empty() {
        return Ok(all);
    }
    let written = all.iter().map(|destination| destination.store.clone());
    leave_out(settings.access.connect_all(written, context)?, &request.without)?;
    all.retain(|destination| !request.without.contains(&destination.store.location()));
    if all.is_empty() && !stream {
        let error = Error::new(Kind::Usage, format!("{DOING}: --without-store leaves none of the stores"));
        return Err(error.hint("name another place with --to"));
    }
    Ok(all)
}

/// These stores, each once, whatever it is called.
pub(crate) fn each_once(named: Vec<StoreSettings>, access: &Access, context: &Context) -> Result<Vec<Destination>> {
    let mut seen = HashSet::new();
    let real = |address: &Address| match address {
        Address::Directory(path) => path.canonicalize().unwrap_or_else(|_| path.components().collect()),
        address => address.to_string().into(),
    };
    let once = named.into_iter().filter(|store| seen.insert(real(&store.address)));
    let connected =
        once.map(|store| Ok(Destination { store: access.connector.connect(&store, context)?, address: store.address }));
    connected.collect()
}

/// Who can read the bundle.
///
/// # Errors
/// [`Kind::Usage`] where one is no recipient.
pub fn recipients(settings: &Settings, request: &Request) -> Result<Recipients> {
    Recipients::parse(&[&*settings.recipients, &*request.recipients].concat())
}

/// Something small that lies beside a bundle: what it adds to the bundle's name, and its content.
pub(crate) type Beside = (&'static str, Vec<u8>);

/// All destinations of one bundle. One that fails is given up while another is left.
pub(crate) struct Destinations {
    uploads: Vec<(Arc<dyn Store>, Box<dyn Upload>)>,
    stream: Option<Box<dyn Write + Send>>,
    failed: Vec<String>,
    length: u64,
    digest: Sha256,
}

/// A bundle that is where it was to be.
pub(crate) struct Delivered {
    /// Where it is.
    pub(crate) published: Vec<String>,
    /// Destinations that failed while another one did not.
    pub(crate) failed: Vec<String>,
    /// What is not as it was asked for.
    pub(crate) warnings: Vec<Finding>,
    /// Its length in bytes.
    pub(crate) length: u64,
    /// The digest of all its bytes.
    pub(crate) digest: Sha256Digest,
}

impl Destinations {
    /// Begins in all of them; an error if none is left.
    pub(crate) fn begin(
        destinations: &[Destination],
        failed: Vec<String>,
        stream: Option<Box<dyn Write + Send>>,
        name: &FileName,
    ) -> Result<Self> {
        match Self::begin_all(destinations, failed, stream, name) {
            (begun, Some(error)) if begun.is_empty() => Err(error),
            (begun, _) => Ok(begun),
        }
    }

    /// Begins in all of them, and gives the first error.
    pub(crate) fn begin_all(
        destinations: &[Destination],
        mut failed: Vec<String>,
        stream: Option<Box<dyn Write + Send>>,
        name: &FileName,
    ) -> (Self, Option<Error>) {
        let (mut uploads, mut first) = (Vec::new(), None);
        for Destination { store, .. } in destinations {
            match store.begin(name) {
                Ok(upload) => uploads.push((store.clone(), upload)),
                Err(error) => {
                    failed.push(failure(&store.location(), &error));
                    first.get_or_insert(error);
                }
            }
        }
        (Self { uploads, stream, failed, length: 0, digest: Sha256::new() }, first)
    }

    /// Whether none of them takes anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.uploads.is_empty() && self.stream.is_none()
    }

    /// Those that have failed so far, each with its reason.
    pub(crate) fn failed_mut(&mut self) -> &mut Vec<String> {
        &mut self.failed
    }

    /// The digest of all bytes that were written so far.
    pub(crate) fn digest(&self) -> Sha256Digest {
        Sha256Digest(self.digest.clone().finalize().into())
    }

    /// Makes the bundle appear everywhere, with `beside` beside it; an error if it is nowhere then.
    pub(crate) fn publish(self, name: &FileName, beside: &[Beside]) -> Result<Delivered> {
        let streams = self.stream.is_some();
        match self.publish_all(name, beside) {
            (delivered, Some(error)) if delivered.published.is_empty() && !streams => Err(error),
            (delivered, _) => Ok(delivered),
        }
    }

    /// Makes the bundle appear everywhere, with `beside` beside it, and gives the first error.
    pub(crate) fn publish_all(self, name: &FileName, beside: &[Beside]) -> (Delivered, Option<Error>) {
        let digest = Sha256Digest(self.digest.finalize().into());
        let mut delivered =
            Delivered { published: Vec::new(), failed: self.failed, warnings: Vec::new(), length: self.length, digest };
        let mut first = None;
        for (store, upload) in self.uploads {
            let location = store.location();
            match upload.publish(&digest) {
                Ok(published) => {
                    for (suffix, content) in beside {
                        let code = if *suffix == SIGNATURE { "signature-not-written" } else { "beside-not-written" };
                        let put = store.write_beside(name, suffix, content);
                        let not_put = |error| Finding::warning_from_error(code, &location, &error);
                        delivered.warnings.extend(put.err().map(not_put));
                    }
                    delivered.published.push(published.place);
                    delivered.warnings.extend(published.warnings);
                }
                Err(error) => {
                    delivered.failed.push(failure(&location, &error));
                    first.get_or_insert(error);
                }
            }
        }
        (delivered, first)
    }

    /// Runs `act` on every destination; an error only where none is left.
    fn each(&mut self, mut act: impl FnMut(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        // A reader that went away wants nothing more, and to go on without it would look like success.
        if let Some(stream) = &mut self.stream {
            act(stream)?;
        }
        let mut index = 0;
        while index < self.uploads.len() {
            let last = self.uploads.len() == 1 && self.stream.is_none();
            let (store, upload) = &mut self.uploads[index];
            let Err(error) = act(upload) else {
                index += 1;
                continue;
            };
            let location = store.location();
            if last {
                // A store's own error says all that there is to say.
                let own = error.get_ref().is_some_and(|inner| inner.is::<Error>());
                return Err(if own { error } else { io::Error::new(error.kind(), format!("{location}: {error}")) });
            }
            let error = Error::new(Kind::Failed, location).because(error);
            self.failed.push(error.chain().join(": "));
            self.uploads.remove(index);
        }
        Ok(())
    }
}

impl Write for Destinations {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.each(|destination| destination.write_all(bytes))?;
        self.digest.update(bytes);
        self.length += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.each(|destination| destination.flush())
    }
}

fn failure(location: &str, error: &Error) -> String {
    format!("{location}: {}", error.chain().join(": "))
}

/// How long uploads may take to be taken back: whoever ended the run waits for it.
const FAREWELL: Duration = Duration::from_secs(5);

/// Takes uploads back when dropped. The thread that writes can hang, in a pipe or on a dead disk, and then never drops
/// them itself.
pub(crate) struct Abandon(Vec<Box<dyn FnOnce() + Send>>);

impl Abandon {
    pub(crate) fn of(destinations: &Destinations) -> Self {
        Self(destinations.uploads.iter().map(|(_, upload)| upload.abandon()).collect())
    }

    pub(crate) fn disarm(mut self) {
        self.0.clear();
    }
}

impl Drop for Abandon {
    fn drop(&mut self) {
        let (sender, done) = std::sync::mpsc::channel::<()>();
        for abandon in self.0.drain(..) {
            let sender = sender.clone();
            std::thread::spawn(move || {
                abandon();
                drop(sender);
            });
        }
        drop(sender);
        // Ends when all are done, or the time is over.
        let _ = done.recv_timeout(FAREWELL);
    }
}

/// How much a full disk had, and how much was needed of it: so much `written` of a bundle of databases that take so much `on_disk`.
pub(crate) fn full_disk(error: Error, destinations: &[Destination], written: u64, on_disk: u64) -> Error {
    let free = destinations.iter().filter_map(|destination| {
        let Address::Directory(directory) = &destination.address else { return None };
        let there = directory.ancestors().find(|path| path.exists())?;
        let stat = statvfs(there).ok()?;
        Some(format!("; {} has {} free", directory.display(), bytes(stat.f_bavail * stat.f_frsize)))
    });
    let message = format!(
        "write the bundle: the disk is full after {} of it; the databases take {} on the server's disk{}",
        bytes(written),
        bytes(on_disk),
        free.collect::<String>()
    );
    Error::new(error.kind(), message).because(error)
}
