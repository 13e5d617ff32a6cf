//! How long a file takes into a store by SFTP, as a ratio to OpenSSH's `sftp put`, for the benchmark: `sftp_put FILE RUNS`. Both bring
//! it onto the disk.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use backup_core::digest::Sha256Digest;
use backup_core::names::FileName;
use backup_core::store::{Sftp, Store};
use fixtures::{SFTP_SERVERS, Sshd};
use system_tests::Reached;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().expect("a file");
    let runs: usize = arguments.next().and_then(|text| text.parse().ok()).expect("a number of runs");
    for kind in &SFTP_SERVERS {
        let (sshd, place) = (Sshd::of(kind), tempfile::tempdir().expect("a directory"));
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..runs {
            ours.push(timed(|| put(&store(&sshd, place.path()), Path::new(&file))));
            fs::remove_dir_all(place.path().join("away")).expect("removed");
            theirs.push(timed(|| sftp(&sshd, &format!("put -f {file} {}/sent", place.path().display()))));
            fs::remove_file(place.path().join("sent")).expect("removed");
        }
        let [ours, theirs] = [ours, theirs].map(median);
        let ratio = ours / theirs;
        println!("{:<40} {ours:>7.2} s   {ratio:>5.2} × sftp put", format!("upload to {}", kind.name));
    }
    let (sshd, place) = (Sshd::forbidding("rename,posix-rename"), tempfile::tempdir().expect("a directory"));
    let refused = timed(|| assert!(store(&sshd, place.path()).check(1).is_err(), "it can be renamed"));
    println!("a server that renames nothing is refused after {:.2} s", refused.as_secs_f64());
}

fn timed(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64()
}

fn store(sshd: &Sshd, place: &Path) -> Sftp {
    Reached::directly(sshd).store(&place.join("away"))
}

fn put(store: &Sftp, file: &Path) {
    let name: FileName = "orchestrator_backup_20261120T191501Z.tgz".parse().expect("a name");
    let mut upload = store.begin(&name).expect("begun");
    let (mut file, mut buffer) = (File::open(file).expect("the file"), vec![0; 256 << 10]);
    while let length @ 1.. = file.read(&mut buffer).expect("read") {
        upload.write_all(&buffer[..length]).expect("written");
    }
    upload.publish(&Sha256Digest([7; 32])).expect("published");
}

fn sftp(sshd: &Sshd, batch: &str) {
    let mut command = Command::new("sftp");
    command
        .args(["-q", "-b", "-", "-P", &sshd.port().to_string(), "-o", "IdentityAgent=none", "-i"])
        .arg(sshd.identity());
    command.arg("-o").arg(format!("UserKnownHostsFile={}", sshd.known_hosts().display()));
    let command = command.arg("127.0.0.1").stdin(Stdio::piped()).stdout(Stdio::null());
    let mut running = command.spawn().expect("sftp runs");
    writeln!(running.stdin.take().expect("its input"), "{batch}").expect("told");
    assert!(running.wait().expect("it ended").success(), "{batch}");
}
