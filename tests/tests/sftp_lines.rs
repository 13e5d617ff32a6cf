//! Lines to an SFTP server that break: nobody waits longer than the settings say, and nothing is left where the server still answers.

use std::fs;
use std::io::Write;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::Duration;

use backup_core::bundle::digest::Sha256Digest;
use backup_core::bundle::name::FileName;
use backup_core::context::Environment;
use backup_core::store::{Sftp, SftpAddress, SftpOptions, Store, Upload};
use backup_core::{Context, Kind};
use chrono::{TimeDelta, Utc};
use fixtures::{Relay, SFTP_SERVERS, SftpServer, Sshd};
use tempfile::TempDir;

/// Much longer than anything here takes that waits for nobody.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server behind a line that can be cut, and a directory of it.
struct Far {
    relay: Relay,
    sshd: Sshd,
    place: TempDir,
}

impl Far {
    fn new(kind: &SftpServer) -> Self {
        Self::of(Sshd::of(kind))
    }

    fn of(sshd: Sshd) -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let relay = Relay::to(sshd.port());
        let known = fs::read_to_string(sshd.known_hosts()).expect("known hosts");
        let known = known.replace(&format!(":{} ", sshd.port()), &format!(":{} ", relay.port()));
        fs::write(place.path().join("known_hosts"), known).expect("written");
        Self { relay, sshd, place }
    }

    /// The store, whose server may be silent for so many seconds.
    fn store(&self, seconds: u32) -> Sftp {
        self.store_in(self.place.path(), seconds)
    }

    fn store_in(&self, directory: &Path, seconds: u32) -> Sftp {
        let path = directory.display().to_string();
        let address = SftpAddress { user: None, host: "127.0.0.1".into(), port: Some(self.relay.port()), path };
        let options = SftpOptions {
            identity_file: Some(self.sshd.identity()),
            known_hosts: Some(self.place.path().join("known_hosts")),
            timeout: NonZeroU32::new(seconds),
        };
        let user = std::process::Command::new("id").arg("-un").output().expect("id runs").stdout;
        let user = Some(String::from_utf8_lossy(&user).trim().to_owned());
        Sftp::new(&address, &options, &Context::new(Environment { user, ..Environment::default() }))
    }

    /// Files of uploads that never came to their end.
    fn parts(&self) -> Vec<String> {
        let names = fs::read_dir(self.place.path()).expect("a directory").flatten();
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "part")).collect()
    }
}

fn name() -> FileName {
    "orchestrator_backup_20261120T191501Z.tgz".parse().expect("a name")
}

/// Begins an upload that the server has some of.
fn begun(store: &dyn Store) -> Box<dyn Upload> {
    let mut upload = store.begin(&name()).expect("begun");
    upload.write_all(&[7; 3 << 20]).expect("written");
    upload
}

/// Does something on another thread; what it gives, unless that takes too long.
fn in_time<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = channel();
    std::thread::spawn(move || sender.send(work()));
    receiver.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{what} waits"))
}

