//! What holds for every kind of state that the program knows. A new kind joins by being registered, and by a live server in
//! fixtures/src/alive.rs.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use backup_core::component::{Kind, Kinds};
use fixtures::{Alive, Postgres, alive, forget_libpq};
use system_tests::{Workplace, describe, reachable};

/// A machine with two live servers of a kind, and a bundle of them that is older than what is live.
struct Stage {
    place: Workplace,
    server: Postgres,
    alive: Vec<Box<dyn Alive>>,
    bundle: PathBuf,
    in_bundle: Vec<String>,
    live: Vec<String>,
}

/// How a run ends that is well: whether it warned is no matter here.
const WELL: [Option<i32>; 2] = [Some(0), Some(3)];

impl Stage {
    /// One of every kind.
    fn each() -> Vec<Self> {
        Kinds::default().all().map(Kind::name).map(Self::new).collect()
    }

    fn new(kind: &str) -> Self {
        let (place, server, alive) = (Workplace::default(), Postgres::start(), alive(kind));
        let settings = format!(
            "cluster_conf = '{}'\nrelease.version = '2.6.3'\n[[stores]]\naddress = '{}'\n{}",
            place.path("cluster.conf").display(),
            place.path("bundles").display(),
            alive.iter().zip(["the-first", "the-second"]).map(|(one, id)| one.table(id)).collect::<String>(),
        );
        place.write("settings.toml", settings);
        alive[0].fill();
        let mut stage = Self { place, server, alive, bundle: PathBuf::new(), in_bundle: Vec::new(), live: Vec::new() };
        stage.in_bundle = stage.answers();
        stage.well(&["backup"]);
        stage.bundle = stage.place.bundles().pop().expect("a bundle");
        stage.alive.iter().for_each(|one| one.change());
        stage.live = stage.answers();
        assert_ne!(stage.in_bundle, stage.live);
        stage
    }

    fn answers(&self) -> Vec<String> {
        self.alive.iter().map(|one| one.answers()).collect()
    }

    fn left(&self) -> Vec<String> {
        self.alive.iter().flat_map(|one| one.left()).collect()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.place.cli(arguments);
        command.args(["--config", "settings.toml"]).envs(self.server.variables()).output().expect("it runs")
    }

    fn well(&self, arguments: &[&str]) -> Output {
        let output = self.run(arguments);
        assert!(WELL.contains(&output.status.code()), "{arguments:?}: {}", describe(&output));
        output
    }

    fn restore(&self) -> Output {
        self.well(&["restore", "--allow-old-clients", "--yes", "--json", "--file", &self.bundle.display().to_string()])
    }

    /// A run that is killed at a mark, or comes to its end at 0.
    fn interrupted(&self, mark: usize, what: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_interrupted"));
        forget_libpq(&mut command);
        command.arg(mark.to_string()).arg(what).envs(self.server.variables());
        if what == "restore" {
            command.arg(&self.bundle);
        }
        command.env("CONFIG", self.place.path("settings.toml")).env("STATE_DIRECTORY", self.place.path("state"));
        command.output().expect("it runs")
    }

    fn to_its_end(&self, what: &str, when: &str) {
        let output = self.interrupted(0, what);
        assert!(output.status.success(), "{when}: {what}: {}", describe(&output));
    }

    fn kill_at(&self, mark: usize, what: &str) {
        let killed = self.interrupted(mark, what);
        assert_eq!(killed.status.signal(), Some(9), "{what} at mark {mark}: {}", describe(&killed));
    }

    /// Marks of a whole restore.
    fn marks(&self) -> usize {
        self.to_its_end("restore", "a whole run");
        let journals = std::fs::read_dir(self.place.path("state/restores")).expect("journals").flatten();
        let journals =
            journals.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "journal"));
        let text = std::fs::read_to_string(journals.max().expect("a journal")).expect("a journal");
        self.back("a whole run");
        text.lines().count() - 1
    }

    /// Rolls back, finds all as it was, and cleans up.
    fn back(&self, when: &str) {
        self.to_its_end("rollback", when);
        assert_eq!(self.answers(), self.live, "{when}");
        self.to_its_end("cleanup", when);
        assert_eq!(self.left(), Vec::<String>::new(), "{when}");
    }
}

