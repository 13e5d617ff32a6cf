//! The steps that a plan amounts to.

use std::fs::File;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::plan::Plan;
use crate::bundle::reader::Bundle;
use crate::component::postgres::{Load, Target, drop_database, swap, swap_back, swapped};
use crate::event::{Event, Meter};
use crate::finding::Finding;
use crate::plan::Step;
use crate::{Context, Error, Kind, Result};

/// What all steps share.
pub(super) struct Work {
    pub(super) plan: Plan,
    pub(super) target: Target,
    /// Needed to apply steps; they are undone without it.
    pub(super) bundle: Option<Arc<Bundle<File>>>,
    pub(super) meter: Arc<Meter>,
    pub(super) context: Context,
}

/// What a step does; a number is a place among the plan's databases.
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
    Swap,
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
    let mut acts = vec![("create roles".into(), Act::Roles)];
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
    acts.push(("swap the databases".into(), Act::Swap));
    acts
}

impl RestoreStep {
    fn load(&self, index: usize) -> Result<Load> {
        let bundle = self.work.bundle.clone();
        let planned = &self.work.plan.databases[index];
        Ok(Load {
            target: self.work.target.clone(),
            bundle: bundle.ok_or_else(|| Error::new(Kind::Failed, "the bundle is not open"))?,
            index: planned.index,
            shadow: planned.names.shadow.clone(),
            meter: self.work.meter.clone(),
        })
    }

    async fn is_there(&self) -> Result<bool> {
        let Work { plan, target, .. } = &*self.work;
        match self.act {
            Act::Roles => Ok(target.existing_roles(&plan.roles).await?.len() == plan.roles.len()),
            Act::Create(index) => self.load(index)?.is_created().await,
            Act::Rows(index) => self.load(index)?.are_rows_loaded().await,
            Act::LargeObjects(index) => self.load(index)?.are_objects_loaded().await,
            // Nothing shows that these are complete, and to do them again changes nothing.
            Act::Indexes(_) | Act::Schema(_) | Act::Check(_) | Act::Properties(_) => Ok(false),
            Act::Swap => swapped(target, &plan.names()).await,
        }
    }

    async fn do_it(&self) -> Result<()> {
        let Work { plan, target, bundle, .. } = &*self.work;
        match self.act {
            Act::Roles => match bundle {
                Some(bundle) => target.create_roles(&bundle.content("databases/globals.sql")?).await,
                None => Ok(()),
            },
            Act::Create(index) => self.load(index)?.create().await,
            Act::Rows(index) => self.load(index)?.load_rows().await,
            Act::LargeObjects(index) => self.load(index)?.load_objects().await,
            Act::Indexes(index) => self.load(index)?.build_indexes().await,
            Act::Schema(index) => self.load(index)?.finish_schema().await,
            Act::Check(index) => self.load(index)?.check().await,
            Act::Properties(index) => self.load(index)?.set_properties().await,
            Act::Swap => swap(target, &plan.names()).await,
        }
    }

    async fn take_back(&self) -> Result<()> {
        let Work { plan, target, context, .. } = &*self.work;
        match self.act {
            Act::Roles => {
                for role in &plan.roles {
                    if !target.drop_role(role).await? {
                        let message = "the restore made this role, and something else uses it by now: it stays";
                        context.observer.event(&Event::Finding(Finding::warning("role-in-use", role, message)));
                    }
                }
                Ok(())
            }
            Act::Create(index) => drop_database(target, &plan.databases[index].names.shadow).await,
            Act::Swap => swap_back(target, &plan.names()).await,
            // They go with the database that they are in.
            _ => Ok(()),
        }
    }
}

impl Step for RestoreStep {
    fn name(&self) -> &str {
        &self.name
    }

    fn probe(&self) -> BoxFuture<'_, Result<bool>> {
        self.is_there().boxed()
    }

    fn apply(&self) -> BoxFuture<'_, Result<()>> {
        self.do_it().boxed()
    }

    fn undo(&self) -> BoxFuture<'_, Result<()>> {
        self.take_back().boxed()
    }
}
