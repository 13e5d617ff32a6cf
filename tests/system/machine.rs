//! The machine: what a restore must not take along, what is left working, who may restore.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use system_tests::{Stage, as_root, as_user, describe, modes, names};

#[test]
fn a_place_that_would_take_along_what_must_stay_is_refused_and_the_backup_says_so() {
    let stage = Stage::new();
    let (place, server) = (&stage.place, &stage.server);
    let path = |name: &str| place.path(name);
    for directory in ["home/.local/state", "home/bundles", "home/conf", "bundles", "elsewhere/state"] {
        fs::create_dir_all(path(directory)).expect("directories");
    }
    fs::write(path("home/conf/a"), "captured").expect("a file");
    symlink(path("elsewhere"), path("link")).expect("a link");
    let host = server.host().to_owned();
    server.sql("postgres", &format!("COPY (SELECT 1) TO PROGRAM 'mkdir -p {}/spaces/ts'", host.display()));
    server.sql("postgres", &format!("CREATE TABLESPACE ts LOCATION '{}/spaces/ts'", host.display()));
    let outside = path("state");
    let nothing = "exclude = ['*']\n";
    let store = format!("[[stores]]\npath = '{}'\n", path("home/bundles").display());
    // The tree, the state directory, where the bundle is, more settings, what is said by the restore, and by the backup.
    let cases: [(&str, PathBuf, PathBuf, PathBuf, &str, &str, &str); 10] = [
        (
            "a home with the state",
            path("home"),
            path("home/.local/state/cli"),
            path("bundles"),
            "",
            "journals",
            "journals",
        ),
        (
            "it is excluded",
            path("home"),
            path("home/.local/state/cli"),
            path("bundles"),
            "exclude = ['.local']\n",
            "journals",
            "journals",
        ),
        ("a link's target", path("link"), path("elsewhere/state"), path("bundles"), "", "journals", "journals"),
        ("behind a link", path("link"), path("link/state"), path("bundles"), "", "journals", "journals"),
        (
            "the bundle",
            path("home"),
            outside.clone(),
            path("home/bundles"),
            "",
            "what is restored",
            "every bundle would hold",
        ),
        ("a store", path("home"), outside.clone(), path("bundles"), &store, "a store of bundles", ""),
        (
            "the server's data",
            host.join("data"),
            outside.clone(),
            path("bundles"),
            nothing,
            "the data of",
            "the data of",
        ),
        (
            "all of the server",
            host.clone(),
            outside.clone(),
            path("bundles"),
            nothing,
            "the socket of",
            "the socket of",
        ),
        (
            "a tablespace",
            host.join("spaces"),
            outside.clone(),
            path("bundles"),
            nothing,
            "tablespace ts",
            "tablespace ts",
        ),
        ("nothing of that", path("home/conf"), outside.clone(), path("bundles"), "", "", ""),
    ];
    for (case, tree, state, to, more, refused, warned) in cases {
        stage.settings(&tree, more);
        let (output, bundle) = stage.back_up(&to, &state);
        let said = describe(&output);
        assert_eq!(output.status.code(), Some(if warned.is_empty() { 0 } else { 3 }), "{case}: {said}");
        assert!(said.contains(warned), "{case}: {said}");
        let before = tree.symlink_metadata().expect("a tree").ino();
        let output = stage.restore_files(&bundle, &state);
        let (said, after) = (describe(&output), tree.symlink_metadata().expect("a tree").ino());
        if refused.is_empty() {
            assert!(output.status.success() && before != after, "{case}: {said}");
            let back = stage.run(&["restore", "--rollback", "--yes", "--file", &bundle.display().to_string()], &state);
            assert!(back.status.success(), "{case}: {}", describe(&back));
            continue;
        }
        assert_eq!(output.status.code(), Some(13), "{case}: {said}");
        assert!(said.contains(refused) && said.contains("it would take along what must stay"), "{case}: {said}");
        assert_eq!(before, after, "{case}: it stepped aside");
        assert_eq!(server.sql("one", "SELECT count(*) FROM t"), "10", "{case}");
        let beside = names(tree.parent().expect("a parent"));
        assert!(beside.iter().all(|name| !name.contains("_before_")), "{case}: {beside:?}");
    }
}

/// A restore that was killed while the server makes the database, and is kept from it by a lock until the test lets go.
struct Killed {
    holder: std::process::Child,
}

impl Killed {
    const BUSY: &str = "FROM pg_stat_activity WHERE query LIKE 'CREATE DATABASE%' AND wait_event_type = 'Lock'";

