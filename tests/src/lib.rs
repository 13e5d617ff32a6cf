//! Helpers of the system tests: the command under test in a directory of its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

use backup_core::bundle::manifest::{Entry, Manifest, Source};
use backup_core::bundle::name::BundleName;
use backup_core::bundle::reader::Bundle;
use fixtures::{Postgres, forget_libpq};
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
        forget_libpq(&mut command);
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env("NO_COLOR", "1")
            .env("HOME", self.directory.path());
        command
    }

    /// The command that backs `server` up into `bundles`, with further arguments.
    pub fn backup(&self, server: &Postgres, arguments: &[&str]) -> Command {
        let mut command = self.cli(&["backup", "--config", "cluster.conf", "--release", "2.6.3", "--to", "bundles"]);
        command.args(arguments).envs(server.variables());
        command
    }

    /// Starts a backup of `server` that takes its time; everything it prints is kept.
    pub fn start_slow(&self, server: &Postgres, arguments: &[&str]) -> Child {
        let mut run = self.backup(server, &["--level", "12"]);
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

    /// Names of everything in `bundles` but bundles, their digests and the lock.
    pub fn leftovers(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path("bundles")) else { return Vec::new() };
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        names
            .filter(|name| !name.ends_with(".tgz") && !name.ends_with(".sha256") && name != ".orchestrator-cli.lock")
            .collect()
    }
}

/// A manifest of nothing but `entries`, for bundles that a test makes itself.
pub fn manifest_of(name: &BundleName, entries: Vec<Entry>) -> Manifest {
    Manifest {
        format: 1,
        tool: "a test".into(),
        name: name.to_string(),
        created: name.time(),
        finished: name.time(),
        source: Source::default(),
        databases: Vec::new(),
        warnings: Vec::new(),
        entries,
    }
}

/// Opens a bundle that is sound.
pub fn open(bundle: &Path) -> Bundle<File> {
    Bundle::open(File::open(bundle).expect("the bundle")).expect("a bundle")
}

/// Exit code and everything printed, for messages of failed tests.
pub fn describe(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}{}", output.status, text(&output.stdout), text(&output.stderr))
}

/// The command under test, built once by the same cargo that runs the tests.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let mut build = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
        build.args(["build", "--locked", "--package", "orchestrator-cli", "--message-format=json"]);
        let output = build.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).output().expect("cargo runs");
        assert!(output.status.success(), "{}", describe(&output));
        let messages = String::from_utf8(output.stdout).expect("UTF-8");
        let executable = messages.lines().rev().find_map(|line| {
            let message: serde_json::Value = serde_json::from_str(line).ok()?;
            message.get("executable")?.as_str().map(PathBuf::from)
        });
        executable.expect("cargo names the executable")
    })
}
