//! A pack as it is written: entries that come whole or not at all, each with what proves it.

use super::proof::{Proof, Proving};
use super::{END, PACK, STEP};
use crate::bundle::block::CONTENT;
use crate::bundle::header::{Form, Head, RECORD};
use crate::bundle::path;
use crate::bundle::writer::Growing;
use crate::component::Out;
use crate::{Error, Kind, Result};

/// An entry as it will stand in a pack.
pub(super) struct Entry {
    pub(super) head: Head,
    pub(super) header: Vec<u8>,
}

impl Entry {
    /// With this header.
    ///
    /// # Errors
    /// [`Kind::Refused`] where the header is longer than a reader takes.
    pub(super) fn new(head: Head) -> Result<Self> {
        let header = head.encode(Form::Nearest);
        if header.len() > CONTENT {
            let path = path::to_text(&head.path);
            return Err(
                Error::new(Kind::Refused, format!("pack {path}")).because("its attributes take more than 1 MiB")
            );
        }
        Ok(Self { head, header })
    }

    /// What it takes in a pack, with zeros after its content; none where there is no such number.
    pub(super) fn length(&self) -> Option<u64> {
        self.head.size.checked_next_multiple_of(RECORD as u64)?.checked_add(self.header.len() as u64)
    }

    /// Whether it needs a pack of its own.
    pub(super) fn is_large(&self) -> bool {
        self.length().is_none_or(|length| length + END.len() as u64 > PACK)
    }
}

/// Has an empty buffer filled with so much content.
fn fill_with<F>(fill: &mut F, buffer: &mut Vec<u8>, wanted: usize) -> Result<()>
where
    F: FnMut(&mut Vec<u8>, usize) -> Result<()>,
{
    fill(buffer, wanted)?;
    if buffer.len() == wanted {
        return Ok(());
    }
    Err(Error::new(Kind::Failed, "there is not as much content as was said"))
}

/// Appends an entry to a pack that waits in memory.
pub(super) async fn append<F>(pack: &mut Growing, entry: &Entry, mut fill: F) -> Result<Proof>
where
    F: FnMut(&mut Vec<u8>, usize) -> Result<()> + Send,
{
    let (mut proving, mut left) = (Proving::of(&entry.head), entry.head.size);
    pack.write(&entry.header).await;
    let mut buffer = Vec::new();
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(STEP).min(STEP);
        fill_with(&mut fill, &mut buffer, wanted)?;
        proving.take(&buffer)?;
        left -= wanted as u64;
        if left == 0 {
            buffer.resize(buffer.len().next_multiple_of(RECORD), 0);
        }
        pack.write(&buffer).await;
        buffer.clear();
    }
    proving.finish()
}

/// Writes a pack that has one entry alone, as it comes.
pub(super) async fn stream<F>(out: &Out, path: &str, entry: &Entry, mut fill: F) -> Result<Proof>
where
    F: FnMut(&mut Vec<u8>, usize) -> Result<()> + Send,
{
    let absurd = || Error::new(Kind::Failed, format!("pack {}: it is too large", path::to_text(&entry.head.path)));
    let length = entry.length().and_then(|length| length.checked_add(END.len() as u64)).ok_or_else(absurd)?;
    let (mut proving, mut left) = (Proving::of(&entry.head), entry.head.size);
    let (mut header, mut part) = (entry.header.as_slice(), Vec::new());
    let pack = |buffer: &mut Vec<u8>, wanted: usize| {
        let (now, later) = header.split_at(header.len().min(wanted));
        buffer.extend_from_slice(now);
        header = later;
        let content = usize::try_from(left).unwrap_or(wanted).min(wanted - now.len());
        if content > 0 {
            part.clear();
            fill_with(&mut fill, &mut part, content)?;
            proving.take(&part)?;
            buffer.extend_from_slice(&part);
            left -= content as u64;
        }
        buffer.resize(wanted, 0);
        Ok(())
    };
    out.stream(path, length, pack).await?;
    proving.finish()
}
