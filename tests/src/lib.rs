//! Helpers of the system tests: the command under test in a directory of its own.

mod cluster;
mod crafted;
mod far;
mod places;
mod remotes;
mod repack;
mod scripts;
mod stage;

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

use backup_core::bundle::manifest::{Entry, Manifest, Source};
use backup_core::bundle::reader::Bundle;
use backup_core::names::BundleName;
pub use cluster::Cluster;
pub use crafted::{Crafted, craft, forge_drill, of_cluster};
pub use far::{Reached, at_home};
use fixtures::{Network, Postgres, forget_libpq};
pub use places::{RootsPlace, locales, reachable};
pub use remotes::{REMOTE, Remote, StandIn};
pub use repack::repack;
pub use scripts::Scripts;
use serde_json::Value;
pub use stage::{Stage, as_root, as_user, modes, names};
use tempfile::TempDir;

/// A directory with a `cluster.conf`, and a place for bundles.
pub struct Workplace {
    directory: TempDir,
}

impl Default for Workplace {
    fn default() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let conf = "chef: { continuum: { cluster_name: example, database_backups: { secret_key: \"hunter2\" } } }\n";
        std::fs::write(directory.path().join("cluster.conf"), conf).expect("a cluster.conf");
        Self { directory }
    }
}

impl Workplace {
    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file in it.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        std::fs::write(self.path(name), content).expect("a file");
        self.path(name)
    }

    /// The command, run here, with no libpq variable of the surroundings.
    pub fn cli(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        // As whoever has it installed types it.
        command.arg0("orchestrator-cli");
        forget_libpq(&mut command);
        forget_aws(&mut command);
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env("NO_COLOR", "1")
            .env("HOME", self.directory.path())
            .env("STATE_DIRECTORY", self.path("state"));
        // Servers of drills lie there.
        command.envs(fixtures::memory().map(|memory| ("TMPDIR", memory)));
        command
    }

    /// The command that backs `server` up into `bundles`, with further arguments.
    pub fn backup(&self, server: &Postgres, arguments: &[&str]) -> Command {
        let mut command = self.cli(&["backup", "--config", "cluster.conf", "--release", "2.6.3", "--to", "bundles"]);
        command.args(arguments).envs(server.variables());
        command
    }

    /// The command that restores into `server`, with further arguments; its journals are kept here.
    pub fn restore(&self, server: &Postgres, arguments: &[&str]) -> Command {
        let mut command = self.cli(&["restore"]);
        // How old the programs of this machine are is no matter of the tests.
        if !["--resume", "--rollback", "cleanup"].iter().any(|word| arguments.contains(word)) {
            command.arg("--allow-old-clients");
        }
        command.args(arguments).envs(server.variables());
        command
    }

    /// Restores all of a bundle, without questions.
    pub fn restore_all(&self, server: &Postgres, bundle: &Path, arguments: &[&str]) -> Output {
        let mut command = self.restore(server, &["--release", "2.6.3", "--yes", "--file"]);
        command.arg(bundle).args(arguments).output().expect("the command runs")
    }

    /// The command that returns to what was there before the restore of a bundle.
    pub fn rollback(&self, server: &Postgres, bundle: &Path) -> Command {
        let mut command = self.restore(server, &["--rollback", "--yes", "--file"]);
        command.arg(bundle);
        command
    }

    /// Starts a backup of `server` that takes its time, a second for each MiB of its bundle; everything it prints is kept.
    pub fn start_slow(&self, server: &Postgres, arguments: &[&str]) -> Child {
        let mut run = self.backup(server, &["--limit-rate", "1M"]);
        run.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command runs")
    }

    /// Bundles in `bundles`, oldest first.
    pub fn bundles(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.path("bundles")) else { return Vec::new() };
        let mut paths: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|e| e == "tgz"))
            .collect();
        paths.sort();
        paths
    }

    /// Backs `server` up and returns the bundle.
    pub fn make_bundle(&self, server: &Postgres) -> PathBuf {
        let output = self.backup(server, &[]).output().expect("the command runs");
        assert!(output.status.success(), "{}", describe(&output));
        self.bundles().pop().expect("a bundle")
    }

    /// Backs `server` up, with whatever warnings, and returns the bundle.
    pub fn make_bundle_of(&self, server: &Postgres) -> PathBuf {
        let output = self.backup(server, &[]).output().expect("the command runs");
        assert!([Some(0), Some(3)].contains(&output.status.code()), "{}", describe(&output));
        self.bundles().pop().expect("a bundle")
    }

    /// Names of everything in `bundles` but bundles, their digests and the lock.
    pub fn leftovers(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path("bundles")) else { return Vec::new() };
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        names
            .filter(|name| !name.ends_with(".tgz") && !name.ends_with(".sha256") && name != ".orchestrator-cli.lock")
            .collect()
    }
}

