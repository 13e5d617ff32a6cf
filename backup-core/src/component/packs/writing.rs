//! Packs as they are written, one after another, with the index beside them.

use super::line::{Begin, FORMAT, Line, PackedTree, json};
use super::order::Order;
use super::pack::{self, Entry};
use super::proof::Proof;
use super::{END, PACK, index_path, pack_path};
use crate::bundle::header::Head;
use crate::bundle::path;
use crate::bundle::writer::Growing;
use crate::component::Out;
use crate::component::ready::Parts;
use crate::{Error, Kind, Result};

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
        let (order, packed) = (Order::new(root), PackedTree::default());
        let mut packs = Packs { out: self, path: path.into(), index, pack: None, order, packed, is_cut_off: false };
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
    packed: PackedTree,
    /// Whether an entry was begun that has no line: after a failure, or where its caller was stopped.
    is_cut_off: bool,
}

impl Packs<'_> {
    /// Adds an entry of exactly `head.size` bytes, as [`crate::bundle::writer::Writer::stream`] does. Entries come in the order of their
    /// paths, in which a slash sorts before all else, and each directory before what is in it.
    ///
    /// # Errors
    /// [`Kind::Refused`] where no tree has that entry there, or no reader takes it, after which others may be added. What `fill` returns, as
    /// [`Kind::Failed`] where that was refused too, or a failure to write: nothing may be added after it, and it can't be finished.
    pub async fn add<F>(&mut self, head: Head, fill: F) -> Result<()>
    where
        F: FnMut(&mut Vec<u8>, usize) -> Result<()> + Send,
    {
        self.check_whole()?;
        let entry = Entry::new(head)?;
        let doing = || format!("pack {}", path::to_text(&entry.head.path));
        self.order.take(&entry.head).map_err(|why| Error::new(Kind::Refused, doing()).because(why))?;
        self.is_cut_off = true;
        let added = self.entry(&entry, fill).await.map_err(|cause| {
            let kind = if cause.kind() == Kind::Refused { Kind::Failed } else { cause.kind() };
            Error::new(kind, doing()).because(cause)
        });
        let ((number, offset), proof) = added?;
        self.packed.entries += 1;
        self.packed.bytes = self.packed.bytes.saturating_add(entry.head.size);
        self.line(&Line::of(&entry.head, (number, offset), proof)).await?;
        self.is_cut_off = false;
        Ok(())
    }

    fn check_whole(&self) -> Result<()> {
        let why = "an entry of it was cut off before";
        if self.is_cut_off { Err(Error::new(Kind::Failed, format!("pack {}: {why}", self.path))) } else { Ok(()) }
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
    /// [`Kind::Refused`] where there is no entry; where an entry was cut off; a failure to write.
    pub async fn finish(mut self) -> Result<PackedTree> {
        self.check_whole()?;
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
