//! Whatever moment a restore is killed at, it can be gone on with and undone.
//!
//! The moments are taken from the plan: right after each mark in its journal, and before a mark was whole.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fixtures::{Installation, Postgres, forget_libpq};
use serde_json::Value;
use sha2::{Digest, Sha256};
use system_tests::{Workplace, describe, last_line, state};

/// What can be restored.
#[derive(Clone, Copy, Debug)]
enum From {
    Bundle,
    Pair,
}

/// A server with something live, what is restored into it, and the states before and after.
struct Stage {
    place: Workplace,
    restore: Vec<PathBuf>,
    server: Postgres,
    before: String,
    after: String,
    /// How an undisturbed restore ends: its exit code, and what it warns of.
    end: (Option<i32>, Value),
    marks: usize,
    /// The mark at which the swap begins.
    swap: usize,
}

/// What is found at several steps: by the preflight alone, while settings are set, and when a foreign key is made.
const ELSEWHERE: &str = "timezone = 'Asia/Tokyo'";
const UNKNOWN_SETTING: &str = "ALTER DATABASE orchestrator SET work_mem = '8MB'; \
    UPDATE pg_db_role_setting SET setconfig = setconfig || '{no_such_setting=1}' \
    WHERE setrole = 0 AND setdatabase = (SELECT oid FROM pg_database WHERE datname = 'orchestrator')";
const ORPHAN: &str = "CREATE TABLE public.parent (id int PRIMARY KEY); CREATE TABLE public.child (id int CONSTRAINT of_parent REFERENCES public.parent); \
    SET session_replication_role = replica; INSERT INTO public.child VALUES (1)";

impl Stage {
    /// One of every kind.
    fn each() -> impl Iterator<Item = Self> {
        [From::Bundle, From::Pair].into_iter().map(Self::new)
    }

    fn new(from: From) -> Self {
        let source = Postgres::start_version(&Installation::usual(), ELSEWHERE);
        source.load_sample(30);
        source.sql("postgres", "DROP DATABASE orchestrator_archive");
        source.sql("orchestrator", ORPHAN);
        source.sql("postgres", UNKNOWN_SETTING);
        let place = Workplace::default();
        let home = place.path("home");
        fs::create_dir_all(home.join("keys")).expect("a directory");
        fs::write(home.join("keys/id"), "captured\n").expect("a file");
        fs::write(home.join("gone"), "captured\n").expect("a file");
        let settings = format!(
            "cluster_conf = 'cluster.conf'\n[[files]]\npath = '{0}/keys'\n[[files]]\npath = '{0}/gone'\n",
            home.display()
        );
        place.write("settings.toml", settings);
        let mut backup = place.cli(&["backup", "--config", "settings.toml", "--release", "2.6.3", "--to", "bundles"]);
        let backup = backup.envs(source.variables()).output().expect("it runs");
        assert!([Some(0), Some(3)].contains(&backup.status.code()), "{}", describe(&backup));
        let restore = match from {
            From::Bundle => place.bundles(),
            From::Pair => {
                let script = place.write("orchestrator.sql", source.dump("orchestrator", &[]));
                let conf = fs::copy(place.path("cluster.conf"), place.path("copied.conf"));
                conf.expect("a copy");
                vec![script, place.path("copied.conf"), place.path("cluster.conf")]
            }
        };
        fs::write(home.join("keys/id"), "live\n").expect("a file");
        fs::write(home.join("keys/more"), "live\n").expect("a file");
        fs::remove_file(home.join("gone")).expect("removed");
        place.write("cluster.conf", "live\n");
        let server = Postgres::start();
        server.sql("postgres", "CREATE ROLE \"ops team\"");
        if matches!(from, From::Pair) {
            // A script holds no roles.
            server.sql("postgres", "CREATE ROLE orchestrator LOGIN");
        }
        server.sql("postgres", "CREATE DATABASE orchestrator CONNECTION LIMIT 7");
        server.sql("orchestrator", "CREATE TABLE precious AS SELECT 'still here' AS what");
        if matches!(from, From::Pair) {
            // Its settings are those of the live database.
            server.sql("postgres", UNKNOWN_SETTING);
        }
        let (before, after, end) = (String::new(), String::new(), (None, Value::Null));
        let mut stage = Self { place, restore, server, before, after, end, marks: 0, swap: 0 };
        stage.before = stage.state();
        stage.end = stage.undisturbed();
        let codes = ["sessions-differ", "setting-not-taken", "constraint-not-valid"];
        let expected = if matches!(from, From::Pair) { &codes[1..] } else { &codes[..] };
        let warned = stage.end.1.as_array().expect("warnings").iter().map(|warning| warning["code"].clone());
        let warned: Vec<Value> = warned.collect();
        assert!(expected.iter().all(|code| warned.contains(&Value::from(*code))), "{}", stage.end.1);
        stage.after = stage.state();
        stage.marks = stage.journal().lines().count() - 1;
        stage.swap =
            stage.journal().lines().position(|line| line.contains("\"step\":\"postgres/swap\"")).expect("a swap");
        stage.roll_back("a whole run");
        stage
    }

