//! Every command against every SFTP server, and through rclone: a new server is one more line of the fixtures' table.

use std::fs;
use std::process::{Command, Output};

use fixtures::s3::{BUCKET, S3Server};
use fixtures::{Postgres, SFTP_SERVERS, SftpServer, Sshd};
use system_tests::{Remote, Workplace, another_second, assert_same, at_home, describe, reachable};

/// A server with an empty store, and a place from which it is reached.
struct Server {
    name: &'static str,
    place: Workplace,
    address: String,
    /// Whether the directory is still to be made.
    is_new: bool,
    _keeper: Keeper,
}

/// What keeps the bundles, as long as it lives.
enum Keeper {
    Sftp { _sshd: Sshd },
    Rclone { _remote: Remote, _server: Option<S3Server> },
}

/// A directory of a server that lets the place's user in, and that the place knows.
fn sftp(kind: &SftpServer) -> Server {
    let sshd = Sshd::of(kind);
    let place = at_home(&sshd);
    let address = sshd.address(&place.path("away"));
    Server { name: kind.name, place, address, is_new: true, _keeper: Keeper::Sftp { _sshd: sshd } }
}

/// A directory of this machine, and a bucket, as remotes of rclone.
fn rclone() -> [Server; 2] {
    let (remote, server) = (Remote::local(), S3Server::start());
    let bucket = Remote::s3(&server);
    let (directory, prefix) = (remote.address(&remote.path("away")), bucket.address(&format!("{BUCKET}/a b")));
    [("rclone", remote, directory, None), ("rclone over S3", bucket, prefix, Some(server))].map(
        |(name, remote, address, server)| {
            let (place, is_new) = (remote.at_home(), server.is_none());
            Server { name, place, address, is_new, _keeper: Keeper::Rclone { _remote: remote, _server: server } }
        },
    )
}

impl Server {
    fn command(&self, arguments: &[&str], postgres: &Postgres) -> Command {
        let mut command = self.place.cli(arguments);
        command.args(["--config", "o.toml"]).envs(postgres.variables());
        command
    }

    /// Runs a command, which ends well or with warnings.
    fn run(&self, arguments: &[&str], postgres: &Postgres) -> Output {
        let output = self.command(arguments, postgres).output().expect("it runs");
        let well = matches!(output.status.code(), Some(0 | 3));
        assert!(well, "{}: {arguments:?}: {}", self.name, describe(&output));
        output
    }

    /// The newest bundle on this machine's disk, as a file's name.
    fn newest(&self) -> String {
        let names = fs::read_dir(self.place.path("disk")).expect("a directory").flatten();
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| name.ends_with(".tgz")).max().expect("a bundle")
    }
}

/// All commands, and that what is read from the server is what is read from the disk.
fn try_all(server: &Server, source: &Postgres) {
    let (place, name) = (&server.place, server.name);
    let text = "cluster_conf = 'cluster.conf'\nrelease.version = '2.6.3'\n[[stores]]\npath = 'disk'\n[[stores]]\n\
                elsewhere = true\n[retention]\nlast = 1\n[schedule]\nbackup = 'daily'\n";
    place.write("o.toml", text.replace("elsewhere", &format!("address = '{}'\nelsewhere", server.address)));
    let run = |arguments: &[&str]| server.run(arguments, source);
    let checked = describe(&run(&["check"]));
    let made = format!("{}: it does not exist and will be made", server.address);
    let free = format!("{}: can be written", server.address);
    assert!(checked.contains(if server.is_new { &made } else { &free }), "{name}: {checked}");
    run(&["backup"]);
    let bundle = server.newest();
    let (away, here) = (format!("{}/{bundle}", server.address), format!("disk/{bundle}"));
    assert!(describe(&run(&["list", &server.address])).contains("example"), "{name}");
    assert_eq!(run(&["show", &away, "--json"]).stdout, run(&["show", &here, "--json"]).stdout, "{name}");
    let verified =
        |bundle: &str| String::from_utf8_lossy(&run(&["verify", bundle, "--json"]).stdout).replace(bundle, "");
    assert_eq!(verified(&away), verified(&here), "{name}");
    run(&["extract", &away, "--to", "from-away"]);
    run(&["extract", &here, "--to", "from-here"]);
    let mut diff = Command::new("diff");
    let same = diff.arg("--recursive").args(["from-away", "from-here"].map(|to| place.path(to))).output();
    let same = same.expect("diff runs");
    assert!(same.status.success(), "{name}: {}", describe(&same));
    let inside = reachable();
    run(&["drill", &away, "--in", &inside.path().display().to_string()]);
    assert_eq!(describe(&run(&["diff", &away])), describe(&run(&["diff", &here])), "{name}");
    let target = Postgres::start();
    server.run(&["restore", "--allow-old-clients", "--yes", "--file", &away], &target);
    assert_same(source, &target, "orchestrator");
    let status = describe(&server.command(&["status"], source).output().expect("it runs"));
    assert!(status.contains("ago, in"), "{name}: a drill's record is not seen: {status}");
    run(&["ownership", "claim", "--yes"]);
    // The one that a drill has proved stays, as does the newest.
    let [between, newest] = [0, 1].map(|_| {
        another_second();
        run(&["backup"]);
        server.newest()
    });
    run(&["prune", "--yes"]);
    run(&["cleanup", &server.address, "--yes"]);
    let left = describe(&run(&["list", &server.address]));
    let is_left = [&bundle, &between, &newest].map(|bundle| left.contains(bundle));
    assert_eq!(is_left, [true, false, true], "{name}: {left}");
}

#[test]
fn every_command_works_on_every_server() {
    let source = Postgres::start();
    source.load_sample(1000);
    // More than fits into any server's window at once.
    source.sql("orchestrator", "CREATE TABLE noise AS SELECT md5(i::text) FROM generate_series(1, 60000) AS i");
    std::thread::scope(|scope| {
        for server in SFTP_SERVERS.iter().map(sftp).chain(rclone()) {
            let source = &source;
            scope.spawn(move || try_all(&server, source));
        }
    });
}
