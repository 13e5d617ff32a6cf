//! The steps of a restore: a data directory is made beside its place and proved, and takes it while the server is stopped.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::timeout;

use super::answers::Member;
use super::behalf::{Behalf, RESTORE};
use super::directory::{drop_new, is_served, place, remove, sync_all, take_back};
use super::own::{self, Own};
use super::recipe::Recipe;
use super::server::{Server, is_compacted, time_for};
use super::snapshot::Trailer;
use super::{Body, DATA, Hash, OneEtcd};
use crate::component::Stored;
use crate::component::program::{Input, succeed};
use crate::finding::Finding;
use crate::held::Held;
use crate::names::{ComponentId, StepId};
use crate::plan::{At, Phase, Phased, Seen, Step};
use crate::{Error, ErrorContext, Kind, Result};

/// What is restored once more to be looked at: what takes the place was never served before.
const PROOF: &str = "proof";

/// A server on its way back.
pub(super) struct EtcdPart {
    pub(super) etcd: Arc<OneEtcd>,
    pub(super) recipe: Recipe,
    /// Needed to apply steps; they are undone without it.
    pub(super) stored: Option<Stored>,
}

impl EtcdPart {
    pub(super) fn id(&self) -> &ComponentId {
        &self.etcd.id
    }

    fn stored(&self) -> Result<&Stored> {
        self.stored.as_ref().ok_or_else(|| Error::new(Kind::Failed, "what is restored is not open"))
    }

    /// As whom programs read what is in the bundle: as the owner of what is live, where that has not stepped aside.
    fn behalf(&self) -> Result<Arc<Behalf>> {
        let Recipe { staging, .. } = &self.recipe;
        let doing = || format!("look at {}", staging.display());
        let around = staging.parent().unwrap_or(Path::new("/")).metadata().context(doing)?;
        let like = trusted(staging.symlink_metadata().context(doing)?, &around, staging)?;
        Ok(self.etcd.server.behalf(&like))
    }
}

/// The id of a step; the one that changes what is live is `place`.
pub(super) fn step_id(id: &ComponentId, act: &str) -> StepId {
    StepId::new(format!("{id}/{act}"))
}

/// All of them.
pub(super) fn all(part: &Arc<EtcdPart>) -> Vec<Phased> {
    let place = part.etcd.server.place();
    let step = |phase: Phase, act: Act, id: &str, title: String| {
        let step: Box<dyn Step> = Box::new(EtcdStep { id: step_id(part.id(), id), title, act, part: part.clone() });
        Phased { phase, step }
    };
    vec![
        step(Phase::Stage, Act::Stage, "stage", format!("restore the data of {place} beside their place")),
        step(Phase::Prove, Act::Prove, "prove", format!("check the data of {place}")),
        step(Phase::Quiesce, Act::Stop, "stop", format!("stop {place}")),
        step(Phase::Swap, Act::Place, "place", format!("put the data of {place} in their place")),
        step(Phase::Start, Act::Start, "start", format!("start {place}")),
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

struct EtcdStep {
    id: StepId,
    title: String,
    act: Act,
    part: Arc<EtcdPart>,
}

impl Step for EtcdStep {
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
        let EtcdPart { etcd, recipe, .. } = &*self.part;
        async move {
            match self.act {
                Act::Stage => stage(&self.part).await,
                Act::Prove => prove(&self.part, at).await,
                Act::Stop => etcd.server.stop().await,
                Act::Place => {
                    // The machine may have been started meanwhile, and the server with it.
                    etcd.server.stop().await?;
                    place(recipe)
                }
                Act::Start => start(&self.part, at).await,
            }
        }
        .boxed()
    }

    fn undo<'a>(&'a self, at: &'a At<'_>) -> BoxFuture<'a, Result<()>> {
        let EtcdPart { etcd, recipe, .. } = &*self.part;
        async move {
            match self.act {
                // What was there before serves again.
                Act::Stage => drop_new(recipe),
                Act::Prove => Ok(()),
                Act::Stop => etcd.server.start(at.context).await.map(drop),
                Act::Place => {
                    // What has stepped aside, or never did, is not to be served while it is renamed.
                    etcd.server.stop().await?;
                    take_back(recipe)
                }
                Act::Start => etcd.server.stop().await,
            }
        }
        .boxed()
    }
}

