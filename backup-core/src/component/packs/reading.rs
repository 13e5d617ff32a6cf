//! Packs and index read together: each entry is held against its line, its content against its digests.

use std::io::Read;

use tokio_util::sync::CancellationToken;

use super::PACK;
use super::archive::Archive;
use super::index::{Index, Said};
use super::line::{Line, PackedTree};
use super::order::{Order, sorted};
use super::proof::{Proof, Proving};
use crate::bundle::header::Head;
use crate::bundle::path;
use crate::context::go_on;
use crate::{Error, ErrorContext, Kind, Result};

/// Where packs and index are.
pub(super) trait Source {
    /// The index, from its beginning.
    fn index(&self) -> Result<Box<dyn Read + '_>>;
    /// How many packs there are.
    fn packs(&self) -> u64;
    /// A pack, by its number from 1 on, from its beginning.
    fn pack(&self, number: u64) -> Result<Box<dyn Read + '_>>;
}

/// What is done with entries. What it was given of a file is to be believed once that has ended well.
pub(super) trait Visitor {
    /// An entry begins, in its place and as its line says.
    fn begin(&mut self, head: &Head) -> Result<()>;
    /// The next part of its content as it is stored.
    fn content(&mut self, content: &[u8]) -> Result<()>;
    /// Its content agrees with its digests.
    fn end(&mut self, head: &Head) -> Result<()>;
    /// Something is damaged: the error, to give up, or nothing, to go on with what can be read.
    fn damaged(&mut self, error: Error) -> Result<()>;
}

/// Reads all of it. The visitor is told of damage in packs; damage of the index, without which nothing is known, ends the reading.
///
/// # Errors
/// [`Kind::Damaged`]; what the visitor returns.
pub(super) fn read(source: &impl Source, visitor: &mut impl Visitor, cancel: &CancellationToken) -> Result<PackedTree> {
    let mut index = Index::open(source.index()?)?;
    let (mut order, mut packed) = (Order::new(&index.root), PackedTree::default());
    let mut pack = Pack { source, cancel, number: 0, entries: 0, archive: None };
    loop {
        let line = match index.next()? {
            Said::Entry(line) => line,
            Said::End(end) => {
                pack.close(visitor)?;
                packed.packs = pack.number;
                let all = end == packed && packed.packs == source.packs() && packed.entries > 0;
                let why = "the number of entries, bytes or packs is not the one that the index has at its end";
                return if all { Ok(packed) } else { Err(Error::new(Kind::Damaged, why)) };
            }
        };
        let refused = |why: &str| Error::new(Kind::Damaged, format!("entry {}: {why}", line.path));
        order.take(&line.head().map_err(refused)?).map_err(|why| refused(&why))?;
        packed.entries += 1;
        packed.bytes = packed.bytes.checked_add(line.size).ok_or_else(|| refused("an absurd size"))?;
        if line.pack != pack.number {
            pack.close(visitor)?;
            pack.open(&line).map_err(refused).and_then(|opened| opened.or_else(|error| visitor.damaged(error)))?;
        }
        pack.entry(&line, visitor)?;
    }
}

/// The pack that is being read.
struct Pack<'r, S> {
    source: &'r S,
    cancel: &'r CancellationToken,
    number: u64,
    /// How many of its entries were read.
    entries: u64,
    /// None where it can't be read any further.
    archive: Option<Archive<Box<dyn Read + 'r>>>,
}

impl<'r, S: Source> Pack<'r, S> {
    /// Opens the next pack for its first entry. The outer error is of the index, the inner one of the pack.
    fn open(&mut self, line: &Line) -> Result<Result<()>, &'static str> {
        if line.pack != self.number + 1 || line.offset != 0 {
            return Err("it is not where the next entry is");
        }
        (self.number, self.entries) = (line.pack, 0);
        if line.pack > self.source.packs() {
            return Ok(Err(Error::new(Kind::Damaged, format!("pack {} is missing", line.pack))));
        }
        let source = self.source;
        Ok(source.pack(line.pack).map(|pack| self.archive = Some(Archive::new(pack))))
    }

    /// Reads an entry. Where the pack has another one there, it is read no further.
    fn entry(&mut self, line: &Line, visitor: &mut impl Visitor) -> Result<()> {
        let Some(mut archive) = self.archive.take() else { return Ok(()) };
        go_on(self.cancel)?;
        self.entries += 1;
        let doing = || format!("pack {}: entry {}", self.number, line.path);
        match self.entry_of(&mut archive, line, visitor) {
            Ok(agrees) => {
                self.archive = Some(archive);
                match agrees {
                    true => Ok(()),
                    false => {
                        let why = "its content is not what its digest was made of";
                        Err(Error::new(Kind::Damaged, why)).context(doing).or_else(|error| visitor.damaged(error))
                    }
                }
            }
            Err(error) if error.kind() == Kind::Damaged => {
                Err(error).context(doing).or_else(|error| visitor.damaged(error))
            }
            Err(error) => Err(error).context(doing),
        }
    }

    /// Whether the content agrees.
    fn entry_of(
        &self,
        archive: &mut Archive<Box<dyn Read + 'r>>,
        line: &Line,
        visitor: &mut impl Visitor,
    ) -> Result<bool> {
        let at = archive.at;
        let head = archive.next()?.ok_or_else(|| Error::new(Kind::Damaged, "the pack does not have it"))?;
        let path = path::from_text(&line.path).unwrap_or_default();
        let why = if head.path != path {
            match sorted(&head.path, &path) {
                true => format!("{} stands there, which the index does not have", path::to_text(&head.path)),
                false => "the pack does not have it".into(),
            }
        } else if at != line.offset || !line.agrees(&head) {
            "its header is not what the index says of it".into()
        } else {
            visitor.begin(&head)?;
            let agrees = proof(archive, &head, |content| visitor.content(content), self.cancel)? == line.proof();
            return if agrees { visitor.end(&head).map(|()| true) } else { Ok(false) };
        };
        Err(Error::new(Kind::Damaged, why))
    }

    /// Makes sure that nothing more is in the pack, and no more than a pack has.
    fn close(&mut self, visitor: &mut impl Visitor) -> Result<()> {
        let Some(mut archive) = self.archive.take() else { return Ok(()) };
        let more = match archive.next() {
            Ok(None) if archive.at <= PACK || self.entries == 1 => return Ok(()),
            Ok(None) => Error::new(Kind::Damaged, format!("it has more than {PACK} bytes and one entry")),
            Ok(Some(head)) => {
                let path = path::to_text(&head.path);
                Error::new(Kind::Damaged, format!("entry {path}: the index does not have it"))
            }
            Err(error) => error,
        };
        let is_damage = more.kind() == Kind::Damaged;
        let error = Err(more).context(|| format!("pack {}", self.number));
        if is_damage { error.or_else(|error| visitor.damaged(error)) } else { error }
    }
}

/// Reads an entry's content to its end, and comes to what its line should say of it.
///
/// # Errors
/// [`Kind::Damaged`] where it is malformed; what `take` returns.
pub(super) fn proof<R: Read>(
    archive: &mut Archive<R>,
    head: &Head,
    mut take: impl FnMut(&[u8]) -> Result<()>,
    cancel: &CancellationToken,
) -> Result<Proof> {
    let mut proving = Proving::of(head);
    while let Some(content) = archive.content(proving.step())? {
        go_on(cancel)?;
        proving.take(content)?;
        take(content)?;
    }
    proving.finish()
}
