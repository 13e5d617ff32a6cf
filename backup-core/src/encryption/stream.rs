//! An encrypted bundle decrypted as its bytes come, from the first to the last.

use std::io::{self, BufReader, Read, Write};

use age::{DecryptError, Decryptor};

use super::Identities;
use crate::bundle::reader::unreadable;
use crate::{Error, Kind, Result};

/// Writes the content of an encrypted bundle that is read from `source` to its end.
///
/// # Errors
/// [`Kind::Refused`] if no identity fits, [`Kind::Damaged`] if a byte of it is another one; what the sink says.
pub(crate) fn decrypt(source: impl Read, identities: &Identities, sink: &mut impl Write) -> Result<()> {
    let unfit = |cause: DecryptError| match cause {
        DecryptError::NoMatchingKeys => {
            Error::new(Kind::Refused, "it is encrypted, and not to an identity that is given")
        }
        DecryptError::Io(cause) => unreadable(cause, "read its encryption's header"),
        cause => Error::new(Kind::Damaged, "read its encryption's header").because(cause.to_string()),
    };
    let decryptor = Decryptor::new_buffered(BufReader::new(source)).map_err(unfit)?;
    let mut content = decryptor.decrypt(identities.all()).map_err(unfit)?;
    let mut part = vec![0; 64 << 10];
    loop {
        match content.read(&mut part) {
            Ok(0) => return Ok(()),
            Ok(length) => sink.write_all(&part[..length]).map_err(|cause| unreadable(cause, "check its content"))?,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(unreadable(cause, "decrypt it")),
        }
    }
}
