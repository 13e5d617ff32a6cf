//! Keys that sign bundles, claims and records of drills: SSH's own ed25519 keys and signatures, so that `ssh-keygen -Y verify` reads them too.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey, PublicKey, SshSig};

use crate::digest::Sha256Digest;
use crate::{Error, ErrorContext, Kind, Result, shell, written};

/// What a signature of a bundle is for, so that it can't pass for another one of the same key.
const BUNDLE: &str = "orchestrator-cli-bundle";
/// The same of a drill's record.
const RECORD: &str = "orchestrator-cli-drill";
/// The same of a claim.
const CLAIM: &str = "orchestrator-cli-claim";
/// What makes a key.
const MAKE: &str = "`key generate --signing /etc/orchestrator/signing.key` makes one";
/// No key and no signature is longer.
const LONGEST: u64 = 16 << 10;

/// A key whose signatures are trusted.
#[derive(Debug, Clone)]
pub struct Signer {
    /// What the settings call it.
    pub name: String,
    key: PublicKey,
}

/// What the settings say of signatures.
#[derive(Debug, Clone, Default)]
pub struct Signing {
    /// The file of the key that signs what is made here.
    pub key: Option<PathBuf>,
    /// Keys whose signatures are trusted.
    pub trusted: Vec<Signer>,
    /// Whether nothing is restored, drilled or called sound that none of them has signed.
    pub required: bool,
}

impl Signer {
    /// A key of the settings.
    ///
    /// # Errors
    /// [`Kind::Usage`] where it is none.
    pub fn read(name: &str, key: &str) -> Result<Self> {
        let none = || {
            let error =
                Error::new(Kind::Usage, format!("signing.trusted: {name} has no public key of the kind ssh-ed25519"));
            error.hint("`key generate --signing /etc/orchestrator/signing.key` prints one: ssh-ed25519 AAAA…")
        };
        let key = PublicKey::from_openssh(key.trim()).map_err(|_| none())?;
        if key.algorithm() != Algorithm::Ed25519 {
            return Err(none());
        }
        Ok(Self { name: name.into(), key })
    }
}

impl Signing {
    /// Signs a bundle by its manifest's digest; none where no key is set up.
    ///
    /// # Errors
    /// Where the key can't be used.
    pub fn sign_bundle(&self, digest: &Sha256Digest) -> Result<Option<Vec<u8>>> {
        self.sign(BUNDLE, &message(digest))
    }

    /// Signs the record of a drill.
    ///
    /// # Errors
    /// Where the key can't be used.
    pub fn sign_record(&self, record: &[u8]) -> Result<Option<Vec<u8>>> {
        self.sign(RECORD, record)
    }

    /// Signs a claim.
    ///
    /// # Errors
    /// Where the key can't be used.
    pub fn sign_claim(&self, claim: &[u8]) -> Result<Option<Vec<u8>>> {
        self.sign(CLAIM, claim)
    }

    /// Who of the trusted ones has signed a bundle.
    pub fn signer_of_bundle(&self, digest: &Sha256Digest, signature: &[u8]) -> Option<&str> {
        self.signer(BUNDLE, &message(digest), signature)
    }

    /// Who of the trusted ones has signed the record of a drill.
    pub fn signer_of_record(&self, record: &[u8], signature: &[u8]) -> Option<&str> {
        self.signer(RECORD, record, signature)
    }

    /// Who of the trusted ones has signed a claim.
    pub fn signer_of_claim(&self, claim: &[u8], signature: &[u8]) -> Option<&str> {
        self.signer(CLAIM, claim, signature)
    }

    /// Whether the key can be used, before there is anything to be signed; and whether what it signs is trusted here.
    ///
    /// # Errors
    /// Why it can't be used.
    pub fn check(&self) -> Result<bool> {
        let Some(path) = &self.key else { return Ok(false) };
        let key = read(path)?;
        Ok(self.trusted.iter().any(|signer| signer.key.key_data() == key.public_key().key_data()))
    }

