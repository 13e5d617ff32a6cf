//! What a restore of a server is made of, and what becomes of it.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value, json};

use super::answers::Status;
use super::directory::{drop_aside, is_served};
use super::recipe::Recipe;
use super::scratch::free;
use super::server::Server;
use super::steps::{self, EtcdPart, step_id};
use super::{Body, DATA, OneEtcd};
use crate::component::{Amount, Brought, Fitted, Item, Look, Part, Stored};
use crate::finding::{Finding, bytes};
use crate::plan::{Journal, Phase, Phased, Status as StepStatus};
use crate::{Context, Error, ErrorContext, Kind, Result};

/// What a member writes beside its data as soon as there is one, and what is ready for it to write next.
const LOGS: u64 = 2 * (64 << 20);

/// Looks whether the server takes the data, and where they go.
pub(super) async fn fit(etcd: &OneEtcd, stored: &Stored, moment: &str, look: &mut Look<'_>) -> Result<Option<Fitted>> {
    let (server, place, body) = (&etcd.server, etcd.server.place(), stored.body::<Body>()?);
    let status = server.status().await.map_err(|error| match error.first_hint() {
        None => error.hint("start it first: it says its name and its peer URLs. If it can't start with its data, rename their directory away before"),
        Some(_) => error,
    })?;
    let recipe = Recipe::at(etcd, server.member().await?, moment);
    let names = [&recipe.staging, &recipe.before, &recipe.dropped()].map(Clone::clone);
    if let Some(there) = names.iter().find(|path| path.symlink_metadata().is_ok()) {
        let error = Error::new(Kind::Refused, format!("restore {}: {} is there already", etcd.id, there.display()));
        return Err(error.hint("try again: the name ends in the time"));
    }
    if let Some(problem) = problem(server, &status, &body)?.or_else(|| room(server, stored)) {
        look.findings.all.push(Finding { subject: place, ..problem });
        return Ok(None);
    }
    let message = format!("etcd {}, {} on disk", status.version, bytes(status.size));
    look.findings.all.push(Finding::ok("etcd", &place, message));
    if !server.is_own() {
        let message = format!("its revision goes from {} to {}", status.header.revision, body.revision);
        let hint = "start all of its clients anew afterwards: what they watch and have read is of another history";
        look.findings.all.push(Finding::info("etcd-revision", &place, message).hint(hint));
    }
    let shown = |path: &Path| path.display().to_string();
    Ok(Some(Fitted {
        recipe: serde_json::to_value(&recipe).context(|| format!("note the plan of {}", etcd.id))?,
        brings: vec![place],
        aside: vec![(shown(&recipe.place), shown(&recipe.before))],
        live: vec![step_id(&etcd.id, "place")],
        places: vec![recipe.place],
        ..Fitted::default()
    }))
}

/// Why a server does not take the data, if it doesn't.
fn problem(server: &Server, status: &Status, body: &Body) -> Result<Option<Finding>> {
    let refused = |code, message: String, hint: &str| Ok(Some(Finding::error(code, "", message).hint(hint)));
    let (here, there) = (status.version.as_str(), body.etcd.as_str());
    if numbers(here) < numbers(there) {
        let message = format!("it is etcd {here}, and the data are of {there}: an older one does not read them");
        return refused("etcd-older", message, "install that version or a newer one");
    }
    let data = server.data();
    if !is_served(data)? {
        let message = format!("no server has its data in {} open", data.display());
        let hint = "name the server's --data-dir as data_directory below [[component]] in the settings";
        return refused("etcd-data-directory", message, hint);
    }
    let doing = || format!("look at {}", data.display());
    let (metadata, around) =
        (data.symlink_metadata().context(doing)?, data.parent().unwrap_or(Path::new("/")).metadata().context(doing)?);
    if !metadata.is_dir() || metadata.dev() != around.dev() {
        let message = format!("{} is a link, or a file system is mounted there: it can't be renamed", data.display());
        let hint = "have the server keep its data in a directory below it, and name that as data_directory";
        return refused("etcd-data-directory", message, hint);
    }
    let is_beside = |name: &str| {
        let part = data.join(name).symlink_metadata();
        part.is_ok_and(|part| part.is_dir() && part.dev() == metadata.dev())
    };
    if !["member", "member/snap"].into_iter().all(is_beside) {
        let message = format!("a part of {} is a link, or a file system is mounted there", data.display());
        return refused("etcd-data-directory", message, "have the server keep all of its data in one directory");
    }
    if !is_beside("member/wal") {
        let message = format!("its log is not in {}, as with --wal-dir: it would not go with the data", data.display());
        return refused("etcd-wal-directory", message, "start it without --wal-dir");
    }
    Ok(None)
}

