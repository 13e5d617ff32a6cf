//! What every store promises, stated once; a new one is one more line in [`stores`].

use std::io::{ErrorKind, Write};
use std::sync::Arc;

use backup_core::cluster::secret::Secret;
use backup_core::context::Environment;
use backup_core::digest::Sha256Digest;
use backup_core::names::FileName;
use backup_core::store::{ClaimName, Directory, Limited, Memory, S3Address, S3Options, Store, Upload};
use backup_core::{Context, Kind};
use fixtures::s3::{Abilities, BUCKET, KEYS, S3Server};
use fixtures::{SFTP_SERVERS, SftpServer, Sshd};
use s3_store::S3;
use system_tests::{Reached, Remote};
use tempfile::TempDir;

/// An empty store, and what must live as long.
struct Subject {
    store: Box<dyn Store>,
    /// The same place as somebody else sees it.
    other: Box<dyn Store>,
    /// Whether it keeps one claim from taking another one's place.
    heeds: bool,
    _place: Place,
}

/// What a store needs.
enum Place {
    None,
    Directory { _directory: TempDir },
    S3 { _server: S3Server },
    Sftp { _server: Sshd, _directory: TempDir },
    Rclone { _remote: Remote, _server: Option<S3Server> },
}

/// One of every kind, and each server of SFTP.
fn stores() -> Vec<Subject> {
    let place = tempfile::tempdir().expect("a directory");
    let directory = Directory::new(place.path().join("bundles"));
    let memory = Memory::default();
    let (limited, fast) = (Memory::default(), "1G".parse().expect("a rate"));
    let stores = [
        Subject { store: Box::new(memory.clone()), other: Box::new(memory), heeds: true, _place: Place::None },
        Subject {
            store: Box::new(directory.clone()),
            other: Box::new(directory),
            heeds: true,
            _place: Place::Directory { _directory: place },
        },
        Subject {
            store: Box::new(Limited::new(Arc::new(limited.clone()), fast)),
            other: Box::new(limited),
            heeds: true,
            _place: Place::None,
        },
        s3("", Abilities::default()),
        s3("a prefix/with ü+&=", Abilities { heeds_conditions: false, ..Abilities::default() }),
        s3("prefix", Abilities { lists_uploads: false, ..Abilities::default() }),
    ];
    let stores = stores.into_iter().chain([
        rclone("directory with ü+&="),
        rclone_over_s3("a prefix/with ü+&="),
        rclone_over_webdav("with ü+&="),
    ]);
    stores.chain(SFTP_SERVERS.iter().map(|kind| sftp(kind, "directory with ü+&="))).collect()
}

/// A bucket's prefix on a server of its own.
fn s3(prefix: &str, abilities: Abilities) -> Subject {
    let server = S3Server::with(abilities);
    let address = S3Address { bucket: BUCKET.into(), prefix: prefix.into() };
    let keys = (Secret::new(KEYS.0), Secret::new(KEYS.1));
    let region = Some("us-east-1".into());
    let options = S3Options { endpoint: Some(server.url()), region, keys: Some(keys), ..S3Options::default() };
    let context = Context::new(Environment::default());
    let [store, other] = [0, 1].map(|_| Box::new(S3::new(&address, &options, &context).expect("a store")));
    Subject { store, other, heeds: abilities.heeds_conditions, _place: Place::S3 { _server: server } }
}

/// A directory of a real SSH server.
fn sftp(kind: &SftpServer, directory: &str) -> Subject {
    let (server, place) = (Sshd::of(kind), tempfile::tempdir().expect("a directory"));
    let [store, other] = [0, 1].map(|_| Box::new(Reached::directly(&server).store(&place.path().join(directory))));
    Subject { store, other, heeds: true, _place: Place::Sftp { _server: server, _directory: place } }
}

/// A directory of this machine, as a remote of rclone.
fn rclone(directory: &str) -> Subject {
    let remote = Remote::local();
    let [store, other] = [0, 1].map(|_| Box::new(remote.store(&remote.path(directory))));
    Subject { store, other, heeds: false, _place: Place::Rclone { _remote: remote, _server: None } }
}

/// A bucket's prefix, as a remote of rclone.
fn rclone_over_s3(prefix: &str) -> Subject {
    let server = S3Server::start();
    let remote = Remote::s3(&server);
    let [store, other] = [0, 1].map(|_| Box::new(remote.store(&format!("{BUCKET}/{prefix}"))));
    Subject { store, other, heeds: false, _place: Place::Rclone { _remote: remote, _server: Some(server) } }
}

/// A directory of a plain server of WebDAV, as a remote of rclone.
fn rclone_over_webdav(directory: &str) -> Subject {
    let remote = Remote::webdav();
    let [store, other] = [0, 1].map(|_| Box::new(remote.store(directory)));
    Subject { store, other, heeds: false, _place: Place::Rclone { _remote: remote, _server: None } }
}

