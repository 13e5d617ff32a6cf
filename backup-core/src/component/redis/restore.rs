//! What a restore of a server is made of, and what becomes of it.

use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value, json};

use super::recipe::Recipe;
use super::server::Info;
use super::steps::{self, RedisPart, step_id};
use super::{Body, OneRedis};
use crate::component::{Amount, Brought, Fitted, Item, Look, Part, Stored};
use crate::finding::Finding;
use crate::plan::{Journal, Phase, Phased, Status};
use crate::{Context, Error, ErrorContext, Kind, Result};

/// Looks whether the server takes the data, and where they go.
pub(super) async fn fit(
    redis: &OneRedis,
    stored: &Stored,
    moment: &str,
    look: &mut Look<'_>,
) -> Result<Option<Fitted>> {
    let (place, body) = (redis.server.place(), stored.body::<Body>()?);
    let info = redis.server.info().await.map_err(|error| match error.first_hint() {
        None => error.hint("start it first: it says where its data are"),
        Some(_) => error,
    })?;
    let recipe = Recipe::at(redis, redis.server.file().await?, moment);
    if let Some(there) = [&recipe.staging, &recipe.before].into_iter().find(|path| path.symlink_metadata().is_ok()) {
        let error = Error::new(Kind::Refused, format!("restore {}: {} is there already", redis.id, there.display()));
        return Err(error.hint("try again: the name ends in the time"));
    }
    if let Some(problem) = problem(&info, &body) {
        look.findings.all.push(Finding { subject: place, ..problem });
        return Ok(None);
    }
    look.findings.all.push(Finding::ok(
        "redis",
        &place,
        format!("Redis {}, {} keys", info.get("redis_version"), info.keys()),
    ));
    let shown = |path: &Path| path.display().to_string();
    let aside = vec![(shown(&recipe.place), shown(&recipe.before))];
    Ok(Some(Fitted {
        recipe: serde_json::to_value(&recipe).context(|| format!("note the plan of {}", redis.id))?,
        brings: vec![place],
        aside,
        live: vec![step_id(&redis.id, "place")],
        ..Fitted::default()
    }))
}

/// Why a server does not take the data, if it doesn't.
fn problem(info: &Info, body: &Body) -> Option<Finding> {
    let refused = |code, message: String, hint: &str| Some(Finding::error(code, "", message).hint(hint));
    if info.get("cluster_enabled") == "1" {
        let message = "it is one of a cluster, which takes no data in place of its own".into();
        return refused("redis-cluster", message, "restore into a server with cluster-enabled no");
    }
    if info.get("role") == "slave" {
        let message = "it is a replica, and would get its master's data again".into();
        return refused("redis-replica", message, "restore its master, or make it one: REPLICAOF NO ONE");
    }
    if info.get("aof_enabled") == "1" {
        let message = "it reads appendonly files when it starts, and not the file that is put back".into();
        return refused(
            "redis-appendonly",
            message,
            "CONFIG SET appendonly no, and appendonly no in redis.conf, until the restore is done",
        );
    }
    let (here, there) = (info.get("redis_version"), body.redis.as_str());
    if numbers(here) < numbers(there) {
        let message = format!("it is Redis {here}, and the data are of {there}: an older one does not read them");
        return refused("redis-older", message, "install that version or a newer one");
    }
    None
}

/// The first two numbers of a version.
fn numbers(version: &str) -> [u64; 2] {
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
    [(); 2].map(|()| numbers.next().unwrap_or(0))
}

/// The part of a restore that is of this server.
pub(super) fn part(redis: Arc<OneRedis>, recipe: Recipe, stored: Option<Stored>) -> Arc<dyn Part> {
    Arc::new(RedisPart { redis, recipe, stored })
}

impl RedisPart {
    fn is_placed(&self, journal: &Journal) -> bool {
        journal.has_happened(&step_id(self.id(), "place"))
    }

    async fn look_at_what_is_there(&self) -> Brought {
        let (place, mut brought) = (self.redis.server.place(), Brought::default());
        let Some(stored) = &self.stored else { return brought };
        let expected = stored.section.items.count;
        let expires = stored.body::<Body>().map_or(0, |body| body.expires);
        let there = match self.redis.server.info().await {
            Ok(info) => Some(info.keys()),
            Err(error) => {
                brought.findings.push(Finding::warning_from_error("not-confirmed", &place, &error));
                None
            }
        };
        if let Some(there) = there.filter(|there| *there < expected.saturating_sub(expires)) {
            let message = format!("it has {there} keys, and the bundle {expected}, of which {expires} may have ended");
            brought.findings.push(Finding::warning("keys-missing", &place, message));
        }
        let amount = match there {
            Some(count) => Amount::Counted { count, unit: "key", how: "as the server counts them" },
            None => Amount::Unknown("its keys are not counted"),
        };
        let before = Some(self.recipe.before.display().to_string());
        let value = json!({ "id": self.id(), "kind": super::KIND, "keys": there, "before": before });
        brought.items.push(Item { name: place, amount, before });
        brought.fields = Map::from_iter([("components".to_owned(), Value::Array(vec![value]))]);
        brought
    }
}

impl Part for RedisPart {
    fn steps(self: Arc<Self>) -> Vec<Phased> {
        steps::all(&self)
    }

    fn check_way_back<'a>(&'a self, journal: &'a Journal) -> BoxFuture<'a, Result<()>> {
        async move {
            let Recipe { place, staging, before, .. } = &self.recipe;
            // While what was written beside it is there, nothing has taken the place.
            if !self.is_placed(journal) || staging.exists() || before.exists() {
                return Ok(());
            }
            let message = format!("bring {} back: {} is gone", place.display(), before.display());
            Err(Error::new(Kind::Refused, message).hint("what was there before can't be returned to any more"))
        }
        .boxed()
    }

    fn way_back(&self, journal: &Journal) -> Vec<(Phase, String)> {
        let Recipe { place, staging, before, .. } = &self.recipe;
        let (place, server) = (place.display(), self.redis.server.place());
        let sentence = match self.is_placed(journal) {
            false => format!("remove {}, as far as it is there", staging.display()),
            true => format!("stop {server}, rename {} to {place}, and start it", before.display()),
        };
        vec![(Phase::Swap, sentence)]
    }

    fn live(&self, journal: &Journal) -> Option<String> {
        let place = self.redis.server.place();
        if journal.status(&step_id(self.id(), "start")) == Some(Status::Applied) {
            return Some(format!("{place} has the data of the bundle"));
        }
        let stopped = journal.has_happened(&step_id(self.id(), "stop"));
        stopped.then(|| format!("{place} is stopped, or about to be"))
    }

    fn brought<'a>(&'a self, _: &'a Journal) -> BoxFuture<'a, Brought> {
        self.look_at_what_is_there().boxed()
    }

    fn clean_up<'a>(&'a self, _: &'a Context) -> BoxFuture<'a, Result<()>> {
        async { steps::remove(&self.recipe.before) }.boxed()
    }
}
