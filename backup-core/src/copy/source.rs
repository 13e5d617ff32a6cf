//! The bundle that is copied: its bytes as they are stored, what proves them, and what lies beside it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::authenticity;
use crate::bundle::footer::Footer;
use crate::bundle::manifest::Manifest;
use crate::bundle::reader::{Bundle, ReadAt};
use crate::digest::Sha256Digest;
use crate::encryption::{Decrypted, Identities};
use crate::finding::Finding;
use crate::names::{BundleName, FileName, renamed};
use crate::signing::{Origin, read_small};
use crate::store::{Access, DIGEST, Store};
use crate::{Context, Error, ErrorContext, Kind, Result, shell};

/// What the bytes are compared with.
pub(super) enum Proof {
    /// The bundle's own manifest. An encrypted bundle has identities that open it.
    Manifest(Box<Manifest>, Footer, Option<Identities>),
    /// The digest of all bytes that stands beside the bundle, as no identity opens it.
    Digest(Sha256Digest),
}

/// A bundle that is open.
pub(super) struct Source {
    pub(super) shown: String,
    pub(super) bytes: Arc<dyn ReadAt>,
    pub(super) length: u64,
    /// What it is called where it is copied to: the name in its manifest, if that can be read.
    pub(super) name: FileName,
    pub(super) proof: Proof,
    pub(super) origin: Option<Origin>,
    /// The digest of all its bytes, as the file beside it says.
    pub(super) said: Option<Sha256Digest>,
    pub(super) notes: Vec<Finding>,
    pub(super) beside: Beside,
}

impl Source {
    /// Opens a bundle by its file or its address.
    ///
    /// # Errors
    /// [`Kind::Damaged`] if it is no bundle; [`Kind::Refused`] if nothing can prove its bytes.
    pub(super) fn open(path: &Path, access: &Access, context: &Context) -> Result<Self> {
        let shown = path.display().to_string();
        let (bytes, encrypted) = access.stored(path, context)?;
        let bytes: Arc<dyn ReadAt> = bytes.into();
        let length = bytes.length().context(|| format!("open {shown}"))?;
        let beside = Beside { place: access.place(path, context)?, path: path.to_owned() };
        let said = beside.read(DIGEST).ok().flatten().and_then(|text| digest_in(&text));
        let mut notes = Vec::new();
        let (proof, name) = match open(&bytes, encrypted, access) {
            Ok((bundle, identities)) => {
                let footer = bundle.footer().clone();
                let manifest = bundle.into_manifest();
                notes.extend(renamed(path, &manifest.name));
                let name = manifest.name.parse::<BundleName>().ok();
                (Proof::Manifest(Box::new(manifest), footer, identities), name)
            }
            Err(error) if encrypted && error.kind() == Kind::Refused => {
                let proof = Proof::Digest(said.ok_or_else(|| unproved(&shown, &error))?);
                let message =
                    format!("{}: its bytes are compared with the digest in {DIGEST} alone", error.chain().join(": "));
                notes.push(Finding::info("by-digest", &shown, message));
                (proof, beside.place.as_ref().map(|(_, name)| name.bundle.clone()))
            }
            Err(error) => return Err(error).context(|| format!("open {shown}")),
        };
        let bundle = name.ok_or_else(|| {
            Error::new(Kind::Usage, format!("copy {shown}: it is not called as bundles are, and no identity opens it"))
                .hint("name its identity with --identity, or give the file its name back")
        })?;
        let origin = match &proof {
            Proof::Manifest(_, footer, _) => {
                Some(authenticity::origin(path, &Sha256Digest(footer.manifest_digest), access, context))
            }
            Proof::Digest(_) => None,
        };
        let name = FileName { bundle, encrypted };
        Ok(Self { shown, bytes, length, name, proof, origin, said, notes, beside })
    }

    /// The digest of its manifest, if that can be read.
    pub(super) fn manifest_sha256(&self) -> Option<Sha256Digest> {
        match &self.proof {
            Proof::Manifest(_, footer, _) => Some(Sha256Digest(footer.manifest_digest)),
            Proof::Digest(_) => None,
        }
    }

    /// An error of the bundle itself, with what to do.
    pub(super) fn damaged(&self, error: Error) -> Error {
        let shown = shell::word(&self.shown);
        let hint = format!("nothing was written; `verify {shown}` says all that is wrong with it");
        let kind = error.kind();
        let error = Error::new(kind, format!("copy {}", self.shown)).because(error);
        if kind == Kind::Damaged { error.hint(hint) } else { error }
    }
}

type Opened = (Bundle<Box<dyn ReadAt>>, Option<Identities>);

/// Opens what is in the bundle.
fn open(bytes: &Arc<dyn ReadAt>, encrypted: bool, access: &Access) -> Result<Opened> {
    if !encrypted {
        return Ok((Bundle::open(Box::new(bytes.clone()) as Box<dyn ReadAt>)?, None));
    }
    let identities = Identities::read(&access.identities)?;
    let opened = Decrypted::open(Box::new(bytes.clone()), identities.clone())?;
    Ok((Bundle::open(Box::new(opened) as Box<dyn ReadAt>)?, Some(identities)))
}

fn unproved(shown: &str, cause: &Error) -> Error {
    let why = format!("{}, and no digest lies beside it in {DIGEST}", cause.chain().join(": "));
    let error = Error::new(Kind::Refused, format!("copy {shown}: nothing can prove its bytes")).because(why);
    error.hint("name the file with its identity: --identity, or encryption.identities in the settings")
}

/// The digest in a file for `sha256sum -c`.
pub(super) fn digest_in(text: &[u8]) -> Option<Sha256Digest> {
    let word = std::str::from_utf8(text).ok()?.split_whitespace().next()?;
    let mut digest = [0; 32];
    hex::decode_to_slice(word, &mut digest).ok()?;
    Some(Sha256Digest(digest))
}

/// What lies beside the bundle: in its store, or in its directory if the file has another name than bundles have.
pub(super) struct Beside {
    place: Option<(Arc<dyn Store>, FileName)>,
    path: PathBuf,
}

impl Beside {
    /// What lies there under its name and `suffix`, if something does.
    pub(super) fn read(&self, suffix: &str) -> Result<Option<Vec<u8>>> {
        if let Some((store, name)) = &self.place {
            return store.read_beside(name, suffix);
        }
        let path = PathBuf::from(format!("{}{suffix}", self.path.display()));
        match read_small(&path) {
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some).context(|| format!("read {}", path.display())),
        }
    }
}
