//! A Redis server for a while: behind walls, without a network port, gone with the value that holds it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::process::{Child, Command};

use super::OneRedis;
use super::server::{Control, Server};
use crate::component::walls::Walls;
use crate::component::{Room, Stored, Throwaway};
use crate::{Error, ErrorContext, Kind, Result};

/// A server of our own, which can be stopped and started.
pub(super) struct Own {
    directory: PathBuf,
    walls: Walls,
    server: Mutex<Option<Child>>,
}

/// Makes and starts one.
pub(super) async fn start(stored: &Stored, room: &Room<'_>) -> Result<Throwaway> {
    let doing = || format!("start a throw-away Redis in {}", room.place.display());
    let (walls, own) = room.walls(doing).await?;
    let unproved = walls.open.clone().into_iter().collect();
    let socket = socket(&own).display().to_string();
    let own = Arc::new(Own { directory: own, walls, server: Mutex::default() });
    let server = Server::new(socket, None, None, Control::Own(own.clone()));
    server.start(room.context).await.context(doing).map_err(|error| {
        error.hint("a drill needs redis-server, redis-cli and redis-check-rdb: install Redis on this machine")
    })?;
    let component = Arc::new(OneRedis { id: stored.section.id.clone(), server: Arc::new(server) });
    Ok(Throwaway { component, guard: Box::new(own), unproved })
}

fn socket(directory: &Path) -> PathBuf {
    directory.join("s")
}

impl Own {
    /// Starts it; it answers some time later.
    pub(super) fn start(&self) -> Result<()> {
        let doing = || "start redis-server".to_owned();
        let mut command = self.walls.within.command("redis-server");
        command.args([
            "--port",
            "0",
            "--unixsocketperm",
            "777",
            "--save",
            "",
            "--appendonly",
            "no",
            "--daemonize",
            "no",
        ]);
        command.arg("--unixsocket").arg(socket(&self.directory)).arg("--dir").arg(&self.directory);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).kill_on_drop(true);
        let child = command.spawn().context(doing)?;
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
        Ok(())
    }

    /// A program behind the same walls.
    pub(super) fn program(&self, name: &str) -> Command {
        self.walls.within.command(name)
    }

    /// Waits until it has ended.
    pub(super) async fn ended(&self) -> Result<()> {
        let child = self.server.lock().unwrap_or_else(PoisonError::into_inner).take();
        match child {
            Some(mut child) => child.wait().await.map(drop).context(|| "wait for redis-server".into()),
            None => Err(Error::new(Kind::Failed, "stop redis-server: it does not run")),
        }
    }
}
