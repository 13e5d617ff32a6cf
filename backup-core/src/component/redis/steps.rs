//! The steps of a restore: the file is written and checked beside its place, and takes it while the server is stopped.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::capture::count;
use super::recipe::Recipe;
use super::server::{Info, Memory};
use super::{DATA, OneRedis};
use crate::component::Stored;
use crate::finding::Finding;
use crate::names::{ComponentId, StepId};
use crate::plan::{At, Phase, Phased, Seen, Step};
use crate::written::sync_around;
use crate::{Error, ErrorContext, Kind, Result};

/// A server on its way back.
pub(super) struct RedisPart {
    pub(super) redis: Arc<OneRedis>,
    pub(super) recipe: Recipe,
    /// Needed to apply steps; they are undone without it.
    pub(super) stored: Option<Stored>,
}

impl RedisPart {
    pub(super) fn id(&self) -> &ComponentId {
        &self.redis.id
    }
}

/// The id of a step; the one that changes what is live is `place`.
pub(super) fn step_id(id: &ComponentId, act: &str) -> StepId {
    StepId::new(format!("{id}/{act}"))
}

/// All of them.
pub(super) fn all(part: &Arc<RedisPart>) -> Vec<Phased> {
    let place = part.redis.server.place();
    let step = |act: Act, id: &str, title: String| -> Box<dyn Step> {
        Box::new(RedisStep { id: step_id(part.id(), id), title, act, part: part.clone() })
    };
    vec![
        Phased {
            phase: Phase::Stage,
            step: step(Act::Stage, "stage", format!("write the data of {place} beside their place")),
        },
        Phased { phase: Phase::Prove, step: step(Act::Prove, "prove", format!("check the data of {place}")) },
        Phased { phase: Phase::Quiesce, step: step(Act::Stop, "stop", format!("stop {place}")) },
        Phased {
            phase: Phase::Swap,
            step: step(Act::Place, "place", format!("put the data of {place} in their place")),
        },
        Phased { phase: Phase::Start, step: step(Act::Start, "start", format!("start {place}")) },
    ]
}

#[derive(Clone, Copy)]
enum Act {
    Stage,
    Prove,
    Stop,
    Place,
    Start,
}

struct RedisStep {
    id: StepId,
    title: String,
    act: Act,
    part: Arc<RedisPart>,
}

impl Step for RedisStep {
    fn id(&self) -> &StepId {
        &self.id
    }

    fn title(&self) -> &str {
        &self.title
    }

    fn probe<'a>(&'a self, _: &'a At<'_>) -> BoxFuture<'a, Result<Seen>> {
        let Recipe { place, staging, before, .. } = &self.part.recipe;
        // Without what stepped aside, what is there may be what always was.
        let placed = matches!(self.act, Act::Place) && !staging.exists() && place.exists() && before.exists();
        async move { Ok(placed.into()) }.boxed()
    }

    fn apply<'a>(&'a self, at: &'a At<'_>) -> BoxFuture<'a, Result<()>> {
        let RedisPart { redis, recipe, .. } = &*self.part;
        async move {
            match self.act {
                Act::Stage => stage(&self.part).await,
                Act::Prove => prove(&self.part).await,
                Act::Stop => redis.server.stop(Memory::Saved).await,
                Act::Place => {
                    // The machine may have been started meanwhile, and the server with it: once its file has stepped aside, with nothing.
                    let memory = if recipe.before.exists() { Memory::Dropped } else { Memory::Saved };
                    redis.server.stop(memory).await?;
                    place(recipe)
                }
                Act::Start => start(&self.part, at).await,
            }
        }
        .boxed()
    }

    fn undo<'a>(&'a self, at: &'a At<'_>) -> BoxFuture<'a, Result<()>> {
        let RedisPart { redis, recipe, .. } = &*self.part;
        async move {
            match self.act {
                Act::Stage => remove(&recipe.staging),
                Act::Prove => Ok(()),
                // A server that was stopped comes back, and one that has other data stops before they go.
                Act::Stop => {
                    let (info, _) = redis.server.start(at.context).await?;
                    loaded_from(&self.part, &info).await?;
                    // Only now is it sure that nobody needs it once more.
                    remove(&recipe.before)
                }
                // Where nothing has stepped aside, what is there is what was there.
                Act::Place if !recipe.before.exists() => Ok(()),
                Act::Place => {
                    redis.server.stop(Memory::Dropped).await?;
                    take_back(recipe)
                }
                Act::Start => redis.server.stop(Memory::Dropped).await,
            }
        }
        .boxed()
    }
}

