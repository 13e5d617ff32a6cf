//! The components of a restore: which come back, how, and what their steps are made of.

use std::path::PathBuf;
use std::sync::Arc;

use super::plan::{Plan, PlannedPart};
use super::source::Source;
use super::{Request, Settings};
use crate::bundle::manifest::Section;
use crate::component::postgres::{Asked, Recipe, Way, default_jobs, without_source};
use crate::component::{Component, Fitted, Look, Part, Restores, Working, files};
use crate::finding::Finding;
use crate::names::ComponentId;
use crate::{Error, Kind, Result};

/// A component that may come back.
pub(super) struct Candidate {
    id: ComponentId,
    /// Or why it can't; none where that was said.
    component: Result<Arc<dyn Restores>, Option<Error>>,
    /// Whether it is asked for.
    is_wanted: bool,
    /// Whether the manifest has a section of it.
    has_section: bool,
}

impl Candidate {
    fn of(component: Arc<dyn Restores>, is_wanted: bool) -> Self {
        Self { id: component.id().clone(), component: Ok(component), is_wanted, has_section: false }
    }

    fn of_section(section: &Section, source: &Source, settings: &Settings) -> Self {
        let component = component(section, settings).map(|component| component.restoring(source.stored(section)));
        Self { id: section.id.clone(), component: component.map_err(Some), is_wanted: true, has_section: true }
    }

    /// The component, where there is one.
    pub(super) fn component(&self) -> Option<&Arc<dyn Restores>> {
        self.component.as_ref().ok()
    }

    /// The component, where it is asked for and there is one.
    pub(super) fn wanted(&self) -> Option<&Arc<dyn Restores>> {
        self.component().filter(|_| self.is_wanted)
    }
}

/// All that may come back, in order, and what else this machine has. `proved` is whether somebody known made what is restored,
/// `unfinished` a restore that is not ended.
pub(super) fn candidates(
    source: Option<&Source>,
    (request, proved): (&Request, bool),
    settings: &Settings,
    unfinished: Option<&Plan>,
) -> Vec<Candidate> {
    let way = way(settings, request.jobs.or(settings.jobs).unwrap_or_else(default_jobs));
    let own = unfinished.and_then(|plan| plan.recipe::<Recipe>(ComponentId::POSTGRES)).map(|recipe| recipe.shadows());
    let (asked, own) = (request.of_databases(proved), own.unwrap_or_default());
    let server = databases(source, request.kind_of_databases(), way, asked, own);
    let has_databases = source.is_none_or(|source| source.databases.has_databases());
    let wants_databases = request.databases_wanted() && (has_databases || !request.databases.is_empty());
    let mut all = vec![Candidate::of(server, wants_databases)];
    let Some(source) = source else { return all };
    let asked = request.of_files(settings.cluster_conf.as_deref());
    let files = files::Restoring::new(source.name.clone(), asked, Some(source.files.clone()));
    all.push(Candidate::of(Arc::new(files), request.files_wanted()));
    let sections = source.sections.iter().filter(|_| request.parts_wanted());
    all.extend(sections.map(|section| Candidate::of_section(section, source, settings)));
    let is_new = |id: &ComponentId, all: &[Candidate]| !all.iter().any(|candidate| candidate.id == *id);
    for component in settings.components.iter() {
        if is_new(component.id(), &all) {
            all.push(Candidate::of(component.clone().restoring(None), false));
        }
    }
    all
}

/// What brings databases back that are of this kind where nothing is there to read it from.
fn databases(source: Option<&Source>, kind: &str, way: Way, asked: Asked, own: Vec<String>) -> Arc<dyn Restores> {
    match source {
        Some(source) => source.databases.restoring(way, asked, own),
        None => without_source(kind, way, asked, own),
    }
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
    /// Files and directories that get others in their place, each with the component that puts them there.
    pub(super) places: Vec<(ComponentId, PathBuf)>,
    /// Servers that something is swapped on.
    pub(super) servers: Vec<String>,
    /// Whose sessions end then.
    pub(super) ends: Vec<String>,
}

impl Chosen {
    /// Nothing yet.
    pub(super) fn none() -> Self {
        Self { all_fit: true, ..Self::default() }
    }

    /// Looks at those that are asked for and have a section, or have none.
    pub(super) async fn look(
        &mut self,
        candidates: &mut [Candidate],
        has_section: bool,
        moment: &str,
        look: &mut Look<'_>,
    ) {
        let is_meant = |candidate: &&mut Candidate| candidate.is_wanted && candidate.has_section == has_section;
        for Candidate { id, component, .. } in candidates.iter_mut().filter(is_meant) {
            match component {
                Ok(component) => self.one(component, has_section, moment, look).await,
                Err(error) => {
                    look.findings.keep::<()>("component", id.as_str(), error.take().map_or(Ok(()), Err));
                    (self.all_fit, self.lives) = (false, true);
                }
            }
        }
    }

    async fn one(&mut self, component: &Arc<dyn Restores>, has_section: bool, moment: &str, look: &mut Look<'_>) {
        let id = component.id();
        if has_section {
            look.context.phase(format!("check {id}"));
        }
        let fitted = component.fit(moment, look).await;
        self.lives |= component.changes_live(fitted.as_ref());
        let Some(fitted) = fitted else {
            self.all_fit = false;
            return;
        };
        // What has no section says itself what becomes of each database and file, and may have none.
        if !has_section && fitted.brings.is_empty() {
            return;
        }
        if has_section {
            let message = if fitted.aside.is_empty() { "it is brought back" } else { "what is there now steps aside" };
            look.findings.all.push(Finding::info("component", id.as_str(), message));
        }
        self.places.extend(fitted.places.iter().map(|place| (id.clone(), place.clone())));
        self.servers.extend(fitted.server.clone());
        self.ends.extend(fitted.ends.clone());
        self.parts.push((PlannedPart::of(&**component, fitted), component.clone()));
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
            Ok(databases(source, &part.kind, way, asked, own))
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
