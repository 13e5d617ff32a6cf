//! Words that nobody else has.

use std::fs::File;
use std::io::Read;

use crate::{ErrorContext, Result};

/// 32 hexadecimal digits that nobody can guess, and that never come twice.
///
/// # Errors
/// Where the system has none.
pub(crate) fn word() -> Result<String> {
    let mut bytes = [0; 16];
    let read = File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut bytes));
    read.map(|()| hex::encode(bytes)).context(|| "read /dev/urandom".into())
}
