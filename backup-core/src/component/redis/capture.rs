//! What is captured of a server: the file that `BGSAVE` writes.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::json;

use super::server::Server;
use super::{Body, DATA, OneRedis, VERSION};
use crate::bundle::manifest::Items;
use crate::component::program::{Input, succeed};
use crate::component::{ByHand, Captured, Look, Out, Ready, Said, Staying};
use crate::finding::{Finding, bytes};
use crate::{Error, ErrorContext, Kind, Result};

/// Looks whether the server can be captured.
pub(super) async fn check(redis: &OneRedis, look: &mut Look<'_>) -> Option<Box<dyn Ready>> {
    let place = redis.server.place();
    let looked = async {
        let (info, file) = (redis.server.info().await?, redis.server.file().await?);
        if info.get("cluster_enabled") == "1" {
            let message = format!("back up {place}: it is one of a cluster, and holds some of its keys alone");
            return Err(Error::new(Kind::Unsupported, message));
        }
        File::open(&file)
            .map(drop)
            .or_else(|cause| match cause.kind() {
                // It has never saved.
                std::io::ErrorKind::NotFound => Ok(()),
                _ => Err(cause),
            })
            .context(|| format!("read {}", file.display()))?;
        Ok((info, file))
    };
    let (info, file) = look.findings.keep("redis", &place, looked.await)?;
    let (version, size) = (info.get("redis_version").to_owned(), info.number("used_memory"));
    let message = format!("Redis {version}, {} keys, {} in memory", info.keys(), bytes(size));
    look.findings.all.push(Finding::ok("redis", &place, message));
    if info.get("role") == "slave" {
        let message = "it is a replica: what it has not got yet of its master is not captured";
        look.findings.all.push(Finding::info("redis-replica", &place, message));
    }
    let server = redis.server.clone();
    Some(Box::new(ReadyRedis { server, file, version, size, id: redis.id.to_string() }))
}

struct ReadyRedis {
    id: String,
    server: Arc<Server>,
    file: PathBuf,
    version: String,
    size: u64,
}

impl Ready for ReadyRedis {
    fn size(&self) -> u64 {
        self.size
    }

    fn covers(&self) -> BoxFuture<'_, Vec<Staying>> {
        async { vec![Staying::new(&self.file, format!("what {} keeps", self.id))] }.boxed()
    }

    fn by_hand(&self, _: &str) -> ByHand {
        ByHand::also(format!(
            "Put the data of {id} (Redis {version}) back: stop the server, and copy components/{id}/{DATA} to the file of its\n\
             settings (dir and dbfilename; {file} before). Give the file to the user of the server. Start the server.\n\
             With `appendonly yes` the server reads another file. Set that to no first.",
            id = self.id,
            version = self.version,
            file = self.file.display(),
        ))
    }

    fn capture<'a>(self: Box<Self>, out: &'a Out) -> BoxFuture<'a, Result<Captured>> {
        async move { self.dump(out).await }.boxed()
    }
}

impl ReadyRedis {
    async fn dump(&self, out: &Out) -> Result<Captured> {
        let as_of = out.context.until_cancelled(self.server.save()).await?;
        let doing = || format!("read {}", self.file.display());
        // One that is saved after this takes the name by a rename, and this one stays as it is.
        let mut file = File::open(&self.file).context(doing)?;
        let size = file.metadata().context(doing)?.len();
        let counted = count(&self.server, file.try_clone().context(doing)?, &self.file.display().to_string()).await?;
        if counted.saved < as_of {
            // Another server's, or this one writes elsewhere: it may be on another machine.
            let message = format!("{}: it is not the file that {} has saved", doing(), self.server.place());
            return Err(Error::new(Kind::Refused, message).hint(
                "a backup reads the server's file: run it on the machine of the server, as a user that may read it",
            ));
        }
        out.stream(DATA, size, |buffer, wanted| {
            let begin = buffer.len();
            buffer.resize(begin + wanted, 0);
            file.read_exact(&mut buffer[begin..]).context(doing)
        })
        .await?;
        out.meter.done.fetch_add(self.size, Relaxed);
        let body = Body { redis: self.version.clone(), expires: counted.expires };
        let items = Items { count: counted.keys, unit: "key".into() };
        let said = Said::Section { version: VERSION, as_of, items, body: json!(body) };
        Ok(Captured { said, findings: Vec::new() })
    }
}

/// What `redis-check-rdb` has counted in a file.
pub(super) struct Counted {
    pub(super) keys: u64,
    pub(super) expires: u64,
    /// When the server saved it, by the server's clock.
    pub(super) saved: DateTime<Utc>,
}

/// Reads a file of data to its end, with Redis's own program, which holds it against its checksum.
///
/// # Errors
/// Where the file is none, or damaged.
pub(super) async fn count(server: &Server, file: File, shown: &str) -> Result<Counted> {
    let doing = format!("check {shown} with redis-check-rdb");
    let mut command = server.program("redis-check-rdb");
    // By its number: what has the name by now may be another one.
    command.arg("/proc/self/fd/0");
    let ran = succeed(command, &doing, Input::File(file)).await?;
    let said = String::from_utf8_lossy(&ran.output);
    let number = |what: &str| {
        let lines = said.lines().filter_map(|line| line.strip_prefix("[info] "));
        lines.filter_map(|line| line.strip_suffix(what)?.trim().parse::<u64>().ok()).next()
    };
    let saved =
        said.lines().find_map(|line| line.split_once("AUX FIELD ctime = '")?.1.strip_suffix('\'')?.parse().ok());
    let saved = saved.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    match (number("keys read"), number("expires"), saved) {
        (Some(keys), Some(expires), Some(saved)) => Ok(Counted { keys, expires, saved }),
        _ => Err(Error::new(Kind::Damaged, doing).because(said.lines().last().unwrap_or("it says nothing").to_owned())),
    }
}
