//! What comes from a pipe, however much it is, goes into a bundle in parts: little of it waits in memory, and `cat` joins them again.

use std::fs::{self, File};
use std::io::BufWriter;
use std::process::Command;
use std::sync::{Arc, Mutex};

use backup_core::Context;
use backup_core::bundle::FORMAT_OF_SECTIONS;
use backup_core::bundle::manifest::{Items, Section};
use backup_core::bundle::reader::{Bundle, ReadAt};
use backup_core::bundle::writer::Writer;
use backup_core::component::{Out, PART, Stored};
use backup_core::context::Environment;
use backup_core::names::{BundleName, ComponentId};
use sha2::{Digest, Sha256};
use system_tests::manifest_of;

/// What no compression makes smaller.
struct Noise {
    state: u64,
    left: u64,
    digest: Arc<Mutex<Sha256>>,
}

impl tokio::io::AsyncRead for Noise {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.remaining()).min(1 << 16);
        let mut bytes = Vec::with_capacity(wanted + 8);
        while bytes.len() < wanted {
            self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            bytes.extend_from_slice(&(self.state ^ (self.state >> 29)).to_le_bytes());
        }
        bytes.truncate(wanted);
        self.left -= wanted as u64;
        self.digest.lock().expect("a lock").update(&bytes);
        buffer.put_slice(&bytes);
        std::task::Poll::Ready(Ok(()))
    }
}

/// The most memory that this process has had.
pub(crate) fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

#[test]
fn a_pipe_of_any_length_goes_in_and_comes_out_in_bounded_memory() {
    const SIZE: u64 = 6 * PART + 4711;
    /// What the whole program may have.
    const MEMORY: u64 = 128 << 20;
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let directory = tempfile::tempdir().expect("a directory");
    let name = BundleName::at(chrono::Utc::now());
    let path = directory.path().join(format!("{name}.tgz"));
    let digest = Arc::new(Mutex::new(Sha256::new()));
    let id = ComponentId::try_from(String::from("piped")).expect("a name");
    runtime.block_on(async {
        let meter = Arc::default();
        let sink = BufWriter::new(File::create(&path).expect("a file"));
        let (writer, closing) = Writer::start(name.clone(), 1, sink, Arc::clone(&meter));
        let context = Context::new(Environment::default());
        let out = Out::new(writer.clone(), Section::root_of(&id), meter, context);
        let noise = Noise { state: 42, left: SIZE, digest: digest.clone() };
        assert_eq!(out.parts("data", noise).await.expect("captured"), SIZE);
        assert_eq!(out.parts("nothing", tokio::io::empty()).await.expect("captured"), 0);
        drop(out);
        let mut tail = closing.close(writer).await.expect("written").expect("whole");
        let mut manifest = manifest_of(&name, std::mem::take(&mut tail.entries));
        manifest.format = FORMAT_OF_SECTIONS;
        let items = Items { count: 1, unit: "pipe".into() };
        let (kind, as_of, body) = ("test".into(), name.time(), serde_json::Value::Null);
        manifest.components = vec![Section { id, kind, version: 1, as_of, items, body }];
        tail.seal(&manifest).expect("sealed");
    });
    let expected = hex::encode(digest.lock().expect("a lock").clone().finalize());

    let source = Box::new(File::open(&path).expect("the bundle")) as Box<dyn ReadAt>;
    let bundle = Arc::new(Bundle::open(source).expect("a bundle"));
    assert_eq!(bundle.manifest().entries.len(), 8);
    let stored = Stored::new(bundle.manifest().components[0].clone(), bundle);
    let read = Arc::new(Mutex::new(Sha256::new()));
    let taken = read.clone();
    let take = move |part: &[u8]| {
        taken.lock().expect("a lock").update(part);
        Ok(())
    };
    runtime.block_on(stored.read_parts("data", take)).expect("read");
    assert_eq!(hex::encode(read.lock().expect("a lock").clone().finalize()), expected);
    runtime
        .block_on(stored.read_parts("nothing", |part| {
            assert!(part.is_empty());
            Ok(())
        }))
        .expect("read");
    assert!(runtime.block_on(stored.read_parts("dat", |_| Ok(()))).is_err());
    assert!(peak() < MEMORY, "{} MiB", peak() >> 20);

    let by_hand = r#"tar xzf "$0" -C "$1" && cat "$1"/*/components/piped/data.* | sha256sum"#;
    let output = Command::new("sh").args(["-c", by_hand]).arg(&path).arg(directory.path()).output().expect("tar runs");
    assert!(String::from_utf8_lossy(&output.stdout).starts_with(&expected), "{output:?}");
}
