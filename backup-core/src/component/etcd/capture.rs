//! What is captured of a server: the snapshot that `etcdctl` saves.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::json;

use super::answers::{Header, Member, Status};
use super::directory::is_served;
use super::scratch::{self, Scratch};
use super::server::{Server, is_compacted};
use super::snapshot::Trailer;
use super::{Body, DATA, Hash, OneEtcd, VERSION};
use crate::bundle::manifest::Items;
use crate::component::{ByHand, Captured, Look, Out, Ready, Said, Staying};
use crate::finding::{Finding, Findings, bytes};
use crate::{Error, ErrorContext, Kind, Result, shell};

/// How often a snapshot is taken anew whose history was compacted meanwhile.
const TIMES: usize = 3;

/// What a server said of itself.
struct Looked {
    status: Status,
    member: Member,
    users: usize,
    auth: Option<bool>,
    alarms: Vec<String>,
}

/// Looks whether the server can be captured.
pub(super) async fn check(etcd: &OneEtcd, look: &mut Look<'_>) -> Option<Box<dyn Ready>> {
    let (server, place) = (&etcd.server, etcd.server.place());
    let looked = async {
        let (status, member) = (server.status().await?, server.member().await?);
        // Only whoever may ask who there is may take a snapshot.
        let ((users, auth), alarms) = (server.users().await?, server.alarms().await?);
        Ok(Looked { status, member, users, auth, alarms })
    };
    let looked = look.findings.keep("etcd", &place, looked.await)?;
    let Status { version, size, .. } = &looked.status;
    look.findings.all.push(Finding::ok("etcd", &place, format!("etcd {version}, {} on disk", bytes(*size))));
    note(etcd, &looked, look.findings);
    let scratch = scratch::directory(etcd.scratch.as_deref());
    let free = scratch::free(&scratch);
    if free < *size {
        let message = format!("{} are free there, and the snapshot may take {}", bytes(free), bytes(*size));
        let error = Error::new(Kind::Refused, format!("back up {place}: {}: {message}", scratch.display()));
        let hint = "make room, or name another directory as scratch below [[component]] in the settings";
        return look.findings.keep("space", &place, Err(error.hint(hint)));
    }
    Some(Box::new(ReadyEtcd { id: etcd.id.to_string(), server: server.clone(), looked, scratch: etcd.scratch.clone() }))
}

/// Says what is to be known of it.
fn note(etcd: &OneEtcd, looked: &Looked, findings: &mut Findings) {
    let (server, place) = (&etcd.server, etcd.server.place());
    if looked.users > 0 {
        let message = format!("the bundle has digests of the passwords of {} users", looked.users);
        let hint = "a restore brings them back: from then on these passwords are asked for";
        findings.all.push(Finding::info("etcd-users", &place, message).hint(hint));
    }
    if !looked.alarms.is_empty() {
        let message = format!("alarms are on ({}), and come back with the data", looked.alarms.join(", "));
        let hint = "see to their cause, then `etcdctl alarm disarm`";
        findings.all.push(Finding::warning("etcd-alarm", &place, message).hint(hint));
    }
    // Who backs up need not be allowed to look.
    if matches!(is_served(server.data()), Ok(false)) {
        let message =
            format!("no server has its data in {} open: a restore would not find them", server.data().display());
        let hint = "name the server's --data-dir as data_directory below [[component]] in the settings";
        findings.all.push(Finding::warning("etcd-data-directory", &place, message).hint(hint));
    }
}

struct ReadyEtcd {
    id: String,
    server: Arc<Server>,
    looked: Looked,
    scratch: Option<PathBuf>,
}

impl Ready for ReadyEtcd {
    fn size(&self) -> u64 {
        self.looked.status.size
    }

