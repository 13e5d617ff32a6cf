//! S3 servers that others have written: `make test-live` installs them and runs these.

use std::io::Write;

use backup_core::bundle::digest::Sha256Digest;
use backup_core::bundle::name::FileName;
use backup_core::cluster::secret::Secret;
use backup_core::context::Environment;
use backup_core::store::{Published, Retention, RetentionMode, S3Address, S3Options, Store};
use backup_core::{Context, Kind, Result};
use chrono::{TimeDelta, Utc};
use fixtures::live::{Garage, LockServer};
use fixtures::s3::BUCKET;
use s3_store::S3;

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

#[test]
#[ignore = "needs servers that `make test-live` installs"]
fn object_lock_keeps_a_bundle_and_a_bucket_without_it_is_refused() {
    let server = LockServer::start();
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
