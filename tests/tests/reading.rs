//! Bundles of every format ever released can be read, and little of a bundle is read where little is asked for.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use backup_core::bundle::footer::{self, Footer};
use backup_core::bundle::header::Head;
use backup_core::bundle::name::BundleName;
use backup_core::bundle::reader::{Bundle, ReadAt};
use backup_core::bundle::writer::Writer;
use system_tests::{Workplace, describe, manifest_of, open};

/// Bundles that released versions wrote, never written anew.
fn golden() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let entries = std::fs::read_dir(directory).expect("a directory").flatten().map(|entry| entry.path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "tgz")).collect()
}

#[test]
fn golden_bundles_are_read() {
    let place = Workplace::default();
    assert!(!golden().is_empty());
    for bundle in golden() {
        for arguments in [&["verify"][..], &["show", "--entries"], &["extract", "--to", "out"]] {
            let output = place.cli(arguments).arg(&bundle).output().expect("the command runs");
            assert!(output.status.success(), "{}: {}", bundle.display(), describe(&output));
        }
        let inside = place.path("out").join(bundle.file_stem().expect("a name"));
        let roles = std::fs::read_to_string(inside.join("databases/globals.sql")).expect("the roles");
        assert!(roles.contains("CREATE ROLE \"ops team\""));
        let opened = open(&bundle);
        let rows: u64 = opened.manifest().rows();
        let lines: usize = std::fs::read_dir(inside.join("databases/orchestrator/data"))
            .expect("chunks")
            .chain(std::fs::read_dir(inside.join("databases/orchestrator_archive/data")).expect("chunks"))
            .map(|chunk| {
                let text = std::fs::read(chunk.expect("a chunk").path()).expect("a chunk");
                let rows = text.windows(13).position(|window| window == b" FROM stdin;\n").expect("a header") + 13;
                text[rows..].iter().filter(|byte| **byte == b'\n').count() - 1
            })
            .sum();
        assert_eq!(lines as u64, rows);
    }
}

#[test]
fn a_bundle_of_a_newer_format_is_named_as_such() {
    let place = Workplace::default();
    std::fs::create_dir(place.path("bundles")).expect("a directory");
    for bundle in golden() {
        let mut bytes = std::fs::read(&bundle).expect("the bundle");
        let at = bytes.len() - footer::LENGTH;
        let mut footer =
            Footer::decode(bytes[at..].try_into().expect("a footer"), bytes.len() as u64).expect("a footer");
        footer.format = 3;
        bytes.splice(at.., footer.encode());
        let name = bundle.file_name().expect("a name").to_string_lossy().into_owned();
        let path = place.write(&format!("bundles/{name}"), bytes);
        for (command, code) in [("show", 12), ("verify", 12), ("extract", 12), ("list", 3)] {
            let mut run = place.cli(&[command]);
            run.arg(if command == "list" { place.path("bundles") } else { path.clone() });
            if command == "extract" {
                run.args(["--to", "out"]);
            }
            let output = run.output().expect("the command runs");
            assert_eq!(output.status.code(), Some(code), "{command}: {}", describe(&output));
            let text = describe(&output);
            assert!(text.contains("has format 3") && !text.contains("DAMAGED"), "{command}: {text}");
            assert!(command == "list" || text.contains("orchestrator-cli 0.1"), "{command}: {text}");
        }
    }
}

/// Counts what is read.
struct Counting(Vec<u8>, Arc<AtomicU64>);

impl ReadAt for Counting {
    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.1.fetch_add(buffer.len() as u64, Relaxed);
        self.0.read_at(offset, buffer)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn to_open_a_bundle_reads_its_end_alone() {
    let name: BundleName = "orchestrator_backup_20261120T191500Z".parse().expect("a name");
    let (writer, closing) = Writer::start(name.clone(), 1, Vec::new(), Arc::default());
    let mut noise = 1u64;
    for number in 0..20 {
        let head = Head::private(format!("noise/{number}"), 2 << 20, 0);
        let fill = async |buffer: &mut Vec<u8>, wanted: usize| {
            while buffer.len() < wanted {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                buffer.extend_from_slice(&noise.to_be_bytes()[..(wanted - buffer.len()).min(8)]);
            }
            Ok(())
        };
        writer.stream(head, fill).await.expect("written");
    }
    let mut tail = closing.close(writer).await.expect("closed").expect("complete");
    let manifest = manifest_of(&name, std::mem::take(&mut tail.entries));
    let bytes = tail.seal(&manifest).expect("sealed").sink;
    assert!(bytes.len() > 30 << 20, "noise does not compress");
    let read = Arc::new(AtomicU64::new(0));
    let bundle = Bundle::open(Counting(bytes, read.clone())).expect("a bundle");
    assert!(read.load(Relaxed) < 10_000, "{} bytes read to open it", read.load(Relaxed));
    bundle.content("noise/7").expect("an entry");
    assert!(read.load(Relaxed) < 5 << 20, "{} bytes read for one entry of 2 MiB", read.load(Relaxed));
}
