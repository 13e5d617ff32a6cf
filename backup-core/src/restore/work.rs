//! A restore at work: its plan, and the parts that it is made of.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::plan::Plan;
use super::source::Source;
use super::{Settings, parts};
use crate::component::{Part, Working};
use crate::event::Meter;
use crate::plan::{Journal, Phase, Step, in_phases};
use crate::{Context, Error, Kind, Result};

/// All that its steps need.
pub(super) struct Work {
    pub(super) plan: Plan,
    /// What is restored; a restore is undone without it.
    source: Option<Source>,
    parts: Vec<Arc<dyn Part>>,
    pub(super) meter: Arc<Meter>,
    pub(super) context: Context,
}

impl Work {
    /// Of components that were taken up.
    pub(super) fn new(plan: Plan, source: Option<Source>, parts: Vec<Arc<dyn Part>>, working: Working) -> Self {
        let Working { context, meter, .. } = working;
        meter.total.store(parts.iter().map(|part| part.work()).sum(), Relaxed);
        Self { plan, source, parts, meter, context }
    }

    /// Of a plan that stands in a journal; without `source` it can only be undone.
    pub(super) async fn reach(
        plan: Plan,
        source: Option<Source>,
        settings: &Settings,
        context: &Context,
    ) -> Result<Self> {
        let working = working(&plan.accept_missing, context);
        let parts = parts::take_up(&plan, source.as_ref(), settings, &working).await?;
        Ok(Self::new(plan, source, parts, working))
    }

    /// The steps, in order.
    pub(super) fn steps(&self) -> Vec<Box<dyn Step>> {
        in_phases(self.parts.iter().flat_map(|part| part.clone().steps()))
    }

    /// The parts that it is made of.
    pub(super) fn parts(&self) -> impl Iterator<Item = &dyn Part> {
        self.parts.iter().map(|part| &**part)
    }

    pub(super) fn source(&self) -> Result<&Source> {
        self.source.as_ref().ok_or_else(|| Error::new(Kind::Failed, "what is restored is not open"))
    }

    /// Nothing that was begun before may still come to light once it is looked at.
    pub(super) async fn settle(&self) -> Result<()> {
        for part in self.parts() {
            part.settle().await?;
        }
        Ok(())
    }

    /// Makes sure, before anything is undone, that all that stepped aside is there to come back.
    pub(super) async fn check_ways_back(&self, journal: &Journal) -> Result<()> {
        for part in self.parts() {
            part.check_way_back(journal).await?;
        }
        Ok(())
    }

    /// One sentence for each thing that a rollback drops, removes or puts back, what is live first.
    pub(super) fn way_back(&self, journal: &Journal) -> Vec<String> {
        let mut all: Vec<(Phase, String)> = self.parts().flat_map(|part| part.way_back(journal)).collect();
        all.sort_by_key(|(phase, _)| std::cmp::Reverse(*phase));
        all.into_iter().map(|(_, sentence)| sentence).collect()
    }

    /// Whose sessions a rollback ends.
    pub(super) async fn ends(&self, journal: &Journal) -> Result<Vec<String>> {
        let mut ends = Vec::new();
        for part in self.parts() {
            ends.extend(part.ends(journal).await?);
        }
        Ok(ends)
    }
}

/// What all parts of a restore work with; `accepted` are objects without which databases may come back.
pub(super) fn working(accepted: &[String], context: &Context) -> Working {
    Working { context: context.clone(), meter: Arc::default(), accepted: accepted.to_vec() }
}
