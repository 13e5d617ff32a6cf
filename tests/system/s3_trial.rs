//! What a store in S3 tries before it sends anything, what it reads back afterwards, and what it says then.

use std::io::Write;

use backup_core::cluster::secret::Secret;
use backup_core::context::Environment;
use backup_core::digest::Sha256Digest;
use backup_core::names::FileName;
use backup_core::store::{Published, S3Address, S3Options, Store};
use backup_core::{Context, Error, Kind, Result};
use chrono::{TimeDelta, Utc};
use fixtures::s3::{Abilities, BUCKET, Fault, KEYS, Operation, S3Server, Suffixes, Trouble};
use s3_store::S3;

const DIGEST: Sha256Digest = Sha256Digest([7; 32]);

fn name(second: u32) -> FileName {
    format!("orchestrator_backup_20261120T1915{second:02}Z.tgz").parse().expect("a name")
}

fn store(server: &S3Server) -> S3 {
    let address = S3Address { bucket: BUCKET.into(), prefix: "x".into() };
    let keys = Some((Secret::new(KEYS.0), Secret::new(KEYS.1)));
    let region = Some("us-east-1".into());
    let options = S3Options { endpoint: Some(server.url()), region, keys, ..S3Options::default() };
    S3::new(&address, &options, &Context::new(Environment::default())).expect("a store")
}

/// Something that is read in several parts.
fn content() -> Vec<u8> {
    (0..600_000u32).map(|at| (at % 251) as u8).collect()
}

/// Writes a bundle; once it is sent, the server does `meanwhile`.
fn write(server: &S3Server, name: &FileName, meanwhile: Vec<Fault>) -> Result<Published> {
    let mut upload = store(server).begin(name)?;
    upload.write_all(&content()).map_err(|cause| Error::new(Kind::Failed, "write").because(cause))?;
    server.misbehave(meanwhile);
    let published = upload.publish(&DIGEST);
    server.misbehave([]);
    published
}

fn always(on: Operation, trouble: Trouble) -> Fault {
    Fault { on, times: usize::MAX, trouble }
}

fn refused(on: Operation) -> Fault {
    always(on, Trouble::Status(403, "AccessDenied", None))
}

fn files(server: &S3Server, part: &str) -> Vec<String> {
    server.files().into_iter().filter(|file| file.starts_with(BUCKET) && file.contains(part)).collect()
}

#[test]
fn a_run_tries_once_and_leaves_nothing() {
    let server = S3Server::start();
    let store = store(&server);
    let findings = store.check(1).expect("can be written");
    assert_eq!(findings.len(), 1, "{findings:?}");
    let (asked, _) = server.asked();
    assert!(asked.len() <= 18, "{}: {asked:?}", asked.len());
    assert!(files(&server, "x/").is_empty(), "{:?}", server.files());
    drop(store.begin(&name(1)).expect("begun"));
    let (asked, _) = server.asked();
    assert!(!asked.contains(&Operation::PutObject) && asked.len() <= 4, "it is tried again: {asked:?}");
}

#[test]
fn what_may_not_be_deleted_stays_once() {
    let server = S3Server::start();
    server.misbehave([refused(Operation::DeleteObject)]);
    for second in 1..=3 {
        let findings = store(&server).check(1).expect("can be written");
        assert!(findings.iter().any(|finding| finding.code == "trial-stays"), "{findings:?}");
        drop(store(&server).begin(&name(second)).expect("begun"));
    }
    assert_eq!(files(&server, "trial"), ["vault/x/.orchestrator-cli-trial"]);
    assert!(store(&server).list().expect("listed").is_empty());
}

#[test]
fn what_a_crash_has_left_of_a_trial_goes_a_day_later() {
    let server = S3Server::start();
    let left =
        |time: TimeDelta| format!(".orchestrator-cli-trial-{}-0a1b", (Utc::now() - time).format("%Y%m%dT%H%M%SZ"));
    let [old, new] = [TimeDelta::hours(25), TimeDelta::hours(1)].map(left);
    std::fs::create_dir(server.objects().join("x")).expect("a directory");
    for name in [&old, &new, ".orchestrator-cli-other"] {
        std::fs::write(server.objects().join("x").join(name), "some").expect("an object");
    }
    store(&server).check(1).expect("can be written");
    assert_eq!(files(&server, "x/"), ["vault/x/.orchestrator-cli-other".to_owned(), format!("vault/x/{new}")]);
}

