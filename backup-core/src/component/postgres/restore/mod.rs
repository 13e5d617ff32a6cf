//! Databases as a part of a restore: what its journal says of them, and the steps that bring them back.

mod acts;
mod bundle;
mod fit;
mod names;
mod reach;
mod recipe;
mod restoring;
mod roles;
mod script;
mod server;
mod source;
mod swapping;

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::json;
use tokio::sync::OnceCell;

use super::load::{Names, Target, check_ways_back, drop_database};
use crate::bundle::manifest::postgres::Database;
use crate::component::{Amount, Brought, Item, Part, Working};
use crate::event::Meter;
use crate::finding::Finding;
use crate::plan::{Journal, Phase, Phased, Status};
use crate::{Context, Result};
use acts::OfDatabase;
pub(crate) use bundle::OfBundle;
pub(crate) use reach::{Way, administrative, default_jobs};
pub use recipe::Planned;
pub(crate) use recipe::{Asked, Recipe};
pub(crate) use restoring::Restoring;
pub(crate) use script::OfScript;
pub(crate) use source::{Made, without_source};
use source::{Source, not_open};
use swapping::swap_id;

/// The databases of a restore.
pub(crate) struct Databases<S: Source> {
    recipe: Recipe,
    /// Objects without which they may come back.
    accepted: Vec<String>,
    target: Target,
    /// The same for each database, once it has been asked what it can do.
    building: Vec<OnceCell<Target>>,
    /// Needed to apply steps; they are undone without it.
    source: Option<S>,
    meter: Arc<Meter>,
}

impl<S: Source> Databases<S> {
    /// Of a server that was reached.
    fn new(recipe: Recipe, target: Target, source: Option<S>, working: &Working) -> Self {
        let target = target.called(&recipe.sessions());
        let building = recipe.databases.iter().map(|_| OnceCell::new()).collect();
        let (meter, accepted) = (working.meter.clone(), working.accepted.clone());
        Self { recipe, accepted, target, building, source, meter }
    }

    fn source(&self) -> Result<&S> {
        self.source.as_ref().ok_or_else(not_open)
    }

    fn names(&self, index: usize) -> &Names {
        &self.recipe.databases[index].names
    }

    /// What the source says of a database.
    fn database(&self, index: usize) -> Result<&Database> {
        Ok(&self.source()?.databases()[self.recipe.databases[index].index])
    }

    /// The server for sessions that build a database.
    async fn building(&self, index: usize) -> Result<Target> {
        let database = self.database(index)?;
        self.building[index].get_or_try_init(|| self.target.building(database)).await.cloned()
    }
}

impl<S: Source> Part for Databases<S> {
    fn steps(self: Arc<Self>) -> Vec<Phased> {
        let mut steps = Vec::new();
        if self.recipe.databases.is_empty() {
            return steps;
        }
        let phased = |phase, step| Phased { phase, step };
        if S::MAKES_ROLES {
            steps.push(phased(Phase::Prepare, swapping::roles(&self)));
        }
        for index in 0..self.recipe.databases.len() {
            let of_database = OfDatabase::all(index, &self);
            steps.extend(of_database.into_iter().map(|step| phased(Phase::Stage, step)));
        }
        steps.push(phased(Phase::Swap, swapping::swap(&self)));
        steps
    }

    fn work(&self) -> u64 {
        self.source.as_ref().map_or(0, |source| source.work(&self.recipe))
    }

