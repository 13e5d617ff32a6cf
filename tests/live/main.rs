//! S3 servers that others have written: `make test-live` installs them and runs these.

#[path = "../system/s3_servers/site.rs"]
mod site;

use std::io::Write;
use std::time::{Duration, Instant};

use backup_core::cluster::secret::Secret;
use backup_core::context::Environment;
use backup_core::digest::Sha256Digest;
use backup_core::finding::Severity;
use backup_core::names::FileName;
use backup_core::store::{ClaimName, Published, Retention, RetentionMode, S3Address, S3Options, Store, Stored};
use backup_core::{Context, Kind, Result};
use chrono::{TimeDelta, Utc};
use fixtures::Postgres;
use fixtures::live::{Garage, KINDS, Other};
use fixtures::s3::BUCKET;
use s3_store::S3;
use site::Site;

const DIGEST: Sha256Digest = Sha256Digest([7; 32]);
const MIB: usize = 1 << 20;

fn name(second: u32) -> FileName {
    format!("orchestrator_backup_20261120T1915{second:02}Z.tgz").parse().expect("a name")
}

fn options(url: String, (access, secret, region): (&str, &str, &str)) -> S3Options {
    let keys = Some((Secret::new(access), Secret::new(secret)));
    S3Options { endpoint: Some(url), region: Some(region.into()), keys, ..S3Options::default() }
}

fn store(bucket: &str, options: &S3Options) -> S3 {
    let address = S3Address { bucket: bucket.into(), prefix: "some/where".into() };
    S3::new(&address, options, &Context::new(Environment::default())).expect("a store")
}

fn content(mib: usize) -> Vec<u8> {
    (0..mib * MIB).map(|at| (at % 251) as u8).collect()
}

fn write(store: &dyn Store, name: &FileName, content: &[u8]) -> Result<Published> {
    let mut upload = store.begin(name)?;
    upload.write_all(content).expect("written");
    upload.publish(&DIGEST)
}

fn read(store: &dyn Store, name: &FileName) -> Vec<u8> {
    let object = store.open(name).expect("opened");
    let mut bytes = vec![0; object.length().expect("a length") as usize];
    object.read_at(0, &mut bytes).expect("read");
    bytes
}

#[test]
#[ignore = "needs servers that `make test-live` installs"]
fn garage_keeps_bundles_while_one_of_its_nodes_stops() {
    let mut garage = Garage::start();
    let store = |node: usize| store(BUCKET, &options(garage.url(node), garage.keys()));
    let (first, second) = (store(0), store(1));
    first.check(1).expect("can be written");
    let whole = content(40);
    let mut upload = first.begin(&name(1)).expect("begun");
    upload.write_all(&whole[..20 * MIB]).expect("written");
    assert!(second.list().expect("listed").is_empty(), "it shows before it is published");
    garage.stop(2);
    upload.write_all(&whole[20 * MIB..]).expect("written");
    let published = upload.publish(&DIGEST).expect("published");
    assert!(published.warnings.is_empty(), "{:?}", published.warnings);
    assert!(read(&second, &name(1)) == whole);
    let again = write(&second, &name(1), b"another").err().map(|error| error.kind());
    assert_eq!(again, Some(Kind::Refused));
    assert!(read(&first, &name(1)) == whole);
    // Garage heeds no condition, so that of two uploads of one name one must not begin.
    let one = first.begin(&name(2)).expect("begun");
    assert_eq!(second.begin(&name(2)).err().map(|error| error.kind()), Some(Kind::Refused));
    drop(one);
    assert!(first.leftovers(Utc::now() + TimeDelta::hours(1)).expect("listed").is_empty());
    first.remove(&name(1)).expect("deleted");
    assert!(second.list().expect("listed").is_empty());
}

/// What is expected of each server: to keep bundles rightly, or to be refused with these words before anything is sent.
const EXPECTED: [(&str, Result<(), &str>); 8] = [
    ("ministack 1.5.33", Ok(())),
    ("moto 5.2.5", Ok(())),
    ("localbucket 1.2.1", Ok(())),
    ("nanio 0.1.7", Ok(())),
    ("pys3local 0.2.1", Err("it begins no upload in parts")),
    ("local-s3-server 0.2.2", Err("it begins no upload in parts")),
    ("s3rver 3.7.1", Err("it can't give up an upload in parts")),
    ("s3s-fs 0.14.1", Ok(())),
];

