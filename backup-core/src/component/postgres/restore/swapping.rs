//! The steps of all databases together: the roles before them, and the swap.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{Databases, Source};
use crate::Result;
use crate::component::postgres;
use crate::event::Event;
use crate::finding::Finding;
use crate::names::StepId;
use crate::plan::{At, Seen, Step};

/// The id of the step that changes the live databases.
pub(super) fn swap_id() -> StepId {
    StepId::new("postgres/swap")
}

/// Makes the roles that the server has not.
pub(super) fn roles<S: Source>(databases: &Arc<Databases<S>>) -> Box<dyn Step> {
    Box::new(Roles { id: StepId::new("postgres/roles"), databases: databases.clone() })
}

/// Gives all databases their names, in one transaction.
pub(super) fn swap<S: Source>(databases: &Arc<Databases<S>>) -> Box<dyn Step> {
    Box::new(Swap { id: swap_id(), databases: databases.clone() })
}

struct Roles<S: Source> {
    id: StepId,
    databases: Arc<Databases<S>>,
}

impl<S: Source> Step for Roles<S> {
    fn id(&self) -> &StepId {
        &self.id
    }

    fn title(&self) -> &str {
        "create roles"
    }

    fn probe<'a>(&'a self, _: &'a At<'_>) -> BoxFuture<'a, Result<Seen>> {
        let Databases { target, recipe, .. } = &*self.databases;
        async { Ok((target.existing_roles(&recipe.roles).await?.len() == recipe.roles.len()).into()) }.boxed()
    }

    fn apply<'a>(&'a self, _: &'a At<'_>) -> BoxFuture<'a, Result<()>> {
        async { self.databases.target.create_roles(&self.databases.source()?.globals()?).await }.boxed()
    }

    fn undo<'a>(&'a self, at: &'a At<'_>) -> BoxFuture<'a, Result<()>> {
        let Databases { target, recipe, .. } = &*self.databases;
        async move {
            for role in &recipe.roles {
                if !target.drop_role(role).await? {
                    let message = "the restore made this role, and something else uses it by now: it stays";
                    at.context.observer.event(&Event::Finding(Finding::warning("role-in-use", role, message)));
                }
            }
            Ok(())
        }
        .boxed()
    }
}

struct Swap<S: Source> {
    id: StepId,
    databases: Arc<Databases<S>>,
}

impl<S: Source> Step for Swap<S> {
    fn id(&self) -> &StepId {
        &self.id
    }

    fn title(&self) -> &str {
        "swap the databases"
    }

    /// The server would go on with it, and what is said of the live databases might not be true.
    fn may_be_cut_off(&self) -> bool {
        false
    }

    fn probe<'a>(&'a self, _: &'a At<'_>) -> BoxFuture<'a, Result<Seen>> {
        let Databases { target, recipe, .. } = &*self.databases;
        async { Ok(postgres::swapped(target, &recipe.names()).await?.into()) }.boxed()
    }

    fn apply<'a>(&'a self, _: &'a At<'_>) -> BoxFuture<'a, Result<()>> {
        let Databases { target, recipe, .. } = &*self.databases;
        async { postgres::swap(target, &recipe.names()).await }.boxed()
    }

    fn undo<'a>(&'a self, _: &'a At<'_>) -> BoxFuture<'a, Result<()>> {
        let Databases { target, recipe, .. } = &*self.databases;
        async { postgres::swap_back(target, &recipe.names()).await }.boxed()
    }
}
