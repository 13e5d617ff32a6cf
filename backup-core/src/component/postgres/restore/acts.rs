//! The steps that make one database: a table of acts, and what each does with the database on its way.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{Databases, Source};
use crate::Result;
use crate::component::postgres::drop_database;
use crate::names::StepId;
use crate::plan::{At, Seen, Step};

/// What is done with a database on its way, a `D`.
pub(crate) type Do<D, T> = for<'a> fn(&'a D, &'a At<'_>) -> BoxFuture<'a, Result<T>>;

/// One act of the making of a database.
pub(crate) struct Act<D: 'static> {
    /// What its id has before the database's name.
    pub(super) id: &'static str,
    /// Its title, with the database's name at `{}`.
    pub(super) title: &'static str,
    /// Whether it is done; where that is not said, it is done again, which changes nothing.
    pub(super) probe: Option<Do<D, bool>>,
    /// Does it.
    pub(super) apply: Do<D, ()>,
    /// Whether the database goes with it when it is undone. What others did goes with the database.
    pub(super) makes_database: bool,
}

/// A database on its way.
pub(crate) trait OnItsWay<S: Source>: Sized + Send + Sync + 'static {
    /// The one at this place of the recipe.
    fn of(databases: &Databases<S>, index: usize) -> impl Future<Output = Result<Self>> + Send;
}

/// An act of the making of a certain database.
pub(super) struct OfDatabase<S: Source> {
    id: StepId,
    title: String,
    act: &'static Act<S::OnItsWay>,
    index: usize,
    databases: Arc<Databases<S>>,
}

impl<S: Source> OfDatabase<S> {
    /// All acts of a database.
    pub(super) fn all(index: usize, databases: &Arc<Databases<S>>) -> Vec<Box<dyn Step>> {
        let name = &databases.names(index).name;
        let step = |act: &'static Act<S::OnItsWay>| -> Box<dyn Step> {
            let (id, title) = (StepId::new(format!("{}/{name}", act.id)), act.title.replace("{}", name));
            Box::new(Self { id, title, act, index, databases: databases.clone() })
        };
        S::ACTS.iter().map(step).collect()
    }
}

impl<S: Source> Step for OfDatabase<S> {
    fn id(&self) -> &StepId {
        &self.id
    }

    fn title(&self) -> &str {
        &self.title
    }

    fn probe<'a>(&'a self, at: &'a At<'_>) -> BoxFuture<'a, Result<Seen>> {
        async move {
            let Some(probe) = self.act.probe else { return Ok(Seen::Absent) };
            Ok(probe(&S::OnItsWay::of(&self.databases, self.index).await?, at).await?.into())
        }
        .boxed()
    }

    fn apply<'a>(&'a self, at: &'a At<'_>) -> BoxFuture<'a, Result<()>> {
        async move { (self.act.apply)(&S::OnItsWay::of(&self.databases, self.index).await?, at).await }.boxed()
    }

    fn undo<'a>(&'a self, _: &'a At<'_>) -> BoxFuture<'a, Result<()>> {
        async move {
            match self.act.makes_database {
                true => drop_database(&self.databases.target, &self.databases.names(self.index).shadow).await,
                false => Ok(()),
            }
        }
        .boxed()
    }
}
