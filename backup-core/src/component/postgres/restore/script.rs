//! How the database of a script is made.

use std::borrow::Cow;
use std::collections::HashSet;
use std::slice::from_ref;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::acts::{Act, OnItsWay};
use super::bundle::keep;
use super::recipe::Recipe;
use super::source::Source;
use super::{Asked, Databases};
use crate::bundle::manifest::postgres::{Database, Server, major};
use crate::component::postgres::plain::Contents;
use crate::component::postgres::{Script, Target, know_restrict};
use crate::finding::{Finding, Findings};
use crate::names::ComponentId;
use crate::{Error, Kind, Result};

/// The database of a script that was read to its end.
#[derive(Clone)]
pub(crate) struct OfScript {
    /// What was read.
    pub(crate) script: Arc<Contents>,
    /// The database that it makes.
    pub(crate) database: Arc<Database>,
}

/// The acts, in order.
const ACTS: [Act<Script>; 3] = [
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

impl Source for OfScript {
    const KIND: &'static str = ComponentId::POSTGRES_SCRIPT;
    const CALLED: &'static str = "script";
    const MAKES_ROLES: bool = false;
    // It does not say what could be looked at.
    const CONFIRMS: bool = false;
    type OnItsWay = Script;
    const ACTS: &'static [Act<Script>] = &ACTS;

    fn databases(&self) -> &[Database] {
        from_ref(&self.database)
    }

    fn server(&self) -> Option<Cow<'_, Server>> {
        Some(Cow::Owned(Server {
            version_number: major(&self.script.server) * 10_000,
            version: self.script.server.clone(),
            pg_dump: self.script.pg_dump.clone(),
            standby: false,
            preload: Vec::new(),
        }))
    }

    fn tablespaces(&self, _: &Database) -> Result<Vec<String>> {
        Ok(self.script.tablespaces.iter().cloned().collect())
    }

    /// A script goes without commands, and psql had best be kept from all others.
    fn psql_finding(version: &str) -> Option<Finding> {
        if know_restrict(version) {
            return None;
        }
        let hint = "install the newest minor release of PostgreSQL's client programs (August 2025 or later)";
        let message =
            format!("psql {version} can't be kept from commands in a script: restore only one that you trust");
        Some(Finding::warning("psql-older", "psql", message).hint(hint))
    }

    fn place<'a>(
        &'a self,
        name: &'a str,
        is_taken: bool,
        (asked, target): (&'a Asked, &'a Target),
        findings: &'a mut Findings,
    ) -> BoxFuture<'a, ()> {
        async move {
            // No script says the name of its database.
            let named = !asked.databases.is_empty() && !asked.renames_all();
            match is_taken {
                true => look_at_occupant(&self.script, name, target, findings).await,
                false if named => look_for_slip(name, target, findings).await,
                false => {}
            }
        }
        .boxed()
    }

    /// It does not say how many its database is to take.
    fn connection_limit(database: &Database, occupant: Option<i32>) -> i32 {
        occupant.unwrap_or(database.connection_limit)
    }

    fn work(&self, _: &Recipe) -> u64 {
        self.script.size / 2 * 3
    }

    fn is_counted(&self) -> bool {
        self.script.counted
    }
}

/// A database that a script's takes the place of lends it its properties; and should have some of its tables.
async fn look_at_occupant(script: &Contents, name: &str, target: &Target, findings: &mut Findings) {
    if findings.keep("database", name, target.creation_of(name).await).is_none() {
        return;
    }
    let live = findings.keep("database", name, target.tables_of(name).await).unwrap_or_default();
    let tables = &script.tables;
    let tables: HashSet<(&str, &str)> = tables.iter().map(|table| (&*table.schema, &*table.name)).collect();
    let known = |(schema, name): &(String, String)| tables.contains(&(&**schema, &**name));
    if script.counted && !live.is_empty() && !live.iter().any(known) {
        let message = format!("it has {} tables, and the script has none of them", live.len());
        let hint = "look whether it is the right script, and the right database: --database names another one";
        findings.all.push(Finding::warning("script-of-another", name, message).hint(hint));
    }
    let objects = findings.keep("database", name, target.large_objects_of(name).await).unwrap_or_default();
    if objects > 0 && script.large_objects == 0 {
        let message = format!("it has {objects} large objects, and the script has none: they would be gone");
        let hint =
            "dump anew with --large-objects (--blobs before version 16), or without --no-large-objects and --schema";
        findings.all.push(Finding::warning("large-objects-gone", name, message).hint(hint));
    }
}

/// Refuses a name that the server has not, where it has nearly the same.
async fn look_for_slip(name: &str, target: &Target, findings: &mut Findings) {
    let near = findings.keep("database", name, target.slip(name).await).flatten();
    if let Some(near) = near {
        let error = Error::new(Kind::NotFound, format!("database {name}: the server has none of this name"));
        let hint = format!("did you mean {near}? To make a new one, say so: --database {near}={name}");
        findings.keep::<()>("database", name, Err(error.hint(hint)));
    }
}

impl OnItsWay<OfScript> for Script {
    async fn of(databases: &Databases<OfScript>, index: usize) -> Result<Self> {
        let OfScript { script, database } = databases.source()?;
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