#[test]
fn what_it_answers_comes_back_and_is_undone_and_what_stepped_aside_is_dropped() {
    for stage in Stage::each() {
        stage.restore();
        assert_eq!(stage.answers(), stage.in_bundle);
        stage.well(&["restore", "--rollback", "--yes", "--file", &stage.bundle.display().to_string()]);
        assert_eq!(stage.answers(), stage.live);
        stage.restore();
        stage.well(&["restore", "cleanup", "--yes"]);
        assert_eq!(stage.answers(), stage.in_bundle);
        assert_eq!(stage.left(), Vec::<String>::new());
    }
}

/// Whether the machine is started anew after a kill.
const REBOOTS: [bool; 2] = [false, true];

impl Stage {
    fn reboot(&self, reboots: bool) {
        if reboots {
            self.alive.iter().for_each(|one| one.reboot());
        }
    }
}

/// Kills a restore of every kind at every mark, with the machine started anew after it and without, and has `then` go on.
fn after_every_kill(then: impl Fn(&Stage, usize, bool, &str)) {
    for stage in Stage::each() {
        let marks = stage.marks();
        for (mark, reboots) in (1..=marks).flat_map(|mark| REBOOTS.map(|reboots| (mark, reboots))) {
            let when = format!("killed at mark {mark}, reboot: {reboots}");
            stage.kill_at(mark, "restore");
            stage.reboot(reboots);
            then(&stage, mark, reboots, &when);
            stage.back(&when);
        }
    }
}

#[test]
fn killed_at_any_mark_it_is_resumed_to_the_same_end() {
    after_every_kill(|stage, _, _, when| {
        stage.to_its_end("resume", when);
        assert_eq!(stage.answers(), stage.in_bundle, "{when}");
    });
}

#[test]
fn killed_at_any_mark_it_is_rolled_back_also_if_that_is_killed() {
    after_every_kill(|stage, mark, reboots, _| {
        // The rollback has as many marks as steps have begun, twice.
        stage.kill_at(mark.div_ceil(2), "rollback");
        stage.reboot(reboots);
    });
}

#[test]
fn a_drill_proves_it_without_the_live_server_and_leaves_nothing() {
    for stage in Stage::each() {
        let inside = reachable();
        let place = inside.path().display().to_string();
        let output = stage.well(&["drill", &stage.bundle.display().to_string(), "--in", &place, "--json"]);
        assert_eq!(output.status.code(), Some(0), "{}", describe(&output));
        assert!(describe(&output).contains(r#""components":[{"id":""#), "{}", describe(&output));
        assert_eq!(stage.answers(), stage.live);
        assert_eq!(std::fs::read_dir(inside.path()).expect("a directory").count(), 0);
    }
}

#[test]
fn secrets_are_in_no_output_no_journal_and_no_manifest() {
    for stage in Stage::each() {
        let outputs = [stage.run(&["check"]), stage.run(&["check", "--json"]), stage.restore()];
        let shown = Command::new("sh")
            .args(["-c", r#"tar -xzOf "$0" --wildcards '*.json' '*/README.txt'; cat "$1"/restores/*.journal"#])
            .arg(&stage.bundle)
            .arg(stage.place.path("state"))
            .output()
            .expect("tar runs");
        let texts = outputs.iter().chain([&shown]).map(describe);
        for text in texts {
            for secret in stage.alive.iter().flat_map(|one| one.secrets()) {
                assert!(!text.contains(&secret), "{text}");
            }
        }
        assert!(describe(&shown).contains("\"kind\":\""), "{}", describe(&shown));
    }
}
