//! What databases are made of: a bundle, or a script. What differs between them each says itself.

use std::borrow::Cow;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::acts::{Act, OnItsWay};
use super::bundle::OfBundle;
use super::recipe::Recipe;
use super::script::OfScript;
use super::{Asked, Restoring, Way};
use crate::bundle::manifest::postgres::{Database, Server};
use crate::component::Restores;
use crate::component::postgres::{Globals, ServerFacts, Target};
use crate::finding::{Finding, Findings};
use crate::{Error, Kind, Result};

/// What databases are made of.
pub(crate) trait Source: Clone + Send + Sync + 'static {
    /// What plans call a restore of this.
    const KIND: &'static str;
    /// What people call it.
    const CALLED: &'static str;
    /// Whether it makes roles.
    const MAKES_ROLES: bool;
    /// Whether its rows can be looked at once more after the restore.
    const CONFIRMS: bool;
    /// A database of it on its way into a server.
    type OnItsWay: OnItsWay<Self>;
    /// What is done with one.
    const ACTS: &'static [Act<Self::OnItsWay>];

    /// All databases that it has.
    fn databases(&self) -> &[Database];

    /// The server that they are of, if it says.
    fn server(&self) -> Option<Cow<'_, Server>>;

    /// The major version that programs must have to read it into a server; 0 for any.
    fn archived_by(&self) -> u32 {
        0
    }

    /// The roles that it makes, and the source's tablespaces.
    ///
    /// # Errors
    /// Where they can't be read.
    fn globals(&self) -> Result<Globals> {
        Ok(Globals::default())
    }

    /// The tablespaces that parts of a database need beside its own.
    ///
    /// # Errors
    /// Where its schema can't be read.
    fn tablespaces(&self, database: &Database) -> Result<Vec<String>>;

    /// That a server is too old for it.
    fn too_old(&self, _: &ServerFacts, _place: &str) -> Option<Finding> {
        None
    }

    /// What a psql of this version can't be kept from.
    fn psql_finding(_version: &str) -> Option<Finding> {
        None
    }

    /// What programs that are too old could be turned to by it.
    fn unsafe_tools(&self, _: &Asked, _: &Target) -> Option<Finding> {
        None
    }

    /// What of the databases runs with more rights than whoever makes it run, by its word.
    fn later_powers(&self, _: &Asked) -> Vec<Finding> {
        Vec::new()
    }

    /// What of a database's settings the server does not take, and what its values will mean there.
    fn settings<'a>(&'a self, _: &'a Database, _: &'a str, _: &'a Target) -> BoxFuture<'a, Result<Vec<Finding>>> {
        async { Ok(Vec::new()) }.boxed()
    }

    /// Looks at the place that a database of this name is to take; `is_taken` is whether there is one.
    fn place<'a>(
        &'a self,
        _name: &'a str,
        _is_taken: bool,
        _: (&'a Asked, &'a Target),
        _: &'a mut Findings,
    ) -> BoxFuture<'a, ()> {
        async {}.boxed()
    }

    /// The most connections that a database takes; `occupant` is that of the one in its place.
    fn connection_limit(database: &Database, occupant: Option<i32>) -> i32;

    /// What there is to do, in the unit that the steps count in the meter.
    fn work(&self, recipe: &Recipe) -> u64;

    /// Whether its rows are counted.
    fn is_counted(&self) -> bool;
}

/// What databases are made of, for a job that does not ask what.
pub(crate) trait Made: Send + Sync {
    /// Whether it has any.
    fn has_databases(&self) -> bool;

    /// What brings them back; `own` are databases that an unfinished restore of this user builds.
    fn restoring(&self, way: Way, asked: Asked, own: Vec<String>) -> Arc<dyn Restores>;
}

impl<S: Source> Made for S {
    fn has_databases(&self) -> bool {
        !self.databases().is_empty()
    }

    fn restoring(&self, way: Way, asked: Asked, own: Vec<String>) -> Arc<dyn Restores> {
        Arc::new(Restoring::new(way, asked, Some(self.clone()), own))
    }
}

/// What brings databases of this kind back, without what they are made of: it can be reached, and undone.
pub(crate) fn without_source(kind: &str, way: Way, asked: Asked, own: Vec<String>) -> Arc<dyn Restores> {
    match kind {
        OfScript::KIND => Arc::new(Restoring::<OfScript>::new(way, asked, None, own)),
        _ => Arc::new(Restoring::<OfBundle>::new(way, asked, None, own)),
    }
}

/// That something can't be done without it.
pub(super) fn not_open() -> Error {
    Error::new(Kind::Failed, "what is restored is not open")
}