#[test]
fn what_may_not_be_done_is_no_reason_to_refuse() {
    for (on, code) in [
        (Operation::GetObject, "not-readable"),
        (Operation::ListObjects, "not-listed"),
        (Operation::PutObject, "not-tried"),
    ] {
        let server = S3Server::start();
        server.misbehave([refused(on)]);
        let findings = store(&server).check(1).expect("can be written");
        assert!(findings.iter().any(|finding| finding.code == code), "{on:?}: {findings:?}");
        let published = write(&server, &name(1), vec![refused(on)]).expect("published");
        let warned = published.warnings.iter().any(|warning| warning.code == "not-read-back");
        assert_eq!(warned, on == Operation::GetObject, "{on:?}: {:?}", published.warnings);
        assert_eq!(store(&server).list().expect("listed").len(), 1, "{on:?}");
    }
}

#[test]
fn what_passes_while_a_run_tries_lets_nothing_be_written_over() {
    for on in [Operation::PutObject, Operation::CompleteUpload] {
        for times in [1, 3, 4] {
            let server = S3Server::start();
            server.misbehave([Fault { on, times, trouble: Trouble::Status(503, "SlowDown", None) }]);
            let mut upload = store(&server).begin(&name(1)).expect("begun");
            server.misbehave([]);
            upload.write_all(b"another").expect("written");
            // As one that began in the same moment, and saw nobody.
            std::fs::write(server.objects().join("x").join(name(1).to_string()), "first").expect("an object");
            let error = upload.publish(&DIGEST).expect_err("it is there");
            assert_eq!(error.kind(), Kind::Refused, "{on:?} {times}: {error:?}");
            let kept = std::fs::read(server.objects().join("x").join(name(1).to_string())).expect("the object");
            assert_eq!(kept, b"first", "{on:?} {times}");
        }
    }
}

#[test]
fn a_bundle_that_was_taken_is_not_called_failed_for_what_passes() {
    for trouble in
        [Trouble::Status(500, "InternalError", None), Trouble::Status(404, "NoSuchKey", None), Trouble::Reset]
    {
        let server = S3Server::start();
        let published = write(&server, &name(1), vec![always(Operation::GetObject, trouble)]).expect("published");
        assert!(published.warnings.iter().any(|warning| warning.code == "not-read-back"), "{:?}", published.warnings);
        assert!(store(&server).read_beside(&name(1), ".sha256").expect("read").is_some());
    }
}

#[test]
fn what_is_archived_at_once_is_there() {
    let server = S3Server::start();
    let archived = always(Operation::GetObject, Trouble::Status(403, "InvalidObjectState", None));
    let published = write(&server, &name(1), vec![archived]).expect("published");
    assert!(published.warnings.is_empty(), "{:?}", published.warnings);
}

#[test]
fn where_an_old_trial_can_not_be_deleted_all_share_one() {
    let server = S3Server::start();
    let old = format!(".orchestrator-cli-trial-{}-0a1b", (Utc::now() - TimeDelta::hours(25)).format("%Y%m%dT%H%M%SZ"));
    std::fs::create_dir(server.objects().join("x")).expect("a directory");
    std::fs::write(server.objects().join("x").join(&old), "some").expect("an object");
    for _ in 0..2 {
        // What is not there can be deleted anywhere.
        let gone = Fault { on: Operation::DeleteObject, times: 1, trouble: Trouble::Status(204, "", None) };
        server.misbehave([gone, refused(Operation::DeleteObject)]);
        store(&server).check(1).expect("can be written");
    }
    assert_eq!(files(&server, "trial"), ["vault/x/.orchestrator-cli-trial".to_owned(), format!("vault/x/{old}")]);
}