/// Whether the disk is too small: the snapshot, what is made of it, and once more for the proof.
fn room(server: &Server, stored: &Stored) -> Option<Finding> {
    let around = server.data().parent().unwrap_or(Path::new("/"));
    let size = stored.entry(DATA).map_or(0, |entry| entry.size);
    let (free, needed) = (free(around), size.saturating_mul(3).saturating_add(2 * LOGS));
    let message = || format!("{} are free in {}, and it may take {}", bytes(free), around.display(), bytes(needed));
    (free < needed).then(|| Finding::error("space", "", message()).hint("make room first"))
}

/// The first two numbers of a version.
fn numbers(version: &str) -> [u64; 2] {
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
    [(); 2].map(|()| numbers.next().unwrap_or(0))
}

/// The part of a restore that is of this server.
pub(super) fn part(etcd: Arc<OneEtcd>, recipe: Recipe, stored: Option<Stored>) -> Arc<dyn Part> {
    Arc::new(EtcdPart { etcd, recipe, stored })
}

impl EtcdPart {
    fn is_placed(&self, journal: &Journal) -> bool {
        journal.has_happened(&step_id(self.id(), "place"))
    }

    async fn look_at_what_is_there(&self) -> Brought {
        let (server, place, mut brought) = (&self.etcd.server, self.etcd.server.place(), Brought::default());
        let looked = async { Ok((server.keys(0).await?, server.alarms().await?)) };
        let there = match looked.await {
            Ok((keys, alarms)) => {
                if !alarms.is_empty() {
                    let message = format!("alarms are on ({}): it refuses writes", alarms.join(", "));
                    let hint = "see to their cause, then `etcdctl alarm disarm`";
                    brought.findings.push(Finding::warning("etcd-alarm", &place, message).hint(hint));
                }
                Some(keys)
            }
            Err(error) => {
                brought.findings.push(Finding::warning_from_error("not-confirmed", &place, &error));
                None
            }
        };
        let amount = match there {
            Some(count) => Amount::Counted { count, unit: "key", how: "as the server counts them" },
            None => Amount::Unknown("its keys are not counted"),
        };
        let before = Some(self.recipe.before.display().to_string());
        let value = json!({ "id": self.id(), "kind": super::KIND, "keys": there, "before": before });
        if !server.is_own() {
            brought.also.push(format!("start all clients of {place} anew: its revision has gone back"));
        }
        brought.items.push(Item { name: place, amount, before });
        brought.fields = Map::from_iter([("components".to_owned(), Value::Array(vec![value]))]);
        brought
    }
}

impl Part for EtcdPart {
    fn steps(self: Arc<Self>) -> Vec<Phased> {
        steps::all(&self)
    }

    fn check_way_back<'a>(&'a self, journal: &'a Journal) -> BoxFuture<'a, Result<()>> {
        async move {
            let Recipe { place, before, .. } = &self.recipe;
            // While what was written beside it is there, nothing has taken the place.
            if !self.is_placed(journal) || self.recipe.data().exists() || before.exists() {
                return Ok(());
            }
            let message = format!("bring {} back: {} is gone", place.display(), before.display());
            Err(Error::new(Kind::Refused, message).hint("what was there before can't be returned to any more"))
        }
        .boxed()
    }

    fn way_back(&self, journal: &Journal) -> Vec<(Phase, String)> {
        let Recipe { place, staging, before, .. } = &self.recipe;
        let (place, server) = (place.display(), self.etcd.server.place());
        let sentence = match self.is_placed(journal) {
            false => format!("remove {}, as far as it is there", staging.display()),
            true => format!("stop {server}, remove {place}, rename {} to {place}, and start it", before.display()),
        };
        vec![(Phase::Swap, sentence)]
    }

    fn live(&self, journal: &Journal) -> Option<String> {
        let place = self.etcd.server.place();
        if journal.status(&step_id(self.id(), "start")) == Some(StepStatus::Applied) {
            return Some(format!("{place} has the data of the bundle"));
        }
        if journal.has_happened(&step_id(self.id(), "start")) {
            return Some(format!("{place} is being started with the data of the bundle"));
        }
        let stopped = journal.has_happened(&step_id(self.id(), "stop"));
        stopped.then(|| format!("{place} is stopped, or about to be"))
    }

    fn brought<'a>(&'a self, _: &'a Journal) -> BoxFuture<'a, Brought> {
        self.look_at_what_is_there().boxed()
    }

    fn clean_up<'a>(&'a self, _: &'a Context) -> BoxFuture<'a, Result<()>> {
        async { drop_aside(&self.recipe) }.boxed()
    }
}
