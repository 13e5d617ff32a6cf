//! Lines to an SFTP server that break: nobody waits longer than the settings say, and nothing is left where the server still answers.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::Duration;

use backup_core::Kind;
use backup_core::digest::Sha256Digest;
use backup_core::names::FileName;
use backup_core::store::{Sftp, Store, Upload};
use chrono::{TimeDelta, Utc};
use fixtures::{Relay, SFTP_SERVERS, SftpServer, Sshd};
use system_tests::Reached;
use tempfile::TempDir;

/// Much longer than anything here takes that waits for nobody.
const PATIENCE: Duration = Duration::from_secs(60);
/// Seconds that a server may be silent, where a test waits so long: a machine with much to do takes some to log in.
const SILENCE: u32 = 8;

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
        let by = (self.relay.port(), self.place.path().join("known_hosts"));
        Reached { sshd: &self.sshd, by, seconds: Some(seconds) }.store(directory)
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
        let mut upload = begun(&far.store(SILENCE));
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
fn a_line_that_is_cut_while_a_bundle_is_published_leaves_nothing() {
    on_all(|kind| {
        let far = Far::new(kind);
        let upload = begun(&far.store(SILENCE));
        far.relay.silence();
        in_time(kind.name, move || assert!(upload.publish(&Sha256Digest([7; 32])).is_err()));
        assert_eq!(far.parts(), Vec::<String>::new(), "{}", kind.name);
        assert_eq!(far.store(60).list().expect("listed"), [], "{}", kind.name);
    });
}

#[test]
fn a_reader_is_let_go_without_waiting() {
    let far = Far::new(&SFTP_SERVERS[0]);
    let store = far.store(600);
    begun(&store).publish(&Sha256Digest([7; 32])).expect("published");
    let bundle = store.open(&name()).expect("opened");
    bundle.read_at(0, &mut [0; 100]).expect("read");
    far.relay.silence();
    in_time("letting it go", move || drop(bundle));
    in_time("the next one", move || assert_eq!(store.list().expect("listed").len(), 1));
}

#[test]
fn lines_that_the_other_side_has_ended_are_made_anew() {
    let far = Far::new(&SFTP_SERVERS[0]);
    let store = far.store(60);
    begun(&store).publish(&Sha256Digest([7; 32])).expect("published");
    let bundle = store.open(&name()).expect("opened");
    assert_eq!(store.list().expect("listed").len(), 1);
    far.relay.end();
    bundle.read_at(0, &mut [0; 100]).expect("read");
    assert_eq!(store.list().expect("listed").len(), 1);
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
    let store = far.store(SILENCE);
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
