//! How a database of a bundle is made.

use futures_util::FutureExt;

use super::acts::{Act, OnItsWay};
use super::{Databases, Source};
use crate::component::postgres::Load;
use crate::finding::Finding;
use crate::plan::At;
use crate::{Error, Kind, Result};

/// The acts, in order. Nothing shows that indexes and what comes after them are complete.
pub(super) const ACTS: [Act<Load>; 7] = [
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

/// Keeps what an act found.
pub(super) fn keep(found: Result<Vec<Finding>>, at: &At<'_>) -> Result<()> {
    found.map(|found| at.keep(found))
}

/// The same where an act is done if it says what it found.
fn keep_all(found: Option<Vec<Finding>>, at: &At<'_>) -> bool {
    found.map(|found| at.keep(found)).is_some()
}

impl OnItsWay for Load {
    async fn of(databases: &Databases, index: usize) -> Result<Self> {
        let Source::Bundle(bundle) = databases.source()? else {
            return Err(Error::new(Kind::Failed, "a script is no bundle"));
        };
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