    fn new(stage: &Stage, bundle: &Path) -> Self {
        let mut holder = stage.server.command("psql");
        holder.args(["-X", "-q", "-d", "postgres"]).stdin(std::process::Stdio::piped());
        let mut holder = holder.stdout(std::process::Stdio::null()).spawn().expect("psql runs");
        let lock = b"BEGIN; LOCK TABLE pg_database IN SHARE MODE;\n";
        std::io::Write::write_all(holder.stdin.as_mut().expect("a pipe"), lock).expect("written");
        stage.server.wait_until(
            "SELECT count(*) > 0 FROM pg_locks WHERE relation = 'pg_database'::regclass AND mode = 'ShareLock'",
        );
        let bundle = bundle.display().to_string();
        let arguments = ["restore", "--only", "databases", "--yes", "--file", &bundle];
        let mut restore = stage.command(&arguments, &stage.place.path("state"));
        restore.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let mut restore = restore.spawn().expect("it runs");
        stage.server.wait_until(&format!("SELECT count(*) = 1 {}", Self::BUSY));
        restore.kill().expect("killed");
        restore.wait().expect("ended");
        Self { holder }
    }

    fn let_go(mut self) {
        drop(self.holder.stdin.take());
        self.holder.wait().expect("psql ends");
    }
}

#[test]
fn what_a_killed_restore_left_working_comes_to_nothing_before_it_is_rolled_back_or_resumed() {
    let stage = Stage::new();
    let (server, state) = (&stage.server, stage.place.path("state"));
    fs::create_dir(stage.place.path("bundles")).expect("a directory");
    stage.place.write("a", "captured");
    stage.settings(&stage.place.path("a"), "");
    let (_, bundle) = stage.back_up(&stage.place.path("bundles"), &state);
    let shadows = "SELECT datname FROM pg_database WHERE datname ~ '_(restore|before)_'";
    let killed = Killed::new(&stage, &bundle);
    let back = stage.run(&["restore", "--rollback", "--yes"], &state);
    assert!(back.status.success(), "{}", describe(&back));
    assert_eq!(server.sql("postgres", &format!("SELECT count(*) {}", Killed::BUSY)), "0", "it still works");
    killed.let_go();
    assert_eq!(server.sql("postgres", shadows), "", "it came after all");

    let killed = Killed::new(&stage, &bundle);
    let first = server.sql("postgres", &format!("SELECT pid {}", Killed::BUSY));
    let mut resume = stage.command(&["restore", "--resume", "--yes"], &state);
    resume.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let resume = resume.spawn().expect("it runs");
    server.wait_until(&format!("SELECT count(*) = 1 {} AND pid <> {first}", Killed::BUSY));
    killed.let_go();
    let resumed = resume.wait_with_output().expect("it ends");
    assert!(resumed.status.success(), "{}", describe(&resumed));
    assert_eq!(server.sql("one", "SELECT count(*) FROM t"), "10");
}

#[test]
fn another_user_restores_trees_of_any_modes() {
    let stage = Stage::new();
    let state = stage.place.path("state");
    stage.settings(
        &stage.place.path("tree"),
        &format!("[[files]]\npath = '{}'\n", stage.place.path("closed").display()),
    );
    as_root(
        &stage,
        "mkdir -p tree/ro/deep tree/group tree/sticky closed bundles other; echo a > tree/ro/a; echo a > tree/ro/deep/a; echo a > closed/a
         echo a > tree/user; echo a > tree/both; chown -R nobody:nogroup .; chown -R daemon:daemon other
         chmod 4755 tree/user; chmod 6711 tree/both; chmod 2775 tree/group; chmod 1777 tree/sticky; chmod 500 tree/ro/deep tree/ro closed
         chmod 755 . bundles",
    );
    let run = |user: &str, arguments: &[&str]| {
        let output = as_user(user, &stage.command(arguments, &state)).output().expect("it runs");
        (output.status.code(), describe(&output))
    };
    let before = modes(&stage, "tree closed");
    let (code, said) = run("nobody", &["backup", "--database", "one", "--to", "bundles"]);
    assert_eq!(code, Some(0), "{said}");
    let bundle = format!(
        "bundles/{}",
        names(&stage.place.path("bundles")).into_iter().find(|name| name.ends_with("tgz")).expect("a bundle")
    );
    let restore = ["restore", "--only", "files", "--yes", "--file", &bundle];
    for after in [&["restore", "--rollback", "--yes", "--file", &bundle][..], &["restore", "cleanup", "--yes"]] {
        let (code, said) = run("nobody", &restore);
        assert_eq!((code, modes(&stage, "tree closed")), (Some(0), before.clone()), "{said}");
        let (code, said) = run("nobody", after);
        assert_eq!((code, modes(&stage, "tree closed")), (Some(0), before.clone()), "{after:?}: {said}");
        let left = as_root(&stage, "ls -A | grep -e _before_ -e orchestrator-cli_restore || true").stdout;
        assert_eq!(String::from_utf8_lossy(&left), "", "{after:?}");
    }
    // What would run as somebody else than it did is not so any more, and that is said.
    as_root(&stage, "chmod -R a+rX bundles");
    let mut other = stage.command(&[&restore[..], &["--root", "other"]].concat(), &stage.place.path("other/state"));
    other.env("HOME", stage.place.path("other"));
    let output = as_user("daemon", &other).output().expect("it runs");
    let said = describe(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("its setuid bit is not set: it belongs to another user here"), "{said}");
    let found = modes(&stage, "other");
    for (name, mode) in [("user", "f 755"), ("both", "f 711"), ("group", "d 775"), ("sticky", "d 1777")] {
        assert!(found.lines().any(|line| line.contains(&format!("tree/{name} {mode} daemon"))), "{name}: {found}");
    }
}

