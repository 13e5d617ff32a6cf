//! The runbooks' commands, run from their own text on two simulated machines: each has files of its own over this machine's, a PostgreSQL, and
//! the cluster's network. What a runbook expects must come in that order.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fixtures::{Network, Postgres};
use system_tests::{another_second, binary, describe};
use tempfile::TempDir;

const HOSTS: [&str; 2] = ["10.98.0.1", "10.98.0.2"];
const CONF: &str = "machines: {
  data: { hosts: [10.98.0.1], suitable_tags: [kv-store] }
  central: { hosts: [10.98.0.2], suitable_tags: [vault] }
}
components: { kv-store: 1, vault: 1 }
chef: { continuum: { cluster_name: example } }
";

/// A step: the machine that it is for, its exit codes, the command, and what it is expected to print.
struct Step {
    title: String,
    machine: String,
    codes: Vec<i32>,
    command: String,
    expected: Vec<String>,
}

/// The steps of a runbook. Each must have a command, what is expected, and what to do where it differs.
fn steps(name: &str) -> Vec<Step> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/runbooks").join(name);
    let text = fs::read_to_string(path).expect("a runbook");
    let sections = text.split("\n## ").skip(1);
    let block = |section: &str, begin: &str| {
        let (_, rest) =
            section.split_once(&format!("\n```{begin}")).unwrap_or_else(|| panic!("no {begin} in {section}"));
        rest.split_once("\n```").expect("its end").0.to_owned()
    };
    let step = |section: &str| {
        assert!(section.contains("\n**If it differs:** "), "{section}");
        let command = block(section, "sh ");
        let (how, command) = command.split_once('\n').expect("a command");
        let mut words = how.split_whitespace();
        Step {
            title: format!("{name}: {}", section.lines().next().unwrap_or_default()),
            machine: words.next().expect("a machine").into(),
            // Done with warnings is done, unless the runbook wants another end.
            codes: words.next().map_or(vec![0, 3], |code| vec![code.parse().expect("a code")]),
            command: command.into(),
            expected: block(section, "text\n").lines().map(Into::into).collect(),
        }
    };
    sections.map(step).collect()
}

