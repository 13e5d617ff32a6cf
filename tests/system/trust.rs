//! Root believes root: what others could have written is refused, and what a journal names leads nowhere else.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use sha2::{Digest, Sha256};
use system_tests::{RootsPlace, Stage, another_second, as_root, describe};

/// A stage on which root has restored a file, with a directory of somebody else's.
struct Restored {
    stage: Stage,
    own: RootsPlace,
    bundle: PathBuf,
}

impl Restored {
    fn new() -> Self {
        let stage = Stage::new();
        let own = RootsPlace::default();
        for directory in ["home", "bundles", "precious"] {
            fs::create_dir(stage.place.path(directory)).expect("a directory");
        }
        stage.place.write("home/a", "captured");
        stage.place.write("precious/file", "still here");
        stage.settings(&stage.place.path("home/a"), "");
        let (_, bundle) = stage.back_up(&stage.place.path("bundles"), &stage.place.path("state"));
        let restored = Self { stage, own, bundle };
        let output =
            restored.run(&["restore", "--only", "files", "--yes", "--file", &restored.bundle.display().to_string()]);
        assert!(output.status.success(), "{}", describe(&output));
        restored
    }

    /// The command as root.
    fn run(&self, arguments: &[&str]) -> Output {
        let command = self.stage.command(arguments, &self.own.path("state"));
        let mut root = fixtures::as_root("env");
        root.args(
            command
                .get_envs()
                .filter_map(|(name, value)| Some(format!("{}={}", name.to_string_lossy(), value?.to_string_lossy()))),
        );
        root.arg(command.get_program()).args(command.get_args()).current_dir(self.stage.place.path(""));
        root.output().expect("it runs")
    }

    /// Runs a script where root's state is `state`; gives what it says.
    fn sh(&self, script: &str) -> String {
        let script = format!("here=$PWD; cd {}; {script}", self.own.path("").display());
        String::from_utf8(as_root(&self.stage, &script).stdout).expect("UTF-8").trim().to_owned()
    }

    fn is_refused(&self, arguments: &[&str], words: &[&str]) {
        let output = self.run(arguments);
        let said = describe(&output);
        assert_eq!(output.status.code(), Some(13), "{said}");
        words.iter().for_each(|word| assert!(said.contains(word), "{word}: {said}"));
        let precious = fs::read_to_string(self.stage.place.path("precious/file"));
        assert_eq!(precious.expect("a file that nobody may take away"), "still here");
    }
}

/// Replaces a text in a journal, and makes every line's check anew, as anybody can.
fn forge(text: &str, from: &str, to: &str) -> String {
    let (mut check, mut forged) = (String::new(), String::new());
    for line in text.lines() {
        let json = line.split_once(' ').expect("a line").1.replace(from, to);
        check = hex::encode(&Sha256::new().chain_update(&check).chain_update(&json).finalize()[..8]);
        forged.push_str(&format!("{check} {json}\n"));
    }
    assert!(text.contains(from), "{from}: {text}");
    forged
}

const CLEAN_UP: &[&str] = &["restore", "cleanup", "--yes"];

#[test]
fn a_forged_journal_of_another_user_makes_root_delete_nothing() {
    let restored = Restored::new();
    let (journal, precious) = (restored.sh("cat state/restores/*.journal"), restored.stage.place.path("precious"));
    let before = restored.sh("ls -d $here/home/a_before_*");
    let forged = forge(&journal, &before, &precious.display().to_string());
    restored.stage.place.write("forged", forged);
    restored.sh("cp $here/forged $(ls state/restores/*.journal); chown -R nobody state");
    for arguments in [CLEAN_UP, &["restore", "--resume", "--yes"]] {
        restored.is_refused(arguments, &["belongs to nobody", "as root: chown -h root"]);
    }
    // Whoever takes it over does not do so with its content in mind.
    restored.sh("chown -R root state");
    restored.is_refused(CLEAN_UP, &["as no restore does", "no restore wrote this journal"]);
}

