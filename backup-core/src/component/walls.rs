//! What keeps the programs of a throw-away server, and whatever the SQL of a bundle starts in them, from the rest of the machine.
//!
//! They see the system's programs and their own directories, and no network, no processes and no shared memory of others, in namespaces
//! that end with a pipe whose other end is ours. Where the kernel gives none there are fewer walls, and a finding says so.

use std::collections::{BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

use super::program::{Input, succeed};
use crate::context::Environment;
use crate::finding::Finding;
use crate::{Error, ErrorContext, Kind, Result, memory};

/// Makes the new root, and holds the namespaces.
const SETUP: &str = include_str!("walls.sh");
/// Where the wrappers' programs are, and those that a function may look for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const NAMESPACES: [&str; 4] = ["--mount", "--net", "--pid", "--ipc"];
/// Users that nobody has for long, as systemd picks them: they own no file.
const TRANSIENT: std::ops::RangeInclusive<u32> = 61_184..=65_519;
/// Who has as good as nothing on every system, for where a user needs a name.
const NOBODY: &str = "nobody";
/// Processes at once: a server with 64 connections, their programs and helpers need fewer.
const PROCESSES: u32 = 256;
/// Where the machine has no memory left these processes go, and not what lives beside them.
const OUT_FIRST: &str = r#"echo 1000 >/proc/self/oom_score_adj; exec "$@""#;
/// We may have ended before the system knew whom to tell; then somebody else is the parent by now.
const OURS: &str = r#"[ "$PPID" = "$0" ] || exit 1; echo 1000 >/proc/self/oom_score_adj; exec "$@""#;
const SMALLEST: u64 = 1024;
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(10);

/// What may be taken by a drill.
#[derive(Debug, Clone)]
pub struct DrillLimits {
    /// How long it may take.
    pub time: Duration,
    /// MiB of memory of one process; none for half of the machine's.
    pub memory: Option<u64>,
}

impl Default for DrillLimits {
    fn default() -> Self {
        Self { time: Duration::from_secs(12 * 60 * 60), memory: None }
    }
}

/// What programs are begun with; nothing but in drills.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Within {
    words: Vec<OsString>,
    variables: Vec<(&'static str, OsString)>,
}

impl Within {
    /// A program, with an environment of its own where there are walls.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let Some((first, rest)) = self.words.split_first() else { return Command::new(program) };
        let mut command = Command::new(first);
        command.args(rest).arg(program).current_dir("/").env_clear();
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// Walls that stand for as long as this is there; what is behind them ends with it.
pub(crate) struct Walls {
    /// Who holds the namespaces, where there are some.
    holder: Option<Child>,
    /// What a program inside is begun with that may change mounts.
    entered: Within,
    /// What all others are begun with.
    pub(crate) within: Within,
    /// Whose they are, where it is not us.
    pub(crate) account: Option<(u32, u32)>,
    /// What is open.
    pub(crate) open: Option<Finding>,
}

impl Walls {
    /// Raises them around what is writable, the directories `own`, and what can be read beside the system's programs, `shown`: the
    /// server, and the libraries that a bundle names. `root` is an empty directory.
    ///
    /// # Errors
    /// Where there is no user to be.
    pub(crate) async fn raise(
        root: &Path,
        own: &[PathBuf],
        (server, libraries): (&[PathBuf], &[PathBuf]),
        limits: &DrillLimits,
        environment: &Environment,
    ) -> Result<Self> {
        let locales = environment.get("LOCPATH").map(OsString::from);
        let mut variables = vec![("PATH", PATH.into()), ("LC_ALL", "C".into())];
        variables.extend(locales.clone().map(|locales| ("LOCPATH", locales)));
        let memory = limits.memory.unwrap_or_else(half_of_memory);
        let places = std::env::split_paths(&locales.unwrap_or_default()).collect::<Vec<_>>();
        let machines: BTreeSet<&PathBuf> = places.iter().chain(server).filter(|path| is_apart(path)).collect();
        let all = machines.iter().copied().chain(libraries.iter().filter(|path| is_apart(path))).collect();
        let mut raised = Self::closed(root, own, &all, memory, &variables).await;
        // What a bundle names must open no wall.
        if raised.is_err() && all.len() > machines.len() {
            raised = Self::closed(root, own, &machines, memory, &variables).await;
        }
        raised.or_else(|why| Self::open(&why, memory, variables))
    }

    /// All of them.
    async fn closed(
        root: &Path,
        own: &[PathBuf],
        shown: &BTreeSet<&PathBuf>,
        memory: u64,
        variables: &[(&'static str, OsString)],
    ) -> Result<Self> {
        let us = (rustix::process::geteuid(), rustix::process::getegid());
        let account = if us.0.is_root() { Some(transient()?) } else { None };
        let (user, group) = account.unwrap_or((us.0.as_raw(), us.1.as_raw()));
        let mut unshare = Within { words: vec!["unshare".into()], variables: variables.to_vec() };
        let mut enter = words(&["nsenter"]);
        if account.is_none() {
            unshare.words.extend(words(&["--user", "--map-root-user"]));
            enter.extend(words(&["--user", "--preserve-credentials"]));
        }
        unshare.words.extend(words(&NAMESPACES).into_iter().chain(words(&["--fork", "--kill-child"])));
        let mut command = unshare.command("sh");
        command.args(["-c", SETUP, "walls"]).arg(root).args([user.to_string(), group.to_string()]);
        let shown = shown.iter().map(|path| ("ro", path.as_path()));
        for (how, path) in shown.chain(own.iter().map(|path| ("rw", path.as_path()))) {
            command.arg(how).arg(path);
        }
        let (holder, pid) = hold(command).await?;
        enter.extend(words(&["--target", &pid]).into_iter().chain(words(&NAMESPACES)));
        // Where we are in a chroot ourselves, the namespace has another root beside.
        enter.extend(words(&["--root", "--wd"]));
        let mut inside = enter.clone();
        inside.extend(words(&["sh", "-c", OUT_FIRST, "walls"]));
        inside.extend(limited(memory, account.is_some() || counts_in_namespaces()));
        match account {
            Some(_) => inside.push("setpriv".into()),
            // Whoever is root in these namespaces would be it for PostgreSQL too; in one more it is itself again.
            None => {
                let (user, group) = (format!("--map-user={user}"), format!("--map-group={group}"));
                inside.extend(words(&["unshare", "--user", &user, &group, "--keep-caps", "setpriv"]));
            }
        }
        inside.extend(as_account(account, "KILL"));
        inside.push("--bounding-set=-all".into());
        let entered = Within { words: enter, variables: variables.to_vec() };
        let within = Within { words: inside, variables: variables.to_vec() };
        let walls = Self { holder: Some(holder), entered, within, account, open: None };
        // The user that nobody is has its name there and nowhere else.
        let mut look = walls.within.command("grep");
        look.args(["-q", "^drill:", "/etc/passwd"]);
        succeed(look, "begin a program behind walls", Input::Nothing).await?;
        Ok(walls)
    }

    /// As many as there are without namespaces.
    fn open(why: &Error, memory: u64, variables: Vec<(&'static str, OsString)>) -> Result<Self> {
        let is_root = rustix::process::geteuid().is_root();
        let account = if is_root { Some(nobody()?) } else { None };
        let mut inside = words(&["setpriv"]);
        inside.extend(as_account(account, "QUIT"));
        inside.extend(words(&["sh", "-c", OURS, &std::process::id().to_string()]));
        // Processes are counted for each user, and ours has others.
        inside.extend(limited(memory, is_root));
        let within = Within { words: inside, variables };
        let whose = if is_root { "the user nobody" } else { "this user" };
        let message = format!(
            "this machine gives it no namespaces ({}), so functions of the bundle can reach the network and sockets of this machine, do with files and processes what {whose} may, and leave processes behind",
            why.chain().join(": ")
        );
        let finding = Finding::info("not-walled-off", "the throw-away PostgreSQL", message);
        let hint = "drill bundles of others as root, or where users may make namespaces; containers need the capability SYS_ADMIN for them";
        let open = Some(finding.hint(hint));
        Ok(Self { holder: None, entered: Within::default(), within, account, open })
    }

    /// Whether what is inside ends with them.
    pub(crate) fn are_closed(&self) -> bool {
        self.holder.is_some()
    }

    /// Keeps a directory from being changed from inside. Where there are no namespaces it is at least another user's, if we are root.
    ///
    /// # Errors
    /// Where that can't be done.
    pub(crate) async fn seal(&self, directory: &Path) -> Result<()> {
        let doing = || format!("seal {}", directory.display());
        if self.are_closed() {
            let mut mount = self.entered.command("mount");
            mount.args(["-o", "remount,bind,ro"]).arg(directory);
            return succeed(mount, &doing(), Input::Nothing).await.map(|_| ());
        }
        if self.account.is_some() {
            std::os::unix::fs::lchown(directory, Some(0), Some(0)).context(doing)?;
        }
        Ok(())
    }

    /// Ends all that is inside, and waits for it.
    pub(crate) fn end(&mut self) {
        let Some(mut holder) = self.holder.take() else { return };
        drop(holder.stdin.take());
        let deadline = Instant::now() + PATIENCE;
        while matches!(holder.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(PAUSE);
        }
        let _ = holder.start_kill();
    }
}

impl Drop for Walls {
    fn drop(&mut self) {
        self.end();
    }
}

/// Starts who holds the namespaces; returns it and its number, once all is in its place.
async fn hold(mut command: Command) -> Result<(Child, String)> {
    let doing = || "make namespaces".to_owned();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
    let mut holder = command.spawn().context(doing)?;
    let (Some(output), Some(mut errors)) = (holder.stdout.take(), holder.stderr.take()) else {
        return Err(Error::new(Kind::Failed, doing()));
    };
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).await.context(doing)?;
    if line.trim().parse::<u32>().is_ok() {
        return Ok((holder, line.trim().into()));
    }
    let mut said = String::new();
    errors.read_to_string(&mut said).await.context(doing)?;
    Err(Error::new(Kind::Failed, said.lines().next().unwrap_or("it wrote no message")))
}

/// Whether a path is shown for itself: it is there, and not among the system's programs, which all are.
fn is_apart(path: &Path) -> bool {
    let real = path.canonicalize();
    path.is_absolute()
        && path != Path::new("/")
        && real.is_ok_and(|real| !real.starts_with("/usr") && real != Path::new("/"))
}

/// Whether the kernel counts processes of a user namespace apart from the user's others: from 5.14 on.
fn counts_in_namespaces() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map_while(|number| number.trim().parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(5), Some(14))
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

fn limited(memory: u64, processes: bool) -> Vec<OsString> {
    let mut limited = vec!["prlimit".into(), "--core=0".into(), format!("--data={}", memory << 20).into()];
    if processes {
        limited.push(format!("--nproc={PROCESSES}").into());
    }
    limited
}

/// Options of setpriv: another user, and no way to more rights.
fn as_account(account: Option<(u32, u32)>, end: &str) -> Vec<OsString> {
    let mut options = words(&["--pdeathsig", end, "--no-new-privs", "--inh-caps=-all", "--ambient-caps=-all"]);
    if let Some((user, group)) = account {
        options.extend(words(&["--reuid", &user.to_string(), "--regid", &group.to_string(), "--clear-groups"]));
    }
    options
}

/// A user and group of one number that nobody has now.
fn transient() -> Result<(u32, u32)> {
    let mut used: HashSet<u32> = HashSet::new();
    for entry in fs::read_dir("/proc").context(|| "read /proc".into())?.flatten() {
        used.extend(entry.metadata().ok().map(|metadata| metadata.uid()));
    }
    for file in ["/etc/passwd", "/etc/group"] {
        let text = fs::read_to_string(file).unwrap_or_default();
        used.extend(text.lines().filter_map(|line| line.split(':').nth(2)?.parse::<u32>().ok()));
    }
    let mut all: Vec<u32> = TRANSIENT.collect();
    // So that two drills at once don't choose the same.
    let begin = std::process::id() as usize % all.len();
    all.rotate_left(begin);
    let free = all.into_iter().find(|number| !used.contains(number));
    free.map(|number| (number, number)).ok_or_else(|| Error::new(Kind::Failed, "find a user that nobody is"))
}

/// Numbers of a user and group who have as good as nothing.
fn nobody() -> Result<(u32, u32)> {
    let passwd = fs::read_to_string("/etc/passwd").context(|| "read /etc/passwd".into())?;
    let number = |field: Option<&str>| field.and_then(|text| text.parse().ok());
    let found = passwd.lines().find_map(|line| {
        let mut fields = line.strip_prefix(NOBODY)?.strip_prefix(':')?.split(':').skip(1);
        Some((number(fields.next())?, number(fields.next())?))
    });
    found.ok_or_else(|| {
        Error::new(Kind::NotFound, format!("PostgreSQL does not run as root, and there is no user {NOBODY}"))
            .hint("run as an ordinary user")
    })
}

/// MiB.
fn half_of_memory() -> u64 {
    (memory::total().unwrap_or(0) / 2 / (1 << 20)).max(SMALLEST)
}