    fn covers(&self) -> BoxFuture<'_, Vec<Staying>> {
        async { vec![Staying::new(self.server.data(), format!("what {} keeps", self.id))] }.boxed()
    }

    fn by_hand(&self, _: &str) -> ByHand {
        let Looked { status, member: Member { name, peers }, .. } = &self.looked;
        let cluster = peers.iter().map(|url| format!("{name}={url}")).collect::<Vec<_>>().join(",");
        ByHand::also(format!(
            "Put the data of {id} (etcd {version}) back: stop the server. Move its data directory away ({data} before). Make a new one:\n\
             \x20   ETCDCTL_API=3 etcdctl snapshot restore components/{id}/{DATA} --data-dir {data} --name {name} \\\n\
             \x20       --initial-cluster {cluster} --initial-advertise-peer-urls {peers} --initial-cluster-token new-cluster\n\
             From etcd 3.6 on, use `etcdutl snapshot restore`. Give the directory to the user of the server with chown -R. Start the server.\n\
             The revision goes back, so restart all clients. The users have their old passwords again.",
            id = self.id,
            version = status.version,
            data = shell::word(&self.server.data().display().to_string()),
            name = shell::word(name),
            cluster = shell::word(&cluster),
            peers = shell::word(&peers.join(",")),
        ))
    }

    fn capture<'a>(self: Box<Self>, out: &'a Out) -> BoxFuture<'a, Result<Captured>> {
        async move { self.dump(out).await }.boxed()
    }
}

/// A snapshot in a file.
struct Saved {
    revision: i64,
    hash: Option<Hash>,
    keys: u64,
    cluster: u64,
}

impl ReadyEtcd {
    async fn dump(&self, out: &Out) -> Result<Captured> {
        let scratch = Scratch::make(self.scratch.as_deref(), &self.id)?;
        let file = scratch.file(DATA);
        let (as_of, mut findings) = (out.context.now(), Vec::new());
        let saved = out.context.until_cancelled(self.save(&file)).await?;
        if saved.hash.is_none() {
            let message = "its history was compacted each time that a snapshot was taken: keys are counted as of a moment later, and a restore compares the revision alone";
            findings.push(Finding::warning("etcd-hash", self.server.place(), message));
        }
        stream(&file, out).await?;
        out.meter.done.fetch_add(self.looked.status.size, Relaxed);
        let body = Body {
            etcd: self.looked.status.version.clone(),
            cluster: format!("{:x}", saved.cluster),
            member: self.looked.member.name.clone(),
            revision: saved.revision,
            hash: saved.hash,
            users: self.looked.users,
            auth: self.looked.auth,
            alarms: self.looked.alarms.clone(),
        };
        let items = Items { count: saved.keys, unit: "key".into() };
        Ok(Captured { said: Said::Section { version: VERSION, as_of, items, body: json!(body) }, findings })
    }

    /// Saves it, and asks the server what it has at the revision that it is of. The hash is one of all history that is left, so none may
    /// go meanwhile.
    async fn save(&self, file: &Path) -> Result<Saved> {
        for _ in 0..TIMES {
            if let Some(saved) = self.save_once(file).await? {
                return Ok(saved);
            }
        }
        let (header, _) = self.server.hash(0).await?;
        let (revision, keys) = (self.server.revision_of(file).await?, self.server.keys(0).await?);
        Ok(Saved { revision, hash: None, keys, cluster: header.cluster_id })
    }

    async fn save_once(&self, file: &Path) -> Result<Option<Saved>> {
        let server = &self.server;
        let (_, before) = server.hash(0).await?;
        server.save(file, self.looked.status.size).await?;
        // The file has no trace of last writes that were deletions and are compacted away.
        let revision = server.revision_of(file).await?.max(before.compacted);
        let after = async { Ok((server.keys(revision).await?, server.hash(revision).await?)) };
        let after: Result<(u64, (Header, Hash))> = after.await;
        match after {
            Ok((keys, (header, hash))) if hash.compacted == before.compacted => {
                Ok(Some(Saved { revision, hash: Some(hash), keys, cluster: header.cluster_id }))
            }
            Ok(_) => Ok(None),
            Err(error) if is_compacted(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Streams the file into the bundle, and holds it against the digest at its end.
async fn stream(path: &Path, out: &Out) -> Result<()> {
    let doing = || format!("read {}", path.display());
    let mut file = File::open(path).context(doing)?;
    let size = file.metadata().context(doing)?.len();
    let mut trailer = Trailer::new(size);
    out.stream(DATA, size, |buffer, wanted| {
        let begin = buffer.len();
        buffer.resize(begin + wanted, 0);
        file.read_exact(&mut buffer[begin..]).context(doing)?;
        trailer.take(&buffer[begin..]);
        Ok(())
    })
    .await?;
    trailer.finish(&path.display().to_string())
}
