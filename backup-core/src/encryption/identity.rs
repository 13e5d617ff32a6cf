//! Who reads encrypted bundles: files of identities, age's own or SSH's private keys.

use std::fs;
use std::io::{self, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use age::secrecy::ExposeSecret as _;
use chrono::{DateTime, SecondsFormat, Utc};

use crate::finding::Finding;
use crate::{Error, ErrorContext, Kind, Result, shell, written};

/// Identities, read once. Cheap to clone.
#[derive(Clone, Default)]
pub struct Identities(Arc<Vec<Box<dyn age::Identity + Send + Sync>>>);

impl Identities {
    /// Reads the identities of files.
    ///
    /// # Errors
    /// Where one can't be read, or holds none that can be used. Nothing of its content is repeated.
    pub fn read(files: &[PathBuf]) -> Result<Self> {
        let mut all = Vec::new();
        for file in files {
            if file.to_string_lossy().to_ascii_uppercase().contains("AGE-SECRET-KEY-") {
                let error = Error::new(Kind::Usage, "read an identity: this is the identity itself, which is secret");
                return Err(error.hint("write it into a file that its owner alone may read, and name the file"));
            }
            all.extend(of_file(file).context(|| format!("read the identity {}", file.display()))?);
        }
        Ok(Self(Arc::new(all)))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &dyn age::Identity> {
        self.0.iter().map(|identity| &**identity as &dyn age::Identity)
    }
}

fn of_file(path: &Path) -> Result<Vec<Box<dyn age::Identity + Send + Sync>>> {
    let content = fs::read(path).map_err(|cause| {
        let kind = if cause.kind() == io::ErrorKind::NotFound { Kind::NotFound } else { Kind::Failed };
        Error::new(kind, "open the file").because(cause)
    })?;
    if content.windows(11).any(|window| window == b"PRIVATE KEY") {
        return of_ssh(&content).map(|identity| vec![identity]);
    }
    let none = |why: &str| {
        Error::new(Kind::Usage, why)
            .hint("name a file that `key generate orchestrator.key` or age-keygen made, or a private key of SSH")
    };
    let file = age::IdentityFile::from_buffer(BufReader::new(&*content)).map_err(|_| none("it holds no identity"))?;
    let identities = file.into_identities().map_err(|_| none("its identity can't be used"))?;
    if identities.is_empty() { Err(none("it holds no identity")) } else { Ok(identities) }
}

fn of_ssh(content: &[u8]) -> Result<Box<dyn age::Identity + Send + Sync>> {
    let identity = age::ssh::Identity::from_buffer(BufReader::new(content), None);
    match identity.map_err(|_| Error::new(Kind::Usage, "it is no private key of SSH that is understood"))? {
        age::ssh::Identity::Unencrypted(key) => Ok(Box::new(age::ssh::Identity::from(key))),
        age::ssh::Identity::Encrypted(_) => Err(Error::new(Kind::Usage, "the private key has a passphrase")
            .hint("take it off a copy that you delete afterwards: cp KEY COPY && ssh-keygen -p -N '' -f COPY")),
        age::ssh::Identity::Unsupported(_) => Err(Error::new(Kind::Usage, "keys of this kind can't decrypt")),
    }
}

/// Warnings of files of identities that others than their owner can read or write: whoever can, reads all bundles.
pub fn open_to_others(files: &[PathBuf]) -> Vec<Finding> {
    let open = |path: &&PathBuf| fs::metadata(path).is_ok_and(|file| file.is_file() && file.mode() & 0o066 != 0);
    let finding = |path: &PathBuf| {
        let message = "others than its owner can read or write this identity, and whoever reads it reads all bundles";
        let hint = format!("close it: chmod go= {}", shell::path(path));
        Finding::warning("identity-open", path.display().to_string(), message).hint(hint)
    };
    files.iter().filter(open).map(finding).collect()
}

/// Makes an identity in a new file that its owner alone may read, and returns its recipient.
///
/// # Errors
/// [`Kind::Refused`] where the file exists.
pub fn generate(path: &Path, now: DateTime<Utc>) -> Result<String> {
    let identity = age::x25519::Identity::generate();
    let recipient = identity.to_public().to_string();
    let time = now.to_rfc3339_opts(SecondsFormat::Secs, true);
    let secret = identity.to_string();
    let text = format!("# created: {time}\n# public key: {recipient}\n{}\n", secret.expose_secret());
    let never = "an identity is never overwritten: bundles may need it";
    written::write_secret(path, "the identity", never, text.as_bytes())?;
    Ok(recipient)
}
