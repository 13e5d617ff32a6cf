//! The packages install on a clean system, and leave alone what is not theirs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use system_tests::{binary, describe};
use tempfile::TempDir;

const JOBS: [&str; 3] = ["backup", "databases", "drill"];

/// A clean Debian root, and the packages.
struct Clean {
    directory: TempDir,
}

impl Clean {
    fn new(kind: &str) -> Self {
        let clean = Self { directory: tempfile::tempdir().expect("a directory") };
        done(&mut as_root(&[&repository("fixtures/debian-root.sh"), &clean.root()]));
        let mut build = Command::new(repository("deploy/package/build.sh"));
        // The program of a test is large, and need not be made small.
        build.env("DPKG_DEB_COMPRESSOR_TYPE", "none");
        done(build.arg(binary()).arg(clean.directory.path()).arg(kind));
        clean
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    fn package(&self, ending: &str) -> PathBuf {
        let entries = fs::read_dir(self.directory.path()).expect("a directory").flatten().map(|entry| entry.path());
        entries
            .into_iter()
            .find(|path| path.extension().is_some_and(|extension| extension == ending))
            .expect("a package")
    }

    /// Runs a script in the root, with a `/proc` that is gone afterwards.
    fn run(&self, script: &str) -> String {
        let script = format!("export PATH=/usr/sbin:/usr/bin:/sbin:/bin; {script}");
        let enter = "mount -t proc proc \"$0/proc\"; exec chroot \"$0\" /bin/sh -ec \"$1\"";
        let words = ["unshare", "--mount", "sh", "-ec", enter].map(Path::new);
        let output = done(&mut as_root(&[&words[..], &[&self.root(), Path::new(&script)]].concat()));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Puts a file of whoever runs the test into the root.
    fn put(&self, file: &Path, place: &str) {
        done(&mut as_root(&[Path::new("cp"), file, &self.root().join(place)]));
    }
}

impl Drop for Clean {
    fn drop(&mut self) {
        // Most of it is root's.
        done(&mut as_root(&[Path::new("rm"), Path::new("-rf"), &self.root()]));
    }
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn as_root(words: &[&Path]) -> Command {
    let mut command = fixtures::as_root("env");
    command.args(words);
    command
}

fn done(command: &mut Command) -> Output {
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{command:?}: {}", describe(&output));
    output
}

#[test]
fn the_deb_installs_on_a_clean_system_and_takes_nothing_of_others_along() {
    let clean = Clean::new("deb");
    clean.run("groupadd postgres; groupadd orchestrator");
    clean.put(&clean.package("deb"), "package.deb");
    let said = clean.run("dpkg -i /package.deb");
    assert!(said.contains("CREATE ROLE \"orchestrator-cli\""), "{said}");
    let found = clean.run(
        "orchestrator-cli --version; id -nG orchestrator-cli; stat -c '%U %a' /var/lib/postgresql/backups; \
         stat -c '%U %a %n' /var/lib/orchestrator-cli /var/lib/orchestrator-cli/users/orchestrator-cli; \
         ls /etc/systemd/system/timers.target.wants; ls /usr/share/man/man1 /usr/share/bash-completion/completions; \
         ls /usr/share/doc/orchestrator-cli/examples /usr/share/doc/orchestrator-cli/runbooks",
    );
    for expected in [
        "orchestrator-cli 0",
        "orchestrator-cli orchestrator\n",
        "root 755 /var/lib/orchestrator-cli\norchestrator-cli 700 /var/lib/orchestrator-cli/users/orchestrator-cli\n",
        "orchestrator-cli 700",
        "orchestrator-cli-backup.timer\norchestrator-cli-drill.timer",
        "orchestrator-cli.1.gz",
        "orchestrator-cli-restore-cleanup.1.gz",
        "orchestrator.toml",
        "lost-vm.md",
    ] {
        assert!(found.contains(expected), "{expected}: {found}");
    }
    for job in JOBS {
        let units = ["service", "timer"].map(|kind| format!("orchestrator-cli-{job}.{kind}"));
        let mut verify = fixtures::as_root("systemd-analyze");
        verify.arg("verify").arg("--man=no").arg(format!("--root={}", clean.root().display())).args(units);
        let verified = done(&mut verify);
        assert_eq!(String::from_utf8_lossy(&verified.stderr), "", "{job}");
    }
    let unit = clean.run("cat /usr/lib/systemd/system/orchestrator-cli-backup.service");
    assert!(
        unit.contains(
            "ExecStart=/usr/bin/orchestrator-cli schedule run backup --by-timer --config /etc/orchestrator/orchestrator.toml\n"
        ),
        "{unit}"
    );
    assert!(unit.contains("User=orchestrator-cli\n") && !unit.contains("/tmp"), "{unit}");
    // What jobs lack is said while somebody is there.
    let lacks = clean.run(
        "echo 'cluster_name = example' > /root/cluster.conf; mkdir -p /etc/cron.d; \
         printf \"cluster_conf = 'cluster.conf'\\n[[stores]]\\npath = '/srv/bundles'\\n\" > /root/o.toml; \
         orchestrator-cli schedule install -c /root/o.toml --user nobody-here 2>&1 || echo code $?; \
         test ! -e /etc/cron.d/orchestrator-cli; orchestrator-cli status -c /root/o.toml 2>&1 || echo code $?; \
         orchestrator-cli schedule install -c /root/o.toml 2>&1 || echo code $?; mkdir -p /srv/bundles; \
         orchestrator-cli schedule install -c /root/o.toml 2>&1 || echo code $?; orchestrator-cli schedule remove; rm /root/*; rm -r /srv/bundles",
    );
    let (stranger, missing) = lacks.split_once("code 10\n").unwrap_or_else(|| panic!("{lacks}"));
    assert!(stranger.contains("this machine has no such user"), "{lacks}");
    assert!(missing.contains("no timer and no crontab of this machine runs jobs"), "{lacks}");
    for said in
        ["and it does not exist", "and orchestrator-cli may not", "install -d -o orchestrator-cli -m 700 /srv/bundles"]
    {
        assert!(missing.contains(said), "{said}: {lacks}");
    }
    // An upgrade changes nothing that somebody has set; neither a removal nor a purge takes settings, bundles or claims.
    let kept = "cat /etc/orchestrator/orchestrator.toml /var/lib/postgresql/backups/bundle /var/lib/orchestrator-cli/ownership.json";
    clean.run(
        "echo settings > /etc/orchestrator/orchestrator.toml; echo bundle > /var/lib/postgresql/backups/bundle; \
         echo claim > /var/lib/orchestrator-cli/ownership.json; systemctl disable -q orchestrator-cli-drill.timer",
    );
    let again = clean.run("dpkg -i /package.deb");
    assert!(!again.contains("CREATE ROLE"), "{again}");
    assert_eq!(clean.run("ls /etc/systemd/system/timers.target.wants"), "orchestrator-cli-backup.timer\n");
    // What older versions had in common with the jobs' user is root's alone; what is the user's goes along with it.
    let moved = clean.run(
        "d=/var/lib/orchestrator-cli; usermod -aG postgres -d $d orchestrator-cli; rm -r $d/users; mkdir $d/restores $d/.ssh; \
         echo forged > $d/restores/x.journal; echo key > $d/.ssh/id; ln -s /etc/orchestrator $d/deploys; \
         chown -hR orchestrator-cli $d; chown root $d/ownership.json; dpkg -i /package.deb; id -nG orchestrator-cli; \
         getent passwd orchestrator-cli | cut -d: -f6; cd $d; stat -c '%U %n' . * users/* users/*/restores/* users/*/.ssh/id /etc/orchestrator",
    );
    for line in [
        "orchestrator-cli orchestrator",
        "/var/lib/orchestrator-cli/users/orchestrator-cli",
        "root .",
        "root ownership.json",
        "root users",
        "orchestrator-cli users/orchestrator-cli",
        "orchestrator-cli users/orchestrator-cli/restores/x.journal",
        "orchestrator-cli users/orchestrator-cli/.ssh/id",
        "root /etc/orchestrator",
    ] {
        assert!(moved.lines().any(|other| other == line), "{line}: {moved}");
    }
    assert!(moved.contains("not in the group postgres any more") && !moved.contains(" deploys\n"), "{moved}");
    // What was on is on again when it comes back.
    clean.run("dpkg -r orchestrator-cli; dpkg -i /package.deb");
    assert_eq!(clean.run("ls /etc/systemd/system/timers.target.wants"), "orchestrator-cli-backup.timer\n");
    for removal in ["dpkg -r orchestrator-cli", "dpkg -P orchestrator-cli"] {
        clean.run(removal);
        assert_eq!(clean.run(kept), "settings\nbundle\nclaim\n", "{removal}");
        assert_eq!(clean.run("ls /etc/systemd/system/timers.target.wants 2> /dev/null || :"), "", "{removal}");
        assert_eq!(clean.run("command -v orchestrator-cli || echo gone"), "gone\n");
    }
}

#[test]
fn the_rpm_brings_the_same_and_its_scripts_run() {
    let clean = Clean::new("rpm");
    let package = clean.package("rpm");
    let listed = done(Command::new("rpm").args(["-qlp", "--nosignature"]).arg(&package));
    let listed = String::from_utf8(listed.stdout).expect("UTF-8");
    for file in [
        "/usr/bin/orchestrator-cli\n",
        "/usr/lib/systemd/system/orchestrator-cli-backup.timer\n",
        "/usr/share/man/man1/orchestrator-cli.1.gz\n",
        "/usr/share/zsh/site-functions/_orchestrator-cli\n",
        "/usr/share/doc/orchestrator-cli/examples/orchestrator.toml\n",
    ] {
        assert!(listed.contains(file), "{file}: {listed}");
    }
    // Its requirements are packages of other distributions, which this root has by other names.
    let rpm = |arguments: &[&str]| {
        let mut command = fixtures::as_root("rpm");
        done(command.arg("--root").arg(clean.root()).arg("--nodeps").args(arguments));
    };
    rpm(&["--nosignature", "-i", &package.display().to_string()]);
    assert!(clean.run("id -nG orchestrator-cli; orchestrator-cli --version").contains("orchestrator-cli 0"));
    assert!(clean.run("ls /etc/systemd/system/timers.target.wants").contains("orchestrator-cli-backup.timer"));
    clean.run("echo bundle > /var/lib/postgresql/backups/bundle");
    rpm(&["-e", "orchestrator-cli"]);
    assert_eq!(
        clean.run("cat /var/lib/postgresql/backups/bundle; command -v orchestrator-cli || echo gone"),
        "bundle\ngone\n"
    );
    assert_eq!(clean.run("ls /etc/systemd/system/timers.target.wants 2> /dev/null || :"), "");
}