/// Odd ones are encrypted, which no store looks at.
fn name(second: u32) -> FileName {
    let encrypted = if second % 2 == 1 { ".age" } else { "" };
    format!("orchestrator_backup_20261120T1915{second:02}Z.tgz{encrypted}").parse().expect("a name")
}

const DIGEST: Sha256Digest = Sha256Digest([7; 32]);

fn begun(store: &dyn Store, name: &FileName, bytes: &[u8]) -> Box<dyn Upload> {
    let mut upload = store.begin(name).expect("begun");
    upload.write_all(bytes).expect("written");
    upload
}

fn published(store: &dyn Store, name: &FileName, bytes: &[u8]) {
    begun(store, name, bytes).publish(&DIGEST).expect("published");
}

/// All bytes of a bundle.
fn content(store: &dyn Store, name: &FileName) -> Vec<u8> {
    let bundle = store.open(name).expect("opened");
    let mut bytes = vec![0; bundle.length().expect("a length") as usize];
    bundle.read_at(0, &mut bytes).expect("read");
    bytes
}

fn names(store: &dyn Store) -> Vec<FileName> {
    store.list().expect("listed").into_iter().map(|stored| stored.name).collect()
}

#[test]
fn a_bundle_appears_whole_when_it_is_published() {
    for Subject { store, other, _place, .. } in stores() {
        let (location, bytes) = (store.location(), b"0123456789");
        let upload = begun(&*store, &name(1), bytes);
        assert!(names(&*other).is_empty(), "{location}: it is seen before it is published");
        assert!(other.open(&name(1)).is_err(), "{location}: it can be opened before it is published");
        upload.publish(&DIGEST).expect("published");
        assert_eq!(other.list().expect("listed")[0].length, 10, "{location}");
        assert_eq!(content(&*other, &name(1)), bytes, "{location}");
        let sum = other.read_beside(&name(1), ".sha256").expect("read").expect("its digest");
        assert!(String::from_utf8_lossy(&sum).starts_with(&DIGEST.to_string()), "{location}");
    }
}

#[test]
fn a_bundle_is_never_overwritten() {
    for Subject { store, other, _place, .. } in stores() {
        let location = store.location();
        published(&*store, &name(1), b"first");
        let second = other.begin(&name(1)).and_then(|mut upload| {
            upload.write_all(b"second").expect("written");
            upload.publish(&DIGEST)
        });
        assert_eq!(second.err().map(|error| error.kind()), Some(Kind::Refused), "{location}");
        assert_eq!(content(&*store, &name(1)), b"first", "{location}");
    }
}

#[test]
fn an_upload_that_is_given_up_leaves_nothing() {
    for Subject { store, other, _place, .. } in stores() {
        let location = store.location();
        drop(begun(&*store, &name(1), b"given up"));
        let upload = begun(&*store, &name(1), b"taken back from outside");
        upload.abandon()();
        drop(upload);
        assert!(names(&*other).is_empty(), "{location}");
        published(&*other, &name(1), b"the next one");
        assert_eq!(content(&*store, &name(1)), b"the next one", "{location}");
    }
}

#[test]
fn an_upload_that_was_taken_back_can_not_be_published() {
    for Subject { store, other, _place, .. } in stores() {
        let upload = begun(&*store, &name(1), b"taken back");
        upload.abandon()();
        assert!(upload.publish(&DIGEST).is_err(), "{}", store.location());
        assert!(names(&*other).is_empty(), "{}", store.location());
    }
}

#[test]
fn one_writes_at_a_time_or_none_meets_another() {
    for Subject { store, other, _place, .. } in stores() {
        let upload = begun(&*store, &name(1), b"one");
        if store.has_lock() {
            let second = other.begin(&name(2)).err().map(|error| error.kind());
            assert_eq!(second, Some(Kind::Locked), "{}", store.location());
            upload.publish(&DIGEST).expect("published");
            published(&*other, &name(2), b"two");
        } else {
            published(&*other, &name(2), b"two");
            upload.publish(&DIGEST).expect("published");
        }
        assert_eq!(names(&*store), [name(1), name(2)], "{}", store.location());
    }
}

#[test]
fn bundles_are_listed_alone_and_the_oldest_first() {
    for Subject { store, _place, .. } in stores() {
        for second in [3, 1, 2] {
            published(&*store, &name(second), b"some");
        }
        store.write_beside(&name(2), ".drill.json", b"{}").expect("written");
        assert_eq!(names(&*store), [1, 2, 3].map(name), "{}", store.location());
    }
}

