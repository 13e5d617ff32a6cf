//! A server that misbehaves: what is asked of a store is done after all, or nothing shows of it and the error says where, what
//! and how to go on.

use std::io::Write;
use std::num::NonZeroU32;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use backup_core::cluster::secret::Secret;
use backup_core::context::Environment;
use backup_core::digest::Sha256Digest;
use backup_core::names::FileName;
use backup_core::store::{S3Address, S3Options, Store};
use backup_core::{Context, Error, Kind, Result};
use fixtures::s3::{BUCKET, Fault, KEYS, Operation, S3Server, Trouble};
use s3_store::S3;

const DIGEST: Sha256Digest = Sha256Digest([7; 32]);

fn name(second: u32) -> FileName {
    format!("orchestrator_backup_20261120T1915{second:02}Z.tgz").parse().expect("a name")
}

/// Two parts. They are made once: without optimization that was half of what these tests computed.
fn content() -> &'static [u8] {
    static CONTENT: LazyLock<Vec<u8>> = LazyLock::new(|| (0..9u32 << 20).map(|at| (at % 251) as u8).collect());
    &CONTENT
}

/// A store that waits a second for an answer, and asks twice.
fn store(url: &str) -> S3 {
    let address = S3Address { bucket: BUCKET.into(), prefix: "x".into() };
    let options = S3Options {
        endpoint: Some(url.into()),
        region: Some("us-east-1".into()),
        keys: Some((Secret::new(KEYS.0), Secret::new(KEYS.1))),
        timeout: NonZeroU32::new(1),
        attempts: NonZeroU32::new(2),
        ..S3Options::default()
    };
    S3::new(&address, &options, &Context::new(Environment::default())).expect("a store")
}

/// Writes a bundle, as a backup does.
fn write(store: &dyn Store, name: &FileName, content: &[u8]) -> Result<()> {
    let mut upload = store.begin(name)?;
    upload.write_all(content).map_err(|cause| Error::new(Kind::Failed, "write").because(cause))?;
    upload.publish(&DIGEST).map(drop)
}

fn read(store: &dyn Store, name: &FileName) -> Result<()> {
    let object = store.open(name)?;
    let mut bytes = vec![0; 3 << 20];
    for offset in [0, 1 << 20, 6 << 20] {
        let read = object.read_at(offset, &mut bytes);
        read.map_err(|cause| Error::new(Kind::Failed, "read").because(cause))?;
        assert_eq!(bytes, content()[offset as usize..][..bytes.len()]);
    }
    Ok(())
}

/// Everything that is asked of a store, on one that has a bundle.
type Command = fn(&dyn Store) -> Result<()>;
const COMMANDS: [(&str, Command); 8] = [
    ("write", |store| write(store, &name(2), content())),
    ("read", |store| read(store, &name(1))),
    ("check", |store| store.check(1).map(drop)),
    ("list", |store| store.list().map(|bundles| assert_eq!(bundles.len(), 1))),
    ("read beside", |store| store.read_beside(&name(1), ".sha256").map(|found| assert!(found.is_some()))),
    ("write beside", |store| store.write_beside(&name(1), ".drill.json", b"{}")),
    ("remove", |store| store.remove(&name(1))),
    ("leftovers", |store| store.leftovers(chrono::Utc::now()).map(drop)),
];

/// What each command asks of a server.
fn asked() -> Vec<(&'static str, Command, Vec<Operation>)> {
    let ask = |(what, command): (&'static str, Command)| {
        let (server, store) = server_for(what);
        command(&store).expect("done");
        let mut asked = server.asked().0;
        asked.sort();
        asked.dedup();
        (what, command, asked)
    };
    COMMANDS.map(ask).into()
}

/// What must hold of a command, told what was done, what advice belongs to it, the server, and how it ended.
type Check<'c> = dyn Fn(&str, &str, &S3Server, Result<()>) + Sync + 'c;

/// Every command with each of the troubles at each of the things that it asks of a server, which is its own.
fn with_each(faults: &[(Trouble, &str)], times: usize, check: &Check) {
    let asked = asked();
    let all = || {
        faults.iter().flat_map(|fault| {
            asked
                .iter()
                .flat_map(move |(what, command, asked)| asked.iter().map(move |on| (fault, *what, *command, *on)))
        })
    };
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        // Most of the time each waits for its timeouts.
        for _ in 0..24 {
            scope.spawn(|| {
                while let Some(((trouble, advice), what, command, on)) = all().nth(next.fetch_add(1, Relaxed)) {
                    let (server, store) = server_for(what);
                    server.misbehave([Fault { on, times, trouble: trouble.clone() }]);
                    let done = command(&store);
                    server.misbehave([]);
                    check(&format!("{what}, {on:?}: {trouble:?}"), advice, &server, done);
                }
            });
        }
    });
}