/// Whether a line is what is expected, in which `…` stands for anything.
fn fits(line: &str, expected: &str) -> bool {
    let mut parts = expected.split('…');
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, between)) = parts.split_last() else { return rest.is_empty() };
    for part in between {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Whether all expected lines come in this order, with others between them.
fn comes(output: &str, expected: &[String]) -> Result<(), String> {
    let mut lines = output.lines();
    for wanted in expected {
        if !lines.any(|line| fits(line, wanted)) {
            return Err(wanted.clone());
        }
    }
    Ok(())
}

/// Two machines that may be the orchestrator, and the cluster.
struct World {
    directory: TempDir,
    network: Network,
    servers: [Postgres; 2],
}

impl World {
    fn new() -> Self {
        let mut network = Network::default();
        network.hosts(&HOSTS);
        let directory = tempfile::tempdir().expect("a directory");
        let servers = [Postgres::start(), Postgres::start()];
        servers[0].load_sample(300);
        let world = Self { directory, network, servers };
        for host in HOSTS {
            fs::write(world.network.disk(host).join("agent"), "exit 0\n").expect("an agent");
        }
        fs::create_dir(world.directory.path().join("backups")).expect("a directory");
        for (at, machine) in ["old", "new"].into_iter().enumerate() {
            for part in ["upper", "work", "root"] {
                fs::create_dir_all(world.directory.path().join(machine).join(part)).expect("a directory");
            }
            world.prepare(machine, &world.servers[at]);
        }
        world
    }

    /// Puts settings onto a machine, and who the hosts are; on the old one, its cluster.conf too.
    fn prepare(&self, machine: &str, server: &Postgres) {
        let own = self.network.own().display().to_string();
        let settings = format!(
            "cluster_conf = '/home/orchestrator/cluster.conf'\nrelease.version = '2.6.3'\n\
             [postgres]\nconnection = 'host={} user=postgres'\n[[stores]]\npath = '/mnt/backups'\nelsewhere = true\n\
             [hosts]\nssh_user = '{}'\n[agent]\nsettings = '{own}/orchestrator.json'\ncommand = ['sh', '{own}/agent']\nsudo = false\n\
             [schedule]\n[retention]\nlast = 30\n",
            server.host().display(),
            user()
        );
        let conf = if machine == "old" { "printf '%s' \"$1\" > /home/orchestrator/cluster.conf" } else { ":" };
        let known: String = HOSTS.iter().map(|host| format!("{host} {}\n", self.public_key(host))).collect();
        let script = format!(
            "mkdir -p /etc/orchestrator /home/orchestrator /root/.ssh\nprintf '%s' \"$0\" > /etc/orchestrator/orchestrator.toml\n{conf}\n\
             printf '%s' \"$2\" > /root/.ssh/known_hosts\ncp \"$3\" /root/.ssh/id_ed25519\nchmod 600 /root/.ssh/id_ed25519\n"
        );
        let mut command = self.machine(machine, &script);
        command.args([&settings, CONF, &known]).arg(self.network.identity());
        let done = command.output().expect("it runs");
        assert!(done.status.success(), "{}", describe(&done));
    }

    fn public_key(&self, host: &str) -> String {
        let path: PathBuf = self.network.identity().with_file_name(format!("{host}.pub"));
        fs::read_to_string(path).expect("a key").split(' ').take(2).collect::<Vec<_>>().join(" ")
    }

    /// A script as root on a machine; its arguments are to be added.
    fn machine(&self, name: &str, script: &str) -> Command {
        let own = self.directory.path().join(name);
        let own = own.display();
        let backups = self.directory.path().join("backups");
        // What it changes of this machine's files lies in a directory of its own.
        let enter = format!(
            "mount -t overlay overlay -o lowerdir=/,upperdir={own}/upper,workdir={own}/work {own}/root\n\
             cd {own}/root\nmount -t tmpfs tmpfs run\nmount -t proc proc proc\nmount --rbind /dev dev\nmount --rbind /sys sys\nmount --bind /tmp tmp\n\
             mkdir -p mnt/backups etc/cron.d\nmount --bind {} mnt/backups\nhostname {name}\n\
             exec chroot . /usr/bin/env -i HOME=/root PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin \
             PGHOST={} PGUSER=postgres NO_COLOR=1 sh -ec \"$@\"\n",
            backups.display(),
            self.servers[usize::from(name == "new")].host().display(),
        );
        let program = binary().parent().expect("a directory").display();
        let script = format!("PATH={program}:$PATH; cd /root\n{script}");
        let mut command = self.network.root();
        command.args(["unshare", "--mount", "--uts", "sh", "-ec", &enter, "sh", &script]);
        command
    }

    /// Runs a step, with the bundle that an earlier one has chosen, as in one session of a shell.
    fn run(&self, step: &Step) -> Output {
        // Bundles are named by their second.
        another_second();
        let script = format!(
            "if [ -e /root/chosen ]; then BUNDLE=$(cat /root/chosen); fi\n\
             trap 'echo \"${{BUNDLE:-}}\" > /root/chosen' EXIT\n{}\n",
            step.command
        );
        self.machine(&step.machine, &script).output().expect("it runs")
    }

    fn follow(&self, runbook: &str) {
        for step in steps(runbook) {
            let output = self.run(&step);
            let said =
                format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(
                output.status.code().is_some_and(|code| step.codes.contains(&code)),
                "{}: {}",
                step.title,
                describe(&output)
            );
            if let Err(missing) = comes(&said, &step.expected) {
                panic!("{}: {missing:?} does not come: {}", step.title, describe(&output));
            }
        }
    }
}

/// Whom the hosts let in.
fn user() -> String {
    let output = Command::new("id").arg("-un").output().expect("id runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

impl Drop for World {
    fn drop(&mut self) {
        let mut remove = fixtures::as_root("rm");
        let _ = remove.arg("-rf").args(["old", "new", "backups"].map(|part| self.directory.path().join(part))).status();
    }
}

#[test]
fn the_orchestrator_is_migrated_to_a_new_machine() {
    let world = World::new();
    let claimed = world.machine("old", "orchestrator-cli ownership claim --yes").output().expect("it runs");
    assert!(matches!(claimed.status.code(), Some(0 | 3)), "{}", describe(&claimed));
    world.follow("migrate.md");
    assert_eq!(world.servers[1].sql("orchestrator", "SELECT count(*) > 0 FROM cluster.machines"), "t");
    assert!(
        fs::read_to_string(world.directory.path().join("new/upper/home/orchestrator/cluster.conf"))
            .is_ok_and(|conf| conf == CONF)
    );
}

#[test]
fn an_orchestrator_that_is_lost_is_recovered_from_its_bundle() {
    let mut world = World::new();
    let backup = world.machine("old", "orchestrator-cli backup").output().expect("it runs");
    assert!(matches!(backup.status.code(), Some(0 | 3)), "{}", describe(&backup));
    world.servers[0].kill();
    world.follow("lost-vm.md");
    assert_eq!(world.servers[1].sql("orchestrator", "SELECT count(*) > 0 FROM cluster.machines"), "t");
}

#[test]
fn an_operators_mistake_is_undone() {
    let world = World::new();
    let count = "SELECT count(*) FROM cluster.machines";
    let before = world.servers[0].sql("orchestrator", count);
    let backup = world.machine("old", "orchestrator-cli backup").output().expect("it runs");
    assert!(matches!(backup.status.code(), Some(0 | 3)), "{}", describe(&backup));
    world.servers[0].sql("orchestrator", "TRUNCATE cluster.machines CASCADE");
    world.follow("undo-mistake.md");
    assert_eq!(world.servers[0].sql("orchestrator", count), before);
}

#[test]
fn an_ellipsis_stands_for_anything_and_for_nothing_else() {
    for (line, expected, is) in [
        ("ok      all", "ok …", true),
        ("error   all", "ok …", false),
        ("a b c", "a…c", true),
        ("a b d", "a…c", false),
        ("deployed 10.98.0.1", "deployed 10.98.0.1", true),
        ("deployed 10.98.0.11", "deployed 10.98.0.1", false),
        ("x_2026Z.tgz", "x_…Z.tgz", true),
        ("x_2026Z.tgz.age", "x_…Z.tgz", false),
        ("", "…", true),
    ] {
        assert_eq!(fits(line, expected), is, "{line:?} {expected:?}");
    }
}