/// Writes the snapshot beside the place of the data, anew if it is there, and makes a data directory of it, as whoever owns what is live.
async fn stage(part: &EtcdPart) -> Result<()> {
    let Recipe { place, staging, .. } = &part.recipe;
    let doing = || format!("restore data in {}", staging.display());
    let around = place.parent().unwrap_or(Path::new("/"));
    let missing = || Error::new(Kind::NotFound, format!("{}: {} is not there", doing(), around.display()));
    remove(staging)?;
    let whose = around.metadata().context(doing)?;
    let like = trusted(place.symlink_metadata().unwrap_or_else(|_| whose.clone()), &whose, place)?;
    // Whoever owns the directory around it could put another one in its place.
    let around = Held::open(Path::new("/"), around)?.ok_or_else(missing)?;
    let name = staging.file_name().unwrap_or_default();
    fs::create_dir(around.at(name).path).context(doing)?;
    let held = Held::open(&around.path(), &around.at(name).path)?.ok_or_else(missing)?;
    let directory = held.file().context(doing)?;
    directory.set_permissions(Permissions::from_mode(0o700)).context(doing)?;
    write(part, &held.at(DATA.as_ref()).path, &like).await?;
    give(&directory, &like).context(doing)?;
    let member = Member { name: part.recipe.member.clone(), peers: part.recipe.peers.clone() };
    restore(part, "data", &member).await?;
    sync_all(&part.recipe.data())?;
    around.sync()
}

/// Whose the new data are to be, and as whom programs read them. Whoever owns the directory around could have put there what is
/// root's, to have them run as root.
fn trusted(like: fs::Metadata, around: &fs::Metadata, path: &Path) -> Result<fs::Metadata> {
    if like.uid() != around.uid() && around.uid() != 0 {
        let error = Error::new(
            Kind::Refused,
            format!("restore {}: it is another user's than the directory around it", path.display()),
        );
        return Err(error.hint("give the directory that holds it to root, or to the server's user"));
    }
    Ok(like)
}

/// Root alone can give something away, and who isn't root is its owner.
fn give(file: &fs::File, like: &impl MetadataExt) -> std::io::Result<()> {
    if rustix::process::geteuid().is_root() { fchown(file, Some(like.uid()), Some(like.gid())) } else { Ok(()) }
}

/// Writes the snapshot, and holds it against the digest at its end.
async fn write(part: &EtcdPart, path: &Path, like: &(impl MetadataExt + Sync)) -> Result<()> {
    let (stored, shown) = (part.stored()?, part.recipe.staging.join(DATA).display().to_string());
    let doing = || format!("write {shown}");
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).context(doing)?;
    let trailer = Arc::new(Mutex::new(Trailer::new(stored.entry(DATA)?.size)));
    let (mut writing, seen, named) = (file.try_clone().context(doing)?, trailer.clone(), shown.clone());
    let take = move |bytes: &[u8]| {
        seen.lock().unwrap_or_else(PoisonError::into_inner).take(bytes);
        writing.write_all(bytes).context(|| format!("write {named}"))
    };
    stored.read(DATA, take).await?;
    give(&file, like).context(doing)?;
    let trailer = std::mem::replace(&mut *trailer.lock().unwrap_or_else(PoisonError::into_inner), Trailer::new(0));
    trailer.finish(&shown)
}

/// Makes a data directory of the snapshot, for a member of its own cluster.
async fn restore(part: &EtcdPart, into: &str, member: &Member) -> Result<()> {
    let Recipe { staging, .. } = &part.recipe;
    let cluster = Recipe { member: member.name.clone(), peers: member.peers.clone(), ..part.recipe.clone() }.cluster();
    let mut command = part.behalf()?.command(staging);
    command.args(["sh", "-c", RESTORE, "sh", "restore", DATA]);
    let options = [
        ("data-dir", into),
        ("name", &member.name),
        ("initial-cluster", &cluster),
        ("initial-cluster-token", &part.recipe.token()),
        ("initial-advertise-peer-urls", &member.peers.join(",")),
    ];
    command.args(options.map(|(option, value)| format!("--{option}={value}")));
    let doing = format!("restore data in {}", staging.join(into).display());
    let limit = time_for(part.stored()?.entry(DATA)?.size);
    let restored = timeout(limit, succeed(command, &doing, Input::Nothing)).await;
    restored.map_err(|_| Error::new(Kind::Failed, format!("{doing}: it is not done in {} s", limit.as_secs())))??;
    Ok(())
}

