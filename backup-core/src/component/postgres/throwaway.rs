//! A PostgreSQL server for a while: in a directory of its own, without a network port, gone with the value that holds it.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::Child;
use tokio::time::Instant;

use super::connection::{Parameters, connect};
use super::tools::Tools;
use super::{command, query_failed, sql};
use crate::component::walls::{DrillLimits, Walls};
use crate::context::Environment;
use crate::finding::Finding;
use crate::lock::{Lock, lock};
use crate::{Error, ErrorContext, Kind, Result};

const PREFIX: &str = "orchestrator-drill-";
const LOCK: &str = "lock";
/// The server's own directory, and that of its socket: no more letters than a socket's path has room for.
const OWN: &str = "own";
const SOCKET: &str = "s";
/// The name of its superuser.
const USER: &str = "postgres";
/// Nothing of it outlives a crash, so nothing waits for the disk.
const SETTINGS: [&str; 8] = [
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "max_wal_size=4GB",
    "shared_buffers=128MB",
    "listen_addresses=",
];
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);
/// The end of the server's log that is looked into.
const LOOKED: u64 = 4096;

/// A running server. Dropping it ends the server and removes its directory.
pub struct Throwaway {
    server: Option<Child>,
    walls: Walls,
    tools: Tools,
    directory: TempDir,
    log: File,
    _lock: Lock,
}