#[test]
fn a_forged_journal_makes_root_delete_nothing_by_what_calls_itself_another_part() {
    let restored = Restored::new();
    let (journal, precious) = (restored.sh("cat state/restores/*.journal"), restored.stage.place.path("precious"));
    let precious = precious.display();
    let file =
        format!(r#"{{"entry":"files/x","place":"/x","staging":"{precious}","before":"{precious}","missing":[]}}"#);
    for (id, kind) in [("x", "files"), ("files", "files"), ("files", "redis"), ("x", "postgres")] {
        let part = format!(
            r#""parts":[{{"id":"{id}","kind":"{kind}","brings":["x"],"aside":[],"live":[],"recipe":[{file}]}}],"jobs":"#
        );
        restored.stage.place.write("forged", forge(&journal, r#""jobs":"#, &part));
        restored.sh("cp $here/forged $(ls state/restores/*.journal)");
        for arguments in [CLEAN_UP, &["restore", "--rollback", "--yes"]] {
            restored.is_refused(arguments, &["as no restore does", "no restore wrote this journal"]);
        }
    }
}

#[test]
fn what_others_could_have_written_is_refused_whatever_root_reads_it_for() {
    let restored = Restored::new();
    let runs = "state/runs.json";
    for (spoil, words) in [
        ("chown nobody state/restores/*.journal", &["belongs to nobody", ".journal"][..]),
        ("chmod 666 state/restores/*.journal", &["others may write to", "chmod go-w"]),
        ("chmod 777 state/restores", &["others may write to", "has the mode 777"]),
        ("chown nobody state/restores", &["belongs to nobody"]),
        ("chown nobody state", &["belongs to nobody"]),
        (
            "chmod 1777 state; mv state/restores own; ln -s $PWD/own state/restores; chown -h nobody state/restores",
            &["belongs to nobody"],
        ),
    ] {
        restored.sh("cp -a state kept");
        restored.sh(spoil);
        restored.is_refused(CLEAN_UP, words);
        restored.sh("rm -rf state own; mv kept state");
    }
    // A backup asks who owns the cluster; notes that it can't believe stop none, and are said.
    restored.sh("echo '{}' > state/ownership.json; chown nobody state/ownership.json");
    another_second();
    let made = describe(&restored.run(&["backup", "--database", "one", "--to", "bundles"]));
    assert!(made.contains("done with 1 warning") && made.contains("ownership.json belongs to nobody"), "{made}");
    restored.sh(&format!("rm state/ownership.json; : > {runs}; chown nobody {runs}"));
    let status = describe(&restored.run(&["status"]));
    assert!(status.contains("belongs to nobody") && status.contains("runs.json"), "{status}");
    // What is in order goes on.
    restored.sh(&format!("rm {runs}"));
    let output = restored.run(CLEAN_UP);
    assert!(output.status.success(), "{}", describe(&output));
}

/// Runs a script as root where `/var/lib` is empty and the script's own.
fn on_a_machine(stage: &Stage, script: &str) -> String {
    let program = system_tests::binary().display();
    let script = format!(
        "mount -t tmpfs -o mode=755 tmpfs /var/lib; unset STATE_DIRECTORY XDG_STATE_HOME; export HOME=/nowhere NO_COLOR=1
         m=/var/lib/orchestrator-cli; cli() {{ '{program}' \"$@\"; }}; {script}"
    );
    let mut command = fixtures::as_root("unshare");
    command.args(["--mount", "sh", "-ec", &script]).current_dir(stage.place.path("")).envs(stage.server.variables());
    let output = command.output().expect("unshare runs");
    assert!(output.status.success(), "{}", describe(&output));
    describe(&output)
}

#[test]
fn what_users_own_in_roots_directory_goes_to_directories_of_theirs() {
    let stage = Stage::new();
    fs::create_dir(stage.place.path("precious")).expect("a directory");
    stage.settings(&stage.place.path("cluster.conf"), "");
    let said = on_a_machine(
        &stage,
        "precious=$(stat -c '%U %a' precious)
         mkdir -p $m/restores $m/deploys; echo forged > $m/restores/x.journal; ln -s $PWD/precious $m/link; ln -s $PWD/precious $m/runs.lock
         echo '[]' > $m/runs.json; echo '{}' > $m/ownership.json; echo x > $m/hosts.json
         chown -hR nobody $m; chown root $m/runs.json $m/deploys; chown daemon $m/hosts.json; chmod 775 $m
         cli schedule prepare --user nobody
         find $m -printf '%P %U %m %y\\n' | sort
         [ \"$(stat -c '%U %a' precious)\" = \"$precious\" ]; [ -z \"$(ls precious)\" ]
         cli restore cleanup --yes 2>&1 || echo code $?
         cli schedule prepare --user nobody; cli schedule prepare --user root
         setpriv --reuid nobody --regid nogroup --clear-groups sh -c \": > $m/mine\" 2>/dev/null || echo kept out",
    );
    let number = |user: &str| {
        let id = Command::new("id").args(["-u", user]).output().expect("id runs").stdout;
        String::from_utf8(id).expect("UTF-8").trim().to_owned()
    };
    let (nobody, daemon) = (number("nobody"), number("daemon"));
    for line in [
        " 0 755 d".into(),
        "runs.json 0 644 f".into(),
        "deploys 0 755 d".into(),
        "users 0 755 d".into(),
        format!("users/nobody {nobody} 700 d"),
        format!("users/nobody/restores/x.journal {nobody} 644 f"),
        format!("users/nobody/ownership.json {nobody} 644 f"),
        format!("users/nobody/link {nobody} 777 l"),
        "users/nobody/runs.json 0 644 f".into(),
        format!("users/daemon {daemon} 700 d"),
        format!("users/daemon/hosts.json {daemon} 644 f"),
    ] {
        assert!(said.lines().any(|other| other == line), "{line}: {said}");
    }
    assert!(said.contains("it belonged to nobody, and is now") && said.contains("ownership claim"), "{said}");
    assert!(said.contains("kept out") && !said.contains("forged"), "{said}");
}

#[test]
fn root_sees_the_runs_of_the_jobs_and_the_jobs_obey_what_root_has_noted() {
    let stage = Stage::new();
    stage.settings(&stage.place.path("cluster.conf"), "");
    let server = fixtures::server_user();
    let said = on_a_machine(
        &stage,
        &format!(
            "mkdir bundles; chown {server} bundles; chmod 755 .
             cli schedule prepare --user {server}
             jobs() {{ setpriv --reuid {server} --regid {server} --clear-groups env STATE_DIRECTORY=$m/users/{server} '{}' \"$@\"; }}
             jobs backup -c settings.toml --database one --to bundles >/dev/null; [ ! -e $m/runs.json ]
             cli status --history -c settings.toml; ls -l bundles; cli list bundles
             mkfifo $m/users/{server}/pipe; chown {server} $m/users/{server}/pipe; mv $m/users/{server}/pipe $m/users/{server}/runs.json
             cli status --history -c settings.toml 2>&1 || echo code $?",
            system_tests::binary().display()
        ),
    );
    assert!(said.contains("backup") && said.contains("went well"), "{said}");
    assert!(said.contains("named here"), "{said}");
    assert!(said.contains("it is no file"), "{said}");
}
