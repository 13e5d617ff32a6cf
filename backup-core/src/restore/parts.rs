//! The components of a restore: which come back, how, and what their steps are made of.

use std::path::PathBuf;
use std::sync::Arc;

use super::plan::{Plan, PlannedPart};
use super::source::Source;
use super::{Request, Settings};
use crate::bundle::manifest::Section;
use crate::component::postgres::{Recipe, Way, default_jobs, without_source};
use crate::component::{Component, Fitted, Look, Part, Restores, Working, files};
use crate::finding::Finding;
use crate::names::ComponentId;
use crate::{Error, Kind, Result};

/// A component that may come back.
pub(super) struct Candidate {
    /// None where it can't; why is among the findings.
    pub(super) component: Option<Arc<dyn Restores>>,
    /// Whether it is asked for.
    pub(super) is_wanted: bool,
    /// What the manifest says of it, where that has a section of it.
    section: Option<Section>,
}

/// All that may come back, in order. `proved` is whether somebody known made what is restored, `unfinished` a restore that is not ended.
pub(super) fn candidates(
    source: Option<&Source>,
    (request, proved): (&Request, bool),
    settings: &Settings,
    unfinished: Option<&Plan>,
    look: &mut Look<'_>,
) -> Vec<Candidate> {
    let way = way(settings, request.jobs.or(settings.jobs).unwrap_or_else(default_jobs));
    let own = unfinished.and_then(|plan| plan.recipe::<Recipe>(ComponentId::POSTGRES)).map(|recipe| recipe.shadows());
    let (asked, own) = (request.of_databases(proved), own.unwrap_or_default());
    let server = match source {
        Some(source) => source.databases.restoring(way, asked, own),
        None => without_source(request.kind_of_databases(), way, asked, own),
    };
    let has_databases = source.is_none_or(|source| source.databases.has_databases());
    let wants_databases = request.databases_wanted() && (has_databases || !request.databases.is_empty());
    let first = |component, is_wanted| Candidate { component: Some(component), is_wanted, section: None };
    let mut all = vec![first(server, wants_databases)];
    let Some(source) = source else { return all };
    let asked = request.of_files(settings.cluster_conf.as_deref());
    let files = files::Restoring::new(source.name.clone(), asked, Some(source.files.clone()));
    all.push(first(Arc::new(files), request.files_wanted()));
    for section in source.sections.iter().filter(|_| request.parts_wanted()) {
        let component = look.findings.keep("component", section.id.as_str(), component(section, settings));
        let component = component.map(|component| component.restoring(source.stored(section)));
        all.push(Candidate { component, is_wanted: true, section: Some(section.clone()) });
    }
    all
}

/// How PostgreSQL is reached.
pub(super) fn way(settings: &Settings, jobs: usize) -> Way {
    Way { connection: settings.connection.clone(), bin_dir: settings.bin_dir.clone(), jobs }
}

/// What was decided of all that come back.
#[derive(Default)]
pub(super) struct Chosen {
    /// Each with its component.
    pub(super) parts: Vec<(PlannedPart, Arc<dyn Restores>)>,
    /// Whether all that is asked for fits.
    pub(super) all_fit: bool,
    /// Whether something that lives is changed.
    pub(super) lives: bool,
    /// Files and directories that get others in their place.
    pub(super) places: Vec<PathBuf>,
    /// Servers that something is swapped on.
    pub(super) servers: Vec<String>,
    /// Whose sessions end then.
    pub(super) ends: Vec<String>,
}

impl Chosen {
    /// Looks at all that are asked for.
    pub(super) async fn look(candidates: &[Candidate], moment: &str, look: &mut Look<'_>) -> Self {
        let mut chosen = Self { all_fit: true, ..Self::default() };
        for candidate in candidates.iter().filter(|candidate| candidate.is_wanted) {
            chosen.one(candidate, moment, look).await;
        }
        chosen
    }

    async fn one(&mut self, candidate: &Candidate, moment: &str, look: &mut Look<'_>) {
        let Some(component) = &candidate.component else {
            (self.all_fit, self.lives) = (false, true);
            return;
        };
        if candidate.section.is_some() {
            look.context.phase(format!("check {}", component.id()));
        }
        let fitted = component.fit(moment, look).await;
        self.lives |= component.changes_live(fitted.as_ref());
        let Some(fitted) = fitted else {
            self.all_fit = false;
            return;
        };
        // What the first format has says more than that itself.
        if candidate.section.is_some() {
            let message = if fitted.aside.is_empty() { "it is brought back" } else { "what is there now steps aside" };
            look.findings.all.push(Finding::info("component", component.id().as_str(), message));
        }
        self.places.extend(fitted.places.iter().cloned());
        self.servers.extend(fitted.server.clone());
        self.ends.extend(fitted.ends.clone());
        if !fitted.brings.is_empty() {
            self.parts.push((PlannedPart::of(&**component, fitted), component.clone()));
        }
    }
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
        let component = planned(part, plan, source, settings)?;
        parts.push(component.take_up(&part.recipe, working).await?);
    }
    Ok(parts)
}

/// The component that a part of a plan is of.
fn planned(part: &PlannedPart, plan: &Plan, source: Option<&Source>, settings: &Settings) -> Result<Arc<dyn Restores>> {
    // What is asked for was decided when the restore began.
    let asked = Request { cluster_conf: plan.cluster_conf.clone(), ..Request::default() };
    match part.kind.as_str() {
        ComponentId::POSTGRES | ComponentId::POSTGRES_SCRIPT => {
            let (way, asked, own) = (way(settings, default_jobs()), asked.of_databases(false), Vec::new());
            Ok(match source {
                Some(source) => source.databases.restoring(way, asked, own),
                None => without_source(&part.kind, way, asked, own),
            })
        }
        ComponentId::FILES => {
            let files = source.map(|source| source.files.clone());
            Ok(Arc::new(files::Restoring::new(plan.bundle.clone(), asked.of_files(None), files)))
        }
        kind => {
            let stored = source.and_then(|source| {
                let section = source.sections.iter().find(|section| section.id == part.id)?;
                source.stored(section)
            });
            Ok(configured(&part.id, kind, settings)?.restoring(stored))
        }
    }
}

impl PlannedPart {
    /// How a component comes back.
    pub(super) fn of(component: &dyn Restores, fitted: Fitted) -> Self {
        let Fitted { recipe, brings, aside, live, .. } = fitted;
        Self { id: component.id().clone(), kind: component.kind().into(), brings, aside, live, recipe }
    }
}
