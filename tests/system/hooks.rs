//! Hooks run around a job in their order, whatever becomes of it, and are held to their time.

use std::fs;
use std::process::{Child, Output, Stdio};

use fixtures::Postgres;
use rustix::process::{Pid, Signal, kill_process};
use system_tests::{Workplace, describe};

/// A place whose hooks write into `log` what they are told.
struct Hooked {
    place: Workplace,
    server: Postgres,
}

impl Hooked {
    fn new(hooks: &str) -> Self {
        let (place, server) = (Workplace::default(), Postgres::start());
        server.sql("postgres", "CREATE TABLE something ()");
        let log = place.path("log").display().to_string();
        let text = "cluster_conf = 'cluster.conf'\nrelease.version = '2.6.3'\n[[stores]]\npath = 'bundles'\n";
        place.write("o.toml", format!("{text}{}", hooks.replace("LOG", &log)));
        Self { place, server }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut run = self.place.cli(&[arguments, &["--config", "o.toml"]].concat());
        run.envs(self.server.variables()).output().expect("it runs")
    }

    /// What the hooks have written since this was asked last.
    fn log(&self) -> Vec<String> {
        let text = fs::read_to_string(self.place.path("log")).unwrap_or_default();
        let _ = fs::remove_file(self.place.path("log"));
        text.lines().map(Into::into).collect()
    }

    /// The findings of the last run in the journal.
    fn recorded(&self) -> String {
        let history = self.run(&["status", "--history", "--json"]);
        String::from_utf8_lossy(&history.stdout).into_owned()
    }
}

/// A hook that says when it runs, and what a script does then.
fn hook(when: &str, script: &str) -> String {
    let say = format!("echo \"$ORCHESTRATOR_JOB $ORCHESTRATOR_HOOK $ORCHESTRATOR_RESULT\" >>LOG; {script}");
    format!("[[hooks]]\nwhen = '{when}'\ncommand = ['sh', '-c', '''{say}''']\n")
}

fn all() -> String {
    ["before", "after", "failure", "finally"].map(|when| hook(when, "echo said by $ORCHESTRATOR_HOOK")).concat()
}

#[test]
fn each_job_has_its_hooks_in_their_order_and_their_words_in_its_record() {
    let hooked = Hooked::new(&all());
    let output = hooked.run(&["backup"]);
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}", describe(&output));
    assert_eq!(hooked.log(), ["backup before ", "backup after done", "backup finally done"]);
    let recorded = hooked.recorded();
    assert!(
        ["before", "after", "finally"].iter().all(|when| recorded.contains(&format!("said by {when}"))),
        "{recorded}"
    );
    assert!(!recorded.contains("said by failure"), "{recorded}");
    let output = hooked.run(&["drill", "latest"]);
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}", describe(&output));
    assert_eq!(hooked.log(), ["drill before ", "drill after done", "drill finally done"]);
    let output = hooked.run(&["restore", "latest", "--yes", "--allow-old-clients"]);
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}", describe(&output));
    assert_eq!(hooked.log(), ["restore before ", "restore after done", "restore finally done"]);
    // What changes nothing has none.
    for arguments in
        [&["backup", "--dry-run"][..], &["restore", "latest", "--dry-run"], &["verify", "latest"], &["check"]]
    {
        hooked.run(arguments);
        assert_eq!(hooked.log(), Vec::<String>::new(), "{arguments:?}");
    }
}

#[test]
fn a_hook_before_that_fails_stops_the_run_and_the_last_ones_run_all_the_same() {
    let before = hook("before", "true") + &hook("before", "echo no room >&2; exit 7") + &hook("before", "true");
    let hooked = Hooked::new(&(before + &hook("failure", "true") + &hook("after", "true") + &hook("finally", "true")));
    let output = hooked.run(&["backup"]);
    let said = describe(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("a hook before it failed, so it was not begun") && said.contains("no room"), "{said}");
    let expected = ["before ", "before ", "failure failed", "finally failed"].map(|line| format!("backup {line}"));
    assert_eq!(hooked.log(), expected);
    assert!(hooked.place.bundles().is_empty());
}

#[test]
fn a_job_that_fails_has_its_own_hooks_and_one_that_fails_holds_up_no_other() {
    let later =
        hook("failure", "exit 1") + &hook("failure", "true") + &hook("finally", "exit 1") + &hook("finally", "true");
    let hooked = Hooked::new(&(later.clone() + &hook("after", "exit 1")));
    let output = hooked.run(&["backup", "--database", "missing"]);
    assert_eq!(output.status.code(), Some(10), "{}", describe(&output));
    let expected = ["failure failed", "failure failed", "finally failed", "finally failed"];
    assert_eq!(hooked.log(), expected.map(|line| format!("backup {line}")));
    // After the work a hook that fails is a warning.
    let output = hooked.run(&["backup"]);
    assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
    assert!(describe(&output).contains("hook after: sh"), "{}", describe(&output));
    assert_eq!(hooked.place.bundles().len(), 1);
    assert_eq!(hooked.log(), ["after done", "finally done", "finally done"].map(|line| format!("backup {line}")));
}

