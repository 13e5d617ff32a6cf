//! Redis: the file that `BGSAVE` writes, put into its place with the server stopped.

mod capture;
mod recipe;
mod restore;
mod server;
mod steps;
mod throwaway;

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::configured;
use super::{Captures, Component, Fitted, Kind, Look, Named, Part, Ready, Restores, Room, Stored, Throwaway, Working};
use crate::bundle::manifest::Section;
use crate::names::ComponentId;
use crate::{Error, ErrorContext, Kind as ErrorKind, Result, toml_text};
use server::{Control, Server};

/// What settings, manifests and journals call it.
const KIND: &str = "redis";
/// The version of what its section says.
const VERSION: u32 = 1;
/// The entry of its data.
const DATA: &str = "dump.rdb";

/// The kind of state that a Redis server keeps.
pub(super) struct Redis;

/// A table of the settings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    /// `HOST:PORT`, or the path of a socket.
    #[serde(default = "usual_address")]
    address: String,
    /// The user, where it is not the default one.
    user: Option<String>,
    /// A file whose first line is the password.
    password_file: Option<PathBuf>,
    /// What stops the server.
    #[serde(default = "usual_stop")]
    stop: Vec<String>,
    /// What starts it again.
    #[serde(default = "usual_start")]
    start: Vec<String>,
}

fn usual_address() -> String {
    "127.0.0.1:6379".into()
}

fn usual_stop() -> Vec<String> {
    ["systemctl", "stop", "redis-server"].map(Into::into).into()
}

fn usual_start() -> Vec<String> {
    ["systemctl", "start", "redis-server"].map(Into::into).into()
}

/// What the manifest says of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Body {
    /// The server's version, such as 7.0.15.
    redis: String,
    /// Keys that end by themselves at some time.
    expires: u64,
}

impl Kind for Redis {
    fn name(&self) -> &'static str {
        KIND
    }

    fn configured(&self, id: ComponentId, table: &toml_text::Table) -> Result<Arc<dyn Component>> {
        let Table { address, user, password_file, stop, start } = configured::read(table)?;
        configured::check_commands("redis-server", &stop, &start)?;
        let server = Server::new(address, user, password_file, Control::Commands { stop, start });
        Ok(Arc::new(OneRedis { id, server: Arc::new(server) }))
    }

    fn check_section(&self, section: &Section) -> Result<()> {
        section.check_version(VERSION)?;
        let body: Body = section.read()?;
        if body.expires > section.items.count {
            let message = format!("{}: more keys are said to end than there are", section.id);
            return Err(Error::new(ErrorKind::Damaged, message));
        }
        Ok(())
    }

    fn throwaway<'a>(&'a self, stored: &'a Stored, room: &'a Room<'_>) -> BoxFuture<'a, Result<Throwaway>> {
        throwaway::start(stored, room).boxed()
    }
}

/// One server.
struct OneRedis {
    id: ComponentId,
    server: Arc<Server>,
}

impl Named for OneRedis {
    fn id(&self) -> &ComponentId {
        &self.id
    }

    fn kind(&self) -> &'static str {
        KIND
    }
}

impl Captures for OneRedis {
    fn check<'a>(&'a self, look: &'a mut Look<'_>) -> BoxFuture<'a, Option<Box<dyn Ready>>> {
        capture::check(self, look).boxed()
    }
}

impl Component for OneRedis {
    fn restoring(self: Arc<Self>, stored: Option<Stored>) -> Arc<dyn Restores> {
        Arc::new(Restoring { redis: self, stored })
    }
}

/// A server that data of a bundle are put back into.
struct Restoring {
    redis: Arc<OneRedis>,
    stored: Option<Stored>,
}

impl Named for Restoring {
    fn id(&self) -> &ComponentId {
        &self.redis.id
    }

    fn kind(&self) -> &'static str {
        KIND
    }
}

impl Restores for Restoring {
    fn fit<'a>(&'a self, moment: &'a str, look: &'a mut Look<'_>) -> BoxFuture<'a, Option<Fitted>> {
        async move {
            let fitted = restore::fit(&self.redis, self.stored.as_ref()?, moment, look).await;
            look.findings.keep("redis", &self.redis.server.place(), fitted).flatten()
        }
        .boxed()
    }

    fn take_up<'a>(self: Arc<Self>, recipe: &'a Value, _: &'a Working) -> BoxFuture<'a, Result<Arc<dyn Part>>> {
        async move {
            let Self { redis, stored } = &*self;
            let recipe = recipe::Recipe::deserialize(recipe).context(|| format!("read the plan of {}", redis.id))?;
            recipe.check(redis)?;
            Ok(restore::part(redis.clone(), recipe, stored.clone()))
        }
        .boxed()
    }
}
