//! The steps that a plan amounts to.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::OnceCell;

use super::plan::Plan;
use super::source::Source;
use crate::bundle::reader::OpenBundle;
use crate::component::files::Placement;
use crate::component::postgres::{Load, Script, Target, drop_database, swap, swap_back, swapped};
use crate::event::{Event, Meter};
use crate::finding::Finding;
use crate::names::StepId;
use crate::plan::{At, Seen, Step};
use crate::{Context, Error, Kind, Result};

/// What all steps share.
pub(super) struct Work {
    pub(super) plan: Plan,
    /// Needed where there are databases.
    pub(super) target: Option<Target>,
    /// The same for each database of the plan, once it has been asked.
    pub(super) building: Vec<OnceCell<Target>>,
    /// Needed to apply steps; they are undone without it.
    pub(super) source: Option<Source>,
    pub(super) meter: Arc<Meter>,
    /// What the step at work did not stop at.
    pub(super) found: Mutex<Vec<Finding>>,
    pub(super) context: Context,
}

impl Work {
    fn keep(&self, found: Vec<Finding>) {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
    }

    fn found(&self) -> Vec<Finding> {
        std::mem::take(&mut self.found.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn target(&self) -> Result<&Target> {
        self.target.as_ref().ok_or_else(|| Error::new(Kind::Failed, "the server is not connected"))
    }

    /// The server for sessions that build a database of the plan.
    async fn building(&self, index: usize) -> Result<Target> {
        let database = &self.source()?.manifest().databases[self.plan.databases[index].index];
        let target = self.target()?;
        self.building[index].get_or_try_init(|| target.building(database)).await.cloned()
    }

    pub(super) fn source(&self) -> Result<&Source> {
        self.source.as_ref().ok_or_else(|| Error::new(Kind::Failed, "what is restored is not open"))
    }
}

/// The id of the step that changes the live databases.
pub(super) fn swap_id() -> StepId {
    StepId::new("postgres/swap")
}

/// The id of the step that changes live files.
pub(super) fn place_id() -> StepId {
    StepId::new("files/place")
}

/// What a step does; a number is a place among the plan's databases. A script makes one database.
#[derive(Clone, Copy)]
enum Act {
    Roles,
    Create(usize),
    Rows(usize),
    LargeObjects(usize),
    Indexes(usize),
    Schema(usize),
    Check(usize),
    Properties(usize),
    Build(usize),
    CheckBuilt(usize),
    PropertiesOfBuilt(usize),
    Swap,
    Files,
    PlaceFiles,
}

struct RestoreStep {
    id: StepId,
    title: String,
    act: Act,
    work: Arc<Work>,
}

/// The steps, in order.
pub(super) fn steps(work: &Arc<Work>) -> Vec<Box<dyn Step>> {
    let step = |act: Act| -> Box<dyn Step> {
        Box::new(RestoreStep { id: act.id(&work.plan), title: act.title(&work.plan), act, work: work.clone() })
    };
    acts(&work.plan).into_iter().map(step).collect()
}

/// Their ids.
pub(super) fn ids(plan: &Plan) -> Vec<StepId> {
    acts(plan).into_iter().map(|act| act.id(plan)).collect()
}

/// Their titles.
pub(super) fn titles(plan: &Plan) -> Vec<String> {
    acts(plan).into_iter().map(|act| act.title(plan)).collect()
}

fn acts(plan: &Plan) -> Vec<Act> {
    let mut acts = Vec::new();
    match plan.cluster_conf {
        None if !plan.databases.is_empty() => acts.push(Act::Roles),
        _ => {}
    }
    for index in 0..plan.databases.len() {
        acts.extend(match plan.cluster_conf {
            None => OF_BUNDLE.map(|act| act(index)).to_vec(),
            Some(_) => OF_SCRIPT.map(|act| act(index)).to_vec(),
        });
    }
    if !plan.files.is_empty() {
        acts.push(Act::Files);
    }
    if !plan.databases.is_empty() {
        acts.push(Act::Swap);
    }
    if !plan.files.is_empty() {
        acts.push(Act::PlaceFiles);
    }
    acts
}

/// What makes a database of a bundle.
const OF_BUNDLE: [fn(usize) -> Act; 7] =
    [Act::Create, Act::Rows, Act::LargeObjects, Act::Indexes, Act::Schema, Act::Check, Act::Properties];
/// What makes a database of a script.
const OF_SCRIPT: [fn(usize) -> Act; 3] = [Act::Build, Act::CheckBuilt, Act::PropertiesOfBuilt];

impl Act {
    /// What it is in an id, and the place of its database, if it is of one.
    fn named(self) -> (&'static str, Option<usize>) {
        match self {
            Self::Roles => ("postgres/roles", None),
            Self::Create(index) => ("postgres/create", Some(index)),
            Self::Rows(index) => ("postgres/rows", Some(index)),
            Self::LargeObjects(index) => ("postgres/large-objects", Some(index)),
            Self::Indexes(index) => ("postgres/indexes", Some(index)),
            Self::Schema(index) => ("postgres/schema", Some(index)),
            Self::Check(index) => ("postgres/check", Some(index)),
            Self::Properties(index) => ("postgres/properties", Some(index)),
            Self::Build(index) => ("postgres-script/build", Some(index)),
            Self::CheckBuilt(index) => ("postgres-script/check", Some(index)),
            Self::PropertiesOfBuilt(index) => ("postgres-script/properties", Some(index)),
            Self::Swap => ("postgres/swap", None),
            Self::Files => ("files/stage", None),
            Self::PlaceFiles => ("files/place", None),
        }
    }

    fn id(self, plan: &Plan) -> StepId {
        match self.named() {
            (act, Some(index)) => StepId::new(format!("{act}/{}", plan.databases[index].names.name)),
            (act, None) => StepId::new(act),
        }
    }

    fn title(self, plan: &Plan) -> String {
        let name = |index: usize| &plan.databases[index].names.name;
        match self {
            Self::Roles => "create roles".into(),
            Self::Create(index) => format!("create database {} under another name", name(index)),
            Self::Rows(index) => format!("load rows of database {}", name(index)),
            Self::LargeObjects(index) => format!("load large objects of database {}", name(index)),
            Self::Indexes(index) => format!("build indexes of database {}", name(index)),
            Self::Schema(index) => format!("add foreign keys and triggers to database {}", name(index)),
            Self::Check(index) => format!("compare database {} with the bundle", name(index)),
            Self::Build(index) => format!("build database {} from the script under another name", name(index)),
            Self::CheckBuilt(index) => format!("compare database {} with the script", name(index)),
            Self::Properties(index) | Self::PropertiesOfBuilt(index) => {
                format!("set owner, privileges and settings of database {}", name(index))
            }
            Self::Files => "write files beside their places".into(),
            Self::Swap => "swap the databases".into(),
            Self::PlaceFiles => "put files in their places".into(),
        }
    }
}

impl RestoreStep {
    async fn load(&self, index: usize) -> Result<Load> {
        let planned = &self.work.plan.databases[index];
        Ok(Load {
            target: self.work.building(index).await?,
            bundle: self.bundle()?,
            index: planned.index,
            name: planned.names.name.clone(),
            shadow: planned.names.shadow.clone(),
            accepted: self.work.plan.accept_missing.clone(),
            meter: self.work.meter.clone(),
        })
    }

    fn bundle(&self) -> Result<Arc<OpenBundle>> {
        match self.work.source()? {
            Source::Bundle(bundle) => Ok(bundle.clone()),
            Source::Pair(_) => Err(Error::new(Kind::Failed, "a script is no bundle")),
        }
    }

    async fn script(&self, index: usize) -> Result<Script> {
        let Source::Pair(pair) = self.work.source()? else {
            return Err(Error::new(Kind::Failed, "a bundle is no script"));
        };
        let planned = &self.work.plan.databases[index];
        Ok(Script {
            target: self.work.building(index).await?,
            file: pair.script.file.clone(),
            sha256: pair.script.sha256,
            parts: pair.script.parts.clone(),
            makes_public: pair.script.makes_public,
            left_out: pair.script.left_out.clone(),
            later: pair.script.later.clone(),
            database: self.work.source()?.manifest().databases[planned.index].clone(),
            name: planned.names.name.clone(),
            shadow: planned.names.shadow.clone(),
            meter: self.work.meter.clone(),
        })
    }

    /// Writes trees beside their places, in a thread that may wait for the disk.
    async fn stage_files(&self, which: fn(&Placement) -> bool) -> Result<()> {
        let (source, work) = (self.work.source()?.clone(), self.work.clone());
        let work = move || {
            for file in work.plan.files.iter().filter(|file| which(file)) {
                let found = match &source {
                    Source::Bundle(bundle) => file.stage(bundle, &work.context)?,
                    Source::Pair(pair) => {
                        file.stage_content(&work.plan.bundle, &pair.cluster_conf, pair.mode)?;
                        Vec::new()
                    }
                };
                work.keep(found);
            }
            Ok(())
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|cause| Error::new(Kind::Failed, "write files").because(cause))?
    }

    async fn is_there(&self) -> Result<bool> {
        let plan = &self.work.plan;
        let target = || self.work.target();
        let found_there = |found: Option<Vec<Finding>>| found.map(|found| self.work.keep(found)).is_some();
        match self.act {
            Act::Roles => Ok(target()?.existing_roles(&plan.roles).await?.len() == plan.roles.len()),
            Act::Create(index) => Ok(found_there(self.load(index).await?.is_created().await?)),
            Act::Rows(index) => Ok(found_there(self.load(index).await?.rows_loaded().await?)),
            Act::LargeObjects(index) => self.load(index).await?.are_objects_loaded().await,
            Act::Build(index) => self.script(index).await?.is_built().await,
            // Nothing shows that these are complete, and to do them again changes nothing.
            Act::Indexes(_) | Act::Schema(_) | Act::Check(_) | Act::Properties(_) => Ok(false),
            Act::CheckBuilt(_) | Act::PropertiesOfBuilt(_) => Ok(false),
            Act::Swap => swapped(target()?, &plan.names()).await,
            Act::Files => Ok(false),
            Act::PlaceFiles => Ok(plan.files.iter().all(Placement::is_placed)),
        }
    }

    async fn do_it(&self) -> Result<()> {
        let plan = &self.work.plan;
        let keep = |found: Result<Vec<Finding>>| found.map(|found| self.work.keep(found));
        let target = || self.work.target();
        match self.act {
            Act::Roles => target()?.create_roles(&self.work.source()?.globals()?).await,
            Act::Create(index) => keep(self.load(index).await?.create().await),
            Act::Rows(index) => keep(self.load(index).await?.load_rows().await),
            Act::LargeObjects(index) => self.load(index).await?.load_objects().await,
            Act::Indexes(index) => keep(self.load(index).await?.build_indexes().await),
            Act::Schema(index) => keep(self.load(index).await?.finish_schema().await),
            Act::Check(index) => keep(self.load(index).await?.check().await),
            Act::Properties(index) => keep(self.load(index).await?.set_properties().await),
            Act::Build(index) => keep(self.script(index).await?.build().await),
            Act::CheckBuilt(index) => keep(self.script(index).await?.check().await),
            Act::PropertiesOfBuilt(index) => keep(self.script(index).await?.set_properties().await),
            Act::Swap => swap(target()?, &plan.names()).await,
            Act::Files => self.stage_files(|_| true).await,
            Act::PlaceFiles => {
                self.stage_files(Placement::is_lost).await?;
                plan.files.iter().try_for_each(|file| file.place(&plan.bundle))
            }
        }
    }

    async fn take_back(&self) -> Result<()> {
        let Work { plan, context, .. } = &*self.work;
        let target = || self.work.target();
        match self.act {
            Act::Roles => {
                for role in &plan.roles {
                    if !target()?.drop_role(role).await? {
                        let message = "the restore made this role, and something else uses it by now: it stays";
                        context.observer.event(&Event::Finding(Finding::warning("role-in-use", role, message)));
                    }
                }
                Ok(())
            }
            Act::Create(index) | Act::Build(index) => {
                drop_database(target()?, &plan.databases[index].names.shadow).await
            }
            Act::Swap => swap_back(target()?, &plan.names()).await,
            Act::Files => plan.files.iter().try_for_each(Placement::forget),
            Act::PlaceFiles => plan.files.iter().rev().try_for_each(|file| file.take_back(&plan.bundle)),
            // They go with the database that they are in.
            _ => Ok(()),
        }
    }
}

impl Step for RestoreStep {
    fn id(&self) -> &StepId {
        &self.id
    }

    fn title(&self) -> &str {
        &self.title
    }

    fn may_be_cut_off(&self) -> bool {
        // The server would go on with it, and what is said of the live databases might not be true.
        !matches!(self.act, Act::Swap)
    }

    fn probe<'a>(&'a self, at: &'a At<'_>) -> BoxFuture<'a, Result<Seen>> {
        async {
            let seen = self.is_there().await?;
            at.keep(self.work.found());
            Ok(seen.into())
        }
        .boxed()
    }

    fn apply<'a>(&'a self, at: &'a At<'_>) -> BoxFuture<'a, Result<()>> {
        async {
            self.do_it().await?;
            at.keep(self.work.found());
            Ok(())
        }
        .boxed()
    }

    fn undo<'a>(&'a self, _: &'a At<'_>) -> BoxFuture<'a, Result<()>> {
        self.take_back().boxed()
    }
}
