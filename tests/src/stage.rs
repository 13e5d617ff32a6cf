//! A server and a workplace whose settings capture a tree, for tests of the machine: files, modes, owners, state.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fixtures::Postgres;

use crate::{Workplace, another_second, describe};

/// A workplace whose settings capture one tree.
pub struct Stage {
    /// Where all of it is.
    pub place: Workplace,
    /// The server, with a database `one`.
    pub server: Postgres,
}

impl Stage {
    /// An empty tree's workplace, and a server with a table of ten rows.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        let stage = Self { place: Workplace::default(), server: Postgres::start() };
        stage.server.sql("postgres", "CREATE DATABASE one");
        stage.server.sql("one", "CREATE TABLE t AS SELECT generate_series(1, 10) AS i");
        stage
    }

    /// Runs the command with the settings that capture `tree`.
    pub fn run(&self, arguments: &[&str], state: &Path) -> Output {
        self.command(arguments, state).output().expect("it runs")
    }

    /// The same, not run yet.
    pub fn command(&self, arguments: &[&str], state: &Path) -> Command {
        let mut command = self.place.cli(arguments);
        command.args(["--config", "settings.toml"]).envs(self.server.variables());
        command.env("STATE_DIRECTORY", state);
        command
    }

    /// Settings that capture `tree`, with more lines.
    pub fn settings(&self, tree: &Path, more: &str) {
        let tree = tree.display();
        let text =
            format!("cluster_conf = 'cluster.conf'\nrelease.version = '2.6.3'\n[[files]]\npath = '{tree}'\n{more}");
        self.place.write("settings.toml", text);
    }

    /// Backs up into a directory; returns what was said, and the bundle.
    pub fn back_up(&self, to: &Path, state: &Path) -> (Output, PathBuf) {
        another_second();
        let output = self.run(&["backup", "--database", "one", "--to", &to.display().to_string()], state);
        let entries = fs::read_dir(to).expect("a directory").map(|entry| entry.expect("an entry").path());
        let bundle = entries.filter(|path| path.extension().is_some_and(|end| end == "tgz")).max();
        let bundle = bundle.unwrap_or_else(|| panic!("{}", describe(&output)));
        (output, bundle)
    }

    /// Restores the files of a bundle.
    pub fn restore_files(&self, bundle: &Path, state: &Path) -> Output {
        self.run(&["restore", "--only", "files", "--yes", "--file", &bundle.display().to_string()], state)
    }
}

/// Names in a directory.
pub fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Runs a script as root in the workplace.
pub fn as_root(stage: &Stage, script: &str) -> Output {
    let mut command = fixtures::as_root("sh");
    command.args(["-ec", script]).current_dir(stage.place.path("")).envs(stage.server.variables());
    let output = command.output().expect("sh runs");
    assert!(output.status.success(), "{script}: {}", describe(&output));
    output
}

/// The command as another user, whose home is the workplace.
pub fn as_user(user: &str, command: &Command) -> Command {
    let mut other = fixtures::as_root("setpriv");
    other.args(["--reuid", user, "--regid", if user == "nobody" { "nogroup" } else { user }, "--clear-groups"]);
    other.arg("env").args(
        command
            .get_envs()
            .filter_map(|(name, value)| Some(format!("{}={}", name.to_string_lossy(), value?.to_string_lossy()))),
    );
    other.arg(command.get_program()).args(command.get_args());
    other.current_dir(command.get_current_dir().expect("a directory"));
    other
}

/// Kinds, modes and owners below the workplace.
pub fn modes(stage: &Stage, tree: &str) -> String {
    let found = as_root(stage, &format!("find {tree} -printf '%p %y %m %u %g %l\\n' | sort"));
    String::from_utf8(found.stdout).expect("UTF-8")
}