    fn settle(&self) -> BoxFuture<'_, Result<()>> {
        async { self.target.end_remaining(&self.recipe.sessions()).await }.boxed()
    }

    fn check_way_back<'a>(&'a self, journal: &'a Journal) -> BoxFuture<'a, Result<()>> {
        async move {
            match has_swapped(journal) {
                true => check_ways_back(&self.target, &self.recipe.names()).await,
                false => Ok(()),
            }
        }
        .boxed()
    }

    fn way_back(&self, journal: &Journal) -> Vec<(Phase, String)> {
        let swapped = has_swapped(journal);
        let names = self.recipe.databases.iter().map(|planned| &planned.names);
        let databases = names.map(|names| match &names.before {
            _ if !swapped => format!("drop database {}, as far as it is built", names.shadow),
            Some(before) => format!("drop database {0}, and rename {before} to {0}", names.name),
            None => format!("drop database {}", names.name),
        });
        let Recipe { roles, .. } = &self.recipe;
        let made = (!roles.is_empty()).then(|| format!("drop the roles that it made: {}", roles.join(", ")));
        let made = made.map(|sentence| (Phase::Prepare, sentence));
        databases.map(|sentence| (Phase::Swap, sentence)).chain(made).collect()
    }

    fn live(&self, journal: &Journal) -> Option<String> {
        let said = match journal.status(&swap_id()) {
            Some(Status::Applied) => Some("the databases have been swapped already"),
            Some(Status::Applying) => Some("whether the databases have been swapped shows when it goes on"),
            None if !self.recipe.databases.is_empty() => Some("whether the databases have been swapped is not known"),
            _ => None,
        };
        said.map(Into::into)
    }

    fn ends<'a>(&'a self, journal: &'a Journal) -> BoxFuture<'a, Result<Option<String>>> {
        async move {
            let names = self.recipe.databases.iter().map(|planned| &planned.names);
            let names = names.flat_map(|names| [Some(&names.name), names.before.as_ref()]).flatten();
            let names: Vec<&str> = names.map(String::as_str).collect();
            if names.is_empty() || !has_swapped(journal) {
                return Ok(None);
            }
            let sessions = self.target.sessions(&names).await?;
            Ok((!sessions.is_empty()).then(|| sessions.to_string()))
        }
        .boxed()
    }

    fn brought<'a>(&'a self, journal: &'a Journal) -> BoxFuture<'a, Brought> {
        self.look_at_what_is_there(journal).boxed()
    }

    fn clean_up<'a>(&'a self, context: &'a Context) -> BoxFuture<'a, Result<()>> {
        async move {
            for before in self.recipe.databases.iter().filter_map(|planned| planned.names.before.as_ref()) {
                context.phase(format!("drop database {before}"));
                context.until_cancelled(drop_database(&self.target, before)).await?;
            }
            Ok(())
        }
        .boxed()
    }
}

impl<S: Source> Databases<S> {
    async fn look_at_what_is_there(&self, journal: &Journal) -> Brought {
        let mut brought = Brought::default();
        let mut databases = Vec::new();
        for (index, Names { name, before, .. }) in self.recipe.databases.iter().map(|it| &it.names).enumerate() {
            let (Ok(expected), Ok(source)) = (self.database(index), self.source()) else { continue };
            if S::CONFIRMS {
                match self.target.confirm(name, expected).await {
                    Ok(found) => brought.findings.extend(found),
                    Err(error) => brought.findings.push(Finding::warning_from_error("not-confirmed", name, &error)),
                }
            }
            let left_out = super::left_out(journal.found(), name);
            let rows = source.is_counted().then(|| expected.rows().saturating_sub(left_out));
            let amount = match rows {
                Some(count) => Amount::Counted { count, unit: "row", how: "each table's counted" },
                None => Amount::Unknown("its rows are not counted"),
            };
            brought.items.push(Item { name: format!("database {name}"), amount, before: before.clone() });
            databases.push(json!({ "name": name, "rows": rows, "before": before }));
        }
        let roles = &self.recipe.roles;
        brought.also.extend((!roles.is_empty()).then(|| format!("roles made: {}", roles.join(", "))));
        brought.fields.insert("databases".into(), databases.into());
        brought.fields.insert("roles".into(), roles.clone().into());
        brought
    }
}

fn has_swapped(journal: &Journal) -> bool {
    journal.has_happened(&swap_id())
}
