//! The steps that a plan amounts to.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

use super::plan::Plan;
use super::source::Source;
use crate::bundle::reader::OpenBundle;
use crate::component::files::Placement;
use crate::component::postgres::{Load, Script, Target, drop_database, swap, swap_back, swapped};
use crate::event::{Event, Meter};
use crate::finding::Finding;
use crate::plan::Step;
use crate::{Context, Error, Kind, Result};

/// What all steps share.
pub(super) struct Work {
    pub(super) plan: Plan,
    /// Needed where there are databases.
    pub(super) target: Option<Target>,
    /// Needed to apply steps; they are undone without it.
    pub(super) source: Option<Source>,
    pub(super) meter: Arc<Meter>,
    /// What did not go as it should and stopped nothing.
    pub(super) warnings: Mutex<Vec<Finding>>,
    pub(super) context: Context,
}

impl Work {
    pub(super) fn target(&self) -> Result<&Target> {
        self.target.as_ref().ok_or_else(|| Error::new(Kind::Failed, "the server is not connected"))
    }

    pub(super) fn source(&self) -> Result<&Source> {
        self.source.as_ref().ok_or_else(|| Error::new(Kind::Failed, "what is restored is not open"))
    }
}

/// Name of the step that changes the live databases.
pub(super) const SWAP: &str = "swap the databases";
/// Name of the step that changes live files.
pub(super) const PLACE: &str = "put files in their places";

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
    Build,
    CheckBuilt,
    PropertiesOfBuilt,
    Swap,
    Files,
    PlaceFiles,
}

struct RestoreStep {
    name: String,
    act: Act,
    work: Arc<Work>,
}

/// The steps, in order.
pub(super) fn steps(work: &Arc<Work>) -> Vec<Box<dyn Step>> {
    let step = |(name, act)| Box::new(RestoreStep { name, act, work: work.clone() }) as Box<dyn Step>;
    acts(&work.plan).into_iter().map(step).collect()
}

/// Their names.
pub(super) fn names(plan: &Plan) -> Vec<String> {
    acts(plan).into_iter().map(|(name, _)| name).collect()
}

fn acts(plan: &Plan) -> Vec<(String, Act)> {
    let mut acts = match plan.cluster_conf {
        None => of_bundle(plan),
        Some(_) => of_script(plan),
    };
    if !plan.files.is_empty() {
        acts.push(("write files beside their places".into(), Act::Files));
    }
    if !plan.databases.is_empty() {
        acts.push((SWAP.into(), Act::Swap));
    }
    if !plan.files.is_empty() {
        acts.push((PLACE.into(), Act::PlaceFiles));
    }
    acts
}

fn of_bundle(plan: &Plan) -> Vec<(String, Act)> {
    let mut acts = Vec::new();
    if !plan.databases.is_empty() {
        acts.push(("create roles".into(), Act::Roles));
    }
    for (index, planned) in plan.databases.iter().enumerate() {
        let name = &planned.names.name;
        acts.extend([
            (format!("create database {name} under another name"), Act::Create(index)),
            (format!("load rows of database {name}"), Act::Rows(index)),
            (format!("load large objects of database {name}"), Act::LargeObjects(index)),
            (format!("build indexes of database {name}"), Act::Indexes(index)),
            (format!("add foreign keys and triggers to database {name}"), Act::Schema(index)),
            (format!("compare database {name} with the bundle"), Act::Check(index)),
            (format!("set owner, privileges and settings of database {name}"), Act::Properties(index)),
        ]);
    }
    acts
}

fn of_script(plan: &Plan) -> Vec<(String, Act)> {
    let Some(planned) = plan.databases.first() else { return Vec::new() };
    let name = &planned.names.name;
    vec![
        (format!("build database {name} from the script under another name"), Act::Build),
        (format!("compare database {name} with the script"), Act::CheckBuilt),
        (format!("set owner, privileges and settings of database {name}"), Act::PropertiesOfBuilt),
    ]
}

