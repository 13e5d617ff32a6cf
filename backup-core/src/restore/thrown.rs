//! Components of a bundle at servers that are thrown away, for a drill.

use std::path::Path;
use std::sync::Arc;

use super::Settings;
use super::plan::PlannedPart;
use super::source::Source;
use crate::bundle::manifest::Section;
use crate::component::{Look, Part, Restores, Room, Stored, Throwaway, Working};
use crate::finding::{Finding, Findings};
use crate::{Error, ErrorContext, Kind, Result};

/// Components of a bundle at servers that are thrown away.
pub(super) struct Thrown {
    pub(super) planned: Vec<PlannedPart>,
    pub(super) parts: Vec<Arc<dyn Part>>,
    pub(super) unproved: Vec<Finding>,
    /// What ends the servers.
    pub(super) guards: Vec<Box<dyn Send + Sync>>,
}

impl Thrown {
    /// Makes them, each in a directory of its own below `place`.
    ///
    /// # Errors
    /// Where a kind is not known, or can't be had on this machine. That says nothing of the bundle.
    pub(super) async fn make(
        source: &Source,
        place: &Path,
        settings: &Settings,
        moment: &str,
        working: &Working,
    ) -> Result<Self> {
        let mut made = Self { planned: Vec::new(), parts: Vec::new(), unproved: Vec::new(), guards: Vec::new() };
        for section in &source.sections {
            let Some(stored) = source.stored(section) else { continue };
            let doing = || format!("drill {}", section.id);
            made.one((section, stored), (place, settings), moment, working).await.context(doing)?;
        }
        Ok(made)
    }

    async fn one(
        &mut self,
        (section, stored): (&Section, Stored),
        (place, settings): (&Path, &Settings),
        moment: &str,
        working: &Working,
    ) -> Result<()> {
        let kind = settings.components.kinds().named(&section.kind)?;
        kind.check_section(section)?;
        working.context.phase(format!("start a throw-away {}", section.kind));
        let place = place.join(format!("component-{}", self.planned.len()));
        std::fs::create_dir(&place).context(|| format!("make {}", place.display()))?;
        let room = Room { place: &place, limits: &settings.drill, context: &working.context };
        let Throwaway { component, guard, unproved } = kind.throwaway(&stored, &room).await?;
        self.guards.push(guard);
        self.unproved.extend(unproved);
        let mut findings = Findings::default();
        let mut look = Look { context: &working.context, findings: &mut findings };
        let component = component.restoring(Some(stored));
        component.reach(&mut look).await;
        let planned = fitted(&*component, moment, &mut look).await?;
        self.parts.push(component.take_up(&planned.recipe, working).await?);
        self.planned.push(planned);
        Ok(())
    }
}

/// How a component comes back at a server that is thrown away.
///
/// # Errors
/// Where it does not fit there.
pub(super) async fn fitted(component: &dyn Restores, moment: &str, look: &mut Look<'_>) -> Result<PlannedPart> {
    let fitted = component.fit(moment, look).await;
    match (look.findings.refusal(), fitted) {
        (None, Some(fitted)) => Ok(PlannedPart::of(component, fitted)),
        (error, _) => Err(error.unwrap_or_else(|| Error::new(Kind::Failed, "look at the throw-away server"))),
    }
}