    /// The server's, and every file's with its content.
    fn state(&self) -> String {
        let files = "find home cluster.conf* -printf '%M %u %g %p\\n' -type f -exec cat {} \\; | sort | sed -E 's/[0-9]{8}T[0-9]{6}Z/TIME/'";
        let files =
            Command::new("bash").args(["-c", files]).current_dir(self.place.path("")).output().expect("bash runs");
        state(&self.server) + &describe(&files)
    }

    fn run(&self, mark: usize, what: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_interrupted"));
        forget_libpq(&mut command);
        command.arg(mark.to_string()).arg(what).envs(self.server.variables());
        if what == "restore" {
            command.args(&self.restore);
        }
        command.env("STATE_DIRECTORY", self.place.path("state")).output().expect("it runs")
    }

    /// Restores without being killed.
    fn undisturbed(&self) -> (Option<i32>, Value) {
        let paths: Vec<&str> = self.restore.iter().map(|path| path.to_str().expect("UTF-8")).collect();
        match paths[..] {
            [bundle] => self.ended(&["--release", "2.6.3", "--file", bundle], "a whole run"),
            [script, conf, ..] => {
                let arguments = ["--config", "settings.toml", "--sql", script, "--cluster-conf", conf];
                self.ended(&arguments, "a whole run")
            }
            [] => panic!("nothing to restore"),
        }
    }

    /// How the program ends that restores or resumes.
    fn ended(&self, arguments: &[&str], when: &str) -> (Option<i32>, Value) {
        let mut restore = self.place.restore(&self.server, arguments);
        let output = restore.args(["--yes", "--json", "--quiet"]).output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout);
        let document: Value =
            serde_json::from_str(&text).unwrap_or_else(|_| panic!("{when}: {}\n{}", self.journal(), describe(&output)));
        assert_eq!(output.status.code(), Some(3), "{when}: {}\n{}", self.journal(), describe(&output));
        (output.status.code(), document["result"]["warnings"].clone())
    }

    /// Begins a restore that is killed at a mark.
    fn kill_at(&self, mark: usize) {
        let killed = self.run(mark, "restore");
        assert_eq!(killed.status.signal(), Some(9), "mark {mark}: {}", describe(&killed));
    }

    fn journal_path(&self) -> PathBuf {
        let entries = fs::read_dir(self.place.path("state/restores")).expect("journals");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        paths.filter(|path| path.extension().is_some_and(|end| end == "journal")).max().expect("a journal")
    }

    fn journal(&self) -> String {
        fs::read_to_string(self.journal_path()).expect("a journal")
    }

    fn go_on(&self, when: &str) {
        assert_eq!(self.ended(&["--resume"], when), self.end, "{when}: it ends with other findings");
        let state = self.state();
        let other = state.lines().zip(self.after.lines()).find(|(found, expected)| found != expected);
        assert!(state == self.after, "{when}: resumed, it ends in another state: {other:?}");
    }

    /// Begins to return to the state before, is killed at a mark, which is half written every other time, and goes on.
    fn roll_back_killed_at(&self, mark: usize) {
        let killed = self.run(mark, "rollback");
        assert_eq!(killed.status.signal(), Some(9), "mark {mark}: {}", describe(&killed));
        if mark.is_multiple_of(2) {
            tear(&self.journal_path());
        }
        self.roll_back(&format!("rollback killed at mark {mark}"));
    }

    /// Returns to the state before, and cleans up.
    fn roll_back(&self, when: &str) {
        let back = self.run(0, "rollback");
        assert!(back.status.success(), "{when}: {}\n{}", self.journal(), describe(&back));
        assert_eq!(self.state(), self.before, "{when}: rolled back, it ends in another state");
        let cleaned = self.run(0, "cleanup");
        assert!(cleaned.status.success(), "{when}: {}", describe(&cleaned));
    }
}

