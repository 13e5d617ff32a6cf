//! Other components than databases and files: which of a bundle's come back, and what their steps are made of.

use std::path::Path;
use std::sync::Arc;

use super::plan::{Plan, PlannedPart};
use super::source::Source;
use super::{Request, Settings};
use crate::bundle::manifest::Section;
use crate::component::{Component, Fitted, Look, Part, Room, Stored, Throwaway, Working};
use crate::finding::{Finding, Findings};
use crate::names::ComponentId;
use crate::{Context, Error, ErrorContext, Kind, Result};

/// Looks at every component of a bundle that is asked for; none where one can't come back, which is among the findings then.
pub(super) async fn look(
    source: &Source,
    request: &Request,
    settings: &Settings,
    moment: &str,
    (context, findings): (&Context, &mut Findings),
) -> Option<Vec<PlannedPart>> {
    let (mut parts, mut all_fit) = (Vec::new(), true);
    for section in source.said().components.iter().filter(|_| request.parts_wanted()) {
        let id = &section.id;
        context.phase(format!("check {id}"));
        let component = findings.keep("component", id.as_str(), component(section, settings));
        let fitted = match component.zip(source.stored(section)) {
            Some((component, stored)) => component.fit(&stored, moment, &mut Look { context, findings }).await,
            None => None,
        };
        let Some(fitted) = fitted else {
            all_fit = false;
            continue;
        };
        let message = if fitted.aside.is_empty() { "it is brought back" } else { "what is there now steps aside" };
        findings.all.push(Finding::info("component", id.as_str(), message));
        parts.push(PlannedPart::of(section, fitted));
    }
    all_fit.then_some(parts)
}

/// The component of this machine that a section is of.
fn component(section: &Section, settings: &Settings) -> Result<Arc<dyn Component>> {
    let Section { id, kind, .. } = section;
    settings.components.kinds().named(kind)?.check_section(section)?;
    configured(id, kind, settings)
}

fn configured(id: &ComponentId, kind: &str, settings: &Settings) -> Result<Arc<dyn Component>> {
    let unknown = || {
        let error = Error::new(Kind::NotFound, format!("restore {id}: nothing says where it is on this machine"));
        error.hint(format!("add [[component]] with kind = \"{kind}\" and id = \"{id}\" to the settings, or leave it out with --only databases or --only files"))
    };
    let component = settings.components.get(id).ok_or_else(unknown)?;
    if component.kind() != kind {
        let of = component.kind();
        return Err(Error::new(
            Kind::Refused,
            format!("restore {id}: the bundle has {kind}, and the settings say {of}"),
        )
        .hint("correct kind or id below [[component]] in the settings"));
    }
    Ok(component.clone())
}

/// What a restore does of a plan's components; without a source that can only be undone.
pub(super) async fn take_up(
    plan: &Plan,
    source: Option<&Source>,
    settings: &Settings,
    working: &Working,
) -> Result<Vec<Arc<dyn Part>>> {
    let mut parts = Vec::new();
    for part in &plan.parts {
        let stored = source.and_then(|source| {
            let section = source.said().components.iter().find(|section| section.id == part.id)?;
            source.stored(section)
        });
        parts.push(configured(&part.id, &part.kind, settings)?.take_up(&part.recipe, stored, working).await?);
    }
    Ok(parts)
}

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
        for section in source.said().components {
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
        let fitted = component.fit(&stored, moment, &mut look).await;
        let fitted = match (findings.refusal(), fitted) {
            (None, Some(fitted)) => fitted,
            (error, _) => {
                return Err(error.unwrap_or_else(|| Error::new(Kind::Failed, "look at the throw-away server")));
            }
        };
        self.parts.push(component.take_up(&fitted.recipe, Some(stored), working).await?);
        self.planned.push(PlannedPart::of(section, fitted));
        Ok(())
    }
}

impl PlannedPart {
    fn of(section: &Section, Fitted { recipe, brings, aside, live }: Fitted) -> Self {
        Self { id: section.id.clone(), kind: section.kind.clone(), brings, aside, live, recipe }
    }
}

impl Source {
    /// What it has of a component; a pair has none.
    pub(super) fn stored(&self, section: &Section) -> Option<Stored> {
        match self {
            Self::Bundle(bundle) => Some(Stored::new(section.clone(), bundle.clone())),
            Self::Pair(_) => None,
        }
    }
}
