//! Bundles of every format ever released can be read, and little of a bundle is read where little is asked for.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, UNIX_EPOCH};

use backup_core::bundle::FORMAT_OF_SECTIONS;
use backup_core::bundle::footer::{self, Footer};
use backup_core::bundle::header::Head;
use backup_core::bundle::reader::{Bundle, ReadAt};
use backup_core::bundle::writer::Writer;
use backup_core::names::BundleName;
use fixtures::Postgres;
use system_tests::{Workplace, describe, manifest_of, open};

/// Bundles that released versions wrote, never written anew.
fn golden() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let entries = fs::read_dir(directory).expect("a directory").flatten().map(|entry| entry.path());
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
        let roles = fs::read_to_string(inside.join("databases/globals.sql")).expect("the roles");
        assert!(roles.contains("CREATE ROLE \"ops team\""));
        let opened = open(&bundle);
        let rows: u64 = opened.manifest().rows();
        let lines: usize = fs::read_dir(inside.join("databases/orchestrator/data"))
            .expect("chunks")
            .chain(fs::read_dir(inside.join("databases/orchestrator_archive/data")).expect("chunks"))
            .map(|chunk| {
                let text = fs::read(chunk.expect("a chunk").path()).expect("a chunk");
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
    fs::create_dir(place.path("bundles")).expect("a directory");
    for bundle in golden() {
        let mut bytes = fs::read(&bundle).expect("the bundle");
        let at = bytes.len() - footer::LENGTH;
        let mut footer =
            Footer::decode(bytes[at..].try_into().expect("a footer"), bytes.len() as u64).expect("a footer");
        footer.format = FORMAT_OF_SECTIONS + 1;
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
            let newer = format!("has format {}", FORMAT_OF_SECTIONS + 1);
            assert!(text.contains(&newer) && !text.contains("DAMAGED"), "{command}: {text}");
            assert!(command == "list" || text.contains("orchestrator-cli 0.1"), "{command}: {text}");
        }
    }
}

const GOLDEN_WITH_HOLES: [(u32, &str); 2] =
    [(1, "orchestrator_backup_20261129T003829Z"), (3, "orchestrator_backup_20261129T022141Z")];

/// Those of one tree, of the last version before format 3 and of the first with it: holes, fractions of seconds, numbers of owners that
/// ustar has no room for.
#[test]
fn golden_bundles_with_holes_come_out_as_they_went_in() {
    let place = Workplace::default();
    for (format, name) in GOLDEN_WITH_HOLES {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("golden/holes/{name}.tgz"));
        assert_eq!(open(&golden).footer().format, format);
        for arguments in [&["verify"][..], &["show", "--entries"], &["extract", "--to", "out"]] {
            let output = place.cli(arguments).arg(&golden).output().expect("the command runs");
            assert!(output.status.success(), "{arguments:?}: {}", describe(&output));
        }
        let tree = place.path("out").join(name).join("files/srv/example");
        let told = |name: &str| tree.join(name).metadata().expect("there");
        let time = |of: &Metadata| (of.mtime(), of.mtime_nsec());
        assert_eq!(time(&told("fraction")), (1_700_000_000, 123_456_789));
        assert_eq!(time(&told("early")), (-86_401, 500_000_000));
        if rustix::process::geteuid().is_root() {
            assert_eq!((told("owner").uid(), told("owner").gid()), (3_000_000, 3_000_001));
        }
        for (name, length, at, text) in
            [("holes", 8 << 20, 4_194_304, "middle"), (&"n".repeat(120), 1 << 20, 1_048_573, "end")]
        {
            let mut expected = vec![0; length];
            expected[at..at + text.len()].copy_from_slice(text.as_bytes());
            assert!(fs::read(tree.join(name)).expect("a file") == expected, "{name}");
            assert!(told(name).blocks() < 100, "{name} lost its holes");
        }
        assert_eq!(told("second-name").ino(), told("holes").ino());
    }
}

#[test]
fn the_lowest_format_that_says_all_is_written() {
    let server = Postgres::start();
    server.sql("postgres", "CREATE TABLE t AS SELECT 1 AS i");
    let place = Workplace::default();
    fs::create_dir(place.path("tree")).expect("a directory");
    let [plain, holes] = ["plain", "holes"].map(|name| place.write(&format!("tree/{name}"), "text"));
    place.write("o.toml", format!("cluster_conf = 'cluster.conf'\n[[files]]\npath = {:?}\n", place.path("tree")));
    let format_with = |change: &dyn Fn()| {
        change();
        let second = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        for path in [&holes, &place.path("tree")] {
            File::open(path).and_then(|file| file.set_modified(second)).expect("set");
        }
        let mut run = place.cli(&["backup", "--config", "o.toml", "--release", "1", "--to", "-"]);
        let output = run.envs(server.variables()).output().expect("the command runs");
        let bundle = Bundle::open(output.stdout).expect("a bundle");
        assert_eq!(bundle.footer().format, bundle.manifest().format);
        bundle.footer().format
    };
    let modified = |nanos: u64| {
        let time = UNIX_EPOCH + Duration::from_nanos(1_700_000_000_000_000_000 + nanos);
        File::open(&plain).and_then(|file| file.set_modified(time)).expect("set");
    };
    assert_eq!(format_with(&|| modified(0)), 1);
    assert_eq!(format_with(&|| modified(1)), 3);
    let dig = || File::options().write(true).open(&holes).and_then(|file| file.set_len(1 << 20)).expect("a hole");
    assert_eq!(format_with(&|| (modified(0), dig()).0), 3);
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
        let fill = |buffer: &mut Vec<u8>, wanted: usize| {
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
