//! etcd, a cluster of one member: its snapshot, restored into a new data directory that takes the place of the old one.

mod access;
mod answers;
mod behalf;
mod capture;
mod directory;
mod own;
mod recipe;
mod restore;
mod scratch;
mod server;
mod snapshot;
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
use access::Access;
use server::{Control, Server};

/// What settings, manifests and journals call it.
const KIND: &str = "etcd";
/// The version of what its section says.
const VERSION: u32 = 1;
/// The entry of its data.
const DATA: &str = "snapshot.db";

/// The kind of state that an etcd server keeps.
pub(super) struct Etcd;

/// A table of the settings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    /// The URL that clients use.
    #[serde(default = "usual_endpoint")]
    endpoint: String,
    /// Where the server keeps its data.
    #[serde(default = "usual_data_directory")]
    data_directory: PathBuf,
    /// The user, where the server asks for one: it needs the role root.
    user: Option<String>,
    /// A file whose first line is the password.
    password_file: Option<PathBuf>,
    /// Who must have signed the server's certificate.
    cacert: Option<PathBuf>,
    /// The certificate that is shown to the server.
    cert: Option<PathBuf>,
    /// Its key.
    key: Option<PathBuf>,
    /// Where etcdctl, etcdutl and etcd are, if not among the system's programs.
    programs: Option<PathBuf>,
    /// Where a backup writes the snapshot first.
    scratch: Option<PathBuf>,
    /// What stops the server.
    #[serde(default = "usual_stop")]
    stop: Vec<String>,
    /// What starts it again.
    #[serde(default = "usual_start")]
    start: Vec<String>,
}

fn usual_endpoint() -> String {
    "http://127.0.0.1:2379".into()
}

fn usual_data_directory() -> PathBuf {
    "/var/lib/etcd/default".into()
}

fn usual_stop() -> Vec<String> {
    ["systemctl", "stop", "etcd"].map(Into::into).into()
}

fn usual_start() -> Vec<String> {
    ["systemctl", "start", "etcd"].map(Into::into).into()
}

/// What the manifest says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Body {
    /// The server's version, such as 3.4.23.
    etcd: String,
    /// The cluster's number, in hexadecimal digits.
    cluster: String,
    /// The member's name.
    member: String,
    /// The revision that the snapshot is of.
    revision: i64,
    /// The hash of all keys at that revision; none where the server compacted its history each time that it was asked.
    hash: Option<Hash>,
    /// How many users it has.
    users: usize,
    /// Whether it asks who somebody is; none where that can't be seen.
    auth: Option<bool>,
    /// Alarms that are on.
    alarms: Vec<String>,
}

/// What all keys hash to, of the history that is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Hash {
    hash: u32,
    /// Where the history begins.
    compacted: i64,
}

impl Kind for Etcd {
    fn name(&self) -> &'static str {
        KIND
    }

    fn configured(&self, id: ComponentId, table: &toml_text::Table) -> Result<Arc<dyn Component>> {
        let table: Table = configured::read(table)?;
        configured::check_commands("etcd", &table.stop, &table.start)?;
        let usage = |message: &str, hint: &str| Err(Error::new(ErrorKind::Usage, message).hint(hint));
        if table.user.is_some() != table.password_file.is_some() {
            return usage("user and password_file go together", "name both, or neither");
        }
        if table.cert.is_some() != table.key.is_some() {
            return usage("cert and key go together", "name both, or neither");
        }
        if !table.data_directory.is_absolute() || table.data_directory.file_name().is_none() {
            return usage("data_directory is no absolute path", "name the server's --data-dir from the root on");
        }
        if access::address(&table.endpoint).is_none() {
            return usage("endpoint is no URL of one server", "write it as http://127.0.0.1:2379 or https://HOST:PORT");
        }
        let Table { endpoint, user, password_file, cacert, cert, key, programs, scratch, stop, start, data_directory } =
            table;
        let access = Access { endpoint, user, password_file, cacert, cert, key, programs };
        let server = Arc::new(Server::new(access, data_directory, Control::Commands { stop, start }));
        Ok(Arc::new(OneEtcd { id, server, scratch }))
    }

    fn check_section(&self, section: &Section) -> Result<()> {
        section.check_version(VERSION)?;
        let body: Body = section.read()?;
        let damaged = |what: &str| Err(Error::new(ErrorKind::Damaged, format!("{}: {what}", section.id)));
        // Revisions are counted from 1.
        if body.revision < 1 {
            return damaged("its revision is none");
        }
        if body.hash.is_some_and(|hash| hash.compacted > body.revision) {
            return damaged("its history begins after its revision");
        }
        Ok(())
    }

    fn throwaway<'a>(&'a self, stored: &'a Stored, room: &'a Room<'_>) -> BoxFuture<'a, Result<Throwaway>> {
        throwaway::start(stored, room).boxed()
    }
}

/// One server.
struct OneEtcd {
    id: ComponentId,
    server: Arc<Server>,
    scratch: Option<PathBuf>,
}

impl Named for OneEtcd {
    fn id(&self) -> &ComponentId {
        &self.id
    }

    fn kind(&self) -> &'static str {
        KIND
    }
}

impl Captures for OneEtcd {
    fn check<'a>(&'a self, look: &'a mut Look<'_>) -> BoxFuture<'a, Option<Box<dyn Ready>>> {
        capture::check(self, look).boxed()
    }
}

impl Component for OneEtcd {
    fn restoring(self: Arc<Self>, stored: Option<Stored>) -> Arc<dyn Restores> {
        Arc::new(Restoring { etcd: self, stored })
    }
}

/// A server that data of a bundle are put back into.
struct Restoring {
    etcd: Arc<OneEtcd>,
    stored: Option<Stored>,
}

impl Named for Restoring {
    fn id(&self) -> &ComponentId {
        &self.etcd.id
    }

    fn kind(&self) -> &'static str {
        KIND
    }
}

impl Restores for Restoring {
    fn fit<'a>(&'a self, moment: &'a str, look: &'a mut Look<'_>) -> BoxFuture<'a, Option<Fitted>> {
        async move {
            let fitted = restore::fit(&self.etcd, self.stored.as_ref()?, moment, look).await;
            look.findings.keep("etcd", &self.etcd.server.place(), fitted).flatten()
        }
        .boxed()
    }

    fn take_up<'a>(self: Arc<Self>, recipe: &'a Value, _: &'a Working) -> BoxFuture<'a, Result<Arc<dyn Part>>> {
        async move {
            let Self { etcd, stored } = &*self;
            let recipe = recipe::Recipe::deserialize(recipe).context(|| format!("read the plan of {}", etcd.id))?;
            recipe.check(etcd)?;
            Ok(restore::part(etcd.clone(), recipe, stored.clone()))
        }
        .boxed()
    }
}
