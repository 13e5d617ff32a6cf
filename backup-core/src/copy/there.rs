//! What a destination has already under the bundle's name.

use crate::bundle::reader::Bundle;
use crate::digest::Sha256Digest;
use crate::encryption::Decrypted;
use crate::store::{DIGEST, Store, file_in};
use crate::{Error, ErrorContext, Kind, Result};

use super::source::{Proof, Source, digest_in};

/// What lies there.
pub(super) enum There {
    /// Nothing that can be seen.
    Nothing,
    /// The same bundle.
    Same,
}

/// Looks what lies in a store under the name of `source`.
///
/// # Errors
/// [`Kind::Refused`] if it is another bundle than the source; where it cannot be compared.
pub(super) fn look(source: &Source, store: &dyn Store) -> Result<There> {
    let name = &source.name;
    let doing = || format!("copy to {}", store.location());
    let other = |why: String| {
        let shown = file_in(&store.location(), &name.to_string());
        let error = Error::new(Kind::Refused, format!("{}: it has another bundle called {name}", doing())).because(why);
        Err(error
            .hint(format!("bundles are never overwritten; look at that one: `show {}`", crate::shell::word(&shown))))
    };
    let bytes = match store.open(name) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == Kind::Damaged => return other(error.chain().join(": ")),
        // A store that gives nothing back may take bundles all the same; it writes over none.
        Err(_) => return Ok(There::Nothing),
    };
    let length = bytes.length().context(doing)?;
    if length != source.length {
        return other(format!("that one has {length} bytes, and this one {}", source.length));
    }
    let (own, found) = match &source.proof {
        Proof::Manifest(_, footer, identities) => {
            let opened = match identities {
                None => Bundle::open(bytes),
                Some(identities) => Decrypted::open(bytes, identities.clone())
                    .and_then(|bytes| Bundle::open(Box::new(bytes) as Box<dyn crate::bundle::reader::ReadAt>)),
            };
            match opened {
                Ok(bundle) => (Sha256Digest(footer.manifest_digest), Sha256Digest(bundle.footer().manifest_digest)),
                Err(error) if matches!(error.kind(), Kind::Damaged | Kind::Refused | Kind::Unsupported) => {
                    return other(format!("that one cannot be opened: {}", error.chain().join(": ")));
                }
                Err(error) => return Err(error).context(doing),
            }
        }
        Proof::Digest(digest) => {
            let beside = store.read_beside(name, DIGEST).context(doing)?;
            match beside.as_deref().and_then(digest_in) {
                Some(found) => (*digest, found),
                None => return other(format!("no digest lies beside that one in {DIGEST}")),
            }
        }
    };
    if own == found { Ok(There::Same) } else { other("their digests differ".into()) }
}