/// Waits until bundles have another name: they are named by their second.
pub fn another_second() {
    let now = chrono::Utc::now().timestamp();
    while chrono::Utc::now().timestamp() == now {
        fixtures::pause();
    }
}

/// Keeps the surroundings' keys, servers and proxies from a command.
fn forget_aws(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let upper = name.to_string_lossy().to_ascii_uppercase();
        if upper.starts_with("AWS_")
            || upper.starts_with("RCLONE_")
            || upper.ends_with("_PROXY")
            || upper == "SSH_AUTH_SOCK"
        {
            command.env_remove(name);
        }
    }
}

/// A manifest of nothing but `entries`, for bundles that a test makes itself.
pub fn manifest_of(name: &BundleName, entries: Vec<Entry>) -> Manifest {
    Manifest {
        components: Vec::new(),
        format: 1,
        tool: "a test".into(),
        name: name.to_string(),
        created: name.time(),
        finished: name.time(),
        source: Source::default(),
        hosts: Vec::new(),
        databases: Vec::new(),
        warnings: Vec::new(),
        needs: Vec::new(),
        entries,
    }
}

/// Opens a bundle that is sound.
pub fn open(bundle: &Path) -> Bundle<File> {
    Bundle::open(File::open(bundle).expect("the bundle")).expect("a bundle")
}

/// Rows by the COPY that they belong to.
pub type Rows<'d> = BTreeMap<&'d [u8], Vec<&'d [u8]>>;

/// A dump's lines that are no rows, and the sorted rows by the COPY that they belong to: PostgreSQL's COPY may put a
/// row into a gap on an earlier page, so that even `pg_dump | psql` changes the order, and rows of a partition by an
/// enum's hash may move to another one under the same COPY.
pub fn rows_sorted(dump: &[u8]) -> (Vec<&[u8]>, Rows<'_>) {
    let (mut lines, mut rows) = (Vec::new(), Rows::new());
    let mut copy: Option<&[u8]> = None;
    for line in dump.split_inclusive(|byte| *byte == b'\n') {
        match copy {
            Some(_) if line == b"\\.\n" => copy = None,
            Some(header) => rows.entry(header).or_default().push(line),
            None => {
                lines.push(line);
                copy = line.ends_with(b" FROM stdin;\n").then_some(line);
            }
        }
    }
    rows.values_mut().for_each(|rows| rows.sort_unstable());
    (lines, rows)
}

/// Compares what `pg_dump` says of both. From version 16 on the server writes a view's columns without the table's name
/// where it can be meant alone.
pub fn assert_same(source: &Postgres, target: &Postgres, database: &str) {
    let dumps = [source, target].map(|server| {
        let dump = server.dump_by(target, database, &["--create", "--encoding=UTF8"]);
        String::from_utf8(dump).expect("UTF-8").replace("machines.state", "state").replace("machines.name", "name")
    });
    let [before, after] = dumps.each_ref().map(|dump| {
        let (mut lines, rows) = rows_sorted(dump.as_bytes());
        lines.retain(|line| !line.starts_with(b"-- Dumped from database version "));
        (lines, rows)
    });
    if before == after {
        return;
    }
    let text =
        |lines: &[&[u8]]| lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect::<Vec<_>>();
    let (before, after) = (text(&before.0), text(&after.0));
    let gone: Vec<_> = before.iter().filter(|line| !after.contains(line)).collect();
    let new: Vec<_> = after.iter().filter(|line| !before.contains(line)).collect();
    panic!("{database} of {} came back different in {}: {gone:?}, {new:?}", source.major(), target.major());
}