impl Throwaway {
    /// Makes and starts a server in a new directory below `place`, and removes what killed runs have left there. It preloads
    /// those of the libraries `preload` that this machine has; the others are returned.
    ///
    /// # Errors
    /// What initdb or the server say.
    pub async fn start(
        tools: &Tools,
        place: &Path,
        preload: &[String],
        limits: &DrillLimits,
        environment: &Environment,
    ) -> Result<(Self, Vec<String>)> {
        let doing = || format!("start a throw-away PostgreSQL in {}", place.display());
        remove_leftovers(place);
        let place = &std::path::absolute(place).context(doing)?;
        let directory = tempfile::Builder::new().prefix(PREFIX).tempdir_in(place).context(doing)?;
        let path = directory.path();
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path.join(LOCK)).context(doing)?;
        let held = lock(file, path, || "somebody else has it".into())?;
        let log = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path.join("log"));
        let log = log.context(doing)?;
        let [root, own, socket] = ["root", OWN, SOCKET].map(|name| path.join(name));
        for directory in [&root, &own, &socket] {
            fs::create_dir(directory).context(doing)?;
        }
        // Whatever the umask is: programs of another user come to the socket.
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o755)).context(doing)?;
        let writable = [own.clone(), socket.clone()];
        // Behind walls a link to it may lead nowhere, and it finds its files from where it really is.
        let programs = tools.directory.canonicalize().context(doing)?;
        let shown = (&*server_parts(&programs), &*libraries(preload));
        let walls = Walls::raise(&root, &writable, shown, limits, environment).await.context(doing)?;
        if let Some((user, group)) = walls.account {
            for directory in &writable {
                lchown(directory, Some(user), Some(group)).context(doing)?;
            }
        }
        // Who is behind walls has no need to come in from outside.
        let mode = if walls.account.is_some() && !walls.are_closed() { 0o711 } else { 0o700 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).context(doing)?;
        let tools = Tools { within: walls.within.clone(), directory: programs, ..tools.clone() };
        let mut initdb = walls.within.command(tools.program("initdb"));
        initdb.arg("--pgdata").arg(own.join("data"));
        initdb.args(["--username", USER, "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]);
        let made = command::run(initdb, "make a throw-away PostgreSQL with initdb", None).await;
        made.map_err(|error| {
            error.hint("where this is about permission: the user that runs the server must be able to reach the directory; --in names another")
        })?;
        let mut started = Self { server: None, walls, tools, directory, log, _lock: held };
        started.run(&[]).await.context(doing)?;
        let missing = started.preload(preload).await.context(doing)?;
        // What the bundle starts must not put another server's socket here, for us to meet.
        started.walls.seal(&socket).await?;
        Ok((started, missing))
    }

    /// Starts it again with those of the libraries that this machine has; returns the others.
    async fn preload(&mut self, libraries: &[String]) -> Result<Vec<String>> {
        if libraries.is_empty() {
            return Ok(Vec::new());
        }
        let directory = self.library_directory().await?;
        let is_there = |library: &&String| {
            let path = directory.join(library.strip_prefix("$libdir/").unwrap_or(library));
            path.is_file() || path.with_added_extension("so").is_file()
        };
        let (there, missing): (Vec<&String>, Vec<&String>) = libraries.iter().partition(is_there);
        let missing = missing.into_iter().cloned().collect();
        if there.is_empty() {
            return Ok(missing);
        }
        self.quit().await?;
        let list: Vec<String> = there.into_iter().map(|library| sql::identifier(library)).collect();
        let preload = format!("shared_preload_libraries={}", list.join(","));
        // What a library would run in the background, such as the jobs of pg_cron, must not run on the restored data.
        if self.run(&[&preload, "max_worker_processes=0"]).await.is_ok() {
            return Ok(missing);
        }
        self.quit().await?;
        self.run(&[]).await?;
        Ok(libraries.to_vec())
    }

    async fn library_directory(&self) -> Result<PathBuf> {
        let connection = connect(&self.parameters()?).await?;
        let sql = "SELECT setting FROM pg_catalog.pg_config WHERE name = 'PKGLIBDIR'";
        let row = connection.query_one(sql, &[]).await;
        let row = row.map_err(|error| query_failed("ask the server where its libraries are", &error))?;
        Ok(row.get::<_, &str>(0).into())
    }

    /// Starts the server and waits until it answers.
    async fn run(&mut self, settings: &[&str]) -> Result<()> {
        let doing = || "start the server".into();
        let path = self.directory.path();
        let mut postgres = self.walls.within.command(self.tools.program("postgres"));
        postgres.arg("-D").arg(path.join(OWN).join("data")).arg("-k").arg(path.join(SOCKET));
        postgres.args(SETTINGS.iter().chain(settings).flat_map(|setting| ["-c", setting]));
        let log = || self.log.try_clone().context(doing);
        postgres.stdin(Stdio::null()).stdout(log()?).stderr(log()?).process_group(0);
        self.server = Some(postgres.spawn().context(doing)?);
        self.wait().await
    }

    /// Ends the server, and leaves the walls; nothing of a bundle has run in it.
    async fn quit(&mut self) -> Result<()> {
        if self.walls.are_closed() {
            let mut kill = self.walls.within.command("sh");
            // It knows its number, and is gone already where it did not start.
            kill.args(["-c", r#"! read -r number <"$0" || kill -QUIT "$number" || :"#]);
            kill.arg(self.directory.path().join(OWN).join("data/postmaster.pid"));
            command::run(kill, "end the server", None).await?;
        }
        self.stop();
        Ok(())
    }

    /// How it is connected to, as its superuser.
    ///
    /// # Errors
    /// None that are known; the text is our own.
    pub fn parameters(&self) -> Result<Parameters> {
        let host = self.directory.path().join(SOCKET).display().to_string().replace('\\', "\\\\").replace('\'', "\\'");
        Parameters::resolve(&format!("host='{host}' port=5432 user={USER} dbname=postgres"), &Environment::default())
    }

    /// Programs that fit it, and that stay behind its walls.
    pub fn tools(&self) -> Tools {
        self.tools.clone()
    }

    /// What is not walled off.
    pub fn open(&self) -> Option<&Finding> {
        self.walls.open.as_ref()
    }

    /// A directory in it that the server may write to.
    ///
    /// # Errors
    /// Where it can't be made.
    pub fn directory(&self, name: &str) -> Result<PathBuf> {
        let path = self.directory.path().join(OWN).join(name);
        let doing = || format!("make {}", path.display());
        fs::create_dir(&path).context(doing)?;
        if let Some((user, group)) = self.walls.account {
            lchown(&path, Some(user), Some(group)).context(doing)?;
        }
        Ok(path)
    }

    /// Where all of it is; what is in it directly is ours.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    async fn wait(&mut self) -> Result<()> {
        let parameters = self.parameters()?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let failure = match connect(&parameters).await {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            let ended = match &mut self.server {
                Some(server) => server.try_wait().context(|| "wait for the server".into())?,
                None => None,
            };
            if ended.is_some() || Instant::now() > deadline {
                let log = self.end_of_log();
                let last = log.trim().lines().last().unwrap_or_default().to_owned();
                return Err(Error::new(Kind::Failed, format!("it did not start: {last}")).because(failure));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Drop for Throwaway {
    fn drop(&mut self) {
        if self.walls.are_closed() {
            self.walls.end();
        } else {
            self.stop();
        }
    }
}

impl Throwaway {
    fn stop(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        if let Some(pid) = server.id().and_then(|id| Pid::from_raw(id.cast_signed()))
            && !self.walls.are_closed()
        {
            // The immediate shutdown, which ends its children too.
            let _ = kill_process(pid, Signal::QUIT);
        }
        // Nothing may be done with its directory before it has ended.
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while matches!(server.try_wait(), Ok(None)) && std::time::Instant::now() < deadline {
            std::thread::sleep(PAUSE);
        }
    }

    fn end_of_log(&self) -> String {
        let length = self.log.metadata().map_or(0, |metadata| metadata.len());
        let mut end = vec![0; LOOKED as usize];
        let read = self.log.read_at(&mut end, length.saturating_sub(LOOKED)).unwrap_or(0);
        String::from_utf8_lossy(&end[..read]).into_owned()
    }
}

/// Directories that a server reads: its programs, what it has beside them, and libraries that Python's packages of it have further up. Not
/// all that lies there: its data may.
fn server_parts(programs: &Path) -> Vec<PathBuf> {
    const BESIDE: [&str; 5] = ["share", "libexec", "lib", "lib32", "lib64"];
    const UP: usize = 3;
    let mut parts = vec![programs.to_owned()];
    for around in programs.ancestors().skip(1).take(UP).filter(|around| around.parent().is_some()) {
        let entries = fs::read_dir(around).into_iter().flatten().flatten().map(|entry| entry.path());
        parts.extend(entries.filter(|path| path.extension().is_some_and(|ending| ending == "libs") && path.is_dir()));
    }
    let beside = programs.parent().filter(|around| around.parent().is_some()).into_iter();
    parts.extend(beside.flat_map(|around| BESIDE.map(|name| around.join(name))).filter(|path| path.is_dir()));
    parts
}

/// Libraries that a bundle names by their path. Of what has another name nothing is shown.
fn libraries(preload: &[String]) -> Vec<PathBuf> {
    let library = |name: &String| {
        let path = PathBuf::from(name);
        [path.with_added_extension("so"), path].into_iter().find(|path| path.is_file())
    };
    let named = preload.iter().filter(|name| name.starts_with('/')).filter_map(library);
    named.filter(|path| path.extension().is_some_and(|extension| extension == "so")).collect()
}

/// Removes directories of runs that were killed, which nobody holds the lock of.
fn remove_leftovers(place: &Path) {
    let Ok(entries) = fs::read_dir(place) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)) {
        let path = entry.path();
        // Anybody may make such a directory where many may write, with a link or a pipe in it.
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let lock = OpenOptions::new().read(true).custom_flags(flags).open(path.join(LOCK));
        let free = lock.is_ok_and(|file| file.metadata().is_ok_and(|is| is.is_file()) && file.try_lock().is_ok());
        if free && path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
            // What can't be removed belongs to somebody else.
            let _ = fs::remove_dir_all(path);
        }
    }
}