#[test]
fn any_range_is_read_and_none_beyond_the_end() {
    for Subject { store, _place, .. } in stores() {
        let location = store.location();
        published(&*store, &name(1), b"0123456789");
        let bundle = store.open(&name(1)).expect("opened");
        for from in 0..=10usize {
            for to in from..=10 {
                let mut part = vec![0; to - from];
                bundle.read_at(from as u64, &mut part).expect("read");
                assert_eq!(part, b"0123456789"[from..to], "{location}: {from}..{to}");
            }
        }
        for (from, length) in [(0, 11), (9, 2), (11, 1), (u64::MAX, 1)] {
            let read = bundle.read_at(from, &mut vec![0; length]);
            assert!(read.is_err(), "{location}: {from}, {length}");
        }
        let ended = bundle.read_at(10, &mut [0]).expect_err("beyond the end");
        assert_eq!(ended.kind(), ErrorKind::UnexpectedEof, "{location}");
    }
}

#[test]
fn what_lies_beside_a_bundle_is_replaced_and_what_does_not_is_none() {
    for Subject { store, other, _place, .. } in stores() {
        let location = store.location();
        published(&*store, &name(1), b"some");
        assert_eq!(store.read_beside(&name(1), ".drill.json").expect("read"), None, "{location}");
        // Two of them have one length, which some take for the same.
        for content in [&b"first"[..], b"second", b"third!"] {
            store.write_beside(&name(1), ".drill.json", content).expect("written");
            assert_eq!(
                other.read_beside(&name(1), ".drill.json").expect("read").as_deref(),
                Some(content),
                "{location}"
            );
        }
        assert_eq!(store.open(&name(2)).err().map(|error| error.kind()), Some(Kind::NotFound), "{location}");
    }
}

#[test]
fn what_lies_beside_a_bundle_is_deleted_alone() {
    for Subject { store, _place, .. } in stores() {
        let location = store.location();
        published(&*store, &name(1), b"content");
        store.remove_beside(&name(1), ".keep.json").expect("nothing is there");
        store.write_beside(&name(1), ".keep.json", b"{}").expect("written");
        assert!(store.list().expect("listed")[0].kept, "{location}");
        store.remove_beside(&name(1), ".keep.json").expect("deleted");
        assert_eq!(store.read_beside(&name(1), ".keep.json").expect("read"), None, "{location}");
        assert!(!store.list().expect("listed")[0].kept, "{location}");
        assert_eq!(content(&*store, &name(1)), b"content", "{location}");
    }
}

#[test]
fn a_bundle_is_deleted_with_all_that_lies_beside_it() {
    for Subject { store, other, _place, .. } in stores() {
        let location = store.location();
        [1, 2].iter().for_each(|second| published(&*store, &name(*second), b"some"));
        store.write_beside(&name(1), ".drill.json", b"{}").expect("written");
        for _ in 0..2 {
            other.remove(&name(1)).expect("deleted, or not there");
        }
        assert_eq!(names(&*store), [name(2)], "{location}");
        for suffix in [".sha256", ".drill.json"] {
            assert_eq!(store.read_beside(&name(1), suffix).expect("read"), None, "{location}");
        }
        published(&*store, &name(1), b"again");
        assert_eq!(content(&*other, &name(1)), b"again", "{location}");
    }
}

#[test]
fn a_claim_is_never_overwritten_and_is_no_bundle() {
    for Subject { store, other, heeds, _place } in stores() {
        let location = store.location();
        assert_eq!(other.claims().expect("a place that need not exist"), [], "{location}");
        let claim = |epoch| ClaimName { cluster: "0a1b".into(), epoch };
        for _ in 0..2 {
            let weaker = store.claim(&claim(1), b"first").expect("claimed, or ours already");
            assert_eq!(weaker.is_empty(), heeds, "{location}: {weaker:?}");
        }
        let second = other.claim(&claim(1), b"second").expect_err("taken");
        assert_eq!(second.kind(), Kind::Refused, "{location}: {second:?}");
        assert_eq!(other.read_claim(&claim(1)).expect("read"), b"first", "{location}");
        other.claim(&claim(2), b"third").expect("the next one");
        published(&*store, &name(1), b"some");
        assert_eq!(store.claims().expect("listed"), [claim(1), claim(2)], "{location}");
        assert_eq!(names(&*other), [name(1)], "{location}");
    }
}

#[test]
fn of_claims_at_one_moment_one_wins() {
    for Subject { store, other, heeds, _place } in stores().into_iter().filter(|subject| subject.heeds) {
        for epoch in 1..=8 {
            let claim = ClaimName { cluster: "0a1b".into(), epoch };
            let together = std::sync::Barrier::new(2);
            let run = |store: &dyn Store, content: &[u8]| {
                together.wait();
                store.claim(&claim, content).is_ok()
            };
            let (mine, yours) = std::thread::scope(|scope| {
                let yours = scope.spawn(|| run(&*other, b"yours"));
                (run(&*store, b"mine"), yours.join().expect("it ran"))
            });
            let winner = if mine { b"mine".as_slice() } else { b"yours" };
            assert!(heeds && mine != yours, "{}: {mine}, {yours}", store.location());
            assert_eq!(store.read_claim(&claim).expect("read"), winner, "{}", store.location());
        }
    }
}