#[test]
fn a_umask_closes_no_journal_and_a_closed_one_says_what_opens_it() {
    let stage = Stage::new();
    let state = stage.place.path("state");
    stage.place.write("a", "captured");
    stage.settings(&stage.place.path("a"), "");
    as_root(&stage, "mkdir bundles; chown -R nobody:nogroup .; chmod 755 .");
    let run = |arguments: &[&str]| {
        let command = as_user("nobody", &stage.command(arguments, &state));
        let mut masked = Command::new("sh");
        masked.args(["-c", "umask 777; exec \"$0\" \"$@\""]).arg(command.get_program()).args(command.get_args());
        let output = masked.current_dir(stage.place.path("")).output().expect("it runs");
        (output.status.code(), describe(&output))
    };
    let (code, said) = run(&["backup", "--database", "one", "--to", "bundles"]);
    assert_eq!(code, Some(0), "{said}");
    let bundle = String::from_utf8(as_root(&stage, "ls bundles/*.tgz").stdout).expect("UTF-8");
    let bundle = ["--yes", "--file", bundle.trim_end()];
    for arguments in [["restore", "--only", "files"], ["restore", "--rollback", "--quiet"]] {
        let arguments = &[&arguments[..], &bundle].concat()[..];
        let (code, said) = run(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {said}");
    }
    let journals = as_root(&stage, "find state/restores -name '*.journal' -printf '%m\\n' -exec chmod 0 {} +").stdout;
    assert_eq!(String::from_utf8_lossy(&journals), "600\n");
    let (code, said) = run(&["restore", "--rollback", "--yes"]);
    assert!(code == Some(1) && said.contains("chmod 600 ") && said.contains(".journal"), "{code:?}: {said}");
}

#[test]
fn what_root_keeps_to_itself_stops_nobody_else_from_restoring() {
    let stage = Stage::new();
    stage.place.write("a", "captured");
    stage.settings(&stage.place.path("a"), "");
    as_root(&stage, "mkdir bundles home; chown nobody home; chmod 755 .");
    let plain = |command: &Command| {
        let words = [command.get_program()].into_iter().chain(command.get_args());
        words.map(|word| format!("'{}'", word.to_string_lossy())).collect::<Vec<_>>().join(" ")
    };
    let root = plain(&stage.command(&["backup", "--database", "one", "--to", "bundles"], Path::new("")));
    let restore =
        plain(&stage.command(&["restore", "--only", "databases", "--allow-old-clients", "--yes"], Path::new("")));
    // Root's usual place, of this script alone.
    let script = format!(
        "mount -t tmpfs -o mode=755 tmpfs /var/lib; unset STATE_DIRECTORY XDG_STATE_HOME
         {root} >/dev/null; chmod -R a+rX bundles; stat -c %a /var/lib/orchestrator-cli
         user() {{ setpriv --reuid nobody --regid nogroup --clear-groups env HOME=$PWD/home {restore} --file bundles/*.tgz 2>&1 && echo well || echo code $?; }}
         user; chmod 700 /var/lib/orchestrator-cli; user; now=$(date +%s)
         while [ $(date +%s) = $now ]; do :; done; {root} >/dev/null; stat -c %a /var/lib/orchestrator-cli"
    );
    let mut command = fixtures::as_root("unshare");
    command.args(["--mount", "sh", "-ec", &script]).current_dir(stage.place.path("")).envs(stage.server.variables());
    let output = command.output().expect("unshare runs");
    let said = describe(&output);
    assert!(output.status.success(), "{said}");
    let told: Vec<&str> =
        said.lines().filter(|line| ["711", "well", "code"].iter().any(|start| line.starts_with(start))).collect();
    assert_eq!(told, ["711", "well", "code 3", "711"], "{said}");
    assert!(said.contains("chmod 711 /var/lib/orchestrator-cli"), "{said}");
}