    fn sign(&self, namespace: &str, message: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some(path) = &self.key else { return Ok(None) };
        let doing = || format!("sign with {}", path.display());
        let signature = read(path)?.sign(namespace, HashAlg::Sha512, message).context(doing)?;
        Ok(Some(signature.to_pem(LineEnding::LF).context(doing)?.into_bytes()))
    }

    fn signer(&self, namespace: &str, message: &[u8], signature: &[u8]) -> Option<&str> {
        let signature = SshSig::from_pem(signature).ok()?;
        let has_signed = |signer: &&Signer| signer.key.verify(namespace, message, &signature).is_ok();
        self.trusted.iter().find(has_signed).map(|signer| &*signer.name)
    }
}

/// What is signed of a bundle: its manifest's digest as a line, which any shell can make.
fn message(digest: &Sha256Digest) -> Vec<u8> {
    format!("{digest}\n").into_bytes()
}

fn read(path: &Path) -> Result<PrivateKey> {
    let doing = || format!("read the signing key {}", path.display());
    let text = read_small(path).map_err(|cause| {
        let hint = match cause.kind() {
            io::ErrorKind::PermissionDenied => {
                format!(
                    "its owner alone can read it: as root, chown USER {}, with the user who makes the backups",
                    shell::path(path)
                )
            }
            _ => MAKE.into(),
        };
        Error::new(Kind::Failed, doing()).because(cause).hint(hint)
    })?;
    let unusable = |why: &str| Error::new(Kind::Usage, doing()).because(why).hint(MAKE);
    let key = PrivateKey::from_openssh(&text).map_err(|_| unusable("it is no private key of SSH"))?;
    if key.is_encrypted() || key.algorithm() != Algorithm::Ed25519 {
        return Err(unusable("it is no ed25519 key without a passphrase"));
    }
    Ok(key)
}

/// The content of a file that is small.
pub(crate) fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(LONGEST).read_to_end(&mut content)?;
    Ok(content)
}

/// Makes a key in a new file that its owner alone may read, and returns its public half.
///
/// # Errors
/// [`Kind::Refused`] where the file exists.
pub fn generate(path: &Path, host: &str) -> Result<String> {
    let doing = || format!("write the signing key {}", path.display());
    let mut key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).context(doing)?;
    key.set_comment(format!("orchestrator-cli@{host}"));
    let text = key.to_openssh(LineEnding::LF).context(doing)?;
    written::write_secret(path, "the signing key", "a key is never overwritten", text.as_bytes())?;
    key.public_key().to_openssh().context(doing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_of_one_key_one_content_and_one_purpose() {
        let place = tempfile::tempdir().expect("a directory");
        let [ours, other] = ["ours", "other"].map(|name| {
            let path = place.path().join(name);
            let public = generate(&path, "vm").expect("a key");
            (path, public)
        });
        assert_eq!(generate(&ours.0, "vm").expect_err("it exists").kind(), Kind::Refused);
        let trusted = vec![Signer::read("ops", &ours.1).expect("a key")];
        let signing = Signing { key: Some(ours.0), trusted: trusted.clone(), required: false };
        let digest = Sha256Digest([7; 32]);
        let signature = signing.sign_bundle(&digest).expect("signed").expect("a key");
        assert_eq!(signing.signer_of_bundle(&digest, &signature), Some("ops"));
        assert_eq!(signing.signer_of_bundle(&Sha256Digest([8; 32]), &signature), None);
        assert_eq!(signing.signer_of_record(&message(&digest), &signature), None);
        let others = Signing { key: Some(other.0), trusted, required: false };
        let forged = others.sign_bundle(&digest).expect("signed").expect("a key");
        assert_eq!(signing.signer_of_bundle(&digest, &forged), None);
        for no_signature in [&b""[..], b"-----BEGIN SSH SIGNATURE-----", &[0xff; 99], &signature[..signature.len() / 2]]
        {
            assert_eq!(signing.signer_of_bundle(&digest, no_signature), None);
        }
        for no_key in ["", "ssh-ed25519", "ssh-ed25519 AAAA", "age1qqqq", "-----BEGIN OPENSSH PRIVATE KEY-----"] {
            assert_eq!(Signer::read("x", no_key).expect_err("no key").kind(), Kind::Usage, "{no_key}");
        }
    }
}
