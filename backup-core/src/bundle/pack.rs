//! Compression on all cores: content goes in, blocks come out in the order that the caller awaits them.

use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::available_parallelism;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::block::{CONTENT, Encoder};

/// A block that is being compressed.
pub type Packed = oneshot::Receiver<Vec<u8>>;

/// Number of cores that this process may use.
pub fn cores() -> usize {
    available_parallelism().map_or(1, NonZero::get)
}

/// A bounded pool of encoders. Cheap to clone.
#[derive(Clone)]
pub struct Packer {
    slots: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Slot>>>,
    level: u32,
    /// The runtime that the pool was made in, since a caller's own may end before its blocks are packed.
    runtime: Handle,
}

struct Slot {
    encoder: Encoder,
    content: Vec<u8>,
}

impl Packer {
    /// A pool at `level` that compresses as many blocks at once as there are cores, with two more waiting.
    pub fn new(level: u32) -> Self {
        let slots = Arc::new(Semaphore::new(cores() + 2));
        Self { slots, idle: Arc::default(), level, runtime: Handle::current() }
    }

    /// Takes `content`, at most one block of it, and leaves an empty buffer in its place.
    ///
    /// Waits while every slot is taken, which bounds memory.
    pub async fn pack(&self, content: &mut Vec<u8>) -> Packed {
        // The semaphore is never closed, so the permit is always there; dropping `None` is harmless.
        let permit: Option<OwnedSemaphorePermit> = self.slots.clone().acquire_owned().await.ok();
        let mut slot = self.take();
        std::mem::swap(&mut slot.content, content);
        let (sender, packed) = oneshot::channel();
        let idle = self.idle.clone();
        self.runtime.spawn_blocking(move || {
            let block = slot.encoder.encode(&slot.content);
            slot.content.clear();
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(slot);
            drop(permit);
            // Nobody waits for it any more when the backup was given up.
            let _ = sender.send(block);
        });
        packed
    }

    fn take(&self) -> Slot {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.unwrap_or_else(|| Slot { encoder: Encoder::new(self.level), content: Vec::with_capacity(CONTENT) })
    }
}
