//! How databases of a bundle are made.

use std::borrow::Cow;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::acts::{Act, OnItsWay};
use super::recipe::Recipe;
use super::source::Source;
use super::{Asked, Databases};
use crate::Result;
use crate::bundle::manifest::postgres::{Database, Server};
use crate::bundle::reader::OpenBundle;
use crate::component::postgres::{self, Globals, Load, ServerFacts, Target, older_than_pg_dump, plain, read_globals};
use crate::finding::{Finding, Severity};
use crate::names::ComponentId;
use crate::plan::At;

/// Databases of a bundle.
#[derive(Clone)]
pub(crate) struct OfBundle(pub(crate) Arc<OpenBundle>);

/// The acts, in order. Nothing shows that indexes and what comes after them are complete.
const ACTS: [Act<Load>; 7] = [
    Act {
        id: "postgres/create",
        title: "create database {} under another name",
        probe: Some(|load, at| async { Ok(keep_all(load.is_created().await?, at)) }.boxed()),
        apply: |load, at| async { keep(load.create().await, at) }.boxed(),
        makes_database: true,
    },
    Act {
        id: "postgres/rows",
        title: "load rows of database {}",
        probe: Some(|load, at| async { Ok(keep_all(load.rows_loaded().await?, at)) }.boxed()),
        apply: |load, at| async { keep(load.load_rows().await, at) }.boxed(),
        makes_database: false,
    },
    Act {
        id: "postgres/large-objects",
        title: "load large objects of database {}",
        probe: Some(|load, _| load.are_objects_loaded().boxed()),
        apply: |load, _| load.load_objects().boxed(),
        makes_database: false,
    },
    Act {
        id: "postgres/indexes",
        title: "build indexes of database {}",
        probe: None,
        apply: |load, at| async { keep(load.build_indexes().await, at) }.boxed(),
        makes_database: false,
    },
    Act {
        id: "postgres/schema",
        title: "add foreign keys and triggers to database {}",
        probe: None,
        apply: |load, at| async { keep(load.finish_schema().await, at) }.boxed(),
        makes_database: false,
    },
    Act {
        id: "postgres/check",
        title: "compare database {} with the bundle",
        probe: None,
        apply: |load, at| async { keep(load.check().await, at) }.boxed(),
        makes_database: false,
    },
    Act {
        id: "postgres/properties",
        title: "set owner, privileges and settings of database {}",
        probe: None,
        apply: |load, at| async { keep(load.set_properties().await, at) }.boxed(),
        makes_database: false,
    },
];

impl Source for OfBundle {
    const KIND: &'static str = ComponentId::POSTGRES;
    const CALLED: &'static str = "bundle";
    const MAKES_ROLES: bool = true;
    const CONFIRMS: bool = true;
    type OnItsWay = Load;
    const ACTS: &'static [Act<Load>] = &ACTS;

    fn databases(&self) -> &[Database] {
        &self.0.manifest().databases
    }

    fn server(&self) -> Option<Cow<'_, Server>> {
        self.0.manifest().source.postgres.as_ref().map(Cow::Borrowed)
    }

    fn archived_by(&self) -> u32 {
        self.server().map_or(0, |server| server.pg_dump_major())
    }

    fn globals(&self) -> Result<Globals> {
        read_globals(&self.0.content("databases/globals.sql")?)
    }

    fn tablespaces(&self, database: &Database) -> Result<Vec<String>> {
        let (before, after) = (self.script(database, "pre-data")?, self.script(database, "post-data")?);
        Ok(plain::tablespaces(&before).into_iter().chain(plain::tablespaces(&after)).collect())
    }

    fn too_old(&self, facts: &ServerFacts, place: &str) -> Option<Finding> {
        older_than_pg_dump(facts, place, &*self.server()?)
    }

    /// What a bundle of somebody unknown could do by programs that are too old. A drill's have nothing that they could reach.
    fn unsafe_tools(&self, asked: &Asked, target: &Target) -> Option<Finding> {
        if asked.proved {
            return None;
        }
        if asked.allow_old_clients {
            return postgres::unsafe_tools(&target.tools, Severity::Warning);
        }
        let finding = postgres::unsafe_tools(&target.tools, Severity::Error)?;
        let hint = finding.hint.clone().unwrap_or_default();
        Some(finding.hint(format!("{hint}; if you know who made the bundle, --allow-old-clients goes on all the same")))
    }

    fn later_powers(&self, asked: &Asked) -> Vec<Finding> {
        let chosen = asked.chosen(self.databases());
        chosen.filter_map(|(_, database, name)| self.powers_of(name, database)).collect()
    }

    fn settings<'a>(
        &'a self,
        database: &'a Database,
        name: &'a str,
        target: &'a Target,
    ) -> BoxFuture<'a, Result<Vec<Finding>>> {
        async move {
            let mut database = database.clone();
            if database.session.is_none() {
                // It was written before bundles had that, and says it by its types alone.
                database.money = memchr::memmem::find(&self.script(&database, "pre-data")?, b" money").is_some();
            }
            target.setting_findings(name, &database, &self.script(&database, "create")?).await
        }
        .boxed()
    }

    fn connection_limit(database: &Database, _: Option<i32>) -> i32 {
        database.connection_limit
    }

    fn work(&self, recipe: &Recipe) -> u64 {
        let planned = |index| recipe.databases.iter().any(|planned| planned.index == index);
        let entries = self.0.manifest().entries.iter();
        let rows = entries.filter(|entry| entry.chunk.as_ref().is_some_and(|chunk| planned(chunk.database)));
        rows.map(|entry| entry.size).sum::<u64>() * 2
    }

    fn is_counted(&self) -> bool {
        true
    }
}

impl OfBundle {
    fn script(&self, database: &Database, part: &str) -> Result<Vec<u8>> {
        self.0.content(&format!("databases/{}/{part}.sql", database.directory))
    }

    fn powers_of(&self, name: &str, database: &Database) -> Option<Finding> {
        /// More are counted.
        const SHOWN: usize = 8;
        let mut powers = match (self.script(database, "pre-data"), self.script(database, "post-data")) {
            (Ok(before), Ok(after)) => postgres::later_powers_of(&before, &after),
            // It is a help for people, and keeps nobody from a restore.
            (Err(error), _) | (_, Err(error)) => {
                return Some(Finding::from_error("later-powers", name, &error).at_most(Severity::Info));
            }
        };
        let more = powers.len().saturating_sub(SHOWN);
        powers.truncate(SHOWN);
        powers.extend((more > 0).then(|| format!("{more} more")));
        let message = || format!("it brings what runs with rights of its own: {}", powers.join(", "));
        (!powers.is_empty()).then(|| Finding::info("later-powers", name, message()))
    }
}

/// Keeps what an act found.
pub(super) fn keep(found: Result<Vec<Finding>>, at: &At<'_>) -> Result<()> {
    found.map(|found| at.keep(found))
}

/// The same where an act is done if it says what it found.
fn keep_all(found: Option<Vec<Finding>>, at: &At<'_>) -> bool {
    found.map(|found| at.keep(found)).is_some()
}

impl OnItsWay<OfBundle> for Load {
    async fn of(databases: &Databases<OfBundle>, index: usize) -> Result<Self> {
        let OfBundle(bundle) = databases.source()?;
        let planned = &databases.recipe.databases[index];
        Ok(Self {
            target: databases.building(index).await?,
            bundle: bundle.clone(),
            index: planned.index,
            name: planned.names.name.clone(),
            shadow: planned.names.shadow.clone(),
            accepted: databases.accepted.clone(),
            meter: databases.meter.clone(),
        })
    }
}
