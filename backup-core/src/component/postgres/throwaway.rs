//! A PostgreSQL server for a while: in a directory of its own, without a network port, gone with the value that holds it.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::connection::{Parameters, connect};
use super::tools::Tools;
use super::{query_failed, sql};
use crate::context::Environment;
use crate::lock::lock;
use crate::{Error, ErrorContext, Kind, Result};

const PREFIX: &str = "orchestrator-drill-";
const LOCK: &str = "lock";
/// PostgreSQL refuses to run as root, and this is the user that its packages make.
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

/// A running server. Dropping it ends the server and removes its directory.
pub struct Throwaway {
    server: Option<Child>,
    directory: TempDir,
    log: File,
    _lock: File,
}

impl Throwaway {
    /// Makes and starts a server in a new directory below `place`, and removes what killed runs have left there. It preloads
    /// those of the libraries `preload` that this machine has; the others are returned.
    ///
    /// # Errors
    /// What initdb or the server say.
    pub async fn start(tools: &Tools, place: &Path, preload: &[String]) -> Result<(Self, Vec<String>)> {
        let doing = || format!("start a throw-away PostgreSQL in {}", place.display());
        remove_leftovers(place);
        let directory = tempfile::Builder::new().prefix(PREFIX).tempdir_in(place).context(doing)?;
        let path = directory.path();
        let file = File::create(path.join(LOCK)).context(doing)?;
        let held = lock(file, path, || "somebody else has it".into())?;
        // Before the directory is somebody else's, who could put a link there.
        let log = File::create_new(path.join("log")).context(doing)?;
        if rustix::process::geteuid().is_root() {
            let (user, group) = account()?;
            chown(path, Some(user), Some(group)).context(doing)?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).context(doing)?;
        let mut initdb = as_server_user(&tools.program("initdb"));
        initdb.arg("--pgdata").arg(path.join("data"));
        initdb.args(["--username", USER, "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]);
        let made = super::command::run(initdb, "make a throw-away PostgreSQL with initdb", None).await;
        made.map_err(|error| {
            error.hint("where this is about permission: the user that runs the server must be able to reach the directory; --in names another")
        })?;
        let mut started = Self { server: None, directory, log, _lock: held };
        started.run(tools, &[]).await.context(doing)?;
        let missing = started.preload(tools, preload).await.context(doing)?;
        Ok((started, missing))
    }

    /// Starts it again with those of the libraries that this machine has; returns the others.
    async fn preload(&mut self, tools: &Tools, libraries: &[String]) -> Result<Vec<String>> {
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
        self.stop();
        let list: Vec<String> = there.into_iter().map(|library| sql::identifier(library)).collect();
        let preload = format!("shared_preload_libraries={}", list.join(","));
        // What a library would run in the background, such as the jobs of pg_cron, must not run on the restored data.
        if self.run(tools, &[&preload, "max_worker_processes=0"]).await.is_ok() {
            return Ok(missing);
        }
        self.stop();
        self.run(tools, &[]).await?;
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
    async fn run(&mut self, tools: &Tools, settings: &[&str]) -> Result<()> {
        let doing = || "start the server".into();
        let path = self.directory.path();
        let mut postgres = as_server_user(&tools.program("postgres"));
        postgres.arg("-D").arg(path.join("data")).arg("-k").arg(path);
        postgres.args(SETTINGS.iter().chain(settings).flat_map(|setting| ["-c", setting]));
        let log = || self.log.try_clone().context(doing);
        postgres.stdin(Stdio::null()).stdout(log()?).stderr(log()?);
        self.server = Some(postgres.spawn().context(doing)?);
        self.wait().await
    }

    /// How it is connected to, as its superuser.
    ///
    /// # Errors
    /// None that are known; the text is our own.
    pub fn parameters(&self) -> Result<Parameters> {
        let host = self.directory.path().display().to_string().replace('\\', "\\\\").replace('\'', "\\'");
        Parameters::resolve(&format!("host='{host}' port=5432 user={USER} dbname=postgres"), &Environment::default())
    }

    /// A directory in it that the server may write to.
    ///
    /// # Errors
    /// Where it can't be made.
    pub fn directory(&self, name: &str) -> Result<PathBuf> {
        let path = self.directory.path().join(name);
        let doing = || format!("make {}", path.display());
        fs::create_dir(&path).context(doing)?;
        if rustix::process::geteuid().is_root() {
            let (user, group) = account()?;
            chown(&path, Some(user), Some(group)).context(doing)?;
        }
        Ok(path)
    }

    /// Where all of it is.
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
                let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
                let last = log.trim().lines().last().unwrap_or_default().to_owned();
                return Err(Error::new(Kind::Failed, format!("it did not start: {last}")).because(failure));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Drop for Throwaway {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Throwaway {
    fn stop(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        if let Some(pid) = server.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            // The immediate shutdown, which ends its children too.
            let _ = kill_process(pid, Signal::QUIT);
        }
        // Nothing may be done with its directory before it has ended.
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while matches!(server.try_wait(), Ok(None)) && std::time::Instant::now() < deadline {
            std::thread::sleep(PAUSE);
        }
    }
}

/// A program that ends when we do, however that happens, and that is not root.
fn as_server_user(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "QUIT"]);
    if rustix::process::geteuid().is_root() {
        command.args(["--reuid", USER, "--regid", USER, "--clear-groups"]);
    }
    // We may have ended before the system knew whom to tell; then somebody else is the parent by now.
    command.args(["sh", "-c", r#"[ "$PPID" = "$0" ] && exec "$@""#, &std::process::id().to_string()]);
    command.arg(program).current_dir("/").env("LC_ALL", "C");
    for variable in Parameters::removed_variables() {
        command.env_remove(variable);
    }
    command
}

/// Numbers of the server's user and group.
fn account() -> Result<(u32, u32)> {
    let passwd = fs::read_to_string("/etc/passwd").context(|| "read /etc/passwd".into())?;
    let number = |field: Option<&str>| field.and_then(|text| text.parse().ok());
    let found = passwd.lines().find_map(|line| {
        let mut fields = line.strip_prefix(USER)?.strip_prefix(':')?.split(':').skip(1);
        Some((number(fields.next())?, number(fields.next())?))
    });
    found.ok_or_else(|| {
        Error::new(Kind::NotFound, format!("PostgreSQL does not run as root, and there is no user {USER}"))
            .hint("run as an ordinary user, or install PostgreSQL's server package, which makes the user")
    })
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
