//! A server that databases are brought back into.

use std::iter;
use std::sync::{Arc, OnceLock};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::Value;

use super::reach::administrative;
use super::server::look_at_server;
use super::{Asked, Databases, Recipe, Source, Way, fit};
use crate::component::postgres::connection::{Connection, connect, connect_first};
use crate::component::postgres::{Target, directories};
use crate::component::{Fitted, Look, Named, Part, Restores, Staying, Working};
use crate::finding::Finding;
use crate::names::ComponentId;
use crate::{Context, ErrorContext, Result};

/// A server that databases are brought back into.
pub(crate) struct Restoring<S: Source> {
    id: ComponentId,
    way: Way,
    asked: Asked,
    /// What they are made of; they are undone without it.
    source: Option<S>,
    /// Databases that an unfinished restore of this user builds.
    own: Vec<String>,
    /// What reaches it, and its identifier, once it was looked at.
    reached: OnceLock<(Target, String)>,
    /// Whether it is thrown away before what it holds could do anything.
    is_thrown_away: bool,
}

impl<S: Source> Restoring<S> {
    /// What is asked of the databases that `source` has; `own` are those that an unfinished restore of this user builds.
    pub(crate) fn new(way: Way, asked: Asked, source: Option<S>, own: Vec<String>) -> Self {
        let id = ComponentId::fixed(ComponentId::POSTGRES);
        Self { id, way, asked, source, own, reached: OnceLock::new(), is_thrown_away: false }
    }

    /// The same on a server that was reached already, and is thrown away afterwards.
    pub(crate) fn thrown_away(self, target: Target, identifier: String) -> Self {
        Self { reached: OnceLock::from((target, identifier)), is_thrown_away: true, ..self }
    }
}

impl<S: Source> Named for Restoring<S> {
    fn id(&self) -> &ComponentId {
        &self.id
    }

    fn kind(&self) -> &'static str {
        S::KIND
    }
}

impl<S: Source> Restores for Restoring<S> {
    fn reach<'a>(&'a self, look: &'a mut Look<'_>) -> BoxFuture<'a, ()> {
        async {
            let reached = look_at_server(&self.asked, &self.way, self.source.as_ref(), &self.own, look).await;
            if let Some(reached) = reached {
                // It is looked at once.
                let _ = self.reached.set(reached);
            }
        }
        .boxed()
    }

    fn is_taken<'a>(&'a self, moment: &'a str, look: &'a mut Look<'_>) -> BoxFuture<'a, bool> {
        async move {
            let Some((target, _)) = self.reached.get() else { return false };
            let is_taken = target.has_name_with_ending(&format!("_{moment}")).await;
            look.findings.keep("databases", "databases", is_taken).unwrap_or(false)
        }
        .boxed()
    }

    fn fit<'a>(&'a self, moment: &'a str, look: &'a mut Look<'_>) -> BoxFuture<'a, Option<Fitted>> {
        async move {
            let ((target, server), source) = (self.reached.get()?, self.source.as_ref()?);
            look.findings.all.extend(source.unsafe_tools(&self.asked, target));
            let looked = fit::look(&self.asked, source, target, moment, look.findings).await;
            if !self.is_thrown_away {
                look.findings.all.extend(source.later_powers(&self.asked));
            }
            let (roles, databases) = looked?;
            let recipe = Recipe { server: server.clone(), roles, databases, jobs: target.jobs };
            let ends = self.ends(&recipe, look).await;
            let fitted = recipe.fitted();
            let recipe = serde_json::to_value(recipe).context(|| "note the plan of the databases".into());
            let recipe = look.findings.keep("databases", "databases", recipe)?;
            Some(Fitted {
                recipe,
                server: Some(format!("PostgreSQL at {}", target.parameters.place())),
                ends,
                ..fitted
            })
        }
        .boxed()
    }

    fn changes_live(&self, fitted: Option<&Fitted>) -> bool {
        fitted.is_some_and(|fitted| !fitted.aside.is_empty()) || !self.asked.renames_all()
    }

    fn staying<'a>(&'a self, look: &'a mut Look<'_>) -> BoxFuture<'a, Vec<Staying>> {
        async move {
            self.directories(look.context).await.unwrap_or_else(|error| {
                let message = format!(
                    "whether a running server has its data in what steps aside is not known: {}",
                    error.chain().join(": ")
                );
                look.findings.all.push(Finding::unknown("server-not-asked", "PostgreSQL", message));
                Vec::new()
            })
        }
        .boxed()
    }

    fn take_up<'a>(self: Arc<Self>, recipe: &'a Value, working: &'a Working) -> BoxFuture<'a, Result<Arc<dyn Part>>> {
        async move {
            let recipe = Recipe::deserialize(recipe).context(|| "read the plan of the databases".into())?;
            recipe.check_names()?;
            let written_by = self.source.as_ref().map_or(0, S::archived_by);
            let target = match self.reached.get() {
                Some((target, _)) => target.clone(),
                None => self.way.to(&recipe, written_by, &working.context).await?,
            };
            let part: Arc<dyn Part> = Arc::new(Databases::new(recipe, target, self.source.clone(), working));
            Ok(part)
        }
        .boxed()
    }
}

impl<S: Source> Restoring<S> {
    /// What the server needs that the databases are restored into, or that the settings name.
    async fn directories(&self, context: &Context) -> Result<Vec<Staying>> {
        let connection: Connection = match self.reached.get() {
            Some((target, _)) => connect(&target.parameters).await?,
            None => {
                let parameters = self.way.connection.parameters(&context.environment)?;
                connect_first(&parameters, administrative(iter::empty())).await?.0
            }
        };
        directories(&connection).await
    }

    /// Whose sessions end in the swap.
    async fn ends(&self, recipe: &Recipe, look: &mut Look<'_>) -> Option<String> {
        let live = recipe.databases.iter().filter(|planned| planned.names.before.is_some());
        let live: Vec<&str> = live.map(|planned| planned.names.name.as_str()).collect();
        let (target, _) = self.reached.get().filter(|_| !live.is_empty())?;
        let sessions = look.findings.keep("sessions", "sessions", target.sessions(&live).await)?;
        if sessions.is_empty() {
            return None;
        }
        let message = format!("these end in the swap: {sessions}");
        look.findings.all.push(Finding::info("sessions", "sessions", message));
        Some(sessions.to_string())
    }
}
