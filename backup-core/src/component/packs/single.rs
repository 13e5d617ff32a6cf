//! One file of a packed tree, without the rest.

use tokio_util::sync::CancellationToken;

use super::archive::Archive;
use super::index::{Index, Said};
use super::line::Line;
use super::order::sorted;
use super::reading::{Source, proof};
use crate::bundle::header::{EntryKind, Head};
use crate::bundle::path;
use crate::context::go_on;
use crate::{Error, ErrorContext, Kind, Result};

/// Reads the content of an entry as it is stored, by its path without the first slash; that of a hard link is the content of the file that
/// it leads to, whose header is returned. Of all packs only its own is read. What `take` was given is to be believed once this has ended well:
/// index and pack are read to their ends, where they are held against their digests.
///
/// # Errors
/// [`Kind::NotFound`], [`Kind::Damaged`]; what `take` returns.
pub(super) fn single(
    source: &impl Source,
    path: &[u8],
    take: impl FnMut(&[u8]) -> Result<()>,
    cancel: &CancellationToken,
) -> Result<Head> {
    let doing = || format!("read {}", path::to_text(path));
    let missing = || Error::new(Kind::NotFound, doing()).because("the tree has no such file");
    let read = |mut line: Box<Line>| {
        let mut link = path.to_vec();
        while let EntryKind::Hardlink(target) = line.head().map_err(damaged)?.kind {
            // Each leads further back, so that this ends.
            let earlier = if sorted(&target, &link) { find(source, &target, cancel)? } else { None };
            line = earlier.ok_or_else(|| damaged("a hard link to no earlier file"))?;
            link = target;
        }
        content(source, &line, take, cancel)
    };
    read(find(source, path, cancel).context(doing)?.ok_or_else(missing)?).context(doing)
}

/// The line of an entry.
fn find(source: &impl Source, path: &[u8], cancel: &CancellationToken) -> Result<Option<Box<Line>>> {
    let (path, mut found) = (path::to_text(path), None);
    let mut index = Index::open(source.index()?)?;
    while let Said::Entry(line) = index.next()? {
        go_on(cancel)?;
        if line.path == path {
            found = Some(line);
        }
    }
    Ok(found)
}

fn content(
    source: &impl Source,
    line: &Line,
    take: impl FnMut(&[u8]) -> Result<()>,
    cancel: &CancellationToken,
) -> Result<Head> {
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
    while archive.pass()? {
        go_on(cancel)?;
    }
    Ok(head)
}

fn damaged(why: &str) -> Error {
    Error::new(Kind::Damaged, why)
}