impl RestoreStep {
    fn load(&self, index: usize) -> Result<Load> {
        let planned = &self.work.plan.databases[index];
        Ok(Load {
            target: self.work.target()?.clone(),
            bundle: self.bundle()?,
            index: planned.index,
            shadow: planned.names.shadow.clone(),
            meter: self.work.meter.clone(),
        })
    }

    fn bundle(&self) -> Result<Arc<OpenBundle>> {
        match self.work.source()? {
            Source::Bundle(bundle) => Ok(bundle.clone()),
            Source::Pair(_) => Err(Error::new(Kind::Failed, "a script is no bundle")),
        }
    }

    fn script(&self) -> Result<Script> {
        let (Source::Pair(pair), Some(planned)) = (self.work.source()?, self.work.plan.databases.first()) else {
            return Err(Error::new(Kind::Failed, "a bundle is no script"));
        };
        Ok(Script {
            target: self.work.target()?.clone(),
            path: pair.sql.clone(),
            sha256: pair.script.sha256,
            parts: pair.script.parts.clone(),
            commands: pair.script.commands.clone(),
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
                work.warnings.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
            }
            Ok(())
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|cause| Error::new(Kind::Failed, "write files").because(cause))?
    }

    async fn is_there(&self) -> Result<bool> {
        let plan = &self.work.plan;
        let target = || self.work.target();
        match self.act {
            Act::Roles => Ok(target()?.existing_roles(&plan.roles).await?.len() == plan.roles.len()),
            Act::Create(index) => self.load(index)?.is_created().await,
            Act::Rows(index) => self.load(index)?.are_rows_loaded().await,
            Act::LargeObjects(index) => self.load(index)?.are_objects_loaded().await,
            Act::Build => self.script()?.is_built().await,
            // Nothing shows that these are complete, and to do them again changes nothing.
            Act::Indexes(_) | Act::Schema(_) | Act::Check(_) | Act::Properties(_) => Ok(false),
            Act::CheckBuilt | Act::PropertiesOfBuilt => Ok(false),
            Act::Swap => swapped(target()?, &plan.names()).await,
            Act::Files => Ok(false),
            Act::PlaceFiles => Ok(plan.files.iter().all(Placement::is_placed)),
        }
    }

    async fn do_it(&self) -> Result<()> {
        let plan = &self.work.plan;
        let target = || self.work.target();
        match self.act {
            Act::Roles => target()?.create_roles(&self.bundle()?.content("databases/globals.sql")?).await,
            Act::Create(index) => self.load(index)?.create().await,
            Act::Rows(index) => self.load(index)?.load_rows().await,
            Act::LargeObjects(index) => self.load(index)?.load_objects().await,
            Act::Indexes(index) => self.load(index)?.build_indexes().await,
            Act::Schema(index) => self.load(index)?.finish_schema().await,
            Act::Check(index) => self.load(index)?.check().await,
            Act::Properties(index) => self.load(index)?.set_properties().await,
            Act::Build => self.script()?.build().await,
            Act::CheckBuilt => self.script()?.check().await,
            Act::PropertiesOfBuilt => self.script()?.set_properties().await,
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
            Act::Create(index) => drop_database(target()?, &plan.databases[index].names.shadow).await,
            Act::Build => drop_database(target()?, &plan.databases[0].names.shadow).await,
            Act::Swap => swap_back(target()?, &plan.names()).await,
            Act::Files => plan.files.iter().try_for_each(Placement::forget),
            Act::PlaceFiles => plan.files.iter().rev().try_for_each(|file| file.take_back(&plan.bundle)),
            // They go with the database that they are in.
            _ => Ok(()),
        }
    }
}

impl Step for RestoreStep {
    fn name(&self) -> &str {
        &self.name
    }

    fn may_be_cut_off(&self) -> bool {
        // The server would go on with it, and what is said of the live databases might not be true.
        !matches!(self.act, Act::Swap)
    }

    fn probe(&self) -> LocalBoxFuture<'_, Result<bool>> {
        self.is_there().boxed_local()
    }

    fn apply(&self) -> LocalBoxFuture<'_, Result<()>> {
        self.do_it().boxed_local()
    }

    fn undo(&self) -> LocalBoxFuture<'_, Result<()>> {
        self.take_back().boxed_local()
    }
}