/// Tears the last line of a journal, as a crash while it is written does.
fn tear(journal: &Path) {
    let text = fs::read(journal).expect("a journal");
    let last = text[..text.len() - 1].iter().rposition(|byte| *byte == b'\n').expect("two lines") + 1;
    fs::write(journal, &text[..last + (text.len() - last) / 2]).expect("a torn journal");
}

#[test]
fn killed_at_any_mark_it_is_resumed_to_the_same_end_and_rolled_back_though_that_is_killed_there_too() {
    for stage in Stage::each() {
        for mark in 1..=stage.marks {
            stage.kill_at(mark);
            stage.go_on(&format!("killed at mark {mark}"));
            // Early marks of one meet late ones of the other.
            stage.roll_back_killed_at(stage.marks + 1 - mark);
        }
    }
}

#[test]
fn a_step_that_is_done_twice_is_done_once() {
    for stage in Stage::each() {
        // The mark is gone, and what it spoke of is there: a step that was done is done again.
        for mark in (2..=stage.marks).step_by(2) {
            stage.kill_at(mark);
            tear(&stage.journal_path());
            stage.go_on(&format!("mark {mark} torn"));
            stage.roll_back(&format!("mark {mark} torn and resumed"));
        }
    }
}

#[test]
fn killed_at_any_mark_it_is_rolled_back_to_the_beginning() {
    for stage in Stage::each() {
        for mark in 1..=stage.marks {
            stage.kill_at(mark);
            stage.roll_back(&format!("killed at mark {mark}"));
        }
    }
}

#[test]
fn a_rollback_of_an_undisturbed_restore_that_is_killed_is_gone_on_with() {
    for stage in Stage::each() {
        // At all others it is killed after a restore that was resumed.
        for mark in (1..=stage.marks).step_by(5).chain([stage.swap, stage.swap + 1]) {
            let whole = stage.run(0, "restore");
            assert!(whole.status.success(), "{}", describe(&whole));
            stage.roll_back_killed_at(mark);
        }
    }
}

#[test]
fn a_database_is_said_to_be_held_where_it_is_and_not_for_other_causes() {
    let stage = Stage::new(From::Bundle);
    stage.kill_at(stage.swap);
    let refused = |expected: &str, held: bool| {
        let output = stage.place.restore(&stage.server, &["--resume"]).output().expect("it runs");
        let said = describe(&output);
        assert_eq!(output.status.code(), Some(14), "{said}");
        assert!(said.contains(expected) && said.contains("something holds a database") == held, "{said}");
        assert_eq!(last_line(&output).contains("--resume"), held, "{said}");
    };
    stage.server.sql("orchestrator", "BEGIN; CREATE TABLE held (); PREPARE TRANSACTION 'held'");
    refused("being accessed by other users", true);
    stage.server.sql("orchestrator", "ROLLBACK PREPARED 'held'");
    let head: Value =
        serde_json::from_str(stage.journal().lines().next().expect("a head").split_once(' ').expect("a check").1)
            .expect("JSON");
    let before = head["plan"]["databases"][0]["names"]["before"].as_str().expect("a name").to_owned();
    stage.server.sql("postgres", &format!("CREATE DATABASE \"{before}\""));
    refused("already exists", false);
    stage.server.sql("postgres", &format!("DROP DATABASE \"{before}\""));
    stage.go_on("once nothing stands in its way");
    stage.roll_back("once nothing stood in its way");
}

