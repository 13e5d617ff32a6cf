//! Scripts of one server, which go back into it under other names.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use fixtures::Postgres;

use crate::{Workplace, describe};

/// One server, whose database `orchestrator` is dumped, and which the scripts go into under other names.
pub struct Scripts {
    /// Where the scripts are.
    pub place: Workplace,
    /// The server.
    pub server: Postgres,
}

impl Scripts {
    /// A server with the sample.
    pub fn new(rows: u32) -> Self {
        let server = Postgres::start();
        server.load_sample(rows);
        Self { place: Workplace::default(), server }
    }

    /// Dumps `orchestrator` into a file here.
    pub fn dump(&self, name: &str, arguments: &[&str]) -> PathBuf {
        let path = self.place.path(name);
        let mut dump = self.server.command("pg_dump");
        let output = dump.args(arguments).arg("-f").arg(&path).arg("orchestrator").output().expect("it runs");
        assert!(output.status.success(), "{}", describe(&output));
        path
    }

    /// A text of what `dump` writes without arguments, changed.
    pub fn write(&self, name: &str, change: impl Fn(String) -> String) {
        let script = self.dump("plain.sql", &[]);
        self.place.write(name, change(fs::read_to_string(script).expect("a script")));
    }

    /// Runs a shell's commands here.
    pub fn shell(&self, script: &str) {
        let output = Command::new("sh").args(["-ec", script]).current_dir(self.place.path("")).output();
        let output = output.expect("sh runs");
        assert!(output.status.success(), "{script}: {}", describe(&output));
    }

    /// Restores a script into a database.
    pub fn restore(&self, script: &str, database: &str) -> Output {
        let arguments = ["--sql", script, "--cluster-conf", "cluster.conf", "--yes", "--only", "databases"];
        let mut restore = self.place.restore(&self.server, &arguments);
        restore.args(["--database", database]).output().expect("it runs")
    }

    /// Restores a script that must come back without a word against it.
    pub fn restored(&self, script: &str, database: &str) {
        let output = self.restore(script, database);
        assert_eq!(output.status.code(), Some(0), "{script}: {}", describe(&output));
        assert!(describe(&output).contains(", each table's counted"), "{script}: {}", describe(&output));
    }

    /// The message of a run that must change nothing, with what differs between runs replaced.
    pub fn message(&self, arguments: &[&str]) -> String {
        let mut run = self.place.cli(arguments);
        let output = run.envs(self.server.variables()).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        let said = said.replace(&self.place.path("").display().to_string(), "[here]/");
        // A warning goes with its hint.
        let mut in_warning = false;
        let kept = |line: &&str| {
            in_warning = line.starts_with("warning") || in_warning && line.starts_with("        hint");
            !in_warning && !["ok ", "read ", "check", "verify"].iter().any(|start| line.starts_with(start))
        };
        let said: String = said.lines().filter(kept).map(|line| format!("{line}\n")).collect();
        format!(
            "$ orchestrator-cli {}\n{said}exit code {:?}\n",
            arguments.join(" "),
            output.status.code().unwrap_or(-1)
        )
    }
}