#[test]
fn runs_that_try_at_one_moment_do_not_meet() {
    let server = S3Server::with(Abilities { lists_uploads: false, ..Abilities::default() });
    std::thread::scope(|scope| {
        for second in 1..=8 {
            let server = &server;
            scope.spawn(move || {
                let published = write(server, &name(second), vec![]).expect("published");
                assert!(published.warnings.is_empty(), "{:?}", published.warnings);
            });
        }
    });
    assert!(files(&server, "trial").is_empty(), "{:?}", server.files());
}

#[test]
fn what_can_not_be_opened_is_not_called_done_and_is_not_called_missing() {
    for trouble in [Trouble::Status(400, "InvalidRequest", None), Trouble::Status(416, "InvalidRange", None)] {
        let server = S3Server::start();
        let error =
            write(&server, &name(1), vec![always(Operation::GetObject, trouble)]).expect_err("it can't be opened");
        let all = error.chain().join(": ");
        assert!(error.is_unsure() && all.contains("the server took it, and it can't be opened"), "{all}");
        assert!(error.first_hint().is_some_and(|hint| hint.contains("verify s3://")), "{error:?}");
        assert_eq!(store(&server).list().expect("listed").len(), 1);
    }
    let server = S3Server::start();
    let wrong = always(Operation::GetObject, Trouble::WrongBytes);
    let error = write(&server, &name(1), vec![wrong]).expect_err("other bytes");
    assert!(error.kind() == Kind::Damaged && error.is_unsure(), "{error:?}");
}

#[test]
fn a_bundle_whose_answer_was_lost_is_known_without_metadata() {
    for suffixes in [Suffixes::Right, Suffixes::Refused] {
        let server = S3Server::with(Abilities { suffixes, ..Abilities::default() });
        let lost = Fault { on: Operation::CompleteUpload, times: 1, trouble: Trouble::Reset };
        let published = write(&server, &name(1), vec![lost]).expect("published");
        assert!(published.warnings.is_empty(), "{:?}", published.warnings);
        let again = write(&server, &name(1), vec![]).expect_err("it exists");
        assert_eq!(again.kind(), Kind::Refused, "{again:?}");
    }
}

#[test]
fn a_bundle_is_opened_with_one_request_or_two() {
    for (suffixes, requests) in
        [(Suffixes::Right, 1), (Suffixes::Refused, 3), (Suffixes::Whole, 3), (Suffixes::First, 3)]
    {
        let server = S3Server::with(Abilities { suffixes, ..Abilities::default() });
        write(&server, &name(1), vec![]).expect("published");
        write(&server, &name(2), vec![]).expect("published");
        let store = store(&server);
        // A store that has seen the server fail does not ask it again.
        for (second, requests) in [(1, requests), (2, requests.min(2))] {
            server.asked();
            let object = store.open(&name(second)).expect("opened");
            assert_eq!(object.length().expect("a length"), 600_000, "{suffixes:?}");
            let mut last = [0; 200];
            object.read_at(599_800, &mut last).expect("read");
            assert_eq!(last[..], content()[599_800..], "{suffixes:?}");
            let (asked, _) = server.asked();
            assert_eq!(asked.len(), requests, "{suffixes:?}: {asked:?}");
        }
        let missing = store.open(&name(3)).err().map(|error| error.kind());
        assert_eq!(missing, Some(Kind::NotFound), "{suffixes:?}");
    }
}

#[test]
fn a_server_that_refuses_is_not_said_to_have_failed() {
    let server = S3Server::start();
    server.misbehave([always(Operation::ListObjects, Trouble::Status(400, "InvalidArgument", None))]);
    let said = store(&server).list().expect_err("refused").chain().join(": ");
    assert!(said.contains("InvalidArgument: as it was told (HTTP 400") && !said.contains("failed"), "{said}");
    server.misbehave([always(Operation::HeadObject, Trouble::Status(400, "", None))]);
    let said = store(&server).begin(&name(1)).err().map(|error| error.chain().join(": ")).unwrap_or_default();
    assert!(said.contains("the server refused the request (HTTP 400"), "{said}");
}