/// Writes a journal anew, each line changed and its check made anew: as another version of this program would have it.
fn rewrite(journal: &Path, change: impl Fn(String) -> String) {
    let text = fs::read_to_string(journal).expect("a journal");
    let (mut check, mut written) = (String::new(), String::new());
    for line in text.lines() {
        let json = change(line.split_once(' ').expect("a check").1.into());
        check = hex::encode(&Sha256::new().chain_update(&check).chain_update(&json).finalize()[..8]);
        written.push_str(&format!("{check} {json}\n"));
    }
    fs::write(journal, written).expect("a journal");
}

/// The steps in the head of a journal.
fn steps(journal: &str) -> Vec<String> {
    let head = journal.lines().next().and_then(|line| line.split_once(' ')).expect("a head").1;
    let head: serde_json::Value = serde_json::from_str(head).expect("JSON");
    let steps = head["steps"].as_array().expect("steps").iter();
    steps.map(|step| step.as_str().expect("a text").to_owned()).collect()
}

/// Makes one of titles, as the first format was, of a journal of ids.
fn make_format_1(stage: &Stage, golden: &str) {
    let golden = format!("{}/golden/journals/{golden}-format-1.journal", env!("CARGO_MANIFEST_DIR"));
    let titles = steps(&fs::read_to_string(golden).expect("a golden journal"));
    let ids = steps(&stage.journal());
    assert_eq!(ids.len(), titles.len());
    rewrite(&stage.journal_path(), |json| {
        let json = json.replacen("\"format\":2", "\"format\":1", 1);
        ids.iter()
            .zip(&titles)
            .fold(json, |json, (id, title)| json.replace(&format!("\"{id}\""), &format!("\"{title}\"")))
    });
}

#[test]
fn a_journal_of_the_first_format_is_resumed_and_rolled_back() {
    for (stage, golden) in Stage::each().zip(["restore-bundle", "restore-script"]) {
        stage.kill_at(stage.marks - 3);
        make_format_1(&stage, golden);
        stage.go_on("in the first format");
        assert!(stage.journal().contains("\"step\":\"swap the databases\",\"mark\":\"done\""), "{}", stage.journal());
        stage.roll_back("in the first format");
    }
}

#[test]
fn a_journal_of_other_steps_is_refused_by_name_and_changes_nothing() {
    let stage = Stage::new(From::Bundle);
    // One whose end was not told yet can be resumed and rolled back.
    stage.kill_at(stage.marks);
    let swapped = stage.state();
    let written = stage.journal();
    let refused = |expected: &str| {
        for what in ["rollback", "resume"] {
            let refused = stage.run(0, what);
            let said = describe(&refused);
            assert!(!refused.status.success() && said.contains(expected), "{what}: {said}");
            assert!(stage.state() == swapped, "{what} changed something");
        }
    };
    rewrite(&stage.journal_path(), |json| json.replace("postgres/swap", "postgres/exchange"));
    refused("the step postgres/exchange stands there, and this version has the step postgres/swap");
    // The same of a title, in a journal of the first format.
    fs::write(stage.journal_path(), &written).expect("a journal");
    make_format_1(&stage, "restore-bundle");
    rewrite(&stage.journal_path(), |json| json.replace("swap the databases", "exchange the databases"));
    refused("the step exchange the databases stands there, and this version has the step postgres/swap");
    fs::write(stage.journal_path(), &written).expect("a journal");
    stage.roll_back("with its own journal again");
}