#[test]
#[ignore = "needs servers that `make test-live` installs"]
fn each_server_keeps_bundles_rightly_or_is_refused_before_anything_is_sent() {
    assert_eq!(KINDS.each_ref().map(|kind| kind.name), EXPECTED.map(|(name, _)| name));
    let wrong = KINDS.iter().zip(EXPECTED).filter_map(|(kind, (name, expected))| {
        let server = Other::start(kind);
        let options = options(server.url(), server.keys());
        let begun = Instant::now();
        let checked = store(BUCKET, &options).check(1).map(|findings| {
            findings.into_iter().filter(|finding| finding.severity != Severity::Info).collect::<Vec<_>>()
        });
        let took = begun.elapsed();
        println!("{name}: {took:?}: {checked:?}");
        let used = match &checked {
            Ok(findings) if !findings.is_empty() => Err(format!("{findings:?}")),
            Ok(_) => use_it(&options),
            Err(error) => Err(format!("{error:?}; {}", error.first_hint().unwrap_or_default())),
        };
        let right = match (&used, expected) {
            (Ok(()), Ok(())) => true,
            (Err(said), Err(words)) => checked.is_err() && said.contains(words) && took < Duration::from_secs(2),
            _ => false,
        };
        (!right).then(|| format!("{name}: {used:?} after {took:?}"))
    });
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
#[ignore = "needs servers that `make test-live` installs"]
fn each_server_that_keeps_bundles_gives_them_back_to_every_command() {
    let database = Postgres::start();
    database.load_sample(3000);
    for kind in KINDS.iter().zip(EXPECTED).filter_map(|(kind, (_, expected))| expected.is_ok().then_some(kind)) {
        println!("{}", kind.name);
        let server = Other::start(kind);
        let (access, secret, region) = server.keys();
        let environment = vec![
            ("AWS_ENDPOINT_URL", server.url()),
            ("AWS_ACCESS_KEY_ID", access.into()),
            ("AWS_SECRET_ACCESS_KEY", secret.into()),
            ("AWS_REGION", region.into()),
        ];
        let site = Site::new(BUCKET, environment, &database);
        site.is_restored(&site.all_is_right());
    }
}

/// All that is done to a store, by one run and by others.
fn use_it(options: &S3Options) -> Result<(), String> {
    let (store, other) = (store(BUCKET, options), store(BUCKET, options));
    let said = |doing: &'static str| move |error: backup_core::Error| format!("{doing}: {error:?}");
    for (second, length) in [(1, 400), (2, 9 * MIB)] {
        let bytes = &content(9)[..length];
        let published = write(&store, &name(second), bytes).map_err(said("write"))?;
        if !published.warnings.is_empty() {
            return Err(format!("{:?}", published.warnings));
        }
        let object = other.open(&name(second)).map_err(said("open"))?;
        let mut read = vec![0; length];
        object.read_at(0, &mut read).map_err(|cause| format!("read: {cause:?}"))?;
        if read != bytes || object.length().ok() != Some(length as u64) {
            return Err("it gives other bytes".into());
        }
        let mut part = [0; 100];
        object.read_at(length as u64 / 3, &mut part).map_err(|cause| format!("read a part: {cause:?}"))?;
        if part != bytes[length / 3..][..100] {
            return Err("it gives other parts".into());
        }
    }
    let again = write(&other, &name(1), b"another").err().map(|error| error.kind());
    let names = |listed: Vec<Stored>| listed.into_iter().map(|stored| stored.name).collect::<Vec<_>>();
    let listed = names(other.list().map_err(said("list"))?);
    if (again, listed) != (Some(Kind::Refused), vec![name(1), name(2)]) {
        return Err("a bundle is written over, or not listed".into());
    }
    let claim = ClaimName { cluster: "0a1b".into(), epoch: 1 };
    store.claim(&claim, b"mine").map_err(said("claim"))?;
    let taken = other.claim(&claim, b"yours").err().map(|error| error.kind());
    if taken != Some(Kind::Refused) || other.read_claim(&claim).map_err(said("read the claim"))? != b"mine" {
        return Err("a claim is written over".into());
    }
    let _ = other.leftovers(Utc::now() + TimeDelta::hours(1)).map(|left| assert_eq!(left, []));
    store.remove(&name(1)).map_err(said("remove"))?;
    let sum = other.read_beside(&name(1), ".sha256").map_err(said("read beside"))?;
    match (sum, names(other.list().map_err(said("list"))?)) {
        (None, left) if left == [name(2)] => Ok(()),
        left => Err(format!("what was deleted is there still: {left:?}")),
    }
}

#[test]
#[ignore = "needs servers that `make test-live` installs"]
fn object_lock_keeps_a_bundle_and_a_bucket_without_it_is_refused() {
    let server = Other::start(&KINDS[0]);
    let plain = options(server.url(), server.keys());
    let retention = Some(Retention { mode: RetentionMode::Compliance, days: 30 });
    let tags = [("team".to_owned(), "plat form&co=".to_owned())].into();
    let locked = S3Options { retention, legal_hold: true, tags, ..plain.clone() };
    let held = store(BUCKET, &locked);
    held.check(1).expect("can be written");
    let published = write(&held, &name(1), &content(9)).expect("published");
    assert!(published.warnings.is_empty(), "{:?}", published.warnings);
    let until = held.locked_until(&name(1)).expect("looked").expect("locked");
    let days = (until - Utc::now()).num_days();
    assert!((29..=30).contains(&days), "{until}");
    assert!(read(&held, &name(1)) == content(9));
    let bare = store("unlocked", &locked);
    let refused = bare.check(1).expect_err("no Object Lock");
    assert!(refused.first_hint().is_some_and(|hint| hint.contains("Object Lock")), "{refused:?}");
    // A server that says nothing and does nothing is found out when the bundle is there.
    let ignored = write(&store("unlocked", &locked), &name(2), b"some");
    let warned = ignored.map(|published| published.warnings.iter().map(|found| found.code.clone()).collect::<Vec<_>>());
    assert!(
        warned.as_ref().is_err() || warned.as_ref().is_ok_and(|codes| codes.contains(&"not-locked".into())),
        "{warned:?}"
    );
}
