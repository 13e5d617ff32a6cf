//! How the database of a script is made.

use futures_util::FutureExt;

use super::acts::{Act, OnItsWay};
use super::bundle::keep;
use super::{Databases, Source};
use crate::component::postgres::Script;
use crate::{Error, Kind, Result};

/// The acts, in order.
pub(super) const ACTS: [Act<Script>; 3] = [
    Act {
        id: "postgres-script/build",
        title: "build database {} from the script under another name",
        probe: Some(|script, _| script.is_built().boxed()),
        apply: |script, at| async { keep(script.build().await, at) }.boxed(),
        makes_database: true,
    },
    Act {
        id: "postgres-script/check",
        title: "compare database {} with the script",
        probe: None,
        apply: |script, at| async { keep(script.check().await, at) }.boxed(),
        makes_database: false,
    },
    Act {
        id: "postgres-script/properties",
        title: "set owner, privileges and settings of database {}",
        probe: None,
        apply: |script, at| async { keep(script.set_properties().await, at) }.boxed(),
        makes_database: false,
    },
];

impl OnItsWay for Script {
    async fn of(databases: &Databases, index: usize) -> Result<Self> {
        let Source::Script(script, database) = databases.source()? else {
            return Err(Error::new(Kind::Failed, "a bundle is no script"));
        };
        let names = databases.names(index);
        Ok(Self {
            target: databases.building(index).await?,
            file: script.file.clone(),
            sha256: script.sha256,
            parts: script.parts.clone(),
            makes_public: script.makes_public,
            left_out: script.left_out.clone(),
            later: script.later.clone(),
            database: database.as_ref().clone(),
            name: names.name.clone(),
            shadow: names.shadow.clone(),
            meter: databases.meter.clone(),
        })
    }
}