/// All that a restore may change on a server, with the times in names left out.
pub fn state(server: &Postgres) -> String {
    let plain = |text: &str| format!("regexp_replace({text}, '[0-9]{{8}}T[0-9]{{6}}Z', 'TIME')");
    let mut state = server.sql(
        "postgres",
        &format!(
            "SELECT {}, pg_get_userbyid(datdba), datacl, datconnlimit, datallowconn, shobj_description(oid, 'pg_database') \
             FROM pg_database ORDER BY 1; \
             SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1; \
             SELECT {}, setrole::regrole, setconfig FROM pg_db_role_setting LEFT JOIN pg_database d ON d.oid = setdatabase \
             ORDER BY 1, 2",
            plain("datname"),
            plain("datname"),
        ),
    );
    let databases = "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY 1";
    for database in server.sql("postgres", databases).lines() {
        let dump = server.dump(database, &[]);
        let (lines, rows) = rows_sorted(&dump);
        state.push_str(&format!("\n{}\n", lines.concat().escape_ascii()));
        rows.iter().for_each(|(copy, rows)| {
            state.push_str(&format!("{}{}\n", copy.escape_ascii(), rows.concat().escape_ascii()));
        });
    }
    state
}

/// The last line of a result, or of what was said where there is none.
pub fn last_line(output: &Output) -> String {
    let text = if output.stdout.is_empty() { &output.stderr } else { &output.stdout };
    String::from_utf8_lossy(text).trim_end().lines().last().unwrap_or_default().to_owned()
}

/// Exit code and everything printed, for messages of failed tests.
pub fn describe(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}{}", output.status, text(&output.stdout), text(&output.stderr))
}

/// The exit code of a run, whatever `check` says of how old this machine's client programs are.
pub fn code_but_for_clients(output: &Output) -> Option<i32> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // A document of JSON is one line.
    let mut warnings =
        text.lines().filter(|line| line.starts_with("warning") || line.contains("\"severity\":\"warning\""));
    let is_one = |line: &str| line.contains("(CVE-") && line.matches("\"severity\":\"warning\"").count() < 2;
    let one = warnings.next().is_some_and(is_one) && warnings.next().is_none();
    if one && output.status.code() == Some(3) { Some(0) } else { output.status.code() }
}

/// Warnings of a restore with `--json`, as code, subject and hint.
pub fn warnings(output: &Output) -> Vec<[String; 3]> {
    let text = String::from_utf8_lossy(&output.stdout);
    let document: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{}", describe(output)));
    let list = document["result"]["warnings"].as_array().expect("a list").clone();
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    list.iter().map(|finding| ["code", "subject", "hint"].map(|key| text(finding, key))).collect()
}

/// A command in the network with the environment of another one.
pub fn inside(network: &Network, command: &Command, pings: bool) -> Command {
    let mut inside = network.command(Path::new("env"), pings);
    for (name, value) in command.get_envs().filter_map(|(name, value)| Some((name, value?))) {
        inside.arg(format!("{}={}", name.display(), value.display()));
    }
    inside.arg(command.get_program()).args(command.get_args());
    inside.current_dir(command.get_current_dir().expect("a directory"));
    inside
}

/// The command under test: cargo has put it beside the test program. It is refused where a source is newer than it.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let own = std::env::current_exe().expect("the test program's path");
        let built = own.ancestors().skip(1).find(|folder| !folder.ends_with("deps")).expect("a folder");
        let program = built.join("orchestrator-cli");
        if let Some(reason) = not_current(&program) {
            panic!("{reason}: cargo build --workspace --bins --locked");
        }
        program
    })
}

/// Why `program` is not what its sources say, by the list of them that cargo has written beside it.
fn not_current(program: &Path) -> Option<String> {
    let changed = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    let Some(built) = changed(program) else { return Some(format!("{} is not there", program.display())) };
    let sources = std::fs::read_to_string(program.with_extension("d")).expect("cargo's list of sources");
    let (_, sources) = sources.split_once(": ").expect("a rule of make");
    let newer =
        sources.split_whitespace().find(|source| changed(Path::new(source)).is_none_or(|changed| changed > built))?;
    Some(format!("{newer} is newer than {}", program.display()))
}