#[test]
fn a_drill_that_does_not_pass_has_the_hooks_of_a_failure() {
    let hooked = Hooked::new(&(all() + "[[drill.assert]]\ndatabase = 'postgres'\nsql = 'SELECT false'\n"));
    hooked.run(&["backup"]);
    hooked.log();
    let output = hooked.run(&["drill", "latest"]);
    assert_eq!(output.status.code(), Some(1), "{}", describe(&output));
    assert_eq!(hooked.log(), ["drill before ", "drill failure failed", "drill finally failed"]);
}

#[test]
fn a_program_that_a_hook_leaves_in_the_background_holds_nothing_up() {
    let hooked = Hooked::new(&hook("before", "sleep 600 & echo $! >LOG.pid"));
    let output = hooked.run(&["backup"]);
    let pid = fs::read_to_string(hooked.place.path("log.pid")).expect("a number").trim().parse().expect("a number");
    let goes_on = kill_process(Pid::from_raw(pid).expect("a process"), Signal::KILL);
    assert!(matches!(output.status.code(), Some(0 | 3)) && goes_on.is_ok(), "{}", describe(&output));
}

#[test]
fn a_hook_that_takes_too_long_is_ended_with_all_that_it_began() {
    let slow = hook("before", "sleep 1234 & wait") + "limit = '1s'\n";
    let hooked = Hooked::new(&(slow + &hook("finally", "true")));
    let output = hooked.run(&["backup"]);
    assert_eq!(output.status.code(), Some(1), "{}", describe(&output));
    assert!(describe(&output).contains("it took longer than 1s and was ended"), "{}", describe(&output));
    assert_eq!(hooked.log(), ["backup before ", "backup finally failed"]);
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let lines = processes.filter_map(|process| fs::read_to_string(process.path().join("cmdline")).ok());
    assert_eq!(lines.filter(|line| line.starts_with("sleep\u{0}1234\u{0}")).count(), 0);
}

/// Starts a backup that waits in a hook, once the hook has begun.
fn waiting(hooked: &Hooked) -> Child {
    let mut run = hooked.place.cli(&["backup", "--config", "o.toml"]);
    let run = run.envs(hooked.server.variables()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
    while !hooked.place.path("log").exists() {
        fixtures::pause();
    }
    run
}

#[test]
fn the_last_hooks_run_after_an_interruption_and_those_of_a_killed_run_with_the_next_one() {
    let hooked = Hooked::new(
        &(hook("before", "[ -e LOG.go ] || exec setpriv --pdeathsig KILL sleep 600") + &hook("finally", "true")),
    );
    for (signal, told) in [(Signal::TERM, Some("interrupted")), (Signal::KILL, None)] {
        let mut run = waiting(&hooked);
        kill_process(Pid::from_raw(run.id() as i32).expect("a process"), signal).expect("a signal");
        run.wait().expect("it ends");
        let mut expected = vec!["backup before ".to_owned()];
        expected.extend(told.map(|told| format!("backup finally {told}")));
        assert_eq!(hooked.log(), expected, "{signal:?}");
    }
    // Another run of the job would have its last hooks undo what the first hooks of this one did.
    let mut first = waiting(&hooked);
    let second = hooked.run(&["backup"]);
    assert_eq!(second.status.code(), Some(11), "{}", describe(&second));
    assert_eq!(hooked.log(), ["backup finally killed", "backup before "]);
    first.kill().expect("killed");
    first.wait().expect("it ends");
    hooked.place.write("log.go", "");
    let output = hooked.run(&["backup"]);
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}", describe(&output));
    assert_eq!(hooked.log(), ["backup finally killed", "backup before ", "backup finally done"]);
    assert!(hooked.recorded().contains("a run was killed before its last hooks"), "{}", hooked.recorded());
}

#[test]
fn a_hook_whose_program_is_not_there_is_named_beforehand() {
    let missing = |when| format!("[[hooks]]\nwhen = '{when}'\ncommand = ['/no/such/program']\n");
    for (when, code) in [("before", 13), ("finally", 3)] {
        let output = Hooked::new(&missing(when)).run(&["check"]);
        let said = describe(&output);
        assert!(
            output.status.code() == Some(code) && said.contains(&format!("hook {when}: /no/such/program")),
            "{said}"
        );
    }
}

#[test]
fn settings_of_hooks_that_make_no_sense_are_refused() {
    for (hooks, word) in [
        ("[[hooks]]\nwhen = 'never'\ncommand = ['true']\n", "hooks.when"),
        ("[[hooks]]\nwhen = 'before'\ncommand = []\n", "a command is empty"),
        ("[[hooks]]\nwhen = 'before'\ncommand = ['true']\nlimit = 'long'\n", "hooks.limit"),
        ("[[hooks]]\nwhen = 'before'\nof = ['deploy']\ncommand = ['true']\n", "hooks.of"),
    ] {
        let hooked = Hooked::new(hooks);
        let output = hooked.run(&["check"]);
        assert!(output.status.code() == Some(2) && describe(&output).contains(word), "{hooks}: {}", describe(&output));
    }
}