/// Serves the data where nobody else can reach them, and compares. A drill does so anyway, with the server that it starts.
async fn prove(part: &EtcdPart, at: &At<'_>) -> Result<()> {
    if part.etcd.server.is_own() {
        return Ok(());
    }
    let staging = &part.recipe.staging;
    remove(&staging.join(PROOF))?;
    restore(part, PROOF, &own::member()).await?;
    let own = Arc::new(Own::prepare(staging.clone(), PROOF, part.behalf()?).await?);
    let server = own.server();
    let proved = async {
        server.start(at.context).await.map_err(|error| match error.first_hint() {
            None => error
                .hint("if etcd is not among the system's programs, name its directory as programs below [[component]]"),
            Some(_) => error,
        })?;
        compare(&server, part.stored()?).await
    };
    let proved = proved.await;
    server.stop().await?;
    let (kind, why) = match proved? {
        Compared::Same => return remove(&staging.join(PROOF)),
        Compared::Other(why) => (Kind::Damaged, why),
        // What is not seen is not known to be damaged.
        Compared::Unseen(why) => (Kind::Failed, why),
    };
    Err(Error::new(kind, format!("check the data in {}", staging.display())).because(why))
}

/// What a server has, beside what the bundle says.
enum Compared {
    Same,
    /// It has something else.
    Other(Error),
    /// It does not say any more.
    Unseen(Error),
}

/// Compares what a server has at the revision of the bundle.
async fn compare(server: &Server, stored: &Stored) -> Result<Compared> {
    let (body, count) = (stored.body::<Body>()?, stored.section.items.count);
    let failed = |message: String| Error::new(Kind::Failed, message);
    let Some(hash) = body.hash else {
        let revision = server.status().await?.header.revision;
        let message = format!("its revision is {revision}, and the bundle's {}", body.revision);
        return Ok(if revision < body.revision { Compared::Other(failed(message)) } else { Compared::Same });
    };
    let asked = async { Ok((server.hash(body.revision).await?.1, server.keys(body.revision).await?)) };
    let asked: Result<(Hash, u64)> = asked.await;
    match asked {
        Ok((here, _)) if here.compacted != hash.compacted => {
            Ok(Compared::Unseen(failed("its history was compacted meanwhile".into())))
        }
        Ok((here, keys)) if (here, keys) != (hash, count) => {
            let message = format!(
                "at revision {} it has {keys} keys with the hash {}, and the bundle {count} with {}",
                body.revision, here.hash, hash.hash
            );
            Ok(Compared::Other(failed(message)))
        }
        Ok(_) => Ok(Compared::Same),
        // Another history, which does not go so far, is not this one.
        Err(error) if error.chain().iter().any(|message| message.contains("future revision")) => {
            Ok(Compared::Other(error))
        }
        Err(error) if error.kind() == Kind::Refused || is_compacted(&error) => Ok(Compared::Unseen(error)),
        Err(error) => Err(error),
    }
}

/// Starts the server, and makes sure that it has what was put into its place.
async fn start(part: &EtcdPart, at: &At<'_>) -> Result<()> {
    let (server, place) = (&part.etcd.server, part.etcd.server.place());
    server.start(at.context).await?;
    // What was there before may have the same history up to the bundle's revision.
    let compared = match server.is_own() || is_served(&part.recipe.place)? {
        true => compare(server, part.stored()?).await?,
        false => {
            let message = format!("it has not opened {}", part.recipe.place.display());
            Compared::Other(Error::new(Kind::Failed, message))
        }
    };
    match compared {
        Compared::Same => Ok(()),
        Compared::Unseen(why) if !server.is_own() => {
            // The users of the bundle are there again, and who the settings name may be none of them. It was proved before.
            at.keep([Finding::warning_from_error("not-confirmed", place, &why)]);
            Ok(())
        }
        Compared::Other(why) | Compared::Unseen(why) => {
            let error = Error::new(Kind::Failed, format!("start {place}: it has other data than those put there"));
            let error = error.because(why);
            if server.is_own() {
                return Err(error);
            }
            let (place, before) = (part.recipe.place.display(), part.recipe.before.display());
            Err(error.hint(format!(
                "see that {place} is its --data-dir; `restore --rollback` has what was there before in {before}"
            )))
        }
    }
}
