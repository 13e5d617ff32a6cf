//! Makes a directory of many small bundles, for the benchmark: `many DIR COUNT`, six hours apart, each with a manifest of fifty entries.

use std::fs::File;
use std::path::PathBuf;

use backup_core::bundle::manifest::Manifest;
use backup_core::bundle::writer::Writer;
use backup_core::names::BundleName;
use chrono::{DateTime, TimeDelta, Utc};
use system_tests::manifest_of;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory: PathBuf = arguments.next().expect("a directory").into();
    let count: i64 = arguments.next().and_then(|text| text.parse().ok()).expect("a count");
    let newest: DateTime<Utc> = "2026-11-20T19:15:00Z".parse().expect("a time");
    for number in 0..count {
        let name = BundleName::at(newest - TimeDelta::hours(number * 6));
        let path = directory.join(format!("{name}.tgz"));
        let (writer, closing) = Writer::start(name.clone(), 1, File::create(path).expect("a file"), Default::default());
        for entry in 0..50 {
            writer.add(&format!("files/{entry}"), format!("{number} {entry}").as_bytes()).await.expect("added");
        }
        let mut tail = closing.close(writer).await.expect("closed").expect("a tail");
        let mut manifest: Manifest = manifest_of(&name, std::mem::take(&mut tail.entries));
        manifest.source.cluster = Some("example".into());
        tail.seal(&manifest).expect("sealed");
    }
}