/// A server with one bundle, which is long only for those who read it, and a store there, which a backup has checked.
fn server_for(what: &str) -> (S3Server, S3) {
    let server = S3Server::start();
    let content = if what == "read" { content() } else { b"short" };
    write(&store(&server.url()), &name(1), content).expect("a bundle");
    let store = store(&server.url());
    if what == "write" {
        store.check(1).expect("can be written");
    }
    server.asked();
    (server, store)
}

fn names(server: &S3Server) -> Vec<FileName> {
    let listed = store(&server.url()).list().expect("listed");
    listed.into_iter().map(|stored| stored.name).collect()
}

/// Troubles that pass.
fn passing() -> [Trouble; 9] {
    let status = |status, wait| Trouble::Status(status, "SlowDown", wait);
    [
        status(500, None),
        status(503, Some(1)),
        status(429, Some(1)),
        status(429, None),
        Trouble::Reset,
        Trouble::ResetInBody,
        Trouble::Stall,
        Trouble::StallInBody,
        Trouble::Truncated,
    ]
}

#[test]
fn what_goes_wrong_once_is_tried_again() {
    with_each(&passing().map(|trouble| (trouble, "")), 1, &|what, _, server, done| {
        done.unwrap_or_else(|error| panic!("{what}: {error:?}"));
        if what.starts_with("write,") {
            assert_eq!(names(server), [name(1), name(2)], "{what}");
            read(&store(&server.url()), &name(2)).expect("it is whole");
        }
    });
}

/// Troubles that stay, and what the advice then speaks of.
fn staying() -> Vec<(Trouble, &'static str)> {
    let refusals = [
        (403, "AccessDenied", "let these credentials do s3:"),
        (403, "InvalidAccessKeyId", "correct the access key"),
        (403, "SignatureDoesNotMatch", "secret key"),
        (403, "RequestTimeTooSkewed", "clock"),
        (400, "ExpiredToken", "expired"),
        (404, "NoSuchBucket", "bucket"),
        (403, "QuotaExceeded", "quota"),
        (507, "XMinioStorageFull", "room"),
        (301, "PermanentRedirect", "region"),
        (500, "InternalError", "server"),
        (503, "SlowDown", "busy"),
    ];
    let mut troubles: Vec<_> =
        refusals.map(|(status, code, advice)| (Trouble::Status(status, code, None), advice)).into();
    troubles.extend(
        [Trouble::ResetInBody, Trouble::Stall, Trouble::StallInBody, Trouble::Truncated]
            .map(|trouble| (trouble, "network")),
    );
    troubles
}

#[test]
fn what_stays_wrong_leaves_nothing_and_is_explained() {
    with_each(&staying(), usize::MAX, &|what, advice, server, done| {
        // Some answers are not needed.
        let Err(error) = done else { return };
        let chain = error.chain().join(": ");
        if error.is_unsure() {
            assert!(chain.contains("it can't be opened there"), "{what}: {chain}");
            assert_eq!(names(server), [name(1), name(2)], "{what}");
            return;
        }
        assert!(chain.contains(&format!("s3://{BUCKET}")), "{what}: the bucket is not named: {chain}");
        assert!(chain.contains("s3:"), "{what}: the action is not named: {chain}");
        let hint = error.first_hint().unwrap_or_else(|| panic!("{what}: no advice: {chain}"));
        // A HEAD's answer has no body, and so no code.
        let vague = what.contains("HeadObject");
        assert!(hint.contains(advice) || vague, "{what}: {chain}: {hint}");
        if what.starts_with("write,") {
            assert_eq!(names(server), [name(1)], "{what}");
            write(&store(&server.url()), &name(2), b"short")
                .unwrap_or_else(|error| panic!("{what}: the next run: {error:?}"));
        }
    });
}

#[test]
fn a_server_that_can_not_be_reached_is_named_with_what_to_look_after() {
    let server = S3Server::start();
    let url = server.url();
    drop(server);
    for (url, advice) in [(url.as_str(), "nothing listens"), ("http://no-such-host.invalid", "name")] {
        let error = store(url).list().expect_err("nobody answers");
        let chain = error.chain().join(": ");
        assert!(chain.contains(&format!("list s3://{BUCKET}/x")) && chain.contains("s3:ListBucket"), "{chain}");
        assert!(error.first_hint().is_some_and(|hint| hint.contains(advice)), "{chain}: {:?}", error.first_hint());
    }
}
