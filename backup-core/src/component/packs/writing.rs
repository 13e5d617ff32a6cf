//! Packs as they are written, one after another, with the index beside them.

use super::line::{Begin, FORMAT, Line, Packed, json};
use super::order::Order;
use super::pack::{self, Entry};
use super::proof::Proof;
use super::{END, PACK, index_path, pack_path};
use crate::bundle::header::Head;
use crate::bundle::path;
use crate::bundle::writer::Growing;
use crate::component::Out;
use crate::component::ready::Parts;
use crate::{Error, ErrorContext, Kind, Result};

impl Out {
    /// Begins to pack a tree of files whose own path on the machine is `root`, without the first slash: into `PATH.000001.tar` and so
    /// on, with an index beside them. Two packs wait in memory at most; a file larger than a pack has one of its own and is streamed.
    ///
    /// # Errors
    /// [`Kind::Usage`] where that is no path of a tree; a failure to write.
    pub async fn packs(&self, path: &str, root: &[u8]) -> Result<Packs<'_>> {
        if let Some(why) = path::refuse(root) {
            return Err(Error::new(Kind::Usage, format!("pack {}: {why}", path::to_text(root))));
        }
        let index = self.growing_parts(&index_path(path));
        let (order, packed) = (Order::new(root), Packed::default());
        let mut packs = Packs { out: self, path: path.into(), index, pack: None, order, packed };
        packs.line(&Begin { format: FORMAT, root: path::to_text(root) }).await?;
        Ok(packs)
    }
}

/// The way into packs, for one entry after another.
pub struct Packs<'o> {
    out: &'o Out,
    path: String,
    index: Parts<'o>,
    /// The one that waits in memory, which is the last of those that are counted.
    pack: Option<Growing>,
    order: Order,
    packed: Packed,
}

impl Packs<'_> {
    /// Adds an entry of exactly `head.size` bytes, as [`crate::bundle::writer::Writer::stream`] does. Entries come in the order of their
    /// paths, in which a slash sorts before all else, and each directory before what is in it.
    ///
    /// # Errors
    /// [`Kind::Refused`] where no tree has that entry there, after which others may be added; what `fill` returns, or a failure to write,
    /// after which nothing may be.
    pub async fn add<F>(&mut self, head: Head, fill: F) -> Result<()>
    where
        F: FnMut(&mut Vec<u8>, usize) -> Result<()> + Send,
    {
        let doing = |head: &Head| format!("pack {}", path::to_text(&head.path));
        self.order.take(&head).map_err(|why| Error::new(Kind::Refused, doing(&head)).because(why))?;
        let entry = Entry::new(head)?;
        let added = self.entry(&entry, fill).await;
        let ((number, offset), proof) = added.context(|| doing(&entry.head))?;
        self.packed.entries += 1;
        self.packed.bytes = self.packed.bytes.saturating_add(entry.head.size);
        self.line(&Line::of(&entry.head, (number, offset), proof)).await
    }

    async fn entry<F>(&mut self, entry: &Entry, fill: F) -> Result<((u64, u64), Proof)>
    where
        F: FnMut(&mut Vec<u8>, usize) -> Result<()> + Send,
    {
        if entry.is_large() {
            self.hand_over().await?;
            self.packed.packs += 1;
            let number = self.packed.packs;
            let proof = pack::stream(self.out, &pack_path(&self.path, number), entry, fill).await?;
            return Ok(((number, 0), proof));
        }
        let length = entry.length().unwrap_or(PACK);
        if self.pack.as_ref().is_some_and(|pack| pack.size() + length + END.len() as u64 > PACK) {
            self.hand_over().await?;
        }
        let (out, path, packed) = (self.out, &self.path, &mut self.packed);
        let pack = self.pack.get_or_insert_with(|| {
            packed.packs += 1;
            let path = out.path(&pack_path(path, packed.packs));
            out.writer().growing(out.writer().private_head(&path))
        });
        let offset = pack.size();
        Ok(((packed.packs, offset), pack::append(pack, entry, fill).await?))
    }

    /// Ends the pack that waits in memory.
    async fn hand_over(&mut self) -> Result<()> {
        let Some(mut pack) = self.pack.take() else { return Ok(()) };
        pack.write(&END).await;
        pack.finish(None).await
    }

    async fn line(&mut self, line: &(impl serde::Serialize + Sync)) -> Result<()> {
        self.index.write(&json(line)?).await
    }

    /// Ends packs and index.
    ///
    /// # Errors
    /// [`Kind::Refused`] where there is no entry; a failure to write.
    pub async fn finish(mut self) -> Result<Packed> {
        if self.packed.entries == 0 {
            return Err(Error::new(Kind::Refused, format!("pack {}: there is nothing of it", self.path)));
        }
        self.hand_over().await?;
        let packed = self.packed;
        self.line(&packed).await?;
        self.index.finish().await?;
        Ok(packed)
    }
}
