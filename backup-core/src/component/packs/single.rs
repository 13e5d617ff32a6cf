//! One file of a packed tree, without the rest.

use tokio_util::sync::CancellationToken;

use super::archive::Archive;
use super::index::{Index, Said};
use super::reading::{Source, proof};
use crate::bundle::header::Head;
use crate::bundle::path;
use crate::{Error, ErrorContext, Kind, Result};

/// Reads the content of an entry as it is stored, by its path without the first slash: of all packs only its own is read, up to its end.
/// What `take` was given is to be believed once this has ended well.
///
/// # Errors
/// [`Kind::NotFound`], [`Kind::Damaged`]; what `take` returns.
pub(super) fn single(
    source: &impl Source,
    path: &[u8],
    take: impl FnMut(&[u8]) -> Result<()>,
    cancel: &CancellationToken,
) -> Result<Head> {
    let shown = path::to_text(path);
    let doing = || format!("read {shown}");
    let mut index = Index::open(source.index()?)?;
    let line = loop {
        match index.next()? {
            Said::Entry(line) if line.path == shown => break line,
            Said::Entry(_) if !cancel.is_cancelled() => {}
            Said::Entry(_) => return Err(Error::new(Kind::Interrupted, doing()).because("interrupted")),
            Said::End(_) => return Err(Error::new(Kind::NotFound, doing()).because("the tree has no such file")),
        }
    };
    let read = || {
        let damaged = |why: &str| Error::new(Kind::Damaged, why);
        if !(1..=source.packs()).contains(&line.pack) {
            return Err(damaged("its pack is missing"));
        }
        let mut archive = Archive::new(source.pack(line.pack)?);
        archive.skip(line.offset)?;
        let head = archive.next()?.filter(|head| line.agrees(head));
        let head = head.ok_or_else(|| damaged("its header is not what the index says of it"))?;
        if proof(&mut archive, &head, take, cancel)? != line.proof() {
            return Err(damaged("its content is not what its digest was made of"));
        }
        Ok(head)
    };
    read().context(doing)
}
