//! Nobody else can hold a lock: locks are their owner's alone, and no run waits for ever.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Stdio};

use system_tests::{Stage, as_root, describe};

/// A process of nobody's that holds what it can lock, and ends with its test.
struct Holder(Child);

impl Holder {
    fn of(stage: &Stage, path: &str) -> Self {
        let mut holder = fixtures::as_root("setpriv");
        holder.args(["--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "flock", path, "sh", "-c"]);
        holder
            .arg("echo held; exec cat")
            .current_dir(stage.place.path(""))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut holder = holder.spawn().expect("setpriv runs");
        let mut said = String::new();
        BufReader::new(holder.stdout.take().expect("its output")).read_line(&mut said).expect("read");
        assert_eq!(said, "held\n", "{path}");
        Self(holder)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // Its input ends, and so it does.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn mode(stage: &Stage, path: &str) -> u32 {
    stage.place.path(path).metadata().expect("there").mode() & 0o777
}

#[test]
fn locks_are_their_directorys_owners_alone_and_those_of_older_versions_are_closed() {
    let stage = Stage::new();
    let state = stage.place.path("state");
    stage.settings(&stage.place.path("cluster.conf"), "");
    // As older versions left them; the store is another user's.
    as_root(
        &stage,
        "mkdir bundles state; : > bundles/.orchestrator-cli.lock; : > state/runs.lock; chmod 666 bundles/.orchestrator-cli.lock state/runs.lock
         chmod 755 . state bundles; chown nobody bundles",
    );
    let (_, bundle) = stage.back_up(&stage.place.path("bundles"), &state);
    let restored = stage.restore_files(&bundle, &state);
    assert!(stage.place.path("state/restores/.lock").exists(), "{}", describe(&restored));
    let owner = |path: &str| stage.place.path(path).metadata().expect("there").uid();
    for path in ["bundles/.orchestrator-cli.lock", "state/runs.lock"] {
        assert_eq!(mode(&stage, path), 0o600, "{path}");
    }
    assert_eq!(owner("bundles/.orchestrator-cli.lock"), owner("bundles"));
    for path in ["state/runs.lock", "state/restores/.lock"] {
        let mut other = fixtures::as_root("setpriv");
        other.args(["--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "flock", "-n", path, "true"]);
        let output = other.current_dir(stage.place.path("")).output().expect("it runs");
        assert!(!output.status.success(), "{path}: {}", describe(&output));
    }
}

#[test]
fn who_can_open_the_directory_holds_no_run_up() {
    let stage = Stage::new();
    let state = stage.place.path("state");
    stage.settings(&stage.place.path("cluster.conf"), "");
    as_root(&stage, "mkdir bundles state; chmod 755 . state bundles");
    let _holders = ["state", "bundles"].map(|path| Holder::of(&stage, path));
    let command = stage.command(&["backup", "--database", "one", "--to", "bundles"], &state);
    let mut limited = Command::new("timeout");
    limited.arg("60").arg(command.get_program()).args(command.get_args()).current_dir(stage.place.path(""));
    limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = limited.output().expect("it runs");
    assert!(output.status.success(), "{}", describe(&output));
}

#[test]
fn a_store_that_is_written_to_says_by_whom() {
    let stage = Stage::new();
    let state = stage.place.path("state");
    stage.settings(&stage.place.path("cluster.conf"), "");
    let (output, _) = {
        as_root(&stage, "mkdir bundles");
        stage.back_up(&stage.place.path("bundles"), &state)
    };
    assert!(output.status.success(), "{}", describe(&output));
    let lock =
        fs::File::options().write(true).open(stage.place.path("bundles/.orchestrator-cli.lock")).expect("opened");
    lock.try_lock().expect("locked");
    system_tests::another_second();
    let output = stage.run(&["backup", "--database", "one", "--to", "bundles"], &state);
    let said = describe(&output);
    assert_eq!(output.status.code(), Some(11), "{said}");
    assert!(said.contains(&format!("is held by process {} of ", std::process::id())), "{said}");
}
