//! What a restore does of one component.

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value};

use crate::finding::Finding;
use crate::plan::{Journal, Phase, Phased};
use crate::{Context, Result};

/// A component's share of a restore, with all that its steps need: its server is reached, its bundle is open. It is made anew from the
/// journal when a restore is resumed; for a rollback and a clean-up there is no bundle.
pub trait Part: Send + Sync {
    /// Its steps, those of a phase in their order.
    fn steps(self: Arc<Self>) -> Vec<Phased>;

    /// What there is to do, in the unit that its steps count in the meter.
    fn work(&self) -> u64 {
        0
    }

    /// Ends what an earlier run that was killed may still have at work, so that nothing of it comes to light later.
    ///
    /// # Errors
    /// Where it does not end.
    fn settle(&self) -> BoxFuture<'_, Result<()>> {
        async { Ok(()) }.boxed()
    }

    /// Makes sure, before any step is undone, that all that stepped aside is there to come back. The journal says what has happened.
    ///
    /// # Errors
    /// [`crate::Kind::Refused`] where something is gone.
    fn check_way_back<'a>(&'a self, journal: &'a Journal) -> BoxFuture<'a, Result<()>>;

    /// One sentence for each thing that undoing its steps drops, removes or puts back, with the phase that is undone by it, from what
    /// the journal says has happened.
    fn way_back(&self, journal: &Journal) -> Vec<(Phase, String)>;

    /// What is to be said of what is live where the restore stopped half way; none where it is as it was.
    fn live(&self, _: &Journal) -> Option<String> {
        None
    }

    /// Whose sessions end when its steps are undone, for people; none where nobody's do.
    ///
    /// # Errors
    /// Where that can't be seen.
    fn ends<'a>(&'a self, _: &'a Journal) -> BoxFuture<'a, Result<Option<String>>> {
        async { Ok(None) }.boxed()
    }

    /// What it has brought, looked at once more after the last step. What is not as it should be is a finding: the work is done.
    fn brought<'a>(&'a self, journal: &'a Journal) -> BoxFuture<'a, Brought>;

    /// Drops what stepped aside; there is no way back afterwards.
    ///
    /// # Errors
    /// The first failure; it is called again then.
    fn clean_up<'a>(&'a self, context: &'a Context) -> BoxFuture<'a, Result<()>>;
}

/// What a restore has brought of a component.
#[derive(Debug, Default)]
pub struct Brought {
    /// Each thing, for people.
    pub items: Vec<Item>,
    /// What else people are told, a sentence each: `roles made: shop`.
    pub also: Vec<String>,
    /// The same for programs: fields of the restore's result.
    pub fields: Map<String, Value>,
    /// Where the `cluster.conf` is now, if it is among that.
    pub cluster_conf: Option<PathBuf>,
    /// What is not as it should be.
    pub findings: Vec<Finding>,
}

/// One thing that a restore has brought.
#[derive(Debug)]
pub struct Item {
    /// What it is: `database orchestrator`, `/etc/orchestrator`.
    pub name: String,
    /// How much it is.
    pub amount: Amount,
    /// Where what was there before is now, if there was something.
    pub before: Option<String>,
}

/// How much something is.
#[derive(Debug)]
pub enum Amount {
    /// That says nothing of it.
    None,
    /// It was counted.
    Counted {
        /// How many.
        count: u64,
        /// One of them: `row`.
        unit: &'static str,
        /// How that was counted.
        how: &'static str,
    },
    /// It was not, in these words.
    Unknown(&'static str),
}