/// Tries all servers at once: most of the time is spent waiting.
fn on_all(work: impl Fn(&'static SftpServer) + Sync) {
    std::thread::scope(|scope| {
        for kind in &SFTP_SERVERS {
            let work = &work;
            scope.spawn(move || work(kind));
        }
    });
}

#[test]
fn an_upload_over_a_line_that_is_cut_fails_in_time_and_leaves_nothing() {
    on_all(|kind| {
        let far = Far::new(kind);
        let mut upload = begun(&far.store(1));
        assert_eq!(far.parts().len(), 1, "{}", kind.name);
        far.relay.silence();
        in_time(kind.name, move || {
            let failed = (0..64).find_map(|_| upload.write_all(&[7; 1 << 20]).err());
            assert!(failed.is_some(), "what nobody takes is called written");
            drop(upload);
        });
        assert_eq!(far.parts(), Vec::<String>::new(), "{}", kind.name);
    });
}

#[test]
fn an_upload_onto_a_full_disk_fails_and_leaves_nothing() {
    on_all(|kind| {
        let far = Far::of(Sshd::with_small_disk(kind));
        let store = far.store_in(&far.sshd.small(), 60);
        in_time(kind.name, move || {
            let mut upload = store.begin(&name()).expect("begun");
            let failed = (0..64).find_map(|_| upload.write_all(&[7; 1 << 20]).err());
            assert!(failed.is_some(), "what has no room is called written");
            drop(upload);
            let left = store.leftovers(Utc::now() + TimeDelta::hours(1)).expect("listed");
            assert!(left.is_empty(), "{left:?}");
        });
    });
}

#[test]
fn an_upload_that_is_given_up_while_its_line_is_cut_leaves_nothing() {
    on_all(|kind| {
        let far = Far::new(kind);
        let upload = begun(&far.store(60));
        far.relay.silence();
        in_time(kind.name, move || drop(upload));
        assert_eq!(far.parts(), Vec::<String>::new(), "{}", kind.name);
    });
}

#[test]
fn whoever_takes_an_upload_back_frees_a_writer_that_hangs() {
    let far = Far::new(&SFTP_SERVERS[0]);
    let mut upload = begun(&far.store(600));
    let abandon = upload.abandon();
    far.relay.silence();
    let writer = std::thread::spawn(move || {
        let failed = (0..64).find_map(|_| upload.write_all(&[7; 1 << 20]).err());
        assert!(failed.is_some(), "what nobody takes is called written");
        assert!(upload.publish(&Sha256Digest([7; 32])).is_err());
    });
    in_time("taking it back", abandon);
    in_time("the writer", || writer.join().expect("it ended"));
    assert_eq!(far.parts(), Vec::<String>::new());
}

#[test]
fn nobody_waits_for_a_goodbye() {
    on_all(|kind| {
        let far = Far::new(kind);
        let store = far.store(600);
        assert_eq!(store.list().expect("listed"), []);
        far.relay.silence();
        in_time(kind.name, move || drop(store));
    });
}

#[test]
fn a_reader_over_a_line_that_is_cut_fails_in_time() {
    let far = Far::new(&SFTP_SERVERS[0]);
    let store = far.store(1);
    begun(&store).publish(&Sha256Digest([7; 32])).expect("published");
    let bundle = store.open(&name()).expect("opened");
    far.relay.silence();
    in_time("reading", move || assert!(bundle.read_at(0, &mut [0; 100]).is_err()));
}

#[test]
fn a_host_is_asked_for_keys_that_are_known_of_it() {
    on_all(|kind| {
        let far = Far::new(kind);
        far.store(60).list().expect("listed");
        assert_eq!(far.relay.connections(), 1, "{}", kind.name);
    });
}

#[test]
fn a_host_whose_old_key_is_known_beside_its_new_one_is_known() {
    let proftpd = SFTP_SERVERS.iter().find(|kind| kind.name.starts_with("proftpd")).expect("it is there");
    let (far, other) = (Far::new(proftpd), Sshd::of(proftpd));
    let lines = |path: &Path| fs::read_to_string(path).expect("known hosts");
    let (known, old) = (lines(&far.place.path().join("known_hosts")), lines(&other.known_hosts()));
    let old = old.replace(&format!(":{} ", other.port()), &format!(":{} ", far.relay.port()));
    let of = |lines: &str, word: &str| lines.lines().find(|line| line.contains(word)).map(|line| format!("{line}\n"));
    let (ecdsa, rsa) = ("ecdsa-", "ssh-rsa");
    let with = |known: Option<String>, other: Option<String>| {
        let text = known.into_iter().chain(other).collect::<String>();
        fs::write(far.place.path().join("known_hosts"), text).expect("written");
        far.store(60).list().map_err(|error| error.kind()).map(|bundles| bundles.len())
    };
    assert_eq!(with(of(&old, ecdsa), of(&known, rsa)), Ok(0));
    assert_eq!(with(of(&known, ecdsa), of(&old, rsa)), Ok(0));
    assert_eq!(with(of(&old, ecdsa), of(&old, rsa)), Err(Kind::Refused));
}