/// Writes the data beside their place, anew if they are there, as the file that is there belongs, or the directory.
async fn stage(part: &RedisPart) -> Result<()> {
    let Recipe { place, staging, .. } = &part.recipe;
    let doing = || format!("write {}", staging.display());
    let stored = part.stored.as_ref().ok_or_else(|| Error::new(Kind::Failed, "what is restored is not open"))?;
    remove(staging)?;
    let like = fs::metadata(place).or_else(|_| fs::metadata(place.parent().unwrap_or(place))).context(doing)?;
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(staging).context(doing)?;
    let mut writing = file.try_clone().context(doing)?;
    let shown = staging.display().to_string();
    stored.read(DATA, move |part| writing.write_all(part).context(|| format!("write {shown}"))).await?;
    let mode = if like.is_file() { like.mode() & 0o777 } else { 0o640 };
    // The server is another user's, which root alone can give it to.
    if rustix::process::geteuid().is_root() {
        fchown(&file, Some(like.uid()), Some(like.gid())).context(doing)?;
    }
    file.set_permissions(fs::Permissions::from_mode(mode)).context(doing)?;
    file.sync_all().context(doing)?;
    sync_around(staging)
}

async fn prove(part: &RedisPart) -> Result<()> {
    let staging = &part.recipe.staging;
    let shown = staging.display().to_string();
    let counted = count(&part.redis.server, File::open(staging).context(|| format!("read {shown}"))?, &shown).await?;
    let expected = part.stored.as_ref().map_or(counted.keys, |stored| stored.section.items.count);
    if counted.keys == expected {
        return Ok(());
    }
    let message = format!("check {shown}: it has {} keys, and the bundle says {expected}", counted.keys);
    Err(Error::new(Kind::Damaged, message))
}

/// Starts the server, and makes sure that it has loaded what was put into its place, and nothing else.
async fn start(part: &RedisPart, at: &At<'_>) -> Result<()> {
    let (info, started) = part.redis.server.start(at.context).await?;
    loaded_from(part, &info).await?;
    let expected = part.stored.as_ref().map(|stored| stored.section.items.count);
    // Servers before 7.0 don't say it.
    let loaded = (!info.get("rdb_last_load_keys_loaded").is_empty())
        .then(|| info.number("rdb_last_load_keys_loaded") + info.number("rdb_last_load_keys_expired"));
    let Some((expected, loaded)) = expected.zip(loaded).filter(|(expected, loaded)| expected != loaded) else {
        return Ok(());
    };
    let why = format!("it has loaded {loaded} keys, and the bundle has {expected}");
    if started {
        return Err(other_data(part, why));
    }
    // It was started by somebody else since, and may have been written to.
    at.keep([Finding::warning("keys-differ", part.redis.server.place(), why)]);
    Ok(())
}

/// Makes sure that a server which was started has its data from the file that was put into its place.
async fn loaded_from(part: &RedisPart, info: &Info) -> Result<()> {
    if info.get("aof_enabled") == "1" {
        return Err(other_data(part, "it reads appendonly files when it starts".into()));
    }
    let (file, place) = (part.redis.server.file().await?, &part.recipe.place);
    if file != *place {
        return Err(other_data(part, format!("its data are in {}, and not in {}", file.display(), place.display())));
    }
    Ok(())
}

fn other_data(part: &RedisPart, why: String) -> Error {
    let error = Error::new(
        Kind::Failed,
        format!("start {}: it has other data than those put there", part.redis.server.place()),
    );
    error.because(why).hint(format!(
        "stop it with SHUTDOWN NOSAVE, so that it writes over nothing, and correct redis.conf; then `restore --rollback`, which has \
         what was there before in {}",
        part.recipe.before.display()
    ))
}

/// Gives the data their place, by two renames at most.
fn place(Recipe { place, staging, before, .. }: &Recipe) -> Result<()> {
    let doing = || format!("put {} in its place", place.display());
    if !staging.exists() {
        let error = Error::new(Kind::Failed, doing()).because("what was written beside it is gone");
        return Err(error.hint("somebody removed it; go back with `restore --rollback`"));
    }
    if !before.exists() {
        fs::rename(place, before).context(doing)?;
        sync_around(place)?;
    }
    fs::rename(staging, place).context(doing)?;
    sync_around(place)
}

/// Gives the place back to what had it before, which stays under its other name, too, until the server has loaded it.
fn take_back(Recipe { place, staging, before, .. }: &Recipe) -> Result<()> {
    let back = staging.with_added_extension("back");
    let doing = || format!("bring {} back", place.display());
    remove(&back)?;
    fs::hard_link(before, &back).context(doing)?;
    fs::rename(&back, place).context(doing)?;
    // Two names of one file stay two where one is renamed to the other.
    remove(&back)?;
    sync_around(place)
}

/// Removes a file, if it is there.
pub(super) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.context(|| format!("remove {}", path.display())),
    }
}
