//! What the fake changes, and how a run over it is killed.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;

use crate::Result;
use crate::event::{Event, Observer};

/// What there is outside of the program. It outlives a run that is killed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Outside {
    /// What is live.
    pub(super) live: String,
    pub(super) running: bool,
    /// What stepped aside.
    pub(super) before: Option<String>,
    /// What was sent beside what is live: each has a number, which only the server gives.
    pub(super) uploads: Vec<(u64, String)>,
    pub(super) numbers: u64,
}

impl Outside {
    /// Puts another text into the place of what is live, which only a server that is stopped takes.
    pub(super) fn put(&mut self, text: String) {
        if !self.running {
            self.live = text;
        }
    }
}

/// The same, shared; every change may be the last one of a run.
#[derive(Clone, Default)]
pub(super) struct World {
    pub(super) outside: Arc<Mutex<Outside>>,
    pub(super) fuse: Fuse,
    /// Whether only the run is killed, and not the machine.
    pub(super) stays_down: bool,
}

/// Ends a run when it is burnt down.
#[derive(Clone, Default)]
pub(super) struct Fuse(Arc<Mutex<Option<usize>>>);

impl Fuse {
    fn set(&self, length: Option<usize>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = length;
    }

    /// Unwinds as a power cut does: nothing else is done.
    pub(super) fn burn(&self) {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *left = left.map(|left| left.saturating_sub(1));
        let ends = *left == Some(0);
        drop(left);
        if ends {
            std::panic::resume_unwind(Box::new("killed"));
        }
    }
}

impl World {
    pub(super) fn new(live: &str) -> Self {
        let outside = Outside { live: live.into(), running: true, ..Outside::default() };
        Self { outside: Arc::new(Mutex::new(outside)), ..Self::default() }
    }

    pub(super) fn outside(&self) -> MutexGuard<'_, Outside> {
        self.outside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is outside; the run may end before, and after.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Outside) -> T) -> T {
        self.fuse.burn();
        let changed = change(&mut self.outside());
        self.fuse.burn();
        changed
    }
}

/// Ends a run right after a mark is noted.
pub(super) struct AtMarks(pub(super) Fuse);

impl Observer for AtMarks {
    fn event(&self, event: &Event) {
        if matches!(event, Event::Step { .. }) {
            self.0.burn();
        }
    }
}

/// Runs something until it has changed or noted so much, as a process that is killed then; whether it came to its end before.
pub(super) async fn killed_in(world: &World, length: usize, run: impl Future<Output = Result<()>>) -> bool {
    world.fuse.set(Some(length));
    let ended = AssertUnwindSafe(run).catch_unwind().await;
    world.fuse.set(None);
    if ended.is_err() && !world.stays_down {
        // A power cut: what runs by itself runs again.
        world.outside().running = true;
    }
    ended.map(|ended| ended.expect("nothing goes wrong")).is_ok()
}
